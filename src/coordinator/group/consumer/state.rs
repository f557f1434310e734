//! The consumer groups of a shard, as their records say: changed by replaying these and by nothing
//! else, so that what was not appended can be undone, and readers see what is committed.
//!
//! What is counted over a group's members ([`Index`]) follows each change, and is made anew when
//! changes are undone.
//!
//! Invariants (`check`): every index is what its members say; a partition has one owner.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::consumer::ConsumerGroupRegularExpressionValue;
use ottla_types::{Offset, Timestamp, TopicName};

use super::index::{Index, partitions};
use super::member::{Assignment, ConsumerMember, LEAVING};
use crate::group::{GroupId, MemberId};
use crate::timeline::Timeline;

/// A member's place in the maps.
pub(in crate::group) type MemberKey = (GroupId, MemberId);

/// A group's epochs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::group) struct Head {
    /// Rises whenever another assignment is due.
    pub(in crate::group) epoch: i32,
    /// Hash of the topics that it reads.
    pub(in crate::group) metadata_hash: i64,
    /// The group epoch that the target was made for.
    pub(in crate::group) assignment_epoch: i32,
    /// When the target was made; 0 when it is not known.
    pub(in crate::group) assigned_at: Timestamp,
    /// Whether there is a record of the topics that it reads, as before Kafka 4.1.
    pub(in crate::group) has_topics_record: bool,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            epoch: 1,
            metadata_hash: 0,
            assignment_epoch: 1,
            assigned_at: Timestamp(0),
            has_topics_record: false,
        }
    }
}

/// The topics that a pattern stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::group) struct Resolved {
    /// Their names.
    pub(in crate::group) topics: BTreeSet<TopicName>,
    /// Version of the metadata that it was looked up in.
    pub(in crate::group) version: i64,
    /// When it was looked up.
    pub(in crate::group) at: Timestamp,
}

/// The consumer groups of a shard.
#[derive(Default)]
pub(in crate::group) struct ConsumerGroups {
    heads: Timeline<GroupId, Head>,
    members: Timeline<MemberKey, Arc<ConsumerMember>>,
    targets: Timeline<MemberKey, Arc<Assignment>>,
    regexes: Timeline<(GroupId, String), Arc<Resolved>>,
    indexes: BTreeMap<GroupId, Index>,
    /// Groups whose patterns are being looked up; this is no record's.
    resolving: BTreeSet<GroupId>,
}

/// What a record is to its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum Meaning {
    /// The group exists, if it did not before.
    Exists,
    /// The group does not exist any more.
    Gone,
    /// Something is forgotten.
    Less,
}

/// The keys of a group's members.
pub(in crate::group) fn members_of(group: &GroupId) -> Range<MemberKey> {
    let next = GroupId::from(format!("{group}\0").as_str());
    (group.clone(), MemberId::from(""))..(next, MemberId::from(""))
}

fn regexes_of(group: &GroupId) -> Range<(GroupId, String)> {
    let next = GroupId::from(format!("{group}\0").as_str());
    (group.clone(), String::new())..(next, String::new())
}

/// Puts or removes by a record; one without an offset was loaded.
fn set<K: Ord + Clone, V: Clone>(
    map: &mut Timeline<K, V>,
    key: K,
    value: Option<V>,
    at: Option<Offset>,
) {
    match (value, at) {
        (Some(value), Some(at)) => map.put(key, value, at),
        (Some(value), None) => map.load(key, value),
        (None, Some(at)) if map.get(&key).is_some() => map.remove(&key, at),
        (None, Some(_)) => {}
        (None, None) => drop(map.unload(&key)),
    }
}

impl ConsumerGroups {
    /// Whether something is not committed.
    pub(in crate::group) fn is_changing(&self) -> bool {
        !(self.heads.is_settled()
            && self.members.is_settled()
            && self.targets.is_settled()
            && self.regexes.is_settled())
    }

    pub(in crate::group) fn head(&self, id: &GroupId) -> Head {
        self.heads.get(id).cloned().unwrap_or_default()
    }

    pub(in crate::group) fn committed_head(&self, id: &GroupId) -> Head {
        self.heads.committed(id).cloned().unwrap_or_default()
    }

    pub(in crate::group) fn member(
        &self,
        group: &GroupId,
        id: &MemberId,
    ) -> Option<&Arc<ConsumerMember>> {
        self.members.get(&(group.clone(), id.clone()))
    }

    pub(in crate::group) fn committed_member(
        &self,
        group: &GroupId,
        id: &MemberId,
    ) -> Option<&Arc<ConsumerMember>> {
        self.members.committed(&(group.clone(), id.clone()))
    }

    pub(in crate::group) fn members(
        &self,
        group: &GroupId,
    ) -> impl Iterator<Item = &Arc<ConsumerMember>> {
        self.members.range(members_of(group)).map(|(_, member)| member)
    }

    pub(in crate::group) fn committed_members(
        &self,
        group: &GroupId,
    ) -> impl Iterator<Item = &Arc<ConsumerMember>> {
        self.members.committed_range(members_of(group)).map(|(_, member)| member)
    }

    pub(in crate::group) fn target(
        &self,
        group: &GroupId,
        id: &MemberId,
    ) -> Option<&Arc<Assignment>> {
        self.targets.get(&(group.clone(), id.clone()))
    }

    pub(in crate::group) fn targets(
        &self,
        group: &GroupId,
    ) -> impl Iterator<Item = (&MemberId, &Arc<Assignment>)> {
        self.targets.range(members_of(group)).map(|((_, id), target)| (id, target))
    }

    pub(in crate::group) fn committed_target(
        &self,
        group: &GroupId,
        id: &MemberId,
    ) -> Option<&Arc<Assignment>> {
        self.targets.committed(&(group.clone(), id.clone()))
    }

    pub(in crate::group) fn regex(&self, group: &GroupId, regex: &str) -> Option<&Arc<Resolved>> {
        self.regexes.get(&(group.clone(), regex.to_owned()))
    }

    pub(in crate::group) fn regexes(&self, group: &GroupId) -> impl Iterator<Item = &str> {
        self.regexes.range(regexes_of(group)).map(|((_, regex), _)| regex.as_str())
    }

    /// What one of the group's patterns stands for: mostly all of them were looked up together.
    pub(in crate::group) fn first_regex(&self, group: &GroupId) -> Option<&Arc<Resolved>> {
        self.regexes.range(regexes_of(group)).map(|(_, resolved)| resolved).next()
    }

    /// Whether the group's patterns are being looked up.
    pub(in crate::group) fn is_resolving(&self, group: &GroupId) -> bool {
        self.resolving.contains(group)
    }

    pub(in crate::group) fn set_resolving(&mut self, group: &GroupId, is: bool) {
        match is {
            true => drop(self.resolving.insert(group.clone())),
            false => drop(self.resolving.remove(group)),
        }
    }

    pub(in crate::group) fn index(&self, id: &GroupId) -> Option<&Index> {
        self.indexes.get(id)
    }

    pub(in crate::group) fn index_mut(&mut self, id: &GroupId) -> Option<&mut Index> {
        self.indexes.get_mut(id)
    }

    pub(in crate::group) fn ids(&self) -> impl Iterator<Item = &GroupId> {
        self.indexes.keys()
    }

    /// How many members the group has.
    pub(in crate::group) fn member_count(&self, id: &GroupId) -> usize {
        self.index(id).map_or(0, Index::len)
    }

    /// Whether a member subscribes to the topic.
    pub(in crate::group) fn reads(&self, id: &GroupId, topic: &TopicName) -> bool {
        let Some(index) = self.index(id) else { return false };
        let by_regex = |regex: &String| {
            self.regex(id, regex).is_some_and(|resolved| resolved.topics.contains(topic))
        };
        index.topics().contains_key(topic) || index.regexes().keys().any(by_regex)
    }

    /// Replays a record, which was loaded or is to be appended at an offset. `None` for a record
    /// that is not about consumer groups.
    pub(in crate::group) fn replay(
        &mut self,
        record: &GroupRecord,
        at: Option<Offset>,
    ) -> Option<(GroupId, Meaning)> {
        let (id, meaning) = match record {
            GroupRecord::ConsumerGroupMetadata(key, value) => {
                let id = GroupId::from(key.group_id.as_str());
                let Some(value) = value else {
                    set(&mut self.heads, id.clone(), None, at);
                    if self.member_count(&id) == 0 {
                        self.indexes.remove(&id);
                    }
                    return Some((id, Meaning::Gone));
                };
                let (epoch, metadata_hash) = (value.epoch, value.metadata_hash);
                self.change_head(&id, at, |head| {
                    (head.epoch, head.metadata_hash) = (epoch, metadata_hash);
                });
                (id, Meaning::Exists)
            }
            GroupRecord::ConsumerGroupPartitionMetadata(key, value) => {
                let id = GroupId::from(key.group_id.as_str());
                let meaning = self.change_topics_record(&id, value.is_some(), at);
                (id, meaning)
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value) => {
                let id = GroupId::from(key.group_id.as_str());
                let known = value.as_ref();
                let (epoch, time) = known.map_or((-1, Timestamp(0)), |it| {
                    (it.assignment_epoch, it.assignment_timestamp)
                });
                if value.is_none() && self.heads.get(&id).is_none() {
                    return Some((id, Meaning::Less));
                }
                self.change_head(&id, at, |head| {
                    (head.assignment_epoch, head.assigned_at) = (epoch, time);
                });
                (id, if value.is_some() { Meaning::Exists } else { Meaning::Less })
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => {
                let id = GroupId::from(key.group_id.as_str());
                let key = (id.clone(), MemberId::from(key.member_id.as_str()));
                let target = value.as_ref().map(|value| Arc::new(Assignment::of(value)));
                let meaning = meaning(target.is_some());
                set(&mut self.targets, key, target, at);
                (id, meaning)
            }
            GroupRecord::ConsumerGroupRegularExpression(key, value) => {
                let id = GroupId::from(key.group_id.as_str());
                let key = (id.clone(), key.regular_expression.clone());
                let resolved = |value: &ConsumerGroupRegularExpressionValue| {
                    let (version, at) = (value.version, value.timestamp);
                    Arc::new(Resolved {
                        topics: value.topics.iter().cloned().collect(),
                        version,
                        at,
                    })
                };
                let value = value.as_ref().map(resolved);
                let meaning = meaning(value.is_some());
                set(&mut self.regexes, key, value, at);
                (id, meaning)
            }
            _ => return self.replay_member(record, at),
        };
        if meaning == Meaning::Exists {
            self.indexes.entry(id.clone()).or_default();
        }
        Some((id, meaning))
    }

    fn replay_member(
        &mut self,
        record: &GroupRecord,
        at: Option<Offset>,
    ) -> Option<(GroupId, Meaning)> {
        let (group, member) = match record {
            GroupRecord::ConsumerGroupMemberMetadata(key, _) => (&key.group_id, &key.member_id),
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, _) => {
                (&key.group_id, &key.member_id)
            }
            _ => return None,
        };
        let key = (GroupId::from(group.as_str()), MemberId::from(member.as_str()));
        let old = self.members.get(&key).cloned();
        let known = || match &old {
            Some(old) => ConsumerMember::clone(old),
            None => ConsumerMember::new(key.1.clone()),
        };
        let new = match record {
            GroupRecord::ConsumerGroupMemberMetadata(_, Some(value)) => {
                let mut member = known();
                member.describe_as(value);
                Some(member)
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(_, Some(value)) => {
                let mut member = known();
                member.own_as(value);
                Some(member)
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(_, None) if old.is_some() => {
                let mut member = known();
                (member.epoch, member.previous_epoch) = (LEAVING, LEAVING);
                (member.assigned, member.revoking) = Default::default();
                Some(member)
            }
            _ => None,
        };
        if old.is_none() && new.is_none() {
            return Some((key.0, Meaning::Less));
        }
        let says = matches!(
            record,
            GroupRecord::ConsumerGroupMemberMetadata(_, Some(_))
                | GroupRecord::ConsumerGroupCurrentMemberAssignment(_, Some(_))
        );
        let index = self.indexes.entry(key.0.clone()).or_default();
        index.change(old.as_deref(), new.as_ref());
        let id = key.0.clone();
        set(&mut self.members, key, new.map(Arc::new), at);
        Some((id, meaning(says)))
    }

    fn change_head(&mut self, id: &GroupId, at: Option<Offset>, change: impl FnOnce(&mut Head)) {
        let mut head = self.head(id);
        change(&mut head);
        set(&mut self.heads, id.clone(), Some(head), at);
    }

    fn change_topics_record(&mut self, id: &GroupId, is: bool, at: Option<Offset>) -> Meaning {
        if is || self.heads.get(id).is_some() {
            self.change_head(id, at, |head| head.has_topics_record = is);
        }
        meaning(is)
    }

    /// Everything below `end` is committed.
    pub(in crate::group) fn commit(&mut self, end: Offset) {
        self.heads.commit(end, |_, _| {});
        self.members.commit(end, |_, _| {});
        self.targets.commit(end, |_, _| {});
        self.regexes.commit(end, |_, _| {});
    }

    /// Nothing from `start` on was appended. Tells which groups are other ones again.
    pub(in crate::group) fn revert(&mut self, start: Offset) -> BTreeSet<GroupId> {
        let mut touched: BTreeSet<GroupId> = self.heads.changed_since(start).cloned().collect();
        touched.extend(self.members.changed_since(start).map(|(id, _)| id.clone()));
        touched.extend(self.targets.changed_since(start).map(|(id, _)| id.clone()));
        touched.extend(self.regexes.changed_since(start).map(|(id, _)| id.clone()));
        self.heads.revert(start, |_, _| {});
        self.members.revert(start, |_, _| {});
        self.targets.revert(start, |_, _| {});
        self.regexes.revert(start, |_, _| {});
        for id in &touched {
            self.indexes.remove(id);
            if self.exists(id) {
                let index = self.count(id);
                self.indexes.insert(id.clone(), index);
            }
        }
        touched
    }

    /// Whether any record says something about the group.
    fn exists(&self, id: &GroupId) -> bool {
        self.heads.get(id).is_some()
            || self.members(id).next().is_some()
            || self.targets(id).next().is_some()
            || self.regexes(id).next().is_some()
    }

    fn count(&self, id: &GroupId) -> Index {
        let mut index = Index::default();
        self.members(id).for_each(|member| index.change(None, Some(member)));
        index
    }

    /// Panics when an invariant of the file's head does not hold.
    pub(in crate::group) fn check(&self) {
        self.heads.check();
        self.members.check();
        self.targets.check();
        self.regexes.check();
        for (id, index) in &self.indexes {
            let mut counted = self.count(id);
            counted.is_fresh = index.is_fresh;
            assert_eq!(counted, *index, "{id}: the index is what the members say");
            let mut owners = BTreeSet::new();
            for (topic, partition) in self.members(id).flat_map(|it| partitions(it)) {
                assert!(owners.insert((topic, partition)), "{id}: two have {topic}-{partition}");
            }
        }
    }
}

fn meaning(is: bool) -> Meaning {
    if is { Meaning::Exists } else { Meaning::Less }
}
