//! OffsetCommit (8): a group notes how far it has read.
//!
//! Versions: 2-10. 2-4 a time to keep the offsets for, 6 leader epochs (KIP-320), 7 static members
//! (KIP-345), 9 members of KIP-848's groups, 10 topics by id.
//! - The answer comes when the offsets are committed in the log.
//! - What is refused by topic or partition keeps nothing else from being committed.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `TOPIC_AUTHORIZATION_FAILED`,
//! `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `OFFSET_METADATA_TOO_LARGE`,
//! `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`,
//! `GROUP_ID_NOT_FOUND` (from version 9 on), `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use std::collections::BTreeMap;

use ottla_coordinator::group::{GroupId, MemberId, OffsetCommit, OffsetToCommit};
use ottla_metadata::image::Image;
use ottla_protocol::group_offsets::{
    OffsetCommitOutcome, OffsetCommitPartitionOutcome, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopic,
};
use ottla_protocol::{Decoded, Message, Reader};
use ottla_security::Operation;
use ottla_types::{ErrorCode, TopicName, Uuid};

use super::{exists, resolve};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const TOPIC_IDS_FROM: i16 = 10;
const EPOCHS_FROM: i16 = 9;
const NOT_GIVEN: i64 = -1;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body = OffsetCommitRequest::decode(&mut Reader::new(&body), version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.group(Operation::Read, &body.group_id) {
        let answer = all(&body, ErrorCode::GroupAuthorizationFailed);
        return Ok(Reply::Now(Response::message(&header, &answer)));
    }
    let image = services.images.load();
    let by_id = version >= TOPIC_IDS_FROM;
    let mut sorted = Sorted::of(&body.topics, &image, &permissions, by_id);
    if sorted.offsets.is_empty() {
        return Ok(Reply::Now(Response::message(&header, &sorted.answer)));
    }
    let commit = OffsetCommit {
        group: GroupId::from(body.group_id.as_str()),
        member: MemberId::from(body.member_id.as_str()),
        instance: body.group_instance_id.clone(),
        generation: body.generation,
        knows_epochs: version >= EPOCHS_FROM,
        retention_ms: Some(body.retention_time_ms).filter(|ms| *ms != NOT_GIVEN),
        offsets: std::mem::take(&mut sorted.offsets),
    };
    let committed = services.groups.commit_offsets(commit);
    Ok(Reply::Later(Box::pin(async move {
        let result = committed.await;
        Response::message(&header, &sorted.answer_with(&result))
    })))
}

/// A request's offsets, sorted by what can be done with them.
pub(super) struct Sorted {
    /// The answer; what is to be committed has no error yet.
    pub(super) answer: OffsetCommitResponse,
    /// What is to be committed.
    pub(super) offsets: Vec<OffsetToCommit>,
    /// Where in the answer the outcome of each goes: topic and partition.
    places: Vec<(usize, usize)>,
    /// Where in the answer a topic is.
    topics: BTreeMap<(TopicName, Uuid), usize>,
}

impl Sorted {
    pub(super) fn of(
        requested: &[OffsetCommitTopic],
        image: &Image,
        permissions: &Permissions<'_>,
        by_id: bool,
    ) -> Sorted {
        let answer = OffsetCommitResponse::default();
        let topics = BTreeMap::new();
        let mut sorted = Sorted { answer, offsets: Vec::new(), places: Vec::new(), topics };
        for topic in requested {
            sorted.take(topic, image, permissions, by_id);
        }
        sorted
    }

    fn take(
        &mut self,
        topic: &OffsetCommitTopic,
        image: &Image,
        permissions: &Permissions<'_>,
        by_id: bool,
    ) {
        let Some(named) = resolve(image, by_id, &topic.name, topic.topic_id) else {
            self.add(refuse(topic, ErrorCode::UnknownTopicId));
            return;
        };
        if !permissions.topic(Operation::Read, &named.name) {
            self.add(refuse(topic, ErrorCode::TopicAuthorizationFailed));
            return;
        }
        let (at, first) = self.add(refuse(topic, ErrorCode::None));
        for (index, partition) in (first..).zip(&topic.partitions) {
            if !exists(image, &named, partition.partition_index) {
                let outcome = &mut self.answer.topics[at].partitions[index];
                outcome.error_code = ErrorCode::UnknownTopicOrPartition.code();
                continue;
            }
            self.places.push((at, index));
            self.offsets.push(OffsetToCommit {
                topic: named.name.clone(),
                topic_id: named.id,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone().unwrap_or_default(),
            });
        }
    }

    /// Adds to the answer, in which a topic stands once; tells where its first partition went.
    fn add(&mut self, outcome: OffsetCommitOutcome) -> (usize, usize) {
        let topics = &mut self.answer.topics;
        let place = self.topics.entry((outcome.name.clone(), outcome.topic_id));
        let at = *place.or_insert(topics.len());
        if at == topics.len() {
            topics.push(outcome);
            return (at, 0);
        }
        let first = topics[at].partitions.len();
        topics[at].partitions.extend(outcome.partitions);
        (at, first)
    }

    pub(super) fn answer_with(
        mut self,
        result: &Result<Vec<ErrorCode>, ErrorCode>,
    ) -> OffsetCommitResponse {
        for (index, (topic, partition)) in self.places.iter().enumerate() {
            let error = match result {
                Ok(outcomes) => outcomes[index],
                Err(error) => *error,
            };
            self.answer.topics[*topic].partitions[*partition].error_code = error.code();
        }
        self.answer
    }
}

fn all(body: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = body.topics.iter().map(|topic| refuse(topic, error)).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

pub(super) fn refuse(topic: &OffsetCommitTopic, error: ErrorCode) -> OffsetCommitOutcome {
    let partitions = topic.partitions.iter().map(|partition| OffsetCommitPartitionOutcome {
        partition_index: partition.partition_index,
        error_code: error.code(),
    });
    OffsetCommitOutcome {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}
