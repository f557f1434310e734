//! The table of metrics: what a node tells about itself, each declared once.
//!
//! Source: `GroupCoordinatorMetrics`, `CoordinatorRuntimeMetricsImpl`, `LogCleaner` and
//! `LogCleanerManager` of Kafka; `kafka_exporter` for `kafka_consumergroup_*`.

use super::{Metric, MetricKind};

const fn metric(
    place: (&'static str, &'static str, &'static str),
    labels: &'static [&'static str],
    kind: MetricKind,
    doc: &'static str,
) -> Metric {
    Metric { domain: place.0, mbean_type: place.1, name: place.2, labels, kind, doc }
}

const fn gauge(
    place: (&'static str, &'static str, &'static str),
    labels: &'static [&'static str],
    doc: &'static str,
) -> Metric {
    metric(place, labels, MetricKind::Gauge, doc)
}

const fn counter(
    place: (&'static str, &'static str, &'static str),
    labels: &'static [&'static str],
    doc: &'static str,
) -> Metric {
    metric(place, labels, MetricKind::Counter, doc)
}

const fn of_groups(name: &'static str) -> (&'static str, &'static str, &'static str) {
    ("kafka.server", "group-coordinator-metrics", name)
}

const fn of_manager(name: &'static str) -> (&'static str, &'static str, &'static str) {
    ("kafka.coordinator.group", "GroupMetadataManager", name)
}

const fn of_cleaner(name: &'static str) -> (&'static str, &'static str, &'static str) {
    ("kafka.log", "LogCleaner", name)
}

const fn of_cleaner_manager(name: &'static str) -> (&'static str, &'static str, &'static str) {
    ("kafka.log", "LogCleanerManager", name)
}

const fn of_exporter(name: &'static str) -> (&'static str, &'static str, &'static str) {
    ("", "kafka_consumergroup", name)
}

/// Groups by protocol.
pub const GROUP_COUNT: Metric = gauge(
    of_groups("group-count"),
    &["protocol"],
    "Groups whose coordinator this node is, by protocol (classic, consumer, share, streams).",
);
/// Consumer groups by state.
pub const CONSUMER_GROUP_COUNT: Metric = gauge(
    of_groups("consumer-group-count"),
    &["state"],
    "Consumer groups (KIP-848) by state: empty, assigning, reconciling, stable, dead.",
);
/// Partitions of the topic of groups, by what they do.
pub const GROUP_PARTITIONS: Metric = gauge(
    of_groups("num-partitions"),
    &["state"],
    "Partitions of `__consumer_offsets` that this node coordinates: loading, active, failed.",
);
/// What the coordinators have decided, and nobody has written.
pub const EVENT_QUEUE_SIZE: Metric = gauge(
    of_groups("event-queue-size"),
    &[],
    "Requests that are decided and wait until their records are appended; Kafka's wait to be decided.",
);
/// Longest load.
pub const PARTITION_LOAD_TIME_MAX: Metric = gauge(
    of_groups("partition-load-time-max"),
    &[],
    "Longest time that a partition of `__consumer_offsets` took to be read since the start, ms.",
);
/// Mean load.
pub const PARTITION_LOAD_TIME_AVG: Metric = gauge(
    of_groups("partition-load-time-avg"),
    &[],
    "Mean time that a partition of `__consumer_offsets` took to be read since the start, ms.",
);
/// Rebalances of classic groups.
pub const COMPLETED_REBALANCE_COUNT: Metric = counter(
    of_groups("group-completed-rebalance-count"),
    &[],
    "Rebalances of classic groups that ended with an assignment.",
);
/// Rebalances of consumer groups.
pub const CONSUMER_REBALANCE_COUNT: Metric = counter(
    of_groups("consumer-group-rebalance-count"),
    &[],
    "Rebalances of consumer groups: each new epoch of a group.",
);
/// Offsets that were committed.
pub const OFFSET_COMMIT_COUNT: Metric =
    counter(of_groups("offset-commit-count"), &[], "Offsets that were committed.");
/// Offsets that were too old.
pub const OFFSET_EXPIRATION_COUNT: Metric =
    counter(of_groups("offset-expiration-count"), &[], "Offsets that were forgotten as too old.");
/// Offsets that were deleted.
pub const OFFSET_DELETION_COUNT: Metric =
    counter(of_groups("offset-deletion-count"), &[], "Offsets that an operator deleted.");
/// All classic groups.
pub const NUM_GROUPS: Metric = gauge(of_manager("NumGroups"), &[], "Classic groups.");
/// Committed offsets.
pub const NUM_OFFSETS: Metric =
    gauge(of_manager("NumOffsets"), &[], "Offsets that groups have committed.");
/// Classic groups that rebalance.
pub const NUM_GROUPS_PREPARING: Metric = gauge(
    of_manager("NumGroupsPreparingRebalance"),
    &[],
    "Classic groups that wait for their members to join.",
);
/// Classic groups that wait for an assignment.
pub const NUM_GROUPS_COMPLETING: Metric = gauge(
    of_manager("NumGroupsCompletingRebalance"),
    &[],
    "Classic groups that wait for their leader's assignment.",
);
/// Classic groups at work.
pub const NUM_GROUPS_STABLE: Metric = gauge(
    of_manager("NumGroupsStable"),
    &[],
    "Classic groups whose members have their assignments.",
);
/// Classic groups without members.
pub const NUM_GROUPS_EMPTY: Metric =
    gauge(of_manager("NumGroupsEmpty"), &[], "Classic groups without members.");
/// Classic groups that are gone.
pub const NUM_GROUPS_DEAD: Metric = gauge(
    of_manager("NumGroupsDead"),
    &[],
    "Classic groups that are gone and still known: none, here.",
);
/// How much of what was read is written again.
pub const CLEANER_RECOPY_PERCENT: Metric = gauge(
    of_cleaner("cleaner-recopy-percent"),
    &[],
    "Bytes that the last cleanings wrote, of those they read, %.",
);
/// How full the tables of keys were.
pub const CLEANER_BUFFER_UTILIZATION: Metric = gauge(
    of_cleaner("max-buffer-utilization-percent"),
    &[],
    "How full the table of keys was in the last cleaning of each cleaner, %; the fullest.",
);
/// How long a cleaning took.
pub const CLEANER_MAX_CLEAN_TIME: Metric = gauge(
    of_cleaner("max-clean-time-secs"),
    &[],
    "How long the last cleaning of each cleaner took, s; the longest.",
);
/// How late compaction is.
pub const CLEANER_MAX_COMPACTION_DELAY: Metric = gauge(
    of_cleaner("max-compaction-delay-secs"),
    &[],
    "For how long `max.compaction.lag.ms` was over for the oldest record of a log when a cleaner last looked, s; the longest.",
);
/// Cleaners that are no more, though they should be.
pub const CLEANER_DEAD_THREADS: Metric = gauge(
    of_cleaner("DeadThreadCount"),
    &[],
    "Cleaners that ended by a fault of the program; the others go on.",
);
/// Logs that cannot be cleaned.
pub const UNCLEANABLE_PARTITIONS: Metric = gauge(
    of_cleaner_manager("uncleanable-partitions-count"),
    &["logDirectory"],
    "Logs that cannot be compacted because something in them cannot be read; the log of the process \
     says which, and why.",
);
/// Bytes of them.
pub const UNCLEANABLE_BYTES: Metric = gauge(
    of_cleaner_manager("uncleanable-bytes"),
    &["logDirectory"],
    "Bytes of those logs that would be compacted.",
);
/// How dirty the dirtiest log is.
pub const MAX_DIRTY_PERCENT: Metric = gauge(
    of_cleaner_manager("max-dirty-percent"),
    &[],
    "Bytes that are not compacted in the log that was chosen last, of all that could be, %.",
);
/// When a cleaner last looked.
pub const TIME_SINCE_LAST_RUN: Metric = gauge(
    of_cleaner_manager("time-since-last-run-ms"),
    &[],
    "Time since a cleaner last looked for a log to compact, ms.",
);
/// What a group has committed.
pub const CONSUMERGROUP_CURRENT_OFFSET: Metric = gauge(
    of_exporter("current_offset"),
    &["consumergroup", "topic", "partition"],
    "The offset that a group has committed.",
);
/// What a group has not read.
pub const CONSUMERGROUP_LAG: Metric = gauge(
    of_exporter("lag"),
    &["consumergroup", "topic", "partition"],
    "Records between the offset that a group has committed and the end of the partition.",
);
/// Members of a group.
pub const CONSUMERGROUP_MEMBERS: Metric =
    gauge(of_exporter("members"), &["consumergroup"], "Members of a group.");
/// What is left out.
pub const CONSUMERGROUP_LEFT_OUT: Metric = gauge(
    of_exporter("partitions_left_out"),
    &[],
    "Committed offsets that the page has no series for: more than `ottla.metrics.offsets.max`.",
);

/// All metrics, in the order of the page.
pub const METRICS: &[&Metric] = &[
    &GROUP_COUNT,
    &CONSUMER_GROUP_COUNT,
    &GROUP_PARTITIONS,
    &EVENT_QUEUE_SIZE,
    &PARTITION_LOAD_TIME_MAX,
    &PARTITION_LOAD_TIME_AVG,
    &COMPLETED_REBALANCE_COUNT,
    &CONSUMER_REBALANCE_COUNT,
    &OFFSET_COMMIT_COUNT,
    &OFFSET_EXPIRATION_COUNT,
    &OFFSET_DELETION_COUNT,
    &NUM_GROUPS,
    &NUM_OFFSETS,
    &NUM_GROUPS_PREPARING,
    &NUM_GROUPS_COMPLETING,
    &NUM_GROUPS_STABLE,
    &NUM_GROUPS_EMPTY,
    &NUM_GROUPS_DEAD,
    &CLEANER_RECOPY_PERCENT,
    &CLEANER_BUFFER_UTILIZATION,
    &CLEANER_MAX_CLEAN_TIME,
    &CLEANER_MAX_COMPACTION_DELAY,
    &CLEANER_DEAD_THREADS,
    &UNCLEANABLE_PARTITIONS,
    &UNCLEANABLE_BYTES,
    &MAX_DIRTY_PERCENT,
    &TIME_SINCE_LAST_RUN,
    &CONSUMERGROUP_CURRENT_OFFSET,
    &CONSUMERGROUP_LAG,
    &CONSUMERGROUP_MEMBERS,
    &CONSUMERGROUP_LEFT_OUT,
];
