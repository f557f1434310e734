//! The state of one shard of the transaction coordinator: the transactional ids that a partition of
//! `__transaction_state` holds. Pure: time and fresh producer ids are arguments, what is to be done
//! is returned as [`Effects`].
//!
//! ```text
//!   request ──> the next state of an id, a record, replayed here at once ──> appended ──> answer
//!                                  committed in a Prepare state: markers <──────┘
//!   outcomes of markers ──> none left: the Complete state, as a record
//! ```
//! - **Committed**: what a request is answered, errors as well, is committed; markers are sent for
//!   nothing less. While a change of an id is on its way, the next request is decided by what will
//!   be, and is answered behind it. Kafka sends its sender away (`CONCURRENT_TRANSACTIONS`).
//! - **Markers** that are missing are in no record: a new coordinator sends all of them again, and
//!   partitions take a marker twice ([`ending`]).
//! - **Fresh producer ids** are asked for by the shell: who needs one says so, and is asked again
//!   with one in hand.
//!
//! Invariants (`check`): each transaction's own; an id with markers on their way is in a Prepare
//! state that is committed; nothing is committed behind `end`.
//!
//! Source: `TransactionCoordinator`, `TransactionStateManager`,
//! `TransactionMarkerChannelManager` of Kafka.

mod add;
mod admin;
mod effect;
mod end;
mod ending;
mod init;
mod overdue;
mod port;
mod record;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::TransactionsConfig;
use ottla_protocol::coordinator::RecordError;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, Offset, ProducerId};

pub use self::add::{AddPartitions, VerifyPartitions};
pub use self::admin::{DescribedTransaction, ListFilter, ListedTransaction};
pub use self::effect::{Answer, Effects, Errand, Then};
pub use self::end::EndTransaction;
use self::ending::Ending;
pub use self::init::InitProducerId;
use self::overdue::TimerKey;
pub use self::port::{MarkerPort, MarkersWritten, TxnCheck, TxnMarker};
pub use self::state::{EPOCH_BUMP, Outcome, Producer, Transaction, TransactionState};
use crate::names::names;
use crate::shard_core::{LoadedRecord, Now, Part, ShardCore, Ticket, Write};
use crate::timeline::Timeline;
use crate::timers::Timers;

names! {
    /// A transactional id.
    TransactionalId,
}

/// One shard of the transaction coordinator.
pub struct TxnShard {
    config: Arc<TransactionsConfig>,
    transactions: Timeline<TransactionalId, Arc<Transaction>>,
    /// Transactions whose markers are on their way.
    endings: BTreeMap<TransactionalId, Ending>,
    timers: Timers<TimerKey>,
    /// The cluster's `transaction.version`.
    version: i16,
    /// The epoch in which the log is led here: markers have it.
    epoch: LeaderEpoch,
    /// Where the next record goes.
    end: Offset,
}

impl TxnShard {
    /// The cluster's `transaction.version` is this.
    pub fn version_changed(&mut self, version: i16) {
        self.version = version;
    }

    /// Writes the next state of an id, or that it is forgotten, and replays it.
    fn write(
        &mut self,
        now: Now,
        id: &TransactionalId,
        next: Option<Transaction>,
        then: Then,
        out: &mut Effects,
    ) {
        let at = self.end;
        let record = record::encode(id, next.as_ref(), self.version);
        match next {
            Some(next) => {
                self.expect_overdue(now, next.state);
                let next = Transaction { record: at, ..next };
                self.transactions.put(id.clone(), Arc::new(next), at);
            }
            None => self.transactions.remove(id, at),
        }
        self.end = at.plus(1);
        let records = vec![record];
        out.writes.push(Write { at, records, part: Part::None, then });
    }

    /// Answers what was decided by what is known of an id: at once, or when that is committed.
    fn answer(
        &self,
        id: &TransactionalId,
        ticket: Ticket,
        told: Result<Answer, ErrorCode>,
        out: &mut Effects,
    ) {
        if self.transactions.is_changing(id) {
            let then = Then::Answer(ticket, told);
            let (at, records) = (self.end, Vec::new());
            out.writes.push(Write { at, records, part: Part::None, then });
        } else {
            out.answer(ticket, told);
        }
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        self.transactions.check();
        self.timers.check();
        for (id, transaction) in self.transactions.range(..) {
            transaction.check();
            assert!(transaction.record < self.end, "{id}: behind the end");
        }
        for (id, ending) in &self.endings {
            let committed = self.transactions.committed(id).expect("what ends is there");
            assert!(committed.state.is_prepared(), "{id} ends in {:?}", committed.state);
            assert_eq!(committed.record, ending.record, "{id} ends by its record");
        }
    }
}

impl ShardCore for TxnShard {
    type Config = TransactionsConfig;
    type Answer = Answer;
    type Then = Then;
    type Errand = Errand;

    fn new(config: Arc<TransactionsConfig>) -> TxnShard {
        TxnShard {
            config,
            transactions: Timeline::default(),
            endings: BTreeMap::new(),
            timers: Timers::default(),
            version: 0,
            epoch: LeaderEpoch(0),
            end: Offset::ZERO,
        }
    }

    fn load(&mut self, record: LoadedRecord<'_>) -> Result<(), RecordError> {
        self.end = record.offset.plus(1);
        match record::decode(record)? {
            None => {}
            Some((id, Some(loaded))) => self.transactions.load(id, Arc::new(loaded)),
            Some((id, None)) => drop(self.transactions.unload(&id)),
        }
        Ok(())
    }

    /// Nobody's transactions have parts in this log.
    fn load_marker(&mut self, offset: Offset, _: ProducerId, _: bool) {
        self.end = offset.plus(1);
    }

    fn led_in(&mut self, epoch: LeaderEpoch) {
        self.epoch = epoch;
    }

    fn loaded(&mut self, now: Now, end: Offset, out: &mut Effects) {
        self.end = end;
        let all: Vec<_> =
            self.transactions.range(..).map(|(id, it)| (id.clone(), it.state)).collect();
        for (id, state) in all {
            self.expect_overdue(now, state);
            self.follow_markers(now, &id, out);
        }
    }

    fn commit(&mut self, now: Now, end: Offset, out: &mut Effects) {
        let mut changed = Vec::new();
        self.transactions.commit(end, |id, _| changed.push(id));
        for id in changed {
            self.follow_markers(now, &id, out);
        }
    }

    fn revert(&mut self, now: Now, start: Offset, _: ErrorCode, _: &mut Effects) {
        let mut changed = Vec::new();
        self.transactions.revert(start, |id, _| changed.push(id));
        self.end = start;
        let states: Vec<_> = changed
            .iter()
            .filter_map(|id| self.transactions.get(id).map(|known| known.state))
            .collect();
        // A transaction that was about to end goes on, and may take too long.
        for state in states {
            self.expect_overdue(now, state);
        }
    }

    fn finish(&mut self, now: Now, then: Then, result: Result<(), ErrorCode>, out: &mut Effects) {
        match then {
            Then::Nothing => {}
            Then::Answer(ticket, told) => out.answer(ticket, result.and(told)),
            Then::Completed(id) => self.completion_kept(now, &id, result),
        }
    }

    /// Whoever waits does so for a record.
    fn resign(&mut self, _: ErrorCode, _: &mut Effects) {}

    fn next_deadline(&self) -> Option<MonoTime> {
        self.timers.next()
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        while let Some(key) = self.timers.pop(now.mono) {
            match key {
                TimerKey::Timeouts => self.abort_timed_out(now, out),
                TimerKey::Expiry => self.expire(now, out),
                TimerKey::Markers(id) => self.send_markers(&id, out),
                TimerKey::Completion(id) => self.complete(now, &id, out),
            }
        }
    }
}
