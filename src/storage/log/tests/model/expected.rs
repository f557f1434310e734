//! The model: a list of batches, and everything else computed from it anew each time.
//!
//! What a restart may forget is kept by producer: the offset from which its batches count
//! ([`Model::known_from`]). A producer that was silent for long, or whose batches are all deleted
//! and whose snapshot is lost, is known from a later one.

use std::collections::BTreeMap;

use ottla_protocol::batch::{BatchHeader, crc32c};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::producer_state::EndedTransaction;

/// Where a batch has its checksum, and what it is of.
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;

/// A batch that is in the log.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) header: BatchHeader,
    pub(super) bytes: Vec<u8>,
    /// Of a marker: whether it aborts, and the coordinator's epoch.
    pub(super) marker: Option<(bool, i32)>,
}

impl Written {
    /// A batch as it has to be in the log.
    pub(super) fn new(
        bytes: &[u8],
        base: Offset,
        epoch: LeaderEpoch,
        append_time: Option<Timestamp>,
        marker: Option<(bool, i32)>,
    ) -> Written {
        let mut bytes = bytes.to_vec();
        bytes[..8].copy_from_slice(&base.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&epoch.0.to_be_bytes());
        if let Some(time) = append_time {
            bytes[ATTRIBUTES_AT + 1] |= 8;
            bytes[35..43].copy_from_slice(&time.0.to_be_bytes());
            let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
            bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        }
        let header = BatchHeader::read_checked(&bytes).expect("built by the test");
        Written { header, bytes, marker }
    }
}

/// A producer as the model knows it.
#[derive(Clone, Default, Debug)]
pub(super) struct Known {
    pub(super) epoch: i16,
    /// The last five: first and last sequence, first and last offset.
    pub(super) batches: Vec<(i32, i32, Offset, Offset)>,
    pub(super) last_time: i64,
    pub(super) coordinator: i32,
    pub(super) open: Option<Offset>,
}

/// What a snapshot says of a producer: epoch, last sequence, last offset, offset delta, last time,
/// coordinator's epoch, start of the open transaction.
pub(super) type Entry = (i16, i32, i64, i32, i64, i32, i64);

impl Known {
    pub(super) fn entry(&self) -> Entry {
        let last = self.batches.last();
        let (sequence, offset, delta) = last.map_or((-1, -1, 0), |(_, sequence, base, last)| {
            (*sequence, last.0, (last.0 - base.0) as i32)
        });
        let open = self.open.map_or(-1, |start| start.0);
        (self.epoch, sequence, offset, delta, self.last_time, self.coordinator, open)
    }

    fn of_epoch(&mut self, epoch: i16) -> &mut Known {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
        self
    }
}

/// All that was appended and not truncated, also below the log's start.
#[derive(Default)]
pub(super) struct Model {
    pub(super) batches: Vec<Written>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) high_watermark: Offset,
    /// From where a producer's batches count, when not from 0.
    pub(super) known_from: BTreeMap<i64, Offset>,
    /// Ended transactions that were known when their producer was forgotten: their markers wait
    /// for the high watermark all the same.
    pub(super) ended_before: Vec<EndedTransaction>,
}

impl Model {
    /// The batches that hold an offset at or above `start`.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Written> {
        self.batches.iter().filter(|batch| batch.header.last_offset() >= self.start)
    }

    pub(super) fn append(&mut self, batch: Written) {
        self.end = batch.header.next_offset();
        self.batches.push(batch);
    }

    /// Ends the log at `end`, or in front of the batch that holds it.
    pub(super) fn truncate(&mut self, end: Offset) {
        self.batches.retain(|batch| batch.header.last_offset() < end);
        self.end = self.batches.last().map_or(Offset::ZERO, |batch| batch.header.next_offset());
        self.end = self.end.max(self.start);
        self.known_from.values_mut().for_each(|from| *from = (*from).min(self.end));
        self.ended_before.retain(|ended| ended.last_offset < self.end);
        self.high_watermark = self.high_watermark.min(self.end);
    }

    /// Epochs of what may be read.
    pub(super) fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in self.readable() {
            let epoch = batch.header.leader_epoch;
            if epochs.last().is_none_or(|(latest, _)| *latest < epoch) {
                epochs.push((epoch, batch.header.base_offset.max(self.start)));
            }
        }
        epochs
    }

    /// The producers, when batches count from `from` on.
    pub(super) fn producers(
        &self,
        from: impl Fn(i64) -> Offset,
    ) -> (BTreeMap<i64, Known>, Vec<EndedTransaction>) {
        let (mut producers, mut ended) = (BTreeMap::<i64, Known>::new(), Vec::new());
        for Written { header, marker, .. } in &self.batches {
            let id = header.producer_id.0;
            let is_counted = header.has_producer_id() && header.base_offset >= from(id);
            if !is_counted || (header.attributes.is_control() && marker.is_none()) {
                continue;
            }
            let new = Known { epoch: header.producer_epoch.0, coordinator: -1, ..Known::default() };
            let producer = producers.entry(id).or_insert(new).of_epoch(header.producer_epoch.0);
            producer.last_time = header.max_timestamp.0;
            let Some((aborted, coordinator)) = *marker else {
                let (base, last) = (header.base_offset, header.last_offset());
                let last_sequence = sequence_after(header.base_sequence, last.0 - base.0);
                producer.batches.push((header.base_sequence, last_sequence, base, last));
                let excess = producer.batches.len().saturating_sub(5);
                producer.batches.drain(..excess);
                if header.attributes.is_transactional() {
                    producer.open.get_or_insert(base);
                }
                continue;
            };
            producer.coordinator = coordinator;
            if let Some(first_offset) = producer.open.take() {
                let still_open = producers.values().filter_map(|producer| producer.open).min();
                ended.push(EndedTransaction {
                    producer_id: header.producer_id,
                    aborted,
                    first_offset,
                    last_offset: header.base_offset,
                    last_stable_offset: still_open.unwrap_or(header.base_offset.plus(1)),
                });
            }
        }
        (producers, ended)
    }

    /// From where a producer's batches count.
    pub(super) fn from(&self, id: i64) -> Offset {
        self.known_from.get(&id).copied().unwrap_or(Offset::ZERO)
    }

    pub(super) fn known(&self) -> BTreeMap<i64, Known> {
        self.producers(|id| self.from(id)).0
    }

    /// A producer that was silent for long is forgotten.
    pub(super) fn forget(&mut self, id: i64) {
        let ended = self.producers(|id| self.from(id)).1;
        self.ended_before.extend(ended.into_iter().filter(|ended| ended.producer_id.0 == id));
        self.known_from.insert(id, self.end);
    }

    /// The last stable offset; with what is, or was, known of ended transactions, and with all of
    /// them: a truncation may forget a producer whose marker is not replicated, and not the marker.
    pub(super) fn last_stable_offsets(&self) -> [Offset; 3] {
        let (producers, ended) = self.producers(|id| self.from(id));
        let all = self.producers(|_| Offset::ZERO).1;
        let before = [&ended[..], &self.ended_before[..]].concat();
        [ended, before, all].map(|ended| self.last_stable_offset(&producers, &ended))
    }

    fn last_stable_offset(
        &self,
        producers: &BTreeMap<i64, Known>,
        ended: &[EndedTransaction],
    ) -> Offset {
        let open = producers.values().filter_map(|producer| producer.open);
        let waiting = ended.iter().filter(|ended| ended.last_offset >= self.high_watermark);
        let first = open.chain(waiting.map(|ended| ended.first_offset)).min();
        first.map_or(self.high_watermark, |at| at.max(self.start).min(self.high_watermark))
    }

    /// The first batch with a time of at least `target` that ends at or behind `from`.
    pub(super) fn by_time(&self, target: i64, from: Offset) -> Option<Offset> {
        let reaches = |batch: &&Written| {
            batch.header.max_timestamp.0 >= target && batch.header.last_offset() >= from
        };
        self.readable().find(reaches).map(|batch| batch.header.base_offset)
    }

    /// The first batch with the largest time.
    pub(super) fn by_max_time(&self) -> Option<Offset> {
        let largest = self.readable().map(|batch| batch.header.max_timestamp.0).max()?;
        if largest < 0 { None } else { self.by_time(largest, self.start) }
    }
}

/// The sequence `distance` behind another; they begin again behind the largest.
pub(super) fn sequence_after(sequence: i32, distance: i64) -> i32 {
    ((i64::from(sequence) + distance) % (1 << 31)) as i32
}
