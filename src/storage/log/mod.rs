//! A partition's log: segments, producers and leader epochs behind one set of plain calls.
//!
//! Invariants (`check`): segments are sorted and not empty but for the last; every offset below
//! the end and above the first segment's base lies in exactly one segment;
//! `log_start ≤ recovery_point ≤ end`; leader epochs begin below the end.
//!
//! The recovery point is the end of what is durable. It rises by [`FlushJob`]s, which the owner
//! takes under its lock and runs without it. Recovery (`recover.rs`) checks only what lies above
//! the recovery point of the last checkpoint.

mod append;
mod behind;
mod cleaner;
mod copy;
mod entry_file;
mod flush;
mod index;
mod listing;
mod load;
mod producers;
mod progress;
mod read;
mod recover;
mod repair;
mod retention;
mod scan;
mod segment;
mod small_files;
mod transactions;
mod txn_index;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_protocol::batch::BatchHeader;
use ottla_runtime::{Disk, Entropy, File, SyncPoint};
use ottla_types::{Offset, Timestamp};

pub use append::{AppendInfo, AppendPlan, IncomingBatch, Origin};
pub use behind::{FoundBatch, each_sound_behind};
pub use cleaner::{CleanJob, CleanLimits, CleanStats, CleanStep, Cleanable, CleanedGroup};
pub use copy::CopySource;
pub use flush::FlushJob;
pub use progress::Progress;
pub use read::ReadLimit;
pub use recover::{Left, Recovered, Shutdown};
pub use repair::{Break, Examined, Kept, continue_at, examine, take_out, take_out_segment};
pub use retention::TrimJob;

use crate::error::LogError;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::{ProducerState, RefusedFirsts, Verifications};
use segment::{RollLimits, Segment};
use small_files::SmallFiles;

/// The names under which a log's files are synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncPoints {
    /// Records.
    pub data: SyncPoint,
    /// Names of segments.
    pub names: SyncPoint,
    /// The removal of a segment before the next one is removed; of the metadata log alone.
    pub trim: SyncPoint,
}

impl SyncPoints {
    /// For the log of a topic's partition.
    pub const DATA: SyncPoints = SyncPoints {
        data: SyncPoint::SegmentData,
        names: SyncPoint::SegmentDir,
        trim: SyncPoint::SegmentDir,
    };
    /// For the metadata log.
    pub const METADATA: SyncPoints = SyncPoints {
        data: SyncPoint::MetadataLog,
        names: SyncPoint::MetadataSegmentDir,
        trim: SyncPoint::MetadataTrimDir,
    };
}

/// What a log is kept with.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The topic's configs.
    pub config: TopicConfig,
    /// Names of its syncs.
    pub sync_points: SyncPoints,
    /// For the jitter of rolls; without it there is none.
    pub entropy: Option<Entropy>,
    /// Producers that a snapshot knows, and that were silent for so long, are not taken up.
    pub producer_age_max: Duration,
    /// Whether it was compacted before: it may have gaps then, whatever its configs say now.
    pub was_compacted: bool,
}

impl LogOptions {
    /// Without jitter, and without an age at which producers are forgotten.
    #[must_use]
    pub fn new(config: TopicConfig, sync_points: SyncPoints) -> LogOptions {
        LogOptions {
            config,
            sync_points,
            entropy: None,
            producer_age_max: Duration::MAX,
            was_compacted: false,
        }
    }
}

/// A piece of a file. It holds the file open, and valid bytes stay valid: files are only cut by
/// truncation, after which a reader sees the end of the file and must give up.
#[derive(Clone)]
pub struct Extent {
    /// The file.
    pub file: File,
    /// Where the piece begins, in bytes.
    pub position: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// A batch in a file.
#[derive(Clone)]
pub struct BatchLocation {
    /// Its header.
    pub header: BatchHeader,
    /// Where it is.
    pub extent: Extent,
}

/// A partition's log.
pub struct Log {
    disk: Disk,
    dir: PathBuf,
    options: LogOptions,
    /// Sorted by base offset; the last one is written to.
    segments: Vec<Segment>,
    log_start: Offset,
    end: Offset,
    recovery_point: Offset,
    /// Where the flush under way ends, or what a truncation left of it.
    flush_end: Offset,
    /// The recovery point for the checkpoint while a flush is under way, which has not made
    /// durable yet what it will.
    flushing_from: Option<Offset>,
    /// How much earlier than `segment.ms` says the active segment rolls.
    roll_jitter: Duration,
    opened: Timestamp,
    /// Whether segments were created whose names may not be durable.
    names_unsynced: bool,
    producers: ProducerState,
    /// Offsets of the snapshots of producers in the directory, ascending.
    snapshots: Vec<Offset>,
    refused_firsts: RefusedFirsts,
    /// Transactions that are about to begin here.
    verifications: Verifications,
    epochs: LeaderEpochs,
    small_files: SmallFiles,
    /// How often the log was truncated: what is being compacted is of another log then.
    truncations: u64,
}

impl Log {
    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// First offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Offset of the next record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// End of what is durable.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The configs it is kept with.
    #[must_use]
    pub fn config(&self) -> &TopicConfig {
        &self.options.config
    }

    /// Changes the configs; they count from the next append on.
    pub fn set_config(&mut self, config: TopicConfig) {
        self.options.config = config;
    }

    /// The leader epochs.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The idempotent producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Forgets producers that were silent for longer than `age_max`.
    pub fn expire_producers(&mut self, now: Timestamp, age_max: Duration) {
        self.producers.expire(now, age_max);
        self.verifications.expire(now, age_max);
    }

    fn write_epochs(&self) -> Result<(), LogError> {
        let written = self.epochs.write(&self.disk, &self.dir, Some(SyncPoint::LeaderEpochFile));
        written.map_err(|error| LogError::io(&self.dir, error))
    }

    /// Bytes in all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Whether nothing changed since a clean stop, so that closing has nothing to do.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let indexes_durable = self.segments.iter().all(|segment| segment.indexes_durable);
        let durable = self.recovery_point == self.end && self.small_files.are_durable();
        indexes_durable && durable && !self.names_unsynced
    }

    /// Completes the indexes and writes the producers, so that the next start need not look into
    /// the log. The caller has flushed before, and flushes what this leaves (see
    /// [`Log::start_flush`]).
    ///
    /// # Errors
    /// Those of writing.
    pub fn close(&mut self) -> Result<(), LogError> {
        for segment in self.segments.iter_mut().filter(|segment| !segment.indexes_durable) {
            segment.seal()?;
        }
        self.write_cut_epochs()?;
        self.write_producer_snapshot_at(self.end)
    }

    /// Drops everything from `end` on, as a follower does that diverged from its leader. Durable at
    /// once: if what was dropped came back behind what is appended next, nothing would tell them
    /// apart. May stall; it is rare.
    ///
    /// # Errors
    /// Those of reading and writing; the directory must be fenced then.
    pub fn truncate_to(&mut self, end: Offset) -> Result<(), LogError> {
        if end >= self.end {
            return Ok(());
        }
        assert!(end >= self.log_start, "nobody truncates below the log's start");
        while self.segments.len() > 1 && self.active().base() >= end {
            self.segments.pop().expect("more than one").delete()?;
        }
        let active = self.active_mut();
        if let Some(found) = active.locate(end)? {
            active.truncate(end, found.extent.position)?;
            // The start may lie in the batch that goes.
            self.end = found.header.base_offset.min(end).max(self.log_start);
        } else {
            self.end = end;
        }
        self.recovery_point = self.recovery_point.min(self.end);
        self.flush_end = self.flush_end.min(self.end);
        self.active_mut().load_first_timestamp()?;
        self.remove_stray_snapshots()?;
        self.remove_staged()?;
        self.sync_truncation()?;
        if self.epochs.truncate_from_end(self.end) {
            self.write_epochs()?;
        }
        let before = std::mem::take(&mut self.producers);
        self.rebuild_producers()?;
        self.producers.keep_unreplicated(&before, self.end);
        Ok(())
    }

    /// Makes what was dropped stay dropped.
    fn sync_truncation(&mut self) -> Result<(), LogError> {
        let SyncPoints { data, names, .. } = self.options.sync_points;
        let synced = self.active_mut().file()?.sync(data);
        let synced = synced.and_then(|()| self.disk.sync_dir(&self.dir, names));
        // The file of epochs is replaced behind this.
        self.names_unsynced = true;
        synced.map_err(|error| LogError::io(&self.dir, error))
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        assert!(!self.segments.is_empty(), "a log has a segment");
        for pair in self.segments.windows(2) {
            // One in front of the last may be empty: Kafka's cleaner leaves such.
            assert!(pair[0].base() < pair[1].base(), "segments are sorted");
        }
        assert!(self.active().base() <= self.end, "the end is in the last segment");
        assert!(self.segments[0].base() <= self.log_start, "what may be read is there");
        assert!(self.log_start <= self.recovery_point, "the start is durable");
        assert!(self.recovery_point <= self.end, "only what exists is durable");
        let latest = self.epochs.entries().last();
        assert!(latest.is_none_or(|(_, start)| *start <= self.end), "epochs are in the log");
    }

    /// What the files say that contradicts each other; nothing in a sound log. Reads everything.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn inconsistencies(&mut self) -> Result<Vec<String>, LogError> {
        let mut wrong = Vec::new();
        for segment in &mut self.segments {
            wrong.extend(segment.index_mismatches()?);
            let mut scanner = segment.scan_at(0)?;
            while let Some((_, header)) = scanner.next_header()? {
                if header.last_offset() < self.log_start {
                    continue;
                }
                let epoch = self.epochs.epoch_at(header.base_offset.max(self.log_start));
                if epoch != Some(header.leader_epoch) {
                    wrong.push(format!(
                        "{}: offset {} has leader epoch {}, the checkpoint says {epoch:?}",
                        self.dir.display(),
                        header.base_offset,
                        header.leader_epoch
                    ));
                }
            }
        }
        wrong.extend(self.transaction_mismatches()?);
        wrong.extend(self.snapshot_mismatches()?);
        Ok(wrong)
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    /// Whether there may be gaps between batches: compaction leaves them.
    fn may_have_gaps(&self) -> bool {
        self.options.config.compacts || self.options.was_compacted
    }

    fn roll_limits(&self) -> RollLimits {
        let config = &self.options.config;
        // What is written to is not compacted: it must be closed by then.
        let lag_max = config.max_compaction_lag.filter(|_| config.compacts);
        let age_max = lag_max.map_or(config.segment_age_max, |lag| lag.min(config.segment_age_max));
        RollLimits {
            segment_bytes: u64::from(config.segment_bytes),
            index_bytes: u64::from(config.segment_index_bytes),
            age_max: age_max.saturating_sub(self.roll_jitter),
        }
    }

    /// Draws the jitter of a segment that begins, or is taken up (`randomSegmentJitter`).
    fn draw_roll_jitter(&mut self) {
        let config = &self.options.config;
        let most = config.segment_jitter.min(config.segment_age_max).as_millis();
        self.roll_jitter = match &self.options.entropy {
            Some(entropy) if most > 0 => {
                Duration::from_millis(entropy.below(u64::try_from(most).unwrap_or(u64::MAX)))
            }
            _ => Duration::ZERO,
        };
    }

    /// The size that the file of a new segment has at once.
    fn preallocated(&self) -> Option<u64> {
        let config = &self.options.config;
        config.preallocate.then_some(u64::from(config.segment_bytes))
    }

    /// Index of the segment that holds `offset`, or the first one.
    fn segment_index(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
