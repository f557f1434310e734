//! AssignReplicasToDirs (73): a broker tells the controller in which of its log directories its
//! replicas are (KIP-858).
//!
//! Versions: 0.
//! - The answer has an error for each replica, in the order of the request. It comes when the
//!   assignments are committed.
//! - A replica in a directory that is offline stops leading.
//!
//! Errors: of the whole, `CLUSTER_AUTHORIZATION_FAILED`, `STALE_BROKER_EPOCH` when this incarnation
//! of the broker is not registered, `UNSUPPORTED_VERSION` when the cluster's level knows no
//! directories, `NOT_CONTROLLER`; of a replica, `UNKNOWN_TOPIC_ID`, `UNKNOWN_TOPIC_OR_PARTITION`,
//! `NOT_LEADER_OR_FOLLOWER` when the broker does not hold it.

use ottla_metadata::controller::ReplicaAssignments;
use ottla_protocol::Decoded;
use ottla_protocol::messages::assign_replicas_to_dirs_request::DirectoryData as AskedDirectory;
use ottla_protocol::messages::assign_replicas_to_dirs_response::{
    DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, decode_request, from_wire_uuid,
};
use ottla_types::{BrokerEpoch, ErrorCode, NodeId, PartitionId, TopicIdPartition, Uuid};

use super::quorum::check_sender;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: AssignReplicasToDirsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    if let Err(error) = check_sender(services, &request) {
        return Ok(Reply::Now(Response::encode(&header, &refused(error))));
    }
    let asked = ReplicaAssignments {
        broker: NodeId(body.broker_id.0),
        epoch: BrokerEpoch(body.broker_epoch),
        replicas: replicas(&body.directories),
    };
    let controller = services.controller.clone();
    Ok(Reply::Later(Box::pin(async move {
        let answer = match controller.assign_replicas(asked).await {
            Ok(errors) => answered(body.directories, errors),
            Err(error) => refused(error.code()),
        };
        Response::encode(&header, &answer)
    })))
}

fn refused(error: ErrorCode) -> AssignReplicasToDirsResponse {
    AssignReplicasToDirsResponse::default().with_error_code(error.code())
}

/// The replicas in the order of the request.
fn replicas(directories: &[AskedDirectory]) -> Vec<(TopicIdPartition, Uuid)> {
    let mut replicas = Vec::new();
    for directory in directories {
        for topic in &directory.topics {
            replicas.extend(topic.partitions.iter().map(|partition| {
                let topic_id = from_wire_uuid(topic.topic_id);
                let partition = PartitionId(partition.partition_index);
                (TopicIdPartition { topic_id, partition }, from_wire_uuid(directory.id))
            }));
        }
    }
    replicas
}

/// The request once more, with an error for each replica.
fn answered(
    directories: Vec<AskedDirectory>,
    errors: Vec<ErrorCode>,
) -> AssignReplicasToDirsResponse {
    let mut errors = errors.into_iter();
    let mut answered = Vec::new();
    for directory in directories {
        let topics = directory.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let error = errors.next().expect("the controller answers for each replica");
                PartitionData::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error.code())
            });
            let partitions = partitions.collect();
            TopicData::default().with_topic_id(topic.topic_id).with_partitions(partitions)
        });
        let topics = topics.collect();
        answered.push(DirectoryData::default().with_id(directory.id).with_topics(topics));
    }
    AssignReplicasToDirsResponse::default().with_directories(answered)
}
