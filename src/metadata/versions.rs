//! Feature levels, and which version of a record is written under which level.
//!
//! A replica stops at a record whose type or version it does not know. `metadata.version` keeps
//! such records from being written while an old node is in the cluster, so that the version of
//! every record is chosen here and nowhere else.
//!
//! Source: `MetadataVersion` and `Feature` of Kafka 4.3 and 4.4, seen with `kafka-storage
//! version-mapping` and in the records that 4.3.1 writes.

use std::fmt;

use ottla_protocol::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord,
};

/// Name of the feature that says which records may be written.
pub const METADATA_VERSION: &str = "metadata.version";
/// Name of the feature that keeps eligible leader replicas (KIP-966).
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

/// A level of `metadata.version` that Kafka has named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(pub(crate) i16);

/// Every level from the oldest that Kafka 4 works with, and its name.
const LEVELS: &[(i16, &str)] = &[
    (7, "3.3-IV3"),
    (8, "3.4-IV0"),
    (9, "3.5-IV0"),
    (10, "3.5-IV1"),
    (11, "3.5-IV2"),
    (12, "3.6-IV0"),
    (13, "3.6-IV1"),
    (14, "3.6-IV2"),
    (15, "3.7-IV0"),
    (16, "3.7-IV1"),
    (17, "3.7-IV2"),
    (18, "3.7-IV3"),
    (19, "3.7-IV4"),
    (20, "3.8-IV0"),
    (21, "3.9-IV0"),
    (22, "4.0-IV0"),
    (23, "4.0-IV1"),
    (24, "4.0-IV2"),
    (25, "4.0-IV3"),
    (26, "4.1-IV0"),
    (27, "4.1-IV1"),
    (28, "4.2-IV0"),
    (29, "4.2-IV1"),
    (30, "4.3-IV0"),
    (31, "4.4-IV0"),
    (32, "4.4-IV1"),
    (33, "4.4-IV2"),
];

impl MetadataVersion {
    /// The oldest level that Kafka 4 works with.
    pub const MIN: MetadataVersion = MetadataVersion(7);
    /// The newest level whose records are known.
    pub const MAX: MetadataVersion = MetadataVersion(33);
    /// The level that Kafka 4.3 gives a new cluster.
    pub const V4_3: MetadataVersion = MetadataVersion(30);
    /// Brokers may say that they came from ZooKeeper.
    pub const ZK_MIGRATION: MetadataVersion = MetadataVersion(8);
    /// SCRAM credentials (KIP-900).
    pub const SCRAM: MetadataVersion = MetadataVersion(11);
    /// A smaller ISR no longer bumps the leader epoch (KAFKA-15021).
    pub const QUIET_ISR_SHRINK: MetadataVersion = MetadataVersion(12);
    /// Transactions in the metadata log (KIP-868).
    pub const TRANSACTIONS: MetadataVersion = MetadataVersion(13);
    /// Delegation tokens.
    pub const DELEGATION_TOKENS: MetadataVersion = MetadataVersion(14);
    /// Controllers register themselves (KIP-919).
    pub const CONTROLLER_REGISTRATION: MetadataVersion = MetadataVersion(15);
    /// Replicas name their log directory (KIP-858).
    pub const DIRECTORIES: MetadataVersion = MetadataVersion(17);
    /// Partitions may have eligible leader replicas (KIP-966).
    pub const ELR: MetadataVersion = MetadataVersion(23);
    /// Brokers name the log directories that get no new replicas (KIP-1066).
    pub const CORDONED_DIRECTORIES: MetadataVersion = MetadataVersion(30);
    /// Controllers can be removed.
    pub const UNREGISTER_CONTROLLER: MetadataVersion = MetadataVersion(33);

    /// Levels that brought records, or fields of them, which the levels below cannot say. A level
    /// that Kafka has not released is taken for one.
    const CHANGES_RECORDS: [i16; 11] = [8, 11, 13, 14, 15, 17, 23, 30, 31, 32, 33];

    /// Whether what is written at this level may be nothing that `lower` can say.
    #[must_use]
    pub fn changes_records_since(self, lower: MetadataVersion) -> bool {
        Self::CHANGES_RECORDS.iter().any(|level| lower.0 < *level && *level <= self.0)
    }

    /// The level with this number, if Kafka has named it.
    #[must_use]
    pub fn from_level(level: i16) -> Option<MetadataVersion> {
        LEVELS.iter().any(|(known, _)| *known == level).then_some(MetadataVersion(level))
    }

    /// The level of this name, such as "4.3-IV0"; of a release, such as "4.3", its last level.
    #[must_use]
    pub fn from_name(name: &str) -> Option<MetadataVersion> {
        let is_it =
            |known: &str| known == name || known.split_once("-IV").is_some_and(|(r, _)| r == name);
        let (level, _) = LEVELS.iter().rev().find(|(_, known)| is_it(known))?;
        Some(MetadataVersion(*level))
    }

    /// Number of the level.
    #[must_use]
    pub fn level(self) -> i16 {
        self.0
    }

    /// Kafka's name of the level.
    #[must_use]
    pub fn name(self) -> &'static str {
        let (_, name) =
            LEVELS.iter().find(|(level, _)| *level == self.0).expect("only known levels");
        name
    }
}

impl fmt::Debug for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

/// A feature of the cluster, as Kafka 4.4 knows it.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Name in records, requests and tools.
    pub name: &'static str,
    /// Lowest level; 0 is "off".
    pub min: i16,
    /// Highest level.
    pub max: i16,
    /// Levels that a new cluster gets, each from a `metadata.version` on, ascending.
    defaults: &'static [(i16, i16)],
}

/// The quorum's own feature: its level stands in a control record, never in a
/// `FeatureLevelRecord`.
pub const KRAFT_VERSION: Feature =
    Feature { name: "kraft.version", min: 0, max: 1, defaults: &[(21, 1)] };

/// Feature of consumer groups (KIP-848).
pub const GROUP_VERSION: &str = "group.version";

/// Feature of transactions (KIP-890).
pub const TRANSACTION_VERSION: &str = "transaction.version";

const TRANSACTIONS: Feature =
    Feature { name: TRANSACTION_VERSION, min: 0, max: 2, defaults: &[(24, 2)] };

const GROUPS: Feature = Feature { name: GROUP_VERSION, min: 0, max: 1, defaults: &[(22, 1)] };

/// Every feature that stands in a `FeatureLevelRecord`, `metadata.version` apart, by name.
pub const FEATURES: &[Feature] = &[
    Feature { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1, defaults: &[(26, 1)] },
    GROUPS,
    Feature { name: "share.version", min: 0, max: 2, defaults: &[(28, 1), (31, 2)] },
    Feature { name: "streams.version", min: 0, max: 1, defaults: &[(29, 1)] },
    TRANSACTIONS,
];

/// The features that clients are shown, and may update: name, lowest and highest level. What is
/// not built is not among them, whatever its level in the log.
pub fn shown_features() -> impl Iterator<Item = (&'static str, i16, i16)> {
    let metadata = (METADATA_VERSION, MetadataVersion::MIN.level(), MetadataVersion::MAX.level());
    let others = [GROUPS, KRAFT_VERSION, TRANSACTIONS].map(|it| (it.name, it.min, it.max));
    std::iter::once(metadata).chain(others)
}

impl Feature {
    /// The level that a cluster formatted at `version` gets.
    #[must_use]
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        let reached = self.defaults.iter().rev().find(|(from, _)| *from <= version.level());
        reached.map_or(0, |(_, level)| *level)
    }
}

/// A record with the version it is written in.
#[derive(Clone, PartialEq, Debug)]
pub struct VersionedRecord {
    /// The record.
    pub record: MetadataRecord,
    /// Its version.
    pub version: i16,
}

impl VersionedRecord {
    /// Chooses the version that is right at `version`.
    #[must_use]
    pub fn new(record: impl Into<MetadataRecord>, version: MetadataVersion) -> VersionedRecord {
        let record = record.into();
        VersionedRecord { version: record_version(&record, version), record }
    }
}

/// The version in which a record is written at `version`.
///
/// It is the one Kafka writes, or a higher one when the record holds what that cannot say: such
/// content is in an image only when a record of that version has been in the log, so that every
/// replica can read it, and no snapshot may lose it. (Kafka refuses to write that snapshot.)
#[must_use]
pub fn record_version(record: &MetadataRecord, version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(record) => {
            registration_version(version).max(registration_need(record))
        }
        MetadataRecord::Partition(record) => partition_version(version).max(partition_need(record)),
        MetadataRecord::PartitionChange(record) => {
            partition_version(version).max(partition_change_need(record))
        }
        // Kafka writes the lowest version that can say it, whatever the level.
        MetadataRecord::BrokerRegistrationChange(record) => registration_change_need(record),
        _ => 0,
    }
}

fn registration_version(version: MetadataVersion) -> i16 {
    if version >= MetadataVersion::CORDONED_DIRECTORIES {
        4
    } else if version >= MetadataVersion::DIRECTORIES {
        3
    } else if version >= MetadataVersion::ZK_MIGRATION {
        2
    } else {
        1
    }
}

fn registration_need(record: &RegisterBrokerRecord) -> i16 {
    if record.cordoned_log_dirs.is_some() {
        4
    } else if !record.log_dirs.is_empty() {
        3
    } else if record.is_migrating_zk_broker {
        2
    } else {
        1
    }
}

fn partition_version(version: MetadataVersion) -> i16 {
    if version >= MetadataVersion::ELR {
        2
    } else if version >= MetadataVersion::DIRECTORIES {
        1
    } else {
        0
    }
}

fn partition_need(record: &PartitionRecord) -> i16 {
    if record.eligible_leader_replicas.is_some() || record.last_known_elr.is_some() {
        2
    } else {
        i16::from(!record.directories.is_empty())
    }
}

fn partition_change_need(record: &PartitionChangeRecord) -> i16 {
    if record.eligible_leader_replicas.is_some() || record.last_known_elr.is_some() {
        2
    } else {
        i16::from(record.directories.is_some())
    }
}

fn registration_change_need(record: &BrokerRegistrationChangeRecord) -> i16 {
    if record.cordoned_log_dirs.is_some() {
        3
    } else if !record.log_dirs.is_empty() {
        2
    } else {
        i16::from(record.in_controlled_shutdown != 0)
    }
}

/// The first level at which a controller may write a record of this type and version.
#[must_use]
pub fn first_version(record: &VersionedRecord) -> MetadataVersion {
    match (&record.record, record.version) {
        (MetadataRecord::RegisterBroker(_), 4)
        | (MetadataRecord::BrokerRegistrationChange(_), 3) => MetadataVersion::CORDONED_DIRECTORIES,
        (MetadataRecord::RegisterBroker(_), 3)
        | (MetadataRecord::BrokerRegistrationChange(_), 2)
        | (MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_), 1) => {
            MetadataVersion::DIRECTORIES
        }
        (MetadataRecord::RegisterBroker(_), 2) | (MetadataRecord::ZkMigrationState(_), _) => {
            MetadataVersion::ZK_MIGRATION
        }
        (MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_), 2)
        | (MetadataRecord::ClearElr(_), _) => MetadataVersion::ELR,
        (
            MetadataRecord::UserScramCredential(_) | MetadataRecord::RemoveUserScramCredential(_),
            _,
        ) => MetadataVersion::SCRAM,
        (
            MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_),
            _,
        ) => MetadataVersion::TRANSACTIONS,
        (MetadataRecord::DelegationToken(_) | MetadataRecord::RemoveDelegationToken(_), _) => {
            MetadataVersion::DELEGATION_TOKENS
        }
        (MetadataRecord::RegisterController(_), _) => MetadataVersion::CONTROLLER_REGISTRATION,
        (MetadataRecord::UnregisterController(_), _) => MetadataVersion::UNREGISTER_CONTROLLER,
        _ => MetadataVersion::MIN,
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::Uuid;

    use super::*;

    fn level(number: i16) -> MetadataVersion {
        MetadataVersion::from_level(number).expect("a known level")
    }

    #[test]
    fn levels_are_dense_and_have_names() {
        for number in MetadataVersion::MIN.level()..=MetadataVersion::MAX.level() {
            assert_eq!(MetadataVersion::from_name(level(number).name()), Some(level(number)));
        }
        assert_eq!(MetadataVersion::from_level(6), None);
        assert_eq!(MetadataVersion::from_level(34), None);
        assert_eq!(MetadataVersion::from_name("4.3"), Some(MetadataVersion::V4_3));
        assert_eq!(MetadataVersion::from_name("4.0"), Some(level(25)));
        assert_eq!(MetadataVersion::from_name("4"), None);
    }

    /// What `kafka-storage version-mapping` of 4.3.1 answers for each release.
    #[test]
    fn default_levels_are_kafkas() {
        let check = |name: &str, levels: [i16; 6]| {
            let version = MetadataVersion::from_name(name).expect("a known level");
            let found: Vec<i16> = FEATURES
                .iter()
                .chain([&KRAFT_VERSION])
                .map(|feature| feature.default_level(version))
                .collect();
            assert_eq!(found, levels, "{name}");
        };
        check("3.6-IV1", [0, 0, 0, 0, 0, 0]);
        check("3.9-IV0", [0, 0, 0, 0, 0, 1]);
        check("4.0-IV0", [0, 1, 0, 0, 0, 1]);
        check("4.0-IV2", [0, 1, 0, 0, 2, 1]);
        check("4.1-IV0", [1, 1, 0, 0, 2, 1]);
        check("4.2-IV0", [1, 1, 1, 0, 2, 1]);
        check("4.3-IV0", [1, 1, 1, 1, 2, 1]);
        check("4.4-IV2", [1, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn records_get_the_version_of_the_level_or_what_their_content_needs() {
        let check = |record: MetadataRecord, number: i16, version: i16| {
            assert_eq!(record_version(&record, level(number)), version, "{record:?} at {number}");
        };
        for (number, version) in [(7, 1), (8, 2), (16, 2), (17, 3), (29, 3), (30, 4), (33, 4)] {
            check(RegisterBrokerRecord::default().into(), number, version);
        }
        for (number, version) in [(7, 0), (16, 0), (17, 1), (22, 1), (23, 2), (33, 2)] {
            check(PartitionRecord::default().into(), number, version);
            check(PartitionChangeRecord::default().into(), number, version);
        }
        let with_directory =
            PartitionRecord { directories: vec![Uuid([1; 16])], ..Default::default() };
        check(with_directory.into(), 7, 1);
        let fence = BrokerRegistrationChangeRecord { fenced: 1, ..Default::default() };
        let stop = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..fence.clone() };
        let cordon =
            BrokerRegistrationChangeRecord { cordoned_log_dirs: Some(vec![]), ..fence.clone() };
        check(fence.into(), 30, 0);
        check(stop.into(), 30, 1);
        check(cordon.into(), 30, 3);
    }
}
