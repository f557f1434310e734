//! EndTxn (26): a producer commits or aborts its transaction (KIP-98).
//!
//! Versions: 0-5. 2 knows `PRODUCER_FENCED` (KIP-588), 3 is flexible, 4 knows
//! `TRANSACTION_ABORTABLE`, 5 raises the epoch and tells the producer of the next transaction
//! (KIP-890).
//! - The answer comes when it is kept how the transaction ends; readers may see it a moment later.
//!
//! Errors: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for an empty id;
//! `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED` (`INVALID_PRODUCER_EPOCH` below version 2),
//! `CONCURRENT_TRANSACTIONS`, `INVALID_TXN_STATE`; `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::txn::{EndTransaction, Outcome, Producer, TransactionalId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, ProducerId as WireProducerId, decode_request,
};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use super::{producer, told};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const FENCING_FROM: i16 = 2;
const EPOCH_BUMP_FROM: i16 = 5;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: EndTxnRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let refusal = if !permissions.transactional_id(Operation::Write, &body.transactional_id) {
        Some(ErrorCode::TransactionalIdAuthorizationFailed)
    } else if body.transactional_id.is_empty() {
        Some(ErrorCode::InvalidRequest)
    } else {
        None
    };
    if let Some(error) = refusal {
        return Ok(Reply::Now(Response::encode(&header, &answer(Err(error)))));
    }
    let ended = services.transactions.end_transaction(EndTransaction {
        id: TransactionalId::from(&**body.transactional_id),
        producer: producer(body.producer_id, body.producer_epoch),
        outcome: if body.committed { Outcome::Commit } else { Outcome::Abort },
        client_version: if header.api_version >= EPOCH_BUMP_FROM { 2 } else { 0 },
        fresh: None,
    });
    Ok(Reply::Later(Box::pin(async move {
        let knows_fencing = header.api_version >= FENCING_FROM;
        let ended = ended.await.map_err(|error| told(error, knows_fencing));
        Response::encode(&header, &answer(ended))
    })))
}

fn answer(ended: Result<Option<Producer>, ErrorCode>) -> EndTxnResponse {
    let answer =
        EndTxnResponse::default().with_producer_id(WireProducerId(-1)).with_producer_epoch(-1);
    match ended {
        Ok(None) => answer,
        Ok(Some(next)) => {
            answer.with_producer_id(WireProducerId(next.id.0)).with_producer_epoch(next.epoch.0)
        }
        Err(error) => answer.with_error_code(error.code()),
    }
}
