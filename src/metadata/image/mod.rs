//! The image: everything that the metadata log says, up to an offset.
//!
//! An image never changes under a reader: replaying a record makes the next image out of shared
//! structure, so that keeping an old one, and going back to it, costs a clone of a few pointers.
//! Every type of record is replayed and kept, also those whose function is not built, and
//! [`Image::to_records`] writes all of it back: a cluster taken over loses nothing.
//!
//! Replay is the only thing that changes an image. What the marks of a transaction (KIP-868) mean
//! is known to the [`Loader`](crate::Loader); an image passes over them.

mod cluster;
mod configs;
mod delta;
mod error;
mod features;
mod partition;
mod queries;
mod security;
mod topics;

#[cfg(test)]
mod tests;

pub use cluster::{Broker, Cluster, ControllerNode};
pub use configs::{ConfigMap, ConfigResource, Configs, ResourceKind};
pub use delta::{Changed, Delta, LocalChange, PartitionDelta, Touched};
pub use error::ReplayError;
pub use features::Features;
pub(crate) use partition::LEADER_STAYS;
pub use partition::{LeaderRecovery, Partition};
pub use queries::LeaderUnavailable;
pub use security::{
    Acls, ClientQuotas, DelegationTokens, ProducerIds, QuotaEntity, QuotaMap, ScramCredentials,
    ScramKey,
};
pub use topics::{Topic, Topics};

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::versions::{MetadataVersion, VersionedRecord};

/// Up to where in the log an image reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Offset of the last record in it; -1 for the empty image.
    pub offset: Offset,
    /// Epoch of the quorum's leader that wrote that record.
    pub epoch: LeaderEpoch,
    /// When that record was appended.
    pub timestamp: Timestamp,
}

impl Provenance {
    /// Before the first record.
    pub const NOTHING: Provenance =
        Provenance { offset: Offset(-1), epoch: LeaderEpoch::NONE, timestamp: Timestamp::NONE };
}

/// The cluster's metadata. Cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    provenance: Provenance,
    features: Features,
    cluster: Cluster,
    topics: Topics,
    configs: Configs,
    quotas: ClientQuotas,
    producer_ids: ProducerIds,
    acls: Acls,
    scram: ScramCredentials,
    tokens: DelegationTokens,
}

impl Default for Image {
    /// The image of an empty log.
    fn default() -> Image {
        Image {
            provenance: Provenance::NOTHING,
            features: Features::default(),
            cluster: Cluster::default(),
            topics: Topics::default(),
            configs: Configs::default(),
            quotas: ClientQuotas::default(),
            producer_ids: ProducerIds::default(),
            acls: Acls::default(),
            scram: ScramCredentials::default(),
            tokens: DelegationTokens::default(),
        }
    }
}

/// Declares the readers of the image's parts.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident: $part:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> &$part {
            &self.$name
        }
    )*};
}

impl Image {
    parts! {
        /// The finalized feature levels.
        features: Features;
        /// The registered nodes.
        cluster: Cluster;
        /// The topics.
        topics: Topics;
        /// The dynamic configs.
        configs: Configs;
        /// The client quotas.
        quotas: ClientQuotas;
        /// The producer ids given out.
        producer_ids: ProducerIds;
        /// The ACLs.
        acls: Acls;
        /// The SCRAM credentials.
        scram: ScramCredentials;
        /// The delegation tokens.
        tokens: DelegationTokens;
    }

    /// Up to where in the log the image reaches.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Sets up to where the records replayed reach.
    pub fn set_provenance(&mut self, provenance: Provenance) {
        self.provenance = provenance;
    }

    /// The finalized `metadata.version`, or the oldest while the log holds none.
    #[must_use]
    pub fn metadata_version(&self) -> MetadataVersion {
        self.features.metadata_version().unwrap_or(MetadataVersion::MIN)
    }

    /// Makes this the image after `record`, and notes in `touched` what it is about.
    ///
    /// # Errors
    /// When the record does not fit. The image may then hold a part of it and must be dropped.
    pub fn replay(
        &mut self,
        record: &MetadataRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        use MetadataRecord as R;
        match record {
            R::RegisterBroker(record) => self.cluster.register_broker(record, touched),
            R::UnregisterBroker(record) => self.cluster.unregister_broker(record, touched)?,
            R::Topic(record) => self.topics.create(record, touched)?,
            R::Partition(record) => self.topics.set_partition(record, touched)?,
            R::Config(record) => self.configs.set(record, touched),
            R::PartitionChange(record) => self.topics.change_partition(record, touched)?,
            R::FenceBroker(record) => self.cluster.fence(record, touched)?,
            R::UnfenceBroker(record) => self.cluster.unfence(record, touched)?,
            R::RemoveTopic(record) => {
                let topic = self.topics.remove(record, touched)?;
                self.configs.remove_topic(&topic.name, touched);
            }
            R::DelegationToken(record) => self.tokens.set(record, touched),
            R::UserScramCredential(record) => self.scram.set(record, touched),
            R::FeatureLevel(record) => self.features.set(record, touched)?,
            R::ClientQuota(record) => self.quotas.set(record, touched),
            R::ProducerIds(record) => self.producer_ids.set(record, touched)?,
            R::BrokerRegistrationChange(record) => self.cluster.change_broker(record, touched)?,
            R::AccessControlEntry(record) => self.acls.add(record, touched)?,
            R::RemoveAccessControlEntry(record) => self.acls.remove(record, touched)?,
            R::ZkMigrationState(record) => self.features.set_zk_migration_state(record),
            R::RemoveUserScramCredential(record) => self.scram.remove(record, touched)?,
            R::RemoveDelegationToken(record) => self.tokens.remove(record, touched),
            R::RegisterController(record) => self.cluster.register_controller(record, touched),
            R::ClearElr(record) => self.topics.clear_elr(record, touched)?,
            R::UnregisterController(record) => self.cluster.unregister_controller(record, touched),
            R::NoOp(_) | R::BeginTransaction(_) | R::EndTransaction(_) | R::AbortTransaction(_) => {
            }
        }
        Ok(())
    }

    /// Gives the records that make this image out of an empty one: the data of a snapshot, in the
    /// order in which Kafka writes it. One at a time, as all of them may be many.
    pub fn for_each_record(&self, out: &mut dyn FnMut(VersionedRecord)) {
        let version = self.metadata_version();
        self.features.write(version, out);
        self.cluster.write(version, out);
        self.topics.write(version, out);
        self.configs.write(version, out);
        self.quotas.write(version, out);
        self.producer_ids.write(version, out);
        self.acls.write(version, out);
        self.scram.write(version, out);
        self.tokens.write(version, out);
    }

    /// The same records all at once.
    #[must_use]
    pub fn to_records(&self) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        self.for_each_record(&mut |record| records.push(record));
        records
    }

    /// Asserts what holds in every image.
    pub fn check(&self) {
        self.topics.check();
    }
}
