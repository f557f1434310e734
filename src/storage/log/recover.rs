//! Opening a log: what a clean stop left is used as it is; after any other end, everything above
//! the recovery point is checked, and the log is cut at the first batch that is not sound.
//!
//! ```text
//!   segments:   [ durable ][ durable ][ above the recovery point ][ active ]
//!               indexes used as they are   batches checked, indexes and epochs rebuilt
//! ```
//! Indexes that are missing or not sane are rebuilt in any case. Source: `LogLoader`,
//! `LogSegment.recover`.

use std::io;
use std::path::Path;

use ottla_runtime::Disk;
use ottla_types::{Offset, Timestamp};

use super::scan::CheckedScanner;
use super::segment::{Appended, Segment};
use super::small_files::{SmallFiles, read_epochs};
use super::{Log, LogError, LogOptions};
use crate::names::SegmentFile;
use crate::producer_state::{ProducerState, RefusedFirsts, TransactionEnd};

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

/// Producers as they are at an offset.
type ProducersAt = Option<(Offset, ProducerState)>;

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
        let read = read_epochs(disk, dir, shutdown).map_err(io_error)?;
        let log_start = bases.first().copied().unwrap_or(Offset::ZERO);
        let mut log = Log {
            disk: disk.clone(),
            dir: dir.to_owned(),
            options,
            segments: Vec::with_capacity(bases.len().max(1)),
            log_start,
            end: log_start,
            recovery_point: log_start,
            names_unsynced: shutdown != Shutdown::Clean,
            producers: ProducerState::default(),
            refused_firsts: RefusedFirsts::default(),
            epochs: read.epochs,
            small_files: SmallFiles::left(shutdown),
        };
        let mut recovered = Recovered::default();
        let epochs_before = log.epochs.clone();
        let bases = log.remove_leftovers(bases, start)?;
        let mut producers = None;
        log.log_start = start.max(bases.first().copied().unwrap_or(start));
        let shutdown = shutdown.at_least(log.log_start);
        if !bases.is_empty() {
            producers = log.load_segments(&bases, shutdown, now, &mut recovered)?;
        }
        if bases.is_empty() || log.end < log.log_start {
            log.begin_again_at(now)?;
        }
        log.remove_stray_snapshots()?;
        if recovered.cut_bytes > 0 {
            log.sync_truncation()?;
        }
        if read.damaged {
            log.rebuild_epochs()?;
        }
        log.names_unsynced |= recovered.checked_bytes > 0;
        log.epochs.truncate_from_end(log.end);
        log.epochs.truncate_from_start(log.log_start);
        if log.epochs != epochs_before || read.damaged {
            log.write_epochs()?;
        }
        log.recovery_point = match shutdown {
            Shutdown::Clean => log.end,
            Shutdown::Unclean { recovery_point } => recovery_point.clamp(log.log_start, log.end),
        };
        match producers {
            Some((at, producers)) if at == log.end => log.producers = producers,
            _ => log.rebuild_producers()?,
        }
        log.check();
        Ok((log, recovered))
    }

    /// Returns the producers behind the last batch that was checked, if any was.
    fn load_segments(
        &mut self,
        bases: &[Offset],
        shutdown: Shutdown,
        now: Timestamp,
        recovered: &mut Recovered,
    ) -> Result<ProducersAt, LogError> {
        let mut producers = None;
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
            // Above the recovery point a gap is the lost end of the segment before, but in a log
            // that Kafka's cleaner works on: it does not wait for recovery points to be written.
            let may_have_gaps = self.options.config.compacts;
            if *base > durable && *base != self.end && !may_have_gaps {
                self.drop_behind(&bases[index..], now, recovered)?;
                break;
            }
            if !self.recover_segment(*base, now, recovered, &mut producers)? {
                self.drop_behind(&bases[index + 1..], now, recovered)?;
                break;
            }
        }
        Ok(producers)
    }

    /// Checks a segment batch by batch, rebuilds its indexes, and cuts it at the first batch that
    /// is not sound. Tells whether nothing had to be cut. Aborted transactions are known by their
    /// producers, which are followed from segment to segment.
    fn recover_segment(
        &mut self,
        base: Offset,
        now: Timestamp,
        recovered: &mut Recovered,
        producers_at: &mut ProducersAt,
    ) -> Result<bool, LogError> {
        let mut producers = match producers_at.take() {
            Some((at, producers)) if at == base => producers,
            _ => self.producers_at(base)?,
        };
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
                    let end = TransactionEnd::read(&header, scanner.last_records(&header));
                    if let Some(ended) = producers.note(&header, end.as_ref()) {
                        segment.note_ended(&ended)?;
                    }
                    self.end = header.next_offset();
                }
            }
        };
        *producers_at = Some((self.end, producers));
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
}

/// Base offsets of the segments in a directory, sorted.
fn list_segments(disk: &Disk, dir: &Path) -> io::Result<Vec<Offset>> {
    let entries = disk.list(dir)?;
    let parsed = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
    Ok(parsed.filter(|(kind, _)| *kind == SegmentFile::Log).map(|(_, base)| base).collect())
}
