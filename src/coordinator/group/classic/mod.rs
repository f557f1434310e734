//! A group of the classic protocol: its members, and the state that a rebalance takes it through.
//!
//! ```text
//!            first join              all joined, or time is up       leader's SyncGroup kept
//!   Empty ─────────────> PreparingRebalance ────────> CompletingRebalance ───────> Stable
//!     ^                    │        ^                        │                        │
//!     └─ nobody is left ───┘        └── join, leave, silence ┴────────────────────────┘
//! ```
//! What changes a group is in [`super::GroupShard`]; here is what it is, and what can be asked of
//! it. A group that is deleted is not here any more; Kafka's state Dead is that of a group that is
//! being deleted while somebody still holds it.
//!
//! Invariants (`check`): static members and leader are members; only members are waited for; the
//! counts of waiting members and of supported protocols are right; Empty is without members.
//!
//! Source: `ClassicGroup`, `ClassicGroupMember` of Kafka.

mod change;
mod member;
mod members;
mod messages;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::consumer_protocol::{ConsumerProtocolSubscription, PROTOCOL_TYPE};
use ottla_protocol::coordinator::group::classic::{GroupMetadataValue, MemberMetadata};
use ottla_protocol::{Message, Reader};
use ottla_types::{ErrorCode, Timestamp, TopicName};

use super::names::{GroupId, MemberId};
pub use change::TRANSITIONS;
pub use member::{Member, Protocols};
pub use members::Members;
pub use messages::{Join, Joined, JoinedMember, Leave, Leaving, Sync, Synced};

/// What a group waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Members; it may have offsets.
    Empty,
    /// Its members' joins.
    PreparingRebalance,
    /// Its leader's assignment.
    CompletingRebalance,
    /// Nothing: its members have their assignments.
    Stable,
}

impl State {
    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub struct ClassicGroup {
    id: GroupId,
    state: State,
    /// The state before this one; a rebalance that began in Empty gives members time to come.
    previous: State,
    /// Since when it is in its state; none for a group that an old version wrote.
    state_since: Option<Timestamp>,
    /// Counts the rebalances.
    generation: i32,
    /// What its members have in common: "consumer", "connect". None for a simple group.
    protocol_type: Option<String>,
    /// The protocol that was chosen in this generation.
    protocol: Option<String>,
    leader: Option<MemberId>,
    /// Whether a load found it without a leader: its members have to share anew.
    has_to_rebalance: bool,
    members: Members,
    /// Ids that were given out to members that are to come back with them (KIP-394).
    pending_join: BTreeSet<MemberId>,
    /// Members that have not asked for their assignment in this generation.
    pending_sync: BTreeSet<MemberId>,
    /// The last generation whose assignment was sent to the log.
    assigning: Option<i32>,
    /// Whether somebody joined since the initial delay was set last.
    new_member_added: bool,
    /// How much longer the initial delay may become.
    delay_left: Duration,
    /// Topics that its members subscribe to; none when that is not known.
    subscribed: Option<BTreeSet<TopicName>>,
}

impl ClassicGroup {
    /// An empty group.
    #[must_use]
    pub fn new(id: GroupId, now: Timestamp) -> ClassicGroup {
        ClassicGroup {
            id,
            state: State::Empty,
            previous: State::Empty,
            state_since: Some(now),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            has_to_rebalance: false,
            members: Members::default(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            assigning: None,
            new_member_added: false,
            delay_left: Duration::ZERO,
            subscribed: None,
        }
    }

    /// A group of consumers that have shared what there is.
    #[must_use]
    pub fn of_consumers(
        id: GroupId,
        generation: i32,
        members: Vec<Member>,
        now: Timestamp,
    ) -> ClassicGroup {
        let mut group = ClassicGroup::new(id, now);
        (group.state, group.generation) = (State::Stable, generation);
        members.into_iter().for_each(|member| group.add(member, PROTOCOL_TYPE.to_owned()));
        group.protocol = group.members.select_protocol();
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The group that a record describes.
    #[must_use]
    pub fn loaded(id: GroupId, value: GroupMetadataValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(id, value.current_state_timestamp);
        group.state_since = Some(value.current_state_timestamp).filter(|at| *at != Timestamp(-1));
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
        for member in value.members {
            group.members.add(Member::loaded(member, value.protocol.as_deref().unwrap_or("")));
        }
        group.protocol = value.protocol;
        let value_has_no_leader = value.leader.is_none();
        let leader = value.leader.map(|leader| MemberId::from(leader.as_str()));
        group.leader = leader.filter(|leader| group.members.get(leader).is_some());
        group.has_to_rebalance = value_has_no_leader && !group.members.is_empty();
        if group.leader.is_none() {
            group.leader = group.members.iter().next().map(|member| member.id.clone());
        }
        group.state = if group.members.is_empty() { State::Empty } else { State::Stable };
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The record that describes the group, its members with these assignments.
    #[must_use]
    pub fn to_record(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref();
        let member = |member: &Member| MemberMetadata {
            member_id: member.id.to_string(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: to_ms(member.rebalance_timeout),
            session_timeout: to_ms(member.session_timeout),
            subscription: protocol.and_then(|it| member.protocols.get(it)).unwrap_or_default(),
            assignment: assignment(member),
            ..MemberMetadata::default()
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.as_ref().map(ToString::to_string),
            current_state_timestamp: self.state_since.unwrap_or(Timestamp(-1)),
            members: self.members.iter().map(member).collect(),
            ..GroupMetadataValue::default()
        }
    }

    /// Whether a load found that its members have to share anew.
    pub(in crate::group) fn has_to_rebalance(&self) -> bool {
        self.has_to_rebalance
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &GroupId {
        &self.id
    }

    /// What it waits for.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Topics that its members read; none when that is not known.
    #[must_use]
    pub fn subscribed(&self) -> Option<&BTreeSet<TopicName>> {
        self.subscribed.as_ref()
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Checks who commits offsets.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`; `REBALANCE_IN_PROGRESS`
    /// while members wait for their assignment.
    pub fn check_commit(
        &self,
        member: &MemberId,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.check_member(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if self.state != State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.state {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Checks who commits offsets in a transaction: in any state, and older clients name nobody.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`.
    pub fn check_transactional(
        &self,
        member: &MemberId,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let names_nobody = generation < 0 && member.is_empty() && instance.is_none();
        if names_nobody || (generation < 0 && self.state == State::Empty) {
            return Ok(());
        }
        self.check_member(member, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Checks that somebody is a member, and the one who goes by his instance id (KIP-345).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub fn check_member(&self, id: &MemberId, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.members.static_member(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(present) if present != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.get(id).is_none() { Err(ErrorCode::UnknownMemberId) } else { Ok(()) }
    }

    /// Whether its members speak the protocol of consumers.
    #[must_use]
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(PROTOCOL_TYPE)
    }

    /// The topics that its members read, as far as their subscriptions can be read: in version 0,
    /// which is the front of every version.
    fn compute_subscribed(&self) -> Option<BTreeSet<TopicName>> {
        if !self.is_of_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            let subscription = member.protocols.get(protocol)?;
            let mut reader = Reader::new(&subscription);
            reader.i16().ok()?;
            topics.extend(ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?.topics);
        }
        Some(topics)
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        self.members.check();
        let is_member = |id: &MemberId| self.members.get(id).is_some();
        assert!(self.leader.iter().all(is_member), "{}: the leader is a member", self.id);
        assert!(self.pending_sync.iter().all(is_member), "{}: waits for members", self.id);
        let both = self.pending_join.iter().any(is_member);
        assert!(!both, "{}: a member is not pending", self.id);
        if self.state == State::Empty {
            assert!(self.members.is_empty(), "{}: Empty is without members", self.id);
        }
    }
}

fn to_ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
