//! Vote, BeginQuorumEpoch and EndQuorumEpoch.
//!
//! Versions: see `mod.rs`.
//!
//! Errors: see `mod.rs`.

use ottla_protocol::control::VoterEndpoint;
use ottla_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerId, EndQuorumEpochRequest,
    EndQuorumEpochResponse, StrBytes, TopicName, VoteRequest, VoteResponse,
    begin_quorum_epoch_response, decode_request, end_quorum_epoch_response, vote_response,
};
use ottla_protocol::{Decoded, RequestHeader};
use ottla_raft::core::{
    BeginQuorumEpoch, EndQuorumEpoch, OffsetAndEpoch, ReplyBody, Request,
    VoteRequest as VoteQuestion,
};
use ottla_raft::driver::Answered;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use super::{METADATA_TOPIC, ask, check_sender, named_replica, only, replica, top_level};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers a Vote.
///
/// # Errors
/// When the body is not one.
pub fn vote(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: VoteRequest = decode_request(&request.body, header.api_key, header.api_version)?;
    let question = check_sender(services, &request).and_then(|()| read_vote(&body));
    Ok(later(services, header, text(body.cluster_id.as_ref()), question, |header, answered| {
        let answer = match answered {
            Ok(answered) => vote_answer(&answered),
            Err(error) => VoteResponse::default().with_error_code(error.code()),
        };
        Response::encode(header, &answer)
    }))
}

/// Answers a BeginQuorumEpoch.
///
/// # Errors
/// When the body is not one.
pub fn begin_epoch(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: BeginQuorumEpochRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let question = check_sender(services, &request).and_then(|()| read_begin(&body));
    Ok(later(services, header, text(body.cluster_id.as_ref()), question, |header, answered| {
        let answer = match answered {
            Ok(answered) => begin_answer(&answered),
            Err(error) => BeginQuorumEpochResponse::default().with_error_code(error.code()),
        };
        Response::encode(header, &answer)
    }))
}

/// Answers an EndQuorumEpoch.
///
/// # Errors
/// When the body is not one.
pub fn end_epoch(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = request.header.clone();
    let body: EndQuorumEpochRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let question = check_sender(services, &request).and_then(|()| read_end(&body, &header));
    Ok(later(services, header, text(body.cluster_id.as_ref()), question, |header, answered| {
        let answer = match answered {
            Ok(answered) => end_answer(&answered),
            Err(error) => EndQuorumEpochResponse::default().with_error_code(error.code()),
        };
        Response::encode(header, &answer)
    }))
}

fn text(text: Option<&StrBytes>) -> Option<String> {
    text.map(ToString::to_string)
}

fn later(
    services: &Services,
    header: RequestHeader,
    cluster_id: Option<String>,
    question: Result<Request, ErrorCode>,
    answer: fn(&RequestHeader, Result<Answered, ErrorCode>) -> Response,
) -> Reply {
    let quorum = services.quorum.clone();
    Reply::Later(Box::pin(async move {
        let answered = match question {
            Ok(question) => ask(&quorum, cluster_id, question, 0).await,
            Err(error) => Err(error),
        };
        answer(&header, answered)
    }))
}

fn read_vote(body: &VoteRequest) -> Result<Request, ErrorCode> {
    let topic = only(&body.topics).filter(|topic| *topic.topic_name == *METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions));
    let partition = partition.filter(|partition| partition.partition_index == 0);
    let partition = partition.ok_or(ErrorCode::InvalidRequest)?;
    Ok(Request::Vote(VoteQuestion {
        voter: named_replica(body.voter_id.0, partition.voter_directory_id),
        replica: replica(partition.replica_id.0, partition.replica_directory_id),
        epoch: LeaderEpoch(partition.replica_epoch),
        log_end: OffsetAndEpoch {
            offset: Offset(partition.last_offset),
            epoch: LeaderEpoch(partition.last_offset_epoch),
        },
        pre_vote: partition.pre_vote,
    }))
}

fn read_begin(body: &BeginQuorumEpochRequest) -> Result<Request, ErrorCode> {
    let topic = only(&body.topics).filter(|topic| *topic.topic_name == *METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions));
    let partition = partition.filter(|partition| partition.partition_index == 0);
    let partition = partition.ok_or(ErrorCode::InvalidRequest)?;
    let endpoints = body.leader_endpoints.iter().map(|endpoint| VoterEndpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    });
    Ok(Request::BeginQuorumEpoch(BeginQuorumEpoch {
        voter: named_replica(body.voter_id.0, partition.voter_directory_id),
        leader: NodeId(partition.leader_id.0),
        epoch: LeaderEpoch(partition.leader_epoch),
        endpoints: endpoints.collect(),
    }))
}

fn read_end(body: &EndQuorumEpochRequest, header: &RequestHeader) -> Result<Request, ErrorCode> {
    let topic = only(&body.topics).filter(|topic| *topic.topic_name == *METADATA_TOPIC);
    let partition = topic.and_then(|topic| only(&topic.partitions));
    let partition = partition.filter(|partition| partition.partition_index == 0);
    let partition = partition.ok_or(ErrorCode::InvalidRequest)?;
    let successors = if header.api_version == 0 {
        let ids = partition.preferred_successors.iter();
        ids.map(|id| replica(*id, uuid::Uuid::nil())).collect()
    } else {
        let candidates = partition.preferred_candidates.iter();
        candidates.map(|it| replica(it.candidate_id.0, it.candidate_directory_id)).collect()
    };
    let endpoints = body.leader_endpoints.iter().map(|endpoint| VoterEndpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    });
    Ok(Request::EndQuorumEpoch(EndQuorumEpoch {
        leader: NodeId(partition.leader_id.0),
        epoch: LeaderEpoch(partition.leader_epoch),
        successors,
        endpoints: endpoints.collect(),
    }))
}

/// The leader as the answers name it.
fn leader(answered: &Answered) -> BrokerId {
    BrokerId(answered.reply.current.leader.map_or(-1, |leader| leader.0))
}

/// Where the leader listens: clients of the quorum know one listener only, the first.
fn leader_endpoint(answered: &Answered) -> Option<&VoterEndpoint> {
    answered.reply.current.leader.and(answered.leader_endpoints.first())
}

fn vote_answer(answered: &Answered) -> VoteResponse {
    if let Some(error) = top_level(&answered.reply) {
        return VoteResponse::default().with_error_code(error.code());
    }
    let granted = matches!(answered.reply.body, ReplyBody::Vote { granted: true });
    let partition = vote_response::PartitionData::default()
        .with_error_code(answered.reply.error.code())
        .with_leader_id(leader(answered))
        .with_leader_epoch(answered.reply.current.epoch.0)
        .with_vote_granted(granted);
    let topic = vote_response::TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let endpoint = leader_endpoint(answered).map(|endpoint| {
        vote_response::NodeEndpoint::default()
            .with_node_id(leader(answered))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    VoteResponse::default()
        .with_topics(vec![topic])
        .with_node_endpoints(endpoint.into_iter().collect())
}

fn begin_answer(answered: &Answered) -> BeginQuorumEpochResponse {
    if let Some(error) = top_level(&answered.reply) {
        return BeginQuorumEpochResponse::default().with_error_code(error.code());
    }
    let partition = begin_quorum_epoch_response::PartitionData::default()
        .with_error_code(answered.reply.error.code())
        .with_leader_id(leader(answered))
        .with_leader_epoch(answered.reply.current.epoch.0);
    let topic = begin_quorum_epoch_response::TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let endpoint = leader_endpoint(answered).map(|endpoint| {
        begin_quorum_epoch_response::NodeEndpoint::default()
            .with_node_id(leader(answered))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    BeginQuorumEpochResponse::default()
        .with_topics(vec![topic])
        .with_node_endpoints(endpoint.into_iter().collect())
}

fn end_answer(answered: &Answered) -> EndQuorumEpochResponse {
    if let Some(error) = top_level(&answered.reply) {
        return EndQuorumEpochResponse::default().with_error_code(error.code());
    }
    let partition = end_quorum_epoch_response::PartitionData::default()
        .with_error_code(answered.reply.error.code())
        .with_leader_id(leader(answered))
        .with_leader_epoch(answered.reply.current.epoch.0);
    let topic = end_quorum_epoch_response::TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let endpoint = leader_endpoint(answered).map(|endpoint| {
        end_quorum_epoch_response::NodeEndpoint::default()
            .with_node_id(leader(answered))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    EndQuorumEpochResponse::default()
        .with_topics(vec![topic])
        .with_node_endpoints(endpoint.into_iter().collect())
}
