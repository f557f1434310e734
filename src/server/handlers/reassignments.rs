//! AlterPartitionReassignments (45) and ListPartitionReassignments (46): other brokers for
//! partitions, and what is under way of that (KIP-455).
//!
//! Versions: Alter 0-1 (1 may forbid another number of replicas, KIP-860), List 0.
//! - With one broker only that one can be assigned; the answers are those of Kafka with one broker.
//! - Alter is answered when this node knows the reassignments, not when they are complete. Without
//!   time to wait nothing is done.
//! - List tells of partitions that are being reassigned and of no others, known or not; topics come
//!   by name when all are asked for.
//!
//! Errors: of the whole `CLUSTER_AUTHORIZATION_FAILED`, `REQUEST_TIMED_OUT`, `NOT_CONTROLLER`,
//! `POLICY_VIOLATION` (too much at once); of a partition `UNKNOWN_TOPIC_OR_PARTITION`,
//! `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR`, `NO_REASSIGNMENT_IN_PROGRESS`.

use ottla_metadata::ControllerError;
use ottla_metadata::controller::{
    ReassignedTopic, ReassignmentError, Reassignments, WantedReplicas,
};
use ottla_metadata::image::{Image, Partition, Topic};
use ottla_protocol::Decoded;
use ottla_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use ottla_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, StrBytes,
    decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId, PartitionId};

use super::{Permissions, wait_if_work};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const DENIED: StrBytes = StrBytes::from_static_str("Cluster authorization failed.");

/// Answers an AlterPartitionReassignments.
///
/// # Errors
/// When the body is not one.
pub fn alter(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: AlterPartitionReassignmentsRequest =
        decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.cluster(Operation::Alter) {
        let error = ErrorCode::ClusterAuthorizationFailed;
        let answer = refuse_all(&body, error, Some(DENIED));
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let asked = Reassignments {
        topics: body
            .topics
            .iter()
            .map(|topic| (topic.name.to_string(), topic.partitions.iter().map(wanted).collect()))
            .collect(),
        may_change_replication_factor: body.allow_replication_factor_change,
    };
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    let wait = wait_if_work(body.timeout_ms, !body.topics.is_empty());
    Ok(Reply::Later(Box::pin(async move {
        let done = match wait {
            Some(wait) => clock.timeout(wait, controller.reassign(asked)).await,
            None => None,
        };
        let answer = match done.unwrap_or(Err(ControllerError::TimedOut)) {
            // Kafka says nothing about nothing in this way.
            Ok(topics) if topics.is_empty() => AlterPartitionReassignmentsResponse::default()
                .with_error_message(Some(StrBytes::from_static_str(""))),
            Ok(topics) => AlterPartitionReassignmentsResponse::default()
                .with_error_message(None)
                .with_responses(topics.into_iter().map(result).collect()),
            Err(error) => refuse_all(&body, error.code(), None),
        };
        let answer =
            answer.with_allow_replication_factor_change(body.allow_replication_factor_change);
        Response::encode(&header, &answer)
    })))
}

fn wanted(partition: &ReassignablePartition) -> WantedReplicas {
    let replicas = partition.replicas.as_ref();
    let replicas = replicas.map(|ids| ids.iter().map(|id| NodeId(id.0)).collect());
    (PartitionId(partition.partition_index), replicas)
}

fn result(topic: ReassignedTopic) -> ReassignableTopicResponse {
    let partitions = topic.partitions.into_iter().map(|(id, done)| {
        let error = done.as_ref().err().map_or(ErrorCode::None, ReassignmentError::code);
        let message = done.err().and_then(|error| error.message());
        partition(id.0, error, message.map(StrBytes::from_string))
    });
    ReassignableTopicResponse::default()
        .with_name(StrBytes::from_string(topic.name).into())
        .with_partitions(partitions.collect())
}

fn partition(
    index: i32,
    error: ErrorCode,
    message: Option<StrBytes>,
) -> ReassignablePartitionResponse {
    ReassignablePartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_error_message(message)
}

fn refuse_all(
    body: &AlterPartitionReassignmentsRequest,
    error: ErrorCode,
    message: Option<StrBytes>,
) -> AlterPartitionReassignmentsResponse {
    let responses = body.topics.iter().map(|topic| {
        let refused = topic.partitions.iter();
        let refused = refused.map(|it| partition(it.partition_index, error, message.clone()));
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(refused.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_error_code(error.code())
        .with_error_message(message.clone())
        .with_responses(responses.collect())
}

/// Answers a ListPartitionReassignments.
///
/// # Errors
/// When the body is not one.
pub fn list(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: ListPartitionReassignmentsRequest =
        decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let answer = ListPartitionReassignmentsResponse::default();
    let answer = if permissions.cluster(Operation::Describe) {
        let topics = under_way(&services.images.load(), &body);
        answer.with_error_message(None).with_topics(topics)
    } else {
        answer
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code())
            .with_error_message(Some(DENIED))
    };
    Ok(Reply::Now(Response::encode(&header, &answer)))
}

fn under_way(
    image: &Image,
    body: &ListPartitionReassignmentsRequest,
) -> Vec<OngoingTopicReassignment> {
    let ongoing = |topic: &Topic, partitions: Vec<OngoingPartitionReassignment>| {
        let name = StrBytes::from_string(topic.name.to_string());
        let found = !partitions.is_empty();
        found.then(|| {
            let topic = OngoingTopicReassignment::default();
            topic.with_name(name.into()).with_partitions(partitions)
        })
    };
    match &body.topics {
        None => {
            let topics = image.topics().from_name("");
            let all = topics.filter_map(|topic| {
                let partitions = topic.partitions().filter(|(_, it)| it.is_reassigning());
                ongoing(topic, partitions.map(|(id, it)| described(id, it)).collect())
            });
            all.collect()
        }
        Some(asked) => {
            let named = asked.iter().filter_map(|asked| {
                let topic = image.topics().by_name(&asked.name)?;
                let partitions = asked.partition_indexes.iter().filter_map(|index| {
                    let id = PartitionId(*index);
                    let partition = topic.partition(id)?;
                    partition.is_reassigning().then(|| described(id, partition))
                });
                ongoing(topic, partitions.collect())
            });
            named.collect()
        }
    }
}

fn described(id: PartitionId, partition: &Partition) -> OngoingPartitionReassignment {
    let ids = |ids: &[NodeId]| ids.iter().map(|id| BrokerId(id.0)).collect::<Vec<_>>();
    OngoingPartitionReassignment::default()
        .with_partition_index(id.0)
        .with_replicas(ids(&partition.replicas))
        .with_adding_replicas(ids(&partition.adding))
        .with_removing_replicas(ids(&partition.removing))
}
