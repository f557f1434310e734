//! Effects and states in a line.

use std::fmt::Write;

use ottla_protocol::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::{Message, Reader};
use ottla_types::ErrorCode;

use crate::group::classic::{ClassicGroup, Joined, Synced};
use crate::group::{Answer, DescribedGroup, DescribedMember, ListedGroup, RecordBytes, Told};

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a member says about itself: a text, or the topics that a consumer wants to read.
fn about(bytes: &[u8]) -> String {
    let mut reader = Reader::new(bytes);
    match (reader.i16(), ConsumerProtocolSubscription::decode(&mut reader, 0)) {
        (Ok(0), Ok(subscription)) => {
            let topics: Vec<String> = subscription.topics.iter().map(ToString::to_string).collect();
            format!("reads {}", topics.join("/"))
        }
        _ => text(bytes),
    }
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
        Ok(Answer::Joined(it)) => joined(it),
        Ok(Answer::Synced(Synced { protocol, assignment, .. })) => {
            let protocol = protocol.as_deref().unwrap_or("-");
            format!("synced protocol={protocol} assignment={:?}", text(assignment))
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
                format!("{}={}", member.member_id, text(&member.assignment))
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
        other => format!("{other:?}"),
    }
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
