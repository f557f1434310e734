//! DeleteRecords (21): lets partitions begin at a later offset (KIP-107).
//!
//! Versions: 0-2. 2 flexible.
//! - Offset -1 is the high watermark. A lower offset than the present start changes nothing. The
//!   answer holds where the log begins now.
//! - Where logs begin is durable before it is answered: one write of
//!   `log-start-offset-checkpoint` for all partitions of a directory. Segments wholly below are
//!   deleted after `file.delete.delay.ms`.
//! - A start inside a batch is kept exactly; a Fetch from there answers the whole batch.
//! - There are no followers to wait for, so the time-out is not needed.
//! - A partition that is named twice is answered once, with its last offset, as Kafka does.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, `INVALID_TOPIC_EXCEPTION`
//! for an internal topic, `POLICY_VIOLATION` for one that is compacted only,
//! `OFFSET_OUT_OF_RANGE` for a negative offset and one above the high watermark,
//! `NOT_LEADER_OR_FOLLOWER`, `KAFKA_STORAGE_ERROR` (also when the disk is full; nothing is deleted
//! then).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::Image;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use ottla_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, TopicName as WireName, decode_request,
};
use ottla_protocol::{Decoded, RequestHeader};
use ottla_replication::{Partition, Replicas};
use ottla_security::Operation;
use ottla_types::{ErrorCode, Offset, PartitionId, TopicIdPartition};

use super::{Permissions, is_internal};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// What is asked, or answered, for each partition.
type ByPartition<T> = BTreeMap<(WireName, i32), T>;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: DeleteRecordsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let image = services.images.load();
    let allowed: BTreeMap<&WireName, bool> = body
        .topics
        .iter()
        .map(|topic| (&topic.name, permissions.topic(Operation::Delete, &topic.name)))
        .collect();
    let mut asked: ByPartition<i64> = BTreeMap::new();
    for topic in &body.topics {
        for partition in &topic.partitions {
            asked.insert((topic.name.clone(), partition.partition_index), partition.offset);
        }
    }
    let mut answers: ByPartition<Result<Offset, ErrorCode>> = BTreeMap::new();
    let mut deletions = Vec::new();
    for ((topic, index), offset) in asked {
        match find(&image, &services.replicas, allowed[&topic], &topic, index) {
            Ok(partition) => {
                let before = (offset != HIGH_WATERMARK).then_some(Offset(offset));
                deletions.push(((topic, index), (partition, before)));
            }
            Err(error) => drop(answers.insert((topic, index), Err(error))),
        }
    }
    if deletions.is_empty() {
        return Ok(Reply::Now(answer(&header, answers)));
    }
    let (runtime, replicas, plane) =
        (services.runtime.clone(), services.replicas.clone(), peer.plane);
    Ok(Reply::Later(Box::pin(async move {
        let (places, deletions): (Vec<_>, Vec<_>) = deletions.into_iter().unzip();
        let begun = runtime.blocking(plane, move || replicas.delete_records(&deletions)).await;
        let begun = begun.into_iter().map(|start| start.map_err(|error| error.code()));
        answers.extend(std::iter::zip(places, begun));
        answer(&header, answers)
    })))
}

fn find(
    image: &Image,
    replicas: &Replicas,
    is_allowed: bool,
    topic: &WireName,
    index: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    if !is_allowed {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let partition = PartitionId(index);
    let found = image.topics().by_name(topic).filter(|topic| topic.partition(partition).is_some());
    let found = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let id = TopicIdPartition { topic_id: found.id, partition };
    replicas.get(&id).ok_or_else(|| replicas.why_missing(&id))
}

fn answer(header: &RequestHeader, answers: ByPartition<Result<Offset, ErrorCode>>) -> Response {
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for ((topic, index), begun) in answers {
        let error = begun.as_ref().err().copied().unwrap_or(ErrorCode::None);
        let partition = DeleteRecordsPartitionResult::default()
            .with_partition_index(index)
            .with_low_watermark(begun.map_or(-1, |start| start.0))
            .with_error_code(error.code());
        match topics.last_mut() {
            Some(last) if last.name == topic => last.partitions.push(partition),
            _ => topics.push(
                DeleteRecordsTopicResult::default()
                    .with_name(topic)
                    .with_partitions(vec![partition]),
            ),
        }
    }
    Response::encode(header, &DeleteRecordsResponse::default().with_topics(topics))
}
