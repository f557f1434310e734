//! What a run found: violations, and counts that show what it went through.

use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard};

use ottla_runtime::sim::{SimWorld, Trace};

/// What a run went through. A number that stays 0 over many seeds is a hole in the workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Processes that became ready, or voters that were started.
    pub starts: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Clean stops.
    pub clean_stops: u64,
    /// Processes that ended by themselves because their disk failed.
    pub fences: u64,
    /// Times without room on the disk that the process lived through.
    pub full_disks: u64,
    /// Times without one of several log directories that the process lived through.
    pub failed_dirs: u64,
    /// Indexes and snapshots of producers that were lost while the broker was down.
    pub lost_files: u64,
    /// Batches acknowledged.
    pub acknowledged: u64,
    /// Batches sent again.
    pub resent: u64,
    /// Records read.
    pub read: u64,
    /// Topics acknowledged as created, as grown, and as deleted.
    pub topics: u64,
    /// Requests to delete records that were acknowledged.
    pub deletions: u64,
    /// Replicas that were asked to be in some log directory.
    pub moves: u64,
    /// Changes of configs that were acknowledged.
    pub configs: u64,
    /// Commits of offsets that were acknowledged.
    pub commits: u64,
    /// Joins of members, and beginnings of producers, that were acknowledged.
    pub joins: u64,
    /// Assignments that members were told.
    pub assignments: u64,
    /// Members that learned that they are none any more.
    pub expelled: u64,
    /// Members and producers that learned that another one took their place.
    pub fenced: u64,
    /// Members that found their group full.
    pub kept_out: u64,
    /// Members that came back with the other protocol.
    pub migrations: u64,
    /// Requests that were sent again, late, and answered.
    pub replays: u64,
    /// Records of groups that their log refused.
    pub refusals: u64,
    /// Groups, and worlds of transactions, that settled.
    pub settled: u64,
    /// Transactions whose commit was acknowledged.
    pub txns_committed: u64,
    /// Transactions whose abort was acknowledged.
    pub txns_aborted: u64,
    /// Elections won.
    pub elections: u64,
    /// Offsets that compaction was seen to take.
    pub compacted: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.starts += other.starts;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.clean_stops += other.clean_stops;
        self.fences += other.fences;
        self.full_disks += other.full_disks;
        self.failed_dirs += other.failed_dirs;
        self.lost_files += other.lost_files;
        self.acknowledged += other.acknowledged;
        self.resent += other.resent;
        self.read += other.read;
        self.topics += other.topics;
        self.deletions += other.deletions;
        self.moves += other.moves;
        self.configs += other.configs;
        self.commits += other.commits;
        self.joins += other.joins;
        self.assignments += other.assignments;
        self.expelled += other.expelled;
        self.fenced += other.fenced;
        self.kept_out += other.kept_out;
        self.migrations += other.migrations;
        self.replays += other.replays;
        self.refusals += other.refusals;
        self.settled += other.settled;
        self.txns_committed += other.txns_committed;
        self.txns_aborted += other.txns_aborted;
        self.elections += other.elections;
        self.compacted += other.compacted;
    }
}

/// Where all parts of a workload put what they find. Copies share it.
#[derive(Clone)]
pub struct Findings {
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    violations: Vec<String>,
    stats: Stats,
}

impl Findings {
    pub fn of(world: &SimWorld) -> Findings {
        Findings { trace: world.trace().clone(), state: Arc::default() }
    }

    /// Something that must never be.
    pub fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace.note(|| format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// Something that happened.
    pub fn note(&self, what: impl FnOnce() -> String) {
        self.trace.note(what);
    }

    /// Counts something.
    pub fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Whether something was violated already, so that going on is of no use.
    pub fn any(&self) -> bool {
        !self.lock().violations.is_empty()
    }

    /// All violations and the counts.
    pub fn take(&self) -> (Vec<String>, Stats) {
        let mut state = self.lock();
        (std::mem::take(&mut state.violations), state.stats)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("findings are written without panic")
    }
}
