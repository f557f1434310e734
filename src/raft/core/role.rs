//! What a replica is, and what it must remember only as long as it is that.
//!
//! ```text
//!               fetch timed out                majority of pre-votes
//!   Follower ---------------------> Prospective ------------------> Candidate
//!      ^  ^                          |    |  ^                       |     |
//!      |  +------ lost, knows leader +    |  +--- lost, timed out ---+     | majority
//!      |                                  v  | timed out                   v
//!      +--- hears of a leader ------- Unattached <--- timed out --- Resigned <-- Leader
//! ```
//! From everywhere a higher epoch leads to Unattached, or to Follower when its leader is known.
//! An observer is only ever Unattached or Follower, and no time-out takes it elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{MonoTime, NodeId, ReplicaKey};

use super::leader::Leader;
use super::messages::OffsetAndEpoch;
use super::voters::VoterSet;

/// What a replica is, by Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleName {
    /// Knows no leader that it could fetch from.
    Unattached,
    /// Asks whether it would be elected (KIP-996).
    Prospective,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Fetches from the leader.
    Follower,
    /// Led this epoch and will not lead it again.
    Resigned,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    Unattached(Unattached),
    Prospective(Nominee),
    Candidate(Nominee),
    Leader(Box<Leader>),
    Follower(Follower),
    Resigned(Resigned),
}

#[derive(Clone, Debug)]
pub(super) struct Unattached {
    /// When to stand for election; never, for an observer.
    pub(super) deadline: Option<MonoTime>,
}

/// One that asks for votes, or for pre-votes.
#[derive(Clone, Debug)]
pub(super) struct Nominee {
    pub(super) tally: Tally,
    /// When the election is lost for want of answers.
    pub(super) deadline: MonoTime,
}

#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// When to take the leader for dead.
    pub(super) deadline: MonoTime,
    /// Whether this leader ever answered a Fetch. Until then a pre-vote may be given to another:
    /// the leader may be one that nobody can reach.
    pub(super) has_fetched: bool,
    /// The snapshot that is fetched instead of records.
    pub(super) snapshot: Option<SnapshotFetch>,
}

#[derive(Clone, Debug)]
pub(super) struct SnapshotFetch {
    pub(super) id: OffsetAndEpoch,
    /// Bytes that have arrived.
    pub(super) position: u64,
    /// Whether they are all there and the driver is installing them.
    pub(super) complete: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Resigned {
    /// Voters that have not noticed yet.
    pub(super) unacked: BTreeSet<NodeId>,
    /// Whom they should elect, the best first.
    pub(super) successors: Vec<ReplicaKey>,
    /// When to leave the epoch for good.
    pub(super) deadline: MonoTime,
}

/// The votes of an election.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    votes: BTreeMap<NodeId, Ballot>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ballot {
    voter: ReplicaKey,
    granted: Option<bool>,
}

impl Tally {
    /// An election among these voters, with the vote of `nominee` for itself.
    pub(super) fn new(voters: &VoterSet, nominee: ReplicaKey) -> Tally {
        let ballot = |voter: ReplicaKey| {
            let granted = (voter.id == nominee.id).then_some(true);
            (voter.id, Ballot { voter, granted })
        };
        Tally { votes: voters.keys().map(ballot).collect() }
    }

    /// Notes a vote; the first of each voter counts.
    pub(super) fn record(&mut self, voter: NodeId, granted: bool) {
        if let Some(ballot) = self.votes.get_mut(&voter) {
            ballot.granted.get_or_insert(granted);
        }
    }

    fn majority(&self) -> usize {
        self.votes.len() / 2 + 1
    }

    fn count(&self, granted: Option<bool>) -> usize {
        self.votes.values().filter(|ballot| ballot.granted == granted).count()
    }

    pub(super) fn is_won(&self) -> bool {
        self.count(Some(true)) >= self.majority()
    }

    /// Whether one vote more would do.
    pub(super) fn is_almost_won(&self) -> bool {
        self.count(Some(true)) + 1 >= self.majority()
    }

    /// Whether too many have refused for a majority to be possible.
    pub(super) fn is_lost(&self) -> bool {
        self.count(Some(true)) + self.count(None) < self.majority()
    }

    /// Those who voted for the nominee.
    pub(super) fn granting(&self) -> impl Iterator<Item = NodeId> {
        self.votes.values().filter(|ballot| ballot.granted == Some(true)).map(|b| b.voter.id)
    }

    /// Those who have not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = ReplicaKey> {
        self.votes.values().filter(|ballot| ballot.granted.is_none()).map(|ballot| ballot.voter)
    }
}

impl Role {
    pub(super) fn name(&self) -> RoleName {
        match self {
            Role::Unattached(_) => RoleName::Unattached,
            Role::Prospective(_) => RoleName::Prospective,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
            Role::Follower(_) => RoleName::Follower,
            Role::Resigned(_) => RoleName::Resigned,
        }
    }
}
