//! One partition: its lock, its log, its core, and who waits for it.

mod append;
mod cleaning;
mod describe;
mod epochs;
mod log_start;
mod moving;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_storage::{BatchLocation, FlushJob, Log, LogError, ReadLimit, RefusedFirsts};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicIdPartition, TopicPartition, Uuid};
use slab::Slab;

pub(crate) use self::moving::copy_piece;

use crate::acks::{AckEnd, AckQueue, AckSender};
use crate::core::LeaderCore;
use crate::dir::Dir;
use crate::fetch_wait::FetchWait;
use crate::moves::Moving;
use crate::request::{
    AckWait, Acks, FetchOutcome, FetchSpec, Isolation, Leadership, PartitionError, PartitionOffsets,
};

/// A partition that this node holds.
pub struct Partition {
    id: TopicIdPartition,
    name: TopicPartition,
    /// A copy of the state's, as is the config below.
    dir: RwLock<Arc<Dir>>,
    /// A copy of the log's, which can be had while somebody appends.
    config: RwLock<Arc<TopicConfig>>,
    state: Mutex<State>,
}

struct State {
    log: Log,
    /// The log directory that it is in.
    dir: Arc<Dir>,
    /// The one that the metadata names.
    placed: Uuid,
    /// Where it moves to.
    moving: Option<Arc<Moving>>,
    /// Whether nothing is to become durable for a moment.
    flushes_held: bool,
    /// Whether a compacted segment has names that a start completes, and is not in its place yet.
    swapping: bool,
    core: LeaderCore,
    /// Whether this node leads. What was appended before it lost the lead can still become
    /// durable and be acknowledged.
    leads: bool,
    /// Size of the ISR and number of replicas, as the metadata says.
    in_sync: usize,
    replicas: usize,
    /// Producers that wait for the high watermark (acks=all).
    acks: AckQueue,
    /// Producers that wait until this node's log is durable (acks=1 with `flush.messages=1`).
    flush_acks: AckQueue,
    watchers: Slab<(Arc<FetchWait>, usize)>,
    /// Whether a flush task runs; it is the only one.
    flushing: bool,
    /// Whether the partition was deleted: its files have other names now.
    retired: bool,
}

/// Collected under the lock, fired after it.
#[derive(Default)]
struct Wakeups {
    acks: Vec<AckSender>,
    fetches: Vec<(Arc<FetchWait>, usize)>,
}

impl Wakeups {
    fn fire(self) {
        for ack in self.acks {
            // A receiver that is gone belonged to a connection that is gone.
            let _ = ack.send(AckEnd::Acknowledged);
        }
        for (fetch, slot) in self.fetches {
            fetch.mark(slot);
        }
    }
}

impl Partition {
    /// A partition that this node holds from now on with what is in `log`.
    pub(crate) fn hold(
        id: TopicIdPartition,
        name: TopicPartition,
        dir: Arc<Dir>,
        mut log: Log,
        leadership: Leadership,
    ) -> Partition {
        if leadership.leads {
            log.begin_epoch(leadership.epoch);
        }
        let mut core = LeaderCore::new(leadership.epoch, log.end(), log.recovery_point());
        core.set_votes_by_flush(log.config().flush_messages == 1);
        core.advance(log.end(), log.recovery_point());
        log.replicated(core.high_watermark());
        let state = State {
            log,
            placed: dir.id(),
            dir: dir.clone(),
            moving: None,
            flushes_held: false,
            swapping: false,
            core,
            leads: leadership.leads,
            in_sync: leadership.in_sync,
            replicas: leadership.replicas,
            acks: AckQueue::default(),
            flush_acks: AckQueue::default(),
            watchers: Slab::new(),
            flushing: false,
            retired: false,
        };
        let config = RwLock::new(Arc::new(state.log.config().clone()));
        Partition { id, name, dir: RwLock::new(dir), config, state: Mutex::new(state) }
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

    /// The log directory that it is in.
    pub(crate) fn dir(&self) -> Arc<Dir> {
        self.dir.read().expect("never poisoned").clone()
    }

    /// The leader or the replicas changed.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub fn change_leadership(&self, leadership: Leadership) -> Result<(), PartitionError> {
        let mut state = self.lock()?;
        if leadership.leads {
            state.log.begin_epoch(leadership.epoch);
        }
        state.core.begin_epoch(leadership.epoch);
        state.leads = leadership.leads;
        state.in_sync = leadership.in_sync;
        state.replicas = leadership.replicas;
        Ok(())
    }

    /// Ends the partition before its directory is renamed: whoever still holds it, or waits for it,
    /// is told that it is gone.
    pub(crate) fn retire(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        state.retired = true;
        state.moving = None;
        // Producers that wait are told by the end of their channels.
        (state.acks, state.flush_acks) = (AckQueue::default(), AckQueue::default());
        let fetches = state.watchers.drain().collect();
        drop(state);
        Wakeups { acks: Vec::new(), fetches }.fire();
    }

    /// Tells everybody who waits that the directory has failed: it is fenced.
    pub(crate) fn go_offline(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        let mut acks: Vec<_> = state.acks.take_all().collect();
        acks.extend(state.flush_acks.take_all());
        let fetches = state.watchers.drain().collect();
        drop(state);
        for ack in acks {
            let _ = ack.send(AckEnd::Offline);
        }
        Wakeups { acks: Vec::new(), fetches }.fire();
    }

    /// Runs a job of the log, without the lock. A directory that was renamed under it is no fault.
    ///
    /// # Errors
    /// Those of `fsync(2)`: the directory must be fenced.
    pub(crate) fn run_flush(&self, job: &FlushJob) -> io::Result<()> {
        match job.run() {
            Err(_) if matches!(self.lock(), Err(PartitionError::Gone)) => Ok(()),
            done => done,
        }
    }

    /// Changes the topic's configs.
    pub fn set_config(&self, config: Arc<TopicConfig>) {
        let Ok(mut state) = self.lock() else { return };
        state.core.set_votes_by_flush(config.flush_messages == 1);
        state.log.set_config((*config).clone());
        *self.config.write().expect("never poisoned") = config;
        let wakeups = state.advance();
        drop(state);
        wakeups.fire();
    }

    /// Takes over what was refused before there was a log.
    pub(crate) fn set_refused(&self, refused: RefusedFirsts) {
        if let Ok(mut state) = self.lock() {
            state.log.set_refused(refused);
        }
    }

    /// The topic's configs, without the lock.
    ///
    /// # Errors
    /// `Offline`.
    pub fn config(&self) -> Result<Arc<TopicConfig>, PartitionError> {
        if self.state.is_poisoned() || self.dir().health().is_fenced() {
            return Err(PartitionError::Offline);
        }
        Ok(self.config.read().expect("never poisoned").clone())
    }

    /// Finds records for a reader.
    ///
    /// # Errors
    /// Why it may not read; on a fault the directory is fenced.
    pub fn fetch(&self, spec: FetchSpec) -> Result<FetchOutcome, PartitionError> {
        let mut state = self.lock()?;
        state.check_epoch(spec.leader_epoch)?;
        let offsets = state.offsets();
        if let Some(diverging) = state.divergence(spec)? {
            let (extent, aborted, diverging) = (None, Vec::new(), Some(diverging));
            return Ok(FetchOutcome { extent, aborted, diverging, offsets });
        }
        let limit = |end| {
            let (bytes_max, at_least_one) = (spec.bytes_max, spec.at_least_one);
            ReadLimit { end, bytes_max, at_least_one }
        };
        let read = match spec.isolation {
            Isolation::ReadUncommitted => {
                let read = state.log.read(spec.offset, limit(offsets.high_watermark));
                read.map(|extent| (extent, Vec::new()))
            }
            Isolation::ReadCommitted => {
                let read = state.log.read_committed(spec.offset, limit(offsets.last_stable));
                read.map(Option::unzip).map(|(extent, ended)| (extent, ended.unwrap_or_default()))
            }
        };
        let (extent, aborted) = read.map_err(|error| self.failed(error))?;
        Ok(FetchOutcome { extent, aborted, diverging: None, offsets })
    }

    /// The partition's bounds, for a client that knows `leader_epoch`.
    ///
    /// # Errors
    /// When the client's epoch is not the leader's.
    pub fn offsets(
        &self,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Result<PartitionOffsets, PartitionError> {
        let state = self.lock()?;
        state.check_epoch(leader_epoch)?;
        Ok(state.offsets())
    }

    /// End of what readers may see, whether this node leads or not.
    ///
    /// # Errors
    /// `Offline`.
    pub fn high_watermark(&self) -> Result<Offset, PartitionError> {
        Ok(self.lock()?.core.high_watermark())
    }

    /// The first batch with a record at or after `target` and one from `from` on; its records are
    /// not looked at.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub fn locate_time(
        &self,
        target: Timestamp,
        from: Offset,
    ) -> Result<Option<BatchLocation>, PartitionError> {
        let located = self.lock()?.log.locate_time(target, from);
        located.map_err(|error| self.failed(error))
    }

    /// The first batch that holds the largest timestamp.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub fn locate_max_time(&self) -> Result<Option<BatchLocation>, PartitionError> {
        let located = self.lock()?.log.locate_max_time();
        located.map_err(|error| self.failed(error))
    }

    /// Forgets producers that were silent for longer than `age_max`.
    pub fn expire_producers(&self, now: Timestamp, age_max: Duration) {
        if let Ok(mut state) = self.lock() {
            state.log.expire_producers(now, age_max);
        }
    }

    /// Offset below which nothing needs a look after a crash.
    ///
    /// # Errors
    /// `Offline`.
    pub fn checkpoint_offset(&self) -> Result<Offset, PartitionError> {
        Ok(self.lock()?.log.checkpoint_offset())
    }

    /// The next job of the flush task; `None` ends the task.
    ///
    /// # Errors
    /// When a file cannot be opened; the directory is fenced.
    pub(crate) fn next_flush(&self) -> Result<Option<FlushJob>, PartitionError> {
        let mut state = self.lock()?;
        if !state.wants_flush() {
            state.flushing = false;
            return Ok(None);
        }
        let job = state.log.start_flush().map_err(|error| self.failed(error))?;
        state.flushing = job.is_some();
        Ok(job)
    }

    /// Notes that everything below `end` is durable.
    pub(crate) fn flushed(&self, end: Offset) {
        let Ok(mut state) = self.lock() else { return };
        state.log.finish_flush(end);
        let wakeups = state.advance();
        drop(state);
        wakeups.fire();
    }

    /// Closes the log. Returns the job that makes it durable, if it is not.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn close(&self) -> Result<Option<FlushJob>, PartitionError> {
        let mut state = self.lock()?;
        if state.log.is_closed() {
            return Ok(None);
        }
        let closed = state.log.close().and_then(|()| state.log.start_final_flush());
        closed.map(Some).map_err(|error| self.failed(error))
    }

    /// What the log's files say that contradicts each other. Reads everything; for tests.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn inconsistencies(&self) -> Result<Vec<String>, PartitionError> {
        let mut state = self.lock()?;
        state.log.check();
        state.core.check();
        state.log.inconsistencies().map_err(|error| self.failed(error))
    }

    /// Key of the new watcher; none when the partition is offline and will not change again.
    pub(crate) fn add_watcher(&self, wait: Arc<FetchWait>, slot: usize) -> Option<usize> {
        self.lock().ok().map(|mut state| state.watchers.insert((wait, slot)))
    }

    pub(crate) fn remove_watcher(&self, key: usize) {
        if let Ok(mut state) = self.lock() {
            state.watchers.remove(key);
        }
    }

    /// Fences the directory when the error is a fault of this node.
    fn failed(&self, error: LogError) -> PartitionError {
        if error.is_fault() {
            self.dir().health().fence(format!("{}: {error}", self.name));
        } else if error.is_damage() {
            tracing::error!(partition = %self.name, %error, "the log is damaged; a start looks at it");
        }
        PartitionError::Log(error)
    }

    /// After a panic under the lock nobody knows the partition's state: it is offline for good,
    /// and the others serve on. So is everything in a directory that is fenced. A deleted
    /// partition has no state any more.
    fn lock(&self) -> Result<MutexGuard<'_, State>, PartitionError> {
        let state = self.state.lock().map_err(|_| PartitionError::Offline)?;
        if state.retired {
            return Err(PartitionError::Gone);
        }
        if state.dir.health().is_fenced() { Err(PartitionError::Offline) } else { Ok(state) }
    }
}

impl State {
    fn offsets(&self) -> PartitionOffsets {
        let high_watermark = self.core.high_watermark();
        PartitionOffsets {
            log_start: self.log.log_start(),
            last_stable: self.log.last_stable_offset(high_watermark),
            high_watermark,
            end: self.log.end(),
            leader_epoch: self.core.epoch(),
        }
    }

    fn check_epoch(&self, known: Option<LeaderEpoch>) -> Result<(), PartitionError> {
        match known {
            _ if !self.leads => Err(PartitionError::NotLeader),
            Some(known) if known < self.core.epoch() => Err(PartitionError::FencedLeaderEpoch),
            Some(known) if known > self.core.epoch() => Err(PartitionError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// KIP-595: the reader's last epoch ends before its offset in this log, so it must go back; of
    /// an epoch that this log knows nothing about there is nothing to go back to.
    fn divergence(&self, spec: FetchSpec) -> Result<Option<(LeaderEpoch, Offset)>, PartitionError> {
        let Some(asked) = spec.last_fetched_epoch else { return Ok(None) };
        let ends = self.log.epochs().end_of(asked, self.log.end());
        let (epoch, end) = ends.ok_or(PartitionError::Log(LogError::OffsetOutOfRange))?;
        Ok((epoch < asked || end < spec.offset).then_some((epoch, end)))
    }

    /// Lets the core see the log; collects who is to be woken.
    fn advance(&mut self) -> Wakeups {
        let mut wakeups = Wakeups::default();
        let flushed = self.log.recovery_point();
        self.flush_acks.take_reached(flushed, &mut wakeups.acks);
        if self.core.advance(self.log.end(), flushed) {
            self.log.replicated(self.core.high_watermark());
            self.acks.take_reached(self.core.high_watermark(), &mut wakeups.acks);
            wakeups.fetches.extend(self.watchers.iter().map(|(_, watcher)| watcher.clone()));
        }
        wakeups
    }

    /// What a producer has to wait for until everything below `needed` is acknowledged. With
    /// `flush.messages=1` this is durable for every producer that wants an answer: Kafka flushes
    /// before it answers.
    fn wait_for(&mut self, needed: Offset, acks: Acks) -> Option<AckWait> {
        match acks {
            Acks::All if needed > self.core.high_watermark() => Some(self.acks.wait_for(needed)),
            Acks::Leader if self.core.votes_by_flush() && needed > self.log.recovery_point() => {
                Some(self.flush_acks.wait_for(needed))
            }
            _ => None,
        }
    }

    fn wants_flush(&self) -> bool {
        let unflushed = self.log.end().since(self.log.recovery_point());
        let wants = unflushed >= self.log.config().flush_messages
            || self.log.has_unflushed_segment()
            || self.flush_acks.is_waiting();
        wants && !self.flushes_held
    }
}
