//! What is counted over the members of a consumer group: made from its members alone, at each
//! change of one, and anew when changes are undone.

use std::collections::BTreeMap;

use ottla_types::{PartitionId, TopicName, Uuid};

use super::member::ConsumerMember;
use crate::group::MemberId;

/// What is counted over a group's members.
#[derive(Clone, PartialEq, Default, Debug)]
pub(in crate::group) struct Index {
    members: usize,
    /// Ids of static members by their instance ids.
    statics: BTreeMap<String, MemberId>,
    /// How many members subscribe to a topic by its name.
    topics: BTreeMap<TopicName, usize>,
    /// How many members subscribe by a pattern.
    regexes: BTreeMap<String, usize>,
    /// How many members ask for an assignor.
    assignors: BTreeMap<String, usize>,
    /// Who has a partition, or gives it back: the member's epoch, as it became the owner.
    owners: BTreeMap<(Uuid, PartitionId), i32>,
    /// Whether the group's topics were looked up since the metadata last said something new.
    pub(super) is_fresh: bool,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.members
    }

    pub(super) fn static_member(&self, instance: &str) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    pub(super) fn topics(&self) -> &BTreeMap<TopicName, usize> {
        &self.topics
    }

    pub(super) fn regexes(&self) -> &BTreeMap<String, usize> {
        &self.regexes
    }

    pub(super) fn assignors(&self) -> &BTreeMap<String, usize> {
        &self.assignors
    }

    pub(super) fn is_owned(&self, topic: Uuid, partition: PartitionId) -> bool {
        self.owners.contains_key(&(topic, partition))
    }

    /// A member became another one, came, or went.
    pub(super) fn change(&mut self, old: Option<&ConsumerMember>, new: Option<&ConsumerMember>) {
        if let Some(old) = old {
            self.forget(old);
        }
        if let Some(new) = new {
            self.learn(new);
        }
    }

    fn forget(&mut self, old: &ConsumerMember) {
        self.members -= 1;
        if let Some(instance) = &old.instance
            && self.statics.get(instance) == Some(&old.id)
        {
            self.statics.remove(instance);
        }
        old.topics.iter().for_each(|topic| less(&mut self.topics, topic));
        old.assignor.iter().for_each(|name| less(&mut self.assignors, name));
        if !old.regex.is_empty() {
            less(&mut self.regexes, &old.regex);
        }
        for key in partitions(old) {
            if self.owners.get(&key) == Some(&old.epoch) {
                self.owners.remove(&key);
            }
        }
    }

    fn learn(&mut self, new: &ConsumerMember) {
        self.members += 1;
        if let Some(instance) = &new.instance {
            self.statics.insert(instance.clone(), new.id.clone());
        }
        new.topics.iter().for_each(|topic| more(&mut self.topics, topic));
        new.assignor.iter().for_each(|name| more(&mut self.assignors, name));
        if !new.regex.is_empty() {
            more(&mut self.regexes, &new.regex);
        }
        for key in partitions(new) {
            let epoch = self.owners.entry(key).or_insert(new.epoch);
            // A log whose tombstones came in another order may name two; the later one counts.
            *epoch = new.epoch.max(*epoch);
        }
    }
}

/// The partitions that a member has, or gives back.
pub(super) fn partitions(member: &ConsumerMember) -> impl Iterator<Item = (Uuid, PartitionId)> {
    let topics = member.assigned.iter().chain(&member.revoking);
    topics.flat_map(|(topic, partitions)| partitions.keys().map(|id| (*topic, *id)))
}

fn more<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K) {
    *counts.entry(key.clone()).or_default() += 1;
}

pub(super) fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let Some(count) = counts.get_mut(key) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}
