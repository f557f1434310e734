//! AddOffsetsToTxn (25): a producer is about to commit offsets of a group in its transaction
//! (KIP-98). The partition that keeps the group is added to it.
//!
//! Versions: 0-4. 2 knows `PRODUCER_FENCED` (KIP-588), 3 is flexible, 4 knows
//! `TRANSACTION_ABORTABLE`. From TxnOffsetCommit 5 on producers do not ask for it (KIP-890).
//!
//! Errors: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `GROUP_AUTHORIZATION_FAILED`;
//! `INVALID_REQUEST` for an empty id; `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`
//! (`INVALID_PRODUCER_EPOCH` below version 2), `CONCURRENT_TRANSACTIONS`; `NOT_COORDINATOR`,
//! `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::runtime::{GROUPS_TOPIC, partition_of};
use ottla_coordinator::txn::{AddPartitions, TransactionalId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, decode_request};
use ottla_security::Operation;
use ottla_types::{ErrorCode, TopicName, TopicPartition};

use super::{producer, told};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::handlers::groups::group_partitions;
use crate::response::Response;
use crate::services::Services;

const FENCING_FROM: i16 = 2;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: AddOffsetsToTxnRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if let Some(error) = refusal(&permissions, &body) {
        return Ok(Reply::Now(Response::encode(&header, &answer(error))));
    }
    // Whoever asks before the topic is there will find it with so many partitions.
    let image = services.images.load();
    let count = group_partitions(&image).unwrap_or(services.config.groups.topic_partitions);
    let added = services.transactions.add_partitions(AddPartitions {
        id: TransactionalId::from(&**body.transactional_id),
        producer: producer(body.producer_id, body.producer_epoch),
        partitions: vec![TopicPartition {
            topic: TopicName::from(GROUPS_TOPIC),
            partition: partition_of(&body.group_id, count),
        }],
        client_version: 0,
    });
    Ok(Reply::Later(Box::pin(async move {
        let error = added.await.err().unwrap_or(ErrorCode::None);
        let error = told(error, header.api_version >= FENCING_FROM);
        Response::encode(&header, &answer(error))
    })))
}

fn refusal(permissions: &Permissions<'_>, body: &AddOffsetsToTxnRequest) -> Option<ErrorCode> {
    if !permissions.transactional_id(Operation::Write, &body.transactional_id) {
        Some(ErrorCode::TransactionalIdAuthorizationFailed)
    } else if !permissions.group(Operation::Read, &body.group_id) {
        Some(ErrorCode::GroupAuthorizationFailed)
    } else if body.transactional_id.is_empty() {
        Some(ErrorCode::InvalidRequest)
    } else {
        None
    }
}

fn answer(error: ErrorCode) -> AddOffsetsToTxnResponse {
    AddOffsetsToTxnResponse::default().with_error_code(error.code())
}
