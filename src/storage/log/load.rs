//! Loading the segments of a log, as they were left.
//!
//! ```text
//!   Clean     [ indexes used ][ indexes used ][ indexes used, end looked up                 ]
//!   Unclean   [ indexes used ][ batches checked, indexes rebuilt                             ]
//!   Killed    [ indexes used ][ indexes used ][ indexes used | behind the last entry checked ]
//! ```
//! Unclean: indexes of whole segments below the recovery point are durable; the others are rebuilt.
//! Above the recovery point a power cut leaves any part of what was written: the log is cut at the
//! first batch that is not sound, and what is behind it goes, valid or not. Below it, a batch that
//! is not sound is damage, and nothing is cut. Killed: see `docs/adr/0007`. An index that is
//! missing or not sane is rebuilt in any case, from batches that are checked. Source: `LogLoader`,
//! `LogSegment.recover`.

use std::path::PathBuf;

use ottla_protocol::batch::BatchHeader;
use ottla_runtime::{OpenMode, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::entry_file::FileEnd;
use super::progress::Progress;
use super::recover::{ProducersAt, Recovered, Shutdown};
use super::scan::CheckedScanner;
use super::segment::{Appended, Segment};
use super::{Log, LogError, SyncPoints};
use crate::error::Damage;
use crate::producer_state::{ProducerState, TransactionEnd};

/// How a segment is taken up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// With its indexes.
    Indexed,
    /// With its indexes, and checked behind their last entry.
    Resumed,
    /// Checked from its start, with new indexes.
    Rebuilt,
}

impl Take {
    fn of(shutdown: Shutdown, next_base: Option<Offset>) -> Take {
        match (shutdown, next_base) {
            (Shutdown::Clean, _) | (Shutdown::Killed { .. }, Some(_)) => Take::Indexed,
            (Shutdown::Killed { .. }, None) => Take::Resumed,
            // One that ends at the recovery point may have been sealed behind the checkpoint.
            (Shutdown::Unclean { recovery_point }, Some(next)) if next < recovery_point => {
                Take::Indexed
            }
            (Shutdown::Unclean { .. } | Shutdown::Doubted, _) => Take::Rebuilt,
        }
    }
}

/// What a segment that is checked batch by batch must hold.
#[derive(Clone, Copy)]
struct Bounds {
    /// What is not sound below is damage.
    durable: Offset,
    /// Where the next segment begins.
    next_base: Option<Offset>,
}

impl Log {
    /// Returns the producers behind the last batch that was checked, if any was.
    pub(super) fn load_segments(
        &mut self,
        bases: &[Offset],
        shutdown: Shutdown,
        now: Timestamp,
        progress: &Progress,
        recovered: &mut Recovered,
    ) -> Result<ProducersAt, LogError> {
        let mut producers = None;
        let durable = shutdown.recovery_point().unwrap_or(Offset(i64::MAX));
        let next_base = |index: usize| bases.get(index + 1).copied();
        let takes = (0..bases.len()).map(|index| Take::of(shutdown, next_base(index)));
        let takes: Vec<Take> = takes.collect();
        let mut segments = progress.segments(takes.iter().filter(|t| **t == Take::Rebuilt).count());
        for (index, (base, take)) in bases.iter().zip(takes).enumerate() {
            let next_base = next_base(index);
            if take != Take::Rebuilt
                && let Some(mut segment) = self.open_segment(*base, take, now)?
            {
                segment.indexes_durable = next_base.map_or(take == Take::Indexed, |n| n < durable);
                if take == Take::Indexed {
                    self.push_indexed(segment, next_base)?;
                } else {
                    self.resume_segment(segment, durable, recovered, &mut producers)?;
                }
                continue;
            }
            if shutdown == Shutdown::Doubted && index > 0 && *base != self.end {
                return Err(self.ends_early(*base));
            }
            // Above the recovery point a gap is the lost end of the segment before, but in a log
            // that is compacted: that does not wait for recovery points to be written.
            if *base > durable && *base != self.end && !self.may_have_gaps() {
                self.drop_behind(&bases[index..], now, recovered)?;
                break;
            }
            let is_promised = next_base.is_some_and(|next| next <= durable);
            // One that could be taken up by its indexes is whole to its end.
            let nothing_goes = take == Take::Indexed || shutdown == Shutdown::Doubted;
            let durable = if nothing_goes { Offset(i64::MAX) } else { durable };
            let segment = self.unindexed(*base, take, now)?;
            let indexed = segment.indexed_to();
            if take == Take::Rebuilt {
                // The file may know epochs of records that are lost; what is found counts.
                self.epochs.truncate_from_end(*base);
            }
            let bounds = Bounds { durable, next_base };
            let sound = self.rebuild_segment(segment, bounds, recovered, &mut producers)?;
            let is_cut = next_base.is_some_and(|next| self.end < next);
            if let Some(last) = indexed.filter(|last| nothing_goes && is_cut && *last >= self.end) {
                // Its index tells of batches that are gone.
                return Err(self.ends_early(last.plus(1)));
            }
            segments.one_done();
            if next_base.is_some() {
                self.keep_rebuilt(is_promised)?;
            }
            if !sound {
                self.drop_behind(&bases[index + 1..], now, recovered)?;
                break;
            }
        }
        Ok(producers)
    }

    fn open_segment(
        &self,
        base: Offset,
        take: Take,
        now: Timestamp,
    ) -> Result<Option<Segment>, LogError> {
        let end = if take == Take::Resumed { FileEnd::Torn } else { FileEnd::Whole };
        Segment::open_indexed(&self.disk, &self.dir, base, now, end)
    }

    fn push_indexed(
        &mut self,
        mut segment: Segment,
        next_base: Option<Offset>,
    ) -> Result<(), LogError> {
        self.end = match next_base {
            Some(next) => next,
            None => {
                segment.load_first_timestamp()?;
                segment.next_offset()?
            }
        };
        self.segments.push(segment);
        Ok(())
    }

    /// Checks what lies behind the last index entry of the segment that a process that died wrote
    /// to.
    fn resume_segment(
        &mut self,
        mut segment: Segment,
        durable: Offset,
        recovered: &mut Recovered,
        producers_at: &mut ProducersAt,
    ) -> Result<(), LogError> {
        let (path, len) = (segment.path().to_owned(), segment.size());
        self.end = segment.resume()?;
        let from = segment.size();
        // Producers are followed from here on, and read from what is in front of it.
        self.segments.push(segment);
        let producers = self.producers_at(self.end)?;
        let mut segment = self.segments.pop().expect("just pushed");
        let scanner = CheckedScanner::new(segment.file()?, path, from..len);
        let bounds = Bounds { durable, next_base: None };
        self.check_batches(segment, scanner, bounds, recovered, (producers_at, producers))?;
        Ok(())
    }

    /// Checks a segment batch by batch, rebuilds its indexes, and cuts it at the first batch above
    /// `durable` that is not sound. Tells whether nothing had to be cut. Aborted transactions are
    /// known by their producers, which are followed from segment to segment.
    fn rebuild_segment(
        &mut self,
        mut segment: Segment,
        bounds: Bounds,
        recovered: &mut Recovered,
        producers_at: &mut ProducersAt,
    ) -> Result<bool, LogError> {
        let base = segment.base();
        let producers = match producers_at.take() {
            Some((at, producers)) if at == base => producers,
            _ => self.producers_at(base)?,
        };
        let path = segment.path().to_owned();
        let io_error = |error| LogError::io(&path, error);
        let len = segment.file()?.len().map_err(io_error)?;
        segment.clear_indexes().map_err(io_error)?;
        self.end = base;
        let scanner = CheckedScanner::new(segment.file()?, path, 0..len);
        self.check_batches(segment, scanner, bounds, recovered, (producers_at, producers))
    }

    /// Nobody writes to a rebuilt segment again: the next start finds its indexes in their files.
    /// Those that the recovery point promises are durable at once, because it stands in its file.
    fn keep_rebuilt(&mut self, is_promised: bool) -> Result<(), LogError> {
        let segment = self.active_mut();
        segment.seal_if_room()?;
        if !is_promised {
            return Ok(());
        }
        let files = match segment.index_files() {
            Err(error) if error.is_disk_full() => return Ok(()),
            files => files?,
        };
        let sync = |(path, point): (PathBuf, SyncPoint)| {
            self.disk.open(&path, OpenMode::ReadWrite)?.sync(point)
        };
        let synced = files.into_iter().try_for_each(sync);
        let names = self.options.sync_points.names;
        let synced = synced.and_then(|()| self.disk.sync_dir(&self.dir, names));
        synced.map_err(|error| LogError::io(&self.dir, error))?;
        self.active_mut().indexes_durable = true;
        Ok(())
    }

    fn unindexed(&self, base: Offset, take: Take, now: Timestamp) -> Result<Segment, LogError> {
        let segment = Segment::unindexed(&self.disk, &self.dir, base, now);
        if take != Take::Rebuilt {
            tracing::warn!(file = %segment.path().display(), "rebuilding indexes that do not fit");
        }
        Ok(segment)
    }

    /// Checks the batches that the scanner finds and puts the segment behind the others. Tells
    /// whether nothing had to be cut.
    fn check_batches(
        &mut self,
        mut segment: Segment,
        mut scanner: CheckedScanner,
        bounds: Bounds,
        recovered: &mut Recovered,
        (producers_at, mut producers): (&mut ProducersAt, ProducerState),
    ) -> Result<bool, LogError> {
        let begin = scanner.position();
        let reason = loop {
            match scanner.next_batch()? {
                None => break None,
                Some(Err(error)) => break Some(error.to_string()),
                Some(Ok(header)) if header.base_offset < self.end => {
                    break Some("its offset is below the one before".to_owned());
                }
                Some(Ok(header)) if !self.may_follow(&header) => {
                    break Some("it does not follow the one before".to_owned());
                }
                Some(Ok(header))
                    if self.leaps(&header, bounds.durable)
                        || !fits(&segment, (self.end, bounds.durable), &header, &scanner)? =>
                {
                    break Some("no batch of this segment has its offset".to_owned());
                }
                Some(Ok(header)) => {
                    self.note_found(&mut segment, &header)?;
                    let end = TransactionEnd::read(&header, scanner.last_records(&header));
                    if let Some(ended) = producers.note(&header, end.as_ref()) {
                        segment.note_ended(&ended)?;
                    }
                }
            }
        };
        *producers_at = Some((self.end, producers));
        recovered.checked_bytes += scanner.position() - begin;
        let Some(reason) = reason else {
            self.segments.push(segment);
            return Ok(true);
        };
        let path = segment.path().to_owned();
        // Room that was preallocated, and whose cut at the seal was lost: no record is missing.
        let is_whole = bounds.next_base == Some(self.end);
        if self.end < bounds.durable && !is_whole {
            return Err(self.damaged(path, segment.size(), &reason));
        }
        let cut = scanner.end() - segment.size();
        tracing::warn!(file = %path.display(), offset = self.end.0, bytes = cut, %reason,
            "cutting the log at a batch that is not sound");
        recovered.cut_bytes += cut;
        segment.truncate(self.end, segment.size())?;
        self.segments.push(segment);
        Ok(is_whole)
    }

    /// Whether a batch lies behind the recovery point, and what is just below that is missing: only
    /// compaction does so.
    fn leaps(&self, header: &BatchHeader, durable: Offset) -> bool {
        let crosses = self.end < durable && header.base_offset > durable;
        crosses && !self.may_have_gaps()
    }

    /// The metadata log has no gaps, and its epochs only rise; no checksum covers either.
    fn may_follow(&self, header: &BatchHeader) -> bool {
        if self.options.sync_points != SyncPoints::METADATA {
            return true;
        }
        // What the file of epochs says of batches in front of the log does not count.
        let last = self.epochs.entries().last().filter(|(_, start)| *start >= self.log_start);
        let epoch = last.map(|(epoch, _)| *epoch);
        header.base_offset == self.end && epoch.is_none_or(|epoch| header.leader_epoch >= epoch)
    }

    fn note_found(&mut self, segment: &mut Segment, header: &BatchHeader) -> Result<(), LogError> {
        self.epochs.assign(header.leader_epoch, header.base_offset);
        let appended = Appended {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            size: header.size() as u64,
        };
        segment.note(&appended, u64::from(self.options.config.index_interval_bytes))?;
        self.end = header.next_offset();
        Ok(())
    }

    fn damaged(&self, path: PathBuf, position: u64, reason: &str) -> LogError {
        LogError::Damaged(Damage { path, position, offset: self.end, reason: reason.to_owned() })
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

/// Whether a batch that begins at or behind `end` can have its offset, which no checksum covers: an
/// index can hold it, and no sound batch behind it lies in front of it. One that ends where
/// `durable` says needs no witness, and what is behind it is none: a power cut may have left that
/// without its offset.
fn fits(
    segment: &Segment,
    (end, durable): (Offset, Offset),
    header: &BatchHeader,
    scanner: &CheckedScanner,
) -> Result<bool, LogError> {
    let relative = header.last_offset().0.checked_sub(segment.base().0);
    if relative.is_none_or(|relative| i32::try_from(relative).is_err()) {
        return Ok(false);
    }
    // Without a gap in front of it there is nothing to doubt.
    let is_doubted = header.base_offset > end && header.next_offset() != durable;
    let next = if is_doubted { scanner.peek()? } else { None };
    Ok(next.is_none_or(|next| next.base_offset >= header.next_offset()))
}
