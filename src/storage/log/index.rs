//! Sparse indexes of a segment: offset to position, and time to offset (`OffsetIndex`,
//! `TimeIndex`).
//!
//! ```text
//! .index      last offset of a batch - base: i32 | position of the batch: i32
//! .timeindex  largest timestamp so far: i64      | its batch's last offset - base: i32
//! ```
//! New entries gather in memory and go to the file in groups (the segment says when, times before
//! offsets), when the segment is sealed, and at a clean stop. So a small log has no index file at
//! all while it is written, and there is no memory map. An entry in a file is of a batch that is in
//! the log's file. A file that Kafka left preallocated ends in zeros, which fails the sanity check.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, File, LazyFile, OpenMode, SyncPoint, is_out_of_descriptors};
use ottla_types::{Offset, Timestamp};

/// An index above this is none: `segment.index.bytes` is an `i32`.
const INDEX_MAX: u64 = 2 << 30;

/// How an index's file may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileEnd {
    /// With a whole entry, or the file is not sane.
    Whole,
    /// With part of one, which the death of the process cut off; it is left out.
    Torn,
}

/// A file of entries of `N` bytes with its newest entries in memory.
pub(super) struct EntryFile<const N: usize> {
    disk: Disk,
    path: PathBuf,
    file: LazyFile,
    /// Entries in the file.
    stored: u64,
    /// Entries behind those.
    tail: Vec<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    pub(super) fn new(disk: &Disk, path: PathBuf, stored: u64) -> EntryFile<N> {
        EntryFile { disk: disk.clone(), path, file: LazyFile::default(), stored, tail: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.stored + self.tail.len() as u64
    }

    fn file(&mut self) -> io::Result<File> {
        self.file.get(&self.disk, &self.path, OpenMode::Create)
    }

    /// The file's name; it is created if it is not there.
    pub(super) fn existing(&mut self) -> io::Result<PathBuf> {
        self.file()?;
        Ok(self.path.clone())
    }

    fn push(&mut self, entry: [u8; N]) {
        self.tail.push(entry);
    }

    /// Moves the entries in memory to the file, if there is room. On a full disk, or without a
    /// descriptor, they stay; sealing the segment will need the room.
    fn spill_if_room(&mut self) -> io::Result<()> {
        match self.spill() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            Err(error) if is_out_of_descriptors(&error) => Ok(()),
            result => result,
        }
    }

    /// Adds an entry that is in the file at once; on a full disk it waits in memory.
    pub(super) fn push_through(&mut self, entry: [u8; N]) -> io::Result<()> {
        self.tail.push(entry);
        match self.spill() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            result => result,
        }
    }

    /// Moves the entries in memory to the file.
    fn spill(&mut self) -> io::Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let at = self.stored * N as u64;
        let bytes = self.tail.concat();
        self.file()?.write_all_at(&mut [IoSlice::new(&bytes)], at)?;
        self.stored = self.len();
        self.tail.clear();
        Ok(())
    }

    pub(super) fn get(&mut self, index: u64) -> io::Result<[u8; N]> {
        if let Some(tail_index) = index.checked_sub(self.stored) {
            return Ok(self.tail[tail_index as usize]);
        }
        let mut entry = [0; N];
        self.file()?.read_exact_at(&mut entry, index * N as u64)?;
        Ok(entry)
    }

    /// Number of leading entries for which `is_before` holds; it holds for a prefix.
    pub(super) fn partition_point(
        &mut self,
        is_before: impl Fn(&[u8; N]) -> bool,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.get(middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        if len >= self.stored {
            self.tail.truncate((len - self.stored) as usize);
            return Ok(());
        }
        self.tail.clear();
        self.stored = len;
        self.file()?.set_len(len * N as u64)
    }

    /// Forgets everything, and removes the file.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.file.close();
        self.stored = 0;
        self.tail.clear();
        match self.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes everything and cuts the file to what is valid.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.spill()?;
        let len = self.stored * N as u64;
        let file = self.file()?;
        if file.len()? == len { Ok(()) } else { file.set_len(len) }
    }

    /// Opens an existing file; `None` when it is missing or ends as it must not.
    pub(super) fn open(disk: &Disk, path: PathBuf, end: FileEnd) -> io::Result<Option<Self>> {
        let file = match disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len % N as u64 != 0 && end == FileEnd::Whole {
            return Ok(None);
        }
        let mut entries = EntryFile::new(disk, path, len / N as u64);
        // Else nobody reads it.
        if entries.stored > 0 {
            entries.file.put(disk, &file);
        }
        Ok(Some(entries))
    }
}

/// Offset to position.
pub(super) struct OffsetIndex {
    base: Offset,
    entries: EntryFile<8>,
}

impl OffsetIndex {
    pub(super) fn new(disk: &Disk, path: PathBuf, base: Offset) -> OffsetIndex {
        OffsetIndex { base, entries: EntryFile::new(disk, path, 0) }
    }

    /// Opens an existing file; `None` when it is missing or fails Kafka's sanity check: whole
    /// entries, the last of them above zero and its position inside the log.
    pub(super) fn open(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        log_size: u64,
        end: FileEnd,
    ) -> io::Result<Option<OffsetIndex>> {
        let Some(entries) = EntryFile::open(disk, path, end)? else { return Ok(None) };
        let mut index = OffsetIndex { base, entries };
        let sane = match index.last()? {
            None => true,
            Some((offset, position)) => offset > base && position < log_size,
        };
        Ok(sane.then_some(index))
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len()
    }

    /// Adds the batch at `position` whose last offset is `last_offset`.
    pub(super) fn push(&mut self, last_offset: Offset, position: u64) {
        let relative = i32::try_from(last_offset.since(self.base)).expect("rolled before");
        let position = i32::try_from(position).expect("segments are below 2 GiB");
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.entries.push(entry);
    }

    pub(super) fn spill_if_room(&mut self) -> io::Result<()> {
        self.entries.spill_if_room()
    }

    /// Number of entries at or before `offset`.
    pub(super) fn before(&mut self, offset: Offset) -> io::Result<u64> {
        let base = self.base;
        self.entries.partition_point(|entry| offset_entry(entry, base).0 <= offset)
    }

    /// The entry with this number: the last offset of a batch, and its position.
    pub(super) fn entry(&mut self, index: u64) -> io::Result<(Offset, u64)> {
        Ok(offset_entry(&self.entries.get(index)?, self.base))
    }

    /// Last offset of the newest entry in a file whose entries all rise; `None` without a sound
    /// one. Nothing is opened for good.
    pub(super) fn promised(disk: &Disk, path: &Path, base: Offset) -> Option<Offset> {
        let bytes = disk.read(path, INDEX_MAX).ok()?;
        let (entries, []) = bytes.as_chunks::<8>() else { return None };
        let entries: Vec<_> = entries.iter().map(|entry| offset_entry(entry, base)).collect();
        let rises = entries.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
        entries.last().filter(|(last, _)| rises && *last >= base).map(|(last, _)| *last)
    }

    /// Offset of the last entry whose batch begins at or in front of `position`.
    pub(super) fn offset_at(&mut self, position: u64) -> io::Result<Offset> {
        let base = self.base;
        let count =
            self.entries.partition_point(|entry| offset_entry(entry, base).1 <= position)?;
        match count.checked_sub(1) {
            None => Ok(base),
            Some(index) => Ok(offset_entry(&self.entries.get(index)?, base).0),
        }
    }

    /// Offset of the first entry whose batch begins at or behind `position`.
    pub(super) fn offset_from(&mut self, position: u64) -> io::Result<Option<Offset>> {
        let base = self.base;
        let before =
            self.entries.partition_point(|entry| offset_entry(entry, base).1 < position)?;
        if before == self.len() {
            return Ok(None);
        }
        Ok(Some(offset_entry(&self.entries.get(before)?, base).0))
    }

    /// The newest entry.
    pub(super) fn last(&mut self) -> io::Result<Option<(Offset, u64)>> {
        match self.len().checked_sub(1) {
            None => Ok(None),
            Some(index) => Ok(Some(offset_entry(&self.entries.get(index)?, self.base))),
        }
    }

    /// All entries, for checks.
    pub(super) fn all(&mut self) -> io::Result<Vec<(Offset, u64)>> {
        let base = self.base;
        (0..self.len()).map(|i| Ok(offset_entry(&self.entries.get(i)?, base))).collect()
    }

    /// Forgets entries at or behind `end`.
    pub(super) fn truncate_to(&mut self, end: Offset) -> io::Result<()> {
        let base = self.base;
        let count = self.entries.partition_point(|entry| offset_entry(entry, base).0 < end)?;
        self.entries.truncate(count)
    }

    /// Forgets everything, also what an earlier process left in the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.entries.remove()
    }

    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.entries.seal()
    }

    pub(super) fn sealed_file(&mut self) -> io::Result<(PathBuf, SyncPoint)> {
        Ok((self.entries.existing()?, SyncPoint::SegmentIndexes))
    }
}

fn offset_entry(entry: &[u8; 8], base: Offset) -> (Offset, u64) {
    let (relative, position) = entry.split_at(4);
    let relative = i32::from_be_bytes(relative.try_into().expect("four bytes"));
    let position = u32::from_be_bytes(position.try_into().expect("four bytes"));
    (base.plus(i64::from(relative)), u64::from(position))
}

/// Time to offset.
pub(super) struct TimeIndex {
    base: Offset,
    entries: EntryFile<12>,
}

impl TimeIndex {
    pub(super) fn new(disk: &Disk, path: PathBuf, base: Offset) -> TimeIndex {
        TimeIndex { base, entries: EntryFile::new(disk, path, 0) }
    }

    /// Opens an existing file; `None` when it is missing or fails Kafka's sanity check: whole
    /// entries, the last of them not below the first in time and not below the base offset.
    pub(super) fn open(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        end: FileEnd,
    ) -> io::Result<Option<TimeIndex>> {
        let Some(entries) = EntryFile::open(disk, path, end)? else { return Ok(None) };
        let mut index = TimeIndex { base, entries };
        let sane = match index.last()? {
            None => true,
            Some((timestamp, offset)) => {
                let first = time_entry(&index.entries.get(0)?, base).0;
                offset >= base && timestamp >= first && timestamp > Timestamp(0)
            }
        };
        Ok(sane.then_some(index))
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len()
    }

    /// Notes that the largest timestamp so far is in the batch whose last offset is `offset`,
    /// unless the newest entry says as much.
    pub(super) fn push(&mut self, timestamp: Timestamp, offset: Offset) -> io::Result<()> {
        if self.last()?.is_some_and(|(newest, _)| timestamp <= newest) || timestamp.0 < 0 {
            return Ok(());
        }
        let relative = i32::try_from(offset.since(self.base)).expect("rolled before");
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&timestamp.0.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn spill_if_room(&mut self) -> io::Result<()> {
        self.entries.spill_if_room()
    }

    /// Offset from which to scan for the first record at or after `target`.
    pub(super) fn floor(&mut self, target: Timestamp) -> io::Result<Offset> {
        let base = self.base;
        let count = self.entries.partition_point(|entry| time_entry(entry, base).0 <= target)?;
        match count.checked_sub(1) {
            None => Ok(base),
            Some(index) => Ok(time_entry(&self.entries.get(index)?, base).1),
        }
    }

    /// The newest entry.
    pub(super) fn last(&mut self) -> io::Result<Option<(Timestamp, Offset)>> {
        match self.len().checked_sub(1) {
            None => Ok(None),
            Some(index) => Ok(Some(time_entry(&self.entries.get(index)?, self.base))),
        }
    }

    /// All entries, for checks.
    pub(super) fn all(&mut self) -> io::Result<Vec<(Timestamp, Offset)>> {
        let base = self.base;
        (0..self.len()).map(|i| Ok(time_entry(&self.entries.get(i)?, base))).collect()
    }

    /// Forgets entries at or behind `end`.
    pub(super) fn truncate_to(&mut self, end: Offset) -> io::Result<()> {
        let base = self.base;
        let count = self.entries.partition_point(|entry| time_entry(entry, base).1 < end)?;
        self.entries.truncate(count)
    }

    /// Forgets everything, also what an earlier process left in the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.entries.remove()
    }

    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.entries.seal()
    }

    pub(super) fn sealed_file(&mut self) -> io::Result<(PathBuf, SyncPoint)> {
        Ok((self.entries.existing()?, SyncPoint::SegmentIndexes))
    }
}

fn time_entry(entry: &[u8; 12], base: Offset) -> (Timestamp, Offset) {
    let (timestamp, relative) = entry.split_at(8);
    let timestamp = i64::from_be_bytes(timestamp.try_into().expect("eight bytes"));
    let relative = i32::from_be_bytes(relative.try_into().expect("four bytes"));
    (Timestamp(timestamp), base.plus(i64::from(relative)))
}
