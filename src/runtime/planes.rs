//! The threads of a real node.
//!
//! The control plane (quorum, controller, heartbeats, accepting connections) has a thread of its
//! own, because the data plane may stall in write-back: one inline write of 64 KiB was seen to take
//! 389 ms on a busy disk. Groups have one, too, which reads and writes no files at all: members
//! wait for neither data nor metadata.

use std::io;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Threads for blocking work behind each plane. They end after ten idle seconds.
const BLOCKING_THREADS_MAX: usize = 4;

/// Where a task runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plane {
    /// The control thread.
    Control,
    /// The thread of groups.
    Groups,
    /// One of the data threads, by index.
    Data(usize),
}

/// Handles on the threads; dropping it ends all but the control thread.
pub(crate) struct Planes {
    control: Handle,
    groups: PlaneThread,
    data: Vec<PlaneThread>,
}

struct PlaneThread {
    handle: Handle,
    /// Dropped with the planes: the thread sees it and ends.
    _stop: oneshot::Sender<()>,
}

/// Raises the soft limit on descriptors to the hard one, as the JVM does.
pub(crate) fn raise_descriptors_max() {
    let limits = getrlimit(Resource::Nofile);
    // A process that may not do this, for whatever reason, lives with what it has.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

/// Descriptors that the process may hold.
pub(crate) fn descriptors_max() -> usize {
    let max = getrlimit(Resource::Nofile).current;
    max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX))
}

impl Planes {
    pub(crate) fn start(data_threads: usize) -> io::Result<(Planes, tokio::runtime::Runtime)> {
        let control = build_runtime()?;
        let groups = start_thread("ottla-groups".to_owned())?;
        let data = (0..data_threads).map(|index| start_thread(format!("ottla-data-{index}")));
        let data = data.collect::<io::Result<Vec<_>>>()?;
        Ok((Planes { control: control.handle().clone(), groups, data }, control))
    }

    pub(crate) fn data_threads(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn handle(&self, plane: Plane) -> &Handle {
        match plane {
            Plane::Control => &self.control,
            Plane::Groups => &self.groups.handle,
            Plane::Data(index) => &self.data[index].handle,
        }
    }

    pub(crate) async fn blocking<T, W>(&self, plane: Plane, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        match self.handle(plane).spawn_blocking(work).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that shuts down cancels blocking work, and then nobody waits.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

fn build_runtime() -> io::Result<tokio::runtime::Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("ottla-blocking")
        .build()
}

fn start_thread(name: String) -> io::Result<PlaneThread> {
    let runtime = build_runtime()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::Builder::new().name(name).spawn(move || {
        // An error means that the sender is gone, which is the signal.
        let _ = runtime.block_on(stopped);
        runtime.shutdown_background();
    })?;
    Ok(PlaneThread { handle, _stop: stop })
}

/// Completes at the first SIGTERM or SIGINT.
pub(crate) async fn termination_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
