//! EndTxn: a producer commits or aborts its transaction.
//!
//! The classic protocol: an end that was asked for and is complete may be asked for again, which
//! cannot be told from the end of a next transaction that has no partitions; a delayed one ends
//! whatever transaction of the same epoch is open.
//!
//! KIP-890: each end raises the epoch, so that a request tells which transaction it is about. Here
//! "again" is a request with the epoch below the current one.
//!
//! | | abort, again | abort | commit, again | commit |
//! |---|---|---|---|---|
//! | Empty | fenced | aborts | fenced | `INVALID_TXN_STATE` |
//! | Ongoing | fenced | aborts | fenced | commits |
//! | CompleteAbort | done | aborts | `INVALID_TXN_STATE` | `INVALID_TXN_STATE` |
//! | CompleteCommit | `INVALID_TXN_STATE` | aborts | done | `INVALID_TXN_STATE` |
//!
//! An abort of nothing raises the epoch: a producer whose first batch was refused does not know
//! whether the transaction has begun.

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::effect::{Answer, Effects, Then};
use super::state::{EPOCH_BUMP, Outcome, Producer, Transaction, TransactionState};
use super::{TransactionalId, TxnShard};
use crate::shard_core::{Now, Ticket};

/// A transaction that is to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndTransaction {
    /// Whose it is.
    pub id: TransactionalId,
    /// Who asks.
    pub producer: Producer,
    /// How it ends.
    pub outcome: Outcome,
    /// `transaction.version` that the client speaks.
    pub client_version: i16,
    /// A producer id that nobody has, if the shell got one.
    pub fresh: Option<ProducerId>,
}

/// What becomes of a request.
enum Decision {
    /// The transaction ends: this is its state until the markers are written.
    Ends,
    /// It has ended so.
    HasEnded,
}

use Outcome::{Abort, Commit};
use TransactionState::{CompleteAbort, CompleteCommit, Empty, Ongoing};

impl TxnShard {
    /// Ends a transaction. Answered with [`Answer::Ended`] when it is kept how, or
    /// [`Answer::NeedsProducerId`].
    ///
    /// Errors: `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`; `CONCURRENT_TRANSACTIONS` while it
    /// ends already; `INVALID_TXN_STATE`.
    pub fn end_transaction(
        &mut self,
        now: Now,
        request: &EndTransaction,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = &request.id;
        let is_told = request.client_version >= EPOCH_BUMP;
        let known = self.transactions.get(id).ok_or(ErrorCode::InvalidProducerIdMapping);
        let decided = known.and_then(|known| match is_told {
            true => decide(known, request).map(|decision| (known, decision)),
            false => decide_classic(known, request).map(|decision| (known, decision)),
        });
        match decided {
            Err(error) => self.answer(id, ticket, Err(error), out),
            Ok((known, Decision::HasEnded)) => {
                let told = Answer::Ended(is_told.then_some(known.producer));
                self.answer(id, ticket, Ok(told), out);
            }
            Ok((known, Decision::Ends)) => {
                let is_last = is_told && known.producer.is_exhausted();
                if is_last && request.fresh.is_none() {
                    return out.answer(ticket, Ok(Answer::NeedsProducerId));
                }
                let fresh = request.fresh.filter(|_| is_last);
                let version = if is_told { request.client_version } else { 0 };
                let next = known.prepared(request.outcome, version, fresh, now.wall);
                let answer = Answer::Ended(is_told.then_some(next.producer_after()));
                self.write(now, id, Some(next), Then::Answer(ticket, Ok(answer)), out);
            }
        }
    }
}

fn decide_classic(known: &Transaction, request: &EndTransaction) -> Result<Decision, ErrorCode> {
    if known.producer.id != request.producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if known.producer.epoch != request.producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match (known.state, request.outcome) {
        (state, _) if state.is_prepared() => Err(ErrorCode::ConcurrentTransactions),
        (Ongoing, _) => Ok(Decision::Ends),
        (CompleteCommit, Commit) | (CompleteAbort, Abort) => Ok(Decision::HasEnded),
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

fn decide(known: &Transaction, request: &EndTransaction) -> Result<Decision, ErrorCode> {
    // Before all else: behind the last epoch the producer has an id already that is not this
    // one's before the markers are written.
    if known.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let Producer { id, epoch } = request.producer;
    let is_behind_last = known.previous_producer_id == id
        && request.producer.is_exhausted()
        && known.producer.epoch == ProducerEpoch(0);
    if known.producer.id != id && !is_behind_last {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_current = known.producer.epoch == epoch && known.producer.id == id;
    let is_again = is_behind_last || known.producer.epoch.0 == epoch.0.wrapping_add(1);
    let may_be_again = matches!(known.state, CompleteCommit | CompleteAbort);
    if !(is_current || is_again && may_be_again) {
        return Err(ErrorCode::ProducerFenced);
    }
    match (known.state, request.outcome) {
        (Ongoing, _) => Ok(Decision::Ends),
        (CompleteCommit, Commit) | (CompleteAbort, Abort) if !is_current => Ok(Decision::HasEnded),
        (Empty | CompleteCommit | CompleteAbort, Abort) if is_current => Ok(Decision::Ends),
        _ => Err(ErrorCode::InvalidTxnState),
    }
}
