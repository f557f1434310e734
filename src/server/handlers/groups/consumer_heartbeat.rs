//! ConsumerGroupHeartbeat (68): a member of a consumer group (KIP-848) comes, is there, goes, and
//! hears what it may read.
//!
//! Versions: 0-1. 1 topics by a pattern; a member brings its own id. With version 0 one without an
//! id gets one.
//! - A pattern stands for the topics that its sender may describe; topics that are named have to be
//!   such.
//! - While `group.version` is 0 nobody is answered otherwise than that the version is not
//!   supported.
//! - The answer comes when what it says is committed in the log.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `TOPIC_AUTHORIZATION_FAILED`, `INVALID_REQUEST`,
//! `UNSUPPORTED_VERSION`, `UNSUPPORTED_ASSIGNOR`, `INVALID_REGULAR_EXPRESSION`,
//! `GROUP_ID_NOT_FOUND`, `GROUP_MAX_SIZE_REACHED`,
//! `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `FENCED_INSTANCE_ID`, `UNRELEASED_INSTANCE_ID`,
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::group::consumer::assignor::Assignor;
use ottla_coordinator::group::consumer::{Assignment, ConsumerBeat, ConsumerHeartbeat, Refusal};
use ottla_coordinator::group::{GroupId, MemberId};
use ottla_protocol::Decoded;
use ottla_protocol::messages::consumer_group_heartbeat_response::{
    Assignment as WireAssignment, TopicPartitions,
};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, StrBytes, decode_request,
    from_wire_uuid, to_wire_uuid,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, PartitionId, TopicName};

use super::{client_host, knows_consumer_groups, may_describe, text};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

/// From this version on, members bring their ids.
const OWN_IDS_FROM: i16 = 1;
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
const LEAVING_FOR_A_WHILE: i32 = -2;
const NOT_GIVEN: i32 = -1;
const JOINS_WITHOUT_TOPICS: &str =
    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: ConsumerGroupHeartbeatRequest =
        decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let known = knows_consumer_groups(&services.images.load());
    let checked = match known {
        false => refuse(ErrorCode::UnsupportedVersion, "group.version is 0"),
        true => authorize(&permissions, &body).and_then(|()| check(&body, header.api_version)),
    };
    if let Err(refusal) = checked {
        return Ok(Reply::Now(Response::encode(&header, &answer(Err(refusal)))));
    }
    let member = match body.member_id.is_empty() {
        true => services.runtime.entropy().uuid().to_string(),
        false => body.member_id.to_string(),
    };
    let heartbeat = ConsumerHeartbeat {
        member: MemberId::from(member.as_str()),
        client_id: header.client_id.to_string(),
        client_host: client_host(peer),
        ..wanted(body)
    };
    let told = services.groups.beat(heartbeat, may_describe(services, peer));
    Ok(Reply::Later(Box::pin(async move { Response::encode(&header, &answer(told.await)) })))
}

fn refuse<T>(error: ErrorCode, text: &str) -> Result<T, Refusal> {
    Err(Refusal { error, text: text.to_owned() })
}

fn authorize(
    permissions: &Permissions<'_>,
    body: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refusal> {
    if !permissions.group(Operation::Read, &body.group_id) {
        return refuse(ErrorCode::GroupAuthorizationFailed, "");
    }
    let mut topics = body.subscribed_topic_names.iter().flatten();
    if !topics.all(|topic| permissions.topic(Operation::Describe, topic)) {
        return refuse(ErrorCode::TopicAuthorizationFailed, "");
    }
    Ok(())
}

/// What can be said of a heartbeat before anybody looks for the group.
fn check(body: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<(), Refusal> {
    let invalid = |text: &str| refuse(ErrorCode::InvalidRequest, text);
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    let epoch = body.member_epoch;
    let is_known = version >= OWN_IDS_FROM || epoch > JOINING || epoch == LEAVING;
    if is_known && body.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if body.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&body.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&body.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        JOINING if body.rebalance_timeout_ms == NOT_GIVEN => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        JOINING if body.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        JOINING
            if body.subscribed_topic_names.is_none() && body.subscribed_topic_regex.is_none() =>
        {
            return invalid(JOINS_WITHOUT_TOPICS);
        }
        LEAVING_FOR_A_WHILE if body.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        _ if epoch < LEAVING_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    let asked = body.server_assignor.as_deref();
    if let Some(name) = asked.filter(|name| Assignor::named(name).is_none()) {
        let names = Assignor::ALL.map(Assignor::name).join(", ");
        let text = format!("ServerAssignor {name} is not supported. Supported assignors: {names}.");
        return refuse(ErrorCode::UnsupportedAssignor, &text);
    }
    Ok(())
}

fn wanted(body: ConsumerGroupHeartbeatRequest) -> ConsumerHeartbeat {
    let string = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let topics = body.subscribed_topic_names;
    let owned = body.topic_partitions.map(|owned| {
        let topic =
            |topic: ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions| {
                let partitions = topic.partitions.into_iter().map(PartitionId).collect();
                (from_wire_uuid(topic.topic_id), partitions)
            };
        owned.into_iter().map(topic).collect()
    });
    ConsumerHeartbeat {
        group: GroupId::from(&**body.group_id),
        member: MemberId::from(""),
        epoch: body.member_epoch,
        instance: string(body.instance_id),
        rack: string(body.rack_id),
        rebalance_timeout_ms: Some(body.rebalance_timeout_ms).filter(|ms| *ms != NOT_GIVEN),
        topics: topics.map(|all| all.iter().map(|topic| TopicName::from(&***topic)).collect()),
        regex: string(body.subscribed_topic_regex),
        assignor: string(body.server_assignor),
        owned,
        client_id: String::new(),
        client_host: String::new(),
    }
}

fn answer(told: Result<ConsumerBeat, Refusal>) -> ConsumerGroupHeartbeatResponse {
    let answer = ConsumerGroupHeartbeatResponse::default();
    match told {
        Err(Refusal { error, text }) => {
            let message = Some(text).filter(|text| !text.is_empty());
            answer
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string))
        }
        Ok(beat) => answer
            .with_member_id(Some(text(&beat.member)))
            .with_member_epoch(beat.epoch)
            .with_heartbeat_interval_ms(beat.interval_ms)
            .with_assignment(beat.assignment.as_ref().map(wire_assignment)),
    }
}

fn wire_assignment(assignment: &Assignment) -> WireAssignment {
    let topics = assignment.0.iter().map(|(id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(to_wire_uuid(*id))
            .with_partitions(partitions.iter().map(|id| id.0).collect())
    });
    WireAssignment::default().with_topic_partitions(topics.collect())
}
