//! CreatePartitions (37): adds partitions to topics through the controller (KIP-195).
//!
//! Versions: 0-3. 2 flexible, 3 throttling errors (KIP-599).
//! - Topics are decided one by one; one that is refused keeps no other from growing. A topic that
//!   is named twice is refused, and nobody is asked whether the sender may change it.
//! - The answer comes when the partitions can be used on this node. Without time to wait nothing
//!   is done.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS` (not more than there are),
//! `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR` (nowhere to place them),
//! `INVALID_REQUEST` (named twice), `TOPIC_AUTHORIZATION_FAILED`, `POLICY_VIOLATION` (too many at
//! once), `NOT_CONTROLLER`, `REQUEST_TIMED_OUT`.

use std::collections::BTreeSet;

use ottla_metadata::ControllerError;
use ottla_metadata::controller::{GrownTopic, NewPartitions, PartitionsOutcome};
use ottla_protocol::Decoded;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, StrBytes, TopicName as WireName,
    decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId};

use super::{Permissions, wait_of};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: CreatePartitionsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let (once, mut results) = sift(&body.topics);
    let mut allowed = Vec::new();
    for topic in once {
        if permissions.topic(Operation::Alter, &topic.name) {
            allowed.push(grown(topic));
        } else {
            results.push(refuse(&topic.name, ErrorCode::TopicAuthorizationFailed, None));
        }
    }
    let names: Vec<String> = allowed.iter().map(|topic| topic.name.clone()).collect();
    let request = NewPartitions { topics: allowed, validate_only: body.validate_only };
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    Ok(Reply::Later(Box::pin(async move {
        let created = match wait_of(body.timeout_ms) {
            Some(wait) => clock.timeout(wait, controller.create_partitions(request)).await,
            None => None,
        };
        match created.unwrap_or(Err(ControllerError::TimedOut)) {
            Ok(outcomes) => results.extend(outcomes.into_iter().map(result)),
            Err(error) => {
                results.extend(names.iter().map(|name| refuse(name, error.code(), None)));
            }
        }
        let answer = CreatePartitionsResponse::default().with_results(results);
        Response::encode(&header, &answer)
    })))
}

/// Parts the topics that are named once from those that are refused unseen.
fn sift(
    topics: &[CreatePartitionsTopic],
) -> (Vec<&CreatePartitionsTopic>, Vec<CreatePartitionsTopicResult>) {
    let mut seen = BTreeSet::new();
    let names = topics.iter().map(|topic| &topic.name);
    let twice: BTreeSet<&WireName> = names.filter(|name| !seen.insert(*name)).collect();
    let once = topics.iter().filter(|topic| !twice.contains(&topic.name)).collect();
    let message = || Some("Duplicate topic name.".to_owned());
    let refused = twice.iter().map(|name| refuse(name, ErrorCode::InvalidRequest, message()));
    (once, refused.collect())
}

fn grown(topic: &CreatePartitionsTopic) -> GrownTopic {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        let brokers = assignments.iter().map(|assignment| &assignment.broker_ids);
        brokers.map(|ids| ids.iter().map(|id| NodeId(id.0)).collect()).collect()
    });
    GrownTopic { name: topic.name.to_string(), count: topic.count, assignments }
}

fn result(outcome: PartitionsOutcome) -> CreatePartitionsTopicResult {
    match outcome.result {
        Ok(()) => refuse(&outcome.name, ErrorCode::None, None),
        Err(error) => refuse(&outcome.name, error.code(), error.message()),
    }
}

fn refuse(name: &str, error: ErrorCode, message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(WireName(StrBytes::from_string(name.to_owned())))
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}
