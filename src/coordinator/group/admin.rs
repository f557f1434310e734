//! What operators ask: which groups there are, what is in them, and that they be forgotten.
//!
//! - Groups are told as their existence is committed, with the members that they have now.
//! - What members said about themselves is told only while the group is stable.
//! - A group is deleted with its offsets, in one write, when it has no members.
//! - Offsets are forgotten: on request, unless a member reads their topic; when their topic is
//!   deleted; and when they are old ([`super::expiry`]).

use bytes::Bytes;
use ottla_protocol::consumer_protocol::PROTOCOL_TYPE;
use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::change::Change;
use super::classic::{ClassicGroup, State};
use super::effect::{Answer, Effects, Then, Ticket};
use super::load::OtherKind;
use super::offsets::OffsetKey;
use super::{GroupId, GroupShard, MemberId, Slot};

/// A group in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// Its id.
    pub id: GroupId,
    /// What its members have in common; empty for a simple group.
    pub protocol_type: String,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Kafka's name of its protocol.
    pub kind: &'static str,
}

/// A classic group in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    /// Kafka's name of its state.
    pub state: &'static str,
    /// What its members have in common; empty for a simple group.
    pub protocol_type: String,
    /// What was chosen, while it is stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub id: MemberId,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// What it said about itself, while the group is stable.
    pub metadata: Bytes,
    /// What it is to do.
    pub assignment: Bytes,
}

impl OtherKind {
    /// Kafka's name of the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OtherKind::Share => "Share",
            OtherKind::Streams => "Streams",
        }
    }

    fn protocol_type(self) -> &'static str {
        match self {
            OtherKind::Share => "share",
            OtherKind::Streams => "streams",
        }
    }
}

impl GroupShard {
    /// All groups.
    #[must_use]
    pub fn list(&self) -> Vec<ListedGroup> {
        let groups = self.slots.committed_range(..);
        let mut all: Vec<_> = groups.filter_map(|(id, slot)| self.listed(id, *slot)).collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn listed(&self, id: &GroupId, slot: Slot) -> Option<ListedGroup> {
        Some(match slot {
            Slot::Classic(incarnation) => {
                let group = self.classic.get(&incarnation)?;
                ListedGroup {
                    id: id.clone(),
                    protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
                    state: group.state().name(),
                    kind: "Classic",
                }
            }
            Slot::Consumer => ListedGroup {
                id: id.clone(),
                protocol_type: PROTOCOL_TYPE.to_owned(),
                state: self.consumer_state(id),
                kind: "Consumer",
            },
            Slot::Other(kind) => {
                let is_empty = self.others.get(id).is_none_or(|other| other.members == 0);
                ListedGroup {
                    id: id.clone(),
                    protocol_type: kind.protocol_type().to_owned(),
                    // Of members that nobody hears of nothing better is known.
                    state: if is_empty { "Empty" } else { "Unknown" },
                    kind: kind.name(),
                }
            }
        })
    }

    /// Whether there is a group of this name, whatever its protocol.
    #[must_use]
    pub fn has_group(&self, id: &GroupId) -> bool {
        self.slots.committed(id).is_some()
    }

    /// A classic group; none when there is none of this name.
    #[must_use]
    pub fn describe(&self, id: &GroupId) -> Option<DescribedGroup> {
        let Some(Slot::Classic(incarnation)) = self.slots.committed(id) else { return None };
        let group = self.classic.get(incarnation)?;
        let protocol = group.protocol().filter(|_| group.state() == State::Stable);
        let members = group.members().iter().map(|member| DescribedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.and_then(|it| member.protocols.get(it)).unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        Some(DescribedGroup {
            state: group.state().name(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        })
    }

    /// Deletes a group and its offsets.
    pub fn delete_group(&mut self, id: &GroupId, ticket: Ticket, out: &mut Effects) {
        let mut changes: Vec<Change> = self.keys_of(id).map(Change::NoOffset).collect();
        match self.slots.get(id) {
            None => return out.answer(ticket, Err(ErrorCode::GroupIdNotFound)),
            Some(Slot::Classic(_)) => {
                let group = self.classic(id).expect("a group has its state");
                if group.state() != State::Empty {
                    return out.answer(ticket, Err(ErrorCode::NonEmptyGroup));
                }
                changes.push(Change::NoGroup(id.clone()));
            }
            Some(Slot::Consumer) if self.consumers.member_count(id) > 0 => {
                return out.answer(ticket, Err(ErrorCode::NonEmptyGroup));
            }
            Some(Slot::Consumer) => changes.extend(self.no_consumers(id)),
            Some(Slot::Other(_)) => {
                let other = self.others.get(id).cloned().unwrap_or_default();
                if other.members > 0 {
                    return out.answer(ticket, Err(ErrorCode::NonEmptyGroup));
                }
                let keys = other.keys.into_iter();
                changes.extend(keys.map(|key| Change::NoOther(id.clone(), key)));
            }
        }
        self.write(&changes, Then::Answer(ticket, Answer::Deleted), out);
    }

    /// The keys of a group's offsets, also of those that only a transaction knows.
    pub(super) fn keys_of(&self, id: &GroupId) -> impl Iterator<Item = OffsetKey> + use<> {
        let mut keys: std::collections::BTreeSet<OffsetKey> =
            self.offsets.range(OffsetKey::all_of(id)).map(|(key, _)| key.clone()).collect();
        keys.extend(self.pending_in(id).cloned());
        keys.into_iter()
    }

    /// Forgets offsets of a group.
    pub fn delete_offsets(
        &mut self,
        id: &GroupId,
        partitions: &[(TopicName, PartitionId)],
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let group = match self.slots.get(id) {
            None => return out.answer(ticket, Err(ErrorCode::GroupIdNotFound)),
            Some(Slot::Classic(_)) => self.classic(id),
            Some(Slot::Consumer) => None,
            Some(Slot::Other(_)) => {
                if self.others.get(id).is_some_and(|other| other.members > 0) {
                    return out.answer(ticket, Err(ErrorCode::NonEmptyGroup));
                }
                None
            }
        };
        if group.is_some_and(|it| it.state() != State::Empty && !it.is_of_consumers()) {
            return out.answer(ticket, Err(ErrorCode::NonEmptyGroup));
        }
        let mut outcomes = Vec::with_capacity(partitions.len());
        let mut changes = Vec::new();
        for (topic, partition) in partitions {
            if self.reads(id, topic) {
                outcomes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            outcomes.push(ErrorCode::None);
            let key = OffsetKey { group: id.clone(), topic: topic.clone(), partition: *partition };
            if self.offsets.get(&key).is_some() || !self.producers_with(&key).is_empty() {
                changes.push(Change::NoOffset(key));
            }
        }
        let answer = Answer::OffsetsDeleted(outcomes);
        if changes.is_empty() {
            return out.answer(ticket, Ok(answer));
        }
        self.counts.offset_deletions += changes.len() as u64;
        self.write(&changes, Then::Answer(ticket, answer), out);
    }

    /// Whether members of a group read a topic, or may do so.
    pub(super) fn reads(&self, id: &GroupId, topic: &TopicName) -> bool {
        match self.slots.get(id) {
            Some(Slot::Classic(_)) => self.classic(id).is_some_and(|group| group.reads(topic)),
            Some(Slot::Consumer) => self.consumers.reads(id, topic),
            _ => false,
        }
    }

    /// Topics were deleted, and nobody reads them any more.
    pub fn topics_deleted(&mut self, topics: &[(TopicName, Uuid)], out: &mut Effects) {
        let is_gone = |key: &OffsetKey, id: Uuid| {
            let mut deleted = topics.iter().filter(|(name, _)| *name == key.topic);
            deleted.any(|(_, deleted)| id == Uuid::ZERO || id == *deleted)
        };
        let offsets = self.offsets.range(..).map(|(key, offset)| (key, offset.topic_id));
        let pending = self.pending.range(..).map(|((key, _), offset)| (key, offset.topic_id));
        let gone = offsets.chain(pending).filter(|(key, id)| is_gone(key, *id));
        let mut gone: Vec<OffsetKey> = gone.map(|(key, _)| key.clone()).collect();
        gone.sort_unstable();
        gone.dedup();
        self.forget(gone, out);
    }

    /// Forgets offsets, in writes of bounded size.
    pub(super) fn forget(&mut self, keys: Vec<OffsetKey>, out: &mut Effects) {
        let changes: Vec<Change> = keys.into_iter().map(Change::NoOffset).collect();
        for some in changes.chunks(FORGOTTEN_AT_ONCE) {
            self.write(some, Then::Nothing, out);
        }
    }
}

/// Most records that one write forgets.
pub(super) const FORGOTTEN_AT_ONCE: usize = 500;

impl ClassicGroup {
    /// Whether its members read a topic, or may do so.
    #[must_use]
    pub fn reads(&self, topic: &TopicName) -> bool {
        match self.subscribed() {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }
}
