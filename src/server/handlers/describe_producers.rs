//! DescribeProducers (61): who writes to partitions, and which transactions are open (KIP-664).
//!
//! Versions: 0.
//! - Any replica answers, not only the leader.
//! - A partition that is not there is `UNKNOWN_TOPIC_OR_PARTITION`, with a text when the topic is
//!   not there either, and without one otherwise, as with Kafka.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `TOPIC_AUTHORIZATION_FAILED`,
//! `NOT_LEADER_OR_FOLLOWER`, `KAFKA_STORAGE_ERROR`.

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId, StrBytes, decode_request,
};
use ottla_replication::Replicas;
use ottla_security::Operation;
use ottla_storage::ActiveProducer;
use ottla_types::{ErrorCode, Offset, PartitionId, TopicIdPartition, TopicName};

use super::Permissions;
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
    let body: DescribeProducersRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let image = services.images.load();
    let topics = body.topics.into_iter().map(|topic| {
        let refused = refusal(&image, &permissions, &topic.name);
        let describe = |index: &i32| match &refused {
            Some((error, text)) => refuse(*index, *error, Some(text.clone())),
            None => describe(&image, &services.replicas, &topic.name, *index),
        };
        let partitions = topic.partition_indexes.iter().map(describe).collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let answer = DescribeProducersResponse::default().with_topics(topics.collect());
    Ok(Reply::Now(Response::encode(&header, &answer)))
}

/// Why nothing is told of a topic.
fn refusal(
    image: &Image,
    permissions: &Permissions<'_>,
    name: &str,
) -> Option<(ErrorCode, String)> {
    if let Err(error) = TopicName::validate(name) {
        return Some((ErrorCode::InvalidTopicException, error.to_string()));
    }
    if !permissions.topic(Operation::Read, name) {
        return Some((ErrorCode::TopicAuthorizationFailed, "Topic authorization failed.".into()));
    }
    let text = "This server does not host this topic-partition.";
    let missing = image.topics().by_name(name).is_none();
    missing.then(|| (ErrorCode::UnknownTopicOrPartition, text.to_owned()))
}

fn describe(image: &Image, replicas: &Replicas, topic: &str, index: i32) -> PartitionResponse {
    match producers(image, replicas, topic, PartitionId(index)) {
        Ok(producers) => PartitionResponse::default()
            .with_partition_index(index)
            .with_active_producers(producers.into_iter().map(wire_producer).collect()),
        Err(error) => refuse(index, error, None),
    }
}

fn producers(
    image: &Image,
    replicas: &Replicas,
    topic: &str,
    partition: PartitionId,
) -> Result<Vec<ActiveProducer>, ErrorCode> {
    let found = image.topics().by_name(topic).filter(|topic| topic.partition(partition).is_some());
    let found = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let id = TopicIdPartition { topic_id: found.id, partition };
    let partition = replicas.get(&id).ok_or_else(|| replicas.why_missing(&id))?;
    partition.producers().map_err(|error| error.code())
}

fn wire_producer(producer: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.id.0))
        .with_producer_epoch(i32::from(producer.epoch.0))
        .with_last_sequence(producer.last_sequence.unwrap_or(-1))
        .with_last_timestamp(producer.last_timestamp.0)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start.unwrap_or(Offset(-1)).0)
}

fn refuse(index: i32, error: ErrorCode, text: Option<String>) -> PartitionResponse {
    PartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_error_message(text.map(StrBytes::from_string))
}
