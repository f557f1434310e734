//! The loop of the driver.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ottla_runtime::{Plane, Runtime, SyncPoint};
use ottla_storage::{DirHealth, LogError};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::{mpsc, oneshot};

use super::durable_point::DurablePoint;
use super::events::QuorumEvent;
use super::handle::{
    Answered, Command, QuorumDescription, QuorumHandle, REQUESTS_MAX, Replies, Status, Transport,
};
use super::metadata_log::MetadataLog;
use super::restore::{QuorumError, QuorumSetup, restore};
use super::snapshotting::SnapshotKeeper;
use crate::core::{
    Core, Effect, ElectionState, FetchOutcome, Input, LogMark, Payload, Proposal, ReplicaProgress,
    Reply, ReplyBody, RequestId, Served, Token,
};
use crate::quorum_state::{self, Format};

/// Pause before a write is tried again that found no room.
const ROOM_RETRY: Duration = Duration::from_millis(100);
/// Inputs taken before their effects are performed.
const TURN_MAX: usize = 256;

pub(super) struct Driver {
    pub(super) runtime: Runtime,
    pub(super) core: Core,
    pub(super) log: MetadataLog,
    pub(super) snapshots: SnapshotKeeper,
    pub(super) durable: DurablePoint,
    quorum_state: PathBuf,
    pub(super) health: Arc<DirHealth>,
    transport: Box<dyn Transport>,
    requests: mpsc::Receiver<Command>,
    own: mpsc::UnboundedReceiver<Command>,
    pub(super) handle: QuorumHandle,
    events: mpsc::UnboundedSender<QuorumEvent>,
    /// Requests of other replicas that are not answered yet, with the bytes they may be given.
    open: BTreeMap<RequestId, (u64, oneshot::Sender<Answered>)>,
    /// Records of proposals that the core has not placed yet.
    proposed: BTreeMap<Token, Vec<Vec<u8>>>,
    next_id: u64,
    /// The newest flush asked for; and whether one is under way.
    flush_wanted: Option<LogMark>,
    flushing: bool,
    /// End of what was told as committed.
    pub(super) told: Offset,
    /// This replica leads, which is told when everything before `start` was.
    to_be_told: Option<(LeaderEpoch, Offset)>,
    shutdown: Option<oneshot::Sender<()>>,
}

/// Whether the driver goes on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// Opens the log and starts the driver on the control plane. What is told to `events` begins with
/// the newest snapshot, if there is one.
///
/// # Errors
/// Why the quorum cannot start.
pub async fn start(
    runtime: &Runtime,
    setup: QuorumSetup,
    health: Arc<DirHealth>,
    transport: Box<dyn Transport>,
    events: mpsc::UnboundedSender<QuorumEvent>,
) -> Result<QuorumHandle, QuorumError> {
    let (dir, retention) = (setup.dir.clone(), setup.retention);
    let durable = DurablePoint::new(setup.points.clone(), setup.durable);
    let opener = runtime.clone();
    let found = runtime.blocking(Plane::Control, move || restore(&opener, &setup)).await?;
    let (requests, requests_in) = mpsc::channel(REQUESTS_MAX);
    let (own, own_in) = mpsc::unbounded_channel();
    let handle = QuorumHandle { requests, own, status: Arc::new(RwLock::new(Status::default())) };
    let newest = found.snapshots.newest;
    let told = newest.as_ref().map_or(Offset::ZERO, |(id, _)| id.offset);
    if let Some((id, bytes)) = newest {
        // The receiver is there before the driver starts.
        let _ = events.send(QuorumEvent::Snapshot { id, bytes });
    }
    let driver = Driver {
        core: Core::new(found.config, found.restored, runtime.clock().now()),
        runtime: runtime.clone(),
        log: found.log,
        durable,
        snapshots: SnapshotKeeper::new(found.snapshots.all, retention, runtime.clock().now()),
        quorum_state: dir.join(quorum_state::FILE_NAME),
        health,
        transport,
        requests: requests_in,
        own: own_in,
        handle: handle.clone(),
        events,
        open: BTreeMap::new(),
        proposed: BTreeMap::new(),
        next_id: 0,
        flush_wanted: None,
        flushing: false,
        told,
        to_be_told: None,
        shutdown: None,
    };
    runtime.spawn_vital(Plane::Control, "quorum", driver.run());
    Ok(handle)
}

impl Driver {
    async fn run(mut self) {
        let mut effects = Vec::new();
        self.core.step(self.runtime.clock().now(), Input::Tick, &mut effects);
        loop {
            match self.perform(std::mem::take(&mut effects)).await {
                Ok(Next::GoOn) => {}
                Ok(Next::End) => return,
                Err(error) => return self.health.fence(format!("metadata log: {error}")),
            }
            let command = self.next_command().await;
            self.note_durable_if_due();
            self.take(command, &mut effects);
            for _ in 1..TURN_MAX {
                // Nothing may come between this and its performance.
                if effects.iter().any(|effect| matches!(effect, Effect::InstallSnapshot(_))) {
                    break;
                }
                let Ok(command) = self.own.try_recv().or_else(|_| self.requests.try_recv()) else {
                    break;
                };
                self.take(Some(command), &mut effects);
            }
        }
    }

    /// The next command; `None` when the core's deadline comes first. Cancel safe.
    async fn next_command(&mut self) -> Option<Command> {
        let clock = self.runtime.clock();
        let own = self.snapshots.clean_at().into_iter().chain(self.durable.at());
        let deadline = self.core.deadline().into_iter().chain(own).min();
        let tick = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // Both senders live in the handle that the driver holds itself.
            command = self.own.recv() => command,
            command = self.requests.recv() => command,
            () = tick => None,
        }
    }

    fn take(&mut self, command: Option<Command>, effects: &mut Vec<Effect>) {
        let input = match command {
            None => self.clean_if_due().unwrap_or(Input::Tick),
            Some(Command::Request { cluster_id, request, bytes_max, reply }) => {
                let id = RequestId(self.fresh_id());
                self.open.insert(id, (bytes_max, reply));
                Input::Request { id, cluster_id, request }
            }
            Some(Command::Propose { epoch, values }) => {
                let token = Token(self.fresh_id());
                let records = u32::try_from(values.len()).expect("operations are bounded");
                self.proposed.insert(token, values);
                Input::Propose(Proposal { token, epoch, records })
            }
            Some(Command::Response { call, response }) => Input::Response { call, response },
            Some(Command::Flushed { mark, end }) => {
                self.flushing = false;
                // Behind a truncation, other records may stand below the same end.
                if self.core.log().is_current(mark) {
                    self.log.finish_flush(end);
                }
                Input::Flushed(mark)
            }
            Some(Command::Snapshot(request)) => {
                self.begin_snapshot(request);
                Input::Tick
            }
            Some(Command::SnapshotWritten(written)) => {
                self.snapshot_written(written).unwrap_or(Input::Tick)
            }
            Some(Command::Describe { reply }) => {
                // Whoever asked may be gone.
                let _ = reply.send(self.describe());
                Input::Tick
            }
            Some(Command::Shutdown { done }) => {
                self.shutdown = Some(done);
                Input::Shutdown
            }
        };
        self.core.step(self.runtime.clock().now(), input, effects);
    }

    fn describe(&self) -> Option<QuorumDescription> {
        let voters = self.core.voter_progress()?;
        let endpoints = |voter: &ReplicaProgress| {
            let id = voter.replica.id;
            (id, self.core.voters().endpoints(id).to_vec())
        };
        Some(QuorumDescription {
            leader: self.core.me().id,
            epoch: self.core.epoch(),
            high_watermark: self.core.high_watermark(),
            endpoints: voters.iter().map(endpoints).collect(),
            voters,
            observers: self.core.observer_progress(self.runtime.clock().now())?,
        })
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<Next, LogError> {
        let mut next = Next::GoOn;
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::PersistQuorumState(election) => self.write_quorum_state(election).await?,
                Effect::Append { base_offset, epoch, payload } => {
                    self.append(base_offset, epoch, payload).await?;
                }
                Effect::AppendFetched { bytes, .. } => {
                    let now = self.runtime.clock().wall();
                    while let Err(error) = self.log.append_fetched(&bytes, now) {
                        self.wait_for_room(error).await?;
                    }
                }
                Effect::ShutdownComplete => next = Next::End,
                Effect::InstallSnapshot(id) => {
                    let installed = self.install_snapshot(id).await?;
                    let mut more = Vec::new();
                    self.core.step(self.runtime.clock().now(), installed, &mut more);
                    effects.extend(more);
                }
                other => self.perform_now(other)?,
            }
        }
        self.tell_leadership();
        self.flush_if_wanted()?;
        if next == Next::End {
            while let Err(error) = self.log.close() {
                self.wait_for_room(error).await?;
            }
            self.note_durable_at_stop()?;
            if let Some(done) = self.shutdown.take() {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
        Ok(next)
    }

    /// Performs an effect that needs no waiting.
    fn perform_now(&mut self, effect: Effect) -> Result<(), LogError> {
        match effect {
            Effect::TruncateTo(end) => self.log.truncate_to(end)?,
            Effect::Flush(mark) => self.flush_wanted = Some(mark),
            Effect::SendRequest { to, call, request } => {
                let endpoints = match to {
                    crate::core::Peer::Node(id) => self.core.endpoints(id).to_vec(),
                    crate::core::Peer::Bootstrap(_) => Vec::new(),
                };
                let replies = Replies { call, own: self.handle.own.clone() };
                self.transport.send(to, &endpoints, request, replies);
            }
            Effect::Answer { id, reply } => self.answer(id, reply)?,
            Effect::HighWatermark(end) => {
                self.durable_point_grew();
                self.tell_committed(end)?;
            }
            Effect::LeaderChanged(current) => {
                let kraft_version = self.core.kraft_version();
                let status = Status { current, kraft_version };
                *self.handle.status.write().expect("never poisoned") = status;
                let (epoch, leader) = (current.epoch.0, current.leader.map(|leader| leader.0));
                tracing::info!(epoch, leader, "metadata quorum");
            }
            Effect::BecameLeader { epoch, start } => self.to_be_told = Some((epoch, start)),
            Effect::LostLeadership { epoch } => self.tell_lost(epoch),
            // The proposer is the only one and counts offsets itself.
            Effect::ProposalAccepted { .. } => {}
            Effect::ProposalRejected { token, .. } => {
                self.proposed.remove(&token);
            }
            Effect::WriteSnapshot(chunk) => self.write_chunk(&chunk)?,
            Effect::PersistQuorumState(_)
            | Effect::InstallSnapshot(_)
            | Effect::ShutdownComplete
            | Effect::Append { .. }
            | Effect::AppendFetched { .. } => unreachable!("performed by the caller"),
        }
        Ok(())
    }

    async fn append(
        &mut self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        payload: Payload,
    ) -> Result<(), LogError> {
        let now = self.runtime.clock().wall();
        let values = match &payload {
            Payload::Control(_) => Vec::new(),
            Payload::Proposal(token) => self.proposed.remove(token).expect("placed once"),
        };
        loop {
            let appended = match &payload {
                Payload::Control(records) => {
                    self.log.append_control(base_offset, epoch, now, records)
                }
                Payload::Proposal(_) => self.log.append_data(base_offset, epoch, now, &values),
            };
            match appended {
                Err(error) => self.wait_for_room(error).await?,
                done => return done,
            }
        }
    }

    /// After a write that found no room and changed nothing: uses what is kept for that, else waits
    /// for a while. The core has placed what is to be written: there is no way around it.
    ///
    /// # Errors
    /// `error`, when it is another one.
    async fn wait_for_room(&mut self, error: LogError) -> Result<(), LogError> {
        if !error.is_disk_full() {
            return Err(error);
        }
        if !self.health.make_room() {
            tracing::warn!(%error, "the metadata log waits for room");
            self.runtime.clock().sleep(ROOM_RETRY).await;
        }
        Ok(())
    }

    /// Nothing behind this effect may happen before the file is durable.
    async fn write_quorum_state(&mut self, election: ElectionState) -> Result<(), LogError> {
        let voters: Vec<_> = self.core.voters().keys().map(|key| key.id).collect();
        let format = match self.core.kraft_version() {
            0 => Format::V0 { voters: &voters },
            _ => Format::V1,
        };
        let text = quorum_state::encode(&election, format);
        loop {
            let (disk, path) = (self.runtime.disk().clone(), self.quorum_state.clone());
            let text = text.clone();
            let work = move || {
                let (file, dir) = (SyncPoint::QuorumStateFile, SyncPoint::QuorumStateDir);
                let written = disk.write_atomically(&path, text.as_bytes(), Some(file), Some(dir));
                written.map_err(|source| LogError::Io { path, source })
            };
            match self.runtime.blocking(Plane::Control, work).await {
                Err(error) => self.wait_for_room(error).await?,
                done => return done,
            }
        }
    }

    fn answer(&mut self, id: RequestId, mut reply: Reply<Served>) -> Result<(), LogError> {
        let Some((bytes_max, to)) = self.open.remove(&id) else { return Ok(()) };
        if let (ErrorCode::None, ReplyBody::FetchSnapshot(chunk)) = (reply.error, &mut reply.body) {
            reply.error = self.fill_chunk(chunk, bytes_max)?;
        }
        let records = match &reply.body {
            ReplyBody::Fetch(fetch) => match &fetch.outcome {
                FetchOutcome::Records(served) if served.from < served.to => {
                    self.log.read(served.from, served.to, bytes_max)?
                }
                _ => bytes::Bytes::new(),
            },
            _ => bytes::Bytes::new(),
        };
        let leader = reply.current.leader;
        let leader_endpoints = leader.map(|id| self.core.endpoints(id).to_vec());
        let leader_endpoints = leader_endpoints.unwrap_or_default();
        // Whoever asked may be gone.
        let _ = to.send(Answered { reply, records, leader_endpoints });
        Ok(())
    }

    fn tell_committed(&mut self, end: Offset) -> Result<(), LogError> {
        while self.told < end {
            let batches = self.log.read_batches(self.told, end)?;
            let Some(last) = batches.last() else { break };
            self.told = last.header.next_offset();
            self.tell(QuorumEvent::Committed(batches));
        }
        Ok(())
    }

    /// Tells that this replica leads, once everything before its epoch was told.
    fn tell_leadership(&mut self) {
        if let Some((epoch, start)) = self.to_be_told
            && self.told >= start
        {
            self.to_be_told = None;
            self.tell(QuorumEvent::Leader { epoch, next_offset: self.log.end() });
        }
    }

    fn tell_lost(&mut self, epoch: LeaderEpoch) {
        if self.to_be_told.take().is_none() {
            self.tell(QuorumEvent::LostLeadership { epoch });
        }
    }

    pub(super) fn tell(&self, event: QuorumEvent) {
        // The one who follows the log is a vital task: it is there as long as the process.
        let _ = self.events.send(event);
    }

    /// Begins a flush unless one is under way; what is asked for meanwhile shares the next.
    fn flush_if_wanted(&mut self) -> Result<(), LogError> {
        if self.flushing {
            return Ok(());
        }
        let Some(mark) = self.flush_wanted.take() else { return Ok(()) };
        self.flushing = true;
        let Some(job) = self.log.start_flush()? else {
            let _ = self.handle.own.send(Command::Flushed { mark, end: self.log.end() });
            return Ok(());
        };
        let (runtime, health) = (self.runtime.clone(), self.health.clone());
        let own = self.handle.own.clone();
        let end = job.end;
        let task = async move {
            match runtime.blocking(Plane::Control, move || job.run()).await {
                // The driver may have ended meanwhile.
                Ok(()) => drop(own.send(Command::Flushed { mark, end })),
                Err(error) => health.fence(format!("metadata log: {error}")),
            }
        };
        self.runtime.spawn(Plane::Control, "flush metadata log", task);
        Ok(())
    }
}
