//! Transactions. As partitions see them (batches, markers, readers) the tests are the coordinator:
//! they write the markers themselves, and partitions are told to believe producers. As clients see
//! them: `whole`. What kills leave of them: `steps`.

mod copying;
mod groups;
mod markers;
mod readers;
mod refusals;
mod steps;
mod torn;
pub mod whole;

pub use groups::request as txn_commit_request;

use bytes::Bytes;
use kafka_protocol::messages::TransactionalId;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::ApiKey;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_protocol::txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use ottla_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicName,
};

use crate::client::Client;
use crate::node::Setup;
use crate::requests::{Topic, error, now, produce_request, text};

/// The newest version whose clients add partitions themselves.
const BELIEVED: i16 = 11;
const MARKERS: i16 = 2;

/// A node that believes producers.
fn believing() -> Setup {
    Setup::new().with("transaction.partition.verification.enable", false)
}

/// A batch of a producer's transaction: its id, epoch and first sequence.
pub fn batch(producer: (i64, i16, i32), values: &[&str]) -> Bytes {
    let (id, epoch, sequence) = producer;
    let batch = BatchBuilder::new(BatchKind::Transactional, Offset(0), LeaderEpoch(-1), now());
    filled(batch.with_producer(ProducerId(id), ProducerEpoch(epoch), sequence), values)
}

/// A batch of no transaction that is not so much older that a segment would end in front of it.
fn plain(values: &[&str]) -> Bytes {
    filled(BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), now()), values)
}

fn filled(mut batch: BatchBuilder, values: &[&str]) -> Bytes {
    values.iter().for_each(|value| batch.push(None, Some(value.as_bytes())));
    batch.build().into()
}

pub fn produce_as(
    client: &mut Client,
    version: i16,
    topic: &Topic,
    id: Option<&str>,
    records: &[(i32, Option<Bytes>)],
) -> Vec<PartitionProduceResponse> {
    let id = id.map(|id| TransactionalId(text(id)));
    let request = produce_request(version, topic, -1, records).with_transactional_id(id);
    client.call(version, &request).responses.remove(0).partition_responses
}

/// Writes in a transaction to partition 0; the error and the first offset.
fn write(
    client: &mut Client,
    topic: &Topic,
    producer: (i64, i16, i32),
    values: &[&str],
) -> (ErrorCode, i64) {
    let records = [(0, Some(batch(producer, values)))];
    let answer = produce_as(client, BELIEVED, topic, Some("tx"), &records).remove(0);
    (error(answer.error_code), answer.base_offset)
}

/// The end of a producer's transaction, in a version of transactions, by a coordinator of an
/// epoch.
#[derive(Clone, Copy)]
pub struct End {
    pub producer: (i64, i16),
    pub commit: bool,
    pub coordinator: i32,
    pub version: i8,
}

pub fn commit(id: i64, epoch: i16) -> End {
    End { producer: (id, epoch), commit: true, coordinator: 0, version: 0 }
}

fn abort(id: i64, epoch: i16) -> End {
    End { commit: false, ..commit(id, epoch) }
}

pub fn markers_request(end: End, topics: &[(&str, &[i32])]) -> WriteTxnMarkersRequest {
    let topic = |(name, partitions): &(&str, &[i32])| WritableTxnMarkerTopic {
        name: TopicName::from(*name),
        partition_indexes: partitions.iter().copied().map(PartitionId).collect(),
    };
    let marker = WritableTxnMarker {
        producer_id: ProducerId(end.producer.0),
        producer_epoch: ProducerEpoch(end.producer.1),
        transaction_result: end.commit,
        topics: topics.iter().map(topic).collect(),
        coordinator_epoch: end.coordinator,
        transaction_version: end.version,
    };
    WriteTxnMarkersRequest { markers: vec![marker] }
}

/// Ends a transaction in partitions of a topic; what became of each.
fn end_in(client: &mut Client, end: End, topic: &str, partitions: &[i32]) -> Vec<ErrorCode> {
    let request = markers_request(end, &[(topic, partitions)]);
    let mut answer: WriteTxnMarkersResponse =
        client.ask(ApiKey::WriteTxnMarkers, MARKERS, &request);
    let told = answer.markers.remove(0);
    assert_eq!(told.producer_id, ProducerId(end.producer.0));
    let partitions_told = &told.topics[0].partitions;
    partitions_told.iter().map(|partition| error(partition.error_code)).collect()
}

/// Ends a transaction in partition 0.
fn end(client: &mut Client, end: End, topic: &Topic) -> ErrorCode {
    end_in(client, end, &topic.name, &[0]).remove(0)
}
