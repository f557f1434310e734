//! The assignor `uniform` for members that subscribe to different topics.
//!
//! 1. Members keep what they have of the topics that they subscribe to.
//! 2. What is free is given out, topic by topic, to the subscriber with the least.
//! 3. Topic by topic partitions move from the subscriber with the most to the one with the least,
//!    until no topic moves any, or everybody has had enough rounds.
//!
//! Topics with many partitions for each subscriber come first: with them most can be evened out.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ottla_types::{PartitionId, Uuid};

use super::Task;
use super::balance::Balancer;
use crate::group::consumer::member::Assignment;

/// Subscriptions that overlap in part are only evened out step by step: this is enough for a
/// result that is near it.
const ROUNDS_MAX: usize = 16;

/// A topic and who has its partitions; members by their place in the order.
struct Topic {
    id: Uuid,
    subscribers: Vec<usize>,
    owners: Vec<Option<usize>>,
}

impl Topic {
    /// Most partitions for each subscriber first, then fewest subscribers, then by id.
    fn order(&self, other: &Topic) -> Ordering {
        let share = |it: &Topic| it.owners.len() as f64 / it.subscribers.len() as f64;
        let by_share = share(other).total_cmp(&share(self));
        let by_count = self.subscribers.len().cmp(&other.subscribers.len());
        by_share.then(by_count).then_with(|| signed(self.id).cmp(&signed(other.id)))
    }
}

/// Kafka compares the halves of ids as signed numbers.
fn signed(id: Uuid) -> (i64, i64) {
    let bits = u128::from_be_bytes(id.0);
    (((bits >> 64) as u64).cast_signed(), (bits as u64).cast_signed())
}

pub(super) fn assign(task: &Task) -> Vec<Assignment> {
    let order = task.members_in_order();
    let mut counts = vec![0; order.len()];
    let mut topics = topics_of(task, &order, &mut counts);
    topics.sort_by(Topic::order);
    let mut balancer = Balancer::default();
    for topic in &mut topics {
        let free: Vec<usize> =
            (0..topic.owners.len()).filter(|at| topic.owners[*at].is_none()).collect();
        if free.is_empty() {
            continue;
        }
        balancer.begin(&topic.subscribers, &counts);
        for partition in free {
            let member = balancer.take_least(&counts);
            topic.owners[partition] = Some(member);
            counts[member] += 1;
        }
    }
    even_out(&mut topics, &mut balancer, &mut counts);
    let mut all = vec![Assignment::default(); task.members.len()];
    for topic in &topics {
        for (partition, owner) in (0i32..).zip(&topic.owners) {
            let Some(owner) = owner else { continue };
            let own = all[order[*owner]].0.entry(topic.id).or_default();
            own.push(PartitionId(partition));
        }
    }
    all
}

/// The topics, with the owners that they keep.
fn topics_of(task: &Task, order: &[usize], counts: &mut [usize]) -> Vec<Topic> {
    let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
    for (place, at) in order.iter().enumerate() {
        let member = &task.members[*at];
        for id in &member.topics {
            let count = task.topics[id].unsigned_abs() as usize;
            let new = || Topic { id: *id, subscribers: Vec::new(), owners: vec![None; count] };
            topics.entry(*id).or_insert_with(new).subscribers.push(place);
        }
    }
    for (place, at) in order.iter().enumerate() {
        let member = &task.members[*at];
        for (id, partitions) in &member.assigned.0 {
            if member.topics.binary_search(id).is_err() {
                continue;
            }
            let Some(topic) = topics.get_mut(id) else { continue };
            for partition in partitions {
                let Some(owner) = topic.owners.get_mut(partition.0.unsigned_abs() as usize) else {
                    continue;
                };
                *owner = Some(place);
                counts[place] += 1;
            }
        }
    }
    topics.into_values().collect()
}

/// Moves partitions of topic after topic, until a whole round moved none.
fn even_out(topics: &mut [Topic], balancer: &mut Balancer, counts: &mut [usize]) {
    let mut shared: Vec<&mut Topic> =
        topics.iter_mut().filter(|topic| topic.subscribers.len() > 1).collect();
    let mut last_moved = None;
    for _ in 0..ROUNDS_MAX {
        for (at, topic) in shared.iter_mut().enumerate() {
            if last_moved == Some(at) {
                return;
            }
            let moved = even_out_topic(topic, balancer, counts);
            if moved || last_moved.is_none() {
                last_moved = Some(at);
            }
        }
    }
}

/// Moves partitions of one topic from those with the most to those with the least.
fn even_out_topic(topic: &mut Topic, balancer: &mut Balancer, counts: &mut [usize]) -> bool {
    if balancer.begin(&topic.subscribers, counts) <= 1 {
        return false;
    }
    // Each owner gives its partitions away from the last one on.
    let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (partition, owner) in topic.owners.iter().enumerate() {
        owned.entry(owner.unwrap_or(usize::MAX)).or_default().push(partition);
    }
    let mut moved = false;
    while !balancer.is_even() {
        let from = loop {
            let Some(most) = balancer.take_most(counts) else { return moved };
            match owned.get_mut(&most).and_then(Vec::pop) {
                Some(partition) => break (most, partition),
                None => balancer.exclude_last_most(),
            }
        };
        let to = balancer.take_least(counts);
        if balancer.is_even() {
            break;
        }
        let (most, partition) = from;
        counts[most] -= 1;
        counts[to] += 1;
        topic.owners[partition] = Some(to);
        moved = true;
    }
    moved
}
