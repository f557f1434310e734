//! What a partition knows of its producers: the last batches of each idempotent one (KIP-98), and
//! the transactions that are open in it.
//!
//! A batch of a known producer must follow the last one by its sequence number; one of the last
//! five that comes again is answered as before and not written again. Sequence numbers run from 0
//! to 2^31 - 1 and wrap to 0. A transaction is open from its first batch to its marker; what it
//! wrote is stable when the marker is replicated.
//!
//! Pure; rebuilt from a snapshot and the log behind it. What is not in the log is beside it:
//! [`RefusedFirsts`], [`Verifications`]. Source: `ProducerStateManager`, `ProducerAppendInfo`,
//! `ProducerStateEntry`.

mod marker;
mod refused;
mod snapshot;
mod transaction;
mod verification;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::batch::BatchHeader;
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use smallvec::SmallVec;

pub use marker::{Marker, MarkerVerdict};
pub use refused::RefusedFirsts;
pub use transaction::{EndedTransaction, TransactionEnd};
pub use verification::{FirstBatch, Verification, VerificationGuard, Verifications};

/// Batches of a producer that are recognized when they come again.
const BATCHES_KEPT: usize = 5;

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
    /// Oldest first, at most [`BATCHES_KEPT`]. Most producers of a partition wrote to it once and
    /// are gone: one batch takes no memory beside this.
    batches: SmallVec<[AppendedBatch; 1]>,
    last_timestamp: Timestamp,
    /// Epoch of the coordinator that wrote the last marker; -1 before one.
    coordinator_epoch: i32,
    /// First offset of the open transaction.
    transaction_start: Option<Offset>,
}

/// What an operator is told of a producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence number of its last record, if it wrote any in this epoch.
    pub last_sequence: Option<i32>,
    /// Time of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator that wrote its last marker; -1 before one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// What the log must keep of a producer, so that its state can be built again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LastRecord {
    /// The batches that end with these offsets: they are recognized when they come again, and the
    /// last one has the last sequence number.
    Data(Vec<Offset>),
    /// The markers of this epoch: there is no data of it.
    Marker(ProducerEpoch),
}

/// The producers of a partition.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, Producer>,
    /// Open transactions by their first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose marker is not below the high watermark yet: first offset and the
    /// marker's.
    unreplicated: BTreeMap<Offset, Offset>,
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
    /// It is not transactional, and the producer's transaction is open.
    OutsideTransaction,
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

    /// The producers by id, as an operator is told of them.
    #[must_use]
    pub fn active(&self) -> Vec<ActiveProducer> {
        let active = |(id, producer): (&ProducerId, &Producer)| ActiveProducer {
            id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.last().map(|batch| batch.last_sequence),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction_start,
        };
        self.producers.iter().map(active).collect()
    }

    /// What the log must keep of each producer.
    #[must_use]
    pub fn last_records(&self) -> BTreeMap<ProducerId, LastRecord> {
        let last = |producer: &Producer| match producer.batches.is_empty() {
            true => LastRecord::Marker(producer.epoch),
            false => LastRecord::Data(producer.batches.iter().map(|b| b.last_offset).collect()),
        };
        self.producers.iter().map(|(id, producer)| (*id, last(producer))).collect()
    }

    /// Whether a transaction of this producer, in this epoch, is open. One of an older epoch may
    /// have ended elsewhere.
    #[must_use]
    pub fn has_open(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        let producer = self.producers.get(&id);
        producer.is_some_and(|it| it.epoch == epoch && it.transaction_start.is_some())
    }

    /// Whether a newer producer with this id has written.
    #[must_use]
    pub fn is_fenced(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers.get(&id).is_some_and(|producer| epoch < producer.epoch)
    }

    /// Whether a batch of this producer is known.
    #[must_use]
    pub(crate) fn has_batches(&self, id: ProducerId) -> bool {
        self.producers.get(&id).is_some_and(|producer| !producer.batches.is_empty())
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
        let is_next = if batch.producer_epoch > producer.epoch {
            batch.base_sequence == 0
        } else if let Some(earlier) = producer.find(batch) {
            return ProducerVerdict::Duplicate {
                base_offset: earlier.base_offset(),
                last_offset: earlier.last_offset,
                timestamp: earlier.timestamp,
            };
        } else {
            producer.expects(batch.base_sequence)
        };
        if !is_next {
            ProducerVerdict::OutOfOrder
        } else if producer.transaction_start.is_some() && !batch.attributes.is_transactional() {
            ProducerVerdict::OutsideTransaction
        } else {
            ProducerVerdict::Append
        }
    }

    /// Notes an appended batch; `header` has its final offsets and times, and `end` is what its
    /// records say when it is a marker. Returns the transaction that it ended.
    pub fn note(
        &mut self,
        header: &BatchHeader,
        end: Option<&TransactionEnd>,
    ) -> Option<EndedTransaction> {
        if !header.has_producer_id() {
            return None;
        }
        match end {
            Some(end) => self.note_end(header, end),
            None if header.attributes.is_control() => {
                // A marker that compaction has emptied still fences.
                if header.record_count == 0 {
                    let producer = producer_of(&mut self.producers, header);
                    producer.last_timestamp = producer.last_timestamp.max(header.max_timestamp);
                }
                None
            }
            None => {
                self.note_data(header);
                None
            }
        }
    }

    fn note_data(&mut self, header: &BatchHeader) {
        let producer = producer_of(&mut self.producers, header);
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.remove(0);
        }
        producer.batches.push(AppendedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        producer.last_timestamp = header.max_timestamp;
        if header.attributes.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
    }

    /// A marker may carry a newer epoch than its transaction (KIP-890).
    fn note_end(&mut self, header: &BatchHeader, end: &TransactionEnd) -> Option<EndedTransaction> {
        let producer = producer_of(&mut self.producers, header);
        producer.coordinator_epoch = end.coordinator_epoch;
        producer.last_timestamp = end.timestamp;
        // A marker without a transaction holds nothing back and is in no index.
        let first_offset = producer.transaction_start.take()?;
        self.open.remove(&first_offset);
        let last_offset = header.base_offset;
        self.unreplicated.insert(first_offset, last_offset);
        let first_open = self.open.keys().next().copied();
        Some(EndedTransaction {
            producer_id: header.producer_id,
            aborted: end.aborted,
            first_offset,
            last_offset,
            last_stable_offset: first_open.unwrap_or(last_offset.plus(1)),
        })
    }

    /// The first offset that a `read_committed` reader must wait for: of an open transaction, or of
    /// one whose marker is not replicated.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        open.into_iter().chain(unreplicated).min().copied()
    }

    /// Everything below `high_watermark` is replicated.
    pub fn replicated(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// Takes over what was known of transactions that end below `end` and are not replicated: no
    /// snapshot tells that.
    pub fn keep_unreplicated(&mut self, before: &ProducerState, end: Offset) {
        let kept = before.unreplicated.iter().filter(|(_, marker)| **marker < end);
        self.unreplicated.extend(kept);
    }

    /// Fills in batches before the last one, which a snapshot does not hold, from a state that was
    /// built of a piece of the log in front of the snapshot.
    pub fn recall(&mut self, earlier: &ProducerState) {
        // A snapshot gives the last batch the time of the producer, which may be a marker's.
        let last = |producer: &Producer| {
            producer.batches.last().map(|batch| (batch.last_sequence, batch.last_offset))
        };
        for (id, producer) in &mut self.producers {
            if let Some(other) = earlier.producers.get(id)
                && other.epoch == producer.epoch
                && last(other) == last(producer)
            {
                producer.batches.clone_from(&other.batches);
            }
        }
    }

    /// Forgets producers that were silent for longer than `age_max` and have no open transaction.
    pub fn expire(&mut self, now: Timestamp, age_max: Duration) {
        let age_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        self.producers.retain(|_, producer| {
            let age = now.0.saturating_sub(producer.last_timestamp.0);
            producer.transaction_start.is_some() || age < age_max
        });
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
        match self.batches.last() {
            // Known by a marker only.
            None => sequence == 0,
            Some(last) => sequence == last.last_sequence.wrapping_add(1) & i32::MAX,
        }
    }
}

/// The producer of a batch, in the batch's epoch.
fn producer_of<'a>(
    producers: &'a mut BTreeMap<ProducerId, Producer>,
    header: &BatchHeader,
) -> &'a mut Producer {
    let producer = producers.entry(header.producer_id).or_insert_with(|| Producer {
        epoch: header.producer_epoch,
        batches: SmallVec::new(),
        last_timestamp: Timestamp::NONE,
        coordinator_epoch: -1,
        transaction_start: None,
    });
    if producer.epoch != header.producer_epoch {
        producer.epoch = header.producer_epoch;
        producer.batches.clear();
    }
    producer
}

#[cfg(test)]
mod tests;
