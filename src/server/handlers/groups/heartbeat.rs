//! Heartbeat (12): a member of a classic group says that it is there.
//!
//! Versions: 0-4. 3 static members (KIP-345).
//! - While the group is being loaded, the answer is that all is well, as with Kafka: sessions begin
//!   anew afterwards.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`, `UNKNOWN_MEMBER_ID`,
//! `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`, `NOT_COORDINATOR`.

use ottla_coordinator::group::{GroupId, MemberId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse, decode_request};
use ottla_security::Operation;
use ottla_types::ErrorCode;

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
    let body: HeartbeatRequest = decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let refusal = permissions.refusal(Operation::Read, &body.group_id);
    let result = if let Some(error) = refusal {
        Err(error)
    } else {
        let (group, member) = (GroupId::from(&**body.group_id), MemberId::from(&*body.member_id));
        let instance = body.group_instance_id.as_deref();
        services.groups.heartbeat(&group, (&member, instance), body.generation_id)
    };
    let error = match result {
        Ok(()) | Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
        Err(error) => error,
    };
    let answer = HeartbeatResponse::default().with_error_code(error.code());
    Ok(Reply::Now(Response::encode(header, &answer)))
}
