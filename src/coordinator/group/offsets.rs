//! Committed offsets: OffsetCommit and OffsetFetch.
//!
//! - A commit without a generation (`-1`) and without a member is taken from anybody while the
//!   group has no members: a *simple* group, which the first commit creates.
//! - With members it is taken from a member of the present generation. It keeps the member's
//!   session alive.
//! - Of consumer groups: [`super::consumer`]. In transactions: [`super::transactions`].
//! - An offset of a topic that was deleted and made anew is not told for the new one.

use std::sync::Arc;

use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, Timestamp, TopicName, Uuid};

use super::change::Change;
use super::classic::State;
use super::consumer::Committer;
use super::effect::{Answer, Effects, Then, Ticket};
use super::load::OtherKind;
use super::{GroupId, GroupShard, MemberId, Now, Slot};

/// A partition that a group committed an offset for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OffsetKey {
    /// The group.
    pub group: GroupId,
    /// Name of the topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
}

impl OffsetKey {
    /// In front of all keys.
    pub(super) fn first() -> OffsetKey {
        let (group, topic) = (GroupId::from(""), TopicName::from(""));
        OffsetKey { group, topic, partition: PartitionId(i32::MIN) }
    }

    /// The range of all keys of a group.
    pub(super) fn all_of(group: &GroupId) -> std::ops::Range<OffsetKey> {
        let first = |group| OffsetKey {
            group,
            topic: TopicName::from(""),
            partition: PartitionId(i32::MIN),
        };
        // No name lies between a name and the same with a zero behind it.
        let next = GroupId::from(format!("{group}\0").as_str());
        first(group.clone())..first(next)
    }
}

/// An offset that a group committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The offset that is to be read next.
    pub offset: Offset,
    /// Epoch of the last record that was read.
    pub leader_epoch: LeaderEpoch,
    /// What the client wanted to be kept with it.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it is to be forgotten, if the client said.
    pub expires: Option<Timestamp>,
    /// Id of the topic; zero when it is not known.
    pub topic_id: Uuid,
    /// Offset of its record.
    pub record: Offset,
}

/// What a reader is told of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchedOffset {
    /// Nothing was committed.
    None,
    /// A transaction that has not ended commits an offset.
    Unstable,
    /// What was committed.
    Offset(CommittedOffset),
}

/// A request to commit offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommit {
    /// The group.
    pub group: GroupId,
    /// Who commits; empty for nobody.
    pub member: MemberId,
    /// Its instance id, if it is a static member.
    pub instance: Option<String>,
    /// The generation that it is in; negative for none.
    pub generation: i32,
    /// Whether the request is of a version that knows member epochs (KIP-848), and a group that
    /// does not exist: older clients are told of the generation.
    pub knows_epochs: bool,
    /// How long the offsets are to be kept, ms, if the client says.
    pub retention_ms: Option<i64>,
    /// The offsets.
    pub offsets: Vec<OffsetToCommit>,
}

/// An offset to be committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetToCommit {
    /// Name of the topic.
    pub topic: TopicName,
    /// Id of the topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
    /// Epoch of the last record that was read; -1 when the client does not know.
    pub leader_epoch: LeaderEpoch,
    /// What is to be kept with it.
    pub metadata: String,
}

impl GroupShard {
    /// Commits offsets.
    pub fn commit_offsets(
        &mut self,
        now: Now,
        request: &OffsetCommit,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let committer = match self.check_commit(request) {
            Ok(committer) => committer,
            Err(error) => return out.answer(ticket, Err(error)),
        };
        self.keep_alive_by_commit(now, request);
        let (outcomes, changes) = self.judge_offsets(now, request, &committer, Change::Offset);
        let answer = Answer::Committed(outcomes);
        if changes.is_empty() {
            return out.answer(ticket, Ok(answer));
        }
        self.counts.offset_commits += changes.len() as u64;
        self.write(&changes, Then::Answer(ticket, answer), out);
    }

    /// The outcome of each offset, and what becomes of those that are taken.
    pub(super) fn judge_offsets(
        &self,
        now: Now,
        request: &OffsetCommit,
        committer: &Committer,
        change: impl Fn(OffsetKey, CommittedOffset) -> Change,
    ) -> (Vec<ErrorCode>, Vec<Change>) {
        // As in Kafka a string's length is counted in UTF-16 units.
        let metadata_max = self.config.offset_metadata_max;
        let is_long = |offset: &OffsetToCommit| {
            offset.metadata.len() > metadata_max
                && offset.metadata.encode_utf16().count() > metadata_max
        };
        let mut outcomes = Vec::with_capacity(request.offsets.len());
        let mut changes = Vec::with_capacity(request.offsets.len());
        for offset in &request.offsets {
            let (topic, partition) = (offset.topic_id, offset.partition);
            if let Err(error) = committer.check(request.generation, topic, partition) {
                outcomes.push(error);
                continue;
            }
            if is_long(offset) {
                outcomes.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            outcomes.push(ErrorCode::None);
            let key = OffsetKey {
                group: request.group.clone(),
                topic: offset.topic.clone(),
                partition: offset.partition,
            };
            let committed = CommittedOffset {
                offset: offset.offset,
                leader_epoch: offset.leader_epoch,
                metadata: offset.metadata.as_str().into(),
                committed_at: now.wall,
                expires: request.retention_ms.map(|ms| Timestamp(now.wall.0.saturating_add(ms))),
                topic_id: offset.topic_id,
                record: Offset::ZERO,
            };
            changes.push(change(key, committed));
        }
        (outcomes, changes)
    }

    fn check_commit(&self, request: &OffsetCommit) -> Result<Committer, ErrorCode> {
        let checked = match self.slots.get(&request.group) {
            None if request.generation < 0 => Ok(()),
            None if request.knows_epochs => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
            Some(Slot::Classic(_)) => {
                let group = self.classic(&request.group).expect("a group has its state");
                group.check_commit(&request.member, request.instance.as_deref(), request.generation)
            }
            Some(Slot::Consumer) => return self.check_consumer_commit(request),
            Some(Slot::Other(kind)) => return self.check_other_commit(*kind, request),
        };
        checked.map(|()| Committer::Trusted)
    }

    /// Who commits to a group of another protocol.
    pub(super) fn check_other_commit(
        &self,
        kind: OtherKind,
        request: &OffsetCommit,
    ) -> Result<Committer, ErrorCode> {
        if kind == OtherKind::Share {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let other = self.others.get(&request.group);
        let is_empty = other.is_none_or(|other| other.members == 0);
        let may = request.generation < 0 && is_empty;
        if may { Ok(Committer::Trusted) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// A commit of a member is a sign of life, but for the time in which members wait for their
    /// assignment.
    fn keep_alive_by_commit(&mut self, now: Now, request: &OffsetCommit) {
        let Some(group) = self.classic(&request.group) else { return };
        if matches!(group.state(), State::Stable | State::PreparingRebalance) {
            self.keep_alive(now, &request.group, &request.member);
        }
    }

    /// What readers are told of a partition; with `require_stable`, not what a transaction is
    /// about to change.
    #[must_use]
    pub fn fetch_offset(&self, key: &OffsetKey, id: Uuid, require_stable: bool) -> FetchedOffset {
        if require_stable && self.is_unstable(key) {
            return FetchedOffset::Unstable;
        }
        match self.offsets.committed(key) {
            Some(found) if is_of(found, id) => FetchedOffset::Offset(found.clone()),
            _ => FetchedOffset::None,
        }
    }

    /// What readers are told of all partitions of a group, by topic and partition.
    #[must_use]
    pub fn fetch_all_offsets(
        &self,
        group: &GroupId,
        require_stable: bool,
    ) -> Vec<(OffsetKey, FetchedOffset)> {
        let offsets = self.offsets.committed_range(OffsetKey::all_of(group));
        let told = |key: &OffsetKey, offset: &CommittedOffset| {
            let unstable = require_stable && self.is_unstable(key);
            if unstable { FetchedOffset::Unstable } else { FetchedOffset::Offset(offset.clone()) }
        };
        let mut all: Vec<_> = offsets.map(|(key, at)| (key.clone(), told(key, at))).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Whether somebody who may name himself a member of the group, in an epoch, may read its
    /// offsets.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`: the group's protocol asks for a member, and this is none;
    /// `STALE_MEMBER_EPOCH`.
    pub fn check_fetch(
        &self,
        group: &GroupId,
        member: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match self.slots.committed(group) {
            Some(Slot::Consumer) => self.check_consumer_fetch(group, member, epoch),
            Some(Slot::Other(OtherKind::Streams)) if member.is_some() => {
                Err(ErrorCode::UnknownMemberId)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the offset was committed for the topic of this id; what is not known is believed.
fn is_of(offset: &CommittedOffset, id: Uuid) -> bool {
    offset.topic_id == Uuid::ZERO || id == Uuid::ZERO || offset.topic_id == id
}
