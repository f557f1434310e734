//! FindCoordinator (10): which broker coordinates a group or a transactional id.
//!
//! Versions: 0-6; from 4 on, many keys at once (KIP-699).
//! - This version of Ottla coordinates neither groups nor transactions nor share groups: every key
//!   is answered with `COORDINATOR_NOT_AVAILABLE` and a text that says so. Clients that read by
//!   assignment ask in the background and go on; clients of a group keep asking.
//!
//! Errors: `COORDINATOR_NOT_AVAILABLE`; `GROUP_AUTHORIZATION_FAILED`,
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `CLUSTER_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for a
//! type of key that does not exist.

use ottla_protocol::Decoded;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, decode_request,
};
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::ErrorCode;

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const BATCHED_FROM: i16 = 4;
const NOT_BUILT: &str = "this broker does not coordinate groups or transactions yet";

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let body: FindCoordinatorRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let mut answer = FindCoordinatorResponse::default();
    if header.api_version >= BATCHED_FROM {
        let coordinator = |key: &StrBytes| {
            let error = refusal(&permissions, body.key_type, key);
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(error.code())
                .with_error_message(message(error))
        };
        answer.coordinators = body.coordinator_keys.iter().map(coordinator).collect();
    } else {
        let error = refusal(&permissions, body.key_type, &body.key);
        answer = answer
            .with_error_code(error.code())
            .with_error_message(message(error))
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn refusal(permissions: &Permissions<'_>, key_type: i8, key: &str) -> ErrorCode {
    let (operation, resource, denied) = match key_type {
        0 => (
            Operation::Describe,
            Resource { kind: ResourceKind::Group, name: key },
            ErrorCode::GroupAuthorizationFailed,
        ),
        1 => (
            Operation::Describe,
            Resource { kind: ResourceKind::TransactionalId, name: key },
            ErrorCode::TransactionalIdAuthorizationFailed,
        ),
        2 => (Operation::ClusterAction, Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed),
        _ => return ErrorCode::InvalidRequest,
    };
    if permissions.allows(Action { operation, resource }) {
        ErrorCode::CoordinatorNotAvailable
    } else {
        denied
    }
}

fn message(error: ErrorCode) -> Option<StrBytes> {
    let told = error == ErrorCode::CoordinatorNotAvailable;
    told.then(|| StrBytes::from_static_str(NOT_BUILT))
}
