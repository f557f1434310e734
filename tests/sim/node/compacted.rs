//! Topics that are compacted: what may be gone of them, and what must be there.
//!
//! Their records have a few keys, and every seventh is a tombstone, which says in a header who
//! wrote it. An offset that a reader does not get is gone: for ever, and, when everything that was
//! written is known, only for a later record with the same key, or because it is a tombstone whose
//! time has come. So the last record of each key is there, in its place, whatever befell the broker
//! while it compacted.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind};
use ottla_test_client::ReadRecord;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::model::Value;
use crate::mutant::CleanerBug;

/// Keys of a topic.
const KEYS: u32 = 5;

/// The key of a value's record.
pub fn key_of(value: Value) -> u32 {
    (value.producer + value.number / 2) % KEYS
}

/// Whether a value's record is a tombstone.
pub fn is_tombstone(value: Value) -> bool {
    value.number % 7 == 3
}

/// A batch of records with keys. `producer` is its id, epoch and first sequence. With
/// [`CleanerBug::KeysCollide`] two keys are one to the broker.
pub fn batch(
    now: Timestamp,
    producer: (i64, i16, i32),
    values: &[Value],
    fill: usize,
    bug: Option<CleanerBug>,
) -> Bytes {
    let (id, epoch, sequence) = producer;
    let mut batch = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), now)
        .with_producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    for value in values {
        let key = match bug {
            Some(CleanerBug::KeysCollide) => key_of(*value) / 2,
            _ => key_of(*value),
        };
        let key = key.to_be_bytes();
        if is_tombstone(*value) {
            let name = value.encode(0);
            batch.push_with_headers(now, Some(&key), None, &[("who", Some(&name))]);
        } else {
            batch.push(Some(&key), Some(&value.encode(fill)));
        }
    }
    batch.build().into()
}

/// The bytes that name the value of a record that was read.
pub fn named(record: &ReadRecord) -> &[u8] {
    if record.is_tombstone { &record.header } else { &record.value }
}

/// Offset behind the last whole batch; a batch may have lost its last records, or all.
pub fn end_of(mut batches: &[u8]) -> Option<i64> {
    let mut end = None;
    while batches.len() >= BATCH_OVERHEAD {
        let Ok(header) = BatchHeader::read(batches) else { break };
        let Some(rest) = batches.get(header.size()..) else { break };
        end = Some(header.next_offset().0);
        batches = rest;
    }
    end
}

/// Offsets that readers did not get, and when that was told first.
#[derive(Default)]
pub struct Gone(BTreeMap<i64, u64>);

impl Gone {
    /// A reader did not get an offset.
    pub fn note(&mut self, offset: i64, now: u64) {
        self.0.entry(offset).or_insert(now);
    }

    pub fn contains(&self, offset: i64) -> bool {
        self.0.contains_key(&offset)
    }

    /// A reader that asked at `asked` got this offset.
    pub fn check_back(&self, offset: i64, asked: u64) -> Result<(), String> {
        match self.0.get(&offset) {
            Some(since) if *since <= asked => Err(format!("{offset} was gone, and is back")),
            _ => Ok(()),
        }
    }

    /// What is gone and should not be, now that every record that was written is known.
    /// `keeps_tombstones` says whether their time has not come.
    pub fn check_all(
        &self,
        records: &BTreeMap<i64, Value>,
        start: i64,
        keeps_tombstones: bool,
    ) -> Result<(), String> {
        let last: BTreeMap<u32, i64> =
            records.iter().map(|(offset, value)| (key_of(*value), *offset)).collect();
        for offset in self.0.keys().filter(|offset| **offset >= start) {
            let Some(value) = records.get(offset) else { continue };
            let may_go = is_tombstone(*value) && !keeps_tombstones;
            if last[&key_of(*value)] == *offset && !may_go {
                return Err(format!("{value:?} at {offset}, the last of its key, is gone"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u32) -> Value {
        Value { producer: 0, number }
    }

    #[test]
    fn the_last_of_a_key_must_stay_and_what_is_gone_stays_gone() {
        // Numbers 0 and 1 have one key, 2 and 3 the next, and 3 is a tombstone.
        let records: BTreeMap<i64, Value> = (0..4).map(|at| (at, value(at as u32))).collect();
        let gone = |offset| {
            let mut gone = Gone::default();
            gone.note(offset, 5);
            gone
        };
        assert!(gone(0).check_all(&records, 0, true).is_ok());
        assert!(gone(1).check_all(&records, 0, true).is_err());
        assert!(gone(1).check_all(&records, 2, true).is_ok(), "below the start");
        assert!(gone(3).check_all(&records, 0, true).is_err());
        assert!(gone(3).check_all(&records, 0, false).is_ok());
        assert!(gone(0).check_back(0, 4).is_ok(), "asked before");
        assert!(gone(0).check_back(0, 5).is_err() && gone(0).check_back(1, 5).is_ok());
    }

    #[test]
    fn a_batch_says_who_wrote_each_record() {
        let values = [value(2), value(3)];
        let bytes = batch(Timestamp(1), (1, 0, 0), &values, 30, None);
        let records = ottla_test_client::records_of(&bytes).unwrap();
        let names: Vec<_> = records.iter().map(|it| Value::decode(named(it))).collect();
        assert_eq!(names, [Some(values[0]), Some(values[1])]);
        assert_eq!(end_of(&bytes), Some(2));
    }
}
