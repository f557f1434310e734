//! A replica of a test: a core, its disk, and a driver that performs effects one by one.

use std::collections::BTreeMap;

use ottla_protocol::control::{
    ControlRecord, KRaftVersion, KRaftVersionRange, Voter, VoterEndpoint,
};
use ottla_types::{MonoTime, NodeId, Offset, ReplicaKey, Uuid};

use super::super::mutant::Mutant;
use super::super::voters::BEFORE_LOG;
use super::super::{
    CallId, Core, CoreConfig, Peer, Request, RequestId, Restored, Timeouts, Token, VoterHistory,
    VoterSet,
};
use super::disk::{Disk, Flush};

/// How the voters are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VotersFrom {
    /// The configuration: `kraft.version` 0, voters without directory ids.
    Config,
    /// The 0-0 snapshot: `kraft.version` 1.
    Snapshot,
}

/// What is the same for all replicas of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) voters: Vec<NodeId>,
    pub(super) voters_from: VotersFrom,
    pub(super) mutant: Option<Mutant>,
}

impl Plan {
    pub(super) fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id)
    }

    fn voter_set(&self) -> VoterSet {
        let voter = |id: &NodeId| Voter {
            voter_id: *id,
            voter_directory_id: match self.voters_from {
                VotersFrom::Config => Uuid::ZERO,
                VotersFrom::Snapshot => key(*id).directory_id,
            },
            endpoints: vec![endpoint(*id)],
            k_raft_version_feature: kraft_versions(),
        };
        self.voters.iter().map(voter).collect()
    }

    /// Control records of a snapshot.
    pub(super) fn snapshot_records(&self) -> Vec<ControlRecord> {
        match self.voters_from {
            VotersFrom::Config => Vec::new(),
            VotersFrom::Snapshot => vec![
                ControlRecord::KRaftVersion(KRaftVersion { version: 0, k_raft_version: 1 }),
                ControlRecord::Voters(self.voter_set().to_record()),
            ],
        }
    }

    fn history(&self, disk: &Disk) -> VoterHistory {
        let mut history = match self.voters_from {
            VotersFrom::Config => VoterHistory::new(self.voter_set()),
            VotersFrom::Snapshot => VoterHistory::default(),
        };
        let snapshot = disk.log.snapshots.map_or(Offset::ZERO, |range| range.earliest.offset);
        let at = if snapshot == Offset::ZERO { BEFORE_LOG } else { Offset(snapshot.0 - 1) };
        for record in self.snapshot_records() {
            history.record(at, &record);
        }
        for (offset, record) in disk.log.batches.iter().flat_map(|batch| &batch.control) {
            history.record(*offset, record);
        }
        history
    }
}

/// The key of a replica: its directory is told from its id.
pub(super) fn key(id: NodeId) -> ReplicaKey {
    let mut directory = [0x40; 16];
    directory[15] = id.0 as u8;
    ReplicaKey { id, directory_id: Uuid(directory) }
}

fn endpoint(id: NodeId) -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: format!("n{id}"), port: 9093 }
}

fn kraft_versions() -> KRaftVersionRange {
    KRaftVersionRange { min_supported_version: 0, max_supported_version: 1 }
}

/// Who asked, and what; an answer goes back there.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) by: NodeId,
    pub(super) life: u32,
    pub(super) call: CallId,
    pub(super) request: Request,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    /// `None` while it is down.
    pub(super) core: Option<Core>,
    pub(super) disk: Disk,
    /// Counts its starts.
    pub(super) life: u32,
    /// Requests that it has not answered.
    pub(super) asked: BTreeMap<RequestId, Asked>,
    pub(super) flushes: Vec<Flush>,
    /// Records of the proposals that wait for their offsets.
    pub(super) proposals: BTreeMap<Token, u32>,
    /// High watermark of this life.
    pub(super) committed: Option<Offset>,
    /// Whether it can only answer votes of versions without pre-vote.
    pub(super) old_votes: bool,
}

impl Node {
    pub(super) fn new(id: NodeId) -> Node {
        Node {
            id,
            core: None,
            disk: Disk::default(),
            life: 0,
            asked: BTreeMap::new(),
            flushes: Vec::new(),
            proposals: BTreeMap::new(),
            committed: None,
            old_votes: false,
        }
    }

    /// Starts from what is on disk.
    pub(super) fn start(&mut self, plan: &Plan, seed: u64, now: MonoTime) {
        assert!(self.core.is_none(), "it is down");
        self.life += 1;
        let others = plan.voters.iter().filter(|id| **id != self.id);
        let config = CoreConfig {
            me: key(self.id),
            cluster_id: "cluster".into(),
            listeners: vec![endpoint(self.id)],
            kraft_versions: kraft_versions(),
            can_become_voter: plan.is_voter(self.id),
            bootstrap: others.map(|id| Peer::Node(*id)).collect(),
            timeouts: Timeouts::default(),
            seed,
            mutant: plan.mutant,
        };
        let restored = Restored {
            election: self.disk.election,
            log: self.disk.log.shape(),
            voters: plan.history(&self.disk),
        };
        self.core = Some(Core::new(config, restored, now));
    }

    /// Loses all but what is on disk; of what was not flushed, the first writes survive.
    pub(super) fn crash(&mut self, survivors: usize) {
        self.core = None;
        self.flushes.clear();
        self.proposals.clear();
        self.committed = None;
        self.disk.crash(survivors);
    }

    pub(super) fn core(&self) -> &Core {
        self.core.as_ref().expect("it is up")
    }
}
