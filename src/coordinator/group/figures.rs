//! What a shard tells about itself: what it has counted, and what it is made of.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::{CommittedOffset, GroupId, GroupShard, ListedGroup, OffsetKey};

/// What a shard has counted since it was loaded (`GroupCoordinatorMetrics`). An operation counts
/// when it is decided, as in Kafka, also if its records cannot be kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GroupCounts {
    /// Offsets that were committed.
    pub offset_commits: u64,
    /// Offsets that were too old.
    pub offset_expirations: u64,
    /// Offsets that an operator deleted.
    pub offset_deletions: u64,
    /// Rebalances of classic groups that ended with an assignment.
    pub completed_rebalances: u64,
    /// New epochs of consumer groups.
    pub consumer_rebalances: u64,
}

impl AddAssign for GroupCounts {
    fn add_assign(&mut self, other: GroupCounts) {
        self.offset_commits += other.offset_commits;
        self.offset_expirations += other.offset_expirations;
        self.offset_deletions += other.offset_deletions;
        self.completed_rebalances += other.completed_rebalances;
        self.consumer_rebalances += other.consumer_rebalances;
    }
}

/// How many groups there are, by Kafka's names of their protocol and of their state.
pub type GroupsByState = BTreeMap<(&'static str, &'static str), usize>;

impl GroupShard {
    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// Adds the shard's groups.
    pub fn count_groups(&self, into: &mut GroupsByState) {
        for ListedGroup { kind, state, .. } in self.list() {
            *into.entry((kind, state)).or_default() += 1;
        }
    }

    /// Members of each group.
    #[must_use]
    pub fn member_counts(&self) -> Vec<(GroupId, usize)> {
        let groups = self.slots.committed_range(..);
        groups.map(|(id, _)| (id.clone(), self.member_count(id))).collect()
    }

    fn member_count(&self, id: &GroupId) -> usize {
        if let Some(group) = self.classic(id) {
            return group.members().iter().count();
        }
        match self.others.get(id) {
            Some(other) => other.members,
            None => self.consumers.committed_members(id).count(),
        }
    }

    /// How many offsets are committed.
    #[must_use]
    pub fn offset_count(&self) -> usize {
        self.offsets.len()
    }

    /// Committed offsets, in the order of their groups.
    pub fn committed_offsets(&self) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        self.offsets.committed_range(..)
    }
}
