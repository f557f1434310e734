//! What a seed has in store for transactions.

use std::time::Duration;

use ottla_config::NodeConfig;

use super::session::Speaks;
use crate::dice::Dice;
use crate::life::Troubles;
use crate::mutant::TxnBug;

/// What a seed has in store.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whether the machine can lose power.
    pub power_cuts: bool,
    /// How often a process is started and ended.
    pub lives: u64,
    /// Partitions of each topic.
    pub partitions: i32,
    /// What each transactional id speaks that feeds copy jobs.
    pub feeders: Vec<Speaks>,
    /// What each copy job speaks.
    pub copiers: Vec<Speaks>,
    /// Instances of each id.
    pub instances: u32,
    /// Readers of everything.
    pub readers: u32,
    /// How long transactions may take, ms.
    pub timeout_ms: u64,
    /// Whether connections are reset.
    pub resets: bool,
    /// Whether messages are lost, late and doubled.
    pub loses: bool,
    /// Whether syncs may take long.
    pub slow_disk: bool,
    /// Whether the wall clock jumps.
    pub clock_jumps: bool,
    /// Whether the disk may fail, or be full.
    pub disk_failures: bool,
    /// Whether producer snapshots and indexes get lost while the broker is down.
    pub loses_files: bool,
    /// How long records of coordinators may take to be committed, at worst.
    pub log_delay_ms_max: u64,
    /// How many of a hundred records the logs of coordinators refuse, at worst.
    pub refused_percent_max: u64,
    /// How long an id is kept that nobody uses, if that is short.
    pub expiration_ms: Option<u64>,
    /// Whether ids are loaded with epochs that are nearly used up.
    pub worn: bool,
    /// Whether an operator lowers and raises `transaction.version`.
    pub changes_level: bool,
    /// What is wrong in this world.
    pub bug: Option<TxnBug>,
}

/// How far the wall clock jumps at most, ms: less than what an id is kept for.
pub const JUMP_MS_MAX: u64 = 2_000;

impl Plan {
    /// What the dice say.
    pub fn draw(dice: &Dice, bug: Option<TxnBug>) -> Plan {
        let speaks = || dice.pick(&[Speaks::Classic, Speaks::Bumping]);
        let feeders = (0..dice.between(1, 3)).map(|_| speaks()).collect();
        let copiers = (0..dice.between(0, 2)).map(|_| speaks()).collect();
        let mut plan = Plan {
            power_cuts: dice.chance(60),
            lives: dice.between(1, 5),
            partitions: dice.between(1, 3) as i32,
            feeders,
            copiers,
            instances: dice.between(1, 2) as u32,
            readers: dice.between(1, 2) as u32,
            timeout_ms: dice.pick(&[500, 2_000, 2_000, 5_000]),
            resets: dice.chance(50),
            loses: dice.chance(70),
            slow_disk: dice.chance(40),
            clock_jumps: dice.chance(30),
            disk_failures: dice.chance(30),
            loses_files: dice.chance(30),
            log_delay_ms_max: dice.pick(&[0, 0, 20, 300, 2_000]),
            refused_percent_max: dice.pick(&[0, 0, 0, 5, 40]),
            expiration_ms: dice.pick(&[None, None, Some(3_000)]),
            worn: dice.chance(20),
            changes_level: dice.chance(30),
            bug,
        };
        plan.changes_level &= bug.is_none();
        match bug {
            Some(TxnBug::UsedUpEpochsHang) => plan.worn = true,
            // Nothing else may excuse it.
            Some(TxnBug::EmptyAbortFences) => {
                (plan.worn, plan.clock_jumps, plan.expiration_ms) = (false, false, None);
            }
            _ => {}
        }
        plan
    }

    /// Whether a producer may be fenced though nobody began in its place.
    pub fn fences(&self) -> bool {
        self.worn || self.clock_jumps || self.expiration_ms.is_some()
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

    /// The broker's config: Kafka's, only that times are short and files small.
    pub fn config(&self, dice: &Dice) -> NodeConfig {
        let overrides = [("log.dirs", "/var/data"), ("auto.create.topics.enable", "false")];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut config = NodeConfig::new(None, &overrides).expect("the embedded default");
        let ms = Duration::from_millis;
        config.recovery_point_interval = ms(dice.pick(&[100, 500, 60_000]));
        config.high_watermark_interval = ms(dice.pick(&[100, 500, 5_000]));
        let topics = &mut config.topic_defaults;
        topics.segment_bytes = dice.pick(&[1_000, 4_000, 100_000]);
        topics.segment_index_bytes = dice.pick(&[100, 10_000]);
        topics.index_interval_bytes = dice.pick(&[0, 1_000]);
        topics.segment_age_max = ms(dice.pick(&[500, 5_000, 1_000_000]));
        topics.timestamp_after_max_ms = i64::MAX;
        // Whoever dies with its disk takes with it what was not synced.
        topics.flush_messages = match self.power_cuts || self.disk_failures {
            true => 1,
            false => dice.pick(&[1, 3, i64::MAX]),
        };
        topics.min_cleanable_ratio = dice.pick(&[0.0, 0.3]);
        topics.delete_retention = ms(dice.pick(&[0, 1_000, 86_400_000]));
        // What a log tells lies of stays whole.
        config.cleaner.is_enabled = self.bug.is_none() && !self.worn;
        config.cleaner.backoff = ms(dice.pick(&[100, 1_000]));
        config.cleaner.map_bytes_all = dice.pick(&[200, 1 << 20]);
        config.groups.topic_partitions = dice.pick(&[1, 2]);
        // The least that a topic may be created with.
        config.groups.topic_segment_bytes = 1 << 20;
        config.verification.verifies = self.bug != Some(TxnBug::NotVerified);
        let transactions = &mut config.transactions;
        transactions.topic_partitions = dice.pick(&[1, 2, 4]);
        transactions.topic_segment_bytes = 1 << 20;
        transactions.load_bytes = dice.pick(&[1, 500, 1 << 20]);
        transactions.abort_interval = ms(dice.pick(&[50, 300]));
        transactions.expiry_interval = ms(dice.pick(&[100, 1_000]));
        if let Some(expiration) = self.expiration_ms {
            transactions.id_expiration = ms(expiration);
        }
        config
    }
}
