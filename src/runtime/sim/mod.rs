//! The simulated world: nodes, their fate, the network between them, and the log of what happened.
//!
//! A world lives inside one single-threaded tokio runtime with paused time. Everything random
//! comes from its seed: schedules (a task's poll may be put off), delays, what survives a power
//! cut, how bytes are cut into reads. The log of events has a hash; the same seed gives the same
//! hash, or the product holds something that the seed does not decide.
//!
//! ```text
//!   harness ── SimWorld ── SimNode a: SimDisk, tasks, fate
//!                     └─── SimNode b: …
//!   product code ── Runtime::simulated(&node) ── Clock, Entropy, Disk, Net
//! ```

mod trace;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_types::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock::Clock;
pub use crate::disk::sim::{DiskFaults, FaultsBelow, SimDisk};
use crate::entropy::Entropy;
use crate::net::sim::Fabric;
use crate::task::Task;
pub use trace::Trace;

/// A hash of bytes, for lines of the log of events.
pub(crate) fn content_hash(bytes: &[u8]) -> u64 {
    trace::fnv(0xcbf2_9ce4_8422_2325, bytes)
}

/// Virtual wall time at the start of every world: 2026-01-01T00:00:00Z.
const WALL_START_MS: i64 = 1_767_225_600_000;

/// A simulated world. Copies share it.
#[derive(Clone)]
pub struct SimWorld {
    start: tokio::time::Instant,
    entropy: Arc<Mutex<fastrand::Rng>>,
    trace: Trace,
    fabric: Fabric,
    nodes: Arc<Mutex<u8>>,
}

/// A simulated machine: it keeps its disk over the deaths of its process. Copies are one machine.
#[derive(Clone)]
pub struct SimNode(Arc<Machine>);

struct Machine {
    name: String,
    address: IpAddr,
    world: SimWorld,
    disk: SimDisk,
    fate: NodeFate,
    wall: SimWallClock,
    tasks: Mutex<Vec<AbortHandle>>,
    stop: watch::Sender<bool>,
    broken: Mutex<Option<&'static str>>,
    boots: AtomicU64,
    blocking_delay_ms_max: AtomicI64,
}

/// Whether a node's process lives, shared by all that acts for it.
#[derive(Clone)]
pub(crate) struct NodeFate(Arc<Fate>);

#[derive(Default)]
struct Fate {
    dead: AtomicBool,
    by_power_cut: AtomicBool,
    died: Notify,
}

/// A simulated wall clock, which the harness can make jump.
#[derive(Clone)]
pub(crate) struct SimWallClock {
    jump_ms: Arc<AtomicI64>,
}

impl SimWorld {
    /// A world decided by `seed`. Call it inside a single-threaded tokio runtime with paused time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the paused clock's start")]
    pub fn new(seed: u64) -> SimWorld {
        let entropy = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
        let start = tokio::time::Instant::now();
        let trace = Trace::new(start);
        SimWorld {
            start,
            fabric: Fabric::new(entropy.clone(), trace.clone()),
            entropy,
            trace,
            nodes: Arc::default(),
        }
    }

    /// Adds a machine with an empty disk.
    #[must_use]
    pub fn node(&self, name: &str) -> SimNode {
        let number = {
            let mut nodes = self.nodes.lock().expect("a counter");
            *nodes += 1;
            *nodes
        };
        let fate = NodeFate(Arc::default());
        SimNode(Arc::new(Machine {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
            disk: SimDisk::new(name, self.random(), fate.clone(), self.trace.clone()),
            world: self.clone(),
            fate,
            wall: SimWallClock { jump_ms: Arc::default() },
            tasks: Mutex::default(),
            stop: watch::Sender::new(false),
            broken: Mutex::default(),
            boots: AtomicU64::new(1),
            blocking_delay_ms_max: AtomicI64::new(2),
        }))
    }

    /// Randomness of the world, for the harness as well.
    #[must_use]
    pub fn entropy(&self) -> Entropy {
        Entropy::seeded(self.entropy.clone())
    }

    /// The log of events.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Resets about `percent` of the connections that are open now.
    pub fn reset_connections(&self, percent: u64) {
        self.fabric.reset_some(percent, &self.entropy());
    }

    pub(crate) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    fn random(&self) -> u64 {
        self.entropy().bits()
    }
}

impl SimNode {
    /// Name given by the harness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The machine's address; listeners on the unspecified address are found there.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// The machine's disk.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.0.disk
    }

    /// The world the machine is in.
    #[must_use]
    pub fn world(&self) -> &SimWorld {
        &self.0.world
    }

    /// Lets blocking work (every fsync is one) begin up to `max` late.
    pub fn slow_down_blocking_work(&self, max: Duration) {
        let ms = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        self.0.blocking_delay_ms_max.store(ms, Ordering::Relaxed);
    }

    /// Moves the wall clock by `ms` milliseconds.
    pub fn jump_wall_clock(&self, ms: i64) {
        self.0.wall.jump_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Asks the process to end cleanly, as SIGTERM does.
    pub fn request_stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Waits until the process dies by a planned fault of its disk. Cancel safe.
    pub async fn died(&self) {
        while !self.0.fate.is_dead() {
            self.0.fate.0.died.notified().await;
        }
    }

    /// Name of the vital task that panicked, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        *self.0.broken.lock().expect("a flag")
    }

    /// Ends the process at once, if it lives, and makes the machine ready for a new one: with
    /// the page cache (kill -9), or with what a power cut left.
    pub async fn crash(&self, power_cut: bool) {
        self.0.fate.die(power_cut);
        self.0.world.fabric.node_died(self.0.address);
        for task in self.0.tasks.lock().expect("a list").iter() {
            task.abort();
        }
        while self.has_tasks() {
            tokio::task::yield_now().await;
        }
        if self.0.fate.0.by_power_cut.load(Ordering::Relaxed) {
            self.0.disk.power_cut();
            self.0.boots.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.disk.process_death();
        }
        self.become_ready();
    }

    /// After the process has ended by itself: drops what is left of it and makes the machine
    /// ready for a new one.
    pub async fn after_exit(&self) {
        self.0.fate.0.by_power_cut.store(false, Ordering::Relaxed);
        self.crash(false).await;
    }

    fn become_ready(&self) {
        self.0.tasks.lock().expect("a list").clear();
        self.0.stop.send_replace(false);
        *self.0.broken.lock().expect("a flag") = None;
        self.0.fate.0.by_power_cut.store(false, Ordering::Relaxed);
        self.0.fate.0.dead.store(false, Ordering::Relaxed);
    }

    fn has_tasks(&self) -> bool {
        let mut tasks = self.0.tasks.lock().expect("a list");
        tasks.retain(|task| !task.is_finished());
        !tasks.is_empty()
    }

    /// A power cut begins another run of the machine's kernel.
    pub(crate) fn boot_id(&self) -> String {
        format!("boot-{}-of-{}", self.0.boots.load(Ordering::Relaxed), self.0.name)
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::simulated(self.0.world.start, self.0.wall.clone())
    }

    pub(crate) fn entropy(&self) -> Entropy {
        self.0.world.entropy()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.fate.is_dead()
    }

    #[expect(clippy::disallowed_methods, reason = "this is spawn")]
    pub(crate) fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shuffled = Shuffled { inner: Box::pin(future), entropy: self.0.world.entropy.clone() };
        let handle = tokio::spawn(shuffled);
        let mut tasks = self.0.tasks.lock().expect("a list");
        if tasks.len() >= 64 {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle.abort_handle());
        Task::spawned(handle, name)
    }

    #[expect(clippy::disallowed_methods, reason = "the delay of blocking work")]
    pub(crate) async fn before_blocking_work(&self) {
        let max = self.0.blocking_delay_ms_max.load(Ordering::Relaxed).unsigned_abs();
        let delay = self.entropy().below(max + 1);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn stop_requested(&self) {
        let mut stop = self.0.stop.subscribe();
        // The sender lives as long as this node.
        let _ = stop.wait_for(|asked| *asked).await;
    }

    pub(crate) fn report_broken(&self, task: &'static str) {
        self.0.world.trace.note(|| format!("{}: vital task {task} panicked", self.0.name));
        *self.0.broken.lock().expect("a flag") = Some(task);
        self.0.fate.die(false);
    }
}

impl NodeFate {
    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// From now on nothing that acts for the node has an effect.
    pub(crate) fn die(&self, by_power_cut: bool) {
        if by_power_cut {
            self.0.by_power_cut.store(true, Ordering::Relaxed);
        }
        if !self.0.dead.swap(true, Ordering::Relaxed) {
            self.0.died.notify_one();
        }
    }
}

impl SimWallClock {
    pub(crate) fn read(&self, since_start: Duration) -> Timestamp {
        let elapsed = i64::try_from(since_start.as_millis()).unwrap_or(i64::MAX);
        Timestamp(WALL_START_MS + elapsed + self.jump_ms.load(Ordering::Relaxed))
    }
}

/// Puts off one poll in eight, so that the seed decides in which order ready tasks run.
struct Shuffled<F> {
    inner: Pin<Box<F>>,
    entropy: Arc<Mutex<fastrand::Rng>>,
}

impl<F: Future> Future for Shuffled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.entropy.lock().expect("no panic while drawing").u8(..8) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
