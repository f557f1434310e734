//! A rebalance: when it begins, whom it waits for, and when it ends.
//!
//! - A rebalance of a group that was empty waits `group.initial.rebalance.delay.ms` for members to
//!   come, and again while they do, up to the rebalance timeout. Any other one ends as soon as all
//!   members have joined again, or after the longest rebalance timeout of a member.
//! - Members that did not join by then are out, but for static ones, which stay until their
//!   session ends.
//! - If the leader is not among those that joined, one of them leads. If nobody joined, it waits
//!   again.
//! - Members have the same time to ask for their assignment (SyncGroup).

use std::time::Duration;

use bytes::Bytes;
use ottla_types::{ErrorCode, MonoTime};

use super::change::Change;
use super::classic::{ClassicGroup, Member, State};
use super::effect::{Answer, Effects, Then};
use super::join::refuse;
use super::timers::TimerKey;
use super::{GroupId, GroupShard, MemberId, Now, Slot};

impl GroupShard {
    /// The next moment at which [`GroupShard::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        while let Some(key) = self.timers.pop(now.mono) {
            match key {
                TimerKey::Heartbeat(id, member) => self.session_ended(now, &id, &member, out),
                TimerKey::Join(id) => self.join_time_is_up(now, &id, out),
                TimerKey::Sync(id) => self.sync_time_is_up(now, &id, out),
                TimerKey::Session(id, member)
                | TimerKey::ConsumerJoin(id, member)
                | TimerKey::ConsumerSync(id, member) => {
                    self.consumer_silent(now, (&id, &member), out);
                }
                TimerKey::Revocation(id, member) => {
                    self.revocation_overdue(now, (&id, &member), out);
                }
                TimerKey::Others(id) => self.others_silent(&id, out),
                TimerKey::Expiry => self.expire(now, out),
            }
        }
    }

    /// A classic group to be changed.
    pub(super) fn classic_mut(&mut self, id: &GroupId) -> Option<&mut ClassicGroup> {
        match self.slots.get(id) {
            Some(Slot::Classic(incarnation)) => self.classic.get_mut(incarnation),
            _ => None,
        }
    }

    /// A member was heard of.
    pub(super) fn keep_alive(&mut self, now: Now, id: &GroupId, member: &MemberId) {
        let group = self.classic(id);
        let Some(known) = group.and_then(|group| group.members().get(member)) else { return };
        let deadline = now.mono.after(known.session_timeout);
        self.timers.set(TimerKey::Heartbeat(id.clone(), member.clone()), deadline);
    }

    /// After a load the sessions of all members begin anew. A group above its size loses some; one
    /// that went back to the classic protocol shares anew what the last consumer had.
    pub(super) fn await_all_members(&mut self, now: Now, out: &mut Effects) {
        let size_max = self.config.size_max;
        let groups = self.classic.values().map(|group| {
            let rebalances = group.has_to_rebalance() || group.members().len() > size_max;
            (group.id().clone(), group.members().ids(), rebalances)
        });
        for (id, members, rebalances) in groups.collect::<Vec<_>>() {
            for member in &members {
                self.keep_alive(now, &id, member);
            }
            if rebalances {
                self.prepare_rebalance(now, &id, out);
            }
        }
    }

    fn session_ended(&mut self, now: Now, id: &GroupId, member: &MemberId, out: &mut Effects) {
        let Some(group) = self.classic(id) else { return };
        let is_pending = group.is_pending(member);
        let is_silent = group.members().get(member).is_some_and(|known| !known.is_waiting());
        if !is_pending && !is_silent {
            return;
        }
        self.remove_member(id, member, out);
        let group = self.classic(id).expect("looked up before");
        match group.state() {
            State::Stable | State::CompletingRebalance if is_silent => {
                self.prepare_rebalance(now, id, out);
            }
            State::PreparingRebalance if group.has_all_joined() => {
                self.complete_join(now, id, out);
            }
            _ => {}
        }
    }

    /// Removes a member, and whoever waits for its requests is told so.
    pub(super) fn remove_member(&mut self, id: &GroupId, member: &MemberId, out: &mut Effects) {
        self.timers.cancel(&TimerKey::Heartbeat(id.clone(), member.clone()));
        let Some(group) = self.classic_mut(id) else { return };
        let Some(removed) = group.remove(member) else { return };
        dismiss(&removed, ErrorCode::UnknownMemberId, out);
    }

    /// Begins a rebalance, or ends the one that waited for this.
    pub(super) fn rebalance_or_complete(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let group = self.classic(id).expect("whoever joined is in a group");
        match group.state() {
            State::PreparingRebalance => self.complete_if_joined(now, id, out),
            _ => self.prepare_rebalance(now, id, out),
        }
    }

    /// Begins a rebalance. Who waits for an assignment of the last one has to join again.
    pub(super) fn prepare_rebalance(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let delay = self.config.initial_rebalance_delay;
        let state = self.classic(id).expect("a rebalance is a group's").state();
        if state == State::CompletingRebalance {
            self.withdraw_assignments(now, id, ErrorCode::RebalanceInProgress, out);
        }
        self.timers.cancel(&TimerKey::Sync(id.clone()));
        let group = self.classic_mut(id).expect("looked up before");
        group.expect_no_sync();
        group.transition(State::PreparingRebalance, now.wall);
        if state == State::Empty {
            let left = group.rebalance_timeout().saturating_sub(delay);
            group.set_delay_left(left);
            self.timers.set(TimerKey::Join(id.clone()), now.mono.after(delay));
        } else if group.has_all_joined() {
            self.complete_join(now, id, out);
        } else {
            let deadline = now.mono.after(group.rebalance_timeout());
            self.timers.set(TimerKey::Join(id.clone()), deadline);
        }
    }

    fn join_time_is_up(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let delay = self.config.initial_rebalance_delay;
        let Some(group) = self.classic_mut(id) else { return };
        if group.state() != State::PreparingRebalance {
            return;
        }
        let left = group.delay_left();
        let is_initial = group.previous() == State::Empty;
        if is_initial && left > Duration::ZERO && group.take_new_member_added() {
            let next = delay.min(left);
            group.set_delay_left(left.saturating_sub(delay));
            self.timers.set(TimerKey::Join(id.clone()), now.mono.after(next));
            return;
        }
        self.complete_join(now, id, out);
    }

    /// Ends a rebalance for which all members have joined; not one that gives them time to come.
    pub(super) fn complete_if_joined(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.classic(id) else { return };
        let gives_time = group.previous() == State::Empty;
        if group.state() == State::PreparingRebalance && !gives_time && group.has_all_joined() {
            self.complete_join(now, id, out);
        }
    }

    /// Ends the joining.
    fn complete_join(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        self.timers.cancel(&TimerKey::Join(id.clone()));
        let group = self.classic(id).expect("a rebalance is a group's");
        let is_out = |member: &&Member| member.awaiting_join.is_none() && member.instance.is_none();
        let late: Vec<_> = group.members().iter().filter(is_out).map(|it| it.id.clone()).collect();
        for member in &late {
            self.remove_member(id, member, out);
        }
        let group = self.classic_mut(id).expect("looked up before");
        if !group.members().is_empty() && !group.elect_joined_leader() {
            let deadline = now.mono.after(group.rebalance_timeout());
            self.timers.set(TimerKey::Join(id.clone()), deadline);
            return;
        }
        group.begin_generation(now.wall);
        if group.state() == State::Empty {
            let record = group.to_record(|_| Bytes::new());
            self.write(&[Change::Group(id.clone(), record)], Then::Nothing, out);
            return;
        }
        let deadline = now.mono.after(group.rebalance_timeout());
        for member in group.members().ids() {
            let group = self.classic_mut(id).expect("looked up before");
            let joined = group.joined(&member, group.leader() == Some(&member));
            group.expect_sync(member.clone());
            if let Some(known) = group.member_mut(&member) {
                known.is_new = false;
            }
            if let Some(ticket) = group.await_join(&member, None) {
                out.answer(ticket, Ok(Answer::Joined(joined)));
            }
            self.keep_alive(now, id, &member);
        }
        self.timers.set(TimerKey::Sync(id.clone()), deadline);
    }

    /// Whoever has not asked for its assignment is out.
    fn sync_time_is_up(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.classic(id) else { return };
        let late = group.not_synced();
        let waits = matches!(group.state(), State::CompletingRebalance | State::Stable);
        if !waits || late.is_empty() {
            return;
        }
        for member in &late {
            self.remove_member(id, member, out);
        }
        self.prepare_rebalance(now, id, out);
    }

    /// Takes the assignments of this generation back; who waits for one is told why.
    pub(super) fn withdraw_assignments(
        &mut self,
        now: Now,
        id: &GroupId,
        error: ErrorCode,
        out: &mut Effects,
    ) {
        let group = self.classic(id).expect("looked up before");
        for member in group.members().ids() {
            let group = self.classic_mut(id).expect("looked up before");
            if let Some(known) = group.member_mut(&member) {
                known.assignment = Bytes::new();
            }
            if let Some(ticket) = group.await_sync(&member, None) {
                out.answer(ticket, Err(error));
                self.keep_alive(now, id, &member);
            }
        }
    }

    /// Tells everybody who waits for a group that is not here any more.
    pub(super) fn dismiss_all(group: &ClassicGroup, error: ErrorCode, out: &mut Effects) {
        group.members().iter().for_each(|member| dismiss(member, error, out));
    }

    /// This shard is not led here any more: whoever waits is told.
    pub fn resign(&mut self, error: ErrorCode, out: &mut Effects) {
        self.classic.values().for_each(|group| Self::dismiss_all(group, error, out));
    }
}

/// Tells whoever waits for a member's requests that they are in vain.
fn dismiss(member: &Member, error: ErrorCode, out: &mut Effects) {
    if let Some(ticket) = member.awaiting_join {
        refuse(ticket, error, "", out);
    }
    if let Some(ticket) = member.awaiting_sync {
        out.answer(ticket, Err(error));
    }
}
