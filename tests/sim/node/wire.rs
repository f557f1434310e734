//! The requests of the simulated clients, and what they look at in the answers.

use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::model::Topic;

/// First version of Produce, and of Fetch, that names topics by id.
pub const BY_ID: i16 = 13;

/// Kafka's error codes that a client of this workload can meet.
pub mod code {
    pub const NONE: i16 = 0;
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub const REQUEST_TIMED_OUT: i16 = 7;
    pub const REPLICA_NOT_AVAILABLE: i16 = 9;
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const NOT_COORDINATOR: i16 = 16;
    pub const INVALID_PARTITIONS: i16 = 37;
    pub const INVALID_REPLICATION_FACTOR: i16 = 38;
    pub const NOT_CONTROLLER: i16 = 41;
    pub const POLICY_VIOLATION: i16 = 44;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
}

fn name_of(topic: &Topic) -> TopicName {
    TopicName(StrBytes::from_string(topic.name.clone()))
}

/// One batch for one partition.
pub fn produce(topic: &Topic, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(name_of(topic))
        .with_topic_id(topic.id)
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// What a produce to one partition was answered.
pub struct Produced {
    pub error: i16,
    pub base: i64,
    /// Negative when the answer does not tell.
    pub log_start: i64,
}

/// The answer about the one partition that was produced to.
pub fn produced(response: &ProduceResponse) -> Option<Produced> {
    let partition = response.responses.first()?.partition_responses.first()?;
    let (error, base) = (partition.error_code, partition.base_offset);
    Some(Produced { error, base, log_start: partition.log_start_offset })
}

/// A fetch of one partition without a session.
pub fn fetch(topic: &Topic, partition: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    let topic = FetchTopic::default()
        .with_topic(name_of(topic))
        .with_topic_id(topic.id)
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(50)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// What a fetch of one partition was answered.
pub struct Fetched {
    pub error: i16,
    pub high_watermark: i64,
    /// Negative when the answer does not tell.
    pub log_start: i64,
    pub records: Bytes,
}

/// The answer about the one partition that was asked for.
pub fn fetched(response: &FetchResponse) -> Option<Fetched> {
    if response.error_code != code::NONE {
        let (error, high_watermark) = (response.error_code, -1);
        return Some(Fetched { error, high_watermark, log_start: -1, records: Bytes::new() });
    }
    let partition = response.responses.first()?.partitions.first()?;
    Some(Fetched {
        error: partition.error_code,
        high_watermark: partition.high_watermark,
        log_start: partition.log_start_offset,
        records: partition.records.clone().unwrap_or_default(),
    })
}

/// A lookup of one offset: -1 is the end, -2 the beginning.
pub fn list_offsets(topic: &Topic, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic =
        ListOffsetsTopic::default().with_name(name_of(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

/// Error code and offset of an answer about one partition.
pub fn listed_offset(response: &ListOffsetsResponse) -> Option<(i16, i64)> {
    let partition = response.topics.first()?.partitions.first()?;
    Some((partition.error_code, partition.offset))
}

/// Creates a topic, with a `cleanup.policy` of its own or without.
pub fn create(name: &str, partitions: i32, policy: Option<&str>) -> CreateTopicsRequest {
    let config = |policy: &str| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("cleanup.policy"))
            .with_value(Some(StrBytes::from_string(policy.to_owned())))
    };
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_configs(policy.map(config).into_iter().collect())
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Lets a topic have so many partitions.
pub fn grow(topic: &Topic, count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic::default()
        .with_name(name_of(topic))
        .with_count(count)
        .with_assignments(None);
    CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Deletes what lies below an offset of a partition; -1 is the end.
pub fn delete_records(topic: &Topic, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partition =
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic =
        DeleteRecordsTopic::default().with_name(name_of(topic)).with_partitions(vec![partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Error code and low watermark of an answer about one partition.
pub fn low_watermark(response: &DeleteRecordsResponse) -> Option<(i16, i64)> {
    let partition = response.topics.first()?.partitions.first()?;
    Some((partition.error_code, partition.low_watermark))
}

/// Deletes a topic: by its id (from version 6 on), so that a late repetition harms no other.
pub fn delete(topic: &Topic) -> DeleteTopicsRequest {
    let state = DeleteTopicState::default().with_topic_id(topic.id);
    DeleteTopicsRequest::default().with_topics(vec![state]).with_timeout_ms(30_000)
}
