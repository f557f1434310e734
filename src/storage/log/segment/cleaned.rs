//! A segment that compaction writes: the same files under other names, until it takes its place.

use std::path::Path;

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::super::index::{OffsetIndex, TimeIndex};
use super::super::txn_index::TxnIndex;
use super::{Segment, paths};
use crate::error::LogError;
use crate::names::SegmentStage;

impl Segment {
    /// A new, empty segment under the names of one that is being written. `created` is what the
    /// age of a segment without timestamps counts from.
    pub(in super::super) fn create_cleaned(
        disk: &Disk,
        dir: &Path,
        base: Offset,
        created: Timestamp,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::unindexed(disk, dir, base, created);
        let [log, offsets, times, aborted] = paths(dir, base, SegmentStage::Cleaned);
        segment.stage = SegmentStage::Cleaned;
        segment.path = log;
        segment.offsets = OffsetIndex::new(disk, offsets, base);
        segment.times = TimeIndex::new(disk, times, base);
        segment.aborted = TxnIndex::new(disk, aborted);
        let path = segment.path.clone();
        let file = disk.open(&path, ottla_runtime::OpenMode::Truncate);
        segment.file.put(disk, &file.map_err(|error| LogError::io(&path, error))?);
        segment.clear_indexes().map_err(|error| LogError::io(&path, error))?;
        Ok(segment)
    }

    /// Makes what was written durable: the segment gets no more batches.
    pub(in super::super) fn finish_cleaned(&mut self) -> Result<(), LogError> {
        let indexes = self.index_files()?;
        let synced = self.file()?.sync(SyncPoint::CleanedSegment);
        let synced = synced.and_then(|()| {
            let open = |path| self.disk.open(path, ottla_runtime::OpenMode::ReadWrite);
            indexes.iter().try_for_each(|(path, _)| open(path)?.sync(SyncPoint::CleanedSegment))
        });
        synced.map_err(|error| LogError::io(&self.path, error))?;
        self.indexes_durable = true;
        Ok(())
    }

    /// Gives the files the names of another stage. Whoever has one open keeps it.
    pub(in super::super) fn move_to(&mut self, stage: SegmentStage) -> Result<(), LogError> {
        let [log, offsets, times, aborted] = paths(self.dir(), self.base, stage);
        // The log last: where it has its last name, all have.
        let renamed = self
            .offsets
            .rename(offsets)
            .and_then(|()| self.times.rename(times))
            .and_then(|()| self.aborted.rename(aborted))
            .and_then(|()| self.disk.rename(&self.path, &log));
        renamed.map_err(|error| LogError::io(&self.path, error))?;
        self.path = log;
        self.stage = stage;
        Ok(())
    }

    /// Which names the files have.
    pub(in super::super) fn stage(&self) -> SegmentStage {
        self.stage
    }

    /// Time of the first batch, if that is known.
    pub(in super::super) fn first_timestamp(&self) -> Option<Timestamp> {
        self.first_timestamp
    }

    /// Entries of the indexes: of offsets, and of times.
    pub(in super::super) fn index_entries(&self) -> (u64, u64) {
        (self.offsets.len(), self.times.len())
    }

    /// What the age of a segment without timestamps counts from.
    pub(in super::super) fn created(&self) -> Timestamp {
        self.created
    }
}
