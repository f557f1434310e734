//! The requests of transactional producers, of copy jobs and of readers.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, BrokerId, CreateTopicsRequest,
    EndTxnRequest, FetchRequest, FindCoordinatorRequest, GroupId, InitProducerIdRequest,
    OffsetFetchRequest, ProduceRequest, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest, UpdateFeaturesRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, Timestamp};

use super::history::{Place, TOPICS};

/// Kafka's error codes that a client of this workload can meet.
pub mod code {
    pub const NONE: i16 = 0;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub const REQUEST_TIMED_OUT: i16 = 7;
    pub const REPLICA_NOT_AVAILABLE: i16 = 9;
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const NOT_COORDINATOR: i16 = 16;
    pub const NOT_ENOUGH_REPLICAS: i16 = 19;
    pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub const INVALID_TXN_STATE: i16 = 48;
    pub const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
    pub const CONCURRENT_TRANSACTIONS: i16 = 51;
    pub const OPERATION_NOT_ATTEMPTED: i16 = 55;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    pub const UNSTABLE_OFFSET_COMMIT: i16 = 88;
    pub const PRODUCER_FENCED: i16 = 90;
    pub const TRANSACTION_ABORTABLE: i16 = 120;
}

/// Whether whoever is told so asks again.
pub fn is_passing(error: i16) -> bool {
    matches!(
        error,
        code::UNKNOWN_TOPIC_OR_PARTITION
            | code::NOT_LEADER_OR_FOLLOWER
            | code::REQUEST_TIMED_OUT
            | code::REPLICA_NOT_AVAILABLE
            | code::COORDINATOR_LOAD_IN_PROGRESS
            | code::COORDINATOR_NOT_AVAILABLE
            | code::NOT_COORDINATOR
            | code::NOT_ENOUGH_REPLICAS
            | code::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | code::CONCURRENT_TRANSACTIONS
            | code::KAFKA_STORAGE_ERROR
            | code::UNSTABLE_OFFSET_COMMIT
    )
}

/// Whether somebody else has the transactional id, or nobody any more.
pub fn is_fencing(error: i16) -> bool {
    matches!(
        error,
        code::INVALID_PRODUCER_EPOCH | code::PRODUCER_FENCED | code::INVALID_PRODUCER_ID_MAPPING
    )
}

/// A producer as it names itself.
#[derive(Clone, Debug)]
pub struct Name {
    pub transactional_id: String,
    pub id: i64,
    pub epoch: i16,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(place: Place) -> TopicName {
    TopicName(StrBytes::from_static_str(TOPICS[place.topic]))
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A batch of a transaction.
pub fn batch(name: &Name, sequence: i32, now: Timestamp, values: &[String]) -> Bytes {
    let mut batch = BatchBuilder::new(BatchKind::Transactional, Offset(0), LeaderEpoch(-1), now)
        .with_producer(ottla_types::ProducerId(name.id), ProducerEpoch(name.epoch), sequence);
    values.iter().for_each(|value| batch.push(None, Some(value.as_bytes())));
    batch.build().into()
}

impl Name {
    fn transactional_id(&self) -> TransactionalId {
        TransactionalId(text(&self.transactional_id))
    }

    /// Batches for partitions of one topic.
    pub fn produce(&self, batches: Vec<(Place, Bytes)>) -> ProduceRequest {
        let name = topic(batches[0].0);
        let data = batches.into_iter().map(|(place, batch)| {
            PartitionProduceData::default().with_index(place.partition).with_records(Some(batch))
        });
        let topic = TopicProduceData::default().with_name(name).with_partition_data(data.collect());
        ProduceRequest::default()
            .with_transactional_id(Some(self.transactional_id()))
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic])
    }

    pub fn add_partitions(&self, places: &[Place]) -> AddPartitionsToTxnRequest {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic(places[0]))
            .with_partitions(places.iter().map(|place| place.partition).collect());
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.transactional_id())
            .with_v3_and_below_producer_id(ProducerId(self.id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic])
    }

    pub fn add_offsets(&self, of_group: &str) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_group_id(group(of_group))
    }

    pub fn commit_offset(
        &self,
        of_group: &str,
        place: Place,
        offset: i64,
    ) -> TxnOffsetCommitRequest {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(place.partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(&format!("to {offset}"))));
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(topic(place))
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_group_id(group(of_group))
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic])
    }

    pub fn end(&self, commit: bool) -> EndTxnRequest {
        EndTxnRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_producer_id(ProducerId(self.id))
            .with_producer_epoch(self.epoch)
            .with_committed(commit)
    }
}

/// A producer begins with a transactional id, or goes on with it as the producer that it was
/// (KIP-360).
pub fn init(
    transactional_id: &str,
    timeout_ms: u64,
    expected: Option<(i64, i16)>,
) -> InitProducerIdRequest {
    let (id, epoch) = expected.unwrap_or((-1, -1));
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(transactional_id))))
        .with_transaction_timeout_ms(timeout_ms as i32)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

/// Sets `transaction.version`, up or down.
pub fn set_level(from: i16, to: i16) -> UpdateFeaturesRequest {
    let update = FeatureUpdateKey::default()
        .with_feature(StrBytes::from_static_str("transaction.version"))
        .with_max_version_level(to)
        .with_upgrade_type(if to >= from { 1 } else { 2 });
    UpdateFeaturesRequest::default().with_feature_updates(vec![update])
}

/// Lets the broker see to it that groups (0) or transactions (1) have a place to be kept in.
pub fn find(key: &str, key_type: i8) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default().with_key_type(key_type).with_coordinator_keys(vec![text(key)])
}

/// The offsets of a group for partitions of a topic, once they are stable.
pub fn stable_offsets(of_group: &str, of_topic: usize, count: i32) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic(Place { topic: of_topic, partition: 0 }))
        .with_partition_indexes((0..count).collect());
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(group(of_group))
        .with_member_epoch(-1)
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true)
}

/// A fetch of one partition without a session.
pub fn fetch(place: Place, offset: i64, bytes_max: i32, committed: bool) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(place.partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(bytes_max);
    let topic = FetchTopic::default().with_topic(topic(place)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(20)
        .with_min_bytes(1)
        .with_max_bytes(bytes_max)
        .with_isolation_level(i8::from(committed))
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Creates the topics.
pub fn create(partitions: i32) -> CreateTopicsRequest {
    let topic = |name: &&'static str| {
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let topics = TOPICS.iter().map(topic).collect();
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000)
}
