//! The nodes that have registered.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::metadata::{
    BrokerRegistrationChangeRecord, Endpoint, FeatureRange, FenceBrokerRecord,
    RegisterBrokerRecord, RegisterControllerRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
    UnregisterControllerRecord,
};
use ottla_types::{BrokerEpoch, NodeId, Uuid};

use super::delta::Touched;
use super::error::ReplayError;
use crate::versions::{MetadataVersion, VersionedRecord};

/// A registered broker.
#[derive(Clone, PartialEq, Debug)]
pub struct Broker {
    /// Its `node.id`.
    pub id: NodeId,
    /// Epoch of this incarnation's registration.
    pub epoch: BrokerEpoch,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<FeatureRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether clients are kept away from it.
    pub fenced: bool,
    /// Whether it is about to stop.
    pub in_controlled_shutdown: bool,
    /// Whether it came from a ZooKeeper cluster.
    pub is_migrating_zk_broker: bool,
    /// Ids of its log directories that are online, ascending.
    pub directories: Vec<Uuid>,
    /// Directories that get no new replicas; `None` until the broker has said.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl Broker {
    /// Whether it may lead and be in sync: neither fenced nor about to stop.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Where it listens for clients of this listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }

    /// Whether a replica in `directory` can be served.
    ///
    /// A replica without a directory is taken for servable: its broker has not named one yet. A
    /// broker without directories registered under a level that has none to name.
    #[must_use]
    pub fn has_online_directory(&self, directory: Uuid) -> bool {
        match directory {
            Uuid::DIR_UNASSIGNED | Uuid::DIR_MIGRATING => true,
            Uuid::DIR_LOST => false,
            _ => self.directories.is_empty() || self.directories.contains(&directory),
        }
    }

    /// Whether a new replica can be placed on it.
    #[must_use]
    pub fn has_uncordoned_directory(&self) -> bool {
        let cordoned = self.cordoned_directories.as_deref().unwrap_or_default();
        self.directories.is_empty() || self.directories.iter().any(|id| !cordoned.contains(id))
    }

    fn from_record(record: &RegisterBrokerRecord) -> Broker {
        Broker {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.clone(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            directories: ascending(&record.log_dirs),
            cordoned_directories: record.cordoned_log_dirs.as_deref().map(ascending),
        }
    }

    fn to_record(&self) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self.endpoints.clone(),
            features: self.features.clone(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.directories.clone(),
            cordoned_log_dirs: self.cordoned_directories.clone(),
        }
    }
}

fn ascending(ids: &[Uuid]) -> Vec<Uuid> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// A registered controller.
#[derive(Clone, PartialEq, Debug)]
pub struct ControllerNode {
    /// Its `node.id`.
    pub id: NodeId,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Whether it could migrate from ZooKeeper.
    pub zk_migration_ready: bool,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<FeatureRange>,
}

/// All registered nodes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cluster {
    brokers: OrdMap<NodeId, Arc<Broker>>,
    controllers: OrdMap<NodeId, Arc<ControllerNode>>,
}

impl Cluster {
    /// The broker with this id.
    #[must_use]
    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        self.brokers.get(&id).map(Arc::as_ref)
    }

    /// All registered brokers by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(Arc::as_ref)
    }

    /// The brokers that clients may be told of, by id.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers().filter(|broker| !broker.fenced)
    }

    /// The controller with this id.
    #[must_use]
    pub fn controller(&self, id: NodeId) -> Option<&ControllerNode> {
        self.controllers.get(&id).map(Arc::as_ref)
    }

    /// All registered controllers by id.
    pub fn controllers(&self) -> impl Iterator<Item = &ControllerNode> {
        self.controllers.values().map(Arc::as_ref)
    }

    pub(super) fn register_broker(&mut self, record: &RegisterBrokerRecord, touched: &mut Touched) {
        self.brokers.insert(record.broker_id, Arc::new(Broker::from_record(record)));
        touched.brokers.insert(record.broker_id);
    }

    pub(super) fn unregister_broker(
        &mut self,
        record: &UnregisterBrokerRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        self.broker_mut(record.broker_id, record.broker_epoch, touched)?;
        self.brokers.remove(&record.broker_id);
        Ok(())
    }

    pub(super) fn fence(
        &mut self,
        record: &FenceBrokerRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        self.broker_mut(record.id, record.epoch, touched)?.fenced = true;
        Ok(())
    }

    pub(super) fn unfence(
        &mut self,
        record: &UnfenceBrokerRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        self.broker_mut(record.id, record.epoch, touched)?.fenced = false;
        Ok(())
    }

    pub(super) fn change_broker(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let fenced = match record.fenced {
            0 => None,
            1 => Some(true),
            -1 => Some(false),
            value => return Err(ReplayError::BadValue { field: "fenced", value }),
        };
        let begins_shutdown = match record.in_controlled_shutdown {
            0 => false,
            1 => true,
            value => return Err(ReplayError::BadValue { field: "inControlledShutdown", value }),
        };
        let broker = self.broker_mut(record.broker_id, record.broker_epoch, touched)?;
        broker.fenced = fenced.unwrap_or(broker.fenced);
        // Only a new registration ends a controlled shutdown.
        broker.in_controlled_shutdown |= begins_shutdown;
        if !record.log_dirs.is_empty() {
            broker.directories = ascending(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_directories = Some(ascending(cordoned));
        }
        Ok(())
    }

    /// The broker to be changed, if it is this incarnation of it.
    fn broker_mut(
        &mut self,
        id: NodeId,
        epoch: BrokerEpoch,
        touched: &mut Touched,
    ) -> Result<&mut Broker, ReplayError> {
        let broker = self.brokers.get_mut(&id).ok_or(ReplayError::UnknownBroker(id))?;
        if broker.epoch != epoch {
            return Err(ReplayError::BrokerEpochMismatch {
                broker: id,
                registered: broker.epoch,
                found: epoch,
            });
        }
        touched.brokers.insert(id);
        Ok(Arc::make_mut(broker))
    }

    pub(super) fn register_controller(
        &mut self,
        record: &RegisterControllerRecord,
        touched: &mut Touched,
    ) {
        let node = ControllerNode {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record.end_points.clone(),
            features: record.features.clone(),
        };
        self.controllers.insert(record.controller_id, Arc::new(node));
        touched.controllers.insert(record.controller_id);
    }

    /// Unlike a broker's, this record names no epoch: removing a controller that is gone already
    /// changes nothing.
    pub(super) fn unregister_controller(
        &mut self,
        record: &UnregisterControllerRecord,
        touched: &mut Touched,
    ) {
        self.controllers.remove(&record.controller_id);
        touched.controllers.insert(record.controller_id);
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        for broker in self.brokers() {
            out(VersionedRecord::new(broker.to_record(), version));
        }
        for node in self.controllers() {
            let record = RegisterControllerRecord {
                controller_id: node.id,
                incarnation_id: node.incarnation_id,
                zk_migration_ready: node.zk_migration_ready,
                end_points: node.endpoints.clone(),
                features: node.features.clone(),
            };
            out(VersionedRecord::new(record, version));
        }
    }
}
