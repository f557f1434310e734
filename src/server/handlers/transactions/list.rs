//! ListTransactions (66): the transactional ids that this node coordinates (KIP-664).
//!
//! Versions: 0-2. 1 filters by how long ago the transaction began (KIP-994), 2 by a pattern of the
//! id (KIP-1152).
//! - Ids that the sender may not describe are not told.
//! - A state that does not exist matches nothing, and is told.
//!
//! Errors: `COORDINATOR_LOAD_IN_PROGRESS` while some ids are not known yet;
//! `INVALID_REGULAR_EXPRESSION`.

use std::collections::BTreeSet;

use ottla_coordinator::group::consumer::pattern::Pattern;
use ottla_coordinator::txn::{ListFilter, ListedTransaction, TransactionState as State};
use ottla_protocol::Decoded;
use ottla_protocol::messages::list_transactions_response::TransactionState;
use ottla_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId as WireProducerId,
    TransactionalId as WireTransactionalId, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, ProducerId};

use super::text;
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
    let body: ListTransactionsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let answer = match list(services, &body) {
        Err(error) => ListTransactionsResponse::default().with_error_code(error.code()),
        Ok(listed) => {
            let may_see =
                |it: &ListedTransaction| permissions.transactional_id(Operation::Describe, &it.id);
            let listed = listed.iter().filter(|it| may_see(it)).map(wire_state);
            let mut told = BTreeSet::new();
            let unknown = body.state_filters.iter().filter(|name| !is_state(name));
            let unknown = unknown.filter(|name| told.insert((*name).clone()));
            ListTransactionsResponse::default()
                .with_transaction_states(listed.collect())
                .with_unknown_state_filters(unknown.cloned().collect())
        }
    };
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn is_state(name: &str) -> bool {
    State::from_name(name).is_some() || State::TRANSIENT.contains(&name)
}

fn list(
    services: &Services,
    body: &ListTransactionsRequest,
) -> Result<Vec<ListedTransaction>, ErrorCode> {
    let text = body.transactional_id_pattern.as_ref().filter(|text| !text.is_empty());
    let pattern = text.map(|text| Pattern::new(text)).transpose();
    let pattern = pattern.map_err(|_| ErrorCode::InvalidRegularExpression)?;
    let is_so = pattern.as_ref().map(|pattern| |id: &str| pattern.matches(id));
    let states = body.state_filters.iter().filter_map(|name| State::from_name(name));
    services.transactions.list(&ListFilter {
        producer_ids: body.producer_id_filters.iter().map(|id| ProducerId(id.0)).collect(),
        states: (!body.state_filters.is_empty()).then(|| states.collect()),
        duration_ms: body.duration_filter,
        id: is_so.as_ref().map(|is_so| is_so as &dyn Fn(&str) -> bool),
    })
}

fn wire_state(listed: &ListedTransaction) -> TransactionState {
    TransactionState::default()
        .with_transactional_id(WireTransactionalId(text(&listed.id)))
        .with_producer_id(WireProducerId(listed.producer_id.0))
        .with_transaction_state(text(listed.state.name()))
}
