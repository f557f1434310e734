//! The log against a model, step by step, as a seed decides.
//!
//! A world is a log on a simulated disk and an in-memory model of it (`expected.rs`). Each step
//! does one thing to both (`steps.rs`, `ends.rs`), and then they are compared (`checks.rs`). A
//! failure prints its seed and the last steps.
//!
//! `OTTLA_MODEL_SEEDS=5000 cargo test -p ottla-storage model` runs longer,
//! `OTTLA_MODEL_SEED=17` one seed.

mod checks;
mod ends;
mod expected;
mod steps;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use ottla_runtime::sim::{SimNode, SimWorld};
use ottla_runtime::{Disk, Runtime, SyncPoint};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::super::{FlushJob, Log, LogOptions, Shutdown};
use super::{DIR, open_with, options};
use expected::Model;

const SEEDS: u64 = 60;
const STEPS: u32 = 80;
/// Steps that a failure of many seeds tells; that of one tells all.
const STORY_LEN: usize = 25;

/// A log and its model.
struct World {
    dice: fastrand::Rng,
    node: SimNode,
    disk: Disk,
    /// Taken only while the log is reopened.
    log: Option<Log>,
    model: Model,
    options: LogOptions,
    now: Timestamp,
    leader_epoch: LeaderEpoch,
    /// A flush under way: whether it has run, and its end.
    flush: Option<(FlushJob, bool)>,
    /// What the last checkpoints say.
    recovery_point: Offset,
    log_start: Offset,
    /// Below which batches of producers may be forgotten since the last rebuild.
    recalled_from: Offset,
    /// Whether a producer's deleted batches may be forgotten: a snapshot was lost.
    is_lossy: bool,
    /// Whether producers were forgotten: an older snapshot lacks them, or knows them.
    has_expired: bool,
    story: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = fastrand::Rng::with_seed(seed);
        let node = SimWorld::new(seed).node("a");
        let disk = Runtime::simulated(&node).disk().clone();
        disk.create_dir(Path::new(DIR)).expect("an empty disk");
        disk.sync_dir(Path::new("/"), SyncPoint::PartitionDir).expect("synced");
        let options = random_options(&mut dice);
        let (mut log, _) = open_with(&node, options.clone(), Shutdown::Clean);
        log.note_created();
        World {
            dice,
            node,
            disk,
            log: Some(log),
            model: Model::default(),
            options,
            now: Timestamp(1_000_000),
            leader_epoch: LeaderEpoch(0),
            flush: None,
            recovery_point: Offset::ZERO,
            log_start: Offset::ZERO,
            recalled_from: Offset::ZERO,
            is_lossy: false,
            has_expired: false,
            story: Vec::new(),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open between steps")
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.dice.u32(..count) == 0
    }

    fn tell(&mut self, what: String) {
        self.story.push(format!("{what}; end {}, start {}", self.model.end.0, self.model.start.0));
        if number_from("OTTLA_MODEL_SEED").is_none() {
            let excess = self.story.len().saturating_sub(STORY_LEN);
            self.story.drain(..excess);
        }
    }

    async fn step(&mut self) {
        self.now = Timestamp(self.now.0 + self.dice.i64(0..1500));
        let is_thorough = match self.dice.u32(..100) {
            0..=54 => self.append(),
            55..=59 => self.move_high_watermark(),
            60..=69 => self.go_on_with_a_flush(),
            70..=72 => self.checkpoint(),
            73..=76 => self.truncate(),
            77..=80 => self.delete_records(),
            81..=84 => self.retain(),
            85..=86 => self.expire(),
            87..=89 => self.change_config(),
            _ => self.reopen().await,
        };
        self.check(is_thorough);
    }
}

fn random_options(dice: &mut fastrand::Rng) -> LogOptions {
    let mut options = options();
    let config = &mut options.config;
    config.segment_bytes = dice.u32(600..4000);
    config.index_interval_bytes = [1, 100, 400][dice.usize(..3)];
    config.segment_index_bytes = [60, 120, 10_000][dice.usize(..3)];
    config.segment_age_max = Duration::from_secs([20, 100_000][dice.usize(..2)]);
    // Retention and expiry are tried often enough for these to matter.
    config.preallocate = dice.u32(..4) == 0;
    config.retention_bytes = [None, Some(5000), Some(15_000)][dice.usize(..3)];
    config.retention_age = [None, Some(Duration::from_secs(30))][dice.usize(..2)];
    options.producer_age_max = [Duration::MAX, steps::EXPIRES_AFTER][dice.usize(..2)];
    options
}

/// Runs a seed; what it fails with, and the steps before.
fn run(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut world = None;
    let life = AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = world.insert(World::new(seed));
            for _ in 0..STEPS {
                world.step().await;
            }
            world.check(true);
        });
    });
    let lived = std::panic::catch_unwind(life);
    let story = world.map(|world| world.story.join("\n  ")).unwrap_or_default();
    lived.map_err(|_| format!("seed {seed}, after:\n  {story}\nagain: OTTLA_MODEL_SEED={seed}"))
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_log_is_as_its_model_says() {
    let seeds = match number_from("OTTLA_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number_from("OTTLA_MODEL_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}
