//! Keys of the node: listeners, and what producers are held to. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const NETWORK: &[ConfigKey] = &[
    key(
        "advertised.listeners",
        Kind::List,
        None,
        "What clients are told to connect to, as NAME://host:port. Default: `listeners`, with the \
         host's name where they name none.",
    ),
    key(
        "inter.broker.listener.name",
        Kind::Text,
        None,
        "Listener that other brokers connect to, PLAINTEXT when it is absent; `max.connections` does not keep them out.",
    ),
    key(
        "listener.security.protocol.map",
        Kind::Text,
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        "Security protocol of each listener, as NAME:PROTOCOL, separated by commas. This version serves PLAINTEXT and \
         refuses to start with another. When it is absent, controller listeners are PLAINTEXT.",
    ),
    key(
        "listeners",
        Kind::List,
        Some("PLAINTEXT://:9092"),
        "Where the node listens, as NAME://host:port; without a host, on all addresses.",
    ),
    key(
        "max.request.partition.size.limit",
        Kind::Int { min: 1 },
        Some("2000"),
        "Most partitions in one answer to DescribeTopicPartitions.",
    ),
    key(
        "ottla.metrics.listener",
        Kind::Text,
        None,
        "Where the node tells its metrics, as host:port, over HTTP at /metrics; without a host, on \
         all addresses. Whoever gets there may read names of groups and topics.",
    ),
    key(
        "ottla.metrics.offsets.max",
        Kind::Int { min: 0 },
        Some("10000"),
        "Most committed offsets that the page of metrics has, each with its lag; and most groups, \
         with their members.",
    ),
    key(
        "ottla.produce.validation",
        Kind::OneOf(&["strict", "relaxed"]),
        Some("strict"),
        "strict looks at every record of a produced batch, as Kafka does. relaxed looks at the \
         batch's header and checksum and takes the producer's word for the records; batches \
         without a largest time, or for compacted topics, are looked at all the same.",
    ),
];
