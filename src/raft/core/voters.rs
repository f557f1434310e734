//! Who may vote, by offset: a voter set counts from the moment its record is appended, and no
//! longer when the record is truncated away (KIP-853).

use std::collections::BTreeMap;

use ottla_protocol::control::{ControlRecord, Voter, VoterEndpoint, Voters};
use ottla_types::{NodeId, Offset, ReplicaKey, Uuid};

/// Where a voter set stands that came from the 0-0 snapshot, before any record of the log.
pub(super) const BEFORE_LOG: Offset = Offset(-1);

/// The voters.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

/// The key of a voter; without directory id where it comes from the configuration.
pub(super) fn key_of(voter: &Voter) -> ReplicaKey {
    ReplicaKey { id: voter.voter_id, directory_id: voter.voter_directory_id }
}

/// Whether a replica is the one that a voter set, a vote or a list of successors names: one
/// without directory id names every directory of its node.
pub(super) fn names(named: ReplicaKey, replica: ReplicaKey) -> bool {
    let any_directory = named.directory_id == Uuid::ZERO;
    named.id == replica.id && (any_directory || named.directory_id == replica.directory_id)
}

impl FromIterator<Voter> for VoterSet {
    fn from_iter<I: IntoIterator<Item = Voter>>(voters: I) -> VoterSet {
        VoterSet { voters: voters.into_iter().map(|voter| (voter.voter_id, voter)).collect() }
    }
}

impl VoterSet {
    /// The set as it stands in the log.
    #[must_use]
    pub fn to_record(&self) -> Voters {
        Voters { version: 0, voters: self.voters.values().cloned().collect() }
    }

    /// Whether the replica is a voter.
    #[must_use]
    pub fn contains(&self, replica: ReplicaKey) -> bool {
        self.voters.get(&replica.id).is_some_and(|voter| names(key_of(voter), replica))
    }

    /// Whether the replica is a voter, and the only one.
    #[must_use]
    pub fn is_only(&self, replica: ReplicaKey) -> bool {
        self.voters.len() == 1 && self.contains(replica)
    }

    /// The voter with this id.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// All voters, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// The keys of all voters, by id.
    pub fn keys(&self) -> impl Iterator<Item = ReplicaKey> {
        self.voters.values().map(key_of)
    }

    /// How many voters are more than half.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Where a voter listens; empty for one that is not in the set.
    #[must_use]
    pub fn endpoints(&self, id: NodeId) -> &[VoterEndpoint] {
        self.voters.get(&id).map_or(&[], |voter| &voter.endpoints)
    }

    /// The set with `voter` in the place of its older self; `None` if that is the same.
    pub(super) fn updated(&self, voter: Voter) -> Option<VoterSet> {
        let old = self.voters.get(&voter.voter_id)?;
        if *old == voter || !names(key_of(old), key_of(&voter)) {
            return None;
        }
        let mut updated = self.clone();
        updated.voters.insert(voter.voter_id, voter);
        Some(updated)
    }
}

/// Voters and `kraft.version`, by the offset of the record that set them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct VoterHistory {
    /// `controller.quorum.voters`; counts while the log names none.
    configured: VoterSet,
    voters: Vec<(Offset, VoterSet)>,
    kraft_versions: Vec<(Offset, i16)>,
}

impl VoterHistory {
    /// A history in which nothing has happened: `configured` are the voters of
    /// `controller.quorum.voters`, if it is set.
    #[must_use]
    pub fn new(configured: VoterSet) -> VoterHistory {
        VoterHistory { configured, ..VoterHistory::default() }
    }

    /// Notes a control record at its offset. The records of a snapshot stand at its end less 1.
    pub fn record(&mut self, offset: Offset, record: &ControlRecord) {
        match record {
            ControlRecord::Voters(voters) => {
                self.voters.push((offset, voters.voters.iter().cloned().collect()));
            }
            ControlRecord::KRaftVersion(version) => {
                self.kraft_versions.push((offset, version.k_raft_version));
            }
            ControlRecord::Abort(_)
            | ControlRecord::Commit(_)
            | ControlRecord::LeaderChange(_)
            | ControlRecord::SnapshotHeader(_)
            | ControlRecord::SnapshotFooter(_)
            | ControlRecord::Unknown(_) => {}
        }
    }

    /// The voters now.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.voters.last().map_or(&self.configured, |(_, voters)| voters)
    }

    /// Offset of the record that named the voters; `None` for those of the configuration.
    pub(super) fn voters_offset(&self) -> Option<Offset> {
        self.voters.last().map(|(offset, _)| *offset)
    }

    /// The `kraft.version` now.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.kraft_versions.last().map_or(0, |(_, version)| *version)
    }

    /// `kraft.version` and voters that the log below `end` names; `None` with version 0.
    pub(super) fn before(&self, end: Offset) -> Option<(i16, Voters)> {
        let version = latest(&self.kraft_versions, end).filter(|version| **version > 0)?;
        Some((*version, latest(&self.voters, end)?.to_record()))
    }

    /// Forgets what stood at `end` and behind it.
    pub(super) fn truncate_to(&mut self, end: Offset) {
        self.voters.retain(|(offset, _)| *offset < end);
        self.kraft_versions.retain(|(offset, _)| *offset < end);
    }

    /// Forgets what was replaced before `start`: no truncation goes back behind it.
    pub(super) fn trim_to(&mut self, start: Offset) {
        trim(&mut self.voters, start);
        trim(&mut self.kraft_versions, start);
    }
}

fn latest<T>(history: &[(Offset, T)], end: Offset) -> Option<&T> {
    history.iter().rev().find(|(offset, _)| *offset < end).map(|(_, value)| value)
}

fn trim<T>(history: &mut Vec<(Offset, T)>, start: Offset) {
    let last = history.iter().rposition(|(offset, _)| *offset < start).unwrap_or(0);
    history.drain(..last);
}
