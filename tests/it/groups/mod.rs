//! Groups and their offsets, over a raw client.

mod compacted;
mod consumers;
mod members;
mod mixed;
mod offsets;
mod pipelined;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest,
};
use ottla_protocol::group_offsets::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchGroup,
    OffsetFetchRequest, OffsetFetchTopic,
};
use ottla_types::{ErrorCode, Offset, PartitionId, TopicName, Uuid};

use crate::client::Client;
use crate::node::wait_until;
use crate::requests::{Topic, error, text, topic_name};

/// Waits until a group has a coordinator that serves it.
pub fn find_coordinator_of(client: &mut Client, group: &str) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    wait_until("there is a coordinator", || {
        let answer = client.call(4, &request);
        error(answer.coordinators[0].error_code) == ErrorCode::None
    });
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub generation: i32,
    pub leader: String,
}

/// A request to join as a consumer.
pub fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"me"));
    JoinGroupRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(member))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// A request to leave.
pub fn leave_request(group: &str, member: &str) -> LeaveGroupRequest {
    let member = MemberIdentity::default().with_member_id(text(member));
    LeaveGroupRequest::default().with_group_id(text(group).into()).with_members(vec![member])
}

/// A heartbeat of a member of a consumer group that reads one topic; of epoch 0 it joins.
pub fn beat_request(
    group: &str,
    member: &str,
    epoch: i32,
    topic: &str,
) -> ConsumerGroupHeartbeatRequest {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(member))
        .with_member_epoch(epoch);
    if epoch != 0 {
        return request;
    }
    request
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name(topic)]))
        .with_topic_partitions(Some(Vec::new()))
}

/// Joins as somebody new, and comes back with the id that it is given.
pub fn member_of(client: &mut Client, group: &str, version: i16) -> Member {
    find_coordinator_of(client, group);
    let mut id = String::new();
    loop {
        let mut request = join_request(group, &id);
        if version == 0 {
            request.rebalance_timeout_ms = -1;
        }
        let answer = client.call(version, &request);
        id = answer.member_id.to_string();
        match error(answer.error_code) {
            ErrorCode::MemberIdRequired | ErrorCode::CoordinatorLoadInProgress => {}
            ErrorCode::None => {
                let (generation, leader) = (answer.generation_id, answer.leader.to_string());
                return Member { id, generation, leader };
            }
            other => panic!("{other}"),
        }
    }
}

/// The leader's request for its assignment, which is everything.
pub fn sync_request(group: &str, member: &Member, version: i16) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(&member.id))
        .with_assignment(Bytes::from_static(b"all"));
    let request = SyncGroupRequest::default()
        .with_group_id(text(group).into())
        .with_member_id(text(&member.id))
        .with_generation_id(member.generation)
        .with_assignments(vec![assignment]);
    if version < 5 {
        return request;
    }
    request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
}

/// How a version names a topic.
fn named(topic: &Topic, version: i16) -> (TopicName, Uuid) {
    if version >= 10 {
        (TopicName::from(""), Uuid(topic.id.into_bytes()))
    } else {
        (TopicName::from(topic.name.as_str()), Uuid::ZERO)
    }
}

/// A commit of offsets by partition, of nobody in particular.
pub fn commit_request(
    group: &str,
    topic: &Topic,
    version: i16,
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest {
    let (name, topic_id) = named(topic, version);
    let partitions = offsets.iter().map(|(partition, offset)| OffsetCommitPartition {
        partition_index: PartitionId(*partition),
        committed_offset: Offset(*offset),
        committed_metadata: Some("m".to_owned()),
        ..OffsetCommitPartition::default()
    });
    let topics = vec![OffsetCommitTopic { name, topic_id, partitions: partitions.collect() }];
    OffsetCommitRequest { group_id: group.to_owned(), topics, ..OffsetCommitRequest::default() }
}

/// A request for the offsets of partitions.
pub fn offset_fetch_request(
    group: &str,
    topic: &Topic,
    version: i16,
    partitions: &[i32],
) -> OffsetFetchRequest {
    let (name, topic_id) = named(topic, version);
    let partition_indexes = partitions.iter().copied().map(PartitionId).collect();
    let topics = Some(vec![OffsetFetchTopic { name, topic_id, partition_indexes }]);
    asking_for(group, topics, version)
}

/// A request for the offsets of a group.
pub fn asking_for(
    group: &str,
    topics: Option<Vec<OffsetFetchTopic>>,
    version: i16,
) -> OffsetFetchRequest {
    let group_id = group.to_owned();
    if version >= 8 {
        let group = OffsetFetchGroup { group_id, topics, ..OffsetFetchGroup::default() };
        return OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    }
    OffsetFetchRequest { group_id, topics, ..OffsetFetchRequest::default() }
}
