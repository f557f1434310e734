//! The controller's pure core: requests in, records and replies out.
//!
//! ```text
//!  request -> operation -> Decision { records, reply } -> append -> commit -> answer
//!                ^                       |
//!                +---- replay_appended --+     (renounce: back to the committed image)
//! ```
//! The shell is the one writer of the log. It appends a decision's records as they are, in one
//! batch when the decision is atomic, calls [`Controller::replay_appended`] with them before the
//! next operation, and answers when they are committed. So the image here runs ahead of what is
//! committed, and each operation sees those before it. When leadership is lost, or an append
//! fails, [`Controller::renounce`] goes back: the images share structure, so that this is one
//! assignment. The index is made anew from the image; the sessions of brokers, which are in no
//! record, begin anew with the next [`Controller::activate`].
//!
//! An operation that is refused changes nothing. Time, the next offset and randomness come in as
//! arguments. A controller assumes that its log holds nothing it did not replay.
//!
//! Not built yet, and refused by those who would ask: changes of ISRs (AlterPartition), changes of
//! features, quotas, ACLs, credentials and tokens.

mod alter_configs;
mod assign_replicas;
mod bootstrap;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod error;
mod heartbeat;
mod index;
mod layout;
mod members;
mod partition_change;
mod placement;
mod producer_ids;
mod reassign;
mod registration;
mod sessions;
mod unregister;
mod update_features;

#[cfg(test)]
mod tests;

pub use alter_configs::{
    AlterConfigError, AlterConfigs, AlteredConfigs, ConfigChange, ConfigOperation,
};
pub use assign_replicas::ReplicaAssignments;
pub use configs::{ConfigSource, EffectiveConfig, TopicDefault};
pub use create_partitions::{GrownTopic, GrowthError, NewPartitions, PartitionsOutcome};
pub use create_topics::{
    CreateTopics, CreatedTopic, ManualAssignment, NewTopic, TopicOutcome, check_config_length,
};
pub use delete_topics::{DeletedTopic, TopicSelector};
pub use elect_leaders::{ElectLeaders, ElectedTopic, ElectionError, ElectionKind};
pub use error::{AssignmentError, BrokerError, PlacementError, TopicError};
pub use heartbeat::{BrokerHeartbeat, HeartbeatReply};
pub use producer_ids::ProducerIdBlock;
pub use reassign::{ReassignedTopic, ReassignmentError, Reassignments, WantedReplicas};
pub use registration::{BrokerRegistration, ControllerRegistration};
pub use update_features::{Direction, FeatureError, FeatureUpdate, UpdateFeatures};

use std::time::Duration;

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{BrokerEpoch, MonoTime, NodeId, Offset};

use crate::image::{Image, ReplayError, Touched};
use crate::versions::{MetadataVersion, VersionedRecord, first_version};
use index::Index;
use sessions::Sessions;

/// Most records that one operation of a user may write (Kafka's `MAX_RECORDS_PER_USER_OP`).
const USER_RECORDS_MAX: usize = 10_000;

/// What the node's configuration says to its controller.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Id of the cluster.
    pub cluster_id: String,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// Finalized `kraft.version`, which stands in no metadata record.
    pub kraft_version: i16,
    /// What topics get that do not say, for the answers to CreateTopics; by name.
    pub topic_defaults: Vec<TopicDefault>,
}

/// When an operation is decided, and where in the log its records will stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The time.
    pub now: MonoTime,
    /// Offset of the first record that the decision will append.
    pub next_offset: Offset,
}

/// What an operation comes to.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision<R> {
    /// To be appended in this order, before the reply is sent; may be empty.
    pub records: Vec<VersionedRecord>,
    /// Whether the records must stand in one batch.
    pub atomic: bool,
    /// The answer, once the records are committed.
    pub reply: R,
}

impl<R> Decision<R> {
    fn atomic(records: Vec<VersionedRecord>, reply: R) -> Decision<R> {
        Decision { records, atomic: true, reply }
    }

    fn divisible(records: Vec<VersionedRecord>, reply: R) -> Decision<R> {
        Decision { records, atomic: false, reply }
    }
}

/// A source of random numbers, all 64 bits of each.
pub type Random<'a> = dyn FnMut() -> u64 + 'a;

/// The core of the active controller.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: Settings,
    /// Everything appended, committed or not.
    image: Image,
    /// What partitions a broker is in; follows from the image.
    index: Index,
    sessions: Sessions,
}

impl Controller {
    /// A controller over everything committed, without sessions: call
    /// [`Controller::activate`] before any other operation.
    #[must_use]
    pub fn new(settings: Settings, committed: Image) -> Controller {
        let sessions = Sessions::new(settings.session_timeout);
        Controller { index: Index::of(&committed), settings, image: committed, sessions }
    }

    /// The image of everything appended, committed or not. Answers to clients come from the
    /// committed one.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Notes a change of the quorum's own feature.
    pub fn set_kraft_version(&mut self, level: i16) {
        self.settings.kraft_version = level;
    }

    /// Takes over the records of a decision, right after their append was scheduled.
    ///
    /// # Errors
    /// A record that does not fit is a mistake of an operation: the controller must stop.
    pub fn replay_appended(
        &mut self,
        first_offset: Offset,
        records: &[VersionedRecord],
    ) -> Result<(), ReplayError> {
        let before = self.image.clone();
        let mut touched = Touched::default();
        for (index, record) in records.iter().enumerate() {
            self.image.replay(&record.record, &mut touched)?;
            self.sessions.replay(&record.record, first_offset.plus(index as i64));
        }
        self.index.update(&before, &self.image, &touched);
        Ok(())
    }

    /// Goes back to what is committed, and forgets the sessions of brokers.
    pub fn renounce(&mut self, committed: Image) {
        self.index = Index::of(&committed);
        self.image = committed;
        self.sessions = Sessions::new(self.settings.session_timeout);
    }

    /// Fences one broker whose session has timed out. Called again until it returns `None`, as
    /// each call must see what the one before did.
    pub fn fence_stale(&mut self, now: MonoTime) -> Option<Decision<NodeId>> {
        while let Some(id) = self.sessions.end_expired(now) {
            let silent = self.image.cluster().broker(id).filter(|broker| !broker.fenced);
            if let Some(epoch) = silent.map(|broker| broker.epoch) {
                return Some(Decision::divisible(self.fence_records(id, epoch), id));
            }
        }
        None
    }

    /// When [`Controller::fence_stale`] is to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.sessions.next_deadline()
    }

    /// Asserts the invariants: those of the image, and that the index follows from it.
    pub fn check(&self) {
        self.image.check();
        assert_eq!(self.index, Index::of(&self.image), "the index follows from the image");
    }

    fn version(&self) -> MetadataVersion {
        self.image.metadata_version()
    }

    /// Makes a record ready to be written, which must be allowed at the finalized level.
    fn record(&self, record: impl Into<MetadataRecord>) -> VersionedRecord {
        let record = VersionedRecord::new(record, self.version());
        assert!(first_version(&record) <= self.version(), "{record:?} at {:?}", self.version());
        record
    }

    /// The broker, if this is its present incarnation.
    fn check_epoch(&self, id: NodeId, epoch: BrokerEpoch) -> Result<(), BrokerError> {
        let broker = self.image.cluster().broker(id).ok_or(BrokerError::NotRegistered(id))?;
        if broker.epoch != epoch {
            return Err(BrokerError::StaleEpoch { expected: broker.epoch, found: epoch });
        }
        Ok(())
    }
}
