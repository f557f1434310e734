//! JoinGroup (11): a member joins a group of the classic protocol.
//!
//! Versions: 0-9. 1 a time for rebalances, 4 members come back with the id they are given
//! (KIP-394), 5 static members (KIP-345), 7 what kind of group it is, 8 a reason, 9 a leader may be
//! told to leave the assignment as it is (KIP-814).
//! - The answer comes when the rebalance that the join is part of has its members.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`, `INVALID_SESSION_TIMEOUT`,
//! `MEMBER_ID_REQUIRED`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `INCONSISTENT_GROUP_PROTOCOL`,
//! `GROUP_MAX_SIZE_REACHED`, `REBALANCE_IN_PROGRESS` to whoever asked for the same member before,
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_coordinator::group::classic::{Join, Joined, Protocols};
use ottla_coordinator::group::{GroupId, MemberId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse, StrBytes, decode_request};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use super::{client_host, may_describe, text};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const KNOWN_IDS_FROM: i16 = 4;
const NULL_PROTOCOLS_FROM: i16 = 7;
const SKIPPED_ASSIGNMENTS_FROM: i16 = 9;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body: JoinGroupRequest = decode_request(&body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let member = MemberId::from(&*body.member_id);
    let refusal = permissions.refusal(Operation::Read, &body.group_id).or_else(|| {
        let is_allowed = is_session_allowed(services, body.session_timeout_ms);
        (!is_allowed).then_some(ErrorCode::InvalidSessionTimeout)
    });
    if let Some(error) = refusal {
        // Whoever may not know of the group is not told his own name, either.
        let is_denied = error == ErrorCode::GroupAuthorizationFailed;
        let member = if is_denied { MemberId::from("") } else { member };
        let answer = answer(Joined::refused(error, member), version);
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let unique = services.runtime.entropy().uuid();
    let join = Join {
        unique: uuid::Uuid::from_bytes(unique.0).to_string(),
        consumer_id: unique.to_string(),
        must_know_id: version >= KNOWN_IDS_FROM,
        can_skip_assignment: version >= SKIPPED_ASSIGNMENTS_FROM,
        client_id: header.client_id.to_string(),
        client_host: client_host(peer),
        ..wanted(body, version)
    };
    let joined = services.groups.join(join, may_describe(services, peer));
    Ok(Reply::Later(Box::pin(async move {
        let joined = joined.await.unwrap_or_else(|error| Joined::refused(error, member));
        Response::encode(&header, &answer(joined, version))
    })))
}

fn is_session_allowed(services: &Services, timeout_ms: i32) -> bool {
    let config = services.groups.config();
    let allowed = config.session_timeout_min..=config.session_timeout_max;
    u64::try_from(timeout_ms).is_ok_and(|ms| allowed.contains(&Duration::from_millis(ms)))
}

fn wanted(body: JoinGroupRequest, version: i16) -> Join {
    let ms = |ms: i32| Duration::from_millis(u64::from(ms.max(0).unsigned_abs()));
    let session_timeout = ms(body.session_timeout_ms);
    let mut names = BTreeSet::new();
    let protocols = body.protocols.iter().filter(|protocol| names.insert(protocol.name.clone()));
    Join {
        group: GroupId::from(&**body.group_id),
        member: MemberId::from(&*body.member_id),
        instance: body.group_instance_id.map(|instance| instance.to_string()),
        client_id: String::new(),
        client_host: String::new(),
        session_timeout,
        // Version 0 had one timeout for both.
        rebalance_timeout: match version {
            0 => session_timeout,
            _ => ms(body.rebalance_timeout_ms),
        },
        protocol_type: body.protocol_type.to_string(),
        protocols: Protocols(
            protocols
                .map(|protocol| (protocol.name.to_string(), protocol.metadata.clone()))
                .collect(),
        ),
        unique: String::new(),
        consumer_id: String::new(),
        must_know_id: false,
        can_skip_assignment: false,
    }
}

fn answer(joined: Joined, version: i16) -> JoinGroupResponse {
    let protocol = match joined.protocol {
        None if version < NULL_PROTOCOLS_FROM => Some(StrBytes::default()),
        protocol => protocol.map(StrBytes::from_string),
    };
    let members = joined.members.into_iter().map(|member| {
        let instance = member.instance.map(StrBytes::from_string);
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(instance.filter(|_| version >= 5))
            .with_metadata(member.metadata)
    });
    let answer = JoinGroupResponse::default()
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation)
        .with_protocol_name(protocol)
        .with_leader(joined.leader.as_deref().map(text).unwrap_or_default())
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member))
        .with_members(members.collect());
    match joined.protocol_type {
        kind if version >= NULL_PROTOCOLS_FROM => {
            answer.with_protocol_type(kind.map(StrBytes::from_string))
        }
        _ => answer,
    }
}
