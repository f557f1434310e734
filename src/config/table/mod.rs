//! The table of configs: keys of the node, in a file for each subject, and keys of topics.

mod cleaner;
mod groups;
mod kept;
mod limits;
mod logs;
mod network;
mod node;
mod quorum;
mod topic;
mod transactions;

pub use self::kept::KEPT_TOPIC_KEYS;
pub use self::topic::TOPIC_KEYS;

use crate::key::{ConfigKey, Kind, TopicKey};

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey { name, kind, default, doc }
}

const fn topic(
    name: &'static str,
    broker_keys: &'static [&'static str],
    kind: Kind,
    doc: &'static str,
) -> TopicKey {
    TopicKey { name, broker_keys, kind, doc }
}

const COMPRESSION_TYPES: Kind =
    Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
/// The library has one level: that which Kafka's default stands for.
const LZ4_LEVELS: Kind = Kind::IntRange { min: 9, max: 9 };
const ZSTD_LEVELS: Kind = Kind::IntRange { min: -131_072, max: 22 };
const TIMESTAMP_TYPES: Kind = Kind::OneOf(&["CreateTime", "LogAppendTime"]);

/// Keys of the node, in the order of the subjects, of each sorted by name.
pub fn broker_keys() -> impl Iterator<Item = &'static ConfigKey> {
    BROKER_KEYS.iter().copied().flatten()
}

const BROKER_KEYS: [&[ConfigKey]; 8] = [
    cleaner::CLEANER,
    groups::GROUPS,
    limits::LIMITS,
    logs::LOGS,
    network::NETWORK,
    node::NODE,
    quorum::QUORUM,
    transactions::TRANSACTIONS,
];
