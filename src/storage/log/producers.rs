//! What a log knows of its producers, at its end or at the start of a segment: the newest sound
//! snapshot and the log behind it.
//!
//! Snapshots are written when a segment begins and at a clean stop. None of them is synced: the
//! checksum tells whether one is whole, and the log in front of it can replace it. Those of the
//! segments that exist are kept, and the newest. Source: `ProducerStateManager`, `UnifiedLog`.

use std::io;

use ottla_protocol::batch::BatchHeader;
use ottla_types::Offset;

use super::listing::Listing;
use super::retention::remove_snapshot;
use super::{Log, LogError};
use crate::names::SegmentFile;
use crate::producer_state::{ProducerState, TransactionEnd};

/// Bytes of a producer snapshot at most: fifty million producers.
const SNAPSHOT_LEN_MAX: u64 = 2 << 30;

/// Bytes of the log in front of a snapshot that are looked at for batches of its producers.
const RECALLED_BYTES: u64 = 1 << 20;

impl Log {
    /// Rebuilds what is known of producers: the newest sound snapshot and the log behind it.
    ///
    /// A snapshot holds the last batch of each producer only. Clients have up to five under way,
    /// and send them again after a restart, so a piece of the log in front of the snapshot is
    /// looked at for the others; Kafka forgets them.
    pub(super) fn rebuild_producers(&mut self) -> Result<(), LogError> {
        self.producers = self.producers_at(self.end)?;
        Ok(())
    }

    /// The producers as they are at `at`, where a batch begins or the log ends.
    pub(super) fn producers_at(&mut self, at: Offset) -> Result<ProducerState, LogError> {
        let (from, mut producers) = self.newest_snapshot(at)?;
        if !producers.is_empty() {
            let mut earlier = ProducerState::default();
            let begin = self.recall_from(from)?;
            self.each_batch(begin, from, |header, end| {
                earlier.note(header, end);
            })?;
            producers.recall(&earlier);
        }
        self.each_batch(from, at, |header, end| {
            producers.note(header, end);
        })?;
        Ok(producers)
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
        Ok(self.first_known(offset))
    }

    /// Where the files begin that tell of producers at `at`. That may be below the log's start:
    /// what was deleted of a segment that is still there is still known.
    fn first_known(&self, at: Offset) -> Offset {
        self.segments.first().map_or(at, |segment| segment.base().min(at))
    }

    /// Walks over the batches with an offset in `from..to`: their headers, and what the markers of
    /// transactions say.
    pub(super) fn each_batch(
        &mut self,
        from: Offset,
        to: Offset,
        mut visit: impl FnMut(&BatchHeader, Option<&TransactionEnd>),
    ) -> Result<(), LogError> {
        let first = self.segment_index(from);
        for segment in &mut self.segments[first..] {
            if segment.base() >= to {
                break;
            }
            let mut scanner = segment.sweep_from(from)?;
            while let Some((position, header)) = scanner.next_header()? {
                if header.base_offset >= to {
                    return Ok(());
                }
                if header.last_offset() >= from {
                    let end = scanner.transaction_end(position, &header)?;
                    visit(&header, end.as_ref());
                }
            }
        }
        Ok(())
    }

    fn newest_snapshot(&mut self, at: Offset) -> Result<(Offset, ProducerState), LogError> {
        let first = self.first_known(at);
        let is_candidate = |offset: &&Offset| (first..=at).contains(*offset);
        let candidates: Vec<Offset> = self.snapshots.iter().filter(is_candidate).copied().collect();
        for offset in candidates.into_iter().rev() {
            let path = self.dir.join(SegmentFile::Snapshot.name(offset));
            let read = self.disk.read(&path, SNAPSHOT_LEN_MAX);
            match read.and_then(|bytes| ProducerState::from_snapshot(&bytes)) {
                Ok(mut producers) => {
                    producers.expire(self.opened, self.options.producer_age_max);
                    return Ok((offset, producers));
                }
                Err(error) if is_damage(&error) => {
                    tracing::warn!(file = %path.display(), %error, "removing a damaged snapshot");
                    self.disk.remove_file(&path).map_err(|error| LogError::io(&path, error))?;
                    self.snapshots.retain(|kept| *kept != offset);
                }
                Err(error) => return Err(LogError::io(&path, error)),
            }
        }
        Ok((first, ProducerState::default()))
    }

    /// Writes the producers as they are into the snapshot for `offset`. It is not synced: its
    /// checksum tells whether it is whole, and the log can replace it.
    pub(super) fn write_producer_snapshot_at(&mut self, offset: Offset) -> Result<(), LogError> {
        let path = self.dir.join(SegmentFile::Snapshot.name(offset));
        let written = self.disk.write_atomically(&path, &self.producers.to_snapshot(), None, None);
        written.map_err(|error| LogError::io(&path, error))?;
        if let Err(place) = self.snapshots.binary_search(&offset) {
            self.snapshots.insert(place, offset);
        }
        Ok(())
    }

    /// Removes snapshots of offsets that the log no longer has, and those that are neither of a
    /// segment's start nor the newest.
    pub(super) fn remove_stray_snapshots(&mut self) -> Result<(), LogError> {
        let newest = self.snapshots.iter().copied().rfind(|offset| *offset <= self.end);
        let is_base = |at: Offset| self.segments.iter().any(|segment| segment.base() == at);
        let is_stray = |at: Offset| at > self.end || (Some(at) != newest && !is_base(at));
        let strays: Vec<Offset> =
            self.snapshots.iter().copied().filter(|at| is_stray(*at)).collect();
        for offset in strays {
            remove_snapshot(&self.disk, &self.dir, offset)?;
            self.snapshots.retain(|kept| *kept != offset);
        }
        Ok(())
    }

    /// Whether the snapshots in the directory are those that the log knows.
    pub(super) fn snapshot_mismatches(&self) -> Result<Option<String>, LogError> {
        let found = Listing::read(&self.disk, &self.dir);
        let found = found.map_err(|error| LogError::io(&self.dir, error))?.snapshots;
        let (dir, known) = (self.dir.display(), &self.snapshots);
        Ok((found != *known)
            .then(|| format!("{dir}: snapshots {found:?} are there, not {known:?}")))
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge)
}
