//! WriteTxnMarkers (27): a transaction coordinator ends transactions in partitions of this node
//! (KIP-98).
//!
//! Versions: 1-2. 2 `transaction.version` (KIP-1228).
//! - The answer comes when the markers are committed, as with acks=all.
//! - Outcomes are told by producer; one that is named twice is told once.
//! - A marker of `transaction.version` 2 that comes again is a success, and is not written again.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED` without Alter and without ClusterAction on the cluster;
//! `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `INVALID_PRODUCER_EPOCH`,
//! `TRANSACTION_COORDINATOR_FENCED`, `NOT_ENOUGH_REPLICAS`, `REQUEST_TIMED_OUT`,
//! `KAFKA_STORAGE_ERROR`.

use std::collections::BTreeMap;

use ottla_protocol::txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use ottla_protocol::{Decoded, Message, Reader};
use ottla_security::Operation;
use ottla_storage::Marker;
use ottla_types::{ErrorCode, PartitionId, ProducerId, TopicName, TopicPartition};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body = WriteTxnMarkersRequest::decode(&mut Reader::new(&body), header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let may =
        permissions.cluster(Operation::Alter) || permissions.cluster(Operation::ClusterAction);
    let markers: Vec<_> = body.markers.iter().flat_map(of_partitions).collect();
    if !may {
        let error = Err(ErrorCode::ClusterAuthorizationFailed);
        let outcomes = vec![error; markers.len()];
        return Ok(Reply::Now(Response::message(&header, &answer(&markers, &outcomes))));
    }
    let written = services.markers.write(markers.clone(), peer.plane);
    Ok(Reply::Later(Box::pin(async move {
        let outcomes = written.await;
        Response::message(&header, &answer(&markers, &outcomes))
    })))
}

/// The marker for each of its partitions, each once.
fn of_partitions(marker: &WritableTxnMarker) -> Vec<(TopicPartition, Marker)> {
    let content = Marker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: i16::from(marker.transaction_version),
    };
    let mut partitions: Vec<(TopicPartition, Marker)> = Vec::new();
    for topic in &marker.topics {
        for partition in &topic.partition_indexes {
            let at = TopicPartition { topic: topic.name.clone(), partition: *partition };
            partitions.push((at, content));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    partitions.retain(|(at, _)| seen.insert((at.topic.clone(), at.partition)));
    partitions
}

fn answer(
    markers: &[(TopicPartition, Marker)],
    outcomes: &[Result<(), ErrorCode>],
) -> WriteTxnMarkersResponse {
    type Topics = BTreeMap<TopicName, BTreeMap<PartitionId, ErrorCode>>;
    let mut by_producer: BTreeMap<ProducerId, Topics> = BTreeMap::new();
    for ((at, marker), outcome) in markers.iter().zip(outcomes) {
        let topics = by_producer.entry(marker.producer_id).or_default();
        let partitions = topics.entry(at.topic.clone()).or_default();
        partitions.insert(at.partition, outcome.err().unwrap_or(ErrorCode::None));
    }
    let partition = |(index, error): (PartitionId, ErrorCode)| WritableTxnMarkerPartitionResult {
        partition_index: index,
        error_code: error.code(),
    };
    let topic = |(name, partitions): (TopicName, BTreeMap<PartitionId, ErrorCode>)| {
        let partitions = partitions.into_iter().map(partition).collect();
        WritableTxnMarkerTopicResult { name, partitions }
    };
    let markers = by_producer.into_iter().map(|(producer_id, topics)| WritableTxnMarkerResult {
        producer_id,
        topics: topics.into_iter().map(topic).collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}
