//! Fetch of the metadata log, by followers and observers of the quorum.
//!
//! Versions: 4-18. 12 epochs and the cluster's id, 15 the replica in a tag, 17 its directory, 18
//! the high watermark it knows (KIP-1166). The log is known by its topic's id, which requests have
//! from 13 on: older ones get `INVALID_REQUEST`, as with Kafka.
//! - The core decides what is answered and how long it waits; the driver reads the records.
//!
//! Errors: see `mod.rs`.

use std::time::Duration;

use ottla_protocol::RequestHeader;
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    SnapshotId,
};
use ottla_protocol::messages::{BrokerId, FetchRequest, FetchResponse, StrBytes, from_wire_uuid};
use ottla_raft::core::{
    FetchOutcome, FetchRequest as FetchQuestion, OffsetAndEpoch, ReplyBody, Request,
};
use ottla_raft::driver::Answered;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, Uuid};

use super::{ask, check_cluster, only, replica, top_level};
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const REPLICA_STATE_FROM: i16 = 15;
const HIGH_WATERMARK_FROM: i16 = 18;

/// Answers a Fetch on a controller's listener.
#[must_use]
pub fn fetch(services: &Services, header: RequestHeader, body: FetchRequest) -> Reply {
    let quorum = services.quorum.clone();
    let of_cluster = check_cluster(services, body.cluster_id.as_ref());
    Reply::Later(Box::pin(async move {
        let question = of_cluster.and_then(|()| question(&body, header.api_version));
        let answered = match question {
            Ok((question, bytes_max)) => {
                let cluster_id = body.cluster_id.as_ref().map(ToString::to_string);
                ask(&quorum, cluster_id, question, bytes_max).await
            }
            Err(error) => Err(error),
        };
        let answer = match answered {
            Ok(answered) => answer(&body, answered),
            Err(error) => FetchResponse::default().with_error_code(error.code()),
        };
        Response::encode(&header, &answer)
    }))
}

fn question(body: &FetchRequest, version: i16) -> Result<(Request, u64), ErrorCode> {
    let is_metadata = |id| from_wire_uuid(id) == Uuid::METADATA_TOPIC;
    let topic = only(&body.topics).filter(|topic| is_metadata(topic.topic_id));
    let partition = topic.and_then(|topic| only(&topic.partitions));
    let partition = partition.filter(|partition| partition.partition == 0);
    let partition = partition.ok_or(ErrorCode::InvalidRequest)?;
    let id = if version >= REPLICA_STATE_FROM {
        body.replica_state.replica_id.0
    } else {
        body.replica_id.0
    };
    let log_end = OffsetAndEpoch {
        offset: Offset(partition.fetch_offset),
        epoch: LeaderEpoch(partition.last_fetched_epoch),
    };
    let high_watermark = if version >= HIGH_WATERMARK_FROM {
        Offset(partition.high_watermark)
    } else {
        Offset(i64::MAX)
    };
    let wait_ms = u64::from(body.max_wait_ms.max(0).unsigned_abs());
    let question = FetchQuestion {
        replica: replica(id, partition.replica_directory_id),
        epoch: LeaderEpoch(partition.current_leader_epoch),
        log_end,
        high_watermark,
        wait_max: Duration::from_millis(wait_ms),
    };
    let bytes_max = body.max_bytes.min(partition.partition_max_bytes).max(0);
    Ok((Request::Fetch(question), u64::from(bytes_max.unsigned_abs())))
}

fn answer(body: &FetchRequest, answered: Answered) -> FetchResponse {
    if let Some(error) = top_level(&answered.reply) {
        return FetchResponse::default().with_error_code(error.code());
    }
    let topic = only(&body.topics).expect("the question was one of one topic");
    let current = answered.reply.current;
    let leader = BrokerId(current.leader.map_or(-1, |leader| leader.0));
    let mut partition = PartitionData::default()
        .with_error_code(answered.reply.error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_current_leader(
            LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(current.epoch.0),
        )
        .with_records(Some(answered.records));
    if let ReplyBody::Fetch(fetch) = answered.reply.body {
        partition.high_watermark = fetch.high_watermark.map_or(-1, |offset| offset.0);
        partition.log_start_offset = fetch.log_start.0;
        match fetch.outcome {
            FetchOutcome::Records(_) => {}
            FetchOutcome::Diverging(end) => {
                partition.diverging_epoch =
                    EpochEndOffset::default().with_epoch(end.epoch.0).with_end_offset(end.offset.0);
            }
            FetchOutcome::Snapshot(id) => {
                partition.snapshot_id =
                    SnapshotId::default().with_epoch(id.epoch.0).with_end_offset(id.offset.0);
            }
        }
    }
    let endpoint = current.leader.and(answered.leader_endpoints.first()).map(|endpoint| {
        NodeEndpoint::default()
            .with_node_id(leader)
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(i32::from(endpoint.port))
    });
    let topic = FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(vec![partition]);
    FetchResponse::default()
        .with_responses(vec![topic])
        .with_node_endpoints(endpoint.into_iter().collect())
}
