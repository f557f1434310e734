//! What must hold across the whole cluster, whatever happens.
//!
//! - An epoch has at most one leader, and a replica votes at most once in it.
//! - An offset and an epoch name one batch, for ever.
//! - A committed batch stays where it is: nobody commits another there, and who leads a later
//!   epoch has it.
//! - If two logs have a batch in common, they have all before it in common.
//! - Nobody's high watermark or epoch falls within a life.
//! - Nobody begins a new epoch that a majority did not encourage (KIP-996).

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::super::{ElectionState, RoleName};
use super::disk::{Batch, Log};

#[derive(Default)]
pub(super) struct Ledger {
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    votes: BTreeMap<(LeaderEpoch, NodeId), NodeId>,
    appends: BTreeMap<(LeaderEpoch, Offset), u64>,
    /// Number of each committed batch by its first offset, and the epoch it was committed in.
    committed: BTreeMap<Offset, (u64, LeaderEpoch)>,
    /// Who has told whom in which epoch that a vote would be given.
    encouraged: BTreeMap<(LeaderEpoch, NodeId), BTreeSet<NodeId>>,
    /// Highest epoch that anybody has written.
    epoch: LeaderEpoch,
}

impl Ledger {
    /// A replica leads.
    pub(super) fn leads(&mut self, node: NodeId, epoch: LeaderEpoch, log: &Log) {
        let leader = *self.leaders.entry(epoch).or_insert(node);
        assert_eq!(leader, node, "epoch {epoch} has two leaders");
        let earlier = self.committed.iter().filter(|(_, (_, at))| *at < epoch);
        for (base, (number, _)) in earlier.filter(|(base, _)| **base >= log.start) {
            let found = log.from(*base).next().map(|batch| batch.number);
            assert_eq!(found, Some(*number), "leader {node} lacks the committed batch at {base}");
        }
    }

    /// A replica has given its vote, or taken its own.
    pub(super) fn votes(&mut self, voter: NodeId, epoch: LeaderEpoch, candidate: NodeId) {
        let first = *self.votes.entry((epoch, voter)).or_insert(candidate);
        assert_eq!(first, candidate, "{voter} votes twice in epoch {epoch}");
    }

    /// A leader has appended.
    pub(super) fn appends(&mut self, batch: &Batch) {
        let first = *self.appends.entry((batch.epoch, batch.base)).or_insert(batch.number);
        let (base, epoch) = (batch.base, batch.epoch);
        assert_eq!(first, batch.number, "two batches at {base} in epoch {epoch}");
    }

    /// A replica takes all below `offset` for committed.
    pub(super) fn commits(&mut self, node: NodeId, epoch: LeaderEpoch, offset: Offset, log: &Log) {
        assert!(offset <= log.end(), "{node} commits what it does not have");
        for batch in log.batches.iter().filter(|batch| batch.end <= offset) {
            let (number, _) = *self.committed.entry(batch.base).or_insert((batch.number, epoch));
            assert_eq!(number, batch.number, "{node} commits another batch at {}", batch.base);
        }
    }

    /// `voter` has told `nominee` that it would vote for it.
    pub(super) fn encourages(&mut self, voter: NodeId, nominee: NodeId, epoch: LeaderEpoch) {
        self.encouraged.entry((epoch, nominee)).or_default().insert(voter);
    }

    /// A replica writes its election state. `was` is its role before, `majority` how many of the
    /// voters must be for a new epoch.
    pub(super) fn persists(
        &mut self,
        node: NodeId,
        (old, new): (Option<ElectionState>, ElectionState),
        was: Option<RoleName>,
        majority: usize,
    ) {
        assert!(old.is_none_or(|old| new.epoch >= old.epoch), "{node} goes back to an old epoch");
        if new.voted.is_some_and(|voted| voted.id == node) {
            self.votes(node, new.epoch, node);
        }
        if new.epoch > self.epoch {
            let before = LeaderEpoch(new.epoch.0 - 1);
            let others = self.encouraged.get(&(before, node)).map_or(0, BTreeSet::len);
            let left_office = was == Some(RoleName::Resigned);
            assert!(others + 1 >= majority || left_office, "{node} begins {} alone", new.epoch);
            self.epoch = new.epoch;
        }
    }

    /// A message made by hand brings an epoch into the world.
    pub(super) fn hears_of(&mut self, epoch: LeaderEpoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Number of batches that are committed anywhere.
    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }
}

/// Two logs that have a batch in common have all in common that lies before it.
pub(super) fn check_match(a: &Log, b: &Log) {
    let start = a.start.max(b.start);
    let (mut a, mut b) = (a.from(start).peekable(), b.from(start).peekable());
    let mut parted = false;
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let same = left.number == right.number;
        assert!(!(parted && same), "the logs part and meet again at {}", left.base);
        let twins = left.base == right.base && left.epoch == right.epoch;
        assert!(same || !twins, "two batches at {} in epoch {}", left.base, left.epoch);
        parted |= !same;
        if left.end <= right.end {
            a.next();
        } else {
            b.next();
        }
        if same {
            b.next();
        }
    }
}
