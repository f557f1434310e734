//! OffsetDelete (47): offsets of a group are forgotten (KIP-496).
//!
//! Versions: 0.
//! - Not those of topics that a member reads.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `TOPIC_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`,
//! `UNKNOWN_TOPIC_OR_PARTITION`, `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP` (members that are not
//! consumers), `GROUP_SUBSCRIBED_TO_TOPIC`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::group::GroupId;
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, decode_request};
use ottla_security::Operation;
use ottla_types::{ErrorCode, PartitionId, TopicName};

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
    let body: OffsetDeleteRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if let Some(error) = permissions.refusal(Operation::Delete, &body.group_id) {
        let answer = OffsetDeleteResponse::default().with_error_code(error.code());
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let image = services.images.load();
    let mut answer = OffsetDeleteResponse::default();
    let (mut partitions, mut places) = (Vec::new(), Vec::new());
    for (at, topic) in body.topics.iter().enumerate() {
        let mut answered = Vec::new();
        for (index, partition) in topic.partitions.iter().enumerate() {
            let error = refusal_of(&image, &permissions, topic, partition.partition_index);
            if error == ErrorCode::None {
                let name = TopicName::from(&**topic.name);
                partitions.push((name, PartitionId(partition.partition_index)));
                places.push((at, index));
            }
            let partition = OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index);
            answered.push(partition.with_error_code(error.code()));
        }
        let topic = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
        answer.topics.push(topic.with_partitions(answered));
    }
    let group = GroupId::from(&**body.group_id);
    let deleted = services.groups.delete_offsets(&group, &partitions);
    Ok(Reply::Later(Box::pin(async move {
        match deleted.await {
            Err(error) => answer = OffsetDeleteResponse::default().with_error_code(error.code()),
            Ok(outcomes) => {
                for ((topic, partition), outcome) in places.into_iter().zip(outcomes) {
                    answer.topics[topic].partitions[partition].error_code = outcome.code();
                }
            }
        }
        Response::encode(&header, &answer)
    })))
}

fn refusal_of(
    image: &Image,
    permissions: &Permissions<'_>,
    topic: &OffsetDeleteRequestTopic,
    partition: i32,
) -> ErrorCode {
    if !permissions.topic(Operation::Read, &topic.name) {
        ErrorCode::TopicAuthorizationFailed
    } else if image.partition(&topic.name, PartitionId(partition)).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::None
    }
}
