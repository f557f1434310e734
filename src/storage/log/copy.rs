//! A log that is copied into another directory and then takes the place of the first one.
//!
//! ```text
//!   begin_copy ──> append_copied ... ──> take_over, once both end at the same offset
//! ```
//! A copy begins where the files of the other one begin, which may be below its start: what is
//! known of producers from there on is known of the copy as well. Offsets, epochs and bytes of
//! batches stay; segments may begin elsewhere.
//!
//! Invariant of whoever copies: what is in the copy was in the other log at that offset. After a
//! power cut the other one may have lost its end and written something else there, in a later
//! epoch: [`Log::cut_to_common`].

use std::path::PathBuf;

use bytes::Bytes;
use ottla_protocol::batch::{BatchError, BatchHeader};
use ottla_types::{Offset, Timestamp};

use super::append::{IncomingBatch, Origin};
use super::segment::Segment;
use super::{Extent, Log, LogError};
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::ProducerState;

/// What a copy is to read next.
pub enum CopySource {
    /// These bytes: whole batches, and perhaps a part of one behind them.
    Piece(Extent),
    /// Nothing: the copy has everything.
    End,
    /// It was deleted: the log's files begin behind it.
    Gone,
}

impl Log {
    /// Where the log's files begin. Not above its start.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.segments[0].base()
    }

    /// The producers as they were where the log's files begin, for a copy that begins there.
    ///
    /// # Errors
    /// Those of reading.
    pub fn producers_at_base(&mut self) -> Result<ProducerState, LogError> {
        self.producers_at(self.base())
    }

    /// The batches from `from` on, where one begins or the log ends; about `bytes_max` bytes, and
    /// the first one whole.
    ///
    /// # Errors
    /// Faults, and `Corrupt`.
    pub fn copy_source(&mut self, from: Offset, bytes_max: u64) -> Result<CopySource, LogError> {
        if from < self.base() {
            return Ok(CopySource::Gone);
        }
        if from >= self.end {
            return Ok(CopySource::End);
        }
        let first = self.segment_index(from);
        for segment in &mut self.segments[first..] {
            let Some(found) = segment.locate(from)? else { continue };
            let (position, whole) = (found.extent.position, found.extent.len);
            let len = (segment.size() - position).min(bytes_max.max(whole));
            return segment.extent(position, len).map(CopySource::Piece);
        }
        Ok(CopySource::End)
    }

    /// Drops everything and begins the copy of a log whose files begin at `start`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin_copy(
        &mut self,
        start: Offset,
        producers: ProducerState,
        now: Timestamp,
    ) -> Result<(), LogError> {
        self.restart_at(start, now)?;
        self.producers = producers;
        // Nobody else remembers those whose batches were deleted.
        self.write_producer_snapshot_at(start)
    }

    /// Appends the whole batches that `bytes` begins with, as they are in the other log. Returns
    /// how many bytes they have.
    ///
    /// # Errors
    /// `Corrupt` for a batch that is not sound, `Rejected`, faults.
    pub fn append_copied(&mut self, bytes: &Bytes, now: Timestamp) -> Result<u64, LogError> {
        let mut at = 0;
        while at < bytes.len() {
            let header = match BatchHeader::read_checked(&bytes[at..]) {
                Err(BatchError::Truncated) => break,
                Err(source) => return Err(self.not_sound(at as u64, source)),
                Ok(header) => header,
            };
            let whole = bytes.slice(at..at + header.size());
            let plan = self.plan_append(&header, Origin::Leader, now);
            let plan = plan.map_err(LogError::Rejected)?;
            let epoch = header.leader_epoch;
            at += header.size();
            self.append(plan, &IncomingBatch { header, bytes: whole }, epoch, now)?;
        }
        Ok(at as u64)
    }

    fn not_sound(&self, position: u64, source: BatchError) -> LogError {
        LogError::Corrupt { path: self.dir.clone(), position, offset: self.end, source }
    }

    /// Drops what the other log does not have: what lies behind its end, and behind the last epoch
    /// that both know (KIP-101). False when they have nothing in common.
    ///
    /// # Errors
    /// Those of [`Log::truncate_to`].
    pub fn cut_to_common(&mut self, other: &LeaderEpochs, end: Offset) -> Result<bool, LogError> {
        let mut common = self.end.min(end);
        while let Some(latest) = self.epochs.epoch_at(Offset(common.0 - 1)) {
            let Some((epoch, ends)) = other.end_of(latest, end) else { return Ok(false) };
            let own = self.epochs.end_of(epoch, self.end).map_or(Offset::ZERO, |(_, end)| end);
            let bound = common.min(ends).min(own);
            if bound == common {
                break;
            }
            common = bound;
        }
        if common <= self.log_start {
            return Ok(self.log_start == self.end);
        }
        self.truncate_to(common)?;
        Ok(true)
    }

    /// The directory has another name now; files that are open stay so.
    pub fn moved_to(&mut self, dir: PathBuf) {
        for segment in &mut self.segments {
            Segment::moved_to(segment, &dir);
        }
        self.dir = dir;
    }

    /// Takes over what the other log has in memory, which ends at the same offset. What it has not
    /// made durable does not count as durable here either, until the next flush.
    ///
    /// # Panics
    /// When this is no whole copy, or something durable would not be.
    pub fn take_over(&mut self, other: Log) {
        assert_eq!((self.log_start, self.end), (other.log_start, other.end), "a whole copy");
        assert!(self.recovery_point >= other.recovery_point, "what was durable stays durable");
        self.recovery_point = other.recovery_point;
        self.flush_end = self.flush_end.min(self.end);
        self.flushing_from = None;
        self.producers = other.producers;
        self.refused_firsts = other.refused_firsts;
        self.verifications = other.verifications;
        self.options.config = other.options.config;
        self.options.was_compacted = other.options.was_compacted;
        // A cleaning that began before is of other files, also when the log comes back to them.
        self.truncations = other.truncations + 1;
        self.replace_epochs(other.epochs);
    }
}
