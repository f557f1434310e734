//! Requests as tests write them, and the parts of answers that they look at.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::{ReadRecord, record_batch, records_of};
use ottla_types::{ErrorCode, Timestamp};
use uuid::Uuid;

use crate::client::Client;
use crate::node::wait_until;

/// The newest versions, with which tests that are not about versions work.
pub const PRODUCE: i16 = 13;
pub const FETCH: i16 = 17;
pub const LIST_OFFSETS: i16 = 10;
pub const METADATA: i16 = 13;
pub const CREATE_TOPICS: i16 = 7;
pub const DELETE_TOPICS: i16 = 6;

/// A topic as requests name it: by name in old versions, by id in new ones.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Kafka's name of an error code.
pub fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or_else(|| panic!("{code} is no error code"))
}

pub fn creatable(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect())
}

pub fn create_request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000)
}

/// Creates a topic and waits until it can be used.
pub fn create(client: &mut Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
    let request = create_request(vec![creatable(name, partitions, configs)]);
    let answer = client.call(CREATE_TOPICS, &request);
    let created = &answer.topics[0];
    assert_eq!(error(created.error_code), ErrorCode::None, "{:?}", created.error_message);
    let topic = Topic { name: name.to_owned(), id: created.topic_id };
    wait_until("the topic is served", || {
        (0..partitions).all(|partition| {
            error(list_offset(client, &topic, partition, -1).error_code) == ErrorCode::None
        })
    });
    topic
}

/// Asks for the deletion of what lies below an offset of each partition.
pub fn delete_records_request(topic: &Topic, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(&topic.name))
        .with_partitions(partitions.iter().map(partition).collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

pub fn delete_request(topic: &Topic, version: i16) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    if version >= 6 {
        request.with_topics(vec![DeleteTopicState::default().with_topic_id(topic.id)])
    } else {
        request.with_topic_names(vec![topic_name(&topic.name)])
    }
}

pub fn metadata_of(client: &mut Client, name: &str) -> MetadataResponse {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    client.call(METADATA, &request)
}

/// A batch of records with these values, without a producer.
pub fn batch(values: &[&str]) -> Bytes {
    sequenced(None, values)
}

/// A batch of a producer: id, epoch and first sequence.
pub fn sequenced(producer: Option<(i64, i16, i32)>, values: &[&str]) -> Bytes {
    let values: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    // A producer whose latest record is a day old is forgotten at the next start.
    let time = if producer.is_some() { now() } else { Timestamp(1_700_000_000_000) };
    record_batch(time, producer, &values)
}

/// The time of day.
pub fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().expect("the clock is right");
    Timestamp(i64::try_from(since.as_millis()).expect("fits for ages"))
}

pub fn produce_request(
    version: i16,
    topic: &Topic,
    acks: i16,
    records: &[(i32, Option<Bytes>)],
) -> ProduceRequest {
    let partition = |(index, records): &(i32, Option<Bytes>)| {
        PartitionProduceData::default().with_index(*index).with_records(records.clone())
    };
    let data =
        TopicProduceData::default().with_partition_data(records.iter().map(partition).collect());
    let data = if version >= 13 {
        data.with_topic_id(topic.id)
    } else {
        data.with_name(topic_name(&topic.name))
    };
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![data])
}

/// Produces one batch to partition 0 with acks=all.
pub fn produce(client: &mut Client, topic: &Topic, records: Bytes) -> PartitionProduceResponse {
    produce_to(client, PRODUCE, topic, 0, records)
}

pub fn produce_to(
    client: &mut Client,
    version: i16,
    topic: &Topic,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let request = produce_request(version, topic, -1, &[(partition, Some(records))]);
    let mut answer = client.call(version, &request);
    answer.responses.remove(0).partition_responses.remove(0)
}

/// A reader's request for one topic.
pub fn fetch_request(version: i16, topic: &Topic, asked: &[(i32, i64)]) -> FetchRequest {
    let partition = |(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default()
        .with_partitions(asked.iter().map(partition).collect())
        .with_topic(if version < 13 { topic_name(&topic.name) } else { TopicName::default() })
        .with_topic_id(if version < 13 { Uuid::nil() } else { topic.id });
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The answer for partition 0 of a fetch from `offset`.
pub fn fetch(client: &mut Client, topic: &Topic, offset: i64) -> PartitionData {
    let mut answer = client.call(FETCH, &fetch_request(FETCH, topic, &[(0, offset)]));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    answer.responses.remove(0).partitions.remove(0)
}

pub fn records(data: &PartitionData) -> Vec<ReadRecord> {
    records_of(data.records.as_deref().unwrap_or_default()).unwrap()
}

/// Everything in a partition from its start.
pub fn read_all(client: &mut Client, topic: &Topic, partition: i32) -> Vec<ReadRecord> {
    let mut all: Vec<ReadRecord> = Vec::new();
    loop {
        let next = all.last().map_or(0, |record| record.offset + 1);
        let request = fetch_request(FETCH, topic, &[(partition, next)]);
        let mut answer = client.call(FETCH, &request);
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(error(data.error_code), ErrorCode::None);
        let read = records(&data);
        // A batch is answered as a whole, also when the offset lies inside it.
        let before = all.len();
        all.extend(read.into_iter().filter(|record| record.offset >= next));
        if all.len() == before {
            assert_eq!(next, data.high_watermark, "nothing is left out");
            return all;
        }
    }
}

/// The values as text.
pub fn values(records: &[ReadRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

pub fn list_offsets_request(topic: &Topic, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let asked = ListOffsetsTopic::default()
        .with_name(topic_name(&topic.name))
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked])
}

pub fn list_offset(
    client: &mut Client,
    topic: &Topic,
    partition: i32,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let request = list_offsets_request(topic, partition, timestamp);
    client.call(LIST_OFFSETS, &request).topics.remove(0).partitions.remove(0)
}

/// A fresh idempotent producer: its id and epoch.
pub fn init_producer(client: &mut Client) -> (i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    let mut answer = client.call(4, &request);
    // Kafka says so while it asks the controller for more ids.
    wait_until("there are producer ids", || {
        if error(answer.error_code) == ErrorCode::CoordinatorLoadInProgress {
            answer = client.call(4, &request);
        }
        error(answer.error_code) == ErrorCode::None
    });
    (answer.producer_id.0, answer.producer_epoch)
}
