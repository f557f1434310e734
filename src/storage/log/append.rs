//! Appending: a plan that changes nothing, then the write.
//!
//! Checks that need no log (checksum, sizes, timestamps) are the caller's, outside its lock. Here
//! a batch gets its offsets, its leader epoch and, if the topic says so, its time; none of that
//! touches the records, which go from the request's memory to the page cache in one call.

use std::io::{ErrorKind, IoSlice};

use bytes::Bytes;
use ottla_config::TimestampSource;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, RestampedHeader, crc32c};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::Log;
use super::segment::{Appended, Segment};
use crate::error::{AppendRejection, LogError};
use crate::producer_state::{
    FirstBatch, Marker, MarkerVerdict, ProducerVerdict, RefusedFirsts, Verification,
    VerificationGuard,
};

/// Where a batch comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client: sequences are checked and offsets are given.
    Client,
    /// A coordinator of this node: epochs are checked and offsets are given. What it writes in a
    /// client's transaction has no sequences.
    Coordinator,
    /// The metadata quorum's leader: offsets are given.
    Quorum,
    /// The partition's leader: offsets are kept.
    Leader,
}

/// A batch to be appended, checked as far as that needs no log.
#[derive(Clone)]
pub struct IncomingBatch {
    /// Its header.
    pub header: BatchHeader,
    /// The whole batch.
    pub bytes: Bytes,
}

/// What will become of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendPlan {
    /// It was appended before: the answer of then.
    Duplicate(AppendInfo),
    /// It is to be written.
    Append {
        /// Offset of its first record.
        base_offset: Offset,
        /// Its time, when the broker sets it.
        append_time: Option<Timestamp>,
        /// Whether the next segment begins first.
        roll: bool,
    },
}

/// Where a batch is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its time when the broker set it, else none.
    pub append_time: Timestamp,
}

impl Log {
    /// Decides what becomes of a batch, without changing anything.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn plan_append(
        &self,
        header: &BatchHeader,
        origin: Origin,
        now: Timestamp,
    ) -> Result<AppendPlan, AppendRejection> {
        let config = self.config();
        if origin != Origin::Leader && header.size() > config.segment_bytes as usize {
            return Err(AppendRejection::LargerThanSegment);
        }
        if header.has_producer_id() {
            match origin {
                Origin::Client => {
                    if let Some(duplicate) = self.judge_producer(header)? {
                        return Ok(AppendPlan::Duplicate(duplicate));
                    }
                }
                Origin::Coordinator => {
                    if self.producers.is_fenced(header.producer_id, header.producer_epoch) {
                        return Err(AppendRejection::OldProducerEpoch);
                    }
                }
                Origin::Quorum | Origin::Leader => {}
            }
        }
        let base_offset = match origin {
            Origin::Client | Origin::Coordinator | Origin::Quorum => self.end,
            Origin::Leader if header.base_offset < self.end => {
                return Err(AppendRejection::OutOfOrderOffsets);
            }
            Origin::Leader => header.base_offset,
        };
        let sets_time = config.timestamp_source == TimestampSource::LogAppendTime;
        let is_given_time = matches!(origin, Origin::Client | Origin::Coordinator);
        let append_time = (sets_time && is_given_time).then_some(now);
        let next = Appended {
            last_offset: base_offset.plus(i64::from(header.last_offset_delta)),
            max_timestamp: append_time.unwrap_or(header.max_timestamp),
            size: header.size() as u64,
        };
        let roll = self.overflows(next.last_offset)
            || self.active().must_roll(&next, self.roll_limits(), now);
        Ok(AppendPlan::Append { base_offset, append_time, roll })
    }

    fn judge_producer(&self, header: &BatchHeader) -> Result<Option<AppendInfo>, AppendRejection> {
        match self.producers.judge(header) {
            ProducerVerdict::Append
                if self.refused_firsts.forbids(header)
                    || self.verifications.forbids(header, &self.producers) =>
            {
                Err(AppendRejection::OutOfOrderSequence)
            }
            ProducerVerdict::Append => Ok(None),
            ProducerVerdict::Duplicate { base_offset, last_offset, timestamp } => {
                // As Kafka does, whoever has set the time.
                Ok(Some(AppendInfo { base_offset, last_offset, append_time: timestamp }))
            }
            ProducerVerdict::OutOfOrder => Err(AppendRejection::OutOfOrderSequence),
            ProducerVerdict::OldEpoch => Err(AppendRejection::OldProducerEpoch),
            ProducerVerdict::OutsideTransaction => Err(AppendRejection::OutsideTransaction),
        }
    }

    /// Decides what becomes of a batch of a transaction. Unless it is open already, or the batch
    /// was appended before, it must have been verified.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn plan_transactional(
        &self,
        header: &BatchHeader,
        origin: Origin,
        guard: Option<VerificationGuard>,
        now: Timestamp,
    ) -> Result<AppendPlan, AppendRejection> {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let verified =
            self.producers.has_open(id, epoch) || self.verifications.is_guarded(id, guard);
        match self.plan_append(header, origin, now) {
            Ok(AppendPlan::Append { .. }) | Err(AppendRejection::OutOfOrderSequence)
                if !verified =>
            {
                Err(AppendRejection::Unverified)
            }
            plan => plan,
        }
    }

    /// What has to be done before a transactional batch is appended.
    ///
    /// # Errors
    /// `OldProducerEpoch`.
    pub fn begin_verification(
        &mut self,
        batch: FirstBatch,
        now: Timestamp,
    ) -> Result<Verification, AppendRejection> {
        if self.producers.is_fenced(batch.producer_id, batch.producer_epoch) {
            return Err(AppendRejection::OldProducerEpoch);
        }
        Ok(self.verifications.begin(batch, &self.producers, now))
    }

    /// Decides what becomes of a marker whose batch this is. One that was written before is
    /// somewhere in the log: where exactly nobody remembers, so its place is the end.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn plan_marker(
        &self,
        marker: &Marker,
        header: &BatchHeader,
        now: Timestamp,
    ) -> Result<AppendPlan, AppendRejection> {
        match self.producers.judge_marker(marker) {
            MarkerVerdict::Append => self.plan_append(header, Origin::Coordinator, now),
            MarkerVerdict::Duplicate => {
                let last = Offset(self.end.0 - 1);
                let append_time = Timestamp::NONE;
                let info = AppendInfo { base_offset: last, last_offset: last, append_time };
                Ok(AppendPlan::Duplicate(info))
            }
            MarkerVerdict::OldEpoch => Err(AppendRejection::OldProducerEpoch),
            MarkerVerdict::OldCoordinator => Err(AppendRejection::OldCoordinatorEpoch),
        }
    }

    /// Carries out a plan made since the last change of the log.
    ///
    /// # Errors
    /// `Rejected(DiskFull)`, and the log is as it was; other errors are faults.
    pub fn append(
        &mut self,
        plan: AppendPlan,
        batch: &IncomingBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<AppendInfo, LogError> {
        let (base_offset, append_time, roll) = match plan {
            AppendPlan::Duplicate(info) => return Ok(info),
            AppendPlan::Append { base_offset, append_time, roll } => {
                (base_offset, append_time, roll)
            }
        };
        let front = restamp(batch, base_offset, epoch, append_time);
        let records = &batch.bytes[BATCH_OVERHEAD..batch.header.size()];
        let written = self
            .make_room(roll, &batch.header, base_offset, now)
            .and_then(|()| self.begin_epoch_at(epoch, base_offset));
        let written = written.and_then(|()| self.write_batch(&front, records));
        if let Err(error) = written {
            self.refused_firsts.note(&batch.header, &self.producers);
            return Err(error);
        }
        let header = BatchHeader::read(&front.0).expect("it was read before it was restamped");
        let appended = Appended {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            size: header.size() as u64,
        };
        let index_interval = u64::from(self.config().index_interval_bytes);
        self.active_mut().note(&appended, index_interval)?;
        self.note_producer(&header, records)?;
        self.refused_firsts.forget(header.producer_id);
        if header.attributes.is_transactional() {
            self.verifications.end(&header);
        }
        self.end = header.next_offset();
        Ok(AppendInfo {
            base_offset,
            last_offset: header.last_offset(),
            append_time: append_time.unwrap_or(Timestamp::NONE),
        })
    }

    /// Refuses a batch that has a plan, because its directory is full.
    pub fn refuse_for_room(&mut self, batch: &IncomingBatch) -> LogError {
        self.refused_firsts.note(&batch.header, &self.producers);
        LogError::Rejected(AppendRejection::DiskFull)
    }

    /// Takes over what was refused before the log was there.
    pub fn set_refused(&mut self, refused: RefusedFirsts) {
        self.refused_firsts = refused;
    }

    fn make_room(
        &mut self,
        roll: bool,
        header: &BatchHeader,
        base: Offset,
        now: Timestamp,
    ) -> Result<(), LogError> {
        let last = base.plus(i64::from(header.last_offset_delta));
        match roll {
            false => Ok(()),
            // Behind a gap that no segment can bridge, the next one begins with the batch.
            true if last.since(self.end) > i64::from(i32::MAX) => self.roll_at(base, now),
            true => self.roll(now),
        }
    }

    /// Whether an offset is too far from the active segment's first, also when it is empty.
    fn overflows(&self, last: Offset) -> bool {
        last.since(self.active().base()) > i64::from(i32::MAX)
    }

    /// Behind a gap an epoch begins with its first batch, as recovery will find it.
    fn begin_epoch_at(&mut self, epoch: LeaderEpoch, base: Offset) -> Result<(), LogError> {
        self.note_epoch(epoch, base);
        self.write_new_epochs().map_err(disk_full_is_a_rejection)
    }

    fn write_batch(&mut self, front: &RestampedHeader, records: &[u8]) -> Result<(), LogError> {
        let active = self.active_mut();
        let written = active.write(&mut [IoSlice::new(&front.0), IoSlice::new(records)]);
        let written = written.map_err(disk_full_is_a_rejection);
        if let Err(LogError::Rejected(_)) = &written {
            active.cut_to_size()?;
        }
        written
    }

    /// Begins the next segment at the end of the log.
    ///
    /// # Errors
    /// `Rejected(DiskFull)` or a fault.
    pub(super) fn roll(&mut self, now: Timestamp) -> Result<(), LogError> {
        self.roll_at(self.end, now)
    }

    fn roll_at(&mut self, base: Offset, now: Timestamp) -> Result<(), LogError> {
        self.active_mut().seal().map_err(disk_full_is_a_rejection)?;
        self.write_producer_snapshot_at(base).map_err(disk_full_is_a_rejection)?;
        let segment = Segment::create(&self.disk, &self.dir, base, now, self.preallocated())
            .map_err(disk_full_is_a_rejection)?;
        self.segments.push(segment);
        self.end = base;
        self.draw_roll_jitter();
        self.names_unsynced = true;
        Ok(())
    }
}

/// On a full disk nothing counts that was written; what a roll leaves half way (a complete index, a
/// snapshot) is right and harmless.
fn disk_full_is_a_rejection(error: LogError) -> LogError {
    match error {
        LogError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
            LogError::Rejected(AppendRejection::DiskFull)
        }
        other => other,
    }
}

fn restamp(
    batch: &IncomingBatch,
    base_offset: Offset,
    epoch: LeaderEpoch,
    append_time: Option<Timestamp>,
) -> RestampedHeader {
    let front = RestampedHeader::new(&batch.bytes, base_offset, epoch);
    match append_time {
        None => front,
        Some(now) => {
            let records = &batch.bytes[BATCH_OVERHEAD..batch.header.size()];
            front.with_log_append_time(now, crc32c(records), records.len())
        }
    }
}
