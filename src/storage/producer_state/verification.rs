//! Transactions whose first batch is on its way into the partition (KIP-890).
//!
//! ```text
//!   first batch ──> begin: a guard ──> the coordinator knows of the partition ──> append
//!                     └─ its end comes in between: the guard is void
//! ```
//! KIP-890: the end of a transaction has a higher epoch than its batches. So the marker of the
//! transaction before, which may still be on its way when the next one's first batch comes, is not
//! taken for the end of that one.
//!
//! Nothing is written outside of what the coordinator knows of: else nobody would end it. A batch
//! of an open transaction needs no guard, as a marker would have closed it.
//!
//! While a producer's first batch has not been appended, those behind it must not go first. Lost
//! at a restart, and with a truncation: who asked then asks again.
//!
//! Source: `VerificationStateEntry`, `UnifiedLog.maybeStartTransactionVerification`.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::batch::BatchHeader;
use ottla_types::{ProducerEpoch, ProducerId, Timestamp};

use super::ProducerState;

/// Names a verification: another one of the same producer has another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationGuard(pub u64);

/// A batch that may be the first of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstBatch {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Its first sequence number; -1 of a coordinator's.
    pub sequence: i32,
    /// Whether its client lets the partition be added to the transaction by this.
    pub adds: bool,
}

/// What has to be done before a transactional batch is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verification {
    /// Nothing: its transaction is open here.
    NotNeeded,
    /// The coordinator is to be asked; the append shows this.
    Needed(VerificationGuard),
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    guard: VerificationGuard,
    since: Timestamp,
    epoch: ProducerEpoch,
    lowest_sequence: i32,
    adds: bool,
}

/// What is being verified in a partition.
#[derive(Default)]
pub struct Verifications {
    begun: BTreeMap<ProducerId, Begun>,
    guards: u64,
}

impl Verifications {
    /// Most producers at a time; the one that began first goes when there are more, and begins
    /// anew when it comes again.
    const PRODUCERS_MAX: usize = 10_000;

    /// A transactional batch wants to be appended.
    pub fn begin(
        &mut self,
        batch: FirstBatch,
        known: &ProducerState,
        now: Timestamp,
    ) -> Verification {
        let FirstBatch { producer_id: id, producer_epoch: epoch, sequence, adds } = batch;
        if known.has_open(id, epoch) {
            return Verification::NotNeeded;
        }
        if let Some(begun) = self.begun.get_mut(&id) {
            if epoch > begun.epoch {
                (begun.epoch, begun.lowest_sequence) = (epoch, sequence);
                begun.adds = adds;
            } else if epoch == begun.epoch {
                begun.lowest_sequence = begun.lowest_sequence.min(sequence);
            }
            return Verification::Needed(begun.guard);
        }
        if self.begun.len() == Self::PRODUCERS_MAX {
            let oldest = self.begun.iter().min_by_key(|(_, begun)| begun.since);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.begun.remove(&id));
        }
        self.guards += 1;
        let guard = VerificationGuard(self.guards);
        let begun = Begun { guard, since: now, epoch, lowest_sequence: sequence, adds };
        self.begun.insert(id, begun);
        Verification::Needed(guard)
    }

    /// Whether a producer's verification has this guard.
    #[must_use]
    pub fn is_guarded(&self, producer: ProducerId, guard: Option<VerificationGuard>) -> bool {
        let begun = self.begun.get(&producer);
        begun.is_some_and(|begun| Some(begun.guard) == guard)
    }

    /// Whether another batch of the producer must come first: one with a lower number was seen, or,
    /// of a client that begins each transaction with number 0, nothing at all.
    #[must_use]
    pub fn forbids(&self, batch: &BatchHeader, known: &ProducerState) -> bool {
        self.begun.get(&batch.producer_id).is_some_and(|begun| {
            let sequence = batch.base_sequence;
            sequence > begun.lowest_sequence
                || (begun.adds && sequence != 0 && !known.has_batches(batch.producer_id))
        })
    }

    /// A batch of the producer's transaction, or its end, was appended.
    pub fn end(&mut self, appended: &BatchHeader) {
        let is_of_before = |begun: &Begun| {
            appended.attributes.is_control() && begun.adds && appended.producer_epoch <= begun.epoch
        };
        let id = appended.producer_id;
        if self.begun.get(&id).is_some_and(|begun| !is_of_before(begun)) {
            self.begun.remove(&id);
        }
    }

    /// Forgets what began longer than `age_max` ago.
    pub fn expire(&mut self, now: Timestamp, age_max: Duration) {
        let age_max = i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX);
        self.begun.retain(|_, begun| now.0.saturating_sub(begun.since.0) < age_max);
    }
}
