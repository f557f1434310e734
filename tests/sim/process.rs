//! The broker's process on its simulated machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_node::{NodeParts, run};
use ottla_replication::Replicas;
use ottla_runtime::sim::SimNode;
use ottla_runtime::{Disk, Plane, Runtime};
use ottla_storage::PartitionDirName;
use ottla_types::TopicIdPartition;
use tokio::sync::watch;

use crate::findings::Findings;

/// Virtual time within which a broker must be ready, and must stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It starts.
    Starting,
    /// Its logs are open.
    Open,
    /// It has ended by itself; `Err` is what it told its operator.
    Ended(Result<(), String>),
    /// It was ended by a planned fault.
    Died,
}

/// A process that was started.
pub struct Process {
    machine: SimNode,
    state: watch::Receiver<State>,
    /// The partitions whose logs it opened.
    held: Arc<Mutex<Vec<TopicIdPartition>>>,
}

impl Process {
    /// Starts a broker.
    pub fn start(machine: &SimNode, config: NodeConfig, findings: &Findings) -> Process {
        Process::of_parts(machine, NodeParts::new(config), findings)
    }

    /// Starts a broker made of these parts.
    pub fn of_parts(machine: &SimNode, mut parts: NodeParts, findings: &Findings) -> Process {
        let (state_in, state) = watch::channel(State::Starting);
        let runtime = Runtime::simulated(machine);
        let (opened, findings) = (state_in.clone(), findings.clone());
        let held: Arc<Mutex<Vec<TopicIdPartition>>> = Arc::default();
        let (holds, disk) = (held.clone(), runtime.disk().clone());
        parts.on_open = Box::new(move |replicas| {
            look_into_logs(replicas, &findings);
            look_for_second_logs(&disk, &findings);
            let ids = replicas.all().iter().map(|partition| partition.id()).collect();
            *holds.lock().expect("a list") = ids;
            opened.send_replace(State::Open);
        });
        let node = run(runtime.clone(), parts);
        runtime.spawn(Plane::Control, "node", async move {
            let ended = node.await.map(|_| ()).map_err(|error| error.to_string());
            state_in.send_replace(State::Ended(ended));
        });
        Process { machine: machine.clone(), state, held }
    }

    /// The partitions that it held when it was ready.
    pub fn held(&self) -> Vec<TopicIdPartition> {
        self.held.lock().expect("a list").clone()
    }

    /// Waits until the process is open, has ended or has died; `None` when it takes too long.
    pub async fn settled(&mut self) -> Option<State> {
        let started = async {
            tokio::select! {
                biased;
                () = self.machine.died() => State::Died,
                state = self.state.wait_for(|state| *state != State::Starting) => {
                    state.map_or(State::Died, |state| state.clone())
                }
            }
        };
        Runtime::simulated(&self.machine).clock().timeout(PATIENCE, started).await
    }

    /// Waits until the process has ended by itself or has died, for `wait` at most.
    pub async fn ended_within(&mut self, wait: Duration) -> Option<State> {
        let is_end = |state: &State| matches!(state, State::Ended(_));
        let ended = async {
            tokio::select! {
                biased;
                () = self.machine.died() => State::Died,
                state = self.state.wait_for(is_end) => {
                    state.map_or(State::Died, |state| state.clone())
                }
            }
        };
        Runtime::simulated(&self.machine).clock().timeout(wait, ended).await
    }

    /// Asks it to stop, as SIGTERM does, and waits for its end.
    pub async fn stop(&mut self) -> Option<State> {
        self.machine.request_stop();
        self.ended_within(PATIENCE).await
    }

    /// Whether its directory says that it was closed cleanly.
    pub fn has_stopped_cleanly(&self) -> bool {
        let marker = Path::new("/var/data/.kafka_cleanshutdown");
        Runtime::simulated(&self.machine).disk().exists(marker).unwrap_or(false)
    }
}

/// Recovery must leave logs whose parts agree.
fn look_into_logs(replicas: &Replicas, findings: &Findings) {
    for partition in replicas.all() {
        match partition.inconsistencies() {
            Ok(found) => {
                for what in found {
                    findings.violated(format!("{} after its start: {what}", partition.name()));
                }
            }
            Err(error) => findings.violated(format!("{}: {error:?}", partition.name())),
        }
    }
}

/// A partition has one log, whatever became of its move to another directory.
fn look_for_second_logs(disk: &Disk, findings: &Findings) {
    let mut seen = BTreeMap::new();
    let names = |dir: &Path| disk.list(dir).unwrap_or_default().into_iter();
    for dir in names(Path::new("/var")).filter(|entry| entry.is_dir) {
        let path = Path::new("/var").join(&dir.name);
        for log in names(&path).filter(|entry| entry.is_dir) {
            let Some(PartitionDirName::Log(name)) = PartitionDirName::parse(&log.name) else {
                continue;
            };
            if let Some(other) = seen.insert(name.clone(), path.clone()) {
                let dirs = (other.display(), path.display());
                findings.violated(format!("{name} is in {} and in {}", dirs.0, dirs.1));
            }
        }
    }
}
