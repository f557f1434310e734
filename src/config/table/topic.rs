//! Keys of topics. Sorted by name.

use super::{COMPRESSION_TYPES, LZ4_LEVELS, TIMESTAMP_TYPES, ZSTD_LEVELS, topic};
use crate::key::{Kind, TopicKey};

/// Keys of topics.
pub const TOPIC_KEYS: &[TopicKey] = &[
    topic(
        "cleanup.policy",
        &["log.cleanup.policy"],
        Kind::CleanupPolicy,
        "With delete, `retention.ms` and `retention.bytes` count; with compact, the last record of \
         each key stays. Both may be given.",
    ),
    topic(
        "compression.gzip.level",
        &["compression.gzip.level"],
        Kind::GzipLevel,
        "Level at which batches are compressed with gzip, 1 to 9; -1 is the library's own.",
    ),
    topic(
        "compression.lz4.level",
        &["compression.lz4.level"],
        LZ4_LEVELS,
        "Level at which batches are compressed with lz4. There is one.",
    ),
    topic(
        "compression.type",
        &["compression.type"],
        COMPRESSION_TYPES,
        "Codec of the batches in the log. A batch that comes with another one is compressed \
         again; producer keeps that of each batch.",
    ),
    topic(
        "compression.zstd.level",
        &["compression.zstd.level"],
        ZSTD_LEVELS,
        "Level at which batches are compressed with zstd.",
    ),
    topic(
        "delete.retention.ms",
        &["log.cleaner.delete.retention.ms"],
        Kind::Long { min: 0 },
        "How long compaction leaves tombstones and the markers of transactions, ms.",
    ),
    topic(
        "file.delete.delay.ms",
        &["log.segment.delete.delay.ms"],
        Kind::Long { min: 0 },
        "Time between the renaming of a deleted directory and its removal, ms.",
    ),
    topic(
        "flush.messages",
        &["log.flush.interval.messages"],
        Kind::Long { min: 1 },
        "Messages after which the log is made durable. With 1, nothing is acknowledged before it \
         is durable; one fsync serves all that arrived meanwhile.",
    ),
    topic(
        "index.interval.bytes",
        &["log.index.interval.bytes"],
        Kind::Int { min: 0 },
        "Bytes of records between two entries of the offset index.",
    ),
    topic(
        "max.compaction.lag.ms",
        &["log.cleaner.max.compaction.lag.ms"],
        Kind::Long { min: 1 },
        "Age of a record at which its segment is to be compacted however little is to be gained, \
         ms.",
    ),
    topic(
        "max.message.bytes",
        &["message.max.bytes"],
        Kind::Int { min: 0 },
        "Largest batch that is accepted, in bytes, as it is sent and as it is stored.",
    ),
    topic(
        "message.timestamp.after.max.ms",
        &["log.message.timestamp.after.max.ms"],
        Kind::Long { min: 0 },
        "How far a record's time may lie in the future, ms, where it is the producer's.",
    ),
    topic(
        "message.timestamp.before.max.ms",
        &["log.message.timestamp.before.max.ms"],
        Kind::Long { min: 0 },
        "How far a record's time may lie in the past, ms, where it is the producer's.",
    ),
    topic(
        "message.timestamp.type",
        &["log.message.timestamp.type"],
        TIMESTAMP_TYPES,
        "Whether a record's time is the producer's or that of its append.",
    ),
    topic(
        "min.cleanable.dirty.ratio",
        &["log.cleaner.min.cleanable.ratio"],
        Kind::Ratio,
        "Part of the log that must be new for a compaction to be worth while, from 0 to 1.",
    ),
    topic(
        "min.compaction.lag.ms",
        &["log.cleaner.min.compaction.lag.ms"],
        Kind::Long { min: 0 },
        "Age that a record reaches before it is compacted, ms.",
    ),
    topic(
        "min.insync.replicas",
        &["min.insync.replicas"],
        Kind::Int { min: 1 },
        "Replicas that must be in sync for a produce with acks=all.",
    ),
    topic(
        "preallocate",
        &["log.preallocate"],
        Kind::Boolean,
        "Whether the file of a new segment has its full size at once; it is cut when the segment \
         is complete, and at a clean stop.",
    ),
    topic(
        "retention.bytes",
        &["log.retention.bytes"],
        Kind::Long { min: i64::MIN },
        "Bytes that a partition's log keeps at least; whole segments beyond go, the oldest first. \
         -1 is all.",
    ),
    topic(
        "retention.ms",
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        Kind::Long { min: -1 },
        "Age of a segment's latest record from which the segment goes, ms; -1 is never.",
    ),
    topic(
        "segment.bytes",
        &["log.segment.bytes"],
        Kind::Int { min: 1_048_576 },
        "Size of a segment at which the next one begins.",
    ),
    topic(
        "segment.index.bytes",
        &["log.index.size.max.bytes"],
        Kind::Int { min: 4 },
        "Size of an index at which the next segment begins.",
    ),
    topic(
        "segment.jitter.ms",
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        Kind::Long { min: 0 },
        "Each segment rolls earlier than `segment.ms` says by a random time below this, ms.",
    ),
    topic(
        "segment.ms",
        &["log.roll.ms", "log.roll.hours"],
        Kind::Long { min: 1 },
        "Age of a segment's first record at which the next segment begins, ms.",
    ),
];
