//! The assignor `uniform` for members that all subscribe to the same topics.
//!
//! Each member has a quota: all partitions by all members, and one more for as many of them as
//! there are partitions left over, at first for those who have so many. What a member has above its
//! quota, or of other topics, it loses; then those below their quotas are filled up, one after the
//! other.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{PartitionId, Uuid};

use super::{Task, java_order};
use crate::group::consumer::member::Assignment;

pub(super) fn assign(task: &Task) -> Vec<Assignment> {
    let mut all = vec![Assignment::default(); task.members.len()];
    let mut topics = task.members[0].topics.clone();
    if topics.is_empty() {
        return all;
    }
    let size = java_order::made_of(topics.len());
    java_order::sort(&mut topics, size, java_order::uuid_hash);
    let (mut free, total) = free_partitions(task, &topics);
    let members = task.members.len();
    let (least, mut longer) = (total / members, total % members);
    let mut unfilled = Vec::new();
    for (place, at) in task.members_in_order().into_iter().enumerate() {
        let mut may_be_longer = longer > 0;
        let quota = least + usize::from(may_be_longer);
        let mut left = keep(task, at, &topics, quota, &mut all[at], &mut free);
        if left > 0 && may_be_longer && members - place > longer {
            // It has not more than the others, and some of these may.
            (may_be_longer, left) = (false, left - 1);
        }
        longer -= usize::from(may_be_longer);
        if left > 0 {
            unfilled.push((at, left));
        }
    }
    let mut free = free.into_iter();
    for (at, left) in unfilled {
        for (topic, partition) in free.by_ref().take(left) {
            all[at].0.entry(topic).or_default().push(partition);
        }
        all[at].0.values_mut().for_each(|partitions| partitions.sort_unstable());
    }
    all
}

/// Partitions that nobody has, in order, and how many there are altogether.
fn free_partitions(task: &Task, topics: &[Uuid]) -> (Vec<(Uuid, PartitionId)>, usize) {
    let mut assigned: BTreeMap<Uuid, BTreeSet<PartitionId>> = BTreeMap::new();
    for (topic, partitions) in task.members.iter().flat_map(|member| &member.assigned.0) {
        assigned.entry(*topic).or_default().extend(partitions);
    }
    let (mut free, mut total) = (Vec::new(), 0);
    for topic in topics {
        let taken = assigned.get(topic);
        let count = task.topics[topic];
        total += count.unsigned_abs() as usize;
        let all = (0..count).map(PartitionId);
        let is_free = |id: &PartitionId| taken.is_none_or(|taken| !taken.contains(id));
        free.extend(all.filter(is_free).map(|id| (*topic, id)));
    }
    (free, total)
}

/// Lets a member keep what it has up to its quota; returns what is left of that.
fn keep(
    task: &Task,
    at: usize,
    topics: &[Uuid],
    mut quota: usize,
    kept: &mut Assignment,
    free: &mut Vec<(Uuid, PartitionId)>,
) -> usize {
    let has = &task.members[at].assigned.0;
    let mut own: Vec<&Uuid> = has.keys().collect();
    java_order::sort(&mut own, java_order::grown(has.len()), |id| java_order::uuid_hash(id));
    for topic in own {
        if !topics.contains(topic) {
            continue;
        }
        let mut partitions = has[topic].clone();
        if partitions.len() > quota {
            let size = java_order::made_of(partitions.len());
            java_order::sort(&mut partitions, size, java_order::partition_hash);
            free.extend(partitions.drain(quota..).map(|id| (*topic, id)));
            partitions.sort_unstable();
        }
        quota -= partitions.len();
        if !partitions.is_empty() {
            kept.0.insert(*topic, partitions);
        }
    }
    quota
}
