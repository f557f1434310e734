//! Putting a compacted segment in the place of those that it was made of, and completing that at a
//! start (`LocalLog.replaceSegments`, `LogLoader`).
//!
//! The new segment is complete and durable under `.swap` before anything goes; what it replaces has
//! lost its names durably before it gets its last one. So a start finds either all of the old ones,
//! or a `.swap`, or the new one alone.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ottla_protocol::batch::BatchHeader;
use ottla_runtime::{Disk, OpenMode, SyncPoint};
use ottla_types::Offset;

use super::super::listing::Listing;
use super::super::scan::Sweep;
use super::super::segment::{Segment, paths};
use super::super::{Log, LogError};
use crate::names::{SegmentFile, SegmentStage};

/// A segment that was written, with those that it replaces.
pub struct CleanedGroup {
    pub(super) segment: Segment,
    pub(super) replaced: Vec<Offset>,
    /// How often the log was truncated when the job began.
    pub(super) truncations: u64,
}

impl CleanedGroup {
    /// First offset of the segment.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.segment.base()
    }

    /// Removes the segment, whatever its names: it takes nothing's place.
    ///
    /// # Errors
    /// Those of removing; the directory must be fenced then.
    pub fn discard(self) -> Result<(), LogError> {
        self.segment.delete()
    }
}

impl Log {
    /// Gives the segment the names that a start completes, unless the log has changed there: then
    /// it is dropped, and the job is over. When the names in the directory are durable,
    /// [`Log::begin_swap`] follows.
    ///
    /// # Errors
    /// Those of renaming; the directory must be fenced then.
    pub fn stage_swap(&mut self, group: CleanedGroup) -> Result<Option<CleanedGroup>, LogError> {
        let Some(mut group) = self.unchanged(group)?.map(|(group, _)| group) else {
            return Ok(None);
        };
        group.segment.move_to(SegmentStage::Swap)?;
        Ok(Some(group))
    }

    /// The group with the places of what it replaces, if all that is there still; else it is
    /// dropped.
    fn unchanged(
        &self,
        group: CleanedGroup,
    ) -> Result<Option<(CleanedGroup, Range<usize>)>, LogError> {
        let first = self.segments.partition_point(|segment| segment.base() < group.base());
        let last = first + group.replaced.len();
        let is_there = last < self.segments.len()
            && self.segments[first..last].iter().zip(&group.replaced).all(|(segment, base)| {
                segment.base() == *base && segment.stage() == SegmentStage::InPlace
            });
        let is_same = group.truncations == self.truncations && group.segment.dir() == self.dir;
        if is_there && is_same {
            return Ok(Some((group, first..last)));
        }
        group.segment.delete()?;
        Ok(None)
    }

    /// Lets the log go on with the segment; returns the files that it replaces, to be removed when
    /// nobody can still read them. `None` when the log has changed there: the segment is dropped,
    /// and the job is over. When the names in the directory are durable, [`Log::end_swap`] follows.
    ///
    /// # Errors
    /// Those of renaming; the directory must be fenced then.
    pub fn begin_swap(&mut self, group: CleanedGroup) -> Result<Option<Vec<PathBuf>>, LogError> {
        let Some((group, places)) = self.unchanged(group)? else { return Ok(None) };
        self.options.was_compacted = true;
        let mut files = Vec::new();
        let replaced: Vec<Segment> = self.segments.splice(places, [group.segment]).collect();
        for segment in replaced {
            files.extend(segment.rename_to_deleted()?);
        }
        Ok(Some(files))
    }

    /// Gives a swapped segment its last names: what it replaced has lost its own, durably.
    ///
    /// # Errors
    /// Those of renaming; the directory must be fenced then.
    pub fn end_swap(&mut self, base: Offset) -> Result<(), LogError> {
        let is_swapped = |segment: &&mut Segment| {
            segment.base() == base && segment.stage() == SegmentStage::Swap
        };
        // Retention may have taken it meanwhile.
        if let Some(segment) = self.segments.iter_mut().find(is_swapped) {
            segment.move_to(SegmentStage::InPlace)?;
            self.names_unsynced = true;
        }
        self.remove_stray_snapshots()
    }

    /// Removes what a job that is under way has made: it is of a log that was truncated.
    pub(in super::super) fn remove_staged(&mut self) -> Result<(), LogError> {
        self.truncations += 1;
        let failed = |error| LogError::io(&self.dir, error);
        let found = Listing::read(&self.disk, &self.dir).map_err(failed)?;
        for name in found.staged {
            let is_used = SegmentFile::parse_staged(&name).is_some_and(|(_, base, stage)| {
                let is_it = |s: &Segment| s.base() == base && s.stage() == stage;
                self.segments.iter().any(is_it)
            });
            if !is_used {
                self.disk.remove_file(&self.dir.join(&name)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Completes what a compaction left, before the segments of a log are loaded: removes what is not
/// whole, and puts what is in its place. The names are durable then.
///
/// # Errors
/// Those of the disk.
pub(in super::super) fn complete_swaps(
    disk: &Disk,
    dir: &Path,
    found: Listing,
) -> Result<Listing, LogError> {
    if found.staged.is_empty() {
        return Ok(found);
    }
    let failed = |error| LogError::io(dir, error);
    let parsed = |name: &String| SegmentFile::parse_staged(name).expect("listed as such");
    let is_cleaned = |name: &&String| parsed(name).2 == SegmentStage::Cleaned;
    // Kafka gives the last of several segments its `.swap` first: with a `.cleaned` at it or in
    // front of it, it is one of a set that is not whole.
    let not_whole = found.staged.iter().filter(is_cleaned).map(|name| parsed(name).1).min();
    let mut swapped = BTreeSet::new();
    for name in &found.staged {
        let (kind, base, stage) = parsed(name);
        let is_whole = stage == SegmentStage::Swap && not_whole.is_none_or(|least| base < least);
        if is_whole {
            // Which of its indexes are there, and under which names, says nothing after a power
            // cut: they are made again.
            for kind in [SegmentFile::Index, SegmentFile::TimeIndex, SegmentFile::TxnIndex] {
                remove(disk, &dir.join(kind.name(base)))?;
            }
        }
        if is_whole && kind == SegmentFile::Log {
            swapped.insert(base);
        } else {
            remove(disk, &dir.join(name))?;
        }
    }
    for base in &swapped {
        let end =
            end_of(disk, &dir.join(SegmentFile::Log.name_at(*base, SegmentStage::Swap)), *base)?;
        for old in found.bases.iter().filter(|old| (*base..end).contains(old)) {
            paths(dir, *old, SegmentStage::InPlace)
                .iter()
                .try_for_each(|path| remove(disk, path))?;
        }
    }
    disk.sync_dir(dir, SyncPoint::ReplacedDir).map_err(failed)?;
    for base in &swapped {
        let [from, ..] = paths(dir, *base, SegmentStage::Swap);
        disk.rename(&from, &dir.join(SegmentFile::Log.name(*base))).map_err(failed)?;
        tracing::info!(dir = %dir.display(), base = base.0, "completed a compaction");
    }
    Listing::read(disk, dir).map_err(failed)
}

fn remove(disk: &Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io(path, error)),
        _ => Ok(()),
    }
}

/// Offset behind the last batch of a segment.
fn end_of(disk: &Disk, path: &Path, base: Offset) -> Result<Offset, LogError> {
    let opened = disk.open(path, OpenMode::Read).and_then(|file| Ok((file.len()?, file)));
    let (len, file) = opened.map_err(|error| LogError::io(path, error))?;
    let mut sweep = Sweep::new(file, path.to_owned(), base, 0..len);
    let mut last: Option<BatchHeader> = None;
    while let Some((_, header)) = sweep.next_header()? {
        last = Some(header);
    }
    Ok(last.map_or(base, |header| header.next_offset()))
}
