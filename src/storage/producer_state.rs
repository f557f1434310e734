//! What a partition knows of its idempotent producers (KIP-98): the last batches of each.
//!
//! A batch of a known producer must follow the last one by its sequence number; one of the last
//! five that comes again is answered as before and not written again. Pure; rebuilt from a
//! snapshot and the log behind it. Sequence numbers run from 0 to 2^31 - 1 and wrap to 0.
//!
//! Deliberately absent so far: transactions. Their fields in snapshots are written as "none".
//! Source: `ProducerStateManager`, `ProducerAppendInfo`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use ottla_protocol::batch::{BatchHeader, crc32c};
use ottla_protocol::{DecodeError, Decoded, Reader, Writer};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches of a producer that are recognized when they come again.
const BATCHES_KEPT: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;
const CRC_END: usize = 6;

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct AppendedBatch {
    last_sequence: i32,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Producer {
    epoch: ProducerEpoch,
    /// Oldest first, at most [`BATCHES_KEPT`].
    batches: VecDeque<AppendedBatch>,
    last_timestamp: Timestamp,
}

/// The producers of a partition.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, Producer>,
}

/// What becomes of a producer's batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerVerdict {
    /// It follows the last one.
    Append,
    /// It was appended before.
    Duplicate {
        /// Offset of its first record then.
        base_offset: Offset,
        /// Offset of its last record then.
        last_offset: Offset,
        /// Its time then.
        timestamp: Timestamp,
    },
    /// Batches are missing before it, or it is an older one.
    OutOfOrder,
    /// A newer producer with this id has written.
    OldEpoch,
}

/// Unknown producers whose batch found no room: what they sent behind it must not go first.
///
/// A known producer's sequences say that already. Lost at a restart, when the connections are lost
/// on which something could still come behind.
#[derive(Default)]
pub struct RefusedFirsts {
    batches: BTreeMap<ProducerId, (ProducerEpoch, i32)>,
}

impl RefusedFirsts {
    /// Most producers that are remembered; those beyond get what Kafka gives everybody.
    const PRODUCERS_MAX: usize = 10_000;

    /// Notes a batch that was in order and found no room.
    pub fn note(&mut self, batch: &BatchHeader, known: &ProducerState) {
        let is_unknown = !known.producers.contains_key(&batch.producer_id);
        if batch.has_producer_id() && is_unknown && self.batches.len() < Self::PRODUCERS_MAX {
            let first = (batch.producer_epoch, batch.base_sequence);
            self.batches.entry(batch.producer_id).or_insert(first);
        }
    }

    /// Whether another batch of the producer must come first.
    #[must_use]
    pub fn forbids(&self, batch: &BatchHeader) -> bool {
        self.batches.get(&batch.producer_id).is_some_and(|(epoch, sequence)| {
            *epoch == batch.producer_epoch && *sequence != batch.base_sequence
        })
    }

    /// The producer's sequences are known from now on.
    pub fn forget(&mut self, producer: ProducerId) {
        self.batches.remove(&producer);
    }
}

impl AppendedBatch {
    fn first_sequence(&self) -> i32 {
        // Sequences wrap at 2^31: the sign bit falls away.
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }

    fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }
}

impl ProducerState {
    /// Number of producers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Judges a client's batch.
    #[must_use]
    pub fn judge(&self, batch: &BatchHeader) -> ProducerVerdict {
        let Some(producer) = self.producers.get(&batch.producer_id) else {
            // Unknown or forgotten: any sequence may be its first here.
            return ProducerVerdict::Append;
        };
        if batch.producer_epoch < producer.epoch {
            return ProducerVerdict::OldEpoch;
        }
        if batch.producer_epoch > producer.epoch {
            let begins = batch.base_sequence == 0;
            return if begins { ProducerVerdict::Append } else { ProducerVerdict::OutOfOrder };
        }
        if let Some(earlier) = producer.find(batch) {
            return ProducerVerdict::Duplicate {
                base_offset: earlier.base_offset(),
                last_offset: earlier.last_offset,
                timestamp: earlier.timestamp,
            };
        }
        if producer.expects(batch.base_sequence) {
            ProducerVerdict::Append
        } else {
            ProducerVerdict::OutOfOrder
        }
    }

    /// Notes an appended batch; `header` has its final offsets and times.
    pub fn note(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() || header.attributes.is_control() {
            return;
        }
        let batch = AppendedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        };
        let producer = self.producers.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: Timestamp::NONE,
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
        producer.last_timestamp = header.max_timestamp;
    }

    /// Fills in batches before the last one, which a snapshot does not hold, from a state that was
    /// built of a piece of the log in front of the snapshot.
    pub fn recall(&mut self, earlier: &ProducerState) {
        for (id, producer) in &mut self.producers {
            if let Some(other) = earlier.producers.get(id)
                && other.epoch == producer.epoch
                && other.batches.back() == producer.batches.back()
            {
                producer.batches.clone_from(&other.batches);
            }
        }
    }

    /// Forgets producers that were silent for longer than `age_max`.
    pub fn expire(&mut self, now: Timestamp, age_max: Duration) {
        let age_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        self.producers
            .retain(|_, producer| now.0.saturating_sub(producer.last_timestamp.0) < age_max);
    }

    /// The content of a `.snapshot` file.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.i16(SNAPSHOT_VERSION);
        writer.u32(0);
        writer.i32(i32::try_from(self.producers.len()).expect("fewer than 2^31 producers"));
        for (id, producer) in &self.producers {
            let last = producer.batches.back();
            writer.i64(id.0);
            writer.i16(producer.epoch.0);
            writer.i32(last.map_or(-1, |batch| batch.last_sequence));
            writer.i64(last.map_or(-1, |batch| batch.last_offset.0));
            writer.i32(last.map_or(0, |batch| batch.offset_delta));
            writer.i64(producer.last_timestamp.0);
            writer.i32(-1); // coordinator epoch
            writer.i64(-1); // first offset of an open transaction
        }
        let mut bytes = writer.into_bytes();
        let crc = crc32c(&bytes[CRC_END..]);
        bytes[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the content of a `.snapshot` file.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged; the state is then rebuilt from the log.
    pub fn from_snapshot(bytes: &[u8]) -> io::Result<ProducerState> {
        read_snapshot(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Producer {
    fn find(&self, batch: &BatchHeader) -> Option<&AppendedBatch> {
        self.batches.iter().find(|earlier| {
            earlier.first_sequence() == batch.base_sequence
                && earlier.last_sequence == batch.last_sequence()
        })
    }

    fn expects(&self, sequence: i32) -> bool {
        match self.batches.back() {
            None => true,
            Some(last) => sequence == last.last_sequence.wrapping_add(1) & i32::MAX,
        }
    }
}

fn read_snapshot(bytes: &[u8]) -> Decoded<ProducerState> {
    let mut reader = Reader::new(bytes);
    if reader.i16()? != SNAPSHOT_VERSION {
        return Err(DecodeError::UnsupportedVersion);
    }
    if reader.u32()? != crc32c(&bytes[CRC_END..]) {
        return Err(DecodeError::UnknownValue);
    }
    let mut state = ProducerState::default();
    for _ in 0..reader.i32()? {
        let id = ProducerId(reader.i64()?);
        let epoch = ProducerEpoch(reader.i16()?);
        let last_sequence = reader.i32()?;
        let last_offset = Offset(reader.i64()?);
        let offset_delta = reader.i32()?;
        let timestamp = Timestamp(reader.i64()?);
        let _coordinator_epoch = reader.i32()?;
        let _transaction_first_offset = reader.i64()?;
        let batch = AppendedBatch { last_sequence, last_offset, offset_delta, timestamp };
        let batches = (last_offset >= Offset::ZERO).then_some(batch).into_iter().collect();
        state.producers.insert(id, Producer { epoch, batches, last_timestamp: timestamp });
    }
    if reader.remaining() > 0 { Err(DecodeError::TrailingBytes) } else { Ok(state) }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch::{BatchBuilder, BatchKind};
    use ottla_types::LeaderEpoch;

    use super::*;

    fn batch(epoch: i16, sequence: i32, records: i32, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(
            BatchKind::Data,
            Offset(offset),
            LeaderEpoch(0),
            Timestamp(1000 + offset),
        )
        .with_producer(ProducerId(5), ProducerEpoch(epoch), sequence);
        (0..records).for_each(|_| builder.push(None, Some(b"v")));
        BatchHeader::read(&builder.build()).expect("just built")
    }

    /// Appends batches of `(epoch, sequence, records)` one after the other.
    fn appended(batches: &[(i16, i32, i32)]) -> ProducerState {
        let mut state = ProducerState::default();
        let mut offset = 0;
        for (epoch, sequence, records) in batches {
            let header = batch(*epoch, *sequence, *records, offset);
            assert_eq!(state.judge(&header), ProducerVerdict::Append);
            state.note(&header);
            offset += i64::from(*records);
        }
        state
    }

    #[test]
    fn batches_follow_each_other() {
        let state = appended(&[(1, 0, 3), (1, 3, 1)]);
        let judge = |epoch, sequence, records| state.judge(&batch(epoch, sequence, records, 0));
        assert_eq!(judge(1, 4, 9), ProducerVerdict::Append);
        assert_eq!(judge(1, 5, 1), ProducerVerdict::OutOfOrder);
        assert_eq!(judge(1, 0, 2), ProducerVerdict::OutOfOrder, "part of an earlier batch");
        assert_eq!(judge(0, 4, 1), ProducerVerdict::OldEpoch);
        assert_eq!(judge(2, 0, 1), ProducerVerdict::Append);
        assert_eq!(judge(2, 4, 1), ProducerVerdict::OutOfOrder, "a new epoch begins at 0");
    }

    #[test]
    fn one_of_the_last_five_is_recognized() {
        let state = appended(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
        let duplicate = ProducerVerdict::Duplicate {
            base_offset: Offset(1),
            last_offset: Offset(2),
            timestamp: Timestamp(1001),
        };
        assert_eq!(state.judge(&batch(0, 1, 2, 99)), duplicate);
        assert_eq!(state.judge(&batch(0, 0, 1, 99)), ProducerVerdict::OutOfOrder);
    }

    #[test]
    fn sequences_wrap() {
        let state = appended(&[(0, i32::MAX - 1, 2), (0, 0, 1)]);
        assert_eq!(state.judge(&batch(0, 1, 1, 9)), ProducerVerdict::Append);
        let state = appended(&[(0, i32::MAX, 3)]);
        assert_eq!(state.judge(&batch(0, 2, 1, 9)), ProducerVerdict::Append);
        let again = state.judge(&batch(0, i32::MAX, 3, 9));
        assert!(matches!(again, ProducerVerdict::Duplicate { .. }));
    }

    #[test]
    fn unknown_producers_begin_anywhere_and_silent_ones_are_forgotten() {
        let mut state = appended(&[(0, 17, 1)]);
        state.expire(Timestamp(1999), Duration::from_secs(1));
        assert_eq!(state.len(), 1);
        state.expire(Timestamp(2000), Duration::from_secs(1));
        assert!(state.is_empty());
    }

    #[test]
    fn what_follows_a_refused_first_batch_waits_for_it() {
        let mut refused = RefusedFirsts::default();
        refused.note(&batch(0, 3, 2, 0), &ProducerState::default());
        refused.note(&batch(0, 5, 2, 0), &ProducerState::default());
        assert!(refused.forbids(&batch(0, 5, 2, 0)));
        assert!(!refused.forbids(&batch(0, 3, 2, 0)));
        assert!(!refused.forbids(&batch(1, 0, 2, 0)), "it has begun anew");
        refused.forget(batch(0, 3, 2, 0).producer_id);
        assert!(!refused.forbids(&batch(0, 5, 2, 0)));
        refused.note(&batch(0, 5, 2, 0), &appended(&[(0, 3, 2)]));
        assert!(!refused.forbids(&batch(0, 7, 2, 0)), "a known producer has its sequences");
    }

    #[test]
    fn snapshots_keep_the_last_batch() {
        assert_eq!(ProducerState::default().to_snapshot().len(), 10);
        let state = appended(&[(1, 0, 1), (1, 1, 2)]);
        let bytes = state.to_snapshot();
        assert_eq!(bytes.len(), 10 + 46);
        let read = ProducerState::from_snapshot(&bytes).expect("valid");
        assert!(matches!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::Duplicate { .. }));
        assert_eq!(read.judge(&batch(1, 3, 1, 0)), ProducerVerdict::Append);
        assert_eq!(read.to_snapshot(), bytes);
    }

    #[test]
    fn earlier_batches_are_recalled_from_the_log() {
        let state = appended(&[(1, 0, 1), (1, 1, 2), (1, 3, 1)]);
        let mut read = ProducerState::from_snapshot(&state.to_snapshot()).expect("valid");
        assert_eq!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::OutOfOrder);
        read.recall(&appended(&[(1, 0, 1), (1, 1, 2)]));
        assert_eq!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::OutOfOrder, "another end");
        read.recall(&state);
        assert!(matches!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::Duplicate { .. }));
    }

    #[test]
    fn damaged_snapshots_are_noticed() {
        let bytes = appended(&[(1, 0, 1)]).to_snapshot();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(ProducerState::from_snapshot(&damaged).is_err(), "byte {at}");
            assert!(ProducerState::from_snapshot(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
