//! The transactional batches of a Produce request, before they are appended (KIP-890).
//!
//! Versions: those of Produce. 11 `TRANSACTION_ABORTABLE`, 12 partitions are added by this.
//! - The first batch of a transaction in a partition is appended when the transaction's
//!   coordinator says that the partition belongs to it. From version 12 on it becomes part of it;
//!   before, its client has added it, and `transaction.partition.verification.enable` may have it
//!   believed.
//! - Whether a batch is the first one is seen under the partition's lock, and again when it is
//!   appended: a marker that comes in between makes the answer void.
//! - A coordinator that still ends the producer's last transaction is asked again, for a short
//!   time: its clients wait longer.
//! - One request writes for one producer, in one epoch.
//!
//! Errors: `INVALID_PRODUCER_ID_MAPPING`, `INVALID_TXN_STATE`, `TRANSACTION_ABORTABLE`,
//! `INVALID_PRODUCER_EPOCH`, `CONCURRENT_TRANSACTIONS`, and `NOT_ENOUGH_REPLICAS` for what old
//! clients would not try again.
//!
//! Source: `ReplicaManager.handleProduceAppend`, `AddPartitionsToTxnManager`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::VerificationConfig;
use ottla_coordinator::txn::TxnCheck;
use ottla_metadata::image::{ConfigResource, Image, ResourceKind};
use ottla_protocol::batch::BatchHeader;
use ottla_replication::{Partition, Transactional};
use ottla_storage::{FirstBatch, Verification};
use ottla_types::{ErrorCode, PartitionId, TopicIdPartition};

use super::appending::{Appending, Refused};
use super::produced::one_batch;
use crate::connection::Peer;
use crate::services::Services;
use crate::transactions::COORDINATOR_WAIT_MAX;

const ABORTABLE_FROM: i16 = 11;
const ADDS_FROM: i16 = 12;

/// The transaction that a request writes in.
pub(super) struct Transaction {
    id: String,
    adds: bool,
    knows_abortable: bool,
}

/// What is known of the transactional batches of a request, by partition.
pub(super) type Verified = BTreeMap<TopicIdPartition, Result<Transactional, Refused>>;

/// A transactional batch of a request.
struct Candidate {
    id: TopicIdPartition,
    partition: Arc<Partition>,
    header: BatchHeader,
}

impl Transaction {
    /// That of a request of `version`.
    pub(super) fn of(id: &str, version: i16) -> Transaction {
        Transaction {
            id: id.to_owned(),
            adds: version >= ADDS_FROM,
            knows_abortable: version >= ABORTABLE_FROM,
        }
    }

    /// What the client is told of an error.
    fn told(&self, error: ErrorCode) -> Refused {
        use ErrorCode as E;
        let later = || {
            let text = "Unable to verify the partition has been added to the transaction. \
                        Underlying error: ";
            Refused { message: Some(format!("{text}{error}")), ..E::NotEnoughReplicas.into() }
        };
        let not_added = || {
            let message = "Partition was not added to the transaction".to_owned();
            Refused { message: Some(message), ..E::InvalidTxnState.into() }
        };
        match error {
            E::ProducerFenced => E::InvalidProducerEpoch.into(),
            E::TransactionAbortable if !self.knows_abortable => not_added(),
            E::InvalidTxnState => not_added(),
            E::NetworkException
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator => later(),
            E::ConcurrentTransactions if !self.adds => later(),
            other => other.into(),
        }
    }
}

/// Whether the coordinator is asked when a client says that it has added a partition: as this
/// broker, else all brokers, are told while they run, else as the node's file says.
pub(in crate::handlers) fn verifies(services: &Services, image: &Image) -> bool {
    let name = services.identity.node_id.to_string();
    let this_broker = ConfigResource { kind: ResourceKind::BROKER, name };
    let told = [this_broker, ConfigResource::all_brokers()]
        .iter()
        .find_map(|resource| image.configs().value(resource, VerificationConfig::KEY));
    match told {
        Some(told) => told.trim().eq_ignore_ascii_case("true"),
        None => services.config.verification.verifies,
    }
}

/// What the coordinator is to be asked before anything of a request is appended.
pub(super) struct Question {
    transaction: Transaction,
    candidates: Vec<Candidate>,
    /// Those that it is asked for.
    asked: Vec<usize>,
}

impl Question {
    async fn ask(&self, services: &Services) -> Vec<Result<(), ErrorCode>> {
        let first = &self.candidates[self.asked[0]].header;
        let name = |at: &usize| self.candidates[*at].partition.name().clone();
        let check = TxnCheck {
            transactional_id: self.transaction.id.clone(),
            producer_id: first.producer_id,
            producer_epoch: first.producer_epoch,
            partitions: self.asked.iter().map(name).collect(),
            add: self.transaction.adds,
        };
        let answered = services.transactions.verify_or_add(check);
        let answered = services.runtime.clock().timeout(COORDINATOR_WAIT_MAX, answered).await;
        answered.unwrap_or_else(|| vec![Err(ErrorCode::NetworkException); self.asked.len()])
    }
}

impl Appending {
    /// Finds out what may be appended of a transactional request, and what is to be asked first;
    /// nothing when all its partitions belong to the transaction, or nothing may be appended.
    pub(super) fn begin(
        &mut self,
        services: &Services,
        peer: &Peer,
        transaction: Transaction,
    ) -> Option<Question> {
        let candidates = self.candidates(services, peer);
        let producer = |it: &Candidate| (it.header.producer_id, it.header.producer_epoch);
        if candidates.windows(2).any(|pair| producer(&pair[0]) != producer(&pair[1])) {
            self.refuse_all(ErrorCode::InvalidProducerIdMapping);
            return None;
        }
        if !transaction.adds && !verifies(services, &self.image) {
            let believed = Transactional { is_coordinator: false, verified: false, guard: None };
            self.verified.extend(candidates.iter().map(|it| (it.id, Ok(believed))));
            return None;
        }
        let asked = self.begin_verification(services, &transaction, &candidates);
        (!asked.is_empty()).then_some(Question { transaction, candidates, asked })
    }

    /// Asks, and notes what may not be appended.
    pub(super) async fn ask(&mut self, services: &Services, mut question: Question) {
        let clock = services.runtime.clock();
        let config = services.config.verification;
        let deadline = clock.now().after(config.add_retry_max);
        while !question.asked.is_empty() {
            let outcomes = question.ask(services).await;
            let Question { transaction, candidates, asked } = &mut question;
            let is_ending = outcomes.contains(&Err(ErrorCode::ConcurrentTransactions));
            if transaction.adds && is_ending && clock.now() < deadline {
                clock.sleep(config.add_retry_backoff).await;
                // The end that it waits for makes what was begun before void.
                *asked = self.begin_verification(services, transaction, candidates);
                continue;
            }
            for (at, outcome) in asked.drain(..).zip(outcomes) {
                if let Err(error) = outcome {
                    self.verified.insert(candidates[at].id, Err(transaction.told(error)));
                }
            }
        }
        self.now = clock.wall();
    }

    /// Those that the coordinator is to be asked for. What is known of the others is noted, and
    /// of these, what counts if it agrees.
    fn begin_verification(
        &mut self,
        services: &Services,
        transaction: &Transaction,
        candidates: &[Candidate],
    ) -> Vec<usize> {
        let now = services.runtime.clock().wall();
        let mut asked = Vec::new();
        for (at, it) in candidates.iter().enumerate() {
            let batch = FirstBatch {
                producer_id: it.header.producer_id,
                producer_epoch: it.header.producer_epoch,
                sequence: it.header.base_sequence,
                adds: transaction.adds,
            };
            let known = match it.partition.begin_verification(batch, now) {
                Err(error) => Err(transaction.told(error.code())),
                Ok(needed) => {
                    let guard = match needed {
                        Verification::NotNeeded => None,
                        Verification::Needed(guard) => {
                            asked.push(at);
                            Some(guard)
                        }
                    };
                    Ok(Transactional { is_coordinator: false, verified: true, guard })
                }
            };
            self.verified.insert(it.id, known);
        }
        asked
    }

    /// The transactional batches that could be appended. What is wrong with others is found when
    /// they would be.
    fn candidates(&self, services: &Services, peer: &Peer) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for topic in self.topics.as_slice() {
            let Ok(found) = self.check_topic(services, peer, &topic.topic) else { continue };
            for records in &topic.partitions {
                let partition = PartitionId(records.index);
                let id = TopicIdPartition { topic_id: found.id, partition };
                let batch = one_batch(records.records.as_ref(), self.header.api_version);
                let header = batch.ok().and_then(|batch| BatchHeader::read(&batch).ok());
                let (Some(header), Some(partition)) = (header, services.replicas.get(&id)) else {
                    continue;
                };
                if header.attributes.is_transactional() && header.has_producer_id() {
                    candidates.push(Candidate { id, partition, header });
                }
            }
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_coordinator_says_is_told_as_the_client_understands_it() {
        use ErrorCode as E;
        let told = |error: ErrorCode| {
            let of = |version| Transaction::of("t", version).told(error).code;
            [of(10), of(11), of(12)]
        };
        for (error, expected) in [
            (E::ProducerFenced, [E::InvalidProducerEpoch; 3]),
            (E::InvalidProducerEpoch, [E::InvalidProducerEpoch; 3]),
            (E::InvalidTxnState, [E::InvalidTxnState; 3]),
            (
                E::TransactionAbortable,
                [E::InvalidTxnState, E::TransactionAbortable, E::TransactionAbortable],
            ),
            (
                E::ConcurrentTransactions,
                [E::NotEnoughReplicas, E::NotEnoughReplicas, E::ConcurrentTransactions],
            ),
            (E::NotCoordinator, [E::NotEnoughReplicas; 3]),
            (E::CoordinatorNotAvailable, [E::NotEnoughReplicas; 3]),
            (E::CoordinatorLoadInProgress, [E::NotEnoughReplicas; 3]),
            (E::NetworkException, [E::NotEnoughReplicas; 3]),
            (E::InvalidProducerIdMapping, [E::InvalidProducerIdMapping; 3]),
        ] {
            assert_eq!(told(error), expected, "{error}");
        }
        let text = Transaction::of("t", 9).told(E::NotCoordinator).message;
        let expected = "Unable to verify the partition has been added to the transaction. \
                        Underlying error: NOT_COORDINATOR";
        assert_eq!(text.as_deref(), Some(expected));
    }
}
