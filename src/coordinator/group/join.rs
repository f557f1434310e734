//! JoinGroup: a member comes, comes again, or takes the place of another one.
//!
//! - A new member gets an id. A client that knows KIP-394 must come back with it, so that a client
//!   that gave up leaves no member behind; until then the id is pending.
//! - A static member (KIP-345) that comes without an id takes the place of the one with its
//!   instance id, who is fenced. In a stable group whose protocol stays, nobody else notices.
//! - A follower whose metadata is as before is told the generation it missed; the leader's join,
//!   and changed metadata, begin a rebalance.
//! - A group is created by its first join, also when that is refused.

use bytes::Bytes;
use ottla_types::ErrorCode;

use super::change::Change;
use super::classic::{ClassicGroup, Join, Joined, Member, State};
use super::effect::{Answer, Effects, Then, Ticket};
use super::timers::TimerKey;
use super::{GroupId, GroupShard, MemberId, Now, Slot};

const NOBODY: &str = "";

impl GroupShard {
    /// A member joins.
    pub fn join(&mut self, now: Now, request: Join, ticket: Ticket, out: &mut Effects) {
        self.join_group(now, request, ticket, out);
        out.answer_when_kept();
    }

    fn join_group(&mut self, now: Now, request: Join, ticket: Ticket, out: &mut Effects) {
        let id = request.group.clone();
        let mut forgotten = Vec::new();
        match self.slots.get(&id).copied() {
            Some(Slot::Other(_)) => {
                return refuse(ticket, ErrorCode::InconsistentGroupProtocol, NOBODY, out);
            }
            Some(Slot::Consumer) if self.consumers.member_count(&id) > 0 => {
                return self.join_consumers(now, &request, ticket, out);
            }
            // A consumer group without members becomes a classic one.
            Some(Slot::Consumer) => forgotten = self.no_consumers(&id),
            Some(Slot::Classic(_)) => {}
            None if !request.member.is_empty() => {
                return refuse(ticket, ErrorCode::UnknownMemberId, &request.member, out);
            }
            None => {}
        }
        if self.classic(&id).is_none() {
            let record = ClassicGroup::new(id.clone(), now.wall).to_record(|_| Bytes::new());
            forgotten.push(Change::Group(id.clone(), record));
            self.write(&forgotten, Then::Nothing, out);
        }
        if !self.has_room_for(&request) {
            self.remove_member(&id, &request.member, out);
            return refuse(ticket, ErrorCode::GroupMaxSizeReached, NOBODY, out);
        }
        if request.member.is_empty() {
            self.join_new(now, request, ticket, out);
        } else {
            self.join_known(now, request, ticket, out);
        }
    }

    /// Whether the group may take this member (`group.max.size`). While it waits for joins, those
    /// count that have come: a group above its size loses those that come last. A static member has
    /// its place, also without its id.
    fn has_room_for(&self, request: &Join) -> bool {
        let group = self.classic(&request.group).expect("looked up before");
        let instance = request.instance.as_ref().filter(|_| request.member.is_empty());
        let place = instance.and_then(|instance| group.members().static_member(instance));
        let known = group.members().get(place.unwrap_or(&request.member));
        let max = self.config.size_max;
        match group.state() {
            State::Empty => true,
            State::PreparingRebalance => {
                known.is_some_and(|member| member.awaiting_join.is_some())
                    || group.members().awaiting_join() < max
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || group.members().len() < max
            }
        }
    }

    fn join_new(&mut self, now: Now, request: Join, ticket: Ticket, out: &mut Effects) {
        let id = request.group.clone();
        let group = self.classic(&id).expect("looked up before");
        if !group.supports(&request.protocol_type, &request.protocols) {
            return refuse(ticket, ErrorCode::InconsistentGroupProtocol, NOBODY, out);
        }
        let front = request.instance.as_ref().unwrap_or(&request.client_id);
        let new = MemberId::from(format!("{front}-{}", request.unique).as_str());
        let present = request.instance.as_ref().and_then(|it| group.members().static_member(it));
        match present.cloned() {
            Some(old) => self.replace_static(now, request, (&old, new), ticket, out),
            None if request.instance.is_none() && request.must_know_id => {
                let group = self.classic_mut(&id).expect("looked up before");
                group.add_pending(new.clone());
                let deadline = now.mono.after(request.session_timeout);
                self.timers.set(TimerKey::Heartbeat(id, new.clone()), deadline);
                refuse(ticket, ErrorCode::MemberIdRequired, &new, out);
            }
            None => self.add_member(now, request, new, ticket, out),
        }
    }

    fn join_known(&mut self, now: Now, request: Join, ticket: Ticket, out: &mut Effects) {
        let (id, member) = (request.group.clone(), request.member.clone());
        let group = self.classic(&id).expect("looked up before");
        if !group.supports(&request.protocol_type, &request.protocols) {
            return refuse(ticket, ErrorCode::InconsistentGroupProtocol, &member, out);
        }
        if group.is_pending(&member) {
            if request.instance.is_some() {
                // Ids are pending for dynamic members only; Kafka fails on this.
                return refuse(ticket, ErrorCode::UnknownMemberId, &member, out);
            }
            return self.add_member(now, request, member, ticket, out);
        }
        if let Err(error) = group.check_member(&member, request.instance.as_deref()) {
            return refuse(ticket, error, &member, out);
        }
        let known = group.members().get(&member).expect("checked above");
        let is_as_before = known.protocols == request.protocols;
        let is_leader = group.leader() == Some(&member);
        match group.state() {
            State::Empty => refuse(ticket, ErrorCode::UnknownMemberId, &member, out),
            State::CompletingRebalance if is_as_before => {
                let joined = group.joined(&member, is_leader);
                out.answer(ticket, Ok(Answer::Joined(joined)));
            }
            State::Stable if is_as_before && !is_leader => {
                let joined = group.joined(&member, false);
                out.answer(ticket, Ok(Answer::Joined(joined)));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update_member(&request, &member, ticket, out);
                self.rebalance_or_complete(now, &id, out);
            }
        }
    }

    /// Adds a member that waits for the end of the rebalance that it begins, or joins.
    fn add_member(
        &mut self,
        now: Now,
        request: Join,
        new: MemberId,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = request.group;
        let member = Member {
            id: new.clone(),
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout: request.rebalance_timeout,
            session_timeout: request.session_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: Some(ticket),
            awaiting_sync: None,
        };
        let deadline = now.mono.after(self.config.new_member_join_timeout);
        let group = self.classic_mut(&id).expect("looked up before");
        group.add(member, request.protocol_type);
        // It cannot be heard of before it knows its id; one that gave up comes again as another.
        self.timers.set(TimerKey::Heartbeat(id.clone(), new), deadline);
        self.rebalance_or_complete(now, &id, out);
    }

    /// Takes over what a member says about itself, and lets it wait.
    fn update_member(
        &mut self,
        request: &Join,
        member: &MemberId,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let group = self.classic_mut(&request.group).expect("looked up before");
        let before = group.update(request, member, Some(ticket));
        if let Some(before) = before {
            // It asked twice; whoever waits behind the first request hears what the second one is
            // told in time, and has most likely hung up.
            refuse(before, ErrorCode::RebalanceInProgress, member, out);
        }
    }

    /// KIP-345: a member takes the place of the one with its instance id.
    fn replace_static(
        &mut self,
        now: Now,
        request: Join,
        (old, new): (&MemberId, MemberId),
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = request.group.clone();
        let group = self.classic_mut(&id).expect("looked up before");
        let leader_before = group.leader().cloned();
        let before = group.replace(old, new.clone());
        if let Some(ticket) = before.awaiting_join {
            refuse(ticket, ErrorCode::FencedInstanceId, old, out);
        }
        if let Some(ticket) = before.awaiting_sync {
            out.answer(ticket, Err(ErrorCode::FencedInstanceId));
        }
        group.update(&request, &new, Some(ticket));
        let state = group.state();
        let keeps_protocol = group.members().select_protocol().as_deref() == group.protocol();
        self.timers.cancel(&TimerKey::Heartbeat(id.clone(), old.clone()));
        self.keep_alive(now, &id, &new);
        match state {
            State::Stable if keeps_protocol => {
                let group = self.classic(&id).expect("looked up before");
                let record = group.to_record(|member| member.assignment.clone());
                let replaced = StaticReplaced {
                    group: id.clone(),
                    before,
                    member: new,
                    leader_before,
                    skips: request.can_skip_assignment,
                };
                let then = Then::StaticReplaced(Box::new(replaced));
                self.write(&[Change::Group(id, record)], then, out);
            }
            State::Stable => self.rebalance_or_complete(now, &id, out),
            // The old id may be in the assignment that the leader is about to bring.
            State::CompletingRebalance => self.prepare_rebalance(now, &id, out),
            State::PreparingRebalance | State::Empty => self.complete_if_joined(now, &id, out),
        }
    }

    /// The record of a static member's new id is kept, or could not be.
    pub(super) fn static_replaced(
        &mut self,
        now: Now,
        then: StaticReplaced,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        let StaticReplaced { group: id, before, member, leader_before, skips } = then;
        let Some(group) = self.classic_mut(&id) else { return };
        if let Err(error) = result {
            let Some(ticket) = group.await_join(&member, None) else { return };
            let mut told = group.joined(&member, false);
            (told.error, told.member, told.leader) = (error, MemberId::from(NOBODY), leader_before);
            let old = before.id.clone();
            group.put_back(&member, before);
            out.answer(ticket, Ok(Answer::Joined(told)));
            self.timers.cancel(&TimerKey::Heartbeat(id.clone(), member));
            self.keep_alive(now, &id, &old);
            return;
        }
        if group.state() == State::PreparingRebalance {
            // Another rebalance began meanwhile: it is told with all others how that one ends.
            return;
        }
        let Some(ticket) = group.await_join(&member, None) else { return };
        let is_leader = group.leader() == Some(&member);
        let mut told = group.joined(&member, skips && is_leader);
        if skips {
            told.skip_assignment = is_leader;
        } else {
            // An old client would compute a new assignment if it were told that it leads.
            told.leader = leader_before;
        }
        out.answer(ticket, Ok(Answer::Joined(told)));
    }
}

/// What is done when a static member's new id is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticReplaced {
    group: GroupId,
    /// The member that it replaced.
    before: Member,
    /// The new id.
    member: MemberId,
    leader_before: Option<MemberId>,
    /// Whether the client can be told to leave the assignment as it is.
    skips: bool,
}

/// Tells a member that it did not join.
pub(super) fn refuse(ticket: Ticket, error: ErrorCode, member: &str, out: &mut Effects) {
    let refused = Joined::refused(error, MemberId::from(member));
    out.answer(ticket, Ok(Answer::Joined(refused)));
}
