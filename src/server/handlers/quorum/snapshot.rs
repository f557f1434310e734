//! FetchSnapshot: a piece of a snapshot, for a replica whose log ends before the leader's begins.
//!
//! Versions: 0-1. 1 the replica's directory, and endpoints (KIP-853).
//! - The snapshot is named by end offset and epoch; pieces are cut anywhere. The 0-0 checkpoint of
//!   a directory is not given to others, as with Kafka.
//! - Another topic or partition than that of the metadata log is `UNKNOWN_TOPIC_OR_PARTITION`.
//!
//! Errors: see `mod.rs`; `SNAPSHOT_NOT_FOUND`, `POSITION_OUT_OF_RANGE`.

use ottla_protocol::Decoded;
use ottla_protocol::messages::fetch_snapshot_request::PartitionSnapshot as AskedPartition;
use ottla_protocol::messages::fetch_snapshot_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionSnapshot, SnapshotId, TopicSnapshot,
};
use ottla_protocol::messages::{
    BrokerId, FetchSnapshotRequest, FetchSnapshotResponse, StrBytes, TopicName, decode_request,
};
use ottla_raft::core::{FetchSnapshot, OffsetAndEpoch, ReplyBody, Request};
use ottla_raft::driver::Answered;
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use super::{METADATA_TOPIC, ask, check_cluster, check_sender, only, replica, top_level};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Bytes of a piece at most, whatever is asked for (`controller.quorum.fetch.snapshot.max.bytes`
/// of Kafka is 1 MiB).
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// Why there is no piece: at the top of the answer, or with the partition that was asked for.
enum Refusal {
    Whole(ErrorCode),
    Partition(TopicName, i32, ErrorCode),
}

/// Answers a FetchSnapshot.
///
/// # Errors
/// When the body is not one.
pub fn fetch_snapshot(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: FetchSnapshotRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let question = check_sender(services, &request)
        .and_then(|()| check_cluster(services, body.cluster_id.as_ref()))
        .map_err(Refusal::Whole);
    let question = question.and_then(|()| question_of(&body));
    let quorum = services.quorum.clone();
    Ok(Reply::Later(Box::pin(async move {
        let answered = match question {
            Ok(question) => {
                let cluster_id = body.cluster_id.as_ref().map(ToString::to_string);
                let bytes_max = u64::from(body.max_bytes.max(0).unsigned_abs());
                let bytes_max = bytes_max.min(PIECE_BYTES_MAX);
                let answered = ask(&quorum, cluster_id, question, bytes_max).await;
                answered.map_err(Refusal::Whole)
            }
            Err(refusal) => Err(refusal),
        };
        let answer = match answered {
            Ok(answered) => answer(answered),
            Err(Refusal::Whole(error)) => {
                FetchSnapshotResponse::default().with_error_code(error.code())
            }
            Err(Refusal::Partition(topic, partition, error)) => {
                let partition = PartitionSnapshot::default()
                    .with_index(partition)
                    .with_error_code(error.code());
                one(topic, partition)
            }
        };
        Response::encode(&header, &answer)
    })))
}

fn question_of(body: &FetchSnapshotRequest) -> Result<Request, Refusal> {
    let topic = only(&body.topics).ok_or(Refusal::Whole(ErrorCode::InvalidRequest))?;
    let asked = only(&topic.partitions).ok_or(Refusal::Whole(ErrorCode::InvalidRequest))?;
    let refuse = |error| Refusal::Partition(topic.name.clone(), asked.partition, error);
    if *topic.name != *METADATA_TOPIC || asked.partition != 0 {
        return Err(refuse(ErrorCode::UnknownTopicOrPartition));
    }
    let position = u64::try_from(asked.position);
    let position = position.map_err(|_| refuse(ErrorCode::PositionOutOfRange))?;
    Ok(question(body.replica_id.0, asked, position))
}

fn question(replica_id: i32, asked: &AskedPartition, position: u64) -> Request {
    Request::FetchSnapshot(FetchSnapshot {
        replica: replica(replica_id, asked.replica_directory_id),
        epoch: LeaderEpoch(asked.current_leader_epoch),
        snapshot: OffsetAndEpoch {
            offset: Offset(asked.snapshot_id.end_offset),
            epoch: LeaderEpoch(asked.snapshot_id.epoch),
        },
        position,
    })
}

fn answer(answered: Answered) -> FetchSnapshotResponse {
    if let Some(error) = top_level(&answered.reply) {
        return FetchSnapshotResponse::default().with_error_code(error.code());
    }
    let current = answered.reply.current;
    let leader = BrokerId(current.leader.map_or(-1, |leader| leader.0));
    let mut partition = PartitionSnapshot::default()
        .with_error_code(answered.reply.error.code())
        .with_current_leader(
            LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(current.epoch.0),
        );
    if let (ErrorCode::None, ReplyBody::FetchSnapshot(chunk)) =
        (answered.reply.error, answered.reply.body)
    {
        partition.snapshot_id = SnapshotId::default()
            .with_end_offset(chunk.snapshot.offset.0)
            .with_epoch(chunk.snapshot.epoch.0);
        partition.size = i64::try_from(chunk.size).unwrap_or(i64::MAX);
        partition.position = i64::try_from(chunk.position).unwrap_or(i64::MAX);
        partition.unaligned_records = chunk.bytes;
    }
    let endpoint = current.leader.and(answered.leader_endpoints.first()).map(|endpoint| {
        NodeEndpoint::default()
            .with_node_id(leader)
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    let topic = TopicName(StrBytes::from_static_str(METADATA_TOPIC));
    one(topic, partition).with_node_endpoints(endpoint.into_iter().collect())
}

fn one(topic: TopicName, partition: PartitionSnapshot) -> FetchSnapshotResponse {
    let topic = TopicSnapshot::default().with_name(topic).with_partitions(vec![partition]);
    FetchSnapshotResponse::default().with_topics(vec![topic])
}
