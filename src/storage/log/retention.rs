//! Retention: the oldest segments go, as the topic's `retention.bytes` and `retention.ms` say.
//!
//! In two steps, so that the new start can be made durable before anybody sees it:
//!
//! ```text
//!   plan_retention ──> new start ──> log-start-offset-checkpoint, synced ──> delete_below
//! ```
//! Whole segments only, the oldest first, and only below the high watermark. A log always keeps a
//! segment: the one that is written to is rolled first when it is to go. A segment without
//! timestamps is as old as this process knows it. Clients that delete records (KIP-107) move the
//! start the same way, and may move it into a segment, or into a batch. Source:
//! `UnifiedLog.deleteOldSegments`, `UnifiedLog.maybeIncrementLogStartOffset`.
//!
//! The metadata log is cut below a snapshot by a [`TrimJob`]: its start is not written anywhere, so
//! each segment's end is made durable before the next one goes, and whatever a crash leaves has no
//! gap.

use std::io;
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, Timestamp};

use super::listing::Listing;
use super::segment::Segment;
use super::{Log, LogError};
use crate::leader_epochs::LeaderEpochs;
use crate::names::SegmentFile;

/// Takes the files of a log's oldest segments away, the oldest first.
pub struct TrimJob {
    disk: Disk,
    dir: PathBuf,
    segments: Vec<Segment>,
    /// Snapshots of producers that go with them.
    snapshots: Vec<Offset>,
    names: SyncPoint,
}

impl TrimJob {
    /// Renames the files; returns them, to be removed when nobody can still read them. May stall.
    ///
    /// # Errors
    /// Those of renaming and of `fsync(2)`: the directory must be fenced.
    pub fn run(self) -> Result<Vec<PathBuf>, LogError> {
        let mut files = Vec::new();
        for segment in self.segments {
            files.extend(segment.rename_to_deleted()?);
            let synced = self.disk.sync_dir(&self.dir, self.names);
            synced.map_err(|error| LogError::io(&self.dir, error))?;
        }
        for offset in self.snapshots {
            remove_snapshot(&self.disk, &self.dir, offset)?;
        }
        Ok(files)
    }
}

impl Log {
    /// Where the log is to begin; `None` when no segment is to go. May begin the next segment.
    ///
    /// # Errors
    /// `Rejected(DiskFull)` or a fault, when the next segment cannot be begun.
    pub fn plan_retention(
        &mut self,
        high_watermark: Offset,
        now: Timestamp,
    ) -> Result<Option<Offset>, LogError> {
        let count = self.expired_segments(high_watermark, now);
        if count == 0 {
            return Ok(None);
        }
        if count == self.segments.len() {
            self.roll(now)?;
        }
        Ok(Some(self.segments[count].base().max(self.log_start)))
    }

    /// How many of the oldest segments are to go: those beyond the size, then those beyond the age.
    fn expired_segments(&self, high_watermark: Offset, now: Timestamp) -> usize {
        let config = &self.options.config;
        if !config.deletes {
            return 0;
        }
        let last = self.segments.len() - 1;
        let may_go = |index: usize| {
            let next = self.segments.get(index + 1).map_or(self.end, Segment::base);
            next <= high_watermark && (index < last || self.segments[index].size() > 0)
        };
        let mut count = 0;
        let mut excess = config.retention_bytes.and_then(|kept| self.size().checked_sub(kept));
        while let Some(segment) = self.segments.get(count)
            && let Some(left) = excess.and_then(|excess| excess.checked_sub(segment.size()))
            && may_go(count)
        {
            (excess, count) = (Some(left), count + 1);
        }
        let Some(age_max) = config.retention_age else { return count };
        let age_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        let is_old = |segment: &Segment| {
            // A time in the future makes a negative age.
            now.0.saturating_sub(segment.latest_time().0) > age_max
        };
        while self.segments.get(count).is_some_and(is_old) && may_go(count) {
            count += 1;
        }
        count
    }

    /// Lets the log begin at `start`, which is durable: segments wholly below it are renamed.
    /// Returns the files, to be removed when nobody can still read them.
    ///
    /// # Errors
    /// Those of renaming and removing.
    pub fn delete_below(&mut self, start: Offset) -> Result<Vec<PathBuf>, LogError> {
        self.begin_at(start);
        let count = self.segments[1..].partition_point(|next| next.base() <= start);
        let mut files = Vec::new();
        for segment in self.segments.drain(..count) {
            files.extend(segment.rename_to_deleted()?);
        }
        self.remove_snapshots_below(self.segments[0].base())?;
        Ok(files)
    }

    /// Lets the log begin at `start`, which a durable snapshot stands for: the job takes the files
    /// of segments wholly below it away. A job that is not run leaves a longer log to the next
    /// start.
    pub fn trim(&mut self, start: Offset) -> TrimJob {
        self.begin_at(start);
        let count = self.segments[1..].partition_point(|next| next.base() <= start);
        let segments = self.segments.drain(..count).collect();
        let snapshots = self.take_snapshots_below(start);
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        TrimJob { disk, dir, segments, snapshots, names: self.options.sync_points.trim }
    }

    /// Drops everything and goes on at `start`, where a durable snapshot ends. Durable with the
    /// next flush; until then a start finds the snapshot ahead of the log and does this again.
    ///
    /// # Errors
    /// Those of removing and creating; the directory must be fenced then.
    pub fn restart_at(&mut self, start: Offset, now: Timestamp) -> Result<(), LogError> {
        self.log_start = start;
        self.begin_again_at(now)?;
        self.recovery_point = start;
        self.names_unsynced = true;
        self.epochs = LeaderEpochs::default();
        self.write_epochs()?;
        self.remove_snapshots_below(Offset(i64::MAX))?;
        self.rebuild_producers()
    }

    /// Moves the start; it never goes back. `leader-epoch-checkpoint` keeps its older entries until
    /// it is written next, at the latest by a clean stop, and loading cuts them again.
    pub(super) fn begin_at(&mut self, start: Offset) {
        self.log_start = self.log_start.max(start);
        self.recovery_point = self.recovery_point.max(self.log_start);
        let is_cut = self.epochs.truncate_from_start(self.log_start);
        self.small_files.note_cut_epochs(is_cut);
    }

    /// Removes snapshots in front of the first segment: nobody asks for them.
    fn remove_snapshots_below(&mut self, base: Offset) -> Result<(), LogError> {
        for offset in self.take_snapshots_below(base) {
            remove_snapshot(&self.disk, &self.dir, offset)?;
        }
        Ok(())
    }

    fn take_snapshots_below(&mut self, base: Offset) -> Vec<Offset> {
        let count = self.snapshots.partition_point(|offset| *offset < base);
        self.snapshots.drain(..count).collect()
    }

    /// Removes what deletions before left in the directory: renamed files, indexes without a
    /// segment (as Kafka does), and segments that lie wholly below `start`. Returns the bases of
    /// the other ones.
    pub(super) fn remove_leftovers(
        &mut self,
        found: Listing,
        start: Offset,
    ) -> Result<Vec<Offset>, LogError> {
        for name in found.deleted.iter().chain(&found.orphans) {
            let path = self.dir.join(name);
            self.disk.remove_file(&path).map_err(|error| LogError::io(&path, error))?;
        }
        let mut bases = found.bases;
        self.snapshots = found.snapshots;
        let count = bases.iter().skip(1).take_while(|next| **next <= start).count();
        for base in bases.drain(..count) {
            Segment::unindexed(&self.disk, &self.dir, base, Timestamp(0)).delete()?;
        }
        self.remove_snapshots_below(bases.first().copied().unwrap_or(start))?;
        Ok(bases)
    }

    /// A log whose records end below its durable start has lost what was above it, before it was
    /// promised to anybody: it goes on at its start, empty.
    pub(super) fn begin_again_at(&mut self, now: Timestamp) -> Result<(), LogError> {
        for segment in self.segments.drain(..) {
            segment.delete()?;
        }
        let (disk, dir) = (&self.disk, &self.dir);
        // Indexes without a segment were removed, too.
        let segment = Segment::create_first(disk, dir, self.log_start, now, self.preallocated())?;
        self.segments.push(segment);
        self.end = self.log_start;
        self.flush_end = self.flush_end.min(self.end);
        self.names_unsynced = true;
        Ok(())
    }
}

/// Removes a snapshot of producers, unless it is gone: the job that trims a log and a log that
/// begins a segment may both find one that nobody needs.
pub(super) fn remove_snapshot(disk: &Disk, dir: &Path, offset: Offset) -> Result<(), LogError> {
    let path = dir.join(SegmentFile::Snapshot.name(offset));
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io(&path, error)),
        _ => Ok(()),
    }
}
