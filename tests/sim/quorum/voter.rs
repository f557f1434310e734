//! A voter's process: the driver as the product runs it, and one who follows and feeds its log.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_protocol::control::{ControlRecord, KRaftVersionRange, Voter as VoterRecord, Voters};
use ottla_raft::core::{Timeouts, VoterHistory, VoterSet};
use ottla_raft::driver::{QuorumEvent, QuorumHandle, QuorumSetup, start};
use ottla_runtime::sim::SimNode;
use ottla_runtime::{Plane, Runtime, SyncPoint};
use ottla_storage::{DirHealth, LogOptions, SyncPoints};
use ottla_types::{LeaderEpoch, NodeId, Offset, ReplicaKey, Uuid};
use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::network::{CLUSTER, Link, Network};
use crate::dice::Dice;
use crate::findings::Findings;

/// Directory of the metadata log.
const DIR: &str = "/__cluster_metadata-0";

/// What all voters of a world have in common. Copies share it.
#[derive(Clone)]
pub struct Quorum {
    pub dice: Dice,
    pub findings: Findings,
    pub network: Network,
    pub log: TopicConfig,
    pub timeouts: Timeouts,
    ledger: Arc<Mutex<Ledger>>,
}

/// One of the voters.
pub struct Voter {
    pub id: NodeId,
    pub machine: SimNode,
    quorum: Quorum,
    /// End of what this process has told as committed.
    told: Arc<Mutex<Offset>>,
}

impl Quorum {
    pub fn new(dice: Dice, findings: Findings, log: TopicConfig, timeouts: Timeouts) -> Quorum {
        let network = Network::new(dice.clone());
        Quorum { dice, findings, network, log, timeouts, ledger: Arc::default() }
    }

    /// The common memory. Never held over an `await`.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("the ledger does not panic")
    }

    fn check(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.findings.violated(what);
        }
    }
}

impl Voter {
    /// A voter with an empty, durable directory.
    pub fn new(id: NodeId, machine: SimNode, quorum: Quorum) -> Voter {
        let disk = Runtime::simulated(&machine).disk().clone();
        let made = disk.create_dir(&PathBuf::from(DIR));
        made.and_then(|()| disk.sync_dir(&PathBuf::from("/"), SyncPoint::FormatDir))
            .expect("nothing is planned for the disk yet");
        Voter { id, machine, quorum, told: Arc::default() }
    }

    /// End of what the running process has told as committed.
    pub fn told(&self) -> Offset {
        *self.told.lock().expect("a number")
    }

    /// Starts the process.
    pub fn start(&self) {
        let runtime = Runtime::simulated(&self.machine);
        *self.told.lock().expect("a number") = Offset::ZERO;
        let process = Process {
            id: self.id,
            quorum: self.quorum.clone(),
            runtime: runtime.clone(),
            told: self.told.clone(),
            leads: None,
        };
        runtime.spawn(Plane::Control, "voter", process.run(self.setup()));
        self.quorum.findings.count(|stats| stats.starts += 1);
    }

    fn setup(&self) -> QuorumSetup {
        let voters = [1, 2, 3].map(|id| VoterRecord {
            voter_id: NodeId(id),
            voter_directory_id: Uuid::ZERO,
            endpoints: Vec::new(),
            k_raft_version_feature: KRaftVersionRange {
                min_supported_version: 0,
                max_supported_version: 1,
            },
        });
        let mut history = VoterHistory::new(VoterSet::default());
        let record = ControlRecord::Voters(Voters { version: 0, voters: voters.to_vec() });
        history.record(Offset::ZERO, &record);
        let log = self.quorum.log.clone();
        QuorumSetup {
            dir: PathBuf::from(DIR),
            cluster_id: CLUSTER.to_owned(),
            me: ReplicaKey { id: self.id, directory_id: Uuid::METADATA_TOPIC },
            listeners: Vec::new(),
            alone: false,
            static_voters: history.voters().clone(),
            timeouts: self.quorum.timeouts,
            log: LogOptions { config: log, sync_points: SyncPoints::METADATA },
        }
    }
}

struct Process {
    id: NodeId,
    quorum: Quorum,
    runtime: Runtime,
    told: Arc<Mutex<Offset>>,
    leads: Option<LeaderEpoch>,
}

impl Process {
    async fn run(mut self, setup: QuorumSetup) {
        let (events, mut events_in) = mpsc::unbounded_channel();
        let link = Link {
            me: self.id,
            runtime: self.runtime.clone(),
            network: self.quorum.network.clone(),
            request_timeout: setup.timeouts.request,
        };
        let health = Arc::new(DirHealth::default());
        let started = start(&self.runtime, setup, health.clone(), Box::new(link), events).await;
        let handle = match started {
            Ok(handle) => handle,
            // The simulated disk says so of a process that was ended meanwhile.
            Err(error) if error.to_string().contains("the simulated node") => return,
            Err(error) => {
                let id = self.id;
                return self.quorum.findings.violated(format!("{id} did not start: {error}"));
            }
        };
        self.quorum.network.join(self.id, handle.clone());
        loop {
            let idle = Duration::from_millis(self.quorum.dice.between(1, 30));
            match self.runtime.clock().timeout(idle, events_in.recv()).await {
                Some(Some(event)) => self.notice(event),
                Some(None) => return,
                None => self.propose(&handle),
            }
        }
    }

    fn propose(&self, handle: &QuorumHandle) {
        let Some(epoch) = self.leads else { return };
        let dice = &self.quorum.dice;
        let values = (0..dice.between(1, 3))
            .map(|_| {
                let mut value = dice.below(u64::MAX).to_be_bytes().to_vec();
                value.resize(dice.between(8, 200) as usize, 7);
                value
            })
            .collect();
        handle.propose(epoch, values);
    }

    fn notice(&mut self, event: QuorumEvent) {
        match event {
            QuorumEvent::Snapshot { .. } => {
                self.quorum.findings.violated("a snapshot that nobody wrote");
            }
            QuorumEvent::Leader { epoch, next_offset } => {
                self.quorum.findings.note(|| format!("{} leads epoch {epoch}", self.id));
                self.quorum.findings.count(|stats| stats.elections += 1);
                let led = self.quorum.ledger().leads(self.id, epoch, next_offset);
                self.quorum.check(led);
                self.leads = Some(epoch);
            }
            QuorumEvent::LostLeadership { .. } => self.leads = None,
            QuorumEvent::Committed(batches) => {
                for batch in batches {
                    self.committed(&batch);
                }
            }
        }
    }

    fn committed(&self, batch: &ottla_raft::driver::CommittedBatch) {
        let (first, epoch) = (batch.header.base_offset, batch.header.leader_epoch);
        let mut told = self.told.lock().expect("a number");
        if first != *told {
            let (id, told) = (self.id, *told);
            self.quorum.findings.violated(format!("{id} tells {first} behind {told}"));
        }
        *told = batch.header.next_offset();
        self.quorum.findings.count(|stats| stats.acknowledged += 1);
        match batch.values() {
            // A control record.
            Ok(values) if values.is_empty() => {
                let noted = self.quorum.ledger().committed(self.id, first, epoch, b"");
                self.quorum.check(noted);
            }
            Ok(values) => {
                for (offset, value) in (first.0..).map(Offset).zip(values) {
                    let noted = self.quorum.ledger().committed(self.id, offset, epoch, value);
                    self.quorum.check(noted);
                }
            }
            Err(error) => self.quorum.findings.violated(format!("{}: {error:?}", self.id)),
        }
    }
}
