//! How groups are coordinated.

use std::time::Duration;

use crate::values::Values;

/// Limits and times of groups, and the topic that they are kept in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupsConfig {
    /// `offsets.topic.num.partitions`.
    pub topic_partitions: i32,
    /// `offsets.topic.replication.factor`, if it is given: else at most as many as are alive.
    pub topic_replicas: Option<i16>,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: u32,
    /// `offsets.topic.compression.codec`: its number in a batch's attributes.
    pub topic_compression: i16,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max: usize,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`.
    pub size_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.assignment.interval.ms`.
    pub consumer_assignment_interval: Duration,
    /// `group.consumer.migration.policy`.
    pub consumer_migration: Migration,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval: Duration,
    /// `group.consumer.max.size`.
    pub consumer_size_max: usize,
    /// `group.share.session.timeout.ms`.
    pub share_session_timeout: Duration,
    /// `group.streams.session.timeout.ms`.
    pub streams_session_timeout: Duration,
    /// How long a member that joined anew may take until its rebalance ends; Kafka has no key.
    pub new_member_join_timeout: Duration,
}

/// Whether groups with members may change their protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migration {
    /// Both ways.
    Bidirectional,
    /// From the classic to the consumer protocol.
    Upgrade,
    /// From the consumer to the classic protocol.
    Downgrade,
    /// Neither, and no group takes both kinds of members.
    Disabled,
}

impl Migration {
    fn named(name: Option<&str>) -> Migration {
        match name {
            Some("upgrade") => Migration::Upgrade,
            Some("downgrade") => Migration::Downgrade,
            Some("disabled") => Migration::Disabled,
            _ => Migration::Bidirectional,
        }
    }

    /// Whether a classic group may become a consumer group.
    #[must_use]
    pub fn upgrades(self) -> bool {
        matches!(self, Migration::Bidirectional | Migration::Upgrade)
    }

    /// Whether a consumer group may become a classic one.
    #[must_use]
    pub fn downgrades(self) -> bool {
        matches!(self, Migration::Bidirectional | Migration::Downgrade)
    }

    /// Whether consumer groups take members of the classic protocol.
    #[must_use]
    pub fn mixes(self) -> bool {
        self != Migration::Disabled
    }
}

/// Most replicas of the topic unless another number is given.
pub const TOPIC_REPLICAS_DEFAULT: i16 = 3;

impl GroupsConfig {
    pub(crate) fn read(values: &Values) -> GroupsConfig {
        let ms = |name| Duration::from_millis(u64::from(values.int(name).unsigned_abs()));
        let replicas = i16::try_from(values.int("offsets.topic.replication.factor"));
        let is_given = values.is_given("offsets.topic.replication.factor");
        GroupsConfig {
            topic_partitions: values.int("offsets.topic.num.partitions"),
            topic_replicas: is_given.then(|| replicas.unwrap_or(i16::MAX)),
            topic_segment_bytes: values.int("offsets.topic.segment.bytes").unsigned_abs(),
            topic_compression: i16::try_from(values.int("offsets.topic.compression.codec"))
                .expect("the table has its range"),
            commit_timeout: ms("offsets.commit.timeout.ms"),
            offset_metadata_max: values.int("offset.metadata.max.bytes").unsigned_abs() as usize,
            session_timeout_min: ms("group.min.session.timeout.ms"),
            session_timeout_max: ms("group.max.session.timeout.ms"),
            initial_rebalance_delay: ms("group.initial.rebalance.delay.ms"),
            size_max: values.int("group.max.size").unsigned_abs() as usize,
            offsets_retention: Duration::from_mins(u64::from(
                values.int("offsets.retention.minutes").unsigned_abs(),
            )),
            retention_check_interval: Duration::from_millis(
                values
                    .long("offsets.retention.check.interval.ms")
                    .map_or(u64::MAX, i64::unsigned_abs),
            ),
            consumer_session_timeout: ms("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval: ms("group.consumer.heartbeat.interval.ms"),
            consumer_assignment_interval: ms("group.consumer.assignment.interval.ms"),
            consumer_migration: Migration::named(values.text("group.consumer.migration.policy")),
            consumer_regex_refresh_interval: ms("group.consumer.regex.refresh.interval.ms"),
            consumer_size_max: values.int("group.consumer.max.size").unsigned_abs() as usize,
            share_session_timeout: ms("group.share.session.timeout.ms"),
            streams_session_timeout: ms("group.streams.session.timeout.ms"),
            new_member_join_timeout: Duration::from_mins(5),
        }
    }
}
