//! What a seed has in store for a broker.

use std::time::Duration;

use ottla_config::NodeConfig;

use crate::dice::Dice;
use crate::mutant::CleanerBug;

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// kill -9, now.
    Kill,
    /// A power cut, now.
    PowerCut,
    /// Either, just before some operation of its disk.
    AtDiskOperation {
        /// A power cut rather than a kill.
        power_cut: bool,
    },
    /// SIGTERM.
    CleanStop {
        /// Followed by a power cut.
        power_cut: bool,
    },
    /// The disk answers EIO from some operation on.
    Eio,
    /// The disk is full for a while.
    DiskFull,
    /// One of several log directories answers EIO, and may not be readable at the next start.
    DirFails,
}

/// What topics keep. Far more than producers have under way: what a restart remembers of them is in
/// the newest part of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    /// Everything.
    All,
    /// About so many bytes.
    Bytes(u64),
    /// Records of so many milliseconds.
    Ms(u64),
}

/// Files that a broker may hold open: a few logs' worth of those that it writes and reads.
pub const OPEN_FILES_MAX: usize = 24;

/// What a seed has in store.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether the machine can lose power; then every record is flushed before it is
    /// acknowledged, as `flush.messages=1` asks for.
    pub power_cuts: bool,
    /// How often a process is started and ended.
    pub lives: u64,
    /// Producers.
    pub producers: u32,
    /// Consumers.
    pub readers: u32,
    /// Clients that commit offsets.
    pub committers: u32,
    /// Whether connections are reset.
    pub resets: bool,
    /// Whether syncs may take long.
    pub slow_disk: bool,
    /// Whether the wall clock jumps.
    pub clock_jumps: bool,
    /// Whether the disk may fail.
    pub disk_failures: bool,
    /// What is kept of records: `retention.bytes`, or `retention.ms`.
    pub retention: Retention,
    /// Whether few topics are created: each one syncs names that others rely on.
    pub few_topics: bool,
    /// Log directories.
    pub dirs: u64,
    /// Whether an operator deletes records.
    pub deletes_records: bool,
    /// Whether an operator moves replicas between directories.
    pub moves: bool,
    /// Whether indexes and the like get lost while the broker is down.
    pub loses_indexes: bool,
    /// How many of a hundred topics are compacted.
    pub compacted_percent: u64,
    /// Whether tombstones stay for longer than the world.
    pub keeps_tombstones: bool,
}

impl Plan {
    pub fn draw(dice: &Dice) -> Plan {
        let clock_jumps = dice.chance(30);
        let retention = match dice.below(10) {
            0..=3 => Retention::Bytes(dice.pick(&[5_000, 10_000, 20_000])),
            // A clock that jumps would take what producers have under way.
            4 if !clock_jumps => Retention::Ms(dice.pick(&[1_000, 3_000])),
            _ => Retention::All,
        };
        let dirs = dice.pick(&[1, 1, 2, 3]);
        Plan {
            retention,
            moves: dirs > 1 && dice.chance(70),
            power_cuts: dice.chance(70),
            lives: dice.between(2, 5),
            producers: dice.between(1, 3) as u32,
            readers: dice.between(1, 2) as u32,
            committers: dice.between(0, 2) as u32,
            resets: dice.chance(50),
            slow_disk: dice.chance(40),
            clock_jumps,
            disk_failures: dice.chance(30),
            few_topics: dice.chance(30),
            dirs,
            deletes_records: dice.chance(40),
            loses_indexes: dice.chance(30),
            compacted_percent: dice.pick(&[0, 40, 100]),
            keeps_tombstones: dice.chance(40),
        }
    }

    /// Whether nothing is ever deleted.
    pub fn keeps_all(&self) -> bool {
        self.retention == Retention::All && !self.deletes_records
    }

    /// How the next process ends.
    pub fn end(&self, dice: &Dice) -> End {
        let power_cut = self.power_cuts && dice.chance(70);
        match dice.below(10) {
            0..=1 if power_cut => End::PowerCut,
            0..=1 => End::Kill,
            2..=4 => End::CleanStop { power_cut },
            5 | 6 if self.disk_failures && self.dirs > 1 => {
                dice.pick(&[End::Eio, End::DiskFull, End::DirFails, End::DirFails])
            }
            5 | 6 if self.disk_failures => dice.pick(&[End::Eio, End::DiskFull]),
            _ => End::AtDiskOperation { power_cut },
        }
    }

    /// The broker's config: Kafka's defaults, only that everything is small, so that segments roll
    /// and checkpoints are written all the time.
    pub fn config(&self, dice: &Dice, bug: Option<CleanerBug>) -> NodeConfig {
        let mut dirs = "/var/data".to_owned();
        (2..=self.dirs).for_each(|number| dirs += &format!(",/var/data{number}"));
        let overrides = [("log.dirs", dirs.as_str()), ("auto.create.topics.enable", "false")];
        let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut config = NodeConfig::new(None, &overrides).expect("the embedded default");
        let ms = Duration::from_millis;
        config.recovery_point_interval = ms(dice.pick(&[20, 100, 500, 60_000]));
        config.high_watermark_interval = ms(dice.pick(&[20, 100, 500, 5_000]));
        config.retention_check_interval = ms(dice.pick(&[10, 50, 200]));
        if dice.chance(60) {
            let log = &mut config.metadata_log;
            log.snapshot_bytes = dice.pick(&[300, 1_000, 5_000]);
            log.snapshot_interval = dice.pick(&[None, Some(ms(50)), Some(ms(500))]);
            log.segment_bytes = dice.pick(&[6_000, 20_000]);
            log.segment_age_max = ms(dice.pick(&[20, 100, 1_000_000]));
            log.retention_bytes = dice.pick(&[Some(0), Some(3_000), None]);
            log.retention_age = dice.pick(&[None, Some(ms(200))]);
        }
        let topics = &mut config.topic_defaults;
        match self.retention {
            Retention::All => {}
            Retention::Bytes(kept) => topics.retention_bytes = Some(kept),
            Retention::Ms(age) => topics.retention_age = Some(ms(age)),
        }
        topics.segment_bytes = dice.pick(&[3_500, 8_000, 100_000]);
        topics.index_interval_bytes = dice.pick(&[0, 100, 1_000]);
        topics.segment_index_bytes = dice.pick(&[24, 100, 10_000]);
        topics.segment_age_max = ms(dice.pick(&[100, 1_000, 1_000_000]));
        topics.preallocate = dice.chance(20);
        topics.segment_jitter = ms(dice.pick(&[0, 0, 50]));
        topics.file_delete_delay = ms(dice.pick(&[0, 50, 60_000]));
        // The wall clock may jump back between the stamp of a record and its look at the door.
        topics.timestamp_after_max_ms = i64::MAX;
        topics.flush_messages = match self.power_cuts {
            true => 1,
            false => dice.pick(&[1, 3, i64::MAX]),
        };
        config.groups.topic_partitions = dice.pick(&[1, 3, 10]);
        config.groups.topic_segment_bytes = 1 << 20;
        self.set_cleaner(&mut config, dice, bug);
        config.open_files_max = dice.pick(&[1, 3, 1_000]);
        if self.moves {
            config.move_bytes_per_second = dice.pick(&[u64::MAX, u64::MAX, 100_000, 10_000]);
        }
        config
    }

    /// Compaction, all the time and a little at a time.
    fn set_cleaner(&self, config: &mut NodeConfig, dice: &Dice, bug: Option<CleanerBug>) {
        let ms = Duration::from_millis;
        let cleaner = &mut config.cleaner;
        cleaner.threads = dice.pick(&[1, 1, 2]);
        cleaner.backoff = ms(dice.pick(&[10, 30, 200]));
        let threads = cleaner.threads as u64;
        cleaner.map_bytes_all = dice.pick(&[100, 1 << 20]) * threads;
        cleaner.io_bytes_all = dice.pick(&[1, 1_000, 1 << 20]) * 2 * threads;
        cleaner.bytes_per_second = dice.pick(&[f64::MAX, f64::MAX, 100_000.0]);
        let topics = &mut config.topic_defaults;
        topics.min_cleanable_ratio = dice.pick(&[0.0, 0.0, 0.3]);
        topics.min_compaction_lag = ms(dice.pick(&[0, 0, 0, 50]));
        topics.max_compaction_lag = dice.pick(&[None, None, Some(ms(100))]);
        let is_long = self.keeps_tombstones && bug != Some(CleanerBug::TombstonesGoEarly);
        let short = dice.pick(&[0, 100]);
        // Far more than the wall clock jumps.
        topics.delete_retention = ms(if is_long { 100 * 86_400_000 } else { short });
    }
}
