//! OffsetFetch (9): how far groups have read.
//!
//! Versions: 1-10. 2 all topics, 5 leader epochs, 7 only what no transaction is about to change
//! (KIP-447), 8 several groups (KIP-709), 9 members of KIP-848's groups, 10 topics by id.
//! - What was never committed, or belongs to a topic that was deleted, is offset -1.
//! - Only what is committed in the log is told.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `TOPIC_AUTHORIZATION_FAILED`, `UNKNOWN_TOPIC_ID`,
//! `UNSTABLE_OFFSET_COMMIT`, `UNKNOWN_MEMBER_ID`, `NOT_COORDINATOR`,
//! `COORDINATOR_LOAD_IN_PROGRESS`. In version 1 an error of the group is that of each partition.

use std::collections::BTreeMap;

use ottla_coordinator::group::{FetchedOffset, GroupId, GroupShard, OffsetKey};
use ottla_metadata::image::Image;
use ottla_protocol::group_offsets::{
    FetchedGroup, FetchedPartition, FetchedTopic, OffsetFetchGroup, OffsetFetchRequest,
    OffsetFetchResponse, OffsetFetchTopic,
};
use ottla_protocol::{Decoded, Message, Reader};
use ottla_security::Operation;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, Uuid};

use super::resolve;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const GROUP_ERRORS_FROM: i16 = 2;
const GROUPS_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let mut body = OffsetFetchRequest::decode(&mut Reader::new(&request.body), version)?;
    if version < GROUPS_FROM {
        let (group_id, topics) = (std::mem::take(&mut body.group_id), body.topics.take());
        body.groups = vec![OffsetFetchGroup { group_id, topics, ..OffsetFetchGroup::default() }];
    }
    let image = services.images.load();
    let handler = Handler {
        services,
        image: &image,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        require_stable: body.require_stable,
        by_id: version >= TOPIC_IDS_FROM,
    };
    let groups: Vec<_> = body.groups.iter().map(|group| handler.group(group)).collect();
    let mut answer = OffsetFetchResponse::default();
    if version >= GROUPS_FROM {
        answer.groups = groups;
    } else {
        let group = groups.into_iter().next().expect("the request's own");
        answer.topics = group.topics;
        if group.error_code != 0 && version < GROUP_ERRORS_FROM {
            answer.topics = body.groups[0]
                .topics
                .iter()
                .flatten()
                .map(|topic| refused(topic, group.error_code))
                .collect();
        }
        answer.error_code = group.error_code;
    }
    Ok(Reply::Now(Response::message(header, &answer)))
}

struct Handler<'a> {
    services: &'a Services,
    image: &'a Image,
    permissions: Permissions<'a>,
    require_stable: bool,
    by_id: bool,
}

impl Handler<'_> {
    fn group(&self, asked: &OffsetFetchGroup) -> FetchedGroup {
        let (topics, error) = match self.topics(asked) {
            Ok(topics) => (topics, ErrorCode::None),
            Err(error) => (Vec::new(), error),
        };
        FetchedGroup { group_id: asked.group_id.clone(), topics, error_code: error.code() }
    }

    fn topics(&self, asked: &OffsetFetchGroup) -> Result<Vec<FetchedTopic>, ErrorCode> {
        if !self.permissions.group(Operation::Describe, &asked.group_id) {
            return Err(ErrorCode::GroupAuthorizationFailed);
        }
        let group = GroupId::from(asked.group_id.as_str());
        self.services.groups.read(&group, |shard| {
            shard.check_fetch(&group, asked.member_id.as_deref(), asked.member_epoch)?;
            Ok(match &asked.topics {
                None => self.all(shard, &group),
                Some(topics) => topics.iter().map(|it| self.topic(shard, &group, it)).collect(),
            })
        })?
    }

    fn topic(&self, shard: &GroupShard, group: &GroupId, asked: &OffsetFetchTopic) -> FetchedTopic {
        let Some(named) = resolve(self.image, self.by_id, &asked.name, asked.topic_id) else {
            return refused(asked, ErrorCode::UnknownTopicId.code());
        };
        if !self.permissions.topic(Operation::Describe, &named.name) {
            return refused(asked, ErrorCode::TopicAuthorizationFailed.code());
        }
        let partition = |index: &PartitionId| {
            let key =
                OffsetKey { group: group.clone(), topic: named.name.clone(), partition: *index };
            fetched(*index, shard.fetch_offset(&key, named.id, self.require_stable))
        };
        FetchedTopic {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        }
    }

    /// All topics of a group that the sender may know of.
    fn all(&self, shard: &GroupShard, group: &GroupId) -> Vec<FetchedTopic> {
        let mut topics: BTreeMap<TopicName, Vec<FetchedPartition>> = BTreeMap::new();
        for (key, offset) in shard.fetch_all_offsets(group, self.require_stable) {
            let partitions = topics.entry(key.topic).or_default();
            partitions.push(fetched(key.partition, offset));
        }
        let told = |(name, partitions): (TopicName, Vec<FetchedPartition>)| {
            let known = self.image.topics().by_name(&name).map(|topic| topic.id);
            // A topic that has no id any more cannot be named by it.
            let missing = self.by_id && known.is_none();
            let may = !missing && self.permissions.topic(Operation::Describe, &name);
            let topic_id = known.unwrap_or(Uuid::ZERO);
            may.then_some(FetchedTopic { name, topic_id, partitions })
        };
        topics.into_iter().filter_map(told).collect()
    }
}

fn fetched(partition_index: PartitionId, offset: FetchedOffset) -> FetchedPartition {
    let none = |error: ErrorCode| FetchedPartition {
        partition_index,
        committed_offset: Offset(-1),
        committed_leader_epoch: LeaderEpoch::NONE,
        metadata: Some(String::new()),
        error_code: error.code(),
    };
    match offset {
        FetchedOffset::None => none(ErrorCode::None),
        FetchedOffset::Unstable => none(ErrorCode::UnstableOffsetCommit),
        FetchedOffset::Offset(offset) => FetchedPartition {
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata.to_string()),
            ..none(ErrorCode::None)
        },
    }
}

fn refused(topic: &OffsetFetchTopic, error_code: i16) -> FetchedTopic {
    let partition = |index: &PartitionId| FetchedPartition {
        error_code,
        ..fetched(*index, FetchedOffset::None)
    };
    FetchedTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}
