//! DescribeQuorum (55): who leads the metadata quorum, and how far voters and observers are
//! (KIP-595, KIP-836).
//!
//! Versions: 0-2. 1 when a replica fetched last and when it had everything, 2 directory ids, texts
//! of errors, and where the voters listen (KIP-853).
//! - Clients may ask the broker as well as the controller. Kafka's broker forwards the question.
//! - The leader has everything, always: both of its times are now.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED` and `NOT_LEADER_OR_FOLLOWER` of the whole;
//! `UNKNOWN_TOPIC_OR_PARTITION` with each partition, unless partition 0 of `__cluster_metadata` is
//! all that is asked for.

use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_protocol::messages::{
    BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, StrBytes, decode_request, to_wire_uuid,
};
use ottla_raft::core::ReplicaProgress;
use ottla_raft::driver::QuorumDescription;
use ottla_security::Operation;
use ottla_types::{ErrorCode, MonoTime, Timestamp};

use super::{METADATA_TOPIC, only};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const TEXTS_FROM: i16 = 2;
const TIMES_FROM: i16 = 1;

/// Answers a DescribeQuorum.
///
/// # Errors
/// When the body is not one.
pub fn describe(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: DescribeQuorumRequest = decode_request(&body, header.api_key, header.api_version)?;
    let version = header.api_version;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.cluster(Operation::Describe) {
        let answer = refuse(ErrorCode::ClusterAuthorizationFailed, version);
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    if !is_about_the_quorum(&body) {
        return Ok(Reply::Now(Response::encode(&header, &unknown(&body, version))));
    }
    let quorum = services.quorum.clone();
    let clock = services.runtime.clock().clone();
    Ok(Reply::Later(Box::pin(async move {
        let answer = match quorum.describe().await {
            Ok(Some(found)) => {
                let times = Times { now: clock.now(), wall: clock.wall() };
                described(&found, times, version)
            }
            Ok(None) => refuse(ErrorCode::NotLeaderOrFollower, version),
            Err(_) => refuse(ErrorCode::UnknownServerError, version),
        };
        Response::encode(&header, &answer)
    })))
}

fn is_about_the_quorum(body: &DescribeQuorumRequest) -> bool {
    only(&body.topics).is_some_and(|topic| {
        let partition = only(&topic.partitions);
        *topic.topic_name.0 == *METADATA_TOPIC
            && partition.is_some_and(|it| it.partition_index == 0)
    })
}

/// A text, where the version has one.
fn text(version: i16, text: &'static str) -> Option<StrBytes> {
    (version >= TEXTS_FROM).then(|| StrBytes::from_static_str(text))
}

fn refuse(error: ErrorCode, version: i16) -> DescribeQuorumResponse {
    let message = match error {
        ErrorCode::ClusterAuthorizationFailed => "Cluster authorization failed.",
        _ => "",
    };
    DescribeQuorumResponse::default()
        .with_error_code(error.code())
        .with_error_message(text(version, message))
}

/// The request once more, with an error for each partition.
fn unknown(body: &DescribeQuorumRequest, version: i16) -> DescribeQuorumResponse {
    let message = "This server does not host this topic-partition.";
    let topics = body.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionData::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
                .with_error_message(text(version, message))
        });
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default()
        .with_error_message(text(version, ""))
        .with_topics(topics.collect())
}

/// The same moment on two clocks.
#[derive(Clone, Copy)]
struct Times {
    now: MonoTime,
    wall: Timestamp,
}

impl Times {
    /// When something was, by the wall clock; -1 when it never was.
    fn wall_of(self, moment: Option<MonoTime>) -> i64 {
        moment.map_or(-1, |moment| {
            let ago = self.now.since(moment).as_millis();
            self.wall.0 - i64::try_from(ago).unwrap_or(i64::MAX)
        })
    }
}

fn described(found: &QuorumDescription, times: Times, version: i16) -> DescribeQuorumResponse {
    let state = |replica: &ReplicaProgress| {
        let is_leader = replica.replica.id == found.leader;
        let time = |moment| match () {
            () if version < TIMES_FROM => -1,
            () if is_leader => times.wall.0,
            () => times.wall_of(moment),
        };
        let directory_id = replica.replica.directory_id;
        let state = ReplicaState::default()
            .with_replica_id(BrokerId(replica.replica.id.0))
            .with_log_end_offset(replica.log_end.map_or(-1, |end| end.0))
            .with_last_fetch_timestamp(time(replica.last_fetch))
            .with_last_caught_up_timestamp(time(replica.last_caught_up));
        match version >= TEXTS_FROM {
            true => state.with_replica_directory_id(to_wire_uuid(directory_id)),
            false => state,
        }
    };
    let partition = PartitionData::default()
        .with_error_message(text(version, ""))
        .with_leader_id(BrokerId(found.leader.0))
        .with_leader_epoch(found.epoch.0)
        .with_high_watermark(found.high_watermark.map_or(-1, |end| end.0))
        .with_current_voters(found.voters.iter().map(state).collect())
        .with_observers(found.observers.iter().map(state).collect());
    let topic = TopicData::default()
        .with_topic_name(StrBytes::from_static_str(METADATA_TOPIC).into())
        .with_partitions(vec![partition]);
    let nodes = if version >= TEXTS_FROM { nodes(found) } else { Vec::new() };
    DescribeQuorumResponse::default()
        .with_error_message(text(version, ""))
        .with_topics(vec![topic])
        .with_nodes(nodes)
}

/// Where the voters listen.
fn nodes(found: &QuorumDescription) -> Vec<Node> {
    let nodes = found.endpoints.iter().map(|(id, endpoints)| {
        let listeners = endpoints.iter().map(|endpoint| {
            Listener::default()
                .with_name(StrBytes::from_string(endpoint.name.clone()))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(endpoint.port)
        });
        Node::default().with_node_id(BrokerId(id.0)).with_listeners(listeners.collect())
    });
    nodes.collect()
}
