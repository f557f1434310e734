//! AllocateProducerIds (67): a block of producer ids for a broker to give out (KIP-730).
//!
//! Versions: 0.
//! - A block is given once, also when its answer is lost.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `STALE_BROKER_EPOCH`, `UNKNOWN_SERVER_ERROR` when there
//! are no more ids, `NOT_CONTROLLER`.

use ottla_protocol::Decoded;
use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId, decode_request,
};
use ottla_types::{BrokerEpoch, NodeId};

use super::quorum::check_sender;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: AllocateProducerIdsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let answer = AllocateProducerIdsResponse::default();
    if let Err(error) = check_sender(services, &request) {
        let answer = answer.with_error_code(error.code());
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let (broker, epoch) = (NodeId(body.broker_id.0), BrokerEpoch(body.broker_epoch));
    let controller = services.controller.clone();
    Ok(Reply::Later(Box::pin(async move {
        let answer = match controller.allocate_producer_ids(broker, epoch).await {
            Ok(block) => answer
                .with_producer_id_start(ProducerId(block.first.0))
                .with_producer_id_len(block.count),
            Err(error) => answer.with_error_code(error.code().code()),
        };
        Response::encode(&header, &answer)
    })))
}
