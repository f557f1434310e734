//! Tells the controller in which directories this node's replicas are (Kafka's
//! `AssignmentsManager`), as far as the metadata says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_metadata::controller::ReplicaAssignments;
use ottla_metadata::{ControllerHandle, ImageCell};
use ottla_runtime::Clock;
use ottla_types::{BrokerEpoch, ErrorCode, NodeId, TopicIdPartition, Uuid};
use tokio::sync::mpsc;

/// Most replicas in one request (Kafka's `MAX_ASSIGNMENTS_PER_REQUEST`).
const BATCH_MAX: usize = 2250;
/// Pauses after a request that failed.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The task that tells it.
pub(crate) struct Assignments {
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    pub(crate) images: ImageCell,
    pub(crate) controller: ControllerHandle,
    pub(crate) epoch: Arc<AtomicI64>,
    pub(crate) moved: mpsc::UnboundedReceiver<(TopicIdPartition, Uuid)>,
}

impl Assignments {
    /// Runs as long as the node.
    pub(crate) async fn run(mut self) {
        let mut waiting: BTreeMap<TopicIdPartition, Uuid> = BTreeMap::new();
        let mut new = Vec::new();
        let mut pause = RETRY_MIN;
        loop {
            if waiting.is_empty() && self.moved.recv_many(&mut new, BATCH_MAX).await == 0 {
                // The node ends.
                std::future::pending::<()>().await;
            }
            while let Ok(one) = self.moved.try_recv() {
                new.push(one);
            }
            waiting.extend(new.drain(..));
            let sent = self.take_valid(&mut waiting);
            let left = if sent.is_empty() { Vec::new() } else { self.tell(sent).await };
            if left.is_empty() {
                pause = RETRY_MIN;
                continue;
            }
            for (id, directory) in left {
                waiting.entry(id).or_insert(directory);
            }
            self.clock.sleep(pause).await;
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// The next replicas to be told of; those that are gone, or are known to be there, are not.
    fn take_valid(
        &self,
        waiting: &mut BTreeMap<TopicIdPartition, Uuid>,
    ) -> Vec<(TopicIdPartition, Uuid)> {
        let image = self.images.load();
        let mut sent = Vec::new();
        while sent.len() < BATCH_MAX
            && let Some((id, directory)) = waiting.pop_first()
        {
            let partition = image.partition_by_id(id);
            // The image of this moment may not show the partition yet.
            let known = partition.and_then(|partition| partition.directory(self.node));
            if known != Some(directory) {
                sent.push((id, directory));
            }
        }
        sent
    }

    /// Asks the controller; gives back what is to be told again.
    async fn tell(&self, sent: Vec<(TopicIdPartition, Uuid)>) -> Vec<(TopicIdPartition, Uuid)> {
        let request = ReplicaAssignments {
            broker: self.node,
            epoch: BrokerEpoch(self.epoch.load(Ordering::Relaxed)),
            replicas: sent.clone(),
        };
        match self.controller.assign_replicas(request).await {
            Ok(errors) => {
                let failed =
                    sent.into_iter().zip(errors).filter(|(_, error)| needs_another_try(*error));
                failed.map(|(one, _)| one).collect()
            }
            Err(error) if error.code() == ErrorCode::UnsupportedVersion => {
                // Below metadata.version 3.7-IV2 nobody knows directories.
                tracing::debug!(%error, "replicas have no directories");
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(%error, "the directories of replicas are not noted yet");
                sent
            }
        }
    }
}

/// Whether it may be noted later: a replica that is gone needs it no more.
fn needs_another_try(error: ErrorCode) -> bool {
    !matches!(
        error,
        ErrorCode::None
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
    )
}
