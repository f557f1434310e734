//! SyncGroup: members ask for their assignments, and the leader brings them.
//!
//! - Everybody waits until the leader's assignments are kept in the log; then the group is stable.
//! - The leader's first assignments count: what it brings when it asks again is not looked at, be
//!   the first ones kept or on their way.
//! - A member that asks in a stable group is told what it has.
//! - If the assignments cannot be kept, everybody is told, and joins again.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::ErrorCode;

use super::change::Change;
use super::classic::{ClassicGroup, State, Sync, Synced};
use super::effect::{Answer, Effects, Then, Ticket};
use super::timers::TimerKey;
use super::{GroupId, GroupShard, MemberId, Now, Slot};

/// Assignments that count once they are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    group: GroupId,
    generation: i32,
    assignments: BTreeMap<MemberId, Bytes>,
}

impl GroupShard {
    /// A member asks for its assignment.
    pub fn sync(&mut self, now: Now, request: Sync, ticket: Ticket, out: &mut Effects) {
        if matches!(self.slots.get(&request.group), Some(Slot::Consumer)) {
            return self.sync_consumers(now, &request, ticket, out);
        }
        self.ask_for_assignment(request, ticket, out);
        out.answer_when_kept();
    }

    fn ask_for_assignment(&mut self, request: Sync, ticket: Ticket, out: &mut Effects) {
        let id = request.group.clone();
        let group = self.classic(&id).filter(|group| group.state() != State::Empty);
        let Some(group) = group else {
            return out.answer(ticket, Err(ErrorCode::UnknownMemberId));
        };
        if let Err(error) = check(group, &request) {
            return out.answer(ticket, Err(error));
        }
        let (state, is_leader) = (group.state(), group.leader() == Some(&request.member));
        match state {
            State::Empty => unreachable!("filtered above"),
            State::PreparingRebalance => {
                out.answer(ticket, Err(ErrorCode::RebalanceInProgress));
            }
            State::CompletingRebalance => {
                let group = self.classic_mut(&id).expect("looked up before");
                if let Some(before) = group.await_sync(&request.member, Some(ticket)) {
                    out.answer(before, Err(ErrorCode::RebalanceInProgress));
                }
                self.has_synced(&id, &request.member);
                let group = self.classic_mut(&id).expect("looked up before");
                if is_leader && group.begin_assigning() {
                    self.keep_assignments(request, out);
                }
            }
            State::Stable => {
                self.has_synced(&id, &request.member);
                let group = self.classic(&id).expect("looked up before");
                let synced = synced(group, &request.member);
                out.answer(ticket, Ok(Answer::Synced(synced)));
            }
        }
    }

    fn has_synced(&mut self, id: &GroupId, member: &MemberId) {
        let group = self.classic_mut(id).expect("looked up before");
        group.has_synced(member);
        if group.not_synced().is_empty() {
            self.timers.cancel(&TimerKey::Sync(id.clone()));
        }
    }

    fn keep_assignments(&mut self, request: Sync, out: &mut Effects) {
        let id = request.group;
        let assignments: BTreeMap<_, _> = request.assignments.into_iter().collect();
        let group = self.classic(&id).expect("looked up before");
        let record =
            group.to_record(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        let generation = group.generation();
        let assigned = Assigned { group: id.clone(), generation, assignments };
        self.write(&[Change::Group(id, record)], Then::Assigned(Box::new(assigned)), out);
    }

    /// The leader's assignments are kept, or could not be. Meanwhile another rebalance may have
    /// begun, and then they are nobody's.
    pub(super) fn assigned(
        &mut self,
        now: Now,
        assigned: Assigned,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        let Assigned { group: id, generation, mut assignments } = assigned;
        let Some(group) = self.classic_mut(&id) else { return };
        if group.state() != State::CompletingRebalance || group.generation() != generation {
            return;
        }
        if let Err(error) = result {
            self.withdraw_assignments(now, &id, error, out);
            return self.prepare_rebalance(now, &id, out);
        }
        for member in group.members().ids() {
            let group = self.classic_mut(&id).expect("looked up before");
            if let Some(known) = group.member_mut(&member) {
                known.assignment = assignments.remove(&member).unwrap_or_default();
            }
            if let Some(ticket) = group.await_sync(&member, None) {
                let synced = synced(group, &member);
                out.answer(ticket, Ok(Answer::Synced(synced)));
                self.keep_alive(now, &id, &member);
            }
        }
        let group = self.classic_mut(&id).expect("looked up before");
        group.transition(State::Stable, now.wall);
        self.counts.completed_rebalances += 1;
    }
}

fn check(group: &ClassicGroup, request: &Sync) -> Result<(), ErrorCode> {
    group.check_member(&request.member, request.instance.as_deref())?;
    if request.generation != group.generation() {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs =
        |own: Option<&str>, its: Option<&str>| own.zip(its).is_some_and(|(own, its)| own != its);
    if differs(request.protocol_type.as_deref(), group.protocol_type())
        || differs(request.protocol.as_deref(), group.protocol())
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

fn synced(group: &ClassicGroup, member: &MemberId) -> Synced {
    let member = group.members().get(member).expect("checked before");
    Synced {
        protocol_type: group.protocol_type().map(str::to_owned),
        protocol: group.protocol().map(str::to_owned),
        assignment: member.assignment.clone(),
    }
}
