//! Opening a log: what a clean stop left is used as it is; after any other end, everything above
//! the recovery point is checked, and the log is cut at the first batch that is not sound.
//!
//! ```text
//!   segments:   [ durable ][ durable ][ above the recovery point ][ active ]
//!               indexes used as they are   batches checked, indexes and epochs rebuilt
//! ```
//! Indexes that are missing or not sane are rebuilt in any case. Producers come from the newest
//! sound snapshot and the log behind it. Source: `LogLoader`, `LogSegment.recover`.

use std::io;
use std::path::Path;

use ottla_protocol::batch::BatchHeader;
use ottla_runtime::Disk;
use ottla_types::{Offset, Timestamp};

use super::scan::CheckedScanner;
use super::segment::{Appended, Segment};
use super::{Log, LogError, LogOptions};
use crate::leader_epochs::LeaderEpochs;
use crate::names::SegmentFile;
use crate::producer_state::{ProducerState, RefusedFirsts};

/// Bytes of a producer snapshot at most: fifty million producers.
const SNAPSHOT_LEN_MAX: u64 = 2 << 30;

/// Bytes of the log in front of a snapshot that are looked at for batches of its producers.
const RECALLED_BYTES: u64 = 1 << 20;

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
}

impl Shutdown {
    /// What lies below a log's start needs no look.
    fn at_least(self, start: Offset) -> Shutdown {
        match self {
            Shutdown::Clean => Shutdown::Clean,
            Shutdown::Unclean { recovery_point } => {
                Shutdown::Unclean { recovery_point: recovery_point.max(start) }
            }
        }
    }
}

/// What opening a log had to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// Bytes that were cut off behind the last sound batch.
    pub cut_bytes: u64,
}

impl Log {
    /// Opens the log in `dir`, or begins one at offset 0 in an empty directory.
    ///
    /// # Errors
    /// Those of the disk; `Corrupt` for a segment that a clean stop promised to be sound.
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
        let io_error = |error| LogError::io(dir, error);
        let bases = list_segments(disk, dir).map_err(io_error)?;
        let log_start = bases.first().copied().unwrap_or(Offset::ZERO);
        let mut log = Log {
            disk: disk.clone(),
            dir: dir.to_owned(),
            options,
            segments: Vec::new(),
            log_start,
            end: log_start,
            recovery_point: log_start,
            names_unsynced: true,
            producers: ProducerState::default(),
            refused_firsts: RefusedFirsts::default(),
            epochs: LeaderEpochs::read(disk, dir).map_err(io_error)?,
        };
        let mut recovered = Recovered::default();
        let epochs_before = log.epochs.clone();
        let bases = log.remove_leftovers(bases, start)?;
        log.log_start = start.max(bases.first().copied().unwrap_or(start));
        let shutdown = shutdown.at_least(log.log_start);
        if !bases.is_empty() {
            log.load_segments(&bases, shutdown, now, &mut recovered)?;
        }
        if bases.is_empty() || log.end < log.log_start {
            log.begin_again_at(now)?;
        }
        if recovered.cut_bytes > 0 {
            log.sync_truncation()?;
        }
        log.epochs.truncate_from_end(log.end);
        log.epochs.truncate_from_start(log.log_start);
        if log.epochs != epochs_before {
            log.write_epochs()?;
        }
        log.recovery_point = match shutdown {
            Shutdown::Clean => log.end,
            Shutdown::Unclean { recovery_point } => recovery_point.clamp(log.log_start, log.end),
        };
        log.remove_snapshots_behind(log.end)?;
        log.rebuild_producers()?;
        log.check();
        Ok((log, recovered))
    }

    fn load_segments(
        &mut self,
        bases: &[Offset],
        shutdown: Shutdown,
        now: Timestamp,
        recovered: &mut Recovered,
    ) -> Result<(), LogError> {
        let durable = match shutdown {
            Shutdown::Clean => Offset(i64::MAX),
            Shutdown::Unclean { recovery_point } => recovery_point,
        };
        for (index, base) in bases.iter().enumerate() {
            let next_base = bases.get(index + 1).copied();
            let is_durable = next_base.map_or(shutdown == Shutdown::Clean, |next| next <= durable);
            let indexed = if is_durable {
                Segment::open_indexed(&self.disk, &self.dir, *base, now)?
            } else {
                None
            };
            if let Some(mut segment) = indexed {
                self.end = match next_base {
                    Some(next) => next,
                    None => {
                        segment.load_first_timestamp()?;
                        segment.next_offset()?
                    }
                };
                self.segments.push(segment);
                continue;
            }
            // Above the recovery point nothing was compacted: a gap is the lost end of the
            // segment before.
            if *base > durable && *base != self.end {
                return self.drop_behind(&bases[index..], now, recovered);
            }
            if !self.recover_segment(*base, now, recovered)? {
                return self.drop_behind(&bases[index + 1..], now, recovered);
            }
        }
        Ok(())
    }

    /// Checks a segment batch by batch, rebuilds its indexes, and cuts it at the first batch that
    /// is not sound. Tells whether nothing had to be cut.
    fn recover_segment(
        &mut self,
        base: Offset,
        now: Timestamp,
        recovered: &mut Recovered,
    ) -> Result<bool, LogError> {
        let mut segment = Segment::unindexed(&self.disk, &self.dir, base, now);
        let path = segment.path().to_owned();
        segment.clear_indexes().map_err(|error| LogError::io(&path, error))?;
        // The file may know epochs of records that are lost; what is found here counts.
        self.epochs.truncate_from_end(base);
        let index_interval = u64::from(self.options.config.index_interval_bytes);
        let mut scanner = CheckedScanner::new(segment.file()?, path.clone())?;
        self.end = base;
        let reason = loop {
            match scanner.next_batch()? {
                None => break None,
                Some(Err(error)) => break Some(error.to_string()),
                Some(Ok(header)) if header.base_offset < self.end => {
                    break Some("its offset is below the one before".to_owned());
                }
                Some(Ok(header)) => {
                    self.epochs.assign(header.leader_epoch, header.base_offset);
                    let appended = Appended {
                        last_offset: header.last_offset(),
                        max_timestamp: header.max_timestamp,
                        size: header.size() as u64,
                    };
                    segment.note(&appended, index_interval)?;
                    self.end = header.next_offset();
                }
            }
        };
        recovered.checked_bytes += scanner.position();
        let cut = scanner.end() - segment.size();
        if let Some(reason) = &reason {
            tracing::warn!(file = %path.display(), offset = self.end.0, bytes = cut, %reason,
                "cutting the log at a batch that is not sound");
            recovered.cut_bytes += cut;
            segment.cut_to_size()?;
        }
        self.segments.push(segment);
        Ok(reason.is_none())
    }

    /// Deletes the segments behind one that was cut.
    fn drop_behind(
        &mut self,
        bases: &[Offset],
        now: Timestamp,
        recovered: &mut Recovered,
    ) -> Result<(), LogError> {
        for base in bases {
            let mut segment = Segment::unindexed(&self.disk, &self.dir, *base, now);
            let len = segment.file()?.len().map_err(|error| LogError::io(&self.dir, error))?;
            recovered.cut_bytes += len;
            tracing::warn!(file = %segment.path().display(), bytes = len,
                "deleting a segment behind the cut");
            segment.delete()?;
        }
        // A segment that lost everything goes, unless it is the only one.
        if self.segments.len() > 1 && self.active().size() == 0 {
            self.segments.pop().expect("more than one").delete()?;
        }
        Ok(())
    }

    /// Rebuilds what is known of producers: the newest sound snapshot and the log behind it.
    ///
    /// A snapshot holds the last batch of each producer only. Clients have up to five under way,
    /// and send them again after a restart, so a piece of the log in front of the snapshot is
    /// looked at for the others; Kafka forgets them.
    pub(super) fn rebuild_producers(&mut self) -> Result<(), LogError> {
        let (from, mut producers) = self.newest_snapshot()?;
        if !producers.is_empty() {
            let mut earlier = ProducerState::default();
            let begin = self.recall_from(from)?;
            self.each_header(begin, from, |header| earlier.note(header))?;
            producers.recall(&earlier);
        }
        self.each_header(from, self.end, |header| producers.note(header))?;
        self.producers = producers;
        Ok(())
    }

    /// An offset about [`RECALLED_BYTES`] in front of `offset`, or the first.
    fn recall_from(&mut self, offset: Offset) -> Result<Offset, LogError> {
        let mut wanted = RECALLED_BYTES;
        for segment in self.segments.iter_mut().rev().filter(|segment| segment.base() < offset) {
            let position = segment.indexed_position(offset)?;
            if position >= wanted {
                return segment.indexed_offset(position - wanted);
            }
            wanted -= position;
        }
        Ok(self.log_start)
    }

    /// Walks over the headers of the batches that begin in `from..to`.
    fn each_header(
        &mut self,
        from: Offset,
        to: Offset,
        mut visit: impl FnMut(&BatchHeader),
    ) -> Result<(), LogError> {
        let first = self.segment_index(from);
        for segment in &mut self.segments[first..] {
            if segment.base() >= to {
                break;
            }
            let mut scanner = segment.scan_from(from)?;
            while let Some((_, header)) = scanner.next_header()? {
                if header.base_offset >= to {
                    return Ok(());
                }
                if header.base_offset >= from {
                    visit(&header);
                }
            }
        }
        Ok(())
    }

    fn newest_snapshot(&self) -> Result<(Offset, ProducerState), LogError> {
        let mut offsets = self.snapshots()?;
        offsets.retain(|offset| (self.log_start..=self.end).contains(offset));
        for offset in offsets.into_iter().rev() {
            let path = self.dir.join(SegmentFile::Snapshot.name(offset));
            let read = self.disk.read(&path, SNAPSHOT_LEN_MAX);
            match read.and_then(|bytes| ProducerState::from_snapshot(&bytes)) {
                Ok(producers) => return Ok((offset, producers)),
                Err(error) if is_damage(&error) => {
                    tracing::warn!(file = %path.display(), %error, "removing a damaged snapshot");
                    self.disk.remove_file(&path).map_err(|error| LogError::io(&path, error))?;
                }
                Err(error) => return Err(LogError::io(&path, error)),
            }
        }
        Ok((self.log_start, ProducerState::default()))
    }

    /// Removes snapshots of offsets that the log no longer has.
    pub(super) fn remove_snapshots_behind(&self, end: Offset) -> Result<(), LogError> {
        for offset in self.snapshots()?.into_iter().filter(|offset| *offset > end) {
            let path = self.dir.join(SegmentFile::Snapshot.name(offset));
            self.disk.remove_file(&path).map_err(|error| LogError::io(&path, error))?;
        }
        Ok(())
    }

    pub(super) fn snapshots(&self) -> Result<Vec<Offset>, LogError> {
        let entries = self.disk.list(&self.dir).map_err(|error| LogError::io(&self.dir, error))?;
        let parsed = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
        Ok(parsed.filter(|(kind, _)| *kind == SegmentFile::Snapshot).map(|(_, at)| at).collect())
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge)
}

/// Base offsets of the segments in a directory, sorted.
fn list_segments(disk: &Disk, dir: &Path) -> io::Result<Vec<Offset>> {
    let entries = disk.list(dir)?;
    let parsed = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
    Ok(parsed.filter(|(kind, _)| *kind == SegmentFile::Log).map(|(_, base)| base).collect())
}
