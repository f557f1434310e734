//! Loading: records of the log, in their order, make the state anew.
//!
//! - Offsets of a transaction count from its marker on.
//! - A classic group is loaded with its members, in the state Stable; without members it is Empty.
//! - Consumer groups are replayed record by record.
//! - Groups of other protocols are kept by the keys of their records.
//! - A type that is not known is passed over, as in Kafka, and stays in the log. A known type in a
//!   version that is not, or one that is damaged, is an error: what it says would be missing.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::Reader;
use ottla_protocol::coordinator::RecordError;
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::offsets::{OffsetCommitKey, OffsetCommitValue};
use ottla_protocol::coordinator::group::share::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupMemberMetadataKey, ShareGroupMetadataKey,
    ShareGroupStatePartitionMetadataKey, ShareGroupTargetAssignmentMemberKey,
    ShareGroupTargetAssignmentMetadataKey,
};
use ottla_protocol::coordinator::group::streams::{
    StreamsGroupCurrentMemberAssignmentKey, StreamsGroupMemberMetadataKey, StreamsGroupMetadataKey,
    StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTopologyKey,
};
use ottla_types::{LeaderEpoch, Offset, ProducerId, Timestamp};

use super::classic::ClassicGroup;
use super::consumer::Meaning;
use super::effect::Effects;
use super::offsets::{CommittedOffset, OffsetKey};
use super::{GroupId, GroupShard, Now, Slot};
use crate::shard_core::LoadedRecord;

/// The protocol of a group that is not a classic one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherKind {
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
}

/// What is known of a group that is not a classic one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OtherGroup {
    /// The keys of its records.
    pub keys: BTreeSet<Bytes>,
    /// How many members it has.
    pub members: usize,
}

/// What a record of another protocol's group is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// That the group exists.
    Group,
    /// That a member exists.
    Member,
    /// Something else about a member.
    OfMember,
    /// Something else about the group.
    OfGroup,
}

/// Whether records of this type say something about a member.
pub(super) fn is_of_member(number: i16) -> bool {
    other_type(number).is_some_and(|(_, part)| matches!(part, Part::Member | Part::OfMember))
}

/// Group and part by the type of a record.
fn other_type(number: i16) -> Option<(OtherKind, Part)> {
    use {OtherKind as Kind, Part::*};
    Some(match number {
        ShareGroupMetadataKey::TYPE => (Kind::Share, Group),
        ShareGroupMemberMetadataKey::TYPE => (Kind::Share, Member),
        ShareGroupTargetAssignmentMetadataKey::TYPE | ShareGroupStatePartitionMetadataKey::TYPE => {
            (Kind::Share, OfGroup)
        }
        ShareGroupTargetAssignmentMemberKey::TYPE | ShareGroupCurrentMemberAssignmentKey::TYPE => {
            (Kind::Share, OfMember)
        }
        StreamsGroupMetadataKey::TYPE => (Kind::Streams, Group),
        StreamsGroupMemberMetadataKey::TYPE => (Kind::Streams, Member),
        StreamsGroupTargetAssignmentMetadataKey::TYPE | StreamsGroupTopologyKey::TYPE => {
            (Kind::Streams, OfGroup)
        }
        StreamsGroupTargetAssignmentMemberKey::TYPE
        | StreamsGroupCurrentMemberAssignmentKey::TYPE => (Kind::Streams, OfMember),
        _ => return None,
    })
}

impl GroupShard {
    /// Replays a record of the log.
    ///
    /// # Errors
    /// When the record is of a known type and cannot be read.
    pub fn load(&mut self, record: LoadedRecord<'_>) -> Result<(), RecordError> {
        self.end = record.offset.plus(1);
        let number = Reader::new(record.key).i16().ok();
        if let Some((number, (kind, part))) = number.and_then(|it| Some((it, other_type(it)?))) {
            // Read as a whole, so that what is damaged is noticed.
            GroupRecord::decode(record.key, record.value)?;
            self.load_other(record, number, kind, part);
            return Ok(());
        }
        match GroupRecord::decode(record.key, record.value) {
            Err(RecordError::UnknownType(_)) => {}
            Err(error) => return Err(error),
            Ok((GroupRecord::OffsetCommit(key, value), _)) => {
                self.load_offset(record, &key, value);
            }
            Ok((GroupRecord::LegacyOffsetCommit(key, value), _)) => {
                let key = OffsetCommitKey {
                    group: key.group,
                    topic: key.topic,
                    partition: key.partition,
                };
                let value = value.map(|value| OffsetCommitValue {
                    offset: value.offset,
                    metadata: value.metadata,
                    commit_timestamp: value.commit_timestamp,
                    ..OffsetCommitValue::default()
                });
                self.load_offset(record, &key, value);
            }
            Ok((GroupRecord::GroupMetadata(key, value), _)) => {
                let id = GroupId::from(key.group.as_str());
                if let Some(Slot::Classic(incarnation)) = self.slots.get(&id).copied() {
                    self.slots.unload(&id);
                    self.classic.remove(&incarnation);
                }
                if let Some(value) = value {
                    let group = ClassicGroup::loaded(id, value);
                    self.load_classic(group);
                }
            }
            Ok((record, _)) => self.load_consumer(&record),
        }
        Ok(())
    }

    fn load_consumer(&mut self, record: &GroupRecord) {
        let Some((id, meaning)) = self.consumers.replay(record, None) else { return };
        let slot = self.slots.get(&id).copied();
        match (meaning, slot) {
            (Meaning::Exists, None | Some(Slot::Classic(_))) => {
                if let Some(Slot::Classic(incarnation)) = slot {
                    // It was made for offsets, before there was another record of its name.
                    self.classic.remove(&incarnation);
                }
                self.slots.load(id, Slot::Consumer);
            }
            (Meaning::Gone, Some(Slot::Consumer)) => drop(self.slots.unload(&id)),
            _ => {}
        }
    }

    fn load_classic(&mut self, group: ClassicGroup) {
        let incarnation = self.next_incarnation();
        self.slots.load(group.id().clone(), Slot::Classic(incarnation));
        self.classic.insert(incarnation, group);
    }

    fn load_offset(
        &mut self,
        record: LoadedRecord<'_>,
        key: &OffsetCommitKey,
        value: Option<OffsetCommitValue>,
    ) {
        let key = self.shared_key(key);
        let Some(value) = value else {
            self.offsets.unload(&key);
            self.unload_all_pending(&key);
            return;
        };
        if self.slots.get(&key.group).is_none() {
            self.load_classic(ClassicGroup::new(key.group.clone(), value.commit_timestamp));
        }
        let expires = Some(value.expire_timestamp).filter(|time| *time != Timestamp::NONE);
        let offset = CommittedOffset {
            offset: value.offset,
            leader_epoch: LeaderEpoch(value.leader_epoch.0.max(-1)),
            metadata: value.metadata.as_str().into(),
            committed_at: value.commit_timestamp,
            expires,
            topic_id: value.topic_id,
            record: record.offset,
        };
        match record.producer {
            None => self.offsets.load(key, offset),
            Some(producer) => self.load_pending(key, producer, offset),
        }
    }

    /// Shares the names of the record before, mostly: a commit has many partitions.
    fn shared_key(&mut self, key: &OffsetCommitKey) -> OffsetKey {
        let group = match &self.loaded_before {
            Some(before) if *before.group == *key.group => before.group.clone(),
            _ => GroupId::from(key.group.as_str()),
        };
        let topic = match &self.loaded_before {
            Some(before) if before.topic == key.topic => before.topic.clone(),
            _ => key.topic.clone(),
        };
        let key = OffsetKey { group, topic, partition: key.partition };
        self.loaded_before = Some(key.clone());
        key
    }

    fn load_other(&mut self, record: LoadedRecord<'_>, number: i16, kind: OtherKind, part: Part) {
        let mut reader = Reader::new(&record.key[size_of_val(&number)..]);
        let name = reader.nullable_str(false).ok().flatten().expect("the key was decoded");
        let id = GroupId::from(name);
        let other = self.others.entry(id.clone()).or_default();
        let key = Bytes::copy_from_slice(record.key);
        let changed = match record.value {
            Some(_) => other.keys.insert(key),
            None => other.keys.remove(&key),
        };
        if part == Part::Member && changed {
            other.members = match record.value {
                Some(_) => other.members + 1,
                None => other.members - 1,
            };
        }
        if part == Part::Group {
            match record.value {
                Some(_) => self.slots.load(id.clone(), Slot::Other(kind)),
                None => drop(self.slots.unload(&id)),
            }
        }
        if self.others.get(&id).is_some_and(|other| other.keys.is_empty()) {
            self.others.remove(&id);
        }
    }

    /// A transaction that the log ends at `offset`.
    pub fn load_marker(&mut self, offset: Offset, producer: ProducerId, committed: bool) {
        self.end = offset.plus(1);
        self.load_end_of_transaction(producer, committed);
    }

    /// All that was to be loaded is: the log ends at `end`, and members begin to be waited for.
    pub fn loaded(&mut self, now: Now, end: Offset, out: &mut Effects) {
        self.end = end;
        self.loaded_before = None;
        self.keep_offsets_in_groups(now);
        self.await_all_members(now, out);
        self.await_consumers(now);
        self.await_others(now);
        self.expect_expiry(now);
    }

    /// An offset whose group was forgotten behind it (its tombstones come in any order after a
    /// compaction) makes a simple group, as its record would have.
    fn keep_offsets_in_groups(&mut self, now: Now) {
        let missing: BTreeSet<GroupId> = self
            .offsets
            .range(..)
            .filter(|(key, _)| self.slots.get(&key.group).is_none())
            .map(|(key, _)| key.group.clone())
            .collect();
        for id in missing {
            self.load_classic(ClassicGroup::new(id, now.wall));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_config::NodeConfig;

    use super::*;

    fn load(key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        let config = NodeConfig::new(None, &[]).expect("the defaults are good").groups;
        let record = LoadedRecord { offset: Offset(5), producer: None, key, value };
        let mut shard = GroupShard::new(Arc::new(config));
        let loaded = shard.load(record);
        assert_eq!(shard.end(), Offset(6));
        loaded
    }

    #[test]
    fn what_is_newer_is_passed_over_and_what_is_damaged_is_not() {
        let offset = [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 0];
        assert!(load(&offset, None).is_ok(), "a deletion of what is not there");
        assert!(load(&offset, Some(&[0, 99])).is_err(), "a version that is not known");
        assert!(load(&offset, Some(&[0, 3, 0])).is_err(), "a value that is cut");
        assert!(load(&offset[..9], None).is_err(), "a key that is cut");
        assert!(load(&[0, 99, 1, 2], Some(&[1])).is_ok(), "a type that is not known");
    }
}
