//! Keys of Kafka's topics that nothing reads in this version: values are checked, kept in the
//! metadata and told, so that tools which set them work and a directory given back to Kafka has
//! them. Sorted by name. Each says why nothing is lost meanwhile.

use crate::key::{KeptKey, Kind};

const fn kept(
    name: &'static str,
    broker_key: Option<&'static str>,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> KeptKey {
    KeptKey { name, broker_key, kind, default, doc }
}

const FOREVER: &str = "9223372036854775807";
const FROM_0: Kind = Kind::Long { min: 0 };
/// Kafka counts -2 as "what the whole log's limit says".
const LOCAL: Kind = Kind::Long { min: -2 };

/// Keys of topics that are kept.
pub const KEPT_TOPIC_KEYS: &[KeptKey] = &[
    kept(
        "flush.ms",
        None,
        FROM_0,
        FOREVER,
        "Age at which records are made durable, ms. Kafka looks every \
         `log.flush.scheduler.interval.ms`, by default never; so does this version.",
    ),
    kept(
        "follower.replication.throttled.replicas",
        None,
        Kind::ThrottledReplicas,
        "",
        "Replicas whose fetching is slowed down. This version runs on one node.",
    ),
    kept(
        "leader.replication.throttled.replicas",
        None,
        Kind::ThrottledReplicas,
        "",
        "Replicas whose being fetched is slowed down. This version runs on one node.",
    ),
    kept(
        "local.retention.bytes",
        Some("log.local.retention.bytes"),
        LOCAL,
        "-2",
        "What stays on the disk of a topic with tiered storage, which is not built yet.",
    ),
    kept(
        "local.retention.ms",
        Some("log.local.retention.ms"),
        LOCAL,
        "-2",
        "What stays on the disk of a topic with tiered storage, which is not built yet, ms.",
    ),
    kept(
        "remote.log.copy.disable",
        None,
        Kind::Boolean,
        "false",
        "Whether tiered storage, which is not built yet, gets no more segments.",
    ),
    kept(
        "remote.log.delete.on.disable",
        None,
        Kind::Boolean,
        "false",
        "Whether switching tiered storage off, which is not built yet, deletes what is there.",
    ),
    kept(
        "remote.storage.enable",
        None,
        Kind::Boolean,
        "false",
        "Whether the topic has tiered storage, which is not built yet: true is refused.",
    ),
    kept(
        "unclean.leader.election.enable",
        Some("unclean.leader.election.enable"),
        Kind::Boolean,
        "false",
        "Whether a replica that is not in sync may lead when no other is there. The controller \
         goes by it; on one node there is no other.",
    ),
];
