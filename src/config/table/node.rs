//! Keys of the node: the node itself: its identity, its topics, its threads. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const NODE: &[ConfigKey] = &[
    key(
        "auto.create.topics.enable",
        Kind::Boolean,
        Some("true"),
        "Whether asking for the metadata of a missing topic creates it.",
    ),
    key(
        "broker.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        Some("2000"),
        "Time between the heartbeats of a broker to the controller, ms.",
    ),
    key("broker.rack", Kind::Text, None, "Rack of the node."),
    key(
        "broker.session.timeout.ms",
        Kind::Int { min: 1 },
        Some("9000"),
        "Time without a heartbeat after which the controller fences a broker, ms.",
    ),
    key(
        "default.replication.factor",
        Kind::Int { min: 1 },
        Some("1"),
        "Replicas of a topic that is created without saying.",
    ),
    key("delete.topic.enable", Kind::Boolean, Some("true"), "Whether topics can be deleted."),
    key("node.id", Kind::Int { min: 0 }, Some("1"), "Id of the node."),
    key(
        "num.partitions",
        Kind::Int { min: 1 },
        Some("1"),
        "Partitions of a topic that is created without saying.",
    ),
    key(
        "ottla.data.threads",
        Kind::Int { min: 0 },
        Some("0"),
        "Threads that serve clients; 0 is one per processor.",
    ),
    key(
        "ottla.unprotected.loopback",
        Kind::Boolean,
        Some("false"),
        "Whether to start although the configuration names an authorizer, or the metadata holds \
         ACLs or client quotas, none of which is built yet: for a look at the data. Only taken \
         when all listeners are bound to loopback addresses.",
    ),
    key(
        "process.roles",
        Kind::List,
        Some("broker,controller"),
        "Roles of the node. This version runs both in one process and refuses another value.",
    ),
];
