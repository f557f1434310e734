//! OffsetForLeaderEpoch (23): where the epoch of a leader ends (KIP-101, KIP-279, KIP-320).
//!
//! Versions: 2-4. 2 the client's own epoch is checked, 3 replica id, 4 flexible.
//! - The answer is the largest epoch at most the one asked for, and the offset behind its last
//!   record: the end of the log for the present epoch. An epoch that is not known is -1 and -1.
//! - Who may do CLUSTER_ACTION sees all; others need DESCRIBE on each topic.
//! - Topics that may not be seen are answered last, as with Kafka.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, `NOT_LEADER_OR_FOLLOWER`,
//! `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `KAFKA_STORAGE_ERROR`.

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use ottla_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, decode_request,
};
use ottla_replication::Replicas;
use ottla_security::Operation;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicIdPartition};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset(-1));

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let body: OffsetForLeaderEpochRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    let is_broker = permissions.cluster(Operation::ClusterAction);
    let image = services.images.load();
    let may_see = |topic: &&OffsetForLeaderTopic| {
        is_broker || permissions.topic(Operation::Describe, &topic.topic)
    };
    let (seen, denied): (Vec<_>, Vec<_>) = body.topics.iter().partition(may_see);
    let found = seen.into_iter().map(|topic| {
        results(topic, |asked| end_of(&image, &services.replicas, &topic.topic, asked))
    });
    let denied = denied
        .into_iter()
        .map(|topic| results(topic, |_| Err(ErrorCode::TopicAuthorizationFailed)));
    let topics = found.chain(denied).collect();
    let answer = OffsetForLeaderEpochResponse::default().with_topics(topics);
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn results(
    topic: &OffsetForLeaderTopic,
    find: impl Fn(&OffsetForLeaderPartition) -> Result<(LeaderEpoch, Offset), ErrorCode>,
) -> OffsetForLeaderTopicResult {
    let partitions = topic.partitions.iter().map(|asked| {
        let found = find(asked);
        let error = found.err().unwrap_or(ErrorCode::None);
        let (epoch, end) = found.unwrap_or(UNKNOWN);
        EpochEndOffset::default()
            .with_partition(asked.partition)
            .with_error_code(error.code())
            .with_leader_epoch(epoch.0)
            .with_end_offset(end.0)
    });
    OffsetForLeaderTopicResult::default()
        .with_topic(topic.topic.clone())
        .with_partitions(partitions.collect())
}

fn end_of(
    image: &Image,
    replicas: &Replicas,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let topic = image.topics().by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = PartitionId(asked.partition);
    let id = TopicIdPartition { topic_id: topic.id, partition };
    topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = replicas.get(&id).ok_or_else(|| replicas.why_missing(&id))?;
    let known = LeaderEpoch(asked.current_leader_epoch);
    let known = (known >= LeaderEpoch(0)).then_some(known);
    let end = partition.end_of_epoch(known, LeaderEpoch(asked.leader_epoch));
    Ok(end.map_err(|error| error.code())?.unwrap_or(UNKNOWN))
}
