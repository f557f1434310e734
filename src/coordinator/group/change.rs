//! From decisions to records: each is replayed at once, so that the next decision sees it.

use bytes::Bytes;
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::classic::{GroupMetadataKey, GroupMetadataValue};
use ottla_protocol::coordinator::group::offsets::{OffsetCommitKey, OffsetCommitValue};
use ottla_types::{Offset, ProducerId};

use super::consumer::Meaning;
use super::effect::{Effects, Part, RecordBytes, Then, Write};
use super::offsets::{CommittedOffset, OffsetKey};
use super::{GroupId, GroupShard, Slot};

/// Version of the values of offsets: the one with topic ids. Kafka reads it since 3.5.
const OFFSET_VERSION: i16 = 4;
/// Version of the values of offsets that a client gave a time to expire: only that one has it.
const EXPIRING_OFFSET_VERSION: i16 = 1;
/// Version of the values of classic groups.
const GROUP_VERSION: i16 = 3;
/// Version of all values of consumer groups.
const CONSUMER_VERSION: i16 = 0;

/// A change of the durable state, as one record.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// An offset is committed.
    Offset(OffsetKey, CommittedOffset),
    /// An offset is committed when this producer's transaction is.
    Pending(ProducerId, OffsetKey, CommittedOffset),
    /// An offset is forgotten.
    NoOffset(OffsetKey),
    /// A classic group's members are kept.
    Group(GroupId, GroupMetadataValue),
    /// A classic group is forgotten.
    NoGroup(GroupId),
    /// Something about a consumer group, as its record says it.
    Consumer(Box<GroupRecord>),
    /// What another group's record said is forgotten.
    NoOther(GroupId, Bytes),
    /// What the record of another group's member said is forgotten.
    NoOtherMember(Bytes),
}

impl Change {
    /// The record.
    #[must_use]
    pub fn encode(&self) -> RecordBytes {
        let (record, version) = match self {
            Change::Offset(key, offset) | Change::Pending(_, key, offset) => {
                let expires = offset.expires.is_some();
                let version = if expires { EXPIRING_OFFSET_VERSION } else { OFFSET_VERSION };
                let value = OffsetCommitValue {
                    offset: offset.offset,
                    leader_epoch: offset.leader_epoch,
                    metadata: offset.metadata.to_string(),
                    commit_timestamp: offset.committed_at,
                    expire_timestamp: offset.expires.unwrap_or(ottla_types::Timestamp::NONE),
                    topic_id: offset.topic_id,
                    ..OffsetCommitValue::default()
                };
                (GroupRecord::OffsetCommit(offset_key(key), Some(value)), version)
            }
            Change::NoOffset(key) => {
                (GroupRecord::OffsetCommit(offset_key(key), None), OFFSET_VERSION)
            }
            Change::Group(id, value) => {
                (GroupRecord::GroupMetadata(group_key(id), Some(value.clone())), GROUP_VERSION)
            }
            Change::NoGroup(id) => (GroupRecord::GroupMetadata(group_key(id), None), GROUP_VERSION),
            Change::Consumer(record) => {
                let (key, value) = record.encode(CONSUMER_VERSION);
                return RecordBytes { key: key.into(), value: value.map(Bytes::from) };
            }
            Change::NoOther(_, key) | Change::NoOtherMember(key) => {
                return RecordBytes { key: key.clone(), value: None };
            }
        };
        let (key, value) = record.encode(version);
        RecordBytes { key: key.into(), value: value.map(Bytes::from) }
    }
}

fn offset_key(key: &OffsetKey) -> OffsetCommitKey {
    OffsetCommitKey {
        group: key.group.to_string(),
        topic: key.topic.clone(),
        partition: key.partition,
    }
}

fn group_key(id: &GroupId) -> GroupMetadataKey {
    GroupMetadataKey { group: id.to_string() }
}

impl GroupShard {
    /// Writes changes, all or none of them, and replays them.
    pub(super) fn write(&mut self, changes: &[Change], then: Then, out: &mut Effects) {
        self.write_part(changes, Part::None, then, out);
    }

    /// The same, of a transaction.
    pub(super) fn write_part(
        &mut self,
        changes: &[Change],
        part: Part,
        then: Then,
        out: &mut Effects,
    ) {
        assert!(!changes.is_empty(), "who changes nothing waits for nothing");
        let at = self.end;
        for change in changes {
            let offset = self.end;
            self.replay(change, offset);
            self.end = offset.plus(1);
        }
        let records = changes.iter().map(Change::encode).collect();
        out.writes.push(Write { at, records, part, then });
    }

    /// Replays a change that this shard decided. A classic group that exists has its members
    /// already, for they are changed in place.
    fn replay(&mut self, change: &Change, at: Offset) {
        match change {
            Change::Offset(key, offset) => {
                if self.slots.get(&key.group).is_none() {
                    self.create_classic(&key.group, offset.committed_at, at);
                }
                let offset = CommittedOffset { record: at, ..offset.clone() };
                self.offsets.put(key.clone(), offset, at);
            }
            Change::Pending(producer, key, offset) => {
                if self.slots.get(&key.group).is_none() {
                    self.create_classic(&key.group, offset.committed_at, at);
                }
                let offset = CommittedOffset { record: at, ..offset.clone() };
                self.put_pending(key.clone(), *producer, offset, at);
            }
            Change::NoOffset(key) => {
                if self.offsets.get(key).is_some() {
                    self.offsets.remove(key, at);
                }
                self.remove_pending(key, at);
            }
            Change::Group(id, value) => {
                if self.slots.get(id).is_none() {
                    self.create_classic(id, value.current_state_timestamp, at);
                }
            }
            Change::NoGroup(id) => self.slots.remove(id, at),
            Change::Consumer(record) => self.replay_consumer(record, at),
            // Members are not looked at before it is kept that they are out.
            Change::NoOtherMember(_) => {}
            Change::NoOther(id, _) => {
                if self.slots.get(id).is_some() {
                    self.slots.remove(id, at);
                }
            }
        }
    }

    fn replay_consumer(&mut self, record: &GroupRecord, at: Offset) {
        if matches!(record, GroupRecord::ConsumerGroupMetadata(_, Some(_))) {
            self.counts.consumer_rebalances += 1;
        }
        let Some((id, meaning)) = self.consumers.replay(record, Some(at)) else { return };
        let is_here = matches!(self.slots.get(&id), Some(Slot::Consumer));
        match meaning {
            Meaning::Exists if !is_here => self.slots.put(id, Slot::Consumer, at),
            Meaning::Gone if is_here => self.slots.remove(&id, at),
            _ => {}
        }
    }
}
