//! LeaveGroup (13): members leave a classic group, or are removed from it.
//!
//! Versions: 0-5. 3 several members, also by their instance ids (KIP-345), 5 a reason.
//! - A group that becomes empty has said so in its log before the answer.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`, `UNKNOWN_MEMBER_ID`,
//! `FENCED_INSTANCE_ID`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `COORDINATOR_LOAD_IN_PROGRESS`. Below version 3 an error of the member is that of the answer.

use ottla_coordinator::group::classic::{Leave, Leaving};
use ottla_coordinator::group::{GroupId, MemberId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, StrBytes, decode_request};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use super::text;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const SEVERAL_FROM: i16 = 3;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body: LeaveGroupRequest = decode_request(&body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if let Some(error) = permissions.refusal(Operation::Read, &body.group_id) {
        let answer = LeaveGroupResponse::default().with_error_code(error.code());
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let members = if version < SEVERAL_FROM {
        vec![Leaving { id: MemberId::from(&*body.member_id), instance: None }]
    } else {
        let leaving = body.members.iter().map(|member| Leaving {
            id: MemberId::from(&*member.member_id),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
        });
        leaving.collect()
    };
    let leave = Leave { group: GroupId::from(&**body.group_id), members: members.clone() };
    let left = services.groups.leave(leave);
    Ok(Reply::Later(Box::pin(async move {
        Response::encode(&header, &answer(left.await, members, version))
    })))
}

fn answer(
    left: Result<Vec<ErrorCode>, ErrorCode>,
    members: Vec<Leaving>,
    version: i16,
) -> LeaveGroupResponse {
    let outcomes = match left {
        Ok(outcomes) => outcomes,
        // There is no such group, and so no such members.
        Err(ErrorCode::UnknownMemberId) => vec![ErrorCode::UnknownMemberId; members.len()],
        Err(error) => return LeaveGroupResponse::default().with_error_code(error.code()),
    };
    if version < SEVERAL_FROM {
        let error = outcomes.first().copied().unwrap_or(ErrorCode::None);
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let member = |(member, error): (Leaving, ErrorCode)| {
        MemberResponse::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(member.instance.map(StrBytes::from_string))
            .with_error_code(error.code())
    };
    let members = members.into_iter().zip(outcomes).map(member).collect();
    LeaveGroupResponse::default().with_members(members)
}
