//! SyncGroup (14): members of a classic group ask for their assignments, which the leader brings.
//!
//! Versions: 0-5. 3 static members (KIP-345), 5 members say what kind of group they take it for,
//! and what they think was chosen (KIP-559).
//! - The answer comes when the leader's assignments are kept in the log.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`, `UNKNOWN_MEMBER_ID`,
//! `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`,
//! `INCONSISTENT_GROUP_PROTOCOL`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::group::classic::{Sync, Synced};
use ottla_coordinator::group::{GroupId, MemberId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::{StrBytes, SyncGroupRequest, SyncGroupResponse, decode_request};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const PROTOCOLS_FROM: i16 = 5;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body: SyncGroupRequest = decode_request(&body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let says_protocol = body.protocol_type.is_some() && body.protocol_name.is_some();
    let refusal = if version >= PROTOCOLS_FROM && !says_protocol {
        Some(ErrorCode::InconsistentGroupProtocol)
    } else {
        permissions.refusal(Operation::Read, &body.group_id)
    };
    if let Some(error) = refusal {
        return Ok(Reply::Now(Response::encode(&header, &answer(Err(error), version))));
    }
    let assignments = body.assignments.into_iter();
    let sync = Sync {
        group: GroupId::from(&**body.group_id),
        member: MemberId::from(&*body.member_id),
        instance: body.group_instance_id.map(|instance| instance.to_string()),
        generation: body.generation_id,
        protocol_type: body.protocol_type.map(|kind| kind.to_string()),
        protocol: body.protocol_name.map(|name| name.to_string()),
        assignments: assignments
            .map(|one| (MemberId::from(&*one.member_id), one.assignment))
            .collect(),
    };
    let synced = services.groups.sync(sync);
    Ok(Reply::Later(Box::pin(
        async move { Response::encode(&header, &answer(synced.await, version)) },
    )))
}

fn answer(synced: Result<Synced, ErrorCode>, version: i16) -> SyncGroupResponse {
    match synced {
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
        Ok(synced) => {
            let answer = SyncGroupResponse::default().with_assignment(synced.assignment);
            if version < PROTOCOLS_FROM {
                return answer;
            }
            answer
                .with_protocol_type(synced.protocol_type.map(StrBytes::from_string))
                .with_protocol_name(synced.protocol.map(StrBytes::from_string))
        }
    }
}
