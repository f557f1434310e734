//! AddPartitionsToTxn (24): partitions that a producer is about to write to are added to its
//! transaction (KIP-98).
//!
//! Versions: 0-5. 2 knows `PRODUCER_FENCED` (KIP-588), 3 is flexible. From 4 on it is a broker that
//! asks, for many transactions at once: whether partitions are in them, or for partitions to be
//! added on behalf of clients (KIP-890); from 5 on those speak `transaction.version` 2.
//! - All partitions of a transaction are added, or none: those that could have been are told
//!   `OPERATION_NOT_ATTEMPTED`.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED` from version 4 on, below it
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` and `TOPIC_AUTHORIZATION_FAILED`, also for internal
//! topics; `UNKNOWN_TOPIC_OR_PARTITION`; `INVALID_REQUEST` for an empty id;
//! `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED` (`INVALID_PRODUCER_EPOCH` below version 2),
//! `CONCURRENT_TRANSACTIONS`; `TRANSACTION_ABORTABLE` of a partition that is not in a transaction;
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use ottla_coordinator::Transactions;
use ottla_coordinator::txn::{AddPartitions, TransactionalId, VerifyPartitions};
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, PartitionId, TopicName, TopicPartition};

use super::{producer, told};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::{Permissions, is_internal};
use crate::response::Response;
use crate::services::Services;

const FENCING_FROM: i16 = 2;
const OF_BROKERS_FROM: i16 = 4;
const EPOCH_BUMP_FROM: i16 = 5;

/// The outcome of each partition of a transaction, in the order of the request.
type Outcomes = Pin<Box<dyn Future<Output = Vec<ErrorCode>> + Send>>;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body: AddPartitionsToTxnRequest = decode_request(&body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let is_of_broker = version >= OF_BROKERS_FROM;
    if is_of_broker && !permissions.cluster(Operation::ClusterAction) {
        let error = ErrorCode::ClusterAuthorizationFailed;
        let answer = AddPartitionsToTxnResponse::default().with_error_code(error.code());
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let image = services.images.load();
    let asked = Asked { image: &image, permissions: &permissions, version };
    let mut transactions = if is_of_broker { body.transactions } else { vec![only(body)] };
    transactions.iter_mut().for_each(merge_repeated);
    let begun: Vec<(AddPartitionsToTxnTransaction, Outcomes)> = transactions
        .into_iter()
        .map(|of| {
            let outcomes = asked.begin(&services.transactions, &of);
            (of, outcomes)
        })
        .collect();
    Ok(Reply::Later(Box::pin(async move {
        let mut results = Vec::new();
        for (transaction, outcomes) in begun {
            results.push(result(transaction, outcomes.await, version));
        }
        Response::encode(&header, &answer(results, is_of_broker))
    })))
}

/// The one transaction of a client's request.
fn only(body: AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(body.v3_and_below_transactional_id)
        .with_producer_id(body.v3_and_below_producer_id)
        .with_producer_epoch(body.v3_and_below_producer_epoch)
        .with_topics(body.v3_and_below_topics)
}

/// Names each topic once, and each of its partitions, as Kafka's maps do.
fn merge_repeated(transaction: &mut AddPartitionsToTxnTransaction) {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    let mut places = BTreeMap::new();
    for topic in std::mem::take(&mut transaction.topics) {
        let at = *places.entry(topic.name.clone()).or_insert(topics.len());
        match topics.get_mut(at) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    for topic in &mut topics {
        let mut seen = BTreeSet::new();
        topic.partitions.retain(|partition| seen.insert(*partition));
    }
    transaction.topics = topics;
}

struct Asked<'a> {
    image: &'a Image,
    permissions: &'a Permissions<'a>,
    version: i16,
}

impl Asked<'_> {
    /// Begins what is asked of one transaction.
    fn begin(&self, transactions: &Transactions, of: &AddPartitionsToTxnTransaction) -> Outcomes {
        let partitions = partitions_of(&of.topics);
        let count = partitions.len();
        if let Some(error) = self.refusal(&of.transactional_id) {
            return Box::pin(async move { vec![error; count] });
        }
        let refused: Vec<ErrorCode> = partitions.iter().map(|it| self.refusal_of(it)).collect();
        if refused.iter().any(|error| *error != ErrorCode::None) {
            let of_others = |error| match error {
                ErrorCode::None => ErrorCode::OperationNotAttempted,
                error => error,
            };
            return Box::pin(async move { refused.into_iter().map(of_others).collect() });
        }
        if of.transactional_id.is_empty() {
            return Box::pin(async move { vec![ErrorCode::InvalidRequest; count] });
        }
        let id = TransactionalId::from(&**of.transactional_id);
        let producer = producer(of.producer_id, of.producer_epoch);
        if of.verify_only {
            let request = VerifyPartitions { id, producer, partitions };
            let verified = transactions.verify_partitions(&request);
            return Box::pin(async move {
                let code =
                    |outcome: Result<(), ErrorCode>| outcome.err().unwrap_or(ErrorCode::None);
                let all = |outcomes: Vec<_>| outcomes.into_iter().map(code).collect();
                verified.await.map_or_else(|error| vec![error; count], all)
            });
        }
        let client_version = if self.version >= EPOCH_BUMP_FROM { 2 } else { 0 };
        let request = AddPartitions { id, producer, partitions, client_version };
        let added = transactions.add_partitions(request);
        Box::pin(async move { vec![added.await.err().unwrap_or(ErrorCode::None); count] })
    }

    fn refusal(&self, id: &str) -> Option<ErrorCode> {
        let is_of_client = self.version < OF_BROKERS_FROM;
        if is_of_client && !self.permissions.transactional_id(Operation::Write, id) {
            Some(ErrorCode::TransactionalIdAuthorizationFailed)
        } else {
            None
        }
    }

    fn refusal_of(&self, partition: &TopicPartition) -> ErrorCode {
        let TopicPartition { topic, partition } = partition;
        let may_write = self.version >= OF_BROKERS_FROM
            || (!is_internal(topic) && self.permissions.topic(Operation::Write, topic));
        if !may_write {
            ErrorCode::TopicAuthorizationFailed
        } else if self.image.partition(topic, *partition).is_none() {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::None
        }
    }
}

fn partitions_of(topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name = TopicName::from(&**topic.name);
        let named =
            move |id: i32| TopicPartition { topic: name.clone(), partition: PartitionId(id) };
        topic.partitions.clone().into_iter().map(named)
    };
    topics.iter().flat_map(of_topic).collect()
}

fn result(
    transaction: AddPartitionsToTxnTransaction,
    outcomes: Vec<ErrorCode>,
    version: i16,
) -> AddPartitionsToTxnResult {
    let mut outcomes = outcomes.into_iter().map(|error| told(error, version >= FENCING_FROM));
    let of_topic = |topic: AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().zip(&mut outcomes);
        let results = partitions.map(|(partition, error)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*partition)
                .with_partition_error_code(error.code())
        });
        let results = results.collect();
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name)
            .with_results_by_partition(results)
    };
    let topics = transaction.topics.into_iter().map(of_topic).collect();
    AddPartitionsToTxnResult::default()
        .with_transactional_id(transaction.transactional_id)
        .with_topic_results(topics)
}

fn answer(
    mut results: Vec<AddPartitionsToTxnResult>,
    is_of_broker: bool,
) -> AddPartitionsToTxnResponse {
    let answer = AddPartitionsToTxnResponse::default();
    if is_of_broker {
        return answer.with_results_by_transaction(results);
    }
    let only = results.pop().map(|result| result.topic_results).unwrap_or_default();
    answer.with_results_by_topic_v3_and_below(only)
}
