//! The state of one shard of the group coordinator: the groups and offsets that a partition of
//! `__consumer_offsets` holds. Pure: time and random ids are arguments, what is to be done is
//! returned as [`Effects`].
//!
//! ```text
//!   request ──> records, replayed here at once ──> appended by the shell ──> committed, or undone
//!                └─ and an answer, told when they are committed
//! ```
//! - **Durable state** (offsets, and which groups exist) is changed by replaying records and by
//!   nothing else. It is a [`Timeline`]: readers see what is committed.
//! - **Members** of classic groups are not durable before a rebalance has ended; a coordinator that
//!   is gone has lost joins that were under way, and members join again. So a [`ClassicGroup`] is
//!   changed in place, as Kafka's is, and what depends on a record waits for it in a [`Then`]; so
//!   do all answers to the request that wrote it.
//! - **Consumer groups** (KIP-848) are durable as a whole ([`consumer`]).
//! - A group of another protocol (KIP-932, KIP-1071), from a directory that Kafka wrote, keeps its
//!   name: it is told, its offsets are served, and its records stay in the log, but for those of
//!   its members, who are silent ([`others`]).
//! - **Transactions** commit offsets that count when their marker comes ([`transactions`]).
//!
//! Invariants (`check`): an offset belongs to a group that exists; a group of the slots has its
//! members here; nothing is committed behind `end`.
//!
//! Source: `GroupMetadataManager`, `OffsetMetadataManager`, `GroupCoordinatorShard` of Kafka.

mod admin;
mod as_core;
mod change;
pub mod classic;
pub mod consumer;
mod effect;
mod expiry;
mod figures;
mod join;
mod leave;
mod load;
mod names;
mod offsets;
mod others;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::GroupsConfig;
use ottla_types::{ErrorCode, Offset, ProducerId, Timestamp};

pub use crate::shard_core::{LoadedRecord, Now};
use crate::timeline::Timeline;
pub use admin::{DescribedGroup, DescribedMember, ListedGroup};
pub use change::Change;
use classic::ClassicGroup;
use consumer::{ConsumerGroups, NoCluster, SharedCluster};
pub use effect::{Answer, Effects, Part, RecordBytes, Then, Ticket, Told, Write};
pub use figures::{GroupCounts, GroupsByState};
pub use load::{OtherGroup, OtherKind};
pub use names::{GroupId, MemberId};
use timers::Timers;

pub use transactions::{Transaction, TransactionEnd};

pub use offsets::{CommittedOffset, FetchedOffset, OffsetCommit, OffsetKey, OffsetToCommit};

/// Names a classic group's state: a group that was deleted and came back has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Incarnation(u64);

/// What a group's name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Classic(Incarnation),
    Consumer,
    Other(OtherKind),
}

/// One shard of the group coordinator.
pub struct GroupShard {
    config: Arc<GroupsConfig>,
    /// The groups that exist.
    slots: Timeline<GroupId, Slot>,
    /// State of the classic ones, also of those whose deletion or creation is not committed.
    classic: BTreeMap<Incarnation, ClassicGroup>,
    incarnations: u64,
    /// State of consumer groups.
    consumers: ConsumerGroups,
    /// What groups are told of the cluster.
    cluster: SharedCluster,
    /// Version of the metadata that brought the newest topics; -1 while none is known.
    newest_topics: i64,
    /// The keys of the records of other groups.
    others: BTreeMap<GroupId, OtherGroup>,
    offsets: Timeline<OffsetKey, CommittedOffset>,
    /// Offsets of transactions that have not ended.
    pending: Timeline<(OffsetKey, ProducerId), CommittedOffset>,
    /// The same by producer.
    pending_keys: Timeline<(ProducerId, OffsetKey), ()>,
    timers: Timers,
    counts: GroupCounts,
    /// Where the next record goes.
    end: Offset,
    /// While it is loaded: the offset that was loaded last.
    loaded_before: Option<OffsetKey>,
}

impl GroupShard {
    /// A shard that knows nothing yet.
    #[must_use]
    pub fn new(config: Arc<GroupsConfig>) -> GroupShard {
        GroupShard {
            config,
            slots: Timeline::default(),
            classic: BTreeMap::new(),
            incarnations: 0,
            consumers: ConsumerGroups::default(),
            cluster: Arc::new(NoCluster),
            newest_topics: -1,
            others: BTreeMap::new(),
            offsets: Timeline::default(),
            pending: Timeline::default(),
            pending_keys: Timeline::default(),
            timers: Timers::default(),
            counts: GroupCounts::default(),
            end: Offset::ZERO,
            loaded_before: None,
        }
    }

    /// Where the next record goes.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Everything below `end` is committed.
    pub fn commit(&mut self, end: Offset, out: &mut Effects) {
        let mut forgotten = Vec::new();
        self.slots.commit(end, |id, slot| forgotten.push((id, slot)));
        self.offsets.commit(end, |_, _| {});
        self.pending.commit(end, |_, _| {});
        self.pending_keys.commit(end, |_, ()| {});
        self.consumers.commit(end);
        self.drop_states(forgotten, ErrorCode::UnknownMemberId, out);
    }

    /// Nothing from `start` on was appended, for this reason: what it changed is undone.
    pub fn revert(&mut self, now: Now, start: Offset, reason: ErrorCode, out: &mut Effects) {
        let mut forgotten = Vec::new();
        self.slots.revert(start, |id, slot| forgotten.push((id, slot)));
        self.offsets.revert(start, |_, _| {});
        self.pending.revert(start, |_, _| {});
        self.pending_keys.revert(start, |_, ()| {});
        for id in self.consumers.revert(start) {
            self.await_consumers_of(now, &id);
        }
        self.end = start;
        self.drop_states(forgotten, reason, out);
    }

    /// What follows a write that is committed, or was reverted for a reason.
    pub fn finish(
        &mut self,
        now: Now,
        then: Then,
        result: Result<(), ErrorCode>,
        out: &mut Effects,
    ) {
        match then {
            Then::Nothing => {}
            Then::Answer(ticket, answer) => out.answer(ticket, result.map(|()| answer)),
            Then::OthersGone(id) => self.others_gone(now, id, result),
            Then::Assigned(assigned) => self.assigned(now, *assigned, result, out),
            Then::StaticReplaced(replaced) => self.static_replaced(now, *replaced, result, out),
            Then::Answers(first, answers) => {
                self.finish(now, *first, result, out);
                for (ticket, told) in answers {
                    out.answer(ticket, result.and(told));
                }
            }
        }
    }

    /// The state of a classic group, if one of this name exists.
    fn classic(&self, id: &GroupId) -> Option<&ClassicGroup> {
        match self.slots.get(id) {
            Some(Slot::Classic(incarnation)) => self.classic.get(incarnation),
            _ => None,
        }
    }

    /// Creates an empty classic group, by the record that is appended next.
    fn create_classic(&mut self, id: &GroupId, now: Timestamp, at: Offset) -> Incarnation {
        let incarnation = self.next_incarnation();
        self.classic.insert(incarnation, ClassicGroup::new(id.clone(), now));
        self.slots.put(id.clone(), Slot::Classic(incarnation), at);
        incarnation
    }

    fn next_incarnation(&mut self) -> Incarnation {
        self.incarnations += 1;
        Incarnation(self.incarnations)
    }

    /// Drops the state of groups that no view names any more; who waits there is told why.
    fn drop_states(
        &mut self,
        forgotten: Vec<(GroupId, Slot)>,
        reason: ErrorCode,
        out: &mut Effects,
    ) {
        for (id, slot) in forgotten {
            if self.slots.any_version(&id, |other| *other == slot) {
                continue;
            }
            match slot {
                Slot::Consumer => {}
                Slot::Other(_) => drop(self.others.remove(&id)),
                Slot::Classic(incarnation) => {
                    let Some(group) = self.classic.remove(&incarnation) else { continue };
                    Self::dismiss_all(&group, reason, out);
                }
            }
        }
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        self.slots.check();
        self.offsets.check();
        self.check_pending();
        self.timers.check();
        self.consumers.check();
        for (key, _) in self.offsets.range(..) {
            assert!(self.slots.get(&key.group).is_some(), "{}: offsets without a group", key.group);
        }
        for (id, slot) in self.slots.range(..) {
            if let Slot::Classic(incarnation) = slot {
                let group = self.classic.get(incarnation).expect("a group has its state");
                assert_eq!(group.id(), id, "under its own name");
                group.check();
            }
        }
    }
}
