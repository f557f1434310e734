//! UnregisterBroker (64): forgets a broker that will not come back (KIP-500, `kafka-cluster
//! unregister`).
//!
//! Versions: 0.
//! - Its replicas stay assigned to it; what it led is led by others, if there are any. A broker
//!   that lives has to register again, which it does when it starts.
//!
//! Errors: `BROKER_ID_NOT_REGISTERED`, `CLUSTER_AUTHORIZATION_FAILED`, `NOT_CONTROLLER`.

use ottla_protocol::Decoded;
use ottla_protocol::messages::{
    StrBytes, UnregisterBrokerRequest, UnregisterBrokerResponse, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId};

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
    let body: UnregisterBrokerRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.cluster(Operation::Alter) {
        let message = "Cluster authorization failed.".to_owned();
        let answer = refuse(ErrorCode::ClusterAuthorizationFailed, Some(message));
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let controller = services.controller.clone();
    Ok(Reply::Later(Box::pin(async move {
        let answer = match controller.unregister_broker(NodeId(body.broker_id.0)).await {
            Ok(()) => refuse(ErrorCode::None, None),
            Err(error) => refuse(error.code(), Some(error.to_string())),
        };
        Response::encode(&header, &answer)
    })))
}

fn refuse(error: ErrorCode, message: Option<String>) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse::default()
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}
