//! DeleteGroups (42): groups without members are forgotten, with their offsets.
//!
//! Versions: 0-2.
//! - A group that is named twice is answered for once.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`,
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`.

use std::collections::BTreeSet;

use ottla_coordinator::group::GroupId;
use ottla_protocol::Decoded;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, decode_request};
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
    let Incoming { peer, header, body } = request;
    let body: DeleteGroupsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let mut seen = BTreeSet::new();
    let names = body.groups_names.into_iter().filter(|name| seen.insert(name.clone()));
    let (allowed, denied): (Vec<_>, Vec<_>) =
        names.partition(|name| permissions.group(Operation::Delete, name));
    let begun: Vec<_> = allowed
        .into_iter()
        .map(|name| (services.groups.delete(&GroupId::from(&**name)), name))
        .collect();
    Ok(Reply::Later(Box::pin(async move {
        let result = |name, error: ErrorCode| {
            DeletableGroupResult::default().with_group_id(name).with_error_code(error.code())
        };
        let denied = denied.into_iter();
        let mut results: Vec<_> =
            denied.map(|name| result(name, ErrorCode::GroupAuthorizationFailed)).collect();
        for (deleted, name) in begun {
            results.push(result(name, deleted.await.err().unwrap_or(ErrorCode::None)));
        }
        let answer = DeleteGroupsResponse::default().with_results(results);
        Response::encode(&header, &answer)
    })))
}
