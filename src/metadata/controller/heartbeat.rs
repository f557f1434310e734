//! Heartbeats: how a broker gets in, stays, and leaves.
//!
//! | it is | it wants | it becomes |
//! |---|---|---|
//! | fenced | to shut down | let go |
//! | fenced | to serve, and has read its registration | unfenced, may lead what has no leader |
//! | unfenced | to be fenced | fenced; let go when it wants to shut down too |
//! | unfenced | to shut down, and leads | in controlled shutdown: its leaders move |
//! | unfenced | to shut down, and leads nothing | fenced and let go |
//! | in controlled shutdown | - | let go when it leads nothing and all others know |
//!
//! A directory that went offline comes first, alone: what else the broker wants is judged at its
//! next heartbeat, when the image shows which replicas it still has.
//!
//! Versions of the request: 1 offline directories (KIP-858), 2 cordoned directories (KIP-1066).

use ottla_protocol::metadata::BrokerRegistrationChangeRecord;
use ottla_types::{BrokerEpoch, NodeId, Offset, Uuid};

use super::members::{Move, registration_change};
use super::{BrokerError, Controller, Decision, Moment};
use crate::image::Broker;
use crate::versions::{MetadataVersion, VersionedRecord};

/// What a broker says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerHeartbeat {
    /// The broker.
    pub broker: NodeId,
    /// Epoch of its registration.
    pub epoch: BrokerEpoch,
    /// Offset up to which it has read the metadata log.
    pub metadata_offset: Offset,
    /// Whether it wants to be kept from clients.
    pub want_fence: bool,
    /// Whether it wants to stop.
    pub want_shut_down: bool,
    /// All its directories that are offline.
    pub offline_directories: Vec<Uuid>,
    /// All its directories that get no new replicas; `None` when it does not say.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

/// What the broker is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatReply {
    /// Whether it has read its own registration.
    pub is_caught_up: bool,
    /// Whether it is fenced.
    pub is_fenced: bool,
    /// Whether its controlled shutdown is under way.
    pub in_controlled_shutdown: bool,
    /// Whether it may stop.
    pub should_shut_down: bool,
}

/// How a broker stands with the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Fenced,
    Unfenced,
    ControlledShutdown,
    LetGo,
}

impl Controller {
    /// Hears a broker.
    ///
    /// # Errors
    /// When this incarnation of the broker is not registered.
    ///
    /// # Panics
    /// When the controller was not activated.
    pub fn broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeat,
        moment: Moment,
    ) -> Result<Decision<HeartbeatReply>, BrokerError> {
        self.check_epoch(request.broker, request.epoch)?;
        let broker = self.broker(request.broker).clone();
        self.sessions.hear(broker.id, moment.now, request.metadata_offset);
        let present = self.standing(&broker);
        let mut records = self.offline_records(request, &broker);
        let mut next = present;
        if records.is_empty() {
            next = self.next_standing(present, request);
            records = self.standing_records(&broker, present, next);
        }
        records.extend(self.cordoned_record(request, &broker));
        match next {
            Standing::LetGo => self.sessions.end(broker.id),
            Standing::ControlledShutdown => {
                let end = Offset(moment.next_offset.0 + records.len() as i64 - 1);
                self.sessions.get_mut(broker.id).shutdown_offset.get_or_insert(end);
            }
            Standing::Fenced | Standing::Unfenced => {}
        }
        let reply = HeartbeatReply {
            is_caught_up: self.is_caught_up(request),
            is_fenced: matches!(next, Standing::Fenced | Standing::LetGo),
            in_controlled_shutdown: next == Standing::ControlledShutdown,
            should_shut_down: next == Standing::LetGo,
        };
        Ok(Decision::divisible(records, reply))
    }

    fn broker(&self, id: NodeId) -> &Broker {
        self.image.cluster().broker(id).expect("its epoch was checked")
    }

    fn is_caught_up(&self, request: &BrokerHeartbeat) -> bool {
        request.metadata_offset >= self.sessions.get(request.broker).registered_at
    }

    fn standing(&self, broker: &Broker) -> Standing {
        if broker.fenced {
            Standing::Fenced
        } else if self.sessions.is_shutting_down(broker.id) {
            Standing::ControlledShutdown
        } else {
            Standing::Unfenced
        }
    }

    /// The table of the file's head.
    fn next_standing(&self, present: Standing, request: &BrokerHeartbeat) -> Standing {
        let leads = self.index.leads(request.broker);
        match (present, request.want_fence, request.want_shut_down) {
            (Standing::Fenced, _, true) | (Standing::Unfenced, true, true) => Standing::LetGo,
            (Standing::Fenced, false, false) if self.is_caught_up(request) => Standing::Unfenced,
            (Standing::Unfenced, true, false) => Standing::Fenced,
            (Standing::Unfenced, false, true) if leads => Standing::ControlledShutdown,
            (Standing::Unfenced, false, true) => Standing::LetGo,
            (Standing::ControlledShutdown, ..) if !leads && self.others_know(request.broker) => {
                Standing::LetGo
            }
            (unchanged, ..) => unchanged,
        }
    }

    /// Whether every active broker has read that this one shuts down.
    fn others_know(&self, id: NodeId) -> bool {
        let offset = self.sessions.get(id).shutdown_offset;
        let unfenced = self.image.cluster().alive_brokers();
        let mut others = unfenced.filter(|other| !self.sessions.is_shutting_down(other.id));
        others.all(|other| Some(self.sessions.get(other.id).metadata_offset) >= offset)
    }

    fn standing_records(
        &self,
        broker: &Broker,
        present: Standing,
        next: Standing,
    ) -> Vec<VersionedRecord> {
        let (id, epoch) = (broker.id, broker.epoch);
        match next {
            _ if next == present => Vec::new(),
            Standing::LetGo if present == Standing::Fenced => Vec::new(),
            Standing::Fenced | Standing::LetGo => self.fence_records(id, epoch),
            Standing::Unfenced => self.unfence_records(id, epoch),
            Standing::ControlledShutdown => self.shutdown_records(id, epoch),
        }
    }

    /// Moves what a directory that went offline holds, and notes the directories that are left.
    fn offline_records(&self, request: &BrokerHeartbeat, broker: &Broker) -> Vec<VersionedRecord> {
        let is_offline = |directory: &Uuid| request.offline_directories.contains(directory);
        let (gone, left): (Vec<Uuid>, Vec<Uuid>) =
            broker.directories.iter().copied().partition(is_offline);
        if gone.is_empty() || self.version() < MetadataVersion::DIRECTORIES {
            return Vec::new();
        }
        let mut held = self.index.in_sync(broker.id);
        held.retain(|id| {
            let partition = self.image.partition_by_id(*id).expect("indexed partitions are there");
            partition.directory(broker.id).is_some_and(|directory| gone.contains(&directory))
        });
        let mut records = self.moved(Move::Leaves(broker.id), held);
        // A change cannot say "none left"; a broker without a directory stops of itself.
        if !left.is_empty() {
            records.push(self.record(BrokerRegistrationChangeRecord {
                log_dirs: left,
                ..registration_change(broker.id, broker.epoch)
            }));
        }
        records
    }

    /// Notes the cordoned directories when they changed, or were never named.
    fn cordoned_record(
        &self,
        request: &BrokerHeartbeat,
        broker: &Broker,
    ) -> Option<VersionedRecord> {
        let mut named = request.cordoned_directories.clone()?;
        named.sort_unstable();
        let is_new = broker.cordoned_directories.as_ref() != Some(&named);
        (is_new && self.version() >= MetadataVersion::CORDONED_DIRECTORIES).then(|| {
            self.record(BrokerRegistrationChangeRecord {
                cordoned_log_dirs: Some(named),
                ..registration_change(broker.id, broker.epoch)
            })
        })
    }
}
