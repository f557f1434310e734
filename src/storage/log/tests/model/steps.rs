//! What happens to a log that is open.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use ottla_config::TimestampSource;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, crc32c};
use ottla_protocol::compression::{Codec, Compressor};
use ottla_protocol::control::{ControlRecord, EndTransaction};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::super::super::{AppendPlan, IncomingBatch, Origin};
use super::World;
use super::expected::{Known, Written, sequence_after};
use crate::error::AppendRejection;
use crate::producer_state::Marker;

pub(super) const PRODUCERS: i64 = 4;
pub(super) const EXPIRES_AFTER: Duration = Duration::from_secs(60);

/// What a batch is made of.
#[derive(Clone, Copy)]
struct Draft {
    kind: BatchKind,
    producer: Option<(i64, i16, i32)>,
    records: i32,
    marker: Option<(bool, i32)>,
}

impl Draft {
    fn data(records: i32) -> Draft {
        Draft { kind: BatchKind::Data, producer: None, records, marker: None }
    }
}

/// What must become of a producer's batch.
#[derive(PartialEq, Debug)]
enum Verdict {
    Append,
    /// Of one of these: what was forgotten once may have come a second time.
    Duplicate(Vec<Offset>),
    /// A duplicate that may be forgotten.
    Forgotten(Vec<Offset>),
    Refused(AppendRejection),
}

impl World {
    pub(super) fn append(&mut self) -> bool {
        if self.one_in(12) {
            self.leader_epoch = LeaderEpoch(self.leader_epoch.0 + self.dice.i32(1..3));
        }
        match self.dice.u32(..10) {
            0..=1 => self.append_from_leader(),
            2..=3 => self.append_marker(),
            4 => self.append_plain(),
            _ => self.append_of_producer(),
        }
        false
    }

    fn append_plain(&mut self) {
        let kind = if self.one_in(4) { BatchKind::Control } else { BatchKind::Data };
        let records = if kind == BatchKind::Control { 1 } else { self.dice.i32(1..6) };
        let batch = self.build(Draft { kind, ..Draft::data(records) });
        self.append_batch(&batch, Origin::Client, None);
    }

    /// As a follower does: the offsets are given, and may leave a gap.
    fn append_from_leader(&mut self) {
        let records = self.dice.i32(1..6);
        let mut batch = self.build(Draft::data(records));
        let gap = if self.one_in(3) { self.dice.i64(1..5) } else { 0 };
        batch.header.base_offset = self.model.end.plus(gap);
        self.append_batch(&batch, Origin::Leader, None);
    }

    fn append_marker(&mut self) {
        let id = self.dice.i64(1..=PRODUCERS);
        let known = self.model.known().remove(&id);
        // What the log may have forgotten of a producer is known by chance only.
        if self.one_in(2) && !self.may_forget() {
            return self.append_judged_marker(id, known.as_ref());
        }
        let known = known.unwrap_or_default();
        let epoch = known.epoch + i16::from(self.one_in(3));
        let marker = (self.dice.bool(), self.dice.i32(0..3));
        let producer = Some((id, epoch, -1));
        let batch = self.build(Draft {
            kind: BatchKind::Marker,
            producer,
            records: 1,
            marker: Some(marker),
        });
        self.append_batch(&batch, Origin::Quorum, Some(marker));
    }

    /// As a coordinator does that may be an old one, and whose marker may come late, or again.
    fn append_judged_marker(&mut self, id: i64, known: Option<&Known>) {
        let epoch = known.map_or(0, |known| known.epoch);
        let marker = Marker {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch((epoch + self.dice.i16(-1..2)).max(0)),
            commit: self.dice.bool(),
            coordinator_epoch: self.dice.i32(0..3),
            transaction_version: self.dice.i16(0..3),
        };
        let (now, epoch) = (self.now, self.leader_epoch);
        let batch = marker.batch(now);
        let expected = Self::marker_verdict(&marker, known);
        let planned = self.log().plan_marker(&marker, &batch.header, now);
        self.tell(format!("{marker:?} of {known:?}: {planned:?}"));
        let plan = match (planned, expected) {
            (Err(reason), Err(expected)) if reason == expected => return,
            (Ok(AppendPlan::Duplicate(_)), Ok(false)) => return,
            (Ok(plan @ AppendPlan::Append { .. }), Ok(true)) => plan,
            (planned, expected) => panic!("{planned:?}, and not {expected:?}"),
        };
        let info = self.log().append(plan, &batch, epoch, now).expect("the disk is sound");
        assert_eq!(info.base_offset, self.model.end, "offsets are dense");
        let sets_time = self.options.config.timestamp_source == TimestampSource::LogAppendTime;
        let said = Some((!marker.commit, marker.coordinator_epoch));
        let written =
            Written::new(&batch.bytes, info.base_offset, epoch, sets_time.then_some(now), said);
        self.model.append(written);
    }

    /// Whether a marker is written; else it was, or is refused.
    fn marker_verdict(marker: &Marker, known: Option<&Known>) -> Result<bool, AppendRejection> {
        let Some(known) = known else { return Ok(true) };
        let epoch = marker.producer_epoch.0;
        let is_bumped = marker.transaction_version == 2;
        if epoch < known.epoch || (is_bumped && epoch == known.epoch && known.open.is_some()) {
            Err(AppendRejection::OldProducerEpoch)
        } else if is_bumped && epoch == known.epoch {
            Ok(false)
        } else if marker.coordinator_epoch < known.coordinator {
            Err(AppendRejection::OldCoordinatorEpoch)
        } else {
            Ok(true)
        }
    }

    fn append_of_producer(&mut self) {
        let id = self.dice.i64(1..=PRODUCERS);
        let known = self.model.known().remove(&id);
        let next = known
            .as_ref()
            .and_then(|known| known.batches.last())
            .map_or(0, |last| sequence_after(last.1, 1));
        let mut epoch = known.as_ref().map_or(0, |known| known.epoch);
        let (mut sequence, mut records) = (next, self.dice.i32(1..6));
        let mut is_transactional = known.as_ref().is_some_and(|known| known.open.is_some());
        match (self.dice.u32(..14), &known) {
            (0, Some(known)) if !known.batches.is_empty() => {
                let again = known.batches[self.dice.usize(..known.batches.len())];
                (sequence, records) = (again.0, (again.3.0 - again.2.0) as i32 + 1);
            }
            (1, _) => sequence = sequence_after(next, self.dice.i64(1..9)),
            (2, _) => epoch -= 1,
            (3, _) => (epoch, sequence) = (epoch + 1, self.dice.i32(0..2)),
            (4..=6, _) => is_transactional = true,
            (7, _) => is_transactional = false,
            // Sequences begin again behind the largest.
            (8, None) => sequence = i32::MAX - 2,
            _ => {}
        }
        let kind = if is_transactional { BatchKind::Transactional } else { BatchKind::Data };
        let producer = Some((id, epoch.max(0), sequence));
        let batch = self.build(Draft { kind, producer, records, marker: None });
        self.append_batch(&batch, Origin::Client, None);
    }

    fn build(&mut self, draft: Draft) -> IncomingBatch {
        let time = match self.dice.u32(..12) {
            0 => Timestamp::NONE,
            1 => Timestamp(0),
            2 => Timestamp(self.now.0 + self.dice.i64(0..200_000)),
            3..=6 => Timestamp(self.now.0 - self.dice.i64(0..90_000)),
            _ => self.now,
        };
        let mut builder = BatchBuilder::new(draft.kind, Offset(0), LeaderEpoch(-1), time);
        if let Some((id, epoch, sequence)) = draft.producer {
            builder = builder.with_producer(ProducerId(id), ProducerEpoch(epoch), sequence);
        }
        if let Some((aborted, coordinator_epoch)) = draft.marker {
            let end = EndTransaction { coordinator_epoch };
            let record =
                if aborted { ControlRecord::Abort(end) } else { ControlRecord::Commit(end) };
            let (key, value) = record.encode();
            builder.push(Some(&key), Some(&value));
        } else {
            let later = if time.0 > 0 { self.dice.i64(0..50) } else { 0 };
            for _ in 0..draft.records {
                let value = vec![self.dice.u8(..); self.dice.usize(0..150)];
                builder.push_with_headers(Timestamp(time.0 + later), None, Some(&value), &[]);
            }
        }
        let mut bytes = builder.build();
        let is_data = matches!(draft.kind, BatchKind::Data | BatchKind::Transactional);
        if is_data && self.one_in(3) {
            let codecs = [Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)];
            bytes = compressed(&bytes, codecs[self.dice.usize(..codecs.len())]);
        }
        let header = BatchHeader::read_checked(&bytes).expect("just built");
        IncomingBatch { header, bytes: Bytes::from(bytes) }
    }

    fn append_batch(&mut self, batch: &IncomingBatch, origin: Origin, marker: Option<(bool, i32)>) {
        let header = batch.header;
        let (now, epoch) = (self.now, self.leader_epoch);
        let expected = match origin {
            Origin::Client => self.verdict(&header),
            _ => Verdict::Append,
        };
        let planned = self.log().plan_append(&header, origin, now);
        self.tell(format!(
            "append of {:?} with {:?} {:?} {} of {} records, {} bytes, time {}, epoch {}: {planned:?}",
            origin, header.producer_id, header.producer_epoch, header.base_sequence,
            header.last_offset_delta + 1, header.size(), header.max_timestamp.0, epoch.0,
        ));
        let plan = match (planned, expected) {
            (Err(reason), Verdict::Refused(expected)) if reason == expected => return,
            (Err(AppendRejection::OutOfOrderSequence), Verdict::Forgotten(_)) => return,
            (Ok(AppendPlan::Duplicate(info)), Verdict::Duplicate(at) | Verdict::Forgotten(at))
                if at.contains(&info.base_offset) =>
            {
                return;
            }
            // More is known again than the model has forgotten.
            (Ok(AppendPlan::Duplicate(info)), _)
                if self.may_forget() && self.was_at(&header, info.base_offset) =>
            {
                return;
            }
            (Ok(plan @ AppendPlan::Append { .. }), Verdict::Append) => plan,
            // A producer that began again has come to the sequences of what is forgotten.
            (Ok(plan @ AppendPlan::Append { .. }), Verdict::Forgotten(_))
                if self.is_next(&header) =>
            {
                plan
            }
            (planned, expected) => panic!("{planned:?}, and not {expected:?}"),
        };
        let info = self.log().append(plan, batch, epoch, now).expect("the disk is sound");
        let base = if origin == Origin::Leader { header.base_offset } else { self.model.end };
        assert_eq!(info.base_offset, base, "offsets are dense");
        let sets_time = self.options.config.timestamp_source == TimestampSource::LogAppendTime;
        let append_time = (sets_time && origin == Origin::Client).then_some(now);
        self.model.append(Written::new(&batch.bytes, base, epoch, append_time, marker));
    }

    /// Whether this producer's batch of these sequences is at an offset.
    fn was_at(&self, header: &BatchHeader, base: Offset) -> bool {
        let of = |header: &BatchHeader| {
            let producer = (header.producer_id, header.producer_epoch);
            (producer, header.base_sequence, header.last_sequence())
        };
        self.model
            .batches
            .iter()
            .any(|batch| batch.header.base_offset == base && of(&batch.header) == of(header))
    }

    /// Whether a batch follows the last one of its producer.
    fn is_next(&self, header: &BatchHeader) -> bool {
        let known = self.model.known().remove(&header.producer_id.0);
        let last = known.and_then(|known| known.batches.last().copied());
        last.is_some_and(|last| header.base_sequence == sequence_after(last.1, 1))
    }

    fn verdict(&self, header: &BatchHeader) -> Verdict {
        if header.size() > self.options.config.segment_bytes as usize {
            return Verdict::Refused(AppendRejection::LargerThanSegment);
        }
        let known = self.model.known().remove(&header.producer_id.0);
        let (Some(known), true) = (known, header.has_producer_id()) else { return Verdict::Append };
        let Known { epoch, batches, open, .. } = known;
        let is_next = if header.producer_epoch.0 < epoch {
            return Verdict::Refused(AppendRejection::OldProducerEpoch);
        } else if header.producer_epoch.0 > epoch {
            header.base_sequence == 0
        } else {
            let span = (header.base_sequence, header.last_sequence());
            let again = batches.iter().filter(|batch| (batch.0, batch.1) == span);
            let again: Vec<Offset> = again.map(|batch| batch.2).collect();
            if let Some(latest) = again.last() {
                let is_recalled = *latest >= self.recalled_from && !self.may_forget();
                let is_last = batches.last().is_some_and(|last| last.2 == *latest);
                let is_kept = is_recalled || is_last;
                return if is_kept { Verdict::Duplicate(again) } else { Verdict::Forgotten(again) };
            }
            let next = batches.last().map_or(0, |last| sequence_after(last.1, 1));
            header.base_sequence == next
        };
        if !is_next {
            Verdict::Refused(AppendRejection::OutOfOrderSequence)
        } else if open.is_some() && !header.attributes.is_transactional() {
            Verdict::Refused(AppendRejection::OutsideTransaction)
        } else {
            Verdict::Append
        }
    }

    /// An offset between two batches, at or above `from`.
    pub(super) fn boundary(&mut self, from: Offset) -> Offset {
        let ends = self.model.batches.iter().map(|batch| batch.header.next_offset());
        let ends: Vec<Offset> = ends.filter(|end| *end >= from).collect();
        if ends.is_empty() { from } else { ends[self.dice.usize(..ends.len())] }
    }

    pub(super) fn move_high_watermark(&mut self) -> bool {
        let to = self.boundary(self.model.high_watermark);
        self.model.high_watermark = to;
        self.tell(format!("high watermark to {}", to.0));
        self.log().replicated(to);
        false
    }

    /// A flush is begun, done and noted in steps; other things come between.
    pub(super) fn go_on_with_a_flush(&mut self) -> bool {
        match self.flush.take() {
            None => {
                let job = self.log().start_flush().expect("the disk is sound");
                self.tell(format!("flush begun: {:?}", job.as_ref().map(|job| job.end)));
                self.flush = job.map(|job| (job, false));
            }
            Some((job, false)) => {
                job.run().expect("the disk is sound");
                self.tell(format!("flush to {} run", job.end.0));
                self.flush = Some((job, true));
            }
            Some((job, true)) => {
                self.tell(format!("flush to {} done", job.end.0));
                self.log().finish_flush(job.end);
            }
        }
        false
    }

    pub(super) fn checkpoint(&mut self) -> bool {
        self.recovery_point = self.log().checkpoint_offset();
        self.tell(format!("checkpoint of {}", self.recovery_point.0));
        false
    }

    pub(super) fn truncate(&mut self) -> bool {
        let mut end = self.boundary(self.model.start);
        let behind = self.model.batches.iter().find(|batch| batch.header.base_offset == end);
        if let Some(behind) = behind
            && behind.header.last_offset_delta > 0
            && self.dice.bool()
        {
            // Into a batch: it goes as a whole.
            end = end.plus(1);
        }
        self.truncate_to(end);
        true
    }

    fn truncate_to(&mut self, end: Offset) {
        self.log().truncate_to(end).expect("the disk is sound");
        self.model.truncate(end);
        self.tell(format!("truncated to {}", end.0));
        self.recovery_point = self.recovery_point.min(self.model.end);
        let high_watermark = self.model.high_watermark;
        self.log().replicated(high_watermark);
        self.producers_were_rebuilt();
    }

    /// As an operator does: the start may lie in a batch.
    pub(super) fn delete_records(&mut self) -> bool {
        let (from, to) = (self.model.start, self.model.high_watermark);
        let start = Offset(self.dice.i64(from.0..=to.0.max(from.0)));
        self.begin_at(start);
        true
    }

    fn begin_at(&mut self, start: Offset) {
        self.log_start = start;
        let deleted = self.log().delete_below(start).expect("the disk is sound");
        self.model.start = start;
        self.tell(format!("deleted below {}", start.0));
        if self.dice.bool() {
            for file in deleted {
                self.disk.remove_file(&file).expect("renamed");
            }
        }
    }

    pub(super) fn retain(&mut self) -> bool {
        let (now, high_watermark) = (self.now, self.model.high_watermark);
        let expected = self.expected_start();
        let planned = self.log().plan_retention(high_watermark, now).expect("the disk is sound");
        self.tell(format!("retention: {planned:?}"));
        assert_eq!(planned, expected, "what retention takes");
        if let Some(start) = planned {
            self.begin_at(start);
        }
        true
    }

    pub(super) fn expire(&mut self) -> bool {
        let now = self.now;
        self.tell("producers expire".to_owned());
        self.has_expired = true;
        self.log().expire_producers(now, EXPIRES_AFTER);
        for (id, known) in self.model.known() {
            if known.open.is_none() && is_expired(known.last_time, now) {
                self.model.forget(id);
            }
        }
        false
    }

    pub(super) fn change_config(&mut self) -> bool {
        let config = &mut self.options.config;
        config.timestamp_source = match config.timestamp_source {
            TimestampSource::CreateTime => TimestampSource::LogAppendTime,
            TimestampSource::LogAppendTime => TimestampSource::CreateTime,
        };
        config.segment_bytes = self.dice.u32(600..4000);
        let config = config.clone();
        self.tell(format!("{:?}, segment.bytes {}", config.timestamp_source, config.segment_bytes));
        self.log().set_config(config);
        false
    }
}

fn is_expired(last_time: i64, now: Timestamp) -> bool {
    now.0 - last_time >= EXPIRES_AFTER.as_millis() as i64
}

/// The batch with its records compressed.
fn compressed(batch: &[u8], codec: Codec) -> Vec<u8> {
    let mut compressor = Compressor::new(codec, Vec::new()).expect("it exists");
    compressor.write_all(&batch[BATCH_OVERHEAD..]).expect("to memory");
    let records = compressor.finish().expect("to memory");
    let mut bytes = [&batch[..BATCH_OVERHEAD], &records].concat();
    bytes[22] |= codec.compression() as u8;
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}
