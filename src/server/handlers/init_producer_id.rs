//! InitProducerId (22): an id for an idempotent producer (KIP-98).
//!
//! Versions: 0-5; from 3 on a producer may tell the id and epoch it has (KIP-360).
//! - Without a transactional id, every request gets a fresh id with epoch 0, whatever it tells.
//! - With one, the coordinator of that id answers: who had it before is fenced, and a transaction
//!   that was left open is aborted first (KIP-98).
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`;
//! `INVALID_REQUEST` for an empty transactional id, or for an id without an epoch;
//! `INVALID_TRANSACTION_TIMEOUT`; `CONCURRENT_TRANSACTIONS` while a transaction ends;
//! `PRODUCER_FENCED` (`INVALID_PRODUCER_EPOCH` below version 4); `NOT_COORDINATOR`,
//! `COORDINATOR_NOT_AVAILABLE`; `COORDINATOR_LOAD_IN_PROGRESS`, also while the controller cannot be
//! asked.

use std::sync::Arc;

use ottla_coordinator::txn::{InitProducerId, Producer, TransactionalId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::Permissions;
use super::transactions::{producer, told};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const FENCING_FROM: i16 = 4;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: InitProducerIdRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if let Err(error) = check(&permissions, &body) {
        return Ok(Reply::Now(Response::encode(&header, &answer(Err(error)))));
    }
    if let Some(id) = &body.transactional_id {
        let begun = services.transactions.init_producer_id(InitProducerId {
            id: TransactionalId::from(&***id),
            timeout_ms: body.transaction_timeout_ms,
            expected: expected(&body),
            fresh: None,
        });
        return Ok(Reply::Later(Box::pin(async move {
            let knows_fencing = header.api_version >= FENCING_FROM;
            let begun = begun.await.map_err(|error| told(error, knows_fencing));
            Response::encode(&header, &answer(begun))
        })));
    }
    let producer_ids = Arc::clone(&services.producer_ids);
    Ok(Reply::Later(Box::pin(async move {
        let id = producer_ids.next().await;
        // The controller is away for a moment: producers know how to wait for this one.
        let id = id.map_err(|_| ErrorCode::CoordinatorLoadInProgress);
        let fresh = id.map(|id| Producer { id, epoch: ProducerEpoch(0) });
        Response::encode(&header, &answer(fresh))
    })))
}

/// Who a producer says it is (KIP-360).
fn expected(body: &InitProducerIdRequest) -> Option<Producer> {
    let named = producer(body.producer_id, body.producer_epoch);
    (named.id != ProducerId::NONE).then_some(named)
}

fn check(permissions: &Permissions<'_>, body: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    let may = match &body.transactional_id {
        Some(id) if permissions.transactional_id(Operation::Write, id) => Ok(()),
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        // KIP-679: who may write to any topic may do it idempotently.
        None if permissions.cluster(Operation::IdempotentWrite)
            || permissions.any_topic(Operation::Write) =>
        {
            Ok(())
        }
        None => Err(ErrorCode::ClusterAuthorizationFailed),
    };
    may?;
    let named = producer(body.producer_id, body.producer_epoch);
    // Who names a producer names its epoch.
    let is_half = (named.id == ProducerId::NONE) != (named.epoch == ProducerEpoch::NONE);
    let is_empty = body.transactional_id.as_ref().is_some_and(|id| id.is_empty());
    if is_half || is_empty { Err(ErrorCode::InvalidRequest) } else { Ok(()) }
}

fn answer(begun: Result<Producer, ErrorCode>) -> InitProducerIdResponse {
    let answer = InitProducerIdResponse::default();
    match begun {
        Ok(Producer { id, epoch }) => {
            answer.with_producer_id(WireProducerId(id.0)).with_producer_epoch(epoch.0)
        }
        Err(error) => answer
            .with_error_code(error.code())
            .with_producer_id(WireProducerId(ProducerId::NONE.0))
            .with_producer_epoch(ProducerEpoch::NONE.0),
    }
}
