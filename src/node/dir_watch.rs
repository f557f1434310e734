//! Watches the health of the log directories while the node runs.
//!
//! One that fails is told to the controller with the next heartbeat, and who waits for its
//! partitions is told at once. The node ends with the directory of the metadata log, with the last
//! one of partitions, and when the controller was not told of a failure in time: it would go on
//! to take this node for the leader of what is gone.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ottla_replication::Replicas;
use ottla_runtime::Clock;
use ottla_storage::{LogDir, LogDirs};
use ottla_types::{MonoTime, Uuid};
use tokio::sync::watch;

type Failure = Pin<Box<dyn Future<Output = String> + Send>>;

/// How many of the directories that failed the controller was told of, in the order in which they
/// failed. Before the first heartbeat nobody need be told: the broker leads nothing. Copies share
/// it.
#[derive(Clone)]
pub(crate) struct ToldFailures(Arc<AtomicUsize>);

impl Default for ToldFailures {
    fn default() -> ToldFailures {
        ToldFailures(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl ToldFailures {
    /// The controller was told of the first `count` failures.
    pub(crate) fn note(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Who is told of a failure.
pub(crate) struct DirWatch {
    pub(crate) clock: Clock,
    /// `log.dir.failure.timeout.ms`.
    pub(crate) timeout: Duration,
    /// Ids of the directories that failed, in order.
    pub(crate) offline: watch::Sender<Vec<Uuid>>,
    pub(crate) told: ToldFailures,
}

/// A failure that the controller may not know of.
struct Untold {
    /// How many failures it knows when it knows this one.
    count: usize,
    dir: PathBuf,
    deadline: MonoTime,
}

impl DirWatch {
    /// Runs until the node cannot go on; tells why.
    pub(crate) async fn run(self, dirs: &LogDirs, replicas: &Replicas) -> String {
        let failure = |dir: &Arc<LogDir>| -> Failure {
            let health = dir.health().clone();
            Box::pin(async move { health.fenced().await })
        };
        let mut healthy: Vec<_> = dirs.all().map(|dir| (dir.clone(), failure(dir))).collect();
        let mut untold: VecDeque<Untold> = VecDeque::new();
        loop {
            let deadline = untold.front().map(|first| first.deadline);
            let (dir, reason) = tokio::select! {
                biased;
                failed = first_failed(&mut healthy) => failed,
                () = self.passed(deadline) => {
                    let first = untold.pop_front().expect("its deadline has passed");
                    if self.told.count() < first.count {
                        return format!(
                            "{}: the controller could not be told of its failure within \
                             log.dir.failure.timeout.ms",
                            first.dir.display()
                        );
                    }
                    continue;
                }
            };
            let all_failed = dirs.dirs().iter().all(|dir| dir.health().is_fenced());
            if all_failed || dir.id() == dirs.metadata().id() {
                return reason;
            }
            tracing::error!(dir = %dir.path().display(), "stopped serving a log directory");
            replicas.end_waits_of_fenced();
            self.offline.send_modify(|ids| ids.push(dir.id()));
            let count = self.offline.borrow().len();
            let deadline = self.clock.now().after(self.timeout);
            untold.push_back(Untold { count, dir: dir.path().to_owned(), deadline });
        }
    }

    async fn passed(&self, deadline: Option<MonoTime>) {
        match deadline {
            Some(deadline) => self.clock.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// Waits for the next failure; in the order of the directories when several fail at once. Cancel
/// safe.
async fn first_failed(healthy: &mut Vec<(Arc<LogDir>, Failure)>) -> (Arc<LogDir>, String) {
    std::future::poll_fn(|cx| {
        for at in 0..healthy.len() {
            if let Poll::Ready(reason) = healthy[at].1.as_mut().poll(cx) {
                return Poll::Ready((healthy.remove(at).0, reason));
            }
        }
        Poll::Pending
    })
    .await
}
