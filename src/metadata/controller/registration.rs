//! Registrations of brokers and controllers.
//!
//! A broker's epoch is the offset at which the batch of its registration begins. It is registered
//! fenced. The same incarnation may register again, to say something new about itself: it keeps
//! its epoch and its state. For another incarnation, what the one before left behind is cleared up
//! in the same batch, first.

use std::collections::BTreeSet;

use ottla_protocol::metadata::{
    Endpoint, FeatureRange, RegisterBrokerRecord, RegisterControllerRecord,
};
use ottla_types::{BrokerEpoch, NodeId, Uuid};

use super::{BrokerError, Controller, Decision, Moment};
use crate::image::Broker;
use crate::versions::{KRAFT_VERSION, METADATA_VERSION, MetadataVersion};

/// What a broker says when it registers.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerRegistration {
    /// Its `node.id`.
    pub broker: NodeId,
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<FeatureRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it comes from a ZooKeeper cluster.
    pub is_migrating_zk_broker: bool,
    /// Ids of its log directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// Epoch that it noted when it last stopped cleanly, else -1 (KIP-966).
    pub previous_epoch: BrokerEpoch,
    /// Whether it is certain that no other process with this id lives. A node that is broker and
    /// controller knows by the lock on its directory, and need not wait for the session that its
    /// last process left behind.
    pub previous_incarnation_is_dead: bool,
}

/// What a controller says when it registers.
#[derive(Clone, PartialEq, Debug)]
pub struct ControllerRegistration {
    /// Its `node.id`.
    pub controller: NodeId,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<FeatureRange>,
}

impl Controller {
    /// Registers a controller (KIP-919).
    ///
    /// # Errors
    /// When `metadata.version` does not have such registrations.
    pub fn register_controller(
        &self,
        request: ControllerRegistration,
    ) -> Result<Decision<()>, BrokerError> {
        if self.version() < MetadataVersion::CONTROLLER_REGISTRATION {
            return Err(BrokerError::NoControllerRegistration);
        }
        let record = RegisterControllerRecord {
            controller_id: request.controller,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: request.endpoints,
            features: request.features,
        };
        Ok(Decision::atomic(vec![self.record(record)], ()))
    }

    /// Registers a broker; the reply is its epoch.
    ///
    /// # Errors
    /// When it may not register, or not yet.
    pub fn register_broker(
        &self,
        request: BrokerRegistration,
        moment: Moment,
    ) -> Result<Decision<BrokerEpoch>, BrokerError> {
        let existing = self.image.cluster().broker(request.broker);
        self.check_identity(&request, existing, moment)?;
        self.check_directories(&request)?;
        self.check_features(&request.features)?;
        let same = existing.filter(|it| it.incarnation_id == request.incarnation_id);
        let mut records = Vec::new();
        if same.is_none() {
            let stopped_cleanly = existing.is_some_and(|it| it.epoch == request.previous_epoch);
            records = self.previous_incarnation_records(request.broker, stopped_cleanly);
        }
        let has_directories = self.version() >= MetadataVersion::DIRECTORIES;
        let epoch = same.map_or(BrokerEpoch(moment.next_offset.0), |it| it.epoch);
        records.push(self.record(RegisterBrokerRecord {
            broker_id: request.broker,
            is_migrating_zk_broker: false,
            incarnation_id: request.incarnation_id,
            broker_epoch: epoch,
            end_points: request.endpoints,
            features: request.features,
            rack: request.rack,
            fenced: same.is_none_or(|it| it.fenced),
            in_controlled_shutdown: same.is_some_and(|it| it.in_controlled_shutdown),
            log_dirs: if has_directories { request.log_dirs } else { Vec::new() },
            cordoned_log_dirs: None,
        }));
        Ok(Decision::atomic(records, epoch))
    }

    fn check_identity(
        &self,
        request: &BrokerRegistration,
        existing: Option<&Broker>,
        moment: Moment,
    ) -> Result<(), BrokerError> {
        if request.cluster_id != self.settings.cluster_id {
            return Err(BrokerError::InconsistentClusterId {
                expected: self.settings.cluster_id.clone(),
                found: request.cluster_id.clone(),
            });
        }
        let is_other = existing.is_some_and(|it| it.incarnation_id != request.incarnation_id);
        let may_live = !request.previous_incarnation_is_dead;
        if is_other && may_live && self.sessions.is_live(request.broker, moment.now) {
            return Err(BrokerError::DuplicateRegistration);
        }
        if request.is_migrating_zk_broker {
            return Err(BrokerError::ZkBroker);
        }
        Ok(())
    }

    fn check_directories(&self, request: &BrokerRegistration) -> Result<(), BrokerError> {
        let directories = &request.log_dirs;
        if self.version() < MetadataVersion::DIRECTORIES {
            return Ok(());
        }
        if directories.is_empty() {
            return Err(BrokerError::NoDirectories);
        }
        if directories.iter().any(Uuid::is_reserved) {
            return Err(BrokerError::ReservedDirectory);
        }
        if directories.iter().collect::<BTreeSet<_>>().len() != directories.len() {
            return Err(BrokerError::DuplicateDirectory);
        }
        for other in self.image.cluster().brokers().filter(|it| it.id != request.broker) {
            if let Some(directory) = directories.iter().find(|id| other.directories.contains(id)) {
                let (owner, directory) = (other.id, *directory);
                return Err(BrokerError::DirectoryOfAnother { owner, directory });
            }
        }
        Ok(())
    }

    /// Each finalized level must be one the broker can work with; of a feature that it does not
    /// name it knows only level 0.
    fn check_features(&self, features: &[FeatureRange]) -> Result<(), BrokerError> {
        let unsupported = |name: &str, min: i16, max: i16| {
            let finalized = self.finalized(name);
            (!(min..=max).contains(&finalized)).then(|| BrokerError::UnsupportedFeature {
                name: name.to_owned(),
                finalized,
                min,
                max,
            })
        };
        let named = features.iter().find_map(|it| {
            unsupported(&it.name, it.min_supported_version, it.max_supported_version)
        });
        if let Some(error) = named {
            return Err(error);
        }
        let is_named = |name: &str| features.iter().any(|it| it.name == name);
        if !is_named(METADATA_VERSION) {
            return Err(BrokerError::NoMetadataVersion);
        }
        let finalized = self.image.features().levels().keys().map(String::as_str);
        let mut unnamed = finalized.chain([KRAFT_VERSION.name]).filter(|name| !is_named(name));
        unnamed.find_map(|name| unsupported(name, 0, 0)).map_or(Ok(()), Err)
    }

    fn finalized(&self, name: &str) -> i16 {
        if name == KRAFT_VERSION.name {
            self.settings.kraft_version
        } else {
            self.image.features().level(name)
        }
    }
}
