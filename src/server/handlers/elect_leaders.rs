//! ElectLeaders (43): elections on demand, through the controller (KIP-183, KIP-460).
//!
//! Versions: 0-2. 1 unclean elections and an error of the whole, 2 flexible.
//! - Without partitions everything is looked at; the answer then leaves out what needed nothing.
//! - The answer comes when this node goes by the new leaders. Without time to wait nothing is done.
//!
//! Errors: of the whole, and with each partition that is asked for, `CLUSTER_AUTHORIZATION_FAILED`,
//! `INVALID_REQUEST` (an unknown kind of election), `REQUEST_TIMED_OUT`, `NOT_CONTROLLER`,
//! `POLICY_VIOLATION` (too much at once); of a partition, `UNKNOWN_TOPIC_OR_PARTITION`,
//! `ELECTION_NOT_NEEDED`, `PREFERRED_LEADER_NOT_AVAILABLE`, `ELIGIBLE_LEADERS_NOT_AVAILABLE`.

use ottla_metadata::ControllerError;
use ottla_metadata::controller::{ElectLeaders, ElectedTopic, ElectionError, ElectionKind};
use ottla_protocol::Decoded;
use ottla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_protocol::messages::{
    ElectLeadersRequest, ElectLeadersResponse, StrBytes, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, PartitionId};

use super::{Permissions, wait_of};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
const ERROR_FROM: i16 = 1;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: ElectLeadersRequest = decode_request(&body, header.api_key, header.api_version)?;
    let version = header.api_version;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let wait = wait_of(body.timeout_ms);
    let asked = if permissions.cluster(Operation::Alter) {
        let timed_out = || (ControllerError::TimedOut.code(), None);
        wait.ok_or_else(timed_out).and_then(|wait| Ok((wait, elections(&body)?)))
    } else {
        let message = "Cluster authorization failed.".to_owned();
        Err((ErrorCode::ClusterAuthorizationFailed, Some(message)))
    };
    let (wait, asked) = match asked {
        Ok(asked) => asked,
        Err((error, message)) => {
            let answer = refuse_all(&body, version, error, message);
            return Ok(Reply::Now(Response::encode(&header, &answer)));
        }
    };
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    Ok(Reply::Later(Box::pin(async move {
        let elected = clock.timeout(wait, controller.elect_leaders(asked)).await;
        let answer = match elected.unwrap_or(Err(ControllerError::TimedOut)) {
            Ok(topics) => ElectLeadersResponse::default()
                .with_replica_election_results(topics.into_iter().map(result).collect()),
            Err(error) => refuse_all(&body, version, error.code(), None),
        };
        Response::encode(&header, &answer)
    })))
}

fn elections(body: &ElectLeadersRequest) -> Result<ElectLeaders, (ErrorCode, Option<String>)> {
    let kind = match body.election_type {
        PREFERRED => ElectionKind::Preferred,
        UNCLEAN => ElectionKind::Unclean,
        other => {
            let message = format!("Unknown election type {other}");
            return Err((ErrorCode::InvalidRequest, Some(message)));
        }
    };
    let partitions = body.topic_partitions.as_ref().map(|topics| {
        let ids = |indexes: &[i32]| indexes.iter().map(|index| PartitionId(*index)).collect();
        topics.iter().map(|asked| (asked.topic.to_string(), ids(&asked.partitions))).collect()
    });
    Ok(ElectLeaders { kind, partitions })
}

fn result(topic: ElectedTopic) -> ReplicaElectionResult {
    let partitions = topic.partitions.into_iter().map(|(id, elected)| {
        let error = elected.as_ref().err().map_or(ErrorCode::None, ElectionError::code);
        partition(id.0, error, elected.err().map(|error| error.to_string()))
    });
    ReplicaElectionResult::default()
        .with_topic(StrBytes::from_string(topic.name).into())
        .with_partition_result(partitions.collect())
}

fn partition(index: i32, error: ErrorCode, message: Option<String>) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}

fn refuse_all(
    body: &ElectLeadersRequest,
    version: i16,
    error: ErrorCode,
    message: Option<String>,
) -> ElectLeadersResponse {
    let results = body.topic_partitions.iter().flatten().map(|asked| {
        let refused =
            asked.partitions.iter().map(|index| partition(*index, error, message.clone()));
        ReplicaElectionResult::default()
            .with_topic(asked.topic.clone())
            .with_partition_result(refused.collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= ERROR_FROM { error.code() } else { 0 })
        .with_replica_election_results(results.collect())
}
