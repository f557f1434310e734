//! A segment: a file of batches with its indexes.
//!
//! `size` is the end of what counts; bytes behind it in the file are the rest of a failed write
//! and are overwritten or cut. Files open when they are needed ([`LazyFile`]).

mod taken_up;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_protocol::batch::BatchHeader;
use ottla_runtime::{Disk, File, LazyFile, OpenMode, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::index::{FileEnd, OffsetIndex, TimeIndex};
use super::scan::{Scanner, Sweep};
use super::txn_index::TxnIndex;
use super::{BatchLocation, Extent};
use crate::error::LogError;
use crate::names::SegmentFile;
use crate::producer_state::EndedTransaction;

/// Bytes appended until index entries go to their files. What lies behind the last entry in the
/// file is what a start after the death of the process looks through.
const SPILL_BYTES: u64 = 256 << 10;

pub(super) struct Segment {
    base: Offset,
    path: PathBuf,
    disk: Disk,
    file: LazyFile,
    size: u64,
    offsets: OffsetIndex,
    times: TimeIndex,
    aborted: TxnIndex,
    /// Largest timestamp so far and the last offset of its batch.
    max_timestamp: Option<(Timestamp, Offset)>,
    /// Time of the first batch, from which the age of the segment counts.
    first_timestamp: Option<Timestamp>,
    /// Wall time of its creation: the age of a segment without timestamps.
    created: Timestamp,
    /// Bytes appended since the newest index entry.
    unindexed_bytes: u64,
    /// Bytes appended since index entries went to their files.
    unspilled_bytes: u64,
    /// Whether recovery may use the indexes as they are. The log sets it when it knows or syncs
    /// them.
    pub(super) indexes_durable: bool,
}

/// Limits at which the next segment begins.
#[derive(Clone, Copy)]
pub(super) struct RollLimits {
    pub(super) segment_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) age_max: Duration,
}

/// What an append adds to a segment.
#[derive(Clone, Copy)]
pub(super) struct Appended {
    pub(super) last_offset: Offset,
    pub(super) max_timestamp: Timestamp,
    pub(super) size: u64,
}

impl Segment {
    /// A new, empty segment. Its log file is created at once, its indexes when they are needed.
    pub(super) fn create(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        now: Timestamp,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::unindexed(disk, dir, base, now);
        let path = segment.path.clone();
        let file = disk.open(&path, OpenMode::Truncate).map_err(|e| LogError::io(&path, e))?;
        segment.file.put(disk, &file);
        segment.clear_indexes().map_err(|e| LogError::io(&path, e))?;
        Ok(segment)
    }

    /// A segment whose file exists, with its indexes as they are. `None` when one is missing or not
    /// sane.
    pub(super) fn open_indexed(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        now: Timestamp,
        end: FileEnd,
    ) -> Result<Option<Segment>, LogError> {
        let mut segment = Segment::unindexed(disk, dir, base, now);
        let path = segment.path.clone();
        let indexes = || -> io::Result<_> {
            let size = disk.open(&path, OpenMode::ReadWrite)?.len()?;
            let offsets = OffsetIndex::open(disk, index_path(dir, base), base, size, end)?;
            let times = TimeIndex::open(disk, time_index_path(dir, base), base, end)?;
            let aborted = TxnIndex::open(disk, txn_index_path(dir, base), base, end)?;
            Ok((size, offsets, times, aborted))
        };
        let (size, offsets, times, aborted) = indexes().map_err(|e| LogError::io(&path, e))?;
        let (Some(offsets), Some(mut times), Some(aborted)) = (offsets, times, aborted) else {
            return Ok(None);
        };
        segment.max_timestamp = times.last().map_err(|e| LogError::io(&path, e))?;
        segment.size = size;
        segment.offsets = offsets;
        segment.times = times;
        segment.aborted = aborted;
        Ok(segment.indexes_fit()?.then_some(segment))
    }

    /// A segment that counts nothing of its files yet: for recovery.
    pub(super) fn unindexed(disk: &Disk, dir: &Path, base: Offset, now: Timestamp) -> Segment {
        Segment {
            base,
            path: dir.join(SegmentFile::Log.name(base)),
            disk: disk.clone(),
            file: LazyFile::default(),
            size: 0,
            offsets: OffsetIndex::new(disk, index_path(dir, base), base),
            times: TimeIndex::new(disk, time_index_path(dir, base), base),
            aborted: TxnIndex::new(disk, txn_index_path(dir, base)),
            max_timestamp: None,
            first_timestamp: None,
            created: now,
            unindexed_bytes: 0,
            unspilled_bytes: 0,
            indexes_durable: false,
        }
    }

    pub(super) fn base(&self) -> Offset {
        self.base
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn max_timestamp(&self) -> Option<(Timestamp, Offset)> {
        self.max_timestamp
    }

    /// Time of the latest record; without one, of the segment's creation or opening.
    pub(super) fn latest_time(&self) -> Timestamp {
        let max = self.max_timestamp.map(|(timestamp, _)| timestamp);
        max.filter(|max| max.0 >= 0).unwrap_or(self.created)
    }

    pub(super) fn file(&mut self) -> Result<File, LogError> {
        let file = self.file.get(&self.disk, &self.path, OpenMode::ReadWrite);
        file.map_err(|error| LogError::io(&self.path, error))
    }

    /// Reads from which time the age counts, for a segment that was opened with its indexes.
    pub(super) fn load_first_timestamp(&mut self) -> Result<(), LogError> {
        let first = match self.scan_at(0)?.next_header() {
            Err(LogError::Corrupt { .. }) => None,
            first => first?,
        };
        self.first_timestamp = first.map(|(_, header)| header.max_timestamp);
        Ok(())
    }

    /// Whether the next segment must begin before `next` is appended.
    pub(super) fn must_roll(&self, next: &Appended, limits: RollLimits, now: Timestamp) -> bool {
        if self.size == 0 {
            return false;
        }
        let waited = match self.first_timestamp {
            Some(first) if first.0 >= 0 => next.max_timestamp.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(self.created.0),
        };
        let age_max = i64::try_from(limits.age_max.as_millis()).unwrap_or(i64::MAX);
        // A slot of the time index stays free for the entry that sealing adds.
        self.size + next.size > limits.segment_bytes
            || waited > age_max
            || self.offsets.len() >= limits.index_bytes / 8
            || self.times.len() + 1 >= limits.index_bytes / 12
            || next.last_offset.since(self.base) > i64::from(i32::MAX)
    }

    /// Writes a batch behind the others. Nothing of it counts before [`Segment::note`].
    pub(super) fn write(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), LogError> {
        let at = self.size;
        let result = self.file()?.write_all_at(slices, at);
        result.map_err(|error| LogError::io(&self.path, error))
    }

    /// Cuts what a failed write left behind the end.
    pub(super) fn cut_to_size(&mut self) -> Result<(), LogError> {
        let size = self.size;
        let result = self.file()?.set_len(size);
        result.map_err(|error| LogError::io(&self.path, error))
    }

    /// Counts a batch that was written: its size, its times and, every `index_interval` bytes, an
    /// index entry.
    pub(super) fn note(&mut self, batch: &Appended, index_interval: u64) -> Result<(), LogError> {
        if batch.max_timestamp.0 >= 0
            && self.max_timestamp.is_none_or(|(max, _)| batch.max_timestamp > max)
        {
            self.max_timestamp = Some((batch.max_timestamp, batch.last_offset));
        }
        if self.size == 0 {
            self.first_timestamp = Some(batch.max_timestamp);
        }
        if self.unindexed_bytes > index_interval {
            self.push_index_entries(batch).map_err(|error| LogError::io(&self.path, error))?;
            self.unindexed_bytes = 0;
        }
        self.size += batch.size;
        self.unindexed_bytes += batch.size;
        self.unspilled_bytes += batch.size;
        // A segment of an earlier run that is written to again gets new entries.
        self.indexes_durable = false;
        Ok(())
    }

    fn push_index_entries(&mut self, batch: &Appended) -> io::Result<()> {
        if let Some((max, offset)) = self.max_timestamp {
            self.times.push(max, offset)?;
        }
        self.offsets.push(batch.last_offset, self.size);
        if self.unspilled_bytes < SPILL_BYTES {
            return Ok(());
        }
        // Times first: what the file of offsets covers, the file of times covers.
        self.unspilled_bytes = 0;
        self.times.spill_if_room()?;
        self.offsets.spill_if_room()
    }

    /// Completes the indexes: the segment gets no more batches, or the log is closed.
    pub(super) fn seal(&mut self) -> Result<(), LogError> {
        let path = &self.path;
        let max = self.max_timestamp;
        let sealed = max
            .map_or(Ok(()), |(timestamp, offset)| self.times.push(timestamp, offset))
            .and_then(|()| self.offsets.seal())
            .and_then(|()| self.times.seal())
            .and_then(|()| self.aborted.seal());
        sealed.map_err(|error| LogError::io(path, error))
    }

    /// The files of a sealed segment's indexes, to be made durable.
    pub(super) fn index_files(&mut self) -> Result<Vec<(PathBuf, SyncPoint)>, LogError> {
        let mut files = || -> io::Result<_> {
            let mut files = vec![self.offsets.sealed_file()?, self.times.sealed_file()?];
            files.extend(self.aborted.sealed_file()?);
            Ok(files)
        };
        files().map_err(|error| LogError::io(&self.path, error))
    }

    /// Notes a transaction whose marker is in this segment.
    pub(super) fn note_ended(&mut self, ended: &EndedTransaction) -> Result<(), LogError> {
        if !ended.aborted {
            return Ok(());
        }
        self.indexes_durable = false;
        self.aborted.push(ended).map_err(|error| LogError::io(&self.path, error))
    }

    /// Collects the aborted transactions that a reader of `from..end` must leave out; tells whether
    /// the next segments have no more ([`TxnIndex::collect`]).
    pub(super) fn collect_aborted(
        &mut self,
        from: Offset,
        end: Offset,
        found: &mut Vec<EndedTransaction>,
    ) -> Result<bool, LogError> {
        let collected = self.aborted.collect(from, end, found);
        collected.map_err(|error| LogError::io(&self.path, error))
    }

    /// All aborted transactions whose markers are in this segment, for checks.
    pub(super) fn all_aborted(&mut self) -> Result<Vec<EndedTransaction>, LogError> {
        self.aborted.all().map_err(|error| LogError::io(&self.path, error))
    }

    /// Last offset of the first indexed batch at or behind `position`.
    pub(super) fn indexed_bound(&mut self, position: u64) -> Result<Option<Offset>, LogError> {
        self.offsets.offset_from(position).map_err(|error| LogError::io(&self.path, error))
    }

    /// A scanner of the headers from the batch that holds `offset`, or one before it.
    pub(super) fn scan_from(&mut self, offset: Offset) -> Result<Scanner, LogError> {
        Ok(self.indexed_scanner(offset)?.1)
    }

    /// Position of the last indexed batch at or in front of the one that holds `offset`.
    pub(super) fn indexed_position(&mut self, offset: Offset) -> Result<u64, LogError> {
        Ok(self.indexed_scanner(offset)?.0)
    }

    /// Last offset of the last indexed batch at or in front of `position`.
    pub(super) fn indexed_offset(&mut self, position: u64) -> Result<Offset, LogError> {
        self.offsets.offset_at(position).map_err(|error| LogError::io(&self.path, error))
    }

    /// As [`Segment::scan_from`], to walk over all of the rest.
    pub(super) fn sweep_from(&mut self, offset: Offset) -> Result<Sweep, LogError> {
        let start = self.indexed_position(offset)?;
        let (size, base, path) = (self.size, self.base, self.path.clone());
        Ok(Sweep::new(self.file()?, path, base, start..size))
    }

    /// A scanner of the headers from the batch at `position`.
    pub(super) fn scan_at(&mut self, position: u64) -> Result<Scanner, LogError> {
        let (size, base, path) = (self.size, self.base, self.path.clone());
        Ok(Scanner::new(self.file()?, path, base, position..size))
    }

    /// The first batch whose last offset is at or behind `offset`.
    pub(super) fn locate(&mut self, offset: Offset) -> Result<Option<BatchLocation>, LogError> {
        let mut scanner = self.scan_from(offset)?;
        while let Some((position, header)) = scanner.next_header()? {
            if header.last_offset() >= offset {
                return Ok(Some(self.location(position, header)?));
            }
        }
        Ok(None)
    }

    /// The first batch with a timestamp at or after `target` and an offset at or behind `start`.
    pub(super) fn locate_time(
        &mut self,
        target: Timestamp,
        start: Offset,
    ) -> Result<Option<BatchLocation>, LogError> {
        let from = self.times.floor(target).map_err(|error| LogError::io(&self.path, error))?;
        let mut scanner = self.scan_from(from.max(start))?;
        while let Some((position, header)) = scanner.next_header()? {
            if header.max_timestamp >= target && header.last_offset() >= start {
                return Ok(Some(self.location(position, header)?));
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the batches that end at or behind `start`, and the last offset of
    /// the first batch that holds it.
    pub(super) fn max_timestamp_from(
        &mut self,
        start: Offset,
    ) -> Result<Option<(Timestamp, Offset)>, LogError> {
        let mut best: Option<(Timestamp, Offset)> = None;
        let mut scanner = self.scan_from(start)?;
        while let Some((_, header)) = scanner.next_header()? {
            let is_newer = best.is_none_or(|(max, _)| header.max_timestamp > max);
            if header.last_offset() >= start && header.max_timestamp.0 >= 0 && is_newer {
                best = Some((header.max_timestamp, header.last_offset()));
            }
        }
        Ok(best)
    }

    /// Offset behind the last batch.
    pub(super) fn next_offset(&mut self) -> Result<Offset, LogError> {
        let last = self.offsets.last().map_err(|error| LogError::io(&self.path, error))?;
        let mut scanner = self.scan_at(last.map_or(0, |(_, position)| position))?;
        let mut next = self.base;
        while let Some((_, header)) = scanner.next_header()? {
            next = header.next_offset();
        }
        Ok(next)
    }

    fn location(&mut self, position: u64, header: BatchHeader) -> Result<BatchLocation, LogError> {
        let len = header.size() as u64;
        Ok(BatchLocation { header, extent: self.extent(position, len)? })
    }

    pub(super) fn extent(&mut self, position: u64, len: u64) -> Result<Extent, LogError> {
        Ok(Extent { file: self.file()?, position, len })
    }

    /// Forgets everything from `end` on, whose batch begins at `position`. The caller rebuilds what
    /// is known of times from the batches that stay.
    pub(super) fn truncate(&mut self, end: Offset, position: u64) -> Result<(), LogError> {
        self.size = position;
        self.cut_to_size()?;
        self.indexes_durable = false;
        let indexes = self
            .offsets
            .truncate_to(end)
            .and_then(|()| self.times.truncate_to(end))
            .and_then(|()| self.aborted.truncate_to(end));
        indexes.map_err(|error| LogError::io(&self.path, error))?;
        let times = self.times.last().map_err(|error| LogError::io(&self.path, error))?;
        self.max_timestamp = times;
        let from = times.map_or(self.base, |(_, offset)| offset);
        let mut scanner = self.scan_from(from)?;
        while let Some((_, header)) = scanner.next_header()? {
            if self.max_timestamp.is_none_or(|(max, _)| header.max_timestamp > max) {
                self.max_timestamp = Some((header.max_timestamp, header.last_offset()));
            }
        }
        Ok(())
    }

    pub(super) fn clear_indexes(&mut self) -> io::Result<()> {
        self.offsets.clear()?;
        self.times.clear()?;
        self.aborted.clear()
    }

    /// Removes the files.
    pub(super) fn delete(self) -> Result<(), LogError> {
        for path in self.paths() {
            match self.disk.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io(&path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the files' names away, for readers that still hold them open; returns the new ones.
    pub(super) fn rename_to_deleted(self) -> Result<Vec<PathBuf>, LogError> {
        let mut renamed = Vec::new();
        for path in self.paths() {
            let deleted = SegmentFile::deleted(&path);
            match self.disk.rename(&path, &deleted) {
                Ok(()) => renamed.push(deleted),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io(&path, error)),
            }
        }
        Ok(renamed)
    }

    /// All files that can belong to the segment.
    fn paths(&self) -> [PathBuf; 4] {
        let dir = self.path.parent().expect("segments are in a directory");
        [SegmentFile::Log, SegmentFile::Index, SegmentFile::TimeIndex, SegmentFile::TxnIndex]
            .map(|kind| dir.join(kind.name(self.base)))
    }

    /// What the indexes say that the batches do not; nothing in a sound segment.
    pub(super) fn index_mismatches(&mut self) -> Result<Vec<String>, LogError> {
        let path = self.path.clone();
        let offsets = self.offsets.all().map_err(|error| LogError::io(&path, error))?;
        let times = self.times.all().map_err(|error| LogError::io(&path, error))?;
        let mut batches = Vec::new();
        let mut scanner = self.scan_at(0)?;
        while let Some((position, header)) = scanner.next_header()? {
            batches.push((position, header));
        }
        let mut wrong = Vec::new();
        for entry in &offsets {
            let found = batches.iter().any(|(at, header)| (header.last_offset(), *at) == *entry);
            if !found {
                wrong.push(format!("{}: no batch for index entry {entry:?}", path.display()));
            }
        }
        for entry in &times {
            let found = batches.iter().any(|(_, h)| (h.max_timestamp, h.last_offset()) == *entry);
            if !found {
                wrong.push(format!("{}: no batch for time index entry {entry:?}", path.display()));
            }
        }
        for sorted in [offsets.is_sorted(), times.is_sorted()] {
            if !sorted {
                wrong.push(format!("{}: an index is not sorted", path.display()));
            }
        }
        Ok(wrong)
    }
}

fn index_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(SegmentFile::Index.name(base))
}

fn time_index_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(SegmentFile::TimeIndex.name(base))
}

fn txn_index_path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(SegmentFile::TxnIndex.name(base))
}
