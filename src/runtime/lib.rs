//! The only door to the world: clock, randomness, tasks, disk and network, each with a twin for
//! simulation.
//!
//! Rooms above never name tokio's `time`, `net`, `fs` or `spawn`, `Instant::now`, or a random hash
//! state; they hold a [`Runtime`]. Which twin answers is an enum inside these types, so it does
//! not spread through signatures.
//!
//! Real: one control thread (the caller of [`Runtime::run`]), one for groups, and data threads,
//! each with its own single-threaded tokio runtime and its own small pool for blocking work.
//! Simulated: everything is a task of one single-threaded tokio runtime with paused time; blocking
//! work runs inside its task after a virtual delay. See [`sim`].
//!
//! Deliberately absent: TLS.

mod clock;
pub mod disk;
mod entropy;
pub mod metrics;
pub mod net;
mod pace;
mod planes;
pub mod sim;
mod sync_point;
mod task;
mod worker;

use std::future::Future;
use std::sync::Arc;

pub use clock::Clock;
pub use disk::{
    DirEntry, DirLock, Disk, File, FileId, LazyFile, OpenMode, Space, is_out_of_descriptors,
};
pub use entropy::Entropy;
pub use net::{Bound, Listener, Net, NewConnection, ReleasedStream, Stream};
pub use pace::Pace;
pub use planes::Plane;
pub use sync_point::SyncPoint;
pub use task::Task;
pub use worker::Worker;

use planes::Planes;
use sim::SimNode;

/// A node's handle on the world. Copies are cheap and share everything.
#[derive(Clone)]
pub struct Runtime {
    twin: Twin,
    clock: Clock,
    entropy: Entropy,
    disk: Disk,
    net: Net,
}

#[derive(Clone)]
enum Twin {
    Real(Arc<Planes>),
    Sim(SimNode),
}

impl Runtime {
    /// Starts `data_threads` data threads, then runs `main` on the calling thread, which becomes
    /// the control plane, until it ends. Tasks still running then are dropped.
    ///
    /// # Errors
    /// When the operating system refuses a thread or an event queue.
    pub fn run<F, M>(data_threads: usize, main: M) -> std::io::Result<F::Output>
    where
        F: Future,
        M: FnOnce(Runtime) -> F,
    {
        planes::raise_descriptors_max();
        let (planes, owner) = Planes::start(data_threads)?;
        let runtime = Runtime {
            twin: Twin::Real(Arc::new(planes)),
            clock: Clock::real(),
            entropy: Entropy::real(),
            disk: Disk::real(),
            net: Net::real(),
        };
        Ok(owner.block_on(main(runtime)))
    }

    /// The handle of a node of a simulated world.
    #[must_use]
    pub fn simulated(node: &SimNode) -> Runtime {
        Runtime {
            clock: node.clock(),
            entropy: node.entropy(),
            disk: Disk::simulated(node.disk()),
            net: Net::simulated(node.clone()),
            twin: Twin::Sim(node.clone()),
        }
    }

    /// The same, with the real files of this machine: what happens to them is not decided by the
    /// world, and survives it.
    #[must_use]
    pub fn with_real_disk(self) -> Runtime {
        Runtime { disk: Disk::real(), ..self }
    }

    /// Time: a monotonic clock, the wall clock and timers.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Randomness; in simulation, from the seed.
    #[must_use]
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// Files.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Sockets.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Names this run of the machine's kernel, as long as which its page cache lives; `None` where
    /// the system does not tell.
    #[must_use]
    pub fn boot_id(&self) -> Option<String> {
        match &self.twin {
            Twin::Real(_) => disk::real_boot_id(),
            Twin::Sim(node) => Some(node.boot_id()),
        }
    }

    /// Number of data threads; `Plane::Data(i)` is legal for `i` below it.
    #[must_use]
    pub fn data_threads(&self) -> usize {
        match &self.twin {
            Twin::Real(planes) => planes.data_threads(),
            Twin::Sim(_) => 1,
        }
    }

    /// Descriptors that the process may hold. At its start it took what it is allowed to.
    #[must_use]
    pub fn descriptors_max(&self) -> usize {
        match &self.twin {
            Twin::Real(_) => planes::descriptors_max(),
            Twin::Sim(_) => usize::MAX,
        }
    }

    /// Runs `future` as a task on `plane`. A panic ends the task and is logged with its name.
    pub fn spawn<F>(&self, plane: Plane, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.twin {
            Twin::Real(planes) => Task::spawned(planes.handle(plane).spawn(future), name),
            Twin::Sim(node) => node.spawn(name, future),
        }
    }

    /// Runs `future` as a task without which the process must not go on: when it panics, the
    /// process ends with status 70 (in simulation, the node is reported as broken).
    pub fn spawn_vital<F>(&self, plane: Plane, name: &'static str, future: F) -> Task<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = self.clone();
        let guarded = task::PanicWatch::new(future, move || runtime.vital_task_died(name));
        self.spawn(plane, name, guarded)
    }

    /// Runs work that may stall (an fsync, deletions, recovery) off the plane's thread and waits
    /// for it. Each plane has a pool of its own, so that metadata never queues behind data.
    ///
    /// # Panics
    /// Passes on a panic of `work`.
    pub async fn blocking<T, W>(&self, plane: Plane, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        match &self.twin {
            Twin::Real(planes) => planes.blocking(plane, work).await,
            Twin::Sim(node) => {
                node.before_blocking_work().await;
                work()
            }
        }
    }

    /// A thread of its own for work that may stall, and that comes all the time.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn worker(&self, name: &'static str) -> std::io::Result<Worker> {
        match &self.twin {
            Twin::Real(_) => Worker::real(name),
            Twin::Sim(node) => Ok(Worker::simulated(node.clone())),
        }
    }

    /// Completes when the process is asked to end (SIGTERM or SIGINT; in simulation, when the
    /// harness asks).
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub async fn termination(&self) -> std::io::Result<()> {
        match &self.twin {
            Twin::Real(_) => planes::termination_signal().await,
            Twin::Sim(node) => {
                node.stop_requested().await;
                Ok(())
            }
        }
    }

    fn vital_task_died(&self, name: &'static str) {
        tracing::error!(task = name, "a task that the node cannot live without panicked");
        match &self.twin {
            Twin::Real(_) => std::process::exit(70),
            Twin::Sim(node) => node.report_broken(name),
        }
    }
}
