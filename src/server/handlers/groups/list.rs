//! ListGroups (16): the groups that this node coordinates.
//!
//! Versions: 0-5. 4 states, also as a filter (KIP-518), 5 types, also as a filter (KIP-848).
//! - Who may not describe the cluster is told of the groups that he may describe.
//! - Names in filters are taken in any case; one that does not exist matches nothing.
//!
//! Errors: `COORDINATOR_LOAD_IN_PROGRESS` while some groups are not known yet.

use std::collections::BTreeSet;

use ottla_coordinator::group::ListedGroup;
use ottla_protocol::Decoded;
use ottla_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use ottla_protocol::messages::{
    GroupId, ListGroupsRequest, ListGroupsResponse, StrBytes, decode_request,
};
use ottla_security::Operation;

use super::text;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const STATES_FROM: i16 = 4;
const TYPES_FROM: i16 = 5;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let body: ListGroupsRequest = decode_request(&request.body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let may_all = permissions.cluster(Operation::Describe);
    let (states, types) = (lower(&body.states_filter), lower(&body.types_filter));
    let wanted = |group: &ListedGroup| {
        (states.is_empty() || states.contains(&group.state.to_ascii_lowercase()))
            && (types.is_empty() || types.contains(&group.kind.to_ascii_lowercase()))
            && (may_all || permissions.group(Operation::Describe, &group.id))
    };
    let answer = match services.groups.list() {
        Err(error) => ListGroupsResponse::default().with_error_code(error.code()),
        Ok(groups) => {
            let wanted = groups.into_iter().filter(wanted);
            let groups = wanted.map(|group| wire_group(&group, version));
            ListGroupsResponse::default().with_groups(groups.collect())
        }
    };
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn lower(names: &[StrBytes]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn wire_group(group: &ListedGroup, version: i16) -> WireGroup {
    let wire = WireGroup::default()
        .with_group_id(GroupId(text(&group.id)))
        .with_protocol_type(text(&group.protocol_type));
    let wire = if version < STATES_FROM { wire } else { wire.with_group_state(text(group.state)) };
    if version < TYPES_FROM {
        wire
    } else {
        wire.with_group_type(text(&group.kind.to_ascii_lowercase()))
    }
}
