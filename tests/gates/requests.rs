//! The requests that are counted, and those that prepare them.

use bytes::Bytes;
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_test_client::messages::create_topics_request::CreatableTopic;
use ottla_test_client::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_test_client::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_test_client::messages::metadata_request::MetadataRequestTopic;
use ottla_test_client::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_test_client::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_test_client::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_test_client::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    MetadataRequest, OffsetCommitRequest, ProduceRequest, SyncGroupRequest, TopicName,
};
use ottla_test_client::{encode_request, record_batch};
use ottla_types::Timestamp;
use uuid::Uuid;

/// 2026-01-01, when simulated worlds begin.
const TIME: Timestamp = Timestamp(1_767_225_600_000);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("group"))
}

/// A request with its length in front.
///
/// # Errors
/// When the version cannot say what the request holds.
pub fn frame<R: Request>(version: i16, request: &R) -> std::io::Result<Bytes> {
    encode_request(version, 7, &StrBytes::from_static_str("gates"), request)
}

/// Creates topics of so many partitions.
pub fn create(names: &[String], partitions: i32) -> CreateTopicsRequest {
    let topic = |name: &String| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    CreateTopicsRequest::default()
        .with_topics(names.iter().map(topic).collect())
        .with_timeout_ms(60_000)
}

/// A batch of `count` records of `len` letters that differ.
pub fn batch(count: usize, len: usize) -> Bytes {
    let mut seed = 1_u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (seed >> 28) as u8
    };
    let values: Vec<Vec<u8>> = (0..count).map(|_| (0..len).map(|_| letter()).collect()).collect();
    record_batch(TIME, None, &values)
}

/// One batch for each of some partitions, acknowledged by the leader.
pub fn produce(topic: Uuid, partitions: &[i32], batch: &Bytes) -> ProduceRequest {
    let data = |index: &i32| {
        PartitionProduceData::default().with_index(*index).with_records(Some(batch.clone()))
    };
    let topic = TopicProduceData::default()
        .with_topic_id(topic)
        .with_partition_data(partitions.iter().map(data).collect());
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// The session of a fetch: id and epoch.
#[derive(Clone, Copy)]
pub struct Session(pub i32, pub i32);

/// Without a session.
pub const SESSIONLESS: Session = Session(0, -1);

/// Fetches partitions from an offset on, and waits for nothing.
pub fn fetch(session: Session, topic: Uuid, partitions: &[i32], offset: i64) -> FetchRequest {
    let partition = |index: &i32| {
        FetchPartition::default()
            .with_partition(*index)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default()
        .with_topic_id(topic)
        .with_partitions(partitions.iter().map(partition).collect());
    let topics = if partitions.is_empty() { vec![] } else { vec![topic] };
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(50 << 20)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(topics)
}

/// Metadata of some topics.
pub fn metadata(names: &[String]) -> MetadataRequest {
    let topic = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(Some(names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false)
}

/// The join of the only member of the group.
pub fn join(member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(&[0; 6]));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(1_800_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member))
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol])
}

/// The member's sync.
pub fn sync(member: &str) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(member))
        .with_assignment(Bytes::from_static(&[0; 6]));
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(text(member))
        .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
        .with_protocol_name(Some(StrBytes::from_static_str("range")))
        .with_assignments(vec![assignment])
}

/// The member's heartbeat.
pub fn heartbeat(member: &str) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(text(member))
}

/// The member commits an offset of one partition.
pub fn commit(member: &str, topic: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(42)
        .with_committed_metadata(Some(StrBytes::new()));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(1)
        .with_member_id(text(member))
        .with_topics(vec![topic])
}
