//! Watches the health of the log directories while the node runs.
//!
//! One that fails is told to the controller with the next heartbeat, and who waits for its
//! partitions is told at once. The node ends with the directory of the metadata log, and with the
//! last one of partitions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use ottla_replication::Replicas;
use ottla_storage::{LogDir, LogDirs};
use ottla_types::Uuid;
use tokio::sync::watch;

type Failure = Pin<Box<dyn Future<Output = String> + Send>>;

/// Runs until the node cannot go on; tells why. `offline` gets the ids of directories that failed.
pub(crate) async fn watch(
    dirs: &LogDirs,
    replicas: &Replicas,
    offline: watch::Sender<Vec<Uuid>>,
) -> String {
    let failure = |dir: &Arc<LogDir>| -> Failure {
        let health = dir.health().clone();
        Box::pin(async move { health.fenced().await })
    };
    let mut healthy: Vec<_> = dirs.all().map(|dir| (dir.clone(), failure(dir))).collect();
    loop {
        let (dir, reason) = first_failed(&mut healthy).await;
        let all_failed = dirs.dirs().iter().all(|dir| dir.health().is_fenced());
        if all_failed || dir.id() == dirs.metadata().id() {
            return reason;
        }
        tracing::error!(dir = %dir.path().display(), "stopped serving a log directory");
        replicas.end_waits_of_fenced();
        offline.send_modify(|ids| ids.push(dir.id()));
    }
}

/// Waits for the next failure; in the order of the directories when several fail at once.
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
