//! What a load makes of the records of consumer groups when it is lied to: each lie is what a bug
//! of the coordinator would make of them.

use ottla_protocol::coordinator::group::GroupRecord;

use crate::mutant::Lie;

/// A record as it is told of, after the one that its key had before.
pub fn told_of(lie: Lie, record: GroupRecord, before: Option<&GroupRecord>) -> GroupRecord {
    use GroupRecord::{
        ConsumerGroupCurrentMemberAssignment as Current, ConsumerGroupMemberMetadata as Member,
        ConsumerGroupMetadata as Head, ConsumerGroupTargetAssignmentMember as Target,
    };
    match (lie, record, before) {
        (Lie::GroupEpochNotKept, Head(key, Some(mut value)), Some(Head(_, Some(before)))) => {
            value.epoch = before.epoch;
            Head(key, Some(value))
        }
        (Lie::TargetOfBefore, Target(key, Some(_)), Some(Target(_, Some(before)))) => {
            Target(key, Some(before.clone()))
        }
        (
            Lie::MemberEpochNotKept,
            Current(key, Some(mut value)),
            Some(Current(_, Some(before))),
        ) if value.member_epoch > 0 && before.member_epoch > 0 => {
            value.member_epoch = before.member_epoch;
            Current(key, Some(value))
        }
        (Lie::StaticLeaveNotKept, Current(key, Some(value)), Some(Current(_, Some(before))))
            if value.member_epoch < 0 =>
        {
            Current(key, Some(before.clone()))
        }
        (Lie::RevocationNotKept, Current(key, Some(mut value)), _) => {
            value.partitions_pending_revocation.clear();
            Current(key, Some(value))
        }
        (Lie::AssignmentNotKept, Current(key, Some(mut value)), _) => {
            value.assigned_partitions.clear();
            Current(key, Some(value))
        }
        (Lie::ClassicNotKept, Member(key, Some(mut value)), _) => {
            value.classic_member_metadata = None;
            Member(key, Some(value))
        }
        (Lie::ClassicSessionNeverEnds, Member(key, Some(mut value)), _) => {
            if let Some(classic) = &mut value.classic_member_metadata {
                classic.session_timeout_ms = classic.session_timeout_ms.saturating_mul(1_000);
            }
            Member(key, Some(value))
        }
        (_, record, _) => record,
    }
}
