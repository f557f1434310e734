//! The requests of members.

use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// The topic that all groups read.
pub const TOPIC: &str = "t";
/// The assignor that all members have.
pub const ASSIGNOR: &str = "range";

/// Kafka's error codes that a member can meet.
pub mod code {
    pub const NONE: i16 = 0;
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const NOT_COORDINATOR: i16 = 16;
    pub const ILLEGAL_GENERATION: i16 = 22;
    pub const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
    pub const UNKNOWN_MEMBER_ID: i16 = 25;
    pub const REBALANCE_IN_PROGRESS: i16 = 27;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const MEMBER_ID_REQUIRED: i16 = 79;
    pub const GROUP_MAX_SIZE_REACHED: i16 = 81;
    pub const FENCED_INSTANCE_ID: i16 = 82;
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Me {
    pub group: String,
    pub protocol_type: &'static str,
    /// Empty for a member that has none yet.
    pub id: String,
    pub instance: Option<String>,
    pub generation: i32,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// What a consumer says about itself: it reads the topic; `number` makes it differ.
fn subscription(number: u32) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 1];
    bytes.extend(TOPIC.as_bytes());
    bytes.extend(4_i32.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.into()
}

impl Me {
    fn instance(&self) -> Option<StrBytes> {
        self.instance.as_deref().map(text)
    }

    /// A join with two times in milliseconds: for sessions and for rebalances.
    pub fn join(&self, (session_ms, rebalance_ms): (u64, u64), about: u32) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(ASSIGNOR))
            .with_metadata(subscription(about));
        JoinGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_session_timeout_ms(session_ms as i32)
            .with_rebalance_timeout_ms(rebalance_ms as i32)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(StrBytes::from_static_str(self.protocol_type))
            .with_protocols(vec![protocol])
    }

    pub fn sync(&self, version: i16, assignments: &[(String, String)]) -> SyncGroupRequest {
        let assignment = |(id, told): &(String, String)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(Bytes::from(told.clone()))
        };
        let tells_protocol = version >= 5;
        SyncGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(tells_protocol.then(|| text(self.protocol_type)))
            .with_protocol_name(tells_protocol.then(|| text(ASSIGNOR)))
            .with_assignments(assignments.iter().map(assignment).collect())
    }

    pub fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
    }

    pub fn leave(&self) -> LeaveGroupRequest {
        let member = MemberIdentity::default()
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance());
        LeaveGroupRequest::default().with_group_id(group(&self.group)).with_members(vec![member])
    }

    pub fn commit(&self, partition: i32, offset: i64) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(&format!("to {offset}"))));
        let topic =
            OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_topics(vec![topic])
    }
}

/// Asks for offsets of a group.
pub fn fetch(name: &str, partitions: &[i32]) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic())
        .with_partition_indexes(partitions.to_vec());
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group(name))
        .with_member_epoch(-1)
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![group])
}

/// Lets the broker see to it that groups have a place to be kept in.
pub fn find(name: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default().with_coordinator_keys(vec![text(name)])
}

/// Asks for what a group is.
pub fn describe(name: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(vec![group(name)])
}

/// State and members' ids of a described group.
pub fn described(group: &DescribedGroup) -> (String, Vec<String>) {
    let ids = group.members.iter().map(|member| member.member_id.to_string());
    (group.group_state.to_string(), ids.collect())
}

/// Whether whoever is told so tries again.
pub fn is_passing(error: i16) -> bool {
    matches!(
        error,
        code::COORDINATOR_LOAD_IN_PROGRESS
            | code::COORDINATOR_NOT_AVAILABLE
            | code::NOT_COORDINATOR
    )
}
