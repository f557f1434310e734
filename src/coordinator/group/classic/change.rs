//! What can be done to a classic group: each step keeps what is counted right.

use std::time::Duration;

use ottla_types::{ErrorCode, Timestamp};

use super::member::{Member, Protocols};
use super::messages::{Join, Joined, JoinedMember};
use super::{ClassicGroup, State};
use crate::group::effect::Ticket;
use crate::group::names::MemberId;

impl ClassicGroup {
    /// Whether a member of this kind finds a protocol that all others support.
    #[must_use]
    pub fn supports(&self, protocol_type: &str, protocols: &Protocols) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.0.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.names().any(|name| self.members.all_support(name))
    }

    /// Whether the id was given out, and its member has not come back with it.
    #[must_use]
    pub fn is_pending(&self, id: &MemberId) -> bool {
        self.pending_join.contains(id)
    }

    /// Id of the leader.
    #[must_use]
    pub fn leader(&self) -> Option<&MemberId> {
        self.leader.as_ref()
    }

    /// What was chosen in this generation.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// What kind of group it is.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Counts the rebalances.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The state before this one.
    #[must_use]
    pub fn previous(&self) -> State {
        self.previous
    }

    /// Since when it is in its state.
    #[must_use]
    pub fn state_since(&self) -> Option<Timestamp> {
        self.state_since
    }

    /// Remembers an id that was given out.
    pub(in crate::group) fn add_pending(&mut self, id: MemberId) {
        self.pending_join.insert(id);
    }

    /// Adds a member; the first one says what kind of group it is, and leads it.
    pub(in crate::group) fn add(&mut self, member: Member, protocol_type: String) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.new_member_added = true;
        }
        self.pending_join.remove(&member.id);
        self.members.add(member);
    }

    /// Removes a member, or an id that was given out. Another one leads when the leader goes.
    pub(in crate::group) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let removed = self.members.remove(id);
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.iter().next().map(|member| member.id.clone());
        }
        removed
    }

    /// Gives a static member another id; returns the one before it. Nobody waits for the new one.
    pub(in crate::group) fn replace(&mut self, old: &MemberId, new: MemberId) -> Member {
        let before = self.members.remove(old).expect("static members are members");
        let (awaiting_join, awaiting_sync) = (None, None);
        let member = Member {
            id: new.clone(),
            awaiting_join,
            awaiting_sync,
            is_new: false,
            ..before.clone()
        };
        self.members.add(member);
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new);
        }
        before
    }

    /// Undoes a replacement.
    pub(in crate::group) fn put_back(&mut self, new: &MemberId, before: Member) {
        if self.members.remove(new).is_none() {
            return;
        }
        if self.leader.as_ref() == Some(new) {
            self.leader = Some(before.id.clone());
        }
        if self.pending_sync.remove(new) {
            self.pending_sync.insert(before.id.clone());
        }
        let (awaiting_join, awaiting_sync) = (None, None);
        self.members.add(Member { awaiting_join, awaiting_sync, ..before });
    }

    /// Takes over what a member says about itself; returns who waited for it before.
    pub(in crate::group) fn update(
        &mut self,
        request: &Join,
        id: &MemberId,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        self.members.set_protocols(id, request.protocols.clone());
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout = request.rebalance_timeout;
            member.session_timeout = request.session_timeout;
        }
        self.members.await_join(id, ticket)
    }

    /// Lets somebody wait for a member's JoinGroup, or nobody; returns who did.
    pub(in crate::group) fn await_join(
        &mut self,
        id: &MemberId,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        self.members.await_join(id, ticket)
    }

    /// Lets somebody wait for a member's SyncGroup, or nobody; returns who did.
    pub(in crate::group) fn await_sync(
        &mut self,
        id: &MemberId,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        let member = self.members.get_mut(id)?;
        std::mem::replace(&mut member.awaiting_sync, ticket)
    }

    /// Nobody waits any more: who did has been told.
    pub(in crate::group) fn send_all_back(&mut self) {
        for id in self.members.ids() {
            self.members.await_join(&id, None);
            self.await_sync(&id, None);
        }
    }

    /// Whether all members have joined, and nobody is still to come with an id.
    #[must_use]
    pub fn has_all_joined(&self) -> bool {
        self.members.awaiting_join() == self.members.len() && self.pending_join.is_empty()
    }

    /// Goes into another state.
    pub(in crate::group) fn transition(&mut self, to: State, now: Timestamp) {
        assert!(TRANSITIONS.contains(&(self.state, to)), "{}: {:?} to {to:?}", self.id, self.state);
        self.previous = self.state;
        self.state = to;
        self.state_since = Some(now);
    }

    /// Whether somebody joined during the initial delay; asked once for each time it is set.
    pub(in crate::group) fn take_new_member_added(&mut self) -> bool {
        std::mem::take(&mut self.new_member_added)
    }

    /// A member, to be told of what is not counted over all.
    pub(in crate::group) fn member_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    /// How much longer the initial delay may become.
    pub(in crate::group) fn delay_left(&self) -> Duration {
        self.delay_left
    }

    /// Says how much longer the initial delay may become.
    pub(in crate::group) fn set_delay_left(&mut self, left: Duration) {
        self.delay_left = left;
    }

    /// Lets a member lead that has joined, when the leader has not. Whether one leads that did.
    pub(in crate::group) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &&Member| member.awaiting_join.is_some();
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|leader| has_joined(&leader)) {
            return true;
        }
        let Some(other) = self.members.iter().find(has_joined) else { return false };
        self.leader = Some(other.id.clone());
        true
    }

    /// Ends the joining: with members they are a new generation, which waits for its assignment;
    /// without, the group is empty.
    pub(in crate::group) fn begin_generation(&mut self, now: Timestamp) {
        self.generation = self.generation.wrapping_add(1).max(1);
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.subscribed = self.compute_subscribed();
            self.transition(State::Empty, now);
        } else {
            self.protocol = self.members.select_protocol();
            self.subscribed = self.compute_subscribed();
            self.transition(State::CompletingRebalance, now);
        }
    }

    /// A member has to ask for its assignment.
    pub(in crate::group) fn expect_sync(&mut self, id: MemberId) {
        self.pending_sync.insert(id);
    }

    /// A member has asked for its assignment.
    pub(in crate::group) fn has_synced(&mut self, id: &MemberId) {
        self.pending_sync.remove(id);
    }

    /// Whether this generation's assignment is to be sent to the log: only the first one, for that
    /// is told, and the last one in the log would be loaded.
    pub(in crate::group) fn begin_assigning(&mut self) -> bool {
        self.assigning.replace(self.generation) != Some(self.generation)
    }

    /// Members that have not asked for their assignment.
    pub(in crate::group) fn not_synced(&self) -> Vec<MemberId> {
        self.pending_sync.iter().cloned().collect()
    }

    /// Nobody has to ask for an assignment any more.
    pub(in crate::group) fn expect_no_sync(&mut self) {
        self.pending_sync.clear();
    }

    /// The longest time that a member wants to be waited for.
    #[must_use]
    pub fn rebalance_timeout(&self) -> Duration {
        self.members.rebalance_timeout()
    }

    /// What a member of this generation is told when it joined; the leader of all members.
    #[must_use]
    pub fn joined(&self, id: &MemberId, tells_members: bool) -> Joined {
        let member = |member: &Member| JoinedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            metadata: self.protocol().and_then(|it| member.protocols.get(it)).unwrap_or_default(),
        };
        let told = if tells_members { self.members.len() } else { 0 };
        Joined {
            error: ErrorCode::None,
            member: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment: false,
            members: self.members.iter().take(told).map(member).collect(),
        }
    }
}

/// The ways from state to state.
pub const TRANSITIONS: &[(State, State)] = &[
    (State::Empty, State::PreparingRebalance),
    (State::Stable, State::PreparingRebalance),
    (State::CompletingRebalance, State::PreparingRebalance),
    (State::PreparingRebalance, State::CompletingRebalance),
    (State::PreparingRebalance, State::Empty),
    (State::CompletingRebalance, State::Stable),
];
