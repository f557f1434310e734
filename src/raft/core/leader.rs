//! What a leader knows of the others: how far they are, and whether they still listen.
//!
//! The high watermark is the offset that a majority of the voters have on disk, the leader with
//! its own flushed offset among them. It counts only behind the first record of the leader's own
//! epoch: a majority may hold a record of an older epoch and a later leader still remove it (Raft,
//! figure 8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_types::{MonoTime, NodeId, Offset, ReplicaKey};

use super::messages::{FetchRequest, RequestId};
use super::voters::{VoterSet, names};

/// Observers that a leader keeps in mind at most.
const OBSERVERS_MAX: usize = 10_000;
/// How long an observer is kept in mind after its last Fetch.
const OBSERVER_SESSION: Duration = Duration::from_mins(5);

/// How far a replica is, for DescribeQuorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaProgress {
    /// The replica.
    pub replica: ReplicaKey,
    /// End of its log, as its last Fetch said; for the leader, that of its flushed log.
    pub log_end: Option<Offset>,
    /// When it last fetched.
    pub last_fetch: Option<MonoTime>,
    /// When it last had all that the leader had.
    pub last_caught_up: Option<MonoTime>,
    /// End of the leader's log at its last Fetch.
    last_leader_end: Option<Offset>,
}

impl ReplicaProgress {
    fn new(replica: ReplicaKey) -> ReplicaProgress {
        ReplicaProgress {
            replica,
            log_end: None,
            last_fetch: None,
            last_caught_up: None,
            last_leader_end: None,
        }
    }

    fn fetched(&mut self, offset: Offset, leader_end: Offset, now: MonoTime) {
        if offset >= leader_end {
            self.last_caught_up = Some(now);
        } else if self.last_leader_end.is_some_and(|end| offset >= end) {
            // It has reached what was the end then; so then it was only one Fetch behind.
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_end = Some(offset);
        self.last_fetch = Some(now);
        self.last_leader_end = Some(leader_end);
    }
}

/// A Fetch that waits for something to answer with.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) id: RequestId,
    pub(super) fetch: FetchRequest,
    pub(super) deadline: MonoTime,
}

#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// Offset of the first record of the epoch.
    pub(super) epoch_start: Offset,
    /// What is committed, once a record of this epoch is.
    pub(super) high_watermark: Option<Offset>,
    /// All voters, the leader among them.
    voters: BTreeMap<NodeId, ReplicaProgress>,
    observers: BTreeMap<ReplicaKey, ReplicaProgress>,
    /// Voters that have fetched since a majority had.
    fetched: BTreeSet<NodeId>,
    /// When to resign unless a majority fetches until then.
    check_quorum_at: MonoTime,
    /// When to tell those who do not fetch who leads.
    pub(super) begin_epoch_at: MonoTime,
    pub(super) parked: Vec<Parked>,
}

impl Leader {
    pub(super) fn new(
        epoch_start: Offset,
        voters: &VoterSet,
        now: MonoTime,
        check_quorum: Duration,
    ) -> Leader {
        Leader {
            epoch_start,
            high_watermark: None,
            voters: voters.keys().map(|key| (key.id, ReplicaProgress::new(key))).collect(),
            observers: BTreeMap::new(),
            fetched: BTreeSet::new(),
            check_quorum_at: now.after(check_quorum),
            begin_epoch_at: now,
            parked: Vec::new(),
        }
    }

    /// Follows a change of the voter set: a replica keeps its progress when it moves in or out.
    pub(super) fn set_voters(&mut self, voters: &VoterSet) {
        let mut before = std::mem::take(&mut self.voters);
        for key in voters.keys() {
            let progress = match before.remove(&key.id) {
                Some(known) if names(known.replica, key) => {
                    ReplicaProgress { replica: key, ..known }
                }
                Some(other) => {
                    self.observers.insert(other.replica, other);
                    ReplicaProgress::new(key)
                }
                None => self.observers.remove(&key).unwrap_or(ReplicaProgress::new(key)),
            };
            self.voters.insert(key.id, progress);
        }
        self.observers.extend(before.into_values().map(|gone| (gone.replica, gone)));
        self.fetched.retain(|id| voters.get(*id).is_some());
    }

    /// Notes how far the leader's own log is on disk.
    pub(super) fn flushed(&mut self, me: NodeId, offset: Offset) {
        if let Some(own) = self.voters.get_mut(&me) {
            own.log_end = Some(offset);
        }
    }

    /// Notes a Fetch that continues this log.
    pub(super) fn fetched(
        &mut self,
        replica: ReplicaKey,
        offset: Offset,
        leader_end: Offset,
        now: MonoTime,
    ) {
        match self.voters.get_mut(&replica.id) {
            Some(voter) if names(voter.replica, replica) => {
                voter.fetched(offset, leader_end, now);
            }
            Some(_) | None => {
                self.forget_observers(replica, now);
                let fresh = ReplicaProgress::new(replica);
                let observer = self.observers.entry(replica).or_insert(fresh);
                observer.fetched(offset, leader_end, now);
            }
        }
    }

    /// Makes room for `arriving`.
    fn forget_observers(&mut self, arriving: ReplicaKey, now: MonoTime) {
        if self.observers.len() < OBSERVERS_MAX || self.observers.contains_key(&arriving) {
            return;
        }
        self.observers.retain(|_, observer| is_active(observer, now));
        let oldest = self.observers.values().min_by_key(|o| o.last_fetch).map(|o| o.replica);
        if let Some(oldest) = oldest.filter(|_| self.observers.len() >= OBSERVERS_MAX) {
            self.observers.remove(&oldest);
        }
    }

    /// Notes that a voter listens: once a majority has, the leader may go on as long again.
    pub(super) fn heard_from(
        &mut self,
        replica: ReplicaKey,
        me: ReplicaKey,
        now: MonoTime,
        check_quorum: Duration,
    ) {
        if self.voters.get(&replica.id).is_some_and(|voter| names(voter.replica, replica)) {
            self.fetched.insert(replica.id);
        }
        let needed = self.voters.len() / 2 + 1 - usize::from(self.voters.contains_key(&me.id));
        if self.fetched.len() >= needed {
            self.fetched.clear();
            self.check_quorum_at = now.after(check_quorum);
        }
    }

    /// When to resign; never as the only voter.
    pub(super) fn check_quorum_at(&self, me: NodeId) -> Option<MonoTime> {
        let alone = self.voters.len() == 1 && self.voters.contains_key(&me);
        (!alone).then_some(self.check_quorum_at)
    }

    /// The offset that a majority has on disk, if the high watermark may move there.
    pub(super) fn committable(&self) -> Option<Offset> {
        let offset = self.majority_offset()?;
        let own_epoch = offset > self.epoch_start;
        (own_epoch && self.high_watermark.is_none_or(|known| offset > known)).then_some(offset)
    }

    /// The offset that a majority has on disk.
    pub(super) fn majority_offset(&self) -> Option<Offset> {
        let mut offsets: Vec<_> = self.voters.values().map(|voter| voter.log_end).collect();
        offsets.sort_unstable();
        offsets.reverse();
        offsets[offsets.len() / 2]
    }

    /// Voters that have not fetched for `silence`, and may not know who leads.
    pub(super) fn silent_voters(
        &self,
        me: NodeId,
        now: MonoTime,
        silence: Duration,
    ) -> Vec<ReplicaKey> {
        let is_silent = |voter: &&ReplicaProgress| {
            let fetched = voter.last_fetch.is_some_and(|last| now.since(last) < silence);
            voter.replica.id != me && !fetched
        };
        self.voters.values().filter(is_silent).map(|voter| voter.replica).collect()
    }

    /// The other voters, the one with the longest log first.
    pub(super) fn successors(&self, me: NodeId) -> Vec<ReplicaKey> {
        let mut others: Vec<_> = self.voters.values().filter(|v| v.replica.id != me).collect();
        others.sort_by(|a, b| b.log_end.cmp(&a.log_end).then(a.replica.cmp(&b.replica)));
        others.into_iter().map(|voter| voter.replica).collect()
    }

    /// All voters, by id.
    pub(super) fn voters(&self) -> impl Iterator<Item = &ReplicaProgress> {
        self.voters.values()
    }

    /// The observers that have fetched of late.
    pub(super) fn observers(&self, now: MonoTime) -> impl Iterator<Item = &ReplicaProgress> {
        self.observers.values().filter(move |observer| is_active(observer, now))
    }
}

fn is_active(observer: &ReplicaProgress, now: MonoTime) -> bool {
    observer.last_fetch.is_some_and(|last| now.since(last) < OBSERVER_SESSION)
}
