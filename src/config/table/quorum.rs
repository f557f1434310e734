//! Keys of the node: the quorum and its metadata log. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const QUORUM: &[ConfigKey] = &[
    key(
        "controller.listener.names",
        Kind::List,
        None,
        "Names of the listeners that belong to the controller.",
    ),
    key(
        "controller.quorum.bootstrap.servers",
        Kind::List,
        Some(""),
        "Where controllers listen, as host:port. This version runs a quorum of one and refuses \
         more than one.",
    ),
    key(
        "controller.quorum.election.backoff.max.ms",
        Kind::Int { min: 0 },
        Some("1000"),
        "Longest wait after a lost election, ms.",
    ),
    key(
        "controller.quorum.election.timeout.ms",
        Kind::Int { min: 0 },
        Some("1000"),
        "Time without a leader after which a voter asks for votes, ms (drawn up to twice it).",
    ),
    key(
        "controller.quorum.fetch.timeout.ms",
        Kind::Int { min: 0 },
        Some("2000"),
        "Time without a successful fetch after which a voter asks for votes, ms.",
    ),
    key(
        "controller.quorum.request.timeout.ms",
        Kind::Int { min: 1 },
        Some("2000"),
        "Time after which a request of the quorum counts as lost, ms.",
    ),
    key(
        "controller.quorum.voters",
        Kind::List,
        Some(""),
        "Voters of a static quorum, as id@host:port. This version runs a quorum of one and \
         refuses more than one.",
    ),
    key(
        "metadata.log.dir",
        Kind::Text,
        None,
        "Directory of the metadata log. Default: the first of `log.dirs`.",
    ),
    key(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long { min: 1 },
        Some("20971520"),
        "Bytes of the metadata log after which a snapshot of the metadata is written.",
    ),
    key(
        "metadata.log.max.snapshot.interval.ms",
        Kind::Long { min: 0 },
        Some("3600000"),
        "Time after which a snapshot of the metadata is written if there is anything new, ms; 0 \
         is never.",
    ),
    key(
        "metadata.log.segment.bytes",
        Kind::Int { min: 8_388_608 },
        Some("1073741824"),
        "Size of a segment of the metadata log at which the next one begins.",
    ),
    key(
        "metadata.log.segment.ms",
        Kind::Long { min: i64::MIN },
        Some("604800000"),
        "Age of the first record of a segment of the metadata log at which the next one begins, ms.",
    ),
    key(
        "metadata.max.retention.bytes",
        Kind::Long { min: i64::MIN },
        Some("104857600"),
        "Bytes of the metadata log and its snapshots together, above which the oldest snapshot goes \
         if there is a newer one, and the log in front of that; negative is all.",
    ),
    key(
        "metadata.max.retention.ms",
        Kind::Long { min: i64::MIN },
        Some("604800000"),
        "Age of a snapshot of the metadata at which it goes if there is a newer one, ms; negative \
         is never.",
    ),
];
