//! Keys of the node: what is kept in log directories, and how. Sorted by name.

use super::{COMPRESSION_TYPES, LZ4_LEVELS, TIMESTAMP_TYPES, ZSTD_LEVELS, key};
use crate::key::{ConfigKey, Kind};

pub(super) const LOGS: &[ConfigKey] = &[
    key(
        "add.partitions.to.txn.retry.backoff.max.ms",
        Kind::Int { min: 0 },
        Some("100"),
        "How long the first batch of a transaction waits for the end of its producer's last one, \
         ms. After that its client waits.",
    ),
    key(
        "add.partitions.to.txn.retry.backoff.ms",
        Kind::Int { min: 1 },
        Some("20"),
        "Time between two looks whether that one has ended, ms.",
    ),
    key("compression.gzip.level", Kind::GzipLevel, Some("-1"), "Default of the topic's key."),
    key("compression.lz4.level", LZ4_LEVELS, Some("9"), "Default of the topic's key."),
    key("compression.type", COMPRESSION_TYPES, Some("producer"), "Default of the topic's key."),
    key("compression.zstd.level", ZSTD_LEVELS, Some("3"), "Default of the topic's key."),
    key("log.cleanup.policy", Kind::CleanupPolicy, Some("delete"), "Default of `cleanup.policy`."),
    key(
        "log.dir",
        Kind::List,
        Some("/tmp/kafka-logs"),
        "Data directories when `log.dirs` is absent.",
    ),
    key(
        "log.dir.failure.timeout.ms",
        Kind::Long { min: 1 },
        Some("30000"),
        "Time within which the controller must have been told that a log directory failed, ms. \
         Else the node ends.",
    ),
    key(
        "log.dirs",
        Kind::List,
        None,
        "Data directories. A new partition goes where the fewest are; when one fails, those in the \
         others are served on.",
    ),
    key(
        "log.flush.interval.messages",
        Kind::Long { min: 1 },
        Some("9223372036854775807"),
        "Default of `flush.messages`.",
    ),
    key(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int { min: 0 },
        Some("60000"),
        "Time between writings of the recovery points, ms.",
    ),
    key(
        "log.index.interval.bytes",
        Kind::Int { min: 0 },
        Some("4096"),
        "Default of `index.interval.bytes`.",
    ),
    key(
        "log.index.size.max.bytes",
        Kind::Int { min: 4 },
        Some("10485760"),
        "Default of `segment.index.bytes`.",
    ),
    key(
        "log.message.timestamp.after.max.ms",
        Kind::Long { min: 0 },
        Some("3600000"),
        "Default of `message.timestamp.after.max.ms`.",
    ),
    key(
        "log.message.timestamp.before.max.ms",
        Kind::Long { min: 0 },
        Some("9223372036854775807"),
        "Default of `message.timestamp.before.max.ms`.",
    ),
    key(
        "log.message.timestamp.type",
        TIMESTAMP_TYPES,
        Some("CreateTime"),
        "Default of `message.timestamp.type`.",
    ),
    key("log.preallocate", Kind::Boolean, Some("false"), "Default of `preallocate`."),
    key(
        "log.retention.bytes",
        Kind::Long { min: i64::MIN },
        Some("-1"),
        "Default of `retention.bytes`.",
    ),
    key(
        "log.retention.check.interval.ms",
        Kind::Long { min: 1 },
        Some("300000"),
        "Time between looks for segments that retention lets go, ms; the first look is after 30 s \
         at the latest.",
    ),
    key(
        "log.retention.hours",
        Kind::Int { min: i32::MIN },
        Some("168"),
        "Default of `retention.ms` in hours, when `log.retention.ms` and `log.retention.minutes` \
         are absent; negative is never.",
    ),
    key(
        "log.retention.minutes",
        Kind::Int { min: i32::MIN },
        None,
        "Default of `retention.ms` in minutes, when `log.retention.ms` is absent.",
    ),
    key(
        "log.retention.ms",
        Kind::Long { min: i64::MIN },
        None,
        "Default of `retention.ms`; negative is never.",
    ),
    key(
        "log.roll.hours",
        Kind::Int { min: 1 },
        Some("168"),
        "Default of `segment.ms` in hours, when `log.roll.ms` is absent.",
    ),
    key(
        "log.roll.jitter.hours",
        Kind::Int { min: 0 },
        Some("0"),
        "Default of `segment.jitter.ms` in hours, when `log.roll.jitter.ms` is absent.",
    ),
    key("log.roll.jitter.ms", Kind::Long { min: 0 }, None, "Default of `segment.jitter.ms`."),
    key("log.roll.ms", Kind::Long { min: 1 }, None, "Default of `segment.ms`."),
    key(
        "log.segment.bytes",
        Kind::Int { min: 1_048_576 },
        Some("1073741824"),
        "Default of `segment.bytes`.",
    ),
    key(
        "log.segment.delete.delay.ms",
        Kind::Long { min: 0 },
        Some("60000"),
        "Default of `file.delete.delay.ms`.",
    ),
    key(
        "message.max.bytes",
        Kind::Int { min: 0 },
        Some("1048588"),
        "Default of `max.message.bytes`.",
    ),
    key("min.insync.replicas", Kind::Int { min: 1 }, Some("1"), "Default of the topic's key."),
    key(
        "num.recovery.threads.per.data.dir",
        Kind::Int { min: 1 },
        Some("2"),
        "Logs that are opened at the same time at the start; at most four for each data thread.",
    ),
    key(
        "ottla.open.files.max",
        Kind::Int { min: 1 },
        Some("1000"),
        "Most files of logs that stay open between uses; at most a quarter of the process's limit.",
    ),
    key(
        "producer.id.expiration.check.interval.ms",
        Kind::Int { min: 1 },
        Some("600000"),
        "Time between looks for silent producers, ms.",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int { min: 1 },
        Some("86400000"),
        "Time after which the sequence numbers of a silent producer are forgotten, ms.",
    ),
    key(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Kind::Long { min: 0 },
        Some("9223372036854775807"),
        "Most bytes in a second that are copied for replicas that move to another log directory.",
    ),
    key(
        "replica.high.watermark.checkpoint.interval.ms",
        Kind::Long { min: 1 },
        Some("5000"),
        "Time between writings of the high watermarks, ms.",
    ),
    key(
        "transaction.partition.verification.enable",
        Kind::Boolean,
        Some("true"),
        "Whether the first batch of a transaction is taken only when the transaction's coordinator \
         knows of the partition. Clients that let the broker add partitions always have them \
         added.",
    ),
];
