//! Keys of the node: groups of consumers, and the topic that they are kept in. Sorted by name.

use super::key;
use crate::key::{ConfigKey, Kind};

pub(super) const GROUPS: &[ConfigKey] = &[
    key(
        "group.consumer.assignment.interval.ms",
        Kind::Int { min: 0 },
        Some("1000"),
        "Shortest time between two assignments of a consumer group (KIP-848), ms; a group may have \
         its own.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int { min: 1 },
        Some("5000"),
        "Time between the heartbeats of a member of a consumer group, ms; a group may have its own.",
    ),
    key(
        "group.consumer.max.size",
        Kind::Int { min: 1 },
        Some("2147483647"),
        "Most members of a consumer group.",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::OneOf(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        Some("bidirectional"),
        "Whether groups with members may change from the classic to the consumer protocol (upgrade), \
         or back (downgrade).",
    ),
    key(
        "group.consumer.regex.refresh.interval.ms",
        Kind::Int { min: 10_000 },
        Some("600000"),
        "Longest time between two look-ups of the topics that patterns of a consumer group stand \
         for, ms.",
    ),
    key(
        "group.consumer.session.timeout.ms",
        Kind::Int { min: 1 },
        Some("45000"),
        "Time without a heartbeat after which a member is out of its consumer group, ms; a group \
         may have its own.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int { min: 0 },
        Some("3000"),
        "How long a group that was empty waits for members to join, ms; again while they do.",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int { min: 0 },
        Some("1800000"),
        "Longest time that a member may ask to be silent, ms.",
    ),
    key("group.max.size", Kind::Int { min: 1 }, Some("2147483647"), "Most members of a group."),
    key(
        "group.min.session.timeout.ms",
        Kind::Int { min: 0 },
        Some("6000"),
        "Shortest time that a member may ask to be silent, ms.",
    ),
    key(
        "group.share.session.timeout.ms",
        Kind::Int { min: 1 },
        Some("45000"),
        "How long after a load silent members of share groups stay, ms.",
    ),
    key(
        "group.streams.session.timeout.ms",
        Kind::Int { min: 1 },
        Some("45000"),
        "How long after a load silent members of streams groups stay, ms.",
    ),
    key(
        "offset.metadata.max.bytes",
        Kind::Int { min: 0 },
        Some("4096"),
        "Longest text that may be committed with an offset, in UTF-16 units.",
    ),
    key(
        "offsets.commit.timeout.ms",
        Kind::Int { min: 1 },
        Some("5000"),
        "How long whoever changes a group waits for its records to be committed, ms; then it hears \
         that the coordinator is not available.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long { min: 1 },
        Some("600000"),
        "Time between two looks for offsets that nobody needs any more, ms.",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int { min: 1 },
        Some("10080"),
        "How long offsets are kept after a group has become empty, or, of a group that never had \
         members or whose members do not read the topic, after they were committed; minutes.",
    ),
    key(
        "offsets.topic.compression.codec",
        Kind::IntRange { min: 0, max: 4 },
        Some("0"),
        "How the coordinator's own batches are compressed: 0 not, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    ),
    key(
        "offsets.topic.num.partitions",
        Kind::Int { min: 1 },
        Some("50"),
        "Partitions that `__consumer_offsets` is created with.",
    ),
    key(
        "offsets.topic.replication.factor",
        Kind::Short { min: 1 },
        Some("3"),
        "Replicas that `__consumer_offsets` is created with. Unless it is given, at most as many \
         as there are brokers.",
    ),
    key(
        "offsets.topic.segment.bytes",
        Kind::Int { min: 1 },
        Some("104857600"),
        "`segment.bytes` that `__consumer_offsets` is created with.",
    ),
];
