//! A member on its way to its target: first it gives back what it is not to have, then it goes into
//! the target's epoch with what is free, and then it waits for what others still have.
//!
//! ```text
//!              has something that is not in the target
//!   Stable ──────────────────────────────────────────> Unrevoked ──┐ its heartbeat names none
//!     ^  └────────────── nothing to give back ──────┐              │ of that any more
//!     │                                             v              v
//!     └─ all of the target is free or its own ── (its epoch) ── some is not ──────> Unreleased
//!                                                   ^                                   │
//!                                                   └───────── at each heartbeat ───────┘
//! ```
//! So no partition has two owners: it is free only when its last owner has said, by leaving it out
//! of a heartbeat, that it does not read it any more.
//!
//! Source: `CurrentAssignmentBuilder` of Kafka.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{PartitionId, Uuid};

use super::member::{Assignment, ConsumerMember, MemberState, Owned};

/// What a member is brought into line with.
pub(super) struct Reconciling<'a> {
    /// Epoch of the target.
    pub(super) epoch: i32,
    /// The target.
    pub(super) target: &'a Assignment,
    /// Whether the member subscribes to something else since this heartbeat.
    pub(super) subscription_changed: bool,
    /// Ids of the topics that it subscribes to.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    /// Whether somebody has a partition.
    pub(super) is_owned: &'a dyn Fn(Uuid, PartitionId) -> bool,
    /// What the member says it has, if it says.
    pub(super) owned: Option<&'a [(Uuid, Vec<PartitionId>)]>,
}

/// The state of a member is one that this version does not know: it has to begin anew.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct StateUnknown;

impl Reconciling<'_> {
    /// The member's next state; the same when it cannot move.
    pub(super) fn next(&self, member: &ConsumerMember) -> Result<ConsumerMember, StateUnknown> {
        Ok(match member.state {
            MemberState::Stable if member.epoch != self.epoch => self.toward(member, member.epoch),
            MemberState::Unrevoked if !self.still_has(&member.revoking) => {
                self.toward(member, member.epoch)
            }
            MemberState::Stable | MemberState::Unrevoked if self.subscription_changed => {
                self.without_unsubscribed(member)
            }
            MemberState::Stable | MemberState::Unrevoked => member.clone(),
            MemberState::Unreleased => self.toward(member, member.epoch),
            MemberState::Unknown if self.owned.is_some_and(<[_]>::is_empty) => {
                self.toward(member, self.epoch)
            }
            MemberState::Unknown => return Err(StateUnknown),
        })
    }

    /// Whether the member may still read some of these partitions: it says so, or says nothing.
    fn still_has(&self, revoking: &Owned) -> bool {
        let Some(owned) = self.owned else { return true };
        let is_in = |topic: &Uuid, partition: &PartitionId| {
            revoking.get(topic).is_some_and(|partitions| partitions.contains_key(partition))
        };
        owned.iter().any(|(topic, partitions)| partitions.iter().any(|id| is_in(topic, id)))
    }

    fn toward(&self, member: &ConsumerMember, epoch: i32) -> ConsumerMember {
        let none = Vec::new();
        let wants = |topic: &Uuid| {
            let target = self.target.0.get(topic).filter(|_| self.subscribed.contains(topic));
            target.unwrap_or(&none)
        };
        let (mut kept, mut revoking) = (Owned::new(), Owned::new());
        for (topic, partitions) in &member.assigned {
            let wanted = wants(topic);
            for (partition, since) in partitions {
                let is_wanted = wanted.binary_search(partition).is_ok();
                let to = if is_wanted { &mut kept } else { &mut revoking };
                to.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        let mut next = member.clone();
        if !revoking.is_empty() && self.still_has(&revoking) {
            next.state = MemberState::Unrevoked;
            next.enter(epoch);
            (next.assigned, next.revoking) = (kept, revoking);
            return next;
        }
        let gives_back = |topic: &Uuid, partition: &PartitionId| {
            member.revoking.get(topic).is_some_and(|it| it.contains_key(partition))
        };
        let mut waits = false;
        for topic in self.target.0.keys() {
            for partition in wants(topic) {
                if kept.get(topic).is_some_and(|it| it.contains_key(partition)) {
                    continue;
                }
                if (self.is_owned)(*topic, *partition) && !gives_back(topic, partition) {
                    waits = true;
                    continue;
                }
                kept.entry(*topic).or_default().insert(*partition, self.epoch);
            }
        }
        next.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        next.enter(self.epoch);
        (next.assigned, next.revoking) = (kept, Owned::new());
        next
    }

    /// There is no new target yet, but what the member does not subscribe to any more it does not
    /// get any more.
    fn without_unsubscribed(&self, member: &ConsumerMember) -> ConsumerMember {
        let is_subscribed = |topic: &Uuid| self.subscribed.contains(topic);
        if member.assigned.keys().all(is_subscribed) {
            return member.clone();
        }
        let mut next = member.clone();
        let split: (BTreeMap<_, _>, BTreeMap<_, _>) =
            member.assigned.clone().into_iter().partition(|(topic, _)| is_subscribed(topic));
        let mut revoking = member.revoking.clone();
        for (topic, partitions) in split.1 {
            revoking.entry(topic).or_default().extend(partitions);
        }
        next.assigned = split.0;
        next.enter(member.epoch);
        if self.still_has(&revoking) {
            next.state = MemberState::Unrevoked;
            next.revoking = revoking;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::MemberId;

    #[test]
    fn a_member_in_a_state_that_is_not_known_begins_anew() {
        let topic = Uuid([7; 16]);
        let mut member = ConsumerMember::new(MemberId::from("m"));
        member.state = MemberState::Unknown;
        member.enter(3);
        let target = Assignment([(topic, vec![PartitionId(0)])].into());
        let mut reconciling = Reconciling {
            epoch: 5,
            target: &target,
            subscription_changed: false,
            subscribed: &BTreeSet::from([topic]),
            is_owned: &|_, _| false,
            owned: None,
        };
        assert_eq!(reconciling.next(&member), Err(StateUnknown));
        let has_one = [(topic, vec![PartitionId(1)])];
        reconciling.owned = Some(&has_one);
        assert_eq!(reconciling.next(&member), Err(StateUnknown), "it may read what is another's");
        reconciling.owned = Some(&[]);
        let next = reconciling.next(&member).expect("it has nothing");
        assert_eq!((next.state, next.epoch), (MemberState::Stable, 5));
        assert!(next.assigned[&topic].contains_key(&PartitionId(0)));
    }
}
