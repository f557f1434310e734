//! The shards of one coordinator on this node, at work: what groups and transactions have in
//! common.
//!
//! - **Where**: a request is decided in its connection's own task, under the lock of its shard, so
//!   that it costs no thread hop. The thread of groups runs the timers. It reads and writes no
//!   files: what is decided is appended by another thread (`writer.rs`), without the lock.
//! - **Load**: when this node comes to lead a partition, its log is read off the threads, up to the
//!   high watermark. Until then requests are answered with `COORDINATOR_LOAD_IN_PROGRESS`.
//! - **Once appended elsewhere**: if a batch lands where it was not expected, somebody else wrote
//!   to the log, and the shard is loaded anew.
//! - What a coordinator adds is its [`Host`].

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use ottla_protocol::compression::Codec;
use ottla_runtime::{Plane, Runtime};
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, Offset, PartitionId, TopicIdPartition, Uuid};
use tokio::sync::{Notify, oneshot};

use super::figures::LoadTimes;
use super::load;
use super::partition_of;
use super::port::LogPort;
use super::shard::{Phase, Shard, State};
use super::writer::Writer;
use crate::shard_core::{EffectsOf, Now, ShardCore, Ticket, ToldBy};

/// What a coordinator adds to its shards. Called with a shard's lock held, but for `run`.
pub(crate) trait Host<C: ShardCore>: Send + Sync {
    /// A core was loaded and is about to serve.
    fn begins(&self, core: &mut C);

    /// A core is about to end.
    fn ends(&self, core: &C);

    /// What a step left to be done beside the log, if nobody who asked for the step does it.
    fn run(&self, shards: &Shards<C>, shard: &Arc<Shard<C>>, errands: Vec<C::Errand>);
}

/// How the shards of a coordinator work.
pub(crate) struct Setup {
    /// How long whoever waits for a record does so.
    pub(crate) patience: Duration,
    /// Of the records.
    pub(crate) codec: Codec,
    /// Bytes of a log that are read at once.
    pub(crate) load_bytes: u64,
    pub(crate) tasks: Tasks,
}

/// Names of a coordinator's thread and tasks.
pub(crate) struct Tasks {
    pub(crate) thread: &'static str,
    pub(crate) timers: &'static str,
    pub(crate) load: &'static str,
    pub(crate) append: &'static str,
    pub(crate) commit: &'static str,
}

/// The shards of one coordinator. Copies share them.
pub(crate) struct Shards<C: ShardCore> {
    pub(super) inner: Arc<Inner<C>>,
}

impl<C: ShardCore> Clone for Shards<C> {
    fn clone(&self) -> Shards<C> {
        Shards { inner: self.inner.clone() }
    }
}

pub(super) struct Inner<C: ShardCore> {
    pub(super) runtime: Runtime,
    pub(super) config: Arc<C::Config>,
    pub(super) setup: Setup,
    pub(super) port: Box<dyn LogPort>,
    host: Arc<dyn Host<C>>,
    shards: RwLock<BTreeMap<PartitionId, Arc<Shard<C>>>>,
    /// Partitions of the topic; 0 while there is none.
    partitions: AtomicI32,
    /// Wakes the timers' task, its only waiter, when a deadline comes before it would wake.
    timer: Notify,
    /// When it will wake, in nanoseconds.
    wakes_at: AtomicU64,
    pub(super) writer: Writer<C>,
    loads: Mutex<LoadTimes>,
}

/// What an asked step gives: where the answer comes, and what is to be done beside the log.
pub(super) type Asked<C> = (oneshot::Receiver<ToldBy<C>>, Vec<<C as ShardCore>::Errand>);

/// Where the answer to an asked step comes, or why there is none.
pub(super) type Told<C> = Result<oneshot::Receiver<ToldBy<C>>, ErrorCode>;

impl<C: ShardCore> Shards<C> {
    /// A coordinator without shards; its timers begin to run.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(crate) fn start(
        runtime: &Runtime,
        config: Arc<C::Config>,
        setup: Setup,
        port: Box<dyn LogPort>,
        host: Arc<dyn Host<C>>,
    ) -> io::Result<Shards<C>> {
        let writer = Writer::new(runtime.worker(setup.tasks.thread)?);
        let timers = setup.tasks.timers;
        let shards = Shards {
            inner: Arc::new(Inner {
                runtime: runtime.clone(),
                config,
                setup,
                port,
                host,
                shards: RwLock::default(),
                partitions: AtomicI32::new(0),
                timer: Notify::new(),
                wakes_at: AtomicU64::new(u64::MAX),
                writer,
                loads: Mutex::default(),
            }),
        };
        let of_timers = shards.clone();
        runtime.spawn_vital(Plane::Groups, timers, async move { of_timers.run_timers().await });
        Ok(shards)
    }

    /// The topic has so many partitions, of which this node leads these, each in an epoch.
    pub(crate) fn lead(&self, topic: Uuid, partitions: i32, led: &[(PartitionId, LeaderEpoch)]) {
        self.inner.partitions.store(partitions, Ordering::Relaxed);
        let mut ended = Vec::new();
        let mut begun = Vec::new();
        let mut risen = Vec::new();
        {
            let mut shards = self.inner.shards.write().expect("never poisoned");
            shards.retain(|partition, shard| {
                let is_led = led.iter().any(|(led, _)| led == partition);
                let stays = is_led && shard.partition.topic_id == topic;
                if !stays {
                    ended.push(shard.clone());
                }
                stays
            });
            for (partition, epoch) in led {
                let id = TopicIdPartition { topic_id: topic, partition: *partition };
                let shard = shards.entry(*partition).or_insert_with(|| {
                    let shard = new_shard(id, *epoch);
                    begun.push(shard.clone());
                    shard
                });
                if shard.epoch.swap(epoch.0, Ordering::Relaxed) != epoch.0 {
                    risen.push((shard.clone(), *epoch));
                }
            }
        }
        for shard in ended {
            if let Ok(mut state) = shard.state.lock() {
                self.end(&mut state, ErrorCode::NotCoordinator);
            }
        }
        for (shard, epoch) in risen {
            if let Ok(mut state) = shard.state.lock() {
                state.step_when_loaded(move |core, _| core.led_in(epoch));
            }
        }
        begun.into_iter().for_each(|shard| self.load(shard));
    }

    /// A shard is not served any more, for this reason.
    pub(super) fn end(&self, state: &mut State<C>, reason: ErrorCode) {
        if let Phase::Active(core) = &state.phase {
            self.inner.host.ends(core);
        }
        state.end(reason);
    }

    /// All shards of this node.
    pub(crate) fn all(&self) -> Vec<Arc<Shard<C>>> {
        self.inner.shards.read().expect("never poisoned").values().cloned().collect()
    }

    pub(super) fn now(&self) -> Now {
        let clock = self.inner.runtime.clock();
        Now { mono: clock.now(), wall: clock.wall() }
    }

    /// The shard that keeps a key.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`.
    pub(crate) fn of(&self, key: &str) -> Result<Arc<Shard<C>>, ErrorCode> {
        let partitions = self.inner.partitions.load(Ordering::Relaxed);
        if partitions == 0 {
            return Err(ErrorCode::NotCoordinator);
        }
        let shards = self.inner.shards.read().expect("never poisoned");
        let shard = shards.get(&partition_of(key, partitions)).cloned();
        shard.ok_or(ErrorCode::NotCoordinator)
    }

    /// A step that somebody waits for, and the appending of what it writes.
    ///
    /// # Errors
    /// When the shard is not here, or does not serve.
    pub(crate) fn ask(
        &self,
        key: &str,
        step: impl FnOnce(&mut C, Now, Ticket, &mut EffectsOf<C>),
    ) -> Told<C> {
        let shard = self.of(key)?;
        let (told, errands) = self.ask_shard(&shard, step)?;
        self.run_errands(&shard, errands);
        Ok(told)
    }

    /// The same, of the shard of a partition.
    ///
    /// # Errors
    /// As of [`Shards::ask`].
    pub(super) fn ask_partition(
        &self,
        partition: PartitionId,
        step: impl FnOnce(&mut C, Now, Ticket, &mut EffectsOf<C>),
    ) -> Told<C> {
        let shard = {
            let shards = self.inner.shards.read().expect("never poisoned");
            shards.get(&partition).cloned().ok_or(ErrorCode::NotCoordinator)?
        };
        let (told, errands) = self.ask_shard(&shard, step)?;
        self.run_errands(&shard, errands);
        Ok(told)
    }

    /// The same; what is to be done beside the log, the caller does.
    pub(super) fn ask_shard(
        &self,
        shard: &Arc<Shard<C>>,
        step: impl FnOnce(&mut C, Now, Ticket, &mut EffectsOf<C>),
    ) -> Result<Asked<C>, ErrorCode> {
        let now = self.now();
        let (told, errands, wants_writer) = {
            let mut state = shard.state.lock().map_err(|_| ErrorCode::NotCoordinator)?;
            let told = state.ask(|core, ticket, out| step(core, now, ticket, out))?;
            self.watch_deadline(&mut state);
            (told, state.take_errands(), state.wants_writer())
        };
        if wants_writer {
            self.wake_writer(shard.clone());
        }
        Ok((told, errands))
    }

    /// A step that nobody waits for.
    pub(crate) fn step(
        &self,
        shard: &Arc<Shard<C>>,
        step: impl FnOnce(&mut C, Now, &mut EffectsOf<C>),
    ) {
        let now = self.now();
        let Ok(mut state) = shard.state.lock() else { return };
        state.step(|core, out| step(core, now, out));
        self.settle(shard, state);
    }

    /// What follows each step: deadlines are watched, what was written is appended, what is to be
    /// done beside the log is begun.
    pub(super) fn settle(&self, shard: &Arc<Shard<C>>, mut state: MutexGuard<'_, State<C>>) {
        self.watch_deadline(&mut state);
        self.dispatch(shard, state);
    }

    fn dispatch(&self, shard: &Arc<Shard<C>>, mut state: MutexGuard<'_, State<C>>) {
        let (errands, wants_writer) = (state.take_errands(), state.wants_writer());
        drop(state);
        if wants_writer {
            self.wake_writer(shard.clone());
        }
        self.run_errands(shard, errands);
    }

    fn run_errands(&self, shard: &Arc<Shard<C>>, errands: Vec<C::Errand>) {
        if !errands.is_empty() {
            self.inner.host.run(self, shard, errands);
        }
    }

    pub(super) fn plane(&self, partition: &TopicIdPartition) -> Plane {
        let threads = self.inner.runtime.data_threads();
        Plane::Data(partition.partition.0.unsigned_abs() as usize % threads)
    }

    /// Reads a shard's log, and lets it serve; at once when there is nothing to read.
    fn load(&self, shard: Arc<Shard<C>>) {
        let (inner, partition) = (self.inner.clone(), shard.partition);
        if let Ok((start, end)) = inner.port.bounds(partition)
            && start == end
        {
            return self.begin(&shard, Ok((C::new(inner.config.clone()), end)));
        }
        let (shards, plane) = (self.clone(), self.plane(&partition));
        let begun = self.inner.runtime.clock().now();
        let task = async move {
            let bytes = inner.setup.load_bytes;
            let work =
                move || load::load::<C>(&*inner.port, partition, inner.config.clone(), bytes);
            let loaded = shards.inner.runtime.blocking(plane, work).await;
            let took = shards.inner.runtime.clock().now().since(begun);
            shards.load_times().loaded(took);
            shards.begin(&shard, loaded);
        };
        self.inner.runtime.spawn(Plane::Groups, self.inner.setup.tasks.load, task);
    }

    pub(super) fn load_times(&self) -> MutexGuard<'_, LoadTimes> {
        self.inner.loads.lock().expect("nothing panics while it is held")
    }

    /// A shard's log was read, or could not be.
    fn begin(&self, shard: &Arc<Shard<C>>, loaded: Result<(C, Offset), String>) {
        let Ok(mut state) = shard.state.lock() else { return };
        if matches!(state.phase, Phase::Gone) {
            return;
        }
        match loaded {
            Ok((mut core, end)) => {
                core.led_in(LeaderEpoch(shard.epoch.load(Ordering::Relaxed)));
                // What the host is told from now on comes behind this, for the lock is held.
                self.inner.host.begins(&mut core);
                state.begin(core, end, self.now());
                self.settle(shard, state);
            }
            Err(error) => {
                let (partition, task) = (shard.partition.partition, self.inner.setup.tasks.load);
                tracing::error!(%partition, task, %error, "a shard is not served: bad log");
                state.end(ErrorCode::NotCoordinator);
            }
        }
    }

    pub(super) fn load_anew(&self, shard: &Arc<Shard<C>>) {
        let epoch = LeaderEpoch(shard.epoch.load(Ordering::Relaxed));
        let new = new_shard(shard.partition, epoch);
        {
            let mut shards = self.inner.shards.write().expect("never poisoned");
            match shards.get_mut(&shard.partition.partition) {
                Some(present) if Arc::ptr_eq(present, shard) => *present = new.clone(),
                _ => return,
            }
        }
        self.load(new);
    }

    /// Wakes the timers' task if it would sleep beyond a deadline of the shard.
    pub(super) fn watch_deadline(&self, state: &mut State<C>) {
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
            for shard in self.all() {
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
    fn run_due(&self, shard: &Arc<Shard<C>>) -> Option<MonoTime> {
        let now = self.now();
        let mut state = shard.state.lock().ok()?;
        let deadline = state.core().ok()?.next_deadline()?;
        if deadline > now.mono {
            return Some(deadline);
        }
        state.step(|core, out| core.tick(now, out));
        let next = state.core().ok()?.next_deadline();
        // Whoever called sleeps until that.
        self.dispatch(shard, state);
        next
    }
}

/// Waits for an answer; whoever dropped the question will not answer it.
pub(super) async fn hear<A>(
    told: Result<oneshot::Receiver<Result<A, ErrorCode>>, ErrorCode>,
) -> Result<A, ErrorCode> {
    told?.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

fn new_shard<C: ShardCore>(partition: TopicIdPartition, epoch: LeaderEpoch) -> Arc<Shard<C>> {
    let state = Mutex::new(State::loading());
    Arc::new(Shard { partition, epoch: AtomicI32::new(epoch.0), state })
}

fn nanos(at: MonoTime) -> u64 {
    u64::try_from(at.since_start().as_nanos()).unwrap_or(u64::MAX)
}
