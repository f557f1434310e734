//! The assignor `range`: each topic's partitions in order, cut into as many runs as it has
//! subscribers. Static members come first, by their instance ids, so that they keep their runs when
//! they come back; then all others by their ids. Topics with as many partitions and the same
//! subscribers are cut at the same places.

use std::collections::BTreeMap;

use ottla_types::{PartitionId, Uuid};

use super::{Task, TaskMember};
use crate::group::consumer::member::Assignment;

/// A topic in the course of being cut.
struct Cut {
    partitions: i32,
    subscribers: i32,
    /// How many subscribers had their run.
    served: i32,
    /// Where the next run begins.
    next: i32,
}

impl Cut {
    fn take(&mut self) -> Vec<PartitionId> {
        let is_longer = self.served < self.partitions % self.subscribers;
        let run = self.partitions / self.subscribers + i32::from(is_longer);
        let end = (self.next + run).min(self.partitions);
        let taken = (self.next..end).map(PartitionId).collect();
        (self.next, self.served) = (end, self.served + 1);
        taken
    }
}

pub(super) fn assign(task: &Task) -> Vec<Assignment> {
    let mut cuts: BTreeMap<Uuid, Cut> = BTreeMap::new();
    for topic in task.members.iter().flat_map(|member| &member.topics) {
        let cut = Cut { partitions: task.topics[topic], subscribers: 0, served: 0, next: 0 };
        cuts.entry(*topic).or_insert(cut).subscribers += 1;
    }
    let mut order: Vec<usize> = (0..task.members.len()).collect();
    order.sort_by(|a, b| key(&task.members[*a]).cmp(&key(&task.members[*b])));
    let mut all = vec![Assignment::default(); task.members.len()];
    for at in order {
        for topic in &task.members[at].topics {
            let Some(cut) = cuts.get_mut(topic) else { continue };
            let taken = cut.take();
            if !taken.is_empty() {
                all[at].0.insert(*topic, taken);
            }
        }
    }
    all
}

/// Java compares texts by their UTF-16 units.
fn key(member: &TaskMember) -> (bool, Vec<u16>) {
    match &member.instance {
        Some(instance) => (false, instance.encode_utf16().collect()),
        None => (true, member.id.encode_utf16().collect()),
    }
}
