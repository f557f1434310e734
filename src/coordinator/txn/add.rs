//! Partitions of a transaction: a producer adds them (AddPartitionsToTxn, AddOffsetsToTxn), or the
//! partition does on its behalf; and a partition asks whether a batch belongs to one (KIP-890).

use ottla_types::{ErrorCode, TopicPartition};

use super::effect::{Answer, Effects, Then};
use super::state::{Producer, Transaction, TransactionState};
use super::{TransactionalId, TxnShard};
use crate::shard_core::{Now, Ticket};

/// Partitions that a producer writes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddPartitions {
    /// Its transactional id.
    pub id: TransactionalId,
    /// Who it is.
    pub producer: Producer,
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
    /// `transaction.version` that it speaks.
    pub client_version: i16,
}

/// Partitions that a producer is about to write to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyPartitions {
    /// Its transactional id.
    pub id: TransactionalId,
    /// Who it is.
    pub producer: Producer,
    /// The partitions.
    pub partitions: Vec<TopicPartition>,
}

impl TxnShard {
    /// Adds partitions to a transaction; the first ones begin it. Answered with [`Answer::Added`].
    ///
    /// Errors: `CONCURRENT_TRANSACTIONS` while the transaction before it ends;
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`.
    pub fn add_partitions(
        &mut self,
        now: Now,
        request: AddPartitions,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let AddPartitions { id, producer, partitions, client_version } = request;
        let known = match self.open_for(&id, producer) {
            Ok(known) => known,
            Err(error) => return self.answer(&id, ticket, Err(error), out),
        };
        let is_ongoing = known.state == TransactionState::Ongoing;
        let nothing_new = partitions.iter().all(|it| known.partitions.contains(it));
        if nothing_new && (is_ongoing || partitions.is_empty()) {
            return self.answer(&id, ticket, Ok(Answer::Added), out);
        }
        let next = known.with_partitions(partitions, client_version, now.wall);
        self.write(now, &id, Some(next), Then::Answer(ticket, Ok(Answer::Added)), out);
    }

    /// What is known of an id, if this producer has it and may add to its transaction.
    fn open_for(
        &self,
        id: &TransactionalId,
        producer: Producer,
    ) -> Result<&Transaction, ErrorCode> {
        let known = self.transactions.get(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        // Before all else: behind the last epoch a producer has an id already that is not this
        // one's before the markers are written (KIP-890).
        if known.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        has(known, producer)?;
        Ok(known)
    }

    /// Says which partitions are in the transaction. Answered with [`Answer::Verified`], in which
    /// `TRANSACTION_ABORTABLE` is said of others.
    ///
    /// Errors: `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`; `CONCURRENT_TRANSACTIONS` while it
    /// ends.
    pub fn verify_partitions(
        &mut self,
        request: &VerifyPartitions,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let told = self.verify(request);
        self.answer(&request.id, ticket, told.map(Answer::Verified), out);
    }

    fn verify(&self, request: &VerifyPartitions) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let known = self.transactions.get(&request.id);
        let known = known.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        has(known, request.producer)?;
        if known.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let verify = |partition: &TopicPartition| {
            known
                .partitions
                .contains(partition)
                .then_some(())
                .ok_or(ErrorCode::TransactionAbortable)
        };
        Ok(request.partitions.iter().map(verify).collect())
    }
}

/// Whether a transactional id is this producer's.
fn has(known: &Transaction, producer: Producer) -> Result<(), ErrorCode> {
    if known.producer.id != producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if known.producer.epoch != producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}
