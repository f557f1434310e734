//! Compaction: of each key the last record stays, offsets never change (KIP-58, KIP-354, KIP-534).
//!
//! ```text
//!   plan ──> map: the last offset of each key in the dirty part
//!        ──> copy: groups of neighbours into one segment each, without what is superseded
//!            ┌ X.log.cleaned, synced                       (job, no lock)
//!            ├ X.log.swap, names synced                    (the log's lock, then none)
//!            ├ what it replaces ─> .deleted, names synced  (the log's lock, then none)
//!            └ X.log                                       (the log's lock)
//! ```
//! A job works beside the log, on files that nobody writes to, a step at a time. Its directory may
//! get another name under it, and another log its name: a name that a start would complete is given
//! under the lock of the log whose it is. Whatever a crash leaves, a start removes `.cleaned` and
//! completes `.swap` (`swap.rs`). Only what is stable and durable is touched, so that neither a
//! marker nor a flush is waited for. Batches keep producers and offsets: the last batches of each
//! producer that the log knows, and the last of a round, stay without records. What does not
//! decode ends the job; nothing was changed then. Source: `Cleaner`.

mod copy;
mod map;
mod offset_map;
pub(super) mod plan;
mod swap;
mod transactions;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ottla_config::TopicConfig;
use ottla_protocol::batch::CompactionBuffers;
use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, ProducerId, Timestamp};

pub use plan::Cleanable;
pub use swap::CleanedGroup;
pub(super) use swap::complete_swaps;

use super::scan::CheckedScanner;
use super::{Log, LogError};
use crate::error::Damage;
use crate::producer_state::{EndedTransaction, LastRecord};
use copy::Copying;
use map::Mapping;
use plan::SegmentFacts;
use transactions::Transactions;

/// Bytes of the log that a step reads, about.
const STEP_BYTES: u64 = 1 << 20;

/// What looking at a record counts for, besides its batch, when others are let go first
/// ([`ottla_runtime::Pace`]): records of a few bytes are most of the work of their batch.
const RECORD_WORK: u64 = 256;

/// What a job may use.
#[derive(Clone, Copy, Debug)]
pub struct CleanLimits {
    /// Bytes of the table of keys.
    pub map_bytes: u64,
    /// How full it may be, from 0 to 1.
    pub load_factor: f64,
    /// Bytes that are gathered before they are written.
    pub write_bytes: usize,
    /// Secret of the digests of keys.
    pub secret: (u64, u64),
}

/// What a job did.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct CleanStats {
    /// Bytes read for the table of keys.
    pub mapped_bytes: u64,
    /// Bytes read for copying.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Records that were looked at while copying; those of batches that went as a whole are not.
    pub read_records: u64,
    /// Records that stayed.
    pub written_records: u64,
    /// Records without a key, which no compacted log should have; they are gone.
    pub keyless_records: u64,
    /// Part of the table's slots that was used, from 0 to 1.
    pub map_utilization: f64,
}

/// What a step came to.
pub enum CleanStep {
    /// There is more; so many bytes were read and written.
    Working(u64),
    /// A segment is whole: [`Log::stage_swap`].
    Cleaned(Box<CleanedGroup>),
    /// Everything below the offset is clean.
    Done(Offset, CleanStats),
}

/// A segment that is read.
struct Source {
    facts: SegmentFacts,
    /// Where the next segment begins.
    end: Offset,
    path: PathBuf,
    created: Timestamp,
    /// Where the dirty part of it begins, in bytes.
    dirty_from: u64,
}

impl Source {
    /// Its batches from a byte on.
    fn scanner(&self, disk: &Disk, from: u64) -> Result<CheckedScanner, LogError> {
        let file = disk.open(&self.path, ottla_runtime::OpenMode::Read);
        let file = file.map_err(|error| LogError::io(&self.path, error))?;
        Ok(CheckedScanner::new(file, self.path.clone(), from..self.facts.size))
    }

    fn damaged(&self, position: u64, offset: Offset, reason: &dyn std::fmt::Display) -> LogError {
        let (path, reason) = (self.path.clone(), reason.to_string());
        LogError::Damaged(Damage { path, position, offset, reason })
    }
}

/// What every part of a job needs.
struct Round {
    disk: Disk,
    dir: PathBuf,
    config: TopicConfig,
    plan: Cleanable,
    limits: CleanLimits,
    now: Timestamp,
    aborted: Vec<EndedTransaction>,
    last_records: BTreeMap<ProducerId, LastRecord>,
    /// How often the log was truncated when the job began.
    truncations: u64,
}

enum Phase {
    Mapping(Box<Mapping>),
    Copying(Box<Copying>),
    Done(Offset),
}

/// Cleans a log, step by step.
pub struct CleanJob {
    round: Round,
    sources: Vec<Source>,
    buffers: CompactionBuffers,
    stats: CleanStats,
    phase: Phase,
}

impl Log {
    /// What of the log can be cleaned; `cleaned_to` is where the last cleaning ended.
    ///
    /// # Errors
    /// Those of reading.
    pub fn plan_cleaning(
        &mut self,
        cleaned_to: Option<Offset>,
        high_watermark: Offset,
        now: Timestamp,
    ) -> Result<Cleanable, LogError> {
        let bound = self.last_stable_offset(high_watermark).min(self.checkpoint_offset());
        if self.options.config.max_compaction_lag.is_some() {
            for segment in self.segments.iter_mut().filter(|s| s.first_timestamp().is_none()) {
                segment.load_first_timestamp()?;
            }
        }
        let facts: Vec<SegmentFacts> = self.segment_facts();
        let bounds = (self.log_start, self.end);
        Ok(plan::plan(&facts, bounds, cleaned_to, bound, &self.options.config, now))
    }

    fn segment_facts(&self) -> Vec<SegmentFacts> {
        let facts = |segment: &super::segment::Segment| SegmentFacts {
            base: segment.base(),
            size: segment.size(),
            latest: segment.latest_time(),
            first: segment.first_timestamp(),
            index_entries: segment.index_entries(),
        };
        self.segments.iter().map(facts).collect()
    }

    /// The job that cleans what was planned.
    ///
    /// # Errors
    /// Those of reading.
    pub fn start_cleaning(
        &mut self,
        plan: Cleanable,
        limits: CleanLimits,
        now: Timestamp,
    ) -> Result<CleanJob, LogError> {
        let facts = self.segment_facts();
        let count = facts.partition_point(|segment| segment.base < plan.end);
        let mut aborted = Vec::new();
        for segment in &mut self.segments {
            if segment.collect_aborted(facts[0].base, plan.end, &mut aborted)? {
                break;
            }
        }
        let mut sources = Vec::with_capacity(count);
        for (index, segment) in self.segments[..count].iter_mut().enumerate() {
            let end = facts[index + 1].base;
            let is_split = segment.base() < plan.first_dirty && plan.first_dirty < end;
            let dirty_from =
                if is_split { segment.indexed_position(plan.first_dirty)? } else { 0 };
            let (path, created) = (segment.path().to_owned(), segment.created());
            sources.push(Source { facts: facts[index], end, path, created, dirty_from });
        }
        let round = Round {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            config: self.options.config.clone(),
            plan,
            limits,
            now,
            aborted,
            last_records: self.producers.last_records(),
            truncations: self.truncations,
        };
        let phase = Phase::Mapping(Box::new(Mapping::new(&round, &sources)));
        let (buffers, stats) = (CompactionBuffers::default(), CleanStats::default());
        Ok(CleanJob { round, sources, buffers, stats, phase })
    }
}

impl CleanJob {
    /// Goes on for about a megabyte. May stall.
    ///
    /// # Errors
    /// `Damaged` when a batch is not sound; those of reading and writing. The job is over, the log
    /// as it was but for groups that were swapped already.
    pub fn step(&mut self) -> Result<CleanStep, LogError> {
        match &mut self.phase {
            Phase::Mapping(mapping) => {
                let bytes = mapping.step(&self.round, &self.sources, &mut self.buffers)?;
                self.stats.mapped_bytes += bytes;
                if let Some(map) = mapping.finish(&self.round) {
                    self.stats.map_utilization = map.utilization();
                    self.sources.retain(|source| source.facts.base <= map.latest);
                    let transactions = Transactions::new(&self.round.aborted);
                    let copying = Copying::new(&self.round, &self.sources, map, transactions);
                    self.phase = Phase::Copying(Box::new(copying));
                }
                Ok(CleanStep::Working(bytes))
            }
            Phase::Copying(copying) => {
                let Some(group) = copying.group(&self.sources) else {
                    let end = copying.latest().plus(1);
                    self.phase = Phase::Done(end);
                    return Ok(CleanStep::Done(end, self.stats));
                };
                copying.step(&self.round, group, &mut self.buffers, &mut self.stats)
            }
            Phase::Done(end) => Ok(CleanStep::Done(*end, self.stats)),
        }
    }

    /// Removes what a job that is given up has written.
    pub fn abandon(self) {
        if let Phase::Copying(copying) = self.phase {
            copying.abandon();
        }
    }

    /// Makes the names durable that a start completes. May stall.
    ///
    /// # Errors
    /// Those of `fsync(2)`: the directory must be fenced.
    pub fn sync_staged(&self) -> Result<(), LogError> {
        self.round.sync_names()
    }

    /// Makes durable that what was swapped has lost its names. May stall.
    ///
    /// # Errors
    /// Those of `fsync(2)`: the directory must be fenced.
    pub fn sync_replaced(&self) -> Result<(), LogError> {
        let Round { disk, dir, .. } = &self.round;
        let synced = disk.sync_dir(dir, SyncPoint::ReplacedDir);
        synced.map_err(|error| LogError::io(dir, error))
    }
}
