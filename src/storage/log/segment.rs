//! A segment: a file of batches with its indexes.
//!
//! `size` is the end of what counts; bytes behind it in the file are the rest of a failed write
//! and are overwritten or cut. Files open when they are needed ([`LazyFile`]). Finding batches is
//! in `lookup.rs`, taking an earlier process's segment up in `taken_up.rs`, one that compaction
//! writes in `cleaned.rs`.

mod cleaned;
mod lookup;
mod taken_up;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_runtime::{Disk, File, LazyFile, OpenMode, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::entry_file::FileEnd;
use super::index::{OffsetIndex, TimeIndex};
use super::txn_index::TxnIndex;
use crate::error::LogError;
use crate::names::{SegmentFile, SegmentStage};
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
    /// Whether the file was made longer than what is in it; sealing cuts it.
    pub(super) is_preallocated: bool,
    /// Bytes appended since the newest index entry.
    unindexed_bytes: u64,
    /// Bytes appended since index entries went to their files.
    unspilled_bytes: u64,
    /// Whether recovery may use the indexes as they are. The log sets it when it knows or syncs
    /// them.
    pub(super) indexes_durable: bool,
    /// Which names its files have.
    stage: SegmentStage,
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
    /// A new, empty segment. Its log file is created at once, with `preallocated` bytes of zeros
    /// if so wanted, its indexes when they are needed; what is there of them is removed.
    pub(super) fn create(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        now: Timestamp,
        preallocated: Option<u64>,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::create_first(disk, dir, base, now, preallocated)?;
        segment.clear_indexes().map_err(|error| LogError::io(&segment.path, error))?;
        Ok(segment)
    }

    /// A new, empty segment in a directory where nothing is of one that begins there.
    pub(super) fn create_first(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        now: Timestamp,
        preallocated: Option<u64>,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::unindexed(disk, dir, base, now);
        let path = segment.path.clone();
        let file = disk.open(&path, OpenMode::Truncate).map_err(|e| LogError::io(&path, e))?;
        segment.file.put(disk, &file);
        if let Some(len) = preallocated {
            file.set_len(len).map_err(|e| LogError::io(&path, e))?;
            segment.is_preallocated = true;
        }
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
        let mut indexes = || -> io::Result<_> {
            let file = disk.open(&path, OpenMode::ReadWrite)?;
            let size = file.len()?;
            // Else nobody reads it.
            if size > 0 {
                segment.file.put(disk, &file);
            }
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
            is_preallocated: false,
            unindexed_bytes: 0,
            unspilled_bytes: 0,
            indexes_durable: false,
            stage: SegmentStage::InPlace,
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
        sealed.map_err(|error| LogError::io(path, error))?;
        if self.is_preallocated { self.cut_to_size() } else { Ok(()) }
    }

    /// [`Segment::seal`] if there is room; else it is done when the indexes are to be durable.
    pub(super) fn seal_if_room(&mut self) -> Result<(), LogError> {
        match self.seal() {
            Err(error) if error.is_disk_full() => Ok(()),
            sealed => sealed,
        }
    }

    /// The files of a sealed segment's indexes, complete, to be made durable.
    pub(super) fn index_files(&mut self) -> Result<Vec<(PathBuf, SyncPoint)>, LogError> {
        self.seal()?;
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
            let is_newer = self.max_timestamp.is_none_or(|(max, _)| header.max_timestamp > max);
            if header.max_timestamp.0 >= 0 && is_newer {
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

    /// The directory has another name now; files that are open stay so.
    pub(super) fn moved_to(&mut self, dir: &Path) {
        self.path = dir.join(SegmentFile::Log.name(self.base));
        self.offsets.moved_to(dir);
        self.times.moved_to(dir);
        self.aborted.moved_to(dir);
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
        for (path, final_path) in self.paths().into_iter().zip(self.final_paths()) {
            let deleted = SegmentFile::deleted(&final_path);
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
        paths(self.dir(), self.base, self.stage)
    }

    fn final_paths(&self) -> [PathBuf; 4] {
        paths(self.dir(), self.base, SegmentStage::InPlace)
    }

    pub(super) fn dir(&self) -> &Path {
        self.path.parent().expect("segments are in a directory")
    }
}

/// The names of a segment's files.
pub(super) fn paths(dir: &Path, base: Offset, stage: SegmentStage) -> [PathBuf; 4] {
    [SegmentFile::Log, SegmentFile::Index, SegmentFile::TimeIndex, SegmentFile::TxnIndex]
        .map(|kind| dir.join(kind.name_at(base, stage)))
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
