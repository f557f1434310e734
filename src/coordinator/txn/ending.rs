//! From a Prepare state that is committed to the Complete state: markers.
//!
//! ```text
//!   PrepareX committed ──> markers to all partitions ──> outcomes
//!                              ^                            ├─ written, or the partition is gone
//!                              └── pause, twice as long ────┤
//!                                                           └─ none is left: CompleteX is written
//! ```
//! Markers are sent in no other order than that of records: the Complete state of a transaction is
//! in the log before the next one can end. Who was fenced sends nothing any more: somebody else
//! has ended the transaction, or will when this log is loaded.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_types::{ErrorCode, Offset, TopicPartition};

use super::effect::{Effects, Errand, Then};
use super::overdue::TimerKey;
use super::port::TxnMarker;
use super::state::Outcome;
use super::{TransactionalId, TxnShard};
use crate::shard_core::Now;

/// First and longest pause before markers are written again.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Pause before the Complete state is written again.
const COMPLETION_PAUSE: Duration = Duration::from_millis(100);

/// A transaction whose markers are on their way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    /// The record by which it ends.
    pub(super) record: Offset,
    /// Partitions whose markers are not known to be written.
    pub(super) unwritten: BTreeSet<TopicPartition>,
    /// How long to wait after the next error.
    pause: Duration,
}

impl TxnShard {
    /// Looks at what is committed of an id: markers are sent when it comes to end, and are no
    /// matter any more when it has ended.
    pub(super) fn follow_markers(&mut self, now: Now, id: &TransactionalId, out: &mut Effects) {
        let committed = self.transactions.committed(id);
        let Some(committed) = committed.filter(|it| it.state.is_prepared()) else {
            self.forget_markers(id);
            return;
        };
        let record = committed.record;
        if self.endings.get(id).is_some_and(|ending| ending.record == record) {
            return;
        }
        let unwritten = committed.partitions.clone();
        self.forget_markers(id);
        self.endings.insert(id.clone(), Ending { record, unwritten, pause: PAUSE_MIN });
        self.go_on(now, id, out);
    }

    fn forget_markers(&mut self, id: &TransactionalId) {
        if self.endings.remove(id).is_some() {
            self.timers.cancel(&TimerKey::Markers(id.clone()));
            self.timers.cancel(&TimerKey::Completion(id.clone()));
        }
    }

    fn go_on(&mut self, now: Now, id: &TransactionalId, out: &mut Effects) {
        match self.endings.get(id) {
            Some(ending) if ending.unwritten.is_empty() => self.complete(now, id, out),
            _ => self.send_markers(id, out),
        }
    }

    /// Has markers written to all partitions that have none.
    pub(super) fn send_markers(&self, id: &TransactionalId, out: &mut Effects) {
        let Some(ending) = self.endings.get(id) else { return };
        let ended = self.transactions.committed(id).expect("what ends is there");
        let marker = |partition: &TopicPartition| TxnMarker {
            producer_id: ended.producer.id,
            producer_epoch: ended.producer.epoch,
            commit: ended.outcome() == Outcome::Commit,
            coordinator_epoch: self.epoch.0,
            transaction_version: ended.client_version,
            partition: partition.clone(),
        };
        let markers = ending.unwritten.iter().map(marker).collect();
        out.errands.push(Errand::Markers { id: id.clone(), record: ending.record, markers });
    }

    /// What came of markers that were to be written for the end by a record.
    pub fn markers_told(
        &mut self,
        now: Now,
        id: &TransactionalId,
        record: Offset,
        outcomes: &[(TopicPartition, Result<(), ErrorCode>)],
        out: &mut Effects,
    ) {
        let Some(ending) = self.endings.get_mut(id).filter(|it| it.record == record) else {
            return;
        };
        let mut is_fenced = false;
        for (partition, outcome) in outcomes {
            match outcome {
                // The partition is gone, and its part of the transaction with it.
                Ok(()) | Err(ErrorCode::UnknownTopicOrPartition) => {
                    ending.unwritten.remove(partition);
                }
                Err(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => {
                    is_fenced = true;
                }
                Err(_) => {}
            }
        }
        if is_fenced {
            return;
        }
        if ending.unwritten.is_empty() {
            return self.complete(now, id, out);
        }
        let at = now.mono.after(ending.pause);
        ending.pause = PAUSE_MAX.min(ending.pause * 2);
        self.timers.set(TimerKey::Markers(id.clone()), at);
    }

    /// All markers are written: the end is complete.
    pub(super) fn complete(&mut self, now: Now, id: &TransactionalId, out: &mut Effects) {
        let Some(record) = self.endings.get(id).map(|ending| ending.record) else { return };
        let ended = self.transactions.get(id).filter(|it| it.record == record);
        let Some(next) = ended.map(|ended| ended.completed(now.wall)) else { return };
        self.write(now, id, Some(next), Then::Completed(id.clone()), out);
    }

    /// The Complete state was committed, or is late, or could not be kept: then it is written
    /// again.
    pub(super) fn completion_kept(
        &mut self,
        now: Now,
        id: &TransactionalId,
        result: Result<(), ErrorCode>,
    ) {
        let ends_still = |known: &std::sync::Arc<super::Transaction>| known.state.is_prepared();
        if result.is_err()
            && self.endings.contains_key(id)
            && self.transactions.get(id).is_some_and(ends_still)
        {
            let at = now.mono.after(COMPLETION_PAUSE);
            self.timers.set(TimerKey::Completion(id.clone()), at);
        }
    }
}
