//! What a seed has in store for groups.

use std::time::Duration;

use ottla_config::NodeConfig;

use super::promises::GroupNumber;
use crate::dice::Dice;
use crate::life::Troubles;

/// What a seed has in store.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whether the machine can lose power; then every record is flushed before it counts.
    pub power_cuts: bool,
    /// How often a process is started and ended.
    pub lives: u64,
    /// The groups.
    pub groups: Vec<Group>,
    /// Partitions of the topic that they read.
    pub partitions: i32,
    /// Whether connections are reset.
    pub resets: bool,
    /// Whether syncs may take long.
    pub slow_disk: bool,
    /// Whether the wall clock jumps.
    pub clock_jumps: bool,
    /// Whether the disk may fail, or be full.
    pub disk_failures: bool,
    /// How long records may take to be committed, at worst.
    pub log_delay_ms_max: u64,
    /// How many of a hundred records the log refuses, at worst.
    pub refused_percent_max: u64,
    /// How often members do something else than they should, in a thousand steps.
    pub restlessness: u64,
    /// Most members of a group: as many as there are of the largest one, so that who died and is
    /// not missed yet keeps others out.
    pub size_max: Option<usize>,
    /// How long a member of a consumer group may be silent.
    pub consumer_session_ms: u64,
    /// Whether members of consumer groups subscribe by patterns, some of them.
    pub patterns: bool,
    /// Whether somebody deletes offsets and groups.
    pub forgets: bool,
    /// How groups may change their protocol (`group.consumer.migration.policy`).
    pub policy: Policy,
    /// Whether members of the classic protocol do not say what they have, while they read it: what
    /// the coordinator makes of that is a bug that is planted.
    pub is_silent_of_owned: bool,
}

/// A value of `group.consumer.migration.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy(&'static str);

impl Policy {
    const BIDIRECTIONAL: Policy = Policy("bidirectional");
    /// Any way is open in half of the worlds.
    const ALL: [Policy; 6] = [
        Policy::BIDIRECTIONAL,
        Policy::BIDIRECTIONAL,
        Policy::BIDIRECTIONAL,
        Policy("upgrade"),
        Policy("downgrade"),
        Policy("disabled"),
    ];

    /// Whether a classic group may become a consumer group.
    pub fn upgrades(self) -> bool {
        matches!(self.0, "bidirectional" | "upgrade")
    }

    /// Whether a consumer group may become a classic one.
    pub fn downgrades(self) -> bool {
        matches!(self.0, "bidirectional" | "downgrade")
    }

    /// Whether consumer groups take members of the classic protocol.
    pub fn mixes(self) -> bool {
        self.0 != "disabled"
    }
}

/// What members of a group speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The classic protocol.
    Classic,
    /// The consumer protocol (KIP-848).
    Consumer,
    /// Either, each for itself, and now and then the other one.
    Mixed,
}

/// What a member speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    Classic,
    Consumer,
}

/// A group of a plan.
#[derive(Clone, Debug)]
pub struct Group {
    pub number: GroupNumber,
    pub kind: Kind,
    pub dynamic: u32,
    pub static_: u32,
    /// `consumer`, or the protocol of others; of classic members.
    pub protocol_type: &'static str,
    /// Whether members of the classic protocol keep what they have while they join again; of a
    /// mixed group.
    pub is_cooperative: bool,
    /// What all of a mixed group speak in the end, where its members cannot differ.
    pub last: Speaks,
}

impl Group {
    pub fn name(&self) -> String {
        format!("group-{}", self.number)
    }
}

impl Plan {
    /// What the dice say; `mixes` when groups are to have members of both protocols.
    pub fn draw(dice: &Dice, mixes: bool) -> Plan {
        let count = dice.between(1, 3) as usize;
        let group = |number| {
            let dynamic = dice.between(0, 4) as u32;
            let static_ = dice.between(u64::from(dynamic == 0), 3) as u32;
            let protocol_type = dice.pick(&["consumer", "consumer", "connect"]);
            let kind = dice.pick(&[Kind::Classic, Kind::Consumer]);
            let (last, is_cooperative) = (Speaks::Consumer, false);
            let group =
                Group { number, kind, dynamic, static_, protocol_type, is_cooperative, last };
            match mixes {
                false => group,
                true => Group {
                    kind: Kind::Mixed,
                    protocol_type: "consumer",
                    is_cooperative: dice.chance(60),
                    last: dice.pick(&[Speaks::Classic, Speaks::Consumer]),
                    ..group
                },
            }
        };
        let groups: Vec<Group> = (0..count).map(group).collect();
        let largest = groups.iter().map(|group| (group.dynamic + group.static_) as usize).max();
        Plan {
            size_max: largest.filter(|_| dice.chance(30)),
            power_cuts: dice.chance(60),
            lives: dice.between(1, 5),
            groups,
            partitions: dice.between(1, 6) as i32,
            resets: dice.chance(50),
            slow_disk: dice.chance(40),
            clock_jumps: dice.chance(30),
            disk_failures: dice.chance(30),
            log_delay_ms_max: dice.pick(&[0, 0, 20, 300, 3_000]),
            refused_percent_max: dice.pick(&[0, 0, 0, 5, 40]),
            restlessness: dice.pick(&[10, 50, 150]),
            consumer_session_ms: dice.pick(&[300, 1_000, 3_000]),
            patterns: dice.chance(30) && !mixes,
            forgets: dice.chance(60),
            policy: if mixes { dice.pick(&Policy::ALL) } else { Policy::BIDIRECTIONAL },
            is_silent_of_owned: false,
        }
    }

    /// What may befall the broker.
    pub fn troubles(&self) -> Troubles {
        Troubles {
            power_cuts: self.power_cuts,
            resets: self.resets,
            slow_disk: self.slow_disk,
            clock_jumps: self.clock_jumps,
            disk_failures: self.disk_failures,
            log_delay_ms_max: self.log_delay_ms_max,
            refused_percent_max: self.refused_percent_max,
        }
    }

    /// The broker's config: Kafka's, only that times are short.
    pub fn config(&self, dice: &Dice, compacts: bool) -> NodeConfig {
        let overrides = [
            ("log.dirs", "/var/data"),
            ("auto.create.topics.enable", "false"),
            ("group.consumer.migration.policy", self.policy.0),
        ];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut config = NodeConfig::new(None, &overrides).expect("the embedded default");
        let ms = Duration::from_millis;
        config.recovery_point_interval = ms(dice.pick(&[500, 60_000]));
        config.high_watermark_interval = ms(dice.pick(&[500, 5_000]));
        config.topic_defaults.flush_messages = match self.power_cuts {
            true => 1,
            false => dice.pick(&[1, 3, i64::MAX]),
        };
        // Commits must survive it; what a log tells lies of stays whole.
        config.cleaner.is_enabled = compacts;
        config.cleaner.backoff = ms(dice.pick(&[100, 1_000]));
        config.cleaner.map_bytes_all = dice.pick(&[200, 1 << 20]);
        let topics = &mut config.topic_defaults;
        topics.segment_index_bytes = dice.pick(&[100, 10_000]);
        topics.index_interval_bytes = dice.pick(&[0, 1_000]);
        topics.segment_age_max = ms(dice.pick(&[500, 5_000, 1_000_000]));
        topics.min_cleanable_ratio = dice.pick(&[0.0, 0.3]);
        topics.delete_retention = ms(dice.pick(&[0, 1_000, 86_400_000]));
        let groups = &mut config.groups;
        groups.topic_partitions = dice.pick(&[1, 2, 5]);
        groups.topic_segment_bytes = 1 << 20;
        groups.size_max = self.size_max.unwrap_or(groups.size_max);
        groups.consumer_size_max = self.size_max.unwrap_or(groups.consumer_size_max);
        groups.consumer_session_timeout = ms(self.consumer_session_ms);
        groups.consumer_heartbeat_interval = ms(self.consumer_session_ms / 4);
        groups.consumer_assignment_interval = ms(dice.pick(&[0, 100, 1_000]));
        groups.session_timeout_min = ms(1);
        groups.initial_rebalance_delay = ms(dice.pick(&[0, 0, 200, 1_000]));
        groups.new_member_join_timeout = ms(dice.pick(&[6_000, 10_000]));
        groups.commit_timeout = ms(dice.pick(&[200, 1_000, 5_000]));
        // Nothing is old enough to be forgotten, however often it is looked for.
        groups.retention_check_interval = ms(dice.pick(&[200, 5_000]));
        config
    }
}
