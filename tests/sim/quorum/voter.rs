//! A voter's process: the driver as the product runs it, and one who follows and feeds its log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_protocol::control::{ControlRecord, KRaftVersionRange, Voter as VoterRecord, Voters};
use ottla_raft::core::{OffsetAndEpoch, Timeouts, VoterHistory, VoterSet};
use ottla_raft::driver::{
    QuorumEvent, QuorumHandle, QuorumSetup, SnapshotRequest, SnapshotRetention, start,
};
use ottla_raft::snapshot::{
    SnapshotBatch, SnapshotFile, SnapshotReader, SnapshotStart, SnapshotWriter,
};
use ottla_runtime::sim::SimNode;
use ottla_runtime::{Disk, Plane, Runtime, SyncPoint};
use ottla_storage::{DirHealth, LogOptions, RecoveryPoints, SyncPoints};
use ottla_types::{LeaderEpoch, NodeId, Offset, ReplicaKey, Timestamp, Uuid};
use tokio::sync::mpsc;

use super::ledger::{Ledger, State, replay};
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
    /// How many voters there are.
    pub voters: i32,
    /// Whether the log names the voters (`kraft.version` 1), or the configuration.
    pub dynamic: bool,
    /// What is kept of snapshots.
    pub retention: SnapshotRetention,
    /// Percentage of idle moments in which a voter takes a snapshot.
    pub snapshot_percent: u64,
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
        let bytes = dice.pick(&[None, Some(0), Some(2_000), Some(10_000)]);
        Quorum {
            network: Network::new(dice.clone()),
            findings,
            log,
            timeouts,
            // Of a voter that is alone nothing may be lost that it called committed.
            voters: dice.pick(&[3, 3, 1]),
            dynamic: dice.chance(50),
            retention: SnapshotRetention { bytes, age: None },
            snapshot_percent: dice.pick(&[0, 2, 10, 30]),
            ledger: Arc::default(),
            dice,
        }
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
        let formatted = made.and_then(|()| {
            if quorum.dynamic {
                write_first_snapshot(&disk, quorum.voters)?;
            }
            disk.sync_dir(&PathBuf::from("/"), SyncPoint::FormatDir)
        });
        formatted.expect("nothing is planned for the disk yet");
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
            state: State::new(),
            last: None,
        };
        runtime.spawn(Plane::Control, "voter", process.run(self.setup()));
        self.quorum.findings.count(|stats| stats.starts += 1);
    }

    fn setup(&self) -> QuorumSetup {
        let mut history = VoterHistory::new(VoterSet::default());
        if !self.quorum.dynamic {
            // A static voter is known by its id alone.
            let record = ControlRecord::Voters(all_voters(self.quorum.voters, Uuid::ZERO));
            history.record(Offset::ZERO, &record);
        }
        let log = self.quorum.log.clone();
        let disk = Runtime::simulated(&self.machine).disk().clone();
        let points = Arc::new(RecoveryPoints::new(&disk, Path::new("/")));
        QuorumSetup {
            dir: PathBuf::from(DIR),
            cluster_id: CLUSTER.to_owned(),
            me: ReplicaKey { id: self.id, directory_id: Uuid::METADATA_TOPIC },
            listeners: Vec::new(),
            alone: false,
            static_voters: history.voters().clone(),
            timeouts: self.quorum.timeouts,
            log: LogOptions::new(log, SyncPoints::METADATA),
            retention: self.quorum.retention,
            durable: points.metadata().expect("a power cut leaves it whole"),
            points,
            in_order: false,
        }
    }
}

fn all_voters(count: i32, directory_id: Uuid) -> Voters {
    let voters = (1..=count).map(|id| VoterRecord {
        voter_id: NodeId(id),
        voter_directory_id: directory_id,
        endpoints: Vec::new(),
        k_raft_version_feature: KRaftVersionRange {
            min_supported_version: 0,
            max_supported_version: 1,
        },
    });
    Voters { version: 0, voters: voters.collect() }
}

/// What a directory of a dynamic quorum is formatted with.
fn write_first_snapshot(disk: &Disk, voters: i32) -> std::io::Result<()> {
    let (dir, id, now) = (PathBuf::from(DIR), OffsetAndEpoch::default(), Timestamp(0));
    let voters = Some((1, all_voters(voters, Uuid::METADATA_TOPIC)));
    let start = SnapshotStart { id, last_contained_log_timestamp: now, voters };
    let mut file = SnapshotFile::create(disk, &dir, id)?;
    file.append(&SnapshotWriter::new(&start, 1_000, now).finish(now))?;
    file.finish(SyncPoint::SnapshotFile, Some(SyncPoint::FormatMetadataDir))
}

struct Process {
    id: NodeId,
    quorum: Quorum,
    runtime: Runtime,
    told: Arc<Mutex<Offset>>,
    leads: Option<LeaderEpoch>,
    /// What snapshot and log made.
    state: State,
    /// Epoch and time of the last batch.
    last: Option<(LeaderEpoch, Timestamp)>,
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
                None => {
                    self.propose(&handle);
                    self.take_snapshot(&handle);
                }
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

    /// Asks for a snapshot of what this process was told.
    fn take_snapshot(&self, handle: &QuorumHandle) {
        let Some((epoch, timestamp)) = self.last else { return };
        if !self.quorum.dice.chance(self.quorum.snapshot_percent) {
            return;
        }
        let (state, offset) = (self.state.clone(), *self.told.lock().expect("a number"));
        handle.snapshot(SnapshotRequest {
            id: OffsetAndEpoch { offset, epoch },
            timestamp,
            records: Box::new(move |out| {
                for (at, value) in state.values() {
                    out(&[&at.0.to_be_bytes()[..], value].concat());
                }
            }),
        });
    }

    /// Begins anew with a snapshot.
    fn load(&mut self, id: OffsetAndEpoch, bytes: &[u8]) {
        let mut state = State::new();
        for batch in SnapshotReader::new(bytes) {
            let SnapshotBatch::Data(values) = batch.expect("the driver checks it") else {
                continue;
            };
            for value in values {
                let (at, value) = value.split_at(8);
                let at = Offset(i64::from_be_bytes(at.try_into().expect("eight bytes")));
                replay(&mut state, at, value);
            }
        }
        let loaded = self.quorum.ledger().loaded(self.id, id.offset, &state);
        self.quorum.check(loaded);
        self.quorum.findings.note(|| format!("{} loads snapshot {id:?}", self.id));
        self.state = state;
        let mut told = self.told.lock().expect("a number");
        if *told > id.offset {
            self.quorum.findings.violated(format!("{} goes back from {told} to {id:?}", self.id));
        }
        *told = id.offset;
    }

    fn notice(&mut self, event: QuorumEvent) {
        match event {
            QuorumEvent::Snapshot { id, bytes } => self.load(id, &bytes),
            QuorumEvent::SnapshotDone => {}
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

    fn committed(&mut self, batch: &ottla_raft::driver::CommittedBatch) {
        let (first, epoch) = (batch.header.base_offset, batch.header.leader_epoch);
        let mut told = self.told.lock().expect("a number");
        if first != *told {
            let (id, told) = (self.id, *told);
            self.quorum.findings.violated(format!("{id} tells {first} behind {told}"));
        }
        *told = batch.header.next_offset();
        drop(told);
        self.last = Some((epoch, batch.header.max_timestamp));
        self.quorum.findings.count(|stats| stats.acknowledged += 1);
        match batch.values() {
            // Control records.
            Ok(values) if values.is_empty() => {
                for offset in (first.0..batch.header.next_offset().0).map(Offset) {
                    let noted = self.quorum.ledger().committed(self.id, offset, epoch, b"");
                    self.quorum.check(noted);
                }
            }
            Ok(values) => {
                for (offset, value) in (first.0..).map(Offset).zip(values) {
                    replay(&mut self.state, offset, value);
                    let noted = self.quorum.ledger().committed(self.id, offset, epoch, value);
                    self.quorum.check(noted);
                }
            }
            Err(error) => self.quorum.findings.violated(format!("{}: {error:?}", self.id)),
        }
    }
}
