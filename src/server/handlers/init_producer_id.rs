//! InitProducerId (22): an id for an idempotent producer (KIP-98).
//!
//! Versions: 0-5; from 3 on a producer may tell the id and epoch it has (KIP-360).
//! - Without a transactional id, every request gets a fresh id with epoch 0, whatever it tells.
//! - With one, the answer is that no coordinator is available: transactions are not built yet.
//!
//! Errors: `COORDINATOR_NOT_AVAILABLE`; `CLUSTER_AUTHORIZATION_FAILED`,
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for an empty transactional id;
//! `COORDINATOR_LOAD_IN_PROGRESS` while the controller cannot be asked.

use std::sync::Arc;

use ottla_protocol::Decoded;
use ottla_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId, decode_request,
};
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: InitProducerIdRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let transactional_id = body.transactional_id.as_ref().map(|id| id.as_str());
    let unknown = (ProducerId::NONE.0, ProducerEpoch::NONE.0);
    // KIP-360: who names a producer names its epoch.
    let is_half = (body.producer_id.0 == unknown.0) != (body.producer_epoch == unknown.1);
    let checked = if is_half {
        Err(ErrorCode::InvalidRequest)
    } else {
        check(&permissions, transactional_id)
    };
    if let Err(error) = checked {
        return Ok(Reply::Now(Response::encode(&header, &answer(Err(error)))));
    }
    let producer_ids = Arc::clone(&services.producer_ids);
    Ok(Reply::Later(Box::pin(async move {
        let id = producer_ids.next().await;
        // The controller is away for a moment: producers know how to wait for this one.
        let id = id.map_err(|_| ErrorCode::CoordinatorLoadInProgress);
        Response::encode(&header, &answer(id))
    })))
}

fn check(permissions: &Permissions<'_>, transactional_id: Option<&str>) -> Result<(), ErrorCode> {
    match transactional_id {
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(name) => {
            let resource = Resource { kind: ResourceKind::TransactionalId, name };
            if permissions.allows(Action { operation: Operation::Write, resource }) {
                Err(ErrorCode::CoordinatorNotAvailable)
            } else {
                Err(ErrorCode::TransactionalIdAuthorizationFailed)
            }
        }
        // KIP-679: who may write to any topic may do it idempotently.
        None if permissions.cluster(Operation::IdempotentWrite)
            || permissions.any_topic(Operation::Write) =>
        {
            Ok(())
        }
        None => Err(ErrorCode::ClusterAuthorizationFailed),
    }
}

fn answer(id: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    let answer = InitProducerIdResponse::default();
    match id {
        Ok(id) => answer.with_producer_id(WireProducerId(id.0)).with_producer_epoch(0),
        Err(error) => answer
            .with_error_code(error.code())
            .with_producer_id(WireProducerId(ProducerId::NONE.0))
            .with_producer_epoch(ProducerEpoch::NONE.0),
    }
}
