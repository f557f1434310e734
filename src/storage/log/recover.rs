//! Opening a log: its segments (`load.rs`), then what is known of epochs and producers.
//!
//! A log that ends below its recovery point has lost what was durable, which is damage and not the
//! work of a crash. Source: `LogLoader`, `LogSegment.recover`.

use std::path::Path;
use std::time::Duration;

use ottla_runtime::Disk;
use ottla_types::{Offset, Timestamp};

use super::cleaner::complete_swaps;
use super::listing::Listing;
use super::progress::Progress;
use super::small_files::{ReadEpochs, SmallFiles, read_epochs};
use super::{Log, LogError, LogOptions};
use crate::error::Damage;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::{ProducerState, RefusedFirsts, Verifications};

/// How the log was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Everything was closed and synced.
    Clean,
    /// Anything may have happened; below the recovery point everything is durable.
    Unclean {
        /// Offset from the last checkpoint.
        recovery_point: Offset,
    },
    /// The process died, and the page cache still holds all that it wrote (`docs/adr/0007`).
    Killed {
        /// Offset from the last checkpoint.
        recovery_point: Offset,
    },
    /// Everything is to be checked and nothing cut: what is not sound, or leaves a gap, is damage.
    Doubted,
}

impl Shutdown {
    /// Below which records are durable; `None` when all are.
    pub(super) fn recovery_point(self) -> Option<Offset> {
        match self {
            Shutdown::Clean => None,
            Shutdown::Unclean { recovery_point } | Shutdown::Killed { recovery_point } => {
                Some(recovery_point)
            }
            Shutdown::Doubted => Some(Offset::ZERO),
        }
    }

    /// A recovery point that is not above the log's start may have been moved there with it, by
    /// whoever deleted records that were not durable: it promises nothing.
    fn with_start(self, start: Offset) -> Shutdown {
        let above = |point: Offset| if point > start { point } else { Offset::ZERO };
        match self {
            Shutdown::Clean | Shutdown::Doubted => self,
            Shutdown::Unclean { recovery_point } => {
                Shutdown::Unclean { recovery_point: above(recovery_point) }
            }
            Shutdown::Killed { recovery_point } => {
                Shutdown::Killed { recovery_point: above(recovery_point) }
            }
        }
    }
}

/// How a log was left, as the data directory tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// How the process ended.
    pub shutdown: Shutdown,
    /// Where the log begins.
    pub start: Offset,
}

/// What opening a log had to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// Bytes that were cut off behind the last sound batch.
    pub cut_bytes: u64,
}

/// Producers as they are at an offset.
pub(super) type ProducersAt = Option<(Offset, ProducerState)>;

impl Log {
    /// Opens the log in `dir`, or begins one at offset 0 in an empty directory.
    ///
    /// # Errors
    /// Those of the disk; `Damaged` when something is not sound that was durable.
    pub fn open(
        disk: &Disk,
        dir: &Path,
        options: LogOptions,
        shutdown: Shutdown,
        now: Timestamp,
    ) -> Result<(Log, Recovered), LogError> {
        Log::open_from(disk, dir, options, shutdown, Offset::ZERO, now)
    }

    /// Opens the log in `dir`, of which everything below `start` was deleted: that it begins there
    /// is durable, the removal of files may not be.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn open_from(
        disk: &Disk,
        dir: &Path,
        options: LogOptions,
        shutdown: Shutdown,
        start: Offset,
        now: Timestamp,
    ) -> Result<(Log, Recovered), LogError> {
        Log::open_watched(disk, dir, options, Left { shutdown, start }, now, &Progress::default())
    }

    /// Opens the log in `dir` as it was left, and tells how far it is.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn open_watched(
        disk: &Disk,
        dir: &Path,
        options: LogOptions,
        left: Left,
        now: Timestamp,
        progress: &Progress,
    ) -> Result<(Log, Recovered), LogError> {
        let io_error = |error| LogError::io(dir, error);
        let found = complete_swaps(disk, dir, Listing::read(disk, dir).map_err(io_error)?)?;
        let epochs = read_epochs(disk, dir).map_err(io_error)?;
        Log::open_found(disk, dir, options, (left, found, epochs), now, progress)
    }

    /// The log of a directory that was just created: nothing is looked for there.
    ///
    /// # Errors
    /// Those of creating a segment.
    pub(crate) fn create(
        disk: &Disk,
        dir: &Path,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<Log, LogError> {
        let left = Left { shutdown: Shutdown::Clean, start: Offset::ZERO };
        let epochs = ReadEpochs { epochs: LeaderEpochs::default(), damaged: false };
        let found = (left, Listing::default(), epochs);
        let opened = Log::open_found(disk, dir, options, found, now, &Progress::default());
        opened.map(|(log, _)| log)
    }

    fn open_found(
        disk: &Disk,
        dir: &Path,
        options: LogOptions,
        (left, found, read): (Left, Listing, ReadEpochs),
        now: Timestamp,
        progress: &Progress,
    ) -> Result<(Log, Recovered), LogError> {
        let Left { shutdown, start } = left;
        let log_start = found.bases.first().copied().unwrap_or(Offset::ZERO);
        let mut log = Log {
            disk: disk.clone(),
            dir: dir.to_owned(),
            options,
            segments: Vec::with_capacity(found.bases.len().max(1)),
            log_start,
            end: log_start,
            recovery_point: log_start,
            flush_end: log_start,
            flushing_from: None,
            roll_jitter: Duration::ZERO,
            opened: now,
            names_unsynced: shutdown != Shutdown::Clean,
            producers: ProducerState::default(),
            snapshots: Vec::new(),
            refused_firsts: RefusedFirsts::default(),
            verifications: Verifications::default(),
            epochs: read.epochs,
            small_files: SmallFiles::left(shutdown),
            truncations: 0,
        };
        let mut recovered = Recovered::default();
        let epochs_before = log.epochs.clone();
        let bases = log.remove_leftovers(found, start)?;
        let mut producers = None;
        log.end = bases.first().copied().unwrap_or(start);
        log.log_start = start.max(log.end);
        let promised = shutdown.recovery_point().unwrap_or(Offset::ZERO);
        let shutdown = shutdown.with_start(log.log_start);
        if !bases.is_empty() {
            producers = log.load_segments(&bases, shutdown, now, progress, &mut recovered)?;
        }
        if bases.is_empty() || log.end < log.log_start {
            log.begin_again_at(now)?;
        }
        if log.end < promised {
            return Err(log.ends_early(promised));
        }
        log.remove_stray_snapshots()?;
        if recovered.cut_bytes > 0 {
            log.sync_truncation()?;
        }
        log.names_unsynced |= recovered.checked_bytes > 0;
        log.settle_epochs(&epochs_before, read.damaged && log.end > log.log_start)?;
        let durable = shutdown.recovery_point().unwrap_or(log.end);
        log.recovery_point = durable.clamp(log.log_start, log.end);
        match producers {
            Some((at, producers)) if at == log.end => log.producers = producers,
            _ => log.rebuild_producers()?,
        }
        log.draw_roll_jitter();
        log.check();
        Ok((log, recovered))
    }

    /// The epochs of the records that are there, also in their file.
    fn settle_epochs(&mut self, in_file: &LeaderEpochs, is_damaged: bool) -> Result<(), LogError> {
        if is_damaged {
            self.rebuild_epochs()?;
        }
        self.epochs.truncate_from_end(self.end);
        self.epochs.truncate_from_start(self.log_start);
        if self.epochs != *in_file || is_damaged { self.write_epochs() } else { Ok(()) }
    }

    /// That the log ends below `promised`, up to where it was durable.
    #[must_use]
    pub fn ends_early(&self, promised: Offset) -> LogError {
        let last = self.active();
        LogError::Damaged(Damage {
            path: last.path().to_owned(),
            position: last.size(),
            offset: self.end,
            reason: format!("the log ends here, and everything below {promised} was durable"),
        })
    }
}
