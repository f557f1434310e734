//! CreateTopics (19): creates topics through the controller.
//!
//! Versions: 2-7. 4 defaults for partitions and replicas (-1), 5 what was created in the answer
//! (KIP-525), 6 throttling errors, 7 topic ids.
//! - Topics are decided one by one; one that is refused keeps no other from being created.
//! - The answer comes when the partitions can be used on this node; Kafka's comes when the records
//!   are committed, a moment earlier.
//! - Without time to wait (a timeout of 0 or less) nothing is created.
//! - Internal topics are created by the broker alone: `__cluster_metadata` is refused.
//! - Configs that nothing reads are refused, never ignored.
//!
//! Errors: `TOPIC_ALREADY_EXISTS`, `INVALID_TOPIC_EXCEPTION`, `INVALID_PARTITIONS`,
//! `INVALID_REPLICATION_FACTOR`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`, `INVALID_REQUEST`,
//! `TOPIC_AUTHORIZATION_FAILED`, `POLICY_VIOLATION` (too much at once), `NOT_CONTROLLER`,
//! `REQUEST_TIMED_OUT`.

use std::collections::BTreeSet;

use ottla_metadata::ControllerError;
use ottla_metadata::controller::{
    CreateTopics, CreatedTopic, EffectiveConfig, ManualAssignment, NewTopic, TopicOutcome,
};
use ottla_protocol::Decoded;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use ottla_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, StrBytes, TopicName as WireName, decode_request,
    to_wire_uuid,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId, PartitionId};

use super::{Permissions, told, wait_if_work};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const UNKNOWN: i32 = -1;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: CreateTopicsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let may_create_all = permissions.cluster(Operation::Create);
    let may_create = |name: &str| may_create_all || permissions.topic(Operation::Create, name);
    let (allowed, denied): (Vec<_>, Vec<_>) =
        body.topics.into_iter().partition(|topic| may_create(&topic.name));
    let names: Vec<String> = allowed.iter().map(|topic| topic.name.to_string()).collect();
    let describable: BTreeSet<String> = names
        .iter()
        .filter(|name| permissions.topic(Operation::DescribeConfigs, name))
        .cloned()
        .collect();
    let mut results: Vec<CreatableTopicResult> = denied
        .iter()
        .map(|topic| refuse(&topic.name, ErrorCode::TopicAuthorizationFailed, None))
        .collect();
    let request = CreateTopics {
        topics: allowed.into_iter().map(new_topic).collect(),
        validate_only: body.validate_only,
    };
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    let wait = wait_if_work(body.timeout_ms, request.asks_for_topics());
    Ok(Reply::Later(Box::pin(async move {
        let created = match wait {
            Some(wait) => clock.timeout(wait, controller.create_topics(request)).await,
            None => None,
        };
        match created.unwrap_or(Err(ControllerError::TimedOut)) {
            Ok(outcomes) => results.extend(outcomes.into_iter().map(|o| result(o, &describable))),
            Err(error) => {
                let (code, message) = (error.code(), told(&error));
                results.extend(names.iter().map(|name| refuse(name, code, message.clone())));
            }
        }
        let answer = CreateTopicsResponse::default().with_topics(results);
        Response::encode(&header, &answer)
    })))
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.iter().map(|assignment| ManualAssignment {
        partition: PartitionId(assignment.partition_index),
        replicas: assignment.broker_ids.iter().map(|id| NodeId(id.0)).collect(),
    });
    let configs = topic
        .configs
        .iter()
        .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)));
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn result(outcome: TopicOutcome, describable: &BTreeSet<String>) -> CreatableTopicResult {
    match outcome.result {
        Ok(created) if describable.contains(&outcome.name) => described(&outcome.name, created),
        Ok(created) => named(&outcome.name)
            .with_topic_id(to_wire_uuid(created.topic_id))
            .with_topic_config_error_code(ErrorCode::TopicAuthorizationFailed.code())
            .with_num_partitions(UNKNOWN)
            .with_replication_factor(-1),
        Err(error) => refuse(&outcome.name, error.code(), error.message()),
    }
}

fn described(name: &str, created: CreatedTopic) -> CreatableTopicResult {
    let config = |config: EffectiveConfig| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(config.name))
            .with_value(Some(StrBytes::from_string(config.value)))
            .with_config_source(config.source as i8)
    };
    named(name)
        .with_topic_id(to_wire_uuid(created.topic_id))
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(created.configs.into_iter().map(config).collect()))
}

fn refuse(name: &str, error: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    named(name)
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
        .with_num_partitions(UNKNOWN)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

fn named(name: &str) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(WireName(StrBytes::from_string(name.to_owned())))
        .with_error_message(None)
}
