//! Keys of the node: what connections and their requests may take. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const LIMITS: &[ConfigKey] = &[
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
        "max.connection.creation.rate",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most new connections in a second, as the mean of ten; further ones wait, up to 1 s each. \
         As `listener.name.NAME.max.connection.creation.rate` for a listener alone.",
    ),
    key(
        "max.connections",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections of clients at one time, and as many of the quorum; further ones wait to \
         be accepted. The inter-broker listener, when it is not the only one, goes on accepting: \
         the connection that was quiet for longest is closed for it. At most what the process's \
         limit on descriptors leaves. As `listener.name.NAME.max.connections` for a listener \
         alone.",
    ),
    key(
        "max.connections.per.ip",
        Kind::Int { min: 0 },
        Some("2147483647"),
        "Most connections from one address at one time; further ones are closed. 0 needs \
         `max.connections.per.ip.overrides`.",
    ),
    key(
        "max.connections.per.ip.overrides",
        Kind::Text,
        Some(""),
        "Most connections from single addresses, as HOST:COUNT, separated by commas.",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int { min: 0 },
        Some("1000"),
        "Most fetch sessions: clients that fetch again and again say only what changes. Without a \
         place a client goes on with full fetches.",
    ),
    key(
        "ottla.connection.receive.max.ms",
        Kind::Int { min: 1 },
        Some("60000"),
        "Longest time from the first byte of a request to its last, ms.",
    ),
    key(
        "ottla.connection.requests.max",
        Kind::Int { min: 1 },
        Some("64"),
        "Requests of one connection that are in work at one time; no more is read meanwhile.",
    ),
    key(
        "ottla.connection.unread.max.ms",
        Kind::Int { min: 1 },
        Some("300000"),
        "Time after which a connection is closed whose client takes nothing of an answer, ms.",
    ),
    key(
        "ottla.connection.unsent.max.bytes",
        Kind::Int { min: 1 },
        Some("1048576"),
        "Bytes of answers that wait for the socket of one connection, from which on none of its \
         further requests is begun.",
    ),
    key(
        "ottla.connection.waiting.max.bytes",
        Kind::Int { min: 1 },
        Some("8388608"),
        "Bytes that requests of one connection take while their answers have to wait, from which on \
         none of its further requests is begun.",
    ),
    key(
        "ottla.fetch.session.partitions.max",
        Kind::Int { min: 0 },
        Some("500000"),
        "Most partitions of all fetch sessions together, some 250 bytes each.",
    ),
    key(
        "ottla.produce.decompressed.max.bytes",
        Kind::Int { min: 1 },
        Some("67108864"),
        "Most bytes that the records of one Produce request may take when they are decompressed, \
         where they are looked at; sixteen times the length of the request if that is more.",
    ),
    key(
        "ottla.unsent.max.bytes",
        Kind::Long { min: 1 },
        Some("67108864"),
        "Most bytes of answers that wait for their sockets, over all connections. Beyond, the \
         connection whose client has taken nothing for longest is closed. Records that go from \
         the page cache to the socket do not count.",
    ),
    key(
        "ottla.waiting.max.bytes",
        Kind::Long { min: 1 },
        Some("67108864"),
        "Most bytes that requests take while their answers have to wait: for acks, for records. \
         At the limit a fetch is answered at once, and a connection that has an answer to wait \
         for begins no further request.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long { min: -1 },
        Some("-1"),
        "Most bytes of requests above 64 KiB that are being received or answered, over all \
         connections; at the limit no more is read, and connections that send slowly are closed. \
         -1 is 256 MiB.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int { min: 1 },
        Some("104857600"),
        "Longest request in bytes; a longer one closes its connection.",
    ),
];
