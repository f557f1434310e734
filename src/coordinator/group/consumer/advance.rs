//! What a member leads to that says something about itself, in a heartbeat or a join: its record,
//! the group's epoch, a target, and its own way to that.

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{ErrorCode, PartitionId, Uuid};

use super::member::ConsumerMember;
use super::messages::Refusal;
use super::reconcile::Reconciling;
use super::records;
use super::regexes::Resolve;
use super::target::Changing;
use crate::group::change::Change;
use crate::group::{GroupId, GroupShard, Now};

/// Who advances.
pub(super) struct Advance<'a> {
    /// The member as the group has it under this id.
    pub(super) before: Option<&'a ConsumerMember>,
    /// The static member whose place it takes.
    pub(super) replaced: Option<&'a ConsumerMember>,
    /// What it was, under its present id.
    pub(super) old: &'a ConsumerMember,
    /// What it says it has.
    pub(super) owned: Option<&'a [(Uuid, Vec<PartitionId>)]>,
    /// Whether it speaks the classic protocol.
    pub(super) is_classic: bool,
    /// Whether a target may be made; not as the group becomes a classic one.
    pub(super) assigns: bool,
}

/// What that leads to.
pub(super) struct Advanced {
    records: Vec<GroupRecord>,
    /// The member as it is now.
    pub(super) member: ConsumerMember,
    /// The group's epoch.
    pub(super) epoch: i32,
    /// Whether what it has changed, and with that how long it may take.
    pub(super) moved: bool,
    /// Whether the group's topics were looked up.
    pub(super) looked_up: bool,
    /// Patterns that are to be looked up.
    pub(super) resolve: Option<Resolve>,
}

impl Advanced {
    /// The records.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.records.iter().map(|record| Change::Consumer(Box::new(record.clone()))).collect()
    }
}

impl GroupShard {
    /// A member becomes `member`; what came before that stands in `records`.
    pub(super) fn advance(
        &self,
        now: Now,
        id: &GroupId,
        of: &Advance<'_>,
        mut member: ConsumerMember,
        mut records: Vec<GroupRecord>,
    ) -> Result<Advanced, Refusal> {
        let old = of.old;
        let topics_changed = member.topics != old.topics;
        if member != *old {
            records.push(records::member(id, &member));
        }
        let followed = self.follow_regex(now, id, (old, &member), &mut records)?;
        let wants_others = topics_changed || followed.is_changed;
        let is_due = match of.is_classic {
            true => wants_others,
            false => topics_changed || followed.is_resolved,
        };
        let head = self.consumers.head(id);
        let changing = Changing { before: of.before, replaced: of.replaced, now: &member };
        let is_fresh = self.consumers.index(id).is_some_and(|index| index.is_fresh);
        let looks_up = is_due || !is_fresh;
        let epoch = match looks_up {
            true => self.next_epoch(id, &head, &changing, is_due, &mut records),
            false => head.epoch,
        };
        let mut advanced = Advanced {
            records,
            member: old.clone(),
            epoch,
            moved: false,
            looked_up: looks_up,
            resolve: followed.resolve,
        };
        let is_behind = !of.assigns && head.assignment_epoch < epoch;
        if is_behind {
            advanced.member = member;
            return Ok(advanced);
        }
        let (target, target_epoch) =
            self.next_target(now, id, (&head, epoch), &changing, &mut advanced.records);
        if wants_others || !member.is_reconciled_to(target_epoch) {
            let next = Reconciling {
                epoch: target_epoch,
                target: &target,
                subscription_changed: wants_others,
                subscribed: &self.wanted_ids(id, &member),
                is_owned: &|topic, partition| self.is_owned(id, topic, partition),
                owned: of.owned,
            };
            let next = next.next(&member).map_err(|_| {
                let text = "the state of the member is not known; it has to join anew";
                Refusal::new(ErrorCode::FencedMemberEpoch, text)
            })?;
            if next != member {
                advanced.records.push(records::current(id, &next));
                (member, advanced.moved) = (next, true);
            }
        }
        advanced.member = member;
        Ok(advanced)
    }
}
