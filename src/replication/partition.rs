//! One partition: its lock, its log, its core, and who waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_storage::{
    AppendInfo, AppendRejection, BatchLocation, DirHealth, Extent, FlushJob, IncomingBatch, Log,
    LogError, Origin, ReadLimit,
};
use ottla_types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, Timestamp, TopicIdPartition, TopicPartition,
};
use slab::Slab;
use tokio::sync::oneshot;

use crate::core::LeaderCore;
use crate::fetch_wait::FetchWait;

/// How many replicas must have a batch before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// The leader's log is enough, or nobody waits at all.
    Leader,
    /// All replicas in sync.
    All,
}

/// What a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset, without aborted transactions.
    ReadCommitted,
}

/// Why a partition does not do what it was asked for.
#[derive(Debug)]
pub enum PartitionError {
    /// The client knows an older leader epoch.
    FencedLeaderEpoch,
    /// The client knows a newer leader epoch than this node.
    UnknownLeaderEpoch,
    /// Fewer replicas are in sync than `min.insync.replicas`.
    NotEnoughReplicas,
    /// The data directory is fenced.
    Offline,
    /// The log refused or failed.
    Log(LogError),
}

impl PartitionError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            PartitionError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            PartitionError::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
            PartitionError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            PartitionError::Offline => ErrorCode::KafkaStorageError,
            PartitionError::Log(error) => error.code(),
        }
    }
}

/// Completes when a batch is acknowledged.
pub struct AckWait(oneshot::Receiver<()>);

impl AckWait {
    /// Waits for the acknowledgement. Cancel safe.
    ///
    /// # Errors
    /// `Offline` when the partition is gone: whether the batch survives is not known.
    pub async fn acknowledged(&mut self) -> Result<(), PartitionError> {
        (&mut self.0).await.map_err(|_| PartitionError::Offline)
    }
}

/// An append that was done.
pub struct Appended {
    /// Where the batch is.
    pub info: AppendInfo,
    /// First offset of the log.
    pub log_start: Offset,
    /// What to wait for before the batch is acknowledged; `None` when it is already.
    pub wait: Option<AckWait>,
    /// Whether the caller must start [`crate::Replicas::flush`] for the partition.
    pub start_flush: bool,
}

/// What a fetch asks of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSpec {
    /// First offset wanted.
    pub offset: Offset,
    /// Most bytes.
    pub bytes_max: u64,
    /// Whether the first batch comes whole even if it is longer.
    pub at_least_one: bool,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Leader epoch that the client knows, if it knows one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record that the client has, if it tells.
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// What a partition has for a fetch.
pub struct FetchOutcome {
    /// Where the records are; `None` when there are none yet.
    pub extent: Option<Extent>,
    /// The largest epoch and its end that reader and leader share, when they diverge.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The partition's bounds.
    pub offsets: PartitionOffsets,
}

/// The bounds of a partition: `log_start ≤ last_stable ≤ high_watermark ≤ end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOffsets {
    /// First offset.
    pub log_start: Offset,
    /// End of what a `read_committed` reader may see.
    pub last_stable: Offset,
    /// End of what readers may see.
    pub high_watermark: Offset,
    /// End of the log.
    pub end: Offset,
    /// Epoch of the leader.
    pub leader_epoch: LeaderEpoch,
}

/// A partition that this node leads.
pub struct Partition {
    id: TopicIdPartition,
    name: TopicPartition,
    health: Arc<DirHealth>,
    state: Mutex<State>,
}

struct State {
    log: Log,
    core: LeaderCore,
    /// Size of the ISR and number of replicas, as the metadata says.
    in_sync: usize,
    replicas: usize,
    /// Acks that wait for the high watermark, in the order of their offsets.
    acks: VecDeque<(Offset, oneshot::Sender<()>)>,
    watchers: Slab<(Arc<FetchWait>, usize)>,
    /// Whether a flush task runs; it is the only one.
    flushing: bool,
}

/// Collected under the lock, fired after it.
#[derive(Default)]
struct Wakeups {
    acks: Vec<oneshot::Sender<()>>,
    fetches: Vec<(Arc<FetchWait>, usize)>,
}

impl Wakeups {
    fn fire(self) {
        for ack in self.acks {
            // A receiver that is gone belonged to a connection that is gone.
            let _ = ack.send(());
        }
        for (fetch, slot) in self.fetches {
            fetch.mark(slot);
        }
    }
}

impl Partition {
    /// A partition that this node leads from now on with what is in `log`.
    ///
    /// # Errors
    /// When the new epoch cannot be noted in the log.
    pub fn lead(
        id: TopicIdPartition,
        name: TopicPartition,
        health: Arc<DirHealth>,
        mut log: Log,
        leadership: Leadership,
    ) -> Result<Partition, LogError> {
        log.begin_epoch(leadership.epoch)?;
        let mut core = LeaderCore::new(leadership.epoch, log.end(), log.recovery_point());
        core.set_votes_by_flush(log.config().flush_messages == 1);
        core.advance(log.end(), log.recovery_point());
        let state = State {
            log,
            core,
            in_sync: leadership.in_sync,
            replicas: leadership.replicas,
            acks: VecDeque::new(),
            watchers: Slab::new(),
            flushing: false,
        };
        Ok(Partition { id, name, health, state: Mutex::new(state) })
    }

    /// Topic id and index.
    #[must_use]
    pub fn id(&self) -> TopicIdPartition {
        self.id
    }

    /// Topic name and index.
    #[must_use]
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The controller made this node leader again, or the replicas changed.
    ///
    /// # Errors
    /// When the new epoch cannot be noted in the log.
    pub fn continue_leading(&self, leadership: Leadership) -> Result<(), LogError> {
        let mut state = self.lock();
        state.log.begin_epoch(leadership.epoch)?;
        state.core.begin_epoch(leadership.epoch);
        state.in_sync = leadership.in_sync;
        state.replicas = leadership.replicas;
        Ok(())
    }

    /// Changes the topic's configs.
    pub fn set_config(&self, config: TopicConfig) {
        let mut state = self.lock();
        state.core.set_votes_by_flush(config.flush_messages == 1);
        state.log.set_config(config);
    }

    /// The topic's configs.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        self.lock().log.config().clone()
    }

    /// Appends a client's batch.
    ///
    /// # Errors
    /// Why it is refused; on a fault the directory is fenced.
    pub fn append(
        &self,
        batch: &IncomingBatch,
        acks: Acks,
        now: Timestamp,
    ) -> Result<Appended, PartitionError> {
        self.refuse_if_fenced()?;
        let mut guard = self.lock();
        let state = &mut *guard;
        let min_in_sync = (state.log.config().min_insync_replicas as usize).min(state.replicas);
        if acks == Acks::All && state.in_sync < min_in_sync {
            return Err(PartitionError::NotEnoughReplicas);
        }
        let rejected = |rejection| PartitionError::Log(LogError::Rejected(rejection));
        let plan = state.log.plan_append(&batch.header, Origin::Client, now).map_err(rejected)?;
        let epoch = state.core.epoch();
        let info = match state.log.append(plan, batch, epoch, now) {
            Ok(info) => info,
            Err(error) => return Err(self.failed(error)),
        };
        let wakeups = state.advance();
        let wait = (acks == Acks::All).then(|| state.wait_for(info.last_offset.plus(1))).flatten();
        let start_flush = !state.flushing && state.wants_flush();
        state.flushing |= start_flush;
        let log_start = state.log.log_start();
        drop(guard);
        wakeups.fire();
        Ok(Appended { info, log_start, wait, start_flush })
    }

    /// Finds records for a reader.
    ///
    /// # Errors
    /// Why it may not read; on a fault the directory is fenced.
    pub fn fetch(&self, spec: FetchSpec) -> Result<FetchOutcome, PartitionError> {
        self.refuse_if_fenced()?;
        let mut state = self.lock();
        state.check_epoch(spec.leader_epoch)?;
        let offsets = state.offsets();
        if let Some(diverging) = state.divergence(spec) {
            return Ok(FetchOutcome { extent: None, diverging: Some(diverging), offsets });
        }
        let end = match spec.isolation {
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable,
        };
        let limit = ReadLimit { end, bytes_max: spec.bytes_max, at_least_one: spec.at_least_one };
        match state.log.read(spec.offset, limit) {
            Ok(extent) => Ok(FetchOutcome { extent, diverging: None, offsets }),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The partition's bounds, for a client that knows `leader_epoch`.
    ///
    /// # Errors
    /// When the client's epoch is not the leader's.
    pub fn offsets(
        &self,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Result<PartitionOffsets, PartitionError> {
        self.refuse_if_fenced()?;
        let state = self.lock();
        state.check_epoch(leader_epoch)?;
        Ok(state.offsets())
    }

    /// Epoch of the record at `offset`; none for an offset that the log does not have.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let state = self.lock();
        state.log.epochs().epoch_at(offset).unwrap_or(LeaderEpoch::NONE)
    }

    /// The first batch with a record at or after `target`; its records are not looked at.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub fn locate_time(&self, target: Timestamp) -> Result<Option<BatchLocation>, PartitionError> {
        self.refuse_if_fenced()?;
        let located = self.lock().log.locate_time(target);
        located.map_err(|error| self.failed(error))
    }

    /// The first batch that holds the largest timestamp.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub fn locate_max_time(&self) -> Result<Option<BatchLocation>, PartitionError> {
        self.refuse_if_fenced()?;
        let located = self.lock().log.locate_max_time();
        located.map_err(|error| self.failed(error))
    }

    /// Forgets producers that were silent for longer than `age_max`.
    pub fn expire_producers(&self, now: Timestamp, age_max: Duration) {
        self.lock().log.expire_producers(now, age_max);
    }

    /// Offset below which nothing needs a look after a crash.
    #[must_use]
    pub fn checkpoint_offset(&self) -> Offset {
        self.lock().log.checkpoint_offset()
    }

    /// The next job of the flush task; `None` ends the task.
    ///
    /// # Errors
    /// When a file cannot be opened; the directory is fenced.
    pub(crate) fn next_flush(&self, forced: bool) -> Result<Option<FlushJob>, PartitionError> {
        let mut state = self.lock();
        if !forced && !state.wants_flush() {
            state.flushing = false;
            return Ok(None);
        }
        let job = state.log.start_flush().map_err(|error| self.failed(error))?;
        state.flushing = job.is_some();
        Ok(job)
    }

    /// Notes that everything below `end` is durable.
    pub(crate) fn flushed(&self, end: Offset) {
        let mut state = self.lock();
        state.log.finish_flush(end);
        let wakeups = state.advance();
        drop(state);
        wakeups.fire();
    }

    /// Closes the log; the caller has flushed it. Returns the job that makes the rest durable.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn close(&self) -> Result<FlushJob, LogError> {
        let mut state = self.lock();
        state.log.close()?;
        state.log.start_final_flush()
    }

    /// What the log's files say that contradicts each other. Reads everything; for tests.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn inconsistencies(&self) -> Result<Vec<String>, LogError> {
        let mut state = self.lock();
        state.log.check();
        state.core.check();
        state.log.inconsistencies()
    }

    pub(crate) fn add_watcher(&self, wait: Arc<FetchWait>, slot: usize) -> usize {
        self.lock().watchers.insert((wait, slot))
    }

    pub(crate) fn remove_watcher(&self, key: usize) {
        self.lock().watchers.remove(key);
    }

    /// Fences the directory when the error is a fault of this node.
    fn failed(&self, error: LogError) -> PartitionError {
        if error.is_fault() {
            self.health.fence(format!("{}: {error}", self.name));
        }
        PartitionError::Log(error)
    }

    fn refuse_if_fenced(&self) -> Result<(), PartitionError> {
        if self.health.is_fenced() { Err(PartitionError::Offline) } else { Ok(()) }
    }

    /// # Panics
    /// When a panic under the lock has left the partition in an unknown state: its connections
    /// close, other partitions serve on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic happened under this partition's lock")
    }
}

/// What the metadata says about a partition that this node leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// Epoch of the leader.
    pub epoch: LeaderEpoch,
    /// This node.
    pub leader: NodeId,
    /// Number of replicas in sync.
    pub in_sync: usize,
    /// Number of replicas.
    pub replicas: usize,
}

impl State {
    fn offsets(&self) -> PartitionOffsets {
        let high_watermark = self.core.high_watermark();
        PartitionOffsets {
            log_start: self.log.log_start(),
            last_stable: high_watermark,
            high_watermark,
            end: self.log.end(),
            leader_epoch: self.core.epoch(),
        }
    }

    fn check_epoch(&self, known: Option<LeaderEpoch>) -> Result<(), PartitionError> {
        match known {
            Some(known) if known < self.core.epoch() => Err(PartitionError::FencedLeaderEpoch),
            Some(known) if known > self.core.epoch() => Err(PartitionError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// KIP-595: the reader's last epoch ends before its offset in this log, so it must go back.
    fn divergence(&self, spec: FetchSpec) -> Option<(LeaderEpoch, Offset)> {
        let asked = spec.last_fetched_epoch?;
        let none = (LeaderEpoch::NONE, Offset(-1));
        let (epoch, end) = self.log.epochs().end_of(asked, self.log.end()).unwrap_or(none);
        (epoch < asked || end < spec.offset).then_some((epoch, end))
    }

    /// Lets the core see the log; collects who is to be woken.
    fn advance(&mut self) -> Wakeups {
        let mut wakeups = Wakeups::default();
        if !self.core.advance(self.log.end(), self.log.recovery_point()) {
            return wakeups;
        }
        let high_watermark = self.core.high_watermark();
        while self.acks.front().is_some_and(|(needed, _)| *needed <= high_watermark) {
            wakeups.acks.extend(self.acks.pop_front().map(|(_, ack)| ack));
        }
        wakeups.fetches.extend(self.watchers.iter().map(|(_, watcher)| watcher.clone()));
        wakeups
    }

    fn wait_for(&mut self, needed: Offset) -> Option<AckWait> {
        if needed <= self.core.high_watermark() {
            return None;
        }
        let (ack, wait) = oneshot::channel();
        // A duplicate waits for an offset that is not the newest.
        let at = self.acks.partition_point(|(other, _)| *other <= needed);
        self.acks.insert(at, (needed, ack));
        Some(AckWait(wait))
    }

    fn wants_flush(&self) -> bool {
        let unflushed = self.log.end().since(self.log.recovery_point());
        unflushed >= self.log.config().flush_messages || self.log.has_unflushed_segment()
    }
}

impl From<AppendRejection> for PartitionError {
    fn from(rejection: AppendRejection) -> PartitionError {
        PartitionError::Log(LogError::Rejected(rejection))
    }
}
