//! Keys of the node: listeners, connections and requests. Sorted by name.

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
        "connections.max.idle.ms",
        Kind::Long { min: -1 },
        Some("600000"),
        "Time after which a connection without a request in work is closed, ms; -1 is never.",
    ),
    key(
        "fetch.max.bytes",
        Kind::Int { min: 1024 },
        Some("57671680"),
        "Most bytes of records in the answer to a fetch.",
    ),
    key(
        "listener.security.protocol.map",
        Kind::List,
        None,
        "Security protocol of each listener, as NAME:PROTOCOL. This version serves PLAINTEXT and \
         refuses to start with another. Default: each protocol is the name of its listener, and \
         controller listeners are PLAINTEXT.",
    ),
    key(
        "listeners",
        Kind::List,
        Some("PLAINTEXT://:9092"),
        "Where the node listens, as NAME://host:port; without a host, on all addresses.",
    ),
    key(
        "max.connections",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections at one time; further ones wait to be accepted.",
    ),
    key(
        "max.connections.per.ip",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections from one address at one time; further ones are closed.",
    ),
    key(
        "ottla.produce.decompressed.max.bytes",
        Kind::Int { min: 1 },
        Some("268435456"),
        "Most bytes that the records of one produced batch may take when they are decompressed, \
         where they are looked at.",
    ),
    key(
        "ottla.produce.validation",
        Kind::OneOf(&["strict", "relaxed"]),
        Some("strict"),
        "strict looks at every record of a produced batch, as Kafka does. relaxed takes the \
         producer's word for what is inside compressed batches and for the times of records; \
         batches without a largest time, or for compacted topics, are looked at all the same.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long { min: -1 },
        Some("-1"),
        "Most bytes of requests that are being received or answered, over all connections; at the \
         limit no more is read. -1 is 256 MiB.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int { min: 1 },
        Some("104857600"),
        "Longest request in bytes; a longer one closes its connection.",
    ),
];
