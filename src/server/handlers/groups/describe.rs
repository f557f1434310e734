//! DescribeGroups (15): classic groups and their members.
//!
//! Versions: 0-6. 3 authorized operations (KIP-430), 4 instance ids (KIP-345), 6 an error for a
//! group that does not exist (KIP-1043), which is in the state Dead before.
//! - What members said about themselves is told while the group is stable.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `GROUP_ID_NOT_FOUND`, `NOT_COORDINATOR`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::group::{DescribedGroup, DescribedMember, GroupId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember,
};
use ottla_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId as WireId, StrBytes, decode_request,
};
use ottla_security::{Operation, ResourceKind};
use ottla_types::ErrorCode;

use super::text;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::{Permissions, authorized_operations};
use crate::response::Response;
use crate::services::Services;

const OPERATIONS_FROM: i16 = 3;
const INSTANCES_FROM: i16 = 4;
const MISSING_IS_AN_ERROR_FROM: i16 = 6;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let body: DescribeGroupsRequest = decode_request(&request.body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let describe = |id: WireId| {
        let name = id.to_string();
        if !permissions.group(Operation::Describe, &name) {
            return refuse(id, ErrorCode::GroupAuthorizationFailed);
        }
        let group = GroupId::from(name.as_str());
        let found = services
            .groups
            .read(&group, |shard| shard.describe(&group).ok_or_else(|| shard.has_group(&group)));
        let described = match found {
            Err(error) => return refuse(id, error),
            Ok(Err(is_other)) => missing(id, version, is_other),
            Ok(Ok(group)) => wire_group(id, group, version),
        };
        if body.include_authorized_operations
            && version >= OPERATIONS_FROM
            && described.error_code == 0
        {
            let bits = authorized_operations(&permissions, ResourceKind::Group, &name);
            return described.with_authorized_operations(bits);
        }
        described
    };
    let groups = body.groups.into_iter().map(describe).collect();
    let answer = DescribeGroupsResponse::default().with_groups(groups);
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn refuse(id: WireId, error: ErrorCode) -> WireGroup {
    WireGroup::default().with_group_id(id).with_error_code(error.code())
}

/// There is no classic group of this name; a group of another kind, maybe.
fn missing(id: WireId, version: i16, is_other: bool) -> WireGroup {
    let dead = WireGroup::default().with_group_state(StrBytes::from_static_str("Dead"));
    if version < MISSING_IS_AN_ERROR_FROM {
        return dead.with_group_id(id);
    }
    let what = if is_other { "is not a classic group" } else { "not found" };
    let message = format!("Group {} {what}.", &**id);
    dead.with_group_id(id)
        .with_error_code(ErrorCode::GroupIdNotFound.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}

fn wire_group(id: WireId, group: DescribedGroup, version: i16) -> WireGroup {
    let member = |member: DescribedMember| {
        let wire = DescribedGroupMember::default()
            .with_member_id(text(&member.id))
            .with_client_id(StrBytes::from_string(member.client_id))
            .with_client_host(StrBytes::from_string(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        let instance = member.instance.filter(|_| version >= INSTANCES_FROM);
        wire.with_group_instance_id(instance.map(StrBytes::from_string))
    };
    WireGroup::default()
        .with_group_id(id)
        .with_group_state(text(group.state))
        .with_protocol_type(StrBytes::from_string(group.protocol_type))
        .with_protocol_data(StrBytes::from_string(group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
}
