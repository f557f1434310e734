//! ConsumerGroupDescribe (69): consumer groups (KIP-848) and their members.
//!
//! Versions: 0-1. 1 which protocol a member speaks.
//! - What is told is what is committed.
//! - Who may not describe a topic that the group reads is told nothing of its members.
//! - Topics that are not there any more are left out.
//!
//! Errors: `GROUP_AUTHORIZATION_FAILED`, `INVALID_GROUP_ID`, `TOPIC_AUTHORIZATION_FAILED`,
//! `UNSUPPORTED_VERSION` while `group.version` is 0, `GROUP_ID_NOT_FOUND`, `NOT_COORDINATOR`,
//! `COORDINATOR_LOAD_IN_PROGRESS`.

use ottla_coordinator::group::GroupId;
use ottla_coordinator::group::consumer::{Assignment, DescribedConsumer, DescribedConsumerGroup};
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment as WireAssignment, DescribedGroup, Member, TopicPartitions,
};
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId as WireId, StrBytes,
    TopicName as WireTopic, decode_request, to_wire_uuid,
};
use ottla_security::{Operation, ResourceKind};
use ottla_types::ErrorCode;

use super::{knows_consumer_groups, text};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::{Permissions, authorized_operations};
use crate::response::Response;
use crate::services::Services;

const MEMBER_TYPES_FROM: i16 = 1;
const SPEAKS_CLASSIC: i8 = 0;
const SPEAKS_CONSUMER: i8 = 1;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let body: ConsumerGroupDescribeRequest =
        decode_request(&request.body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let image = services.images.load();
    let describe = |id: WireId| {
        let name = id.to_string();
        if !knows_consumer_groups(&image) {
            return refuse(id, ErrorCode::UnsupportedVersion, None);
        }
        if !permissions.group(Operation::Describe, &name) {
            return refuse(id, ErrorCode::GroupAuthorizationFailed, None);
        }
        if name.is_empty() {
            return refuse(id, ErrorCode::InvalidGroupId, None);
        }
        let group = GroupId::from(name.as_str());
        let described = services.groups.read(&group, |shard| {
            shard.describe_consumers(&group).ok_or_else(|| shard.has_group(&group))
        });
        let described = match described {
            Err(error) => return refuse(id, error, None),
            Ok(Err(is_other)) => {
                let what = if is_other { "is not a consumer group" } else { "not found" };
                let message = format!("Group {name} {what}.");
                return refuse(id, ErrorCode::GroupIdNotFound, Some(message));
            }
            Ok(Ok(group)) => group,
        };
        if !may_see(&described, &permissions, &image) {
            let message = "the group reads topics that the client may not describe";
            return refuse(id, ErrorCode::TopicAuthorizationFailed, Some(message.to_owned()));
        }
        let told = wire_group(id, &described, &image, version);
        match body.include_authorized_operations {
            false => told,
            true => told.with_authorized_operations(authorized_operations(
                &permissions,
                ResourceKind::Group,
                &name,
            )),
        }
    };
    let groups = body.group_ids.into_iter().map(describe).collect();
    let answer = ConsumerGroupDescribeResponse::default().with_groups(groups);
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn refuse(id: WireId, error: ErrorCode, message: Option<String>) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id)
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}

fn may_see(group: &DescribedConsumerGroup, permissions: &Permissions<'_>, image: &Image) -> bool {
    let may = |name: &str| permissions.topic(Operation::Describe, name);
    group.members.iter().all(|member| {
        let assigned = member.assigned.0.keys().chain(member.target.0.keys());
        let mut names = assigned.filter_map(|id| image.topics().by_id(*id));
        names.all(|topic| may(&topic.name)) && member.member.topics.iter().all(|name| may(name))
    })
}

fn wire_group(
    id: WireId,
    group: &DescribedConsumerGroup,
    image: &Image,
    version: i16,
) -> DescribedGroup {
    let members = group.members.iter().map(|member| wire_member(member, image, version));
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(StrBytes::from_static_str(group.assignor))
        .with_members(members.collect())
}

fn wire_member(described: &DescribedConsumer, image: &Image, version: i16) -> Member {
    let member = &described.member;
    let optional = |it: &Option<String>| it.as_deref().map(text);
    let kind = if member.classic.is_some() { SPEAKS_CLASSIC } else { SPEAKS_CONSUMER };
    let told = Member::default()
        .with_member_id(text(&member.id))
        .with_instance_id(optional(&member.instance))
        .with_rack_id(optional(&member.rack))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(
            member.topics.iter().map(|name| WireTopic(text(name))).collect(),
        )
        .with_subscribed_topic_regex(Some(text(&member.regex)))
        .with_assignment(wire_assignment(&described.assigned, image))
        .with_target_assignment(wire_assignment(&described.target, image));
    if version < MEMBER_TYPES_FROM { told } else { told.with_member_type(kind) }
}

fn wire_assignment(assignment: &Assignment, image: &Image) -> WireAssignment {
    let topics = assignment.0.iter().filter_map(|(id, partitions)| {
        let topic = image.topics().by_id(*id)?;
        let partitions = partitions.iter().map(|id| id.0).collect();
        Some(
            TopicPartitions::default()
                .with_topic_id(to_wire_uuid(*id))
                .with_topic_name(WireTopic(text(&topic.name)))
                .with_partitions(partitions),
        )
    });
    WireAssignment::default().with_topic_partitions(topics.collect())
}
