//! What time does: transactions that take too long are aborted, ids that nobody uses are forgotten.
//!
//! Both are looked for at intervals, as Kafka does, and only while there is something to look at.
//! Whether a transaction takes too long is judged by the wall clock: its beginning is a time in a
//! record, which another coordinator may have written.

use ottla_types::{Offset, ProducerId};

use super::effect::{Effects, Errand, Then};
use super::state::{EPOCH_BUMP, Transaction, TransactionState};
use super::{TransactionalId, TxnShard};
use crate::shard_core::Now;

/// What a deadline is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum TimerKey {
    /// Transactions that take too long are to be looked for.
    Timeouts,
    /// Ids that nobody uses are to be looked for.
    Expiry,
    /// Markers are to be written again.
    Markers(TransactionalId),
    /// A Complete state is to be written again.
    Completion(TransactionalId),
}

/// The timeout of transactions in two phases (KIP-939), which Kafka lets take as long as they do.
const NO_TIMEOUT_MS: i32 = i32::MAX;

impl TxnShard {
    /// An id in this state may have to be looked at later.
    pub(super) fn expect_overdue(&mut self, now: Now, state: TransactionState) {
        if state == TransactionState::Ongoing && !self.timers.is_set(&TimerKey::Timeouts) {
            let at = now.mono.after(self.config.abort_interval);
            self.timers.set(TimerKey::Timeouts, at);
        }
        if !self.timers.is_set(&TimerKey::Expiry) {
            let at = now.mono.after(self.config.expiry_interval);
            self.timers.set(TimerKey::Expiry, at);
        }
    }

    /// Aborts transactions that take too long; their producers are fenced.
    pub(super) fn abort_timed_out(&mut self, now: Now, out: &mut Effects) {
        let ongoing = |it: &Transaction| it.state == TransactionState::Ongoing;
        let all: Vec<_> = self.transactions.range(..).filter(|(_, it)| ongoing(it)).collect();
        let is_late = |it: &Transaction| {
            it.timeout_ms != NO_TIMEOUT_MS
                && it.started.0.saturating_add(i64::from(it.timeout_ms)) < now.wall.0
        };
        let has_more = !all.is_empty();
        let late: Vec<_> = all
            .into_iter()
            .filter(|(id, it)| is_late(it) && !self.transactions.is_changing(id))
            .map(|(id, it)| (id.clone(), it.record))
            .collect();
        for (id, record) in late {
            self.abort_with(now, &id, record, None, out);
        }
        if has_more {
            self.expect_overdue(now, TransactionState::Ongoing);
        }
    }

    /// Aborts a transaction that takes too long, if it is still as its record says, with a producer
    /// id that nobody has if one is needed.
    pub fn abort_with(
        &mut self,
        now: Now,
        id: &TransactionalId,
        record: Offset,
        fresh: Option<ProducerId>,
        out: &mut Effects,
    ) {
        let Some(known) = self.transactions.get(id).filter(|it| it.record == record) else {
            return;
        };
        let is_last = known.producer.is_exhausted() && self.version >= EPOCH_BUMP;
        if is_last && fresh.is_none() {
            out.errands.push(Errand::FreshId { id: id.clone(), record });
            return;
        }
        let next = known.fenced(self.version, fresh.filter(|_| is_last), now.wall);
        self.write(now, id, Some(next), Then::Nothing, out);
    }

    /// Forgets ids that nobody has used for long.
    pub(super) fn expire(&mut self, now: Now, out: &mut Effects) {
        let expiration_ms = i64::try_from(self.config.id_expiration.as_millis());
        let expiration_ms = expiration_ms.unwrap_or(i64::MAX);
        let oldest = now.wall.0.saturating_sub(expiration_ms);
        let is_old = |it: &Transaction| it.state.may_expire() && it.updated.0 <= oldest;
        let old: Vec<TransactionalId> = self
            .transactions
            .range(..)
            .filter(|(id, it)| is_old(it) && !self.transactions.is_changing(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in old {
            self.write(now, &id, None, Then::Nothing, out);
        }
        if self.transactions.len() > 0 || !self.transactions.is_settled() {
            self.expect_overdue(now, TransactionState::Empty);
        }
    }
}
