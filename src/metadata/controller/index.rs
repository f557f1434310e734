//! Which partitions a broker matters to, so that nothing the controller does walks them all.
//!
//! Follows from the image; kept apart from it, as only the active controller asks.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{NodeId, TopicIdPartition, TopicName, has_collision_chars};

use crate::image::{Image, Partition, Touched};

type PartitionsOf = BTreeMap<NodeId, BTreeSet<TopicIdPartition>>;

/// Partitions by the brokers in them, and topics by the name that metrics know them by.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Index {
    in_sync: PartitionsOf,
    eligible: PartitionsOf,
    led: PartitionsOf,
    leaderless: BTreeSet<TopicIdPartition>,
    /// Topics with a '.' or '_' in the name, by the name with all of these made equal.
    collisions: BTreeMap<String, BTreeSet<TopicName>>,
}

impl Index {
    /// The index of an image; O(partitions).
    pub(super) fn of(image: &Image) -> Index {
        let mut index = Index::default();
        for topic in image.topics().iter() {
            index.insert_name(&topic.name);
            for (partition, registration) in topic.partitions() {
                index.insert(TopicIdPartition { topic_id: topic.id, partition }, registration);
            }
        }
        index
    }

    /// Follows the image; O(touched).
    pub(super) fn update(&mut self, before: &Image, after: &Image, touched: &Touched) {
        for id in touched.topics() {
            if let Some(topic) = before.topics().by_id(id) {
                self.remove_name(&topic.name);
            }
            if let Some(topic) = after.topics().by_id(id) {
                self.insert_name(&topic.name);
            }
        }
        for id in touched.partitions() {
            if let Some(partition) = before.partition_by_id(id) {
                self.remove(id, partition);
            }
            if let Some(partition) = after.partition_by_id(id) {
                self.insert(id, partition);
            }
        }
    }

    /// Partitions that the broker is in sync in.
    pub(super) fn in_sync(&self, broker: NodeId) -> Vec<TopicIdPartition> {
        members(&self.in_sync, broker)
    }

    /// Partitions that the broker may lead although it is out of sync (KIP-966).
    pub(super) fn eligible(&self, broker: NodeId) -> Vec<TopicIdPartition> {
        members(&self.eligible, broker)
    }

    /// Partitions without a leader.
    pub(super) fn leaderless(&self) -> Vec<TopicIdPartition> {
        self.leaderless.iter().copied().collect()
    }

    /// Whether the broker leads a partition.
    pub(super) fn leads(&self, broker: NodeId) -> bool {
        self.led.contains_key(&broker)
    }

    /// The topic whose name metrics cannot tell from this one.
    pub(super) fn colliding(&self, name: &str) -> Option<&TopicName> {
        self.collisions.get(&folded(name))?.first()
    }

    fn insert(&mut self, id: TopicIdPartition, partition: &Partition) {
        partition.isr.iter().for_each(|broker| add(&mut self.in_sync, *broker, id));
        partition.elr.iter().for_each(|broker| add(&mut self.eligible, *broker, id));
        match partition.leader() {
            Some(leader) => add(&mut self.led, leader, id),
            None => {
                self.leaderless.insert(id);
            }
        }
    }

    fn remove(&mut self, id: TopicIdPartition, partition: &Partition) {
        partition.isr.iter().for_each(|broker| take(&mut self.in_sync, *broker, id));
        partition.elr.iter().for_each(|broker| take(&mut self.eligible, *broker, id));
        match partition.leader() {
            Some(leader) => take(&mut self.led, leader, id),
            None => {
                self.leaderless.remove(&id);
            }
        }
    }

    fn insert_name(&mut self, name: &TopicName) {
        if has_collision_chars(name) {
            self.collisions.entry(folded(name)).or_default().insert(name.clone());
        }
    }

    fn remove_name(&mut self, name: &TopicName) {
        let folded = folded(name);
        if let Some(names) = self.collisions.get_mut(&folded) {
            names.remove(name);
            if names.is_empty() {
                self.collisions.remove(&folded);
            }
        }
    }
}

fn folded(name: &str) -> String {
    name.replace('.', "_")
}

fn members(map: &PartitionsOf, broker: NodeId) -> Vec<TopicIdPartition> {
    map.get(&broker).into_iter().flatten().copied().collect()
}

fn add(map: &mut PartitionsOf, broker: NodeId, id: TopicIdPartition) {
    map.entry(broker).or_default().insert(id);
}

fn take(map: &mut PartitionsOf, broker: NodeId, id: TopicIdPartition) {
    if let Some(partitions) = map.get_mut(&broker) {
        partitions.remove(&id);
        if partitions.is_empty() {
            map.remove(&broker);
        }
    }
}
