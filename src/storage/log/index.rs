//! Sparse indexes of a segment: offset to position, and time to offset (`OffsetIndex`,
//! `TimeIndex`).
//!
//! ```text
//! .index      last offset of a batch - base: i32 | position of the batch: i32
//! .timeindex  largest timestamp so far: i64      | its batch's last offset - base: i32
//! ```
//! New entries gather in memory and go to the file in groups (the segment says when, times before
//! offsets), when the segment is sealed, and at a clean stop. So a small log has no index file at
//! all while it is written. An entry in a file is of a batch that is in the log's file. A file that
//! Kafka left preallocated ends in zeros, which fails the sanity check.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::entry_file::{EntryFile, FileEnd};

/// An index above this is none: `segment.index.bytes` is an `i32`.
const INDEX_MAX: u64 = 2 << 30;

/// An entry of `N` bytes in the index of a segment that begins at `base`. Offsets rise from entry
/// to entry.
pub(super) trait Entry<const N: usize>: Copy {
    fn encode(self, base: Offset) -> [u8; N];

    fn decode(bytes: &[u8; N], base: Offset) -> Self;

    /// Last offset of the batch that it names.
    fn offset(self) -> Offset;
}

/// The last offset of a batch, and its position.
impl Entry<8> for (Offset, u64) {
    fn encode(self, base: Offset) -> [u8; 8] {
        let position = i32::try_from(self.1).expect("segments are below 2 GiB");
        let mut entry = [0; 8];
        entry[..4].copy_from_slice(&relative(self.0, base));
        entry[4..].copy_from_slice(&position.to_be_bytes());
        entry
    }

    fn decode(bytes: &[u8; 8], base: Offset) -> (Offset, u64) {
        let (relative, position) = bytes.split_at(4);
        let position = u32::from_be_bytes(position.try_into().expect("four bytes"));
        (absolute(relative, base), u64::from(position))
    }

    fn offset(self) -> Offset {
        self.0
    }
}

/// The largest timestamp so far, and the last offset of its batch.
impl Entry<12> for (Timestamp, Offset) {
    fn encode(self, base: Offset) -> [u8; 12] {
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&self.0.0.to_be_bytes());
        entry[8..].copy_from_slice(&relative(self.1, base));
        entry
    }

    fn decode(bytes: &[u8; 12], base: Offset) -> (Timestamp, Offset) {
        let (timestamp, relative) = bytes.split_at(8);
        let timestamp = i64::from_be_bytes(timestamp.try_into().expect("eight bytes"));
        (Timestamp(timestamp), absolute(relative, base))
    }

    fn offset(self) -> Offset {
        self.1
    }
}

fn relative(offset: Offset, base: Offset) -> [u8; 4] {
    i32::try_from(offset.since(base)).expect("rolled before").to_be_bytes()
}

fn absolute(relative: &[u8], base: Offset) -> Offset {
    let relative = i32::from_be_bytes(relative.try_into().expect("four bytes"));
    base.plus(i64::from(relative))
}

/// An index of a segment.
pub(super) struct Index<E, const N: usize> {
    base: Offset,
    file: EntryFile<N>,
    entries: PhantomData<E>,
}

/// Offset to position.
pub(super) type OffsetIndex = Index<(Offset, u64), 8>;

/// Time to offset.
pub(super) type TimeIndex = Index<(Timestamp, Offset), 12>;

impl<E: Entry<N>, const N: usize> Index<E, N> {
    /// An index that counts nothing of its file yet.
    pub(super) fn new(disk: &Disk, path: PathBuf, base: Offset) -> Self {
        Index { base, file: EntryFile::new(disk, path, 0), entries: PhantomData }
    }

    /// Opens an existing file; `None` when it is missing, does not end with a whole entry, or is
    /// not sane by its first and last entry.
    fn open_sane(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        end: FileEnd,
        is_sane: impl FnOnce(E, E) -> bool,
    ) -> io::Result<Option<Self>> {
        let Some(file) = EntryFile::open(disk, path, end)? else { return Ok(None) };
        let mut index = Index { base, file, entries: PhantomData };
        let sane = match index.last()? {
            None => true,
            Some(last) => is_sane(index.entry(0)?, last),
        };
        Ok(sane.then_some(index))
    }

    pub(super) fn len(&self) -> u64 {
        self.file.len()
    }

    /// The entry with this number.
    pub(super) fn entry(&mut self, number: u64) -> io::Result<E> {
        Ok(E::decode(&self.file.get(number)?, self.base))
    }

    /// The newest entry.
    pub(super) fn last(&mut self) -> io::Result<Option<E>> {
        self.len().checked_sub(1).map(|number| self.entry(number)).transpose()
    }

    /// All entries, for checks.
    pub(super) fn all(&mut self) -> io::Result<Vec<E>> {
        (0..self.len()).map(|number| self.entry(number)).collect()
    }

    /// Number of leading entries for which `is_before` holds; it holds for a prefix.
    fn count(&mut self, is_before: impl Fn(E) -> bool) -> io::Result<u64> {
        let base = self.base;
        self.file.partition_point(|entry| is_before(E::decode(entry, base)))
    }

    /// The last entry for which `is_before` holds.
    fn last_where(&mut self, is_before: impl Fn(E) -> bool) -> io::Result<Option<E>> {
        let count = self.count(is_before)?;
        count.checked_sub(1).map(|number| self.entry(number)).transpose()
    }

    /// Forgets entries at or behind `end`.
    pub(super) fn truncate_to(&mut self, end: Offset) -> io::Result<()> {
        let count = self.count(|entry| entry.offset() < end)?;
        self.file.truncate(count)
    }

    /// Forgets everything, also what an earlier process left in the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.remove()
    }

    pub(super) fn moved_to(&mut self, dir: &Path) {
        self.file.moved_to(dir);
    }

    pub(super) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        self.file.rename(path)
    }

    pub(super) fn spill_if_room(&mut self) -> io::Result<()> {
        self.file.spill_if_room()
    }

    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.file.seal()
    }

    pub(super) fn sealed_file(&mut self) -> io::Result<(PathBuf, SyncPoint)> {
        Ok((self.file.existing()?, SyncPoint::SegmentIndexes))
    }
}

impl OffsetIndex {
    /// Opens an existing file; `None` when it is missing or fails Kafka's sanity check: whole
    /// entries, the last of them above zero and its position inside the log.
    pub(super) fn open(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        log_size: u64,
        end: FileEnd,
    ) -> io::Result<Option<OffsetIndex>> {
        Index::open_sane(disk, path, base, end, |_, (offset, position): (Offset, u64)| {
            offset > base && position < log_size
        })
    }

    /// Adds the batch at `position` whose last offset is `last_offset`.
    pub(super) fn push(&mut self, last_offset: Offset, position: u64) {
        self.file.push((last_offset, position).encode(self.base));
    }

    /// Number of entries at or before `offset`.
    pub(super) fn before(&mut self, offset: Offset) -> io::Result<u64> {
        self.count(|entry| entry.offset() <= offset)
    }

    /// Last offset of the newest entry in a file whose entries all rise; `None` without a sound
    /// one. Nothing is opened for good.
    pub(super) fn promised(disk: &Disk, path: &Path, base: Offset) -> Option<Offset> {
        let bytes = disk.read(path, INDEX_MAX).ok()?;
        let (entries, []) = bytes.as_chunks::<8>() else { return None };
        let entries: Vec<(Offset, u64)> = entries.iter().map(|e| Entry::decode(e, base)).collect();
        let rises = entries.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
        entries.last().filter(|(last, _)| rises && *last >= base).map(|(last, _)| *last)
    }

    /// Offset of the last entry whose batch begins at or in front of `position`.
    pub(super) fn offset_at(&mut self, position: u64) -> io::Result<Offset> {
        let found = self.last_where(|(_, at)| at <= position)?;
        Ok(found.map_or(self.base, |(offset, _)| offset))
    }

    /// Offset of the first entry whose batch begins at or behind `position`.
    pub(super) fn offset_from(&mut self, position: u64) -> io::Result<Option<Offset>> {
        let before = self.count(|(_, at)| at < position)?;
        let found = (before < self.len()).then(|| self.entry(before)).transpose()?;
        Ok(found.map(|(offset, _)| offset))
    }
}

impl TimeIndex {
    /// Opens an existing file; `None` when it is missing or fails Kafka's sanity check: whole
    /// entries, the last of them not below the first in time and not below the base offset.
    pub(super) fn open(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        end: FileEnd,
    ) -> io::Result<Option<TimeIndex>> {
        type Entry = (Timestamp, Offset);
        Index::open_sane(disk, path, base, end, |(first, _): Entry, (timestamp, offset)| {
            offset >= base && timestamp >= first && timestamp > Timestamp(0)
        })
    }

    /// Notes that the largest timestamp so far is in the batch whose last offset is `offset`,
    /// unless the newest entry says as much.
    pub(super) fn push(&mut self, timestamp: Timestamp, offset: Offset) -> io::Result<()> {
        if timestamp.0 >= 0 && self.last()?.is_none_or(|(newest, _)| timestamp > newest) {
            self.file.push((timestamp, offset).encode(self.base));
        }
        Ok(())
    }

    /// Offset from which to scan for the first record at or after `target`.
    pub(super) fn floor(&mut self, target: Timestamp) -> io::Result<Offset> {
        let found = self.last_where(|(timestamp, _)| timestamp <= target)?;
        Ok(found.map_or(self.base, |(_, offset)| offset))
    }
}
