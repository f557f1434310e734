//! Effects and states in a line.

use std::fmt::Write;

use ottla_protocol::consumer_protocol::{
    ConsumedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::consumer::CurrentPartitions;
use ottla_protocol::{Message, Reader};
use ottla_types::{ErrorCode, PartitionId};

use super::cluster::said;
use crate::group::classic::{ClassicGroup, Joined, Synced};
use crate::group::consumer::{Assignment, DescribedConsumer, DescribedConsumerGroup};
use crate::group::{Answer, DescribedGroup, DescribedMember, ListedGroup, RecordBytes, Told};

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a member says about itself: a text, or the topics that a consumer wants to read.
fn about(bytes: &[u8]) -> String {
    let mut reader = Reader::new(bytes);
    match (reader.i16(), ConsumerProtocolSubscription::decode(&mut reader, 0)) {
        (Ok(0 | 1), Ok(subscription)) => {
            let topics: Vec<String> = subscription.topics.iter().map(ToString::to_string).collect();
            format!("reads {}", topics.join("/"))
        }
        _ => text(bytes),
    }
}

/// What a member is told to do: a text, or the partitions that a consumer is to read.
fn assigned(bytes: &[u8]) -> String {
    let Ok((told, _)) = ottla_protocol::consumer_protocol::decode(bytes) else {
        return format!("{:?}", text(bytes));
    };
    let told: ConsumerProtocolAssignment = told;
    let topic = |topic: &ConsumedPartitions| {
        let all: Vec<String> = topic.partitions.iter().map(|id| id.0.to_string()).collect();
        format!("{}:{}", topic.topic, all.join(","))
    };
    let all: Vec<String> = told.assigned_partitions.iter().map(topic).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join("/") }
}

pub(super) fn listed(group: &ListedGroup) -> String {
    let ListedGroup { id, protocol_type, state, kind } = group;
    format!("{id} {state} kind={kind} type={protocol_type:?}")
}

pub(super) fn described(group: &DescribedGroup) -> String {
    let DescribedGroup { state, protocol_type, protocol, members } = group;
    let member = |member: &DescribedMember| {
        let instance = member.instance.as_ref().map(|it| format!(" instance={it}"));
        format!(
            "\n  {}{} client={} host={} about={:?} assignment={:?}",
            member.id,
            instance.unwrap_or_default(),
            member.client_id,
            member.client_host,
            about(&member.metadata),
            text(&member.assignment),
        )
    };
    let members: String = members.iter().map(member).collect();
    format!("{state} type={protocol_type:?} protocol={protocol:?}{members}")
}

pub(super) fn told(told: &Told) -> String {
    match told {
        Err(error) => error.to_string(),
        Ok(Answer::Committed(outcomes) | Answer::Left(outcomes)) => codes(outcomes),
        Ok(Answer::OffsetsDeleted(outcomes)) => codes(outcomes),
        Ok(Answer::Deleted) => "deleted".to_owned(),
        Ok(Answer::TransactionEnded) => "ended".to_owned(),
        Ok(Answer::Joined(it)) => joined(it),
        Ok(Answer::Beat(Err(refusal))) => format!("{} ({})", refusal.error, refusal.text),
        Ok(Answer::Beat(Ok(beat))) => {
            let assigned = beat.assignment.as_ref().map(|it| format!(" {}", assignment(it)));
            format!("epoch={}{}", beat.epoch, assigned.unwrap_or_default())
        }
        Ok(Answer::Synced(Synced { protocol, assignment, .. })) => {
            let protocol = protocol.as_deref().unwrap_or("-");
            format!("synced protocol={protocol} assignment={}", assigned(assignment))
        }
    }
}

fn codes(outcomes: &[ErrorCode]) -> String {
    let names: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn joined(joined: &Joined) -> String {
    let Joined { error, member, generation, protocol, leader, skip_assignment, members, .. } =
        joined;
    if *error != ErrorCode::None {
        let member = if member.is_empty() { String::new() } else { format!(" id={member}") };
        return format!("{error}{member}");
    }
    let protocol = protocol.as_deref().unwrap_or("-");
    let leader = leader.as_deref().unwrap_or("-");
    let mut line =
        format!("joined id={member} generation={generation} protocol={protocol} leader={leader}");
    if !members.is_empty() {
        let ids: Vec<String> =
            members.iter().map(|it| format!("{}({})", it.id, about(&it.metadata))).collect();
        let _ = write!(line, " members={}", ids.join(","));
    }
    if *skip_assignment {
        line.push_str(" skip-assignment");
    }
    line
}

pub(super) fn record(record: &RecordBytes) -> String {
    let (record, _) = GroupRecord::decode(&record.key, record.value.as_deref()).expect("ours");
    match record {
        GroupRecord::OffsetCommit(key, value) => {
            let to = value.map_or("forgotten".to_owned(), |value| value.offset.to_string());
            format!("offset {} {}-{} {to}", key.group, key.topic, key.partition)
        }
        GroupRecord::GroupMetadata(key, None) => format!("group {} forgotten", key.group),
        GroupRecord::GroupMetadata(key, Some(value)) => {
            let member = |member: &ottla_protocol::coordinator::group::classic::MemberMetadata| {
                format!("{}={}", member.member_id, assigned(&member.assignment).trim_matches('"'))
            };
            let members: Vec<String> = value.members.iter().map(member).collect();
            let protocol = value.protocol.as_deref().unwrap_or("-");
            let leader = value.leader.as_deref().unwrap_or("-");
            format!(
                "group {} generation={} protocol={protocol} leader={leader} members=[{}]",
                key.group,
                value.generation,
                members.join(" ")
            )
        }
        other => consumer_record(&other).unwrap_or_else(|| format!("{other:?}")),
    }
}

/// Partitions with the epochs since which they are a member's.
fn with_epochs(topics: &[CurrentPartitions]) -> String {
    let topic = |topic: &CurrentPartitions| {
        let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
        let one = |(id, since): (&PartitionId, &i32)| format!("{}@{since}", id.0);
        let all: Vec<_> = topic.partitions.iter().zip(epochs).map(one).collect();
        format!("{}:{}", said(topic.topic_id), all.join(","))
    };
    let all: Vec<String> = topics.iter().map(topic).collect();
    if all.is_empty() { "-".to_owned() } else { all.join("/") }
}

/// A record of a consumer group.
fn consumer_record(record: &GroupRecord) -> Option<String> {
    Some(match record {
        GroupRecord::ConsumerGroupMetadata(key, None) => {
            format!("group {} forgotten", key.group_id)
        }
        GroupRecord::ConsumerGroupMetadata(key, Some(value)) => {
            let hash = if value.metadata_hash == 0 { "none" } else { "some" };
            format!("group {} epoch={} topics={hash}", key.group_id, value.epoch)
        }
        GroupRecord::ConsumerGroupPartitionMetadata(_, None) => "old topics forgotten".to_owned(),
        GroupRecord::ConsumerGroupMemberMetadata(key, None) => {
            format!("member {} forgotten", key.member_id)
        }
        GroupRecord::ConsumerGroupMemberMetadata(key, Some(value)) => {
            let topics = value.subscribed_topic_names.iter().map(ToString::to_string);
            let topics = topics.collect::<Vec<_>>().join("/");
            let instance = value.instance_id.as_ref().map(|it| format!(" instance={it}"));
            let assignor = value.server_assignor.as_ref().map(|it| format!(" assignor={it}"));
            let (instance, assignor) = (instance.unwrap_or_default(), assignor.unwrap_or_default());
            let regex = value.subscribed_topic_regex.as_deref().filter(|it| !it.is_empty());
            let regex = regex.map(|it| format!(" and {it:?}")).unwrap_or_default();
            let speaks = if value.classic_member_metadata.is_some() { " (classic)" } else { "" };
            format!("member {}{speaks}{instance} reads {topics}{regex}{assignor}", key.member_id)
        }
        GroupRecord::ConsumerGroupRegularExpression(key, None) => {
            format!("pattern {:?} forgotten", key.regular_expression)
        }
        GroupRecord::ConsumerGroupRegularExpression(key, Some(value)) => {
            let topics = value.topics.iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
            let of = (&key.regular_expression, value.version);
            format!("pattern {:?} in {} is {topics}", of.0, of.1)
        }
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, None) => {
            "target forgotten".to_owned()
        }
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, Some(value)) => {
            format!("target epoch={}", value.assignment_epoch)
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, None) => {
            format!("target of {} forgotten", key.member_id)
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, Some(value)) => {
            format!("target of {} is {}", key.member_id, assignment(&Assignment::of(value)))
        }
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, None) => {
            format!("partitions of {} forgotten", key.member_id)
        }
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value)) => {
            let state = ["Stable", "Unrevoked", "Unreleased"];
            let revoking = &value.partitions_pending_revocation;
            let gives = match revoking.is_empty() {
                true => String::new(),
                false => format!(" gives-back={}", with_epochs(revoking)),
            };
            format!(
                "partitions of {} {} epoch={}<{} has={}{gives}",
                key.member_id,
                state[usize::try_from(value.state).expect("a state of these")],
                value.member_epoch,
                value.previous_member_epoch,
                with_epochs(&value.assigned_partitions),
            )
        }
        _ => return None,
    })
}

/// Partitions by topic.
pub(super) fn assignment(assignment: &Assignment) -> String {
    let topic = |(id, partitions): (&ottla_types::Uuid, &Vec<PartitionId>)| {
        let all: Vec<String> = partitions.iter().map(|id| id.0.to_string()).collect();
        format!("{}:{}", said(*id), all.join(","))
    };
    let all: Vec<String> = assignment.0.iter().map(topic).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join("/") }
}

pub(super) fn consumers(group: &DescribedConsumerGroup) -> String {
    let DescribedConsumerGroup { state, epoch, assignment_epoch, assignor, members } = group;
    let member = |member: &DescribedConsumer| {
        let of = &member.member;
        let instance = of.instance.as_ref().map(|it| format!(" instance={it}"));
        format!(
            "\n  {}{} epoch={} has {} and is to have {}",
            of.id,
            instance.unwrap_or_default(),
            of.epoch,
            assignment(&member.assigned),
            assignment(&member.target),
        )
    };
    let members: String = members.iter().map(member).collect();
    format!("{state} epoch={epoch} target={assignment_epoch} assignor={assignor}{members}")
}

pub(super) fn group(group: &ClassicGroup) -> String {
    let member = |member: &crate::group::classic::Member| {
        let waits = match (member.awaiting_join, member.awaiting_sync) {
            (Some(_), _) => " joining",
            (_, Some(_)) => " syncing",
            _ => "",
        };
        let instance = member.instance.as_ref().map(|it| format!(" instance={it}"));
        format!("\n  {}{}{waits}", member.id, instance.unwrap_or_default())
    };
    let members: String = group.members().iter().map(member).collect();
    let leader = group.leader().map_or("-", |leader| &**leader);
    format!(
        "{} {:?} generation={} protocol={} leader={leader}{members}",
        group.id(),
        group.state(),
        group.generation(),
        group.protocol().unwrap_or("-"),
    )
}
