//! DescribeTransactions (65): what transactional ids are doing (KIP-664).
//!
//! Versions: 0.
//! - Of topics that the sender may not describe nothing is told.
//!
//! Errors: of each id `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for an empty id;
//! `TRANSACTIONAL_ID_NOT_FOUND`, `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`.

use std::collections::BTreeMap;

use ottla_coordinator::txn::{DescribedTransaction, TransactionalId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use ottla_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId as WireProducerId,
    TopicName as WireTopicName, TransactionalId as WireTransactionalId, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, TopicName};

use super::text;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let body: DescribeTransactionsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let described = body.transactional_ids.iter().map(|id| {
        let state = match describe(services, &permissions, id) {
            Ok(found) => wire_state(&found, &permissions),
            Err(error) => TransactionState::default().with_error_code(error.code()),
        };
        state.with_transactional_id(WireTransactionalId(text(id)))
    });
    let answer =
        DescribeTransactionsResponse::default().with_transaction_states(described.collect());
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn describe(
    services: &Services,
    permissions: &Permissions<'_>,
    id: &str,
) -> Result<DescribedTransaction, ErrorCode> {
    if !permissions.transactional_id(Operation::Describe, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let found = services.transactions.describe(&TransactionalId::from(id))?;
    found.ok_or(ErrorCode::TransactionalIdNotFound)
}

fn wire_state(found: &DescribedTransaction, permissions: &Permissions<'_>) -> TransactionState {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for partition in &found.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    let topics = topics
        .into_iter()
        .filter(|(topic, _)| permissions.topic(Operation::Describe, topic))
        .map(|(topic, partitions)| {
            let topic = WireTopicName(text(topic));
            TopicData::default().with_topic(topic).with_partitions(partitions)
        });
    TransactionState::default()
        .with_producer_id(WireProducerId(found.producer.id.0))
        .with_producer_epoch(found.producer.epoch.0)
        .with_transaction_state(text(found.state.name()))
        .with_transaction_timeout_ms(found.timeout_ms)
        .with_transaction_start_time_ms(found.started.0)
        .with_topics(topics.collect())
}
