//! Configs of groups (KIP-848, KIP-932, KIP-1071): checked within the limits that Kafka's broker
//! has by default, kept and told. Nothing reads them before there are groups.

use std::collections::BTreeMap;

use crate::key::Kind;

/// A key of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupKey {
    /// Its name.
    pub name: &'static str,
    /// Kafka's key of the broker that gives its default.
    pub broker_key: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Default in text form.
    pub default: &'static str,
    /// The broker's key that names the smallest value, and that value.
    min: Option<(&'static str, i32)>,
    /// The broker's key that names the largest value, and that value.
    max: Option<(&'static str, i32)>,
    /// What it decides, with its unit.
    pub doc: &'static str,
}

type Limit = Option<(&'static str, i32)>;

const fn key(
    name: &'static str,
    broker_key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> GroupKey {
    GroupKey { name, broker_key, kind, default, min: None, max: None, doc }
}

const fn limited(row: GroupKey, min: Limit, max: Limit) -> GroupKey {
    GroupKey { min, max, ..row }
}

const FROM_0: Kind = Kind::Int { min: 0 };
const FROM_1: Kind = Kind::Int { min: 1 };

/// Keys of groups. Sorted by name.
pub const GROUP_KEYS: &[GroupKey] = &[
    limited(
        key(
            "consumer.assignment.interval.ms",
            "group.consumer.assignment.interval.ms",
            FROM_0,
            "1000",
            "Shortest time between two assignments of a consumer group, ms.",
        ),
        Some(("group.consumer.min.assignment.interval.ms", 0)),
        Some(("group.consumer.max.assignment.interval.ms", 15_000)),
    ),
    limited(
        key(
            "consumer.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            FROM_1,
            "5000",
            "Time between the heartbeats of a consumer, ms.",
        ),
        Some(("group.consumer.min.heartbeat.interval.ms", 5000)),
        Some(("group.consumer.max.heartbeat.interval.ms", 15_000)),
    ),
    limited(
        key(
            "consumer.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            FROM_1,
            "45000",
            "Time without a heartbeat after which a consumer is out of its group, ms.",
        ),
        Some(("group.consumer.min.session.timeout.ms", 45_000)),
        Some(("group.consumer.max.session.timeout.ms", 60_000)),
    ),
    limited(
        key(
            "share.assignment.interval.ms",
            "group.share.assignment.interval.ms",
            FROM_0,
            "1000",
            "Shortest time between two assignments of a share group, ms.",
        ),
        Some(("group.share.min.assignment.interval.ms", 0)),
        Some(("group.share.max.assignment.interval.ms", 15_000)),
    ),
    key(
        "share.auto.offset.reset",
        "share.auto.offset.reset",
        Kind::OffsetReset,
        "latest",
        "Where a share group begins to read.",
    ),
    limited(
        key(
            "share.delivery.count.limit",
            "group.share.delivery.count.limit",
            Kind::Int { min: 2 },
            "5",
            "How often a record is delivered to a share group at most.",
        ),
        Some(("group.share.min.delivery.count.limit", 2)),
        Some(("group.share.max.delivery.count.limit", 10)),
    ),
    limited(
        key(
            "share.heartbeat.interval.ms",
            "group.share.heartbeat.interval.ms",
            FROM_1,
            "5000",
            "Time between the heartbeats of a share group's member, ms.",
        ),
        Some(("group.share.min.heartbeat.interval.ms", 5000)),
        Some(("group.share.max.heartbeat.interval.ms", 15_000)),
    ),
    key(
        "share.isolation.level",
        "share.isolation.level",
        Kind::OneOf(&["read_committed", "read_uncommitted"]),
        "read_uncommitted",
        "Whether a share group gets records of transactions that are not committed.",
    ),
    limited(
        key(
            "share.partition.max.record.locks",
            "group.share.partition.max.record.locks",
            Kind::Int { min: 100 },
            "2000",
            "Records of a partition that a share group may hold at one time.",
        ),
        Some(("group.share.min.partition.max.record.locks", 100)),
        Some(("group.share.max.partition.max.record.locks", 4000)),
    ),
    limited(
        key(
            "share.record.lock.duration.ms",
            "group.share.record.lock.duration.ms",
            Kind::Int { min: 1000 },
            "30000",
            "How long a member of a share group may hold a record, ms.",
        ),
        Some(("group.share.min.record.lock.duration.ms", 15_000)),
        Some(("group.share.max.record.lock.duration.ms", 60_000)),
    ),
    key(
        "share.renew.acknowledge.enable",
        "share.renew.acknowledge.enable",
        Kind::Boolean,
        "true",
        "Whether members of a share group may hold a record for longer.",
    ),
    limited(
        key(
            "share.session.timeout.ms",
            "group.share.session.timeout.ms",
            FROM_1,
            "45000",
            "Time without a heartbeat after which a member is out of its share group, ms.",
        ),
        Some(("group.share.min.session.timeout.ms", 45_000)),
        Some(("group.share.max.session.timeout.ms", 60_000)),
    ),
    limited(
        key(
            "streams.assignment.interval.ms",
            "group.streams.assignment.interval.ms",
            FROM_0,
            "1000",
            "Shortest time between two assignments of a streams group, ms.",
        ),
        Some(("group.streams.min.assignment.interval.ms", 0)),
        Some(("group.streams.max.assignment.interval.ms", 15_000)),
    ),
    limited(
        key(
            "streams.heartbeat.interval.ms",
            "group.streams.heartbeat.interval.ms",
            FROM_1,
            "5000",
            "Time between the heartbeats of a streams group's member, ms.",
        ),
        Some(("group.streams.min.heartbeat.interval.ms", 5000)),
        Some(("group.streams.max.heartbeat.interval.ms", 15_000)),
    ),
    key(
        "streams.initial.rebalance.delay.ms",
        "group.streams.initial.rebalance.delay.ms",
        FROM_0,
        "3000",
        "How long a new streams group waits for more members, ms.",
    ),
    limited(
        key(
            "streams.num.standby.replicas",
            "group.streams.num.standby.replicas",
            FROM_0,
            "0",
            "Standby copies of each task of a streams group.",
        ),
        None,
        Some(("group.streams.max.standby.replicas", 2)),
    ),
    limited(
        key(
            "streams.session.timeout.ms",
            "group.streams.session.timeout.ms",
            FROM_1,
            "45000",
            "Time without a heartbeat after which a member is out of its streams group, ms.",
        ),
        Some(("group.streams.min.session.timeout.ms", 45_000)),
        Some(("group.streams.max.session.timeout.ms", 60_000)),
    ),
];

/// Checks all configs that a group is to have.
///
/// # Errors
/// Why one is refused, in Kafka's words.
pub fn check_group_configs(configs: &BTreeMap<&str, &str>) -> Result<(), String> {
    let find = |name: &str| GROUP_KEYS.iter().find(|key| key.name == name);
    if let Some(name) = configs.keys().find(|name| find(name).is_none()) {
        return Err(format!("Unknown group config name: {name}"));
    }
    let known = || configs.iter().filter_map(|(name, value)| Some((find(name)?, *value)));
    let judged: Vec<(&GroupKey, String)> = known()
        .map(|(key, value)| Ok((key, key.kind.judge(key.name, value)?)))
        .collect::<Result<_, String>>()?;
    for (key, value) in judged {
        let Ok(number) = value.parse::<i32>() else { continue };
        if let Some((limit, _)) = key.min.filter(|(_, min)| number < *min) {
            return Err(format!("{} must be greater than or equal to {limit}", key.name));
        }
        if let Some((limit, _)) = key.max.filter(|(_, max)| number > *max) {
            return Err(format!("{} must be less than or equal to {limit}", key.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_allowed() {
        assert!(GROUP_KEYS.is_sorted_by_key(|key| key.name));
        let defaults = GROUP_KEYS.iter().map(|key| (key.name, key.default)).collect();
        assert_eq!(check_group_configs(&defaults), Ok(()));
    }
}
