//! InitProducerId: a producer takes a transactional id over (KIP-98), or goes on with it after an
//! error (KIP-360).
//!
//! - Whoever had the id before is fenced by a higher epoch. A transaction that it left open is
//!   aborted first; the new producer asks again until that is complete.
//! - A producer that names itself may ask again: by the epoch that it had before.

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::effect::{Answer, Effects, Then};
use super::state::{EPOCH_BUMP, Producer, Transaction, TransactionState};
use super::{TransactionalId, TxnShard};
use crate::shard_core::{Now, Ticket};

/// A producer that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitProducerId {
    /// Its transactional id, which is not empty.
    pub id: TransactionalId,
    /// How long its transactions may take, ms.
    pub timeout_ms: i32,
    /// Who it is, if it goes on.
    pub expected: Option<Producer>,
    /// A producer id that nobody has, if the shell got one.
    pub fresh: Option<ProducerId>,
}

/// What becomes of a request.
enum Decision {
    /// The producer begins in this state.
    Begins(Transaction),
    /// A transaction is aborted first.
    Aborts(Transaction),
    /// Nothing, without a fresh id.
    NeedsProducerId,
}

impl TxnShard {
    /// A producer begins. Answered with [`Answer::Initialized`] or [`Answer::NeedsProducerId`].
    ///
    /// Errors: `INVALID_TRANSACTION_TIMEOUT`; `CONCURRENT_TRANSACTIONS` while a transaction ends;
    /// `PRODUCER_FENCED` for a producer that is not the last one.
    pub fn init_producer_id(
        &mut self,
        now: Now,
        request: &InitProducerId,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = &request.id;
        match self.decide_init(now, request) {
            Err(error) => self.answer(id, ticket, Err(error), out),
            Ok(Decision::NeedsProducerId) => out.answer(ticket, Ok(Answer::NeedsProducerId)),
            Ok(Decision::Begins(next)) => {
                let answer = Answer::Initialized(next.producer);
                self.write(now, id, Some(next), Then::Answer(ticket, Ok(answer)), out);
            }
            Ok(Decision::Aborts(next)) => {
                let told = Err(ErrorCode::ConcurrentTransactions);
                self.write(now, id, Some(next), Then::Answer(ticket, told), out);
            }
        }
    }

    fn decide_init(&self, now: Now, request: &InitProducerId) -> Result<Decision, ErrorCode> {
        let InitProducerId { timeout_ms, expected, fresh, .. } = *request;
        if timeout_ms <= 0 || timeout_ms > self.config.timeout_max_ms {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(known) = self.transactions.get(&request.id) else {
            let Some(fresh) = fresh else { return Ok(Decision::NeedsProducerId) };
            let epochs = (ProducerEpoch(0), ProducerEpoch::NONE);
            let next = Transaction::unused(fresh).initialized(epochs, timeout_ms, now.wall);
            return Ok(Decision::Begins(next));
        };
        if known.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if expected.is_some_and(|expected| !may_go_on(expected, known)) {
            return Err(ErrorCode::ProducerFenced);
        }
        let is_last = known.producer.is_exhausted();
        if known.state == TransactionState::Ongoing {
            if is_last && self.version >= EPOCH_BUMP && fresh.is_none() {
                return Ok(Decision::NeedsProducerId);
            }
            let fresh = fresh.filter(|_| is_last);
            return Ok(Decision::Aborts(known.fenced(self.version, fresh, now.wall)));
        }
        if is_last && expected.is_none_or(|expected| expected.epoch == known.producer.epoch) {
            let Some(fresh) = fresh else { return Ok(Decision::NeedsProducerId) };
            let last = expected.map_or(ProducerEpoch::NONE, |_| known.producer.epoch);
            return Ok(Decision::Begins(known.rotated(fresh, last, timeout_ms, now.wall)));
        }
        let epochs = next_epochs(expected, known)?;
        Ok(Decision::Begins(known.initialized(epochs, timeout_ms, now.wall)))
    }
}

/// Whether a producer that names itself has, or had last, this transactional id. If its epoch was
/// the last one, another id may have come behind it, in an answer that was lost.
fn may_go_on(expected: Producer, known: &Transaction) -> bool {
    expected.id == known.producer.id
        || (expected.id == known.previous_producer_id && expected.is_exhausted())
}

/// The epoch with which a producer begins, and the one before it.
fn next_epochs(
    expected: Option<Producer>,
    known: &Transaction,
) -> Result<(ProducerEpoch, ProducerEpoch), ErrorCode> {
    let current = known.producer.epoch;
    let raised = ProducerEpoch(current.0 + 1);
    match expected.map(|expected| expected.epoch) {
        None => Ok((raised, ProducerEpoch::NONE)),
        Some(epoch) if epoch == current => Ok((raised, current)),
        // KIP-360: it asks again. Nobody else has begun, for that would have taken the last epoch.
        Some(epoch) if epoch == known.last_epoch => Ok((current, known.last_epoch)),
        Some(_) => Err(ErrorCode::ProducerFenced),
    }
}
