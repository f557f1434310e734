//! Keys of the node: compaction. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const CLEANER: &[ConfigKey] = &[
    key(
        "log.cleaner.backoff.ms",
        Kind::Long { min: 0 },
        Some("15000"),
        "Time between looks for a log to compact when there was none, ms.",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long { min: i64::MIN },
        Some("134217728"),
        "Most memory for the tables of keys, of all threads together, in bytes; 24 for each key. It \
         is taken while a log is compacted, as far as that log needs it.",
    ),
    key(
        "log.cleaner.delete.retention.ms",
        Kind::Long { min: 0 },
        Some("86400000"),
        "Default of `delete.retention.ms`.",
    ),
    key("log.cleaner.enable", Kind::Boolean, Some("true"), "Whether logs are compacted at all."),
    key(
        "log.cleaner.io.buffer.load.factor",
        Kind::Ratio,
        Some("0.9"),
        "How full the tables of keys may be, from 0 to 1.",
    ),
    key(
        "log.cleaner.io.buffer.size",
        Kind::Int { min: 0 },
        Some("524288"),
        "Memory for what compaction writes, of all threads together, in bytes.",
    ),
    key(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double,
        Some("1.7976931348623157E308"),
        "Most bytes a second that compaction reads and writes, all threads together.",
    ),
    key(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long { min: 1 },
        Some("9223372036854775807"),
        "Default of `max.compaction.lag.ms`.",
    ),
    key(
        "log.cleaner.min.cleanable.ratio",
        Kind::Ratio,
        Some("0.5"),
        "Default of `min.cleanable.dirty.ratio`.",
    ),
    key(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long { min: 0 },
        Some("0"),
        "Default of `min.compaction.lag.ms`.",
    ),
    key(
        "log.cleaner.threads",
        Kind::Int { min: 0 },
        Some("1"),
        "Logs that are compacted at the same time.",
    ),
];
