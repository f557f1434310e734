//! Records of consumer groups, as they are written.

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::consumer::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use ottla_types::Timestamp;

use super::member::{Assignment, ConsumerMember};
use super::state::{ConsumerGroups, Resolved};
use crate::group::{GroupId, MemberId};

/// A group is in an epoch, in which its topics have this hash.
pub(super) fn epoch(id: &GroupId, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() };
    GroupRecord::ConsumerGroupMetadata(
        ConsumerGroupMetadataKey { group_id: id.to_string() },
        Some(value),
    )
}

/// The topics of a group are not recorded any more.
pub(super) fn no_topics(id: &GroupId) -> GroupRecord {
    let key = ConsumerGroupPartitionMetadataKey { group_id: id.to_string() };
    GroupRecord::ConsumerGroupPartitionMetadata(key, None)
}

/// What a member says about itself.
pub(super) fn member(id: &GroupId, member: &ConsumerMember) -> GroupRecord {
    GroupRecord::ConsumerGroupMemberMetadata(member_key(id, &member.id), Some(member.metadata()))
}

fn member_key(id: &GroupId, member: &MemberId) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: id.to_string(), member_id: member.to_string() }
}

/// What a member has.
pub(super) fn current(id: &GroupId, member: &ConsumerMember) -> GroupRecord {
    let value = Some(member.current());
    GroupRecord::ConsumerGroupCurrentMemberAssignment(current_key(id, &member.id), value)
}

fn current_key(id: &GroupId, member: &MemberId) -> ConsumerGroupCurrentMemberAssignmentKey {
    let (group_id, member_id) = (id.to_string(), member.to_string());
    ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id }
}

/// What a member is to have.
pub(super) fn target(id: &GroupId, member: &MemberId, target: &Assignment) -> GroupRecord {
    let value = Some(target.to_record());
    GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(id, member), value)
}

fn target_key(id: &GroupId, member: &MemberId) -> ConsumerGroupTargetAssignmentMemberKey {
    let (group_id, member_id) = (id.to_string(), member.to_string());
    ConsumerGroupTargetAssignmentMemberKey { group_id, member_id }
}

/// The targets are those of an epoch.
pub(super) fn target_epoch(id: &GroupId, epoch: i32, at: Timestamp) -> GroupRecord {
    let value = ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
        assignment_timestamp: at,
        ..Default::default()
    };
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: id.to_string() };
    GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, Some(value))
}

/// A member is forgotten.
pub(super) fn no_member(id: &GroupId, member: &MemberId) -> [GroupRecord; 3] {
    [
        GroupRecord::ConsumerGroupCurrentMemberAssignment(current_key(id, member), None),
        GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(id, member), None),
        GroupRecord::ConsumerGroupMemberMetadata(member_key(id, member), None),
    ]
}

/// What a pattern stands for.
pub(super) fn regex(id: &GroupId, regex: &str, resolved: &Resolved) -> GroupRecord {
    let value = ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.at,
        ..Default::default()
    };
    GroupRecord::ConsumerGroupRegularExpression(regex_key(id, regex), Some(value))
}

/// What a pattern stood for is forgotten.
pub(super) fn no_regex(id: &GroupId, regex: &str) -> GroupRecord {
    GroupRecord::ConsumerGroupRegularExpression(regex_key(id, regex), None)
}

fn regex_key(id: &GroupId, regex: &str) -> ConsumerGroupRegularExpressionKey {
    let (group_id, regular_expression) = (id.to_string(), regex.to_owned());
    ConsumerGroupRegularExpressionKey { group_id, regular_expression }
}

/// A group with these members is forgotten.
pub(super) fn no_group_of(
    groups: &ConsumerGroups,
    id: &GroupId,
    members: &[MemberId],
) -> Vec<GroupRecord> {
    let current = members.iter().map(|member| {
        GroupRecord::ConsumerGroupCurrentMemberAssignment(current_key(id, member), None)
    });
    let target = members.iter().map(|member| {
        GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(id, member), None)
    });
    let said = members
        .iter()
        .map(|member| GroupRecord::ConsumerGroupMemberMetadata(member_key(id, member), None));
    let mut records: Vec<GroupRecord> = current.chain(target).collect();
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: id.to_string() };
    records.push(GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, None));
    records.extend(said);
    records.extend(groups.regexes(id).map(|regex| no_regex(id, regex)));
    records.push(no_topics(id));
    let key = ConsumerGroupMetadataKey { group_id: id.to_string() };
    records.push(GroupRecord::ConsumerGroupMetadata(key, None));
    records
}

/// A group without members is forgotten; targets may have stayed behind.
pub(super) fn no_group(groups: &ConsumerGroups, id: &GroupId) -> Vec<GroupRecord> {
    let mut records: Vec<GroupRecord> = groups
        .targets(id)
        .map(|(member, _)| {
            GroupRecord::ConsumerGroupTargetAssignmentMember(target_key(id, member), None)
        })
        .collect();
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: id.to_string() };
    records.push(GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, None));
    records.extend(groups.regexes(id).map(|regex| no_regex(id, regex)));
    records.push(no_topics(id));
    let key = ConsumerGroupMetadataKey { group_id: id.to_string() };
    records.push(GroupRecord::ConsumerGroupMetadata(key, None));
    records
}
