//! The group coordinator of a node: its shards, at work.
//!
//! - **Where**: a request is decided in its connection's own task, under the lock of its shard, so
//!   that a heartbeat costs no thread hop. The thread of groups serves connections that ask for
//!   groups, and runs the timers (sessions, rebalances). It reads and writes no files: what is
//!   decided there is appended by another thread (`writer.rs`), without the lock.
//! - **Load**: when this node comes to lead a partition, its log is read off the threads, up to the
//!   high watermark. Until then requests are answered with `COORDINATOR_LOAD_IN_PROGRESS`.
//! - **Once appended elsewhere**: if a batch lands where it was not expected, somebody else wrote
//!   to the log, and the shard is loaded anew.

mod calls;
mod figures;
mod load;
mod port;
mod resolving;
mod shard;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use ottla_config::GroupsConfig;
use ottla_protocol::compression::{Codec, Compression};
use ottla_runtime::{Plane, Runtime};
use ottla_types::{
    ErrorCode, MonoTime, Offset, PartitionId, TopicIdPartition, Uuid, java_string_hash,
};
use tokio::sync::{Notify, oneshot};

use self::figures::Figures;
pub use self::figures::GroupOffset;
pub use self::port::{Appended, Committed, LogPort};
pub use self::resolving::MaySee;
use self::shard::{Phase, Shard, State};
use self::writer::Writer;
use crate::group::consumer::{ChangedTopics, NoCluster, Resolve, SharedCluster};
use crate::group::{Effects, GroupShard, Now, Ticket, Told};

/// The topic that groups are kept in.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

/// The group coordinator of a node. Copies share it.
#[derive(Clone)]
pub struct Groups {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    config: Arc<GroupsConfig>,
    port: Box<dyn LogPort>,
    shards: RwLock<BTreeMap<PartitionId, Arc<Shard>>>,
    /// Partitions of the topic; 0 while there is none.
    partitions: AtomicI32,
    /// Wakes the timers' task, its only waiter, when a deadline comes before it would wake.
    timer: Notify,
    /// When it will wake, in nanoseconds.
    wakes_at: AtomicU64,
    writer: Writer,
    /// What groups are told of the cluster.
    cluster: RwLock<SharedCluster>,
    /// Of the records.
    codec: Codec,
    figures: Mutex<Figures>,
}

/// The partition of the topic that a group is kept in.
#[must_use]
pub fn partition_of(group: &str, partitions: i32) -> PartitionId {
    // As Kafka's `Utils.abs`, which has no value for the smallest number.
    let hash = java_string_hash(group).checked_abs().unwrap_or(0);
    PartitionId(hash % partitions.max(1))
}

impl Groups {
    /// A coordinator without shards; its timers begin to run.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(
        runtime: &Runtime,
        config: GroupsConfig,
        port: Box<dyn LogPort>,
    ) -> io::Result<Groups> {
        let compression = Compression::from_code(config.topic_compression);
        let codec = Codec::from(compression.expect("the table of configs has its range"));
        let groups = Groups {
            inner: Arc::new(Inner {
                runtime: runtime.clone(),
                config: Arc::new(config),
                port,
                shards: RwLock::default(),
                partitions: AtomicI32::new(0),
                timer: Notify::new(),
                wakes_at: AtomicU64::new(u64::MAX),
                writer: Writer::new(runtime.worker("ottla-groups-log")?),
                cluster: RwLock::new(Arc::new(NoCluster)),
                codec,
                figures: Mutex::default(),
            }),
        };
        let timers = groups.clone();
        runtime.spawn_vital(
            Plane::Groups,
            "group timers",
            async move { timers.run_timers().await },
        );
        Ok(groups)
    }

    /// How groups are coordinated.
    #[must_use]
    pub fn config(&self) -> &GroupsConfig {
        &self.inner.config
    }

    /// The topic has so many partitions, of which this node leads these.
    pub fn lead(&self, topic: Uuid, partitions: i32, led: &[PartitionId]) {
        self.inner.partitions.store(partitions, Ordering::Relaxed);
        let mut ended = Vec::new();
        let mut begun = Vec::new();
        {
            let mut shards = self.inner.shards.write().expect("never poisoned");
            shards.retain(|partition, shard| {
                let stays = led.contains(partition) && shard.partition.topic_id == topic;
                if !stays {
                    ended.push(shard.clone());
                }
                stays
            });
            for partition in led {
                shards.entry(*partition).or_insert_with(|| {
                    let id = TopicIdPartition { topic_id: topic, partition: *partition };
                    let state = Mutex::new(State::loading());
                    let shard = Arc::new(Shard { partition: id, state });
                    begun.push(shard.clone());
                    shard
                });
            }
        }
        for shard in ended {
            if let Ok(mut state) = shard.state.lock() {
                self.keep_counts(&mut state);
                state.end(ErrorCode::NotCoordinator);
            }
        }
        begun.into_iter().for_each(|shard| self.load(shard));
    }

    fn all_shards(&self) -> Vec<Arc<Shard>> {
        self.inner.shards.read().expect("never poisoned").values().cloned().collect()
    }

    fn now(&self) -> Now {
        let clock = self.inner.runtime.clock();
        Now { mono: clock.now(), wall: clock.wall() }
    }

    fn shard(&self, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let partitions = self.inner.partitions.load(Ordering::Relaxed);
        if partitions == 0 {
            return Err(ErrorCode::NotCoordinator);
        }
        let shards = self.inner.shards.read().expect("never poisoned");
        let shard = shards.get(&partition_of(group, partitions)).cloned();
        shard.ok_or(ErrorCode::NotCoordinator)
    }

    /// A step that somebody waits for, and the appending of what it writes.
    fn ask(
        &self,
        group: &str,
        step: impl FnOnce(&mut GroupShard, Now, Ticket, &mut Effects),
    ) -> Result<oneshot::Receiver<Told>, ErrorCode> {
        let shard = self.shard(group)?;
        self.ask_shard(&shard, step).map(|(told, _)| told)
    }

    /// The same, and what is to be looked up after it.
    fn ask_shard(
        &self,
        shard: &Arc<Shard>,
        step: impl FnOnce(&mut GroupShard, Now, Ticket, &mut Effects),
    ) -> Result<(oneshot::Receiver<Told>, Vec<Resolve>), ErrorCode> {
        let now = self.now();
        let (told, resolves, wants_writer) = {
            let mut state = shard.state.lock().map_err(|_| ErrorCode::NotCoordinator)?;
            let told = state.ask(|core, ticket, out| step(core, now, ticket, out))?;
            self.watch_deadline(&mut state);
            (told, state.take_resolves(), state.wants_writer())
        };
        if wants_writer {
            self.wake_writer(shard.clone());
        }
        Ok((told, resolves))
    }

    fn plane(&self, partition: &TopicIdPartition) -> Plane {
        let threads = self.inner.runtime.data_threads();
        Plane::Data(partition.partition.0.unsigned_abs() as usize % threads)
    }

    /// Reads a shard's log, and lets it serve; at once when there is nothing to read.
    fn load(&self, shard: Arc<Shard>) {
        let (inner, partition) = (self.inner.clone(), shard.partition);
        if let Ok((start, end)) = inner.port.bounds(partition)
            && start == end
        {
            return self.begin(&shard, Ok((GroupShard::new(inner.config.clone()), end)));
        }
        let (groups, plane) = (self.clone(), self.plane(&partition));
        let begun = self.inner.runtime.clock().now();
        let task = async move {
            let work = move || load::load(&*inner.port, partition, inner.config.clone());
            let loaded = groups.inner.runtime.blocking(plane, work).await;
            let took = groups.inner.runtime.clock().now().since(begun);
            groups.figures().loaded(took);
            groups.begin(&shard, loaded);
            groups.append(&shard);
        };
        self.inner.runtime.spawn(Plane::Groups, "load groups", task);
    }

    /// A shard's log was read, or could not be.
    fn begin(&self, shard: &Shard, loaded: Result<(GroupShard, Offset), String>) {
        let Ok(mut state) = shard.state.lock() else { return };
        if matches!(state.phase, Phase::Gone) {
            return;
        }
        match loaded {
            Ok((mut core, end)) => {
                // What the metadata says from now on comes behind this, for the lock is held.
                let cluster = self.inner.cluster.read().expect("never poisoned").clone();
                core.cluster_changed(cluster, &ChangedTopics::default());
                state.begin(core, end, self.now());
                self.watch_deadline(&mut state);
            }
            Err(error) => {
                let partition = shard.partition.partition;
                tracing::error!(%partition, %error, "groups are not served: bad log");
                state.end(ErrorCode::NotCoordinator);
            }
        }
    }

    fn load_anew(&self, shard: &Arc<Shard>) {
        let state = Mutex::new(State::loading());
        let new = Arc::new(Shard { partition: shard.partition, state });
        {
            let mut shards = self.inner.shards.write().expect("never poisoned");
            match shards.get_mut(&shard.partition.partition) {
                Some(present) if Arc::ptr_eq(present, shard) => *present = new.clone(),
                _ => return,
            }
        }
        if let Ok(mut state) = shard.state.lock() {
            self.keep_counts(&mut state);
        }
        self.load(new);
    }

    /// Wakes the timers' task if it would sleep beyond a deadline of the shard.
    fn watch_deadline(&self, state: &mut State) {
        let Ok(core) = state.core() else { return };
        let Some(deadline) = core.next_deadline() else { return };
        if nanos(deadline) < self.inner.wakes_at.load(Ordering::Acquire) {
            self.inner.timer.notify_one();
        }
    }

    async fn run_timers(&self) {
        loop {
            // Whatever is earlier than this, from now on, wakes the task.
            self.inner.wakes_at.store(u64::MAX, Ordering::Release);
            let mut next: Option<MonoTime> = None;
            for shard in self.all_shards() {
                let deadline = self.run_due(&shard);
                next = next.into_iter().chain(deadline).min();
            }
            let Some(next) = next else {
                self.inner.timer.notified().await;
                continue;
            };
            self.inner.wakes_at.store(nanos(next), Ordering::Release);
            let clock = self.inner.runtime.clock();
            tokio::select! {
                biased;
                () = self.inner.timer.notified() => {}
                () = clock.sleep_until(next) => {}
            }
        }
    }

    /// Does what is due in a shard; returns its next deadline.
    fn run_due(&self, shard: &Arc<Shard>) -> Option<MonoTime> {
        let now = self.now();
        let mut state = shard.state.lock().ok()?;
        let deadline = state.core().ok()?.next_deadline()?;
        if deadline > now.mono {
            return Some(deadline);
        }
        state.step(|core, out| core.tick(now, out));
        let next = state.core().ok()?.next_deadline();
        drop(state);
        self.append(shard);
        next
    }
}

/// What clients are told of a record that could not be kept.
fn told_of_append(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        other => other,
    }
}

fn nanos(at: MonoTime) -> u64 {
    u64::try_from(at.since_start().as_nanos()).unwrap_or(u64::MAX)
}
