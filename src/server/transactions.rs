//! The end of a transaction in partitions of this node: a control batch in each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::Groups;
use ottla_coordinator::group::TransactionEnd;
use ottla_coordinator::runtime::GROUPS_TOPIC;
use ottla_metadata::ImageCell;
use ottla_replication::{AckWait, Replicas};
use ottla_runtime::{Plane, Runtime};
use ottla_storage::Marker;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId, TopicIdPartition, TopicPartition, Uuid};

/// Longest wait until a marker is committed (Kafka's default of `request.timeout.ms`).
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest wait for what the coordinator says (the same).
pub const COORDINATOR_WAIT_MAX: Duration = Duration::from_secs(30);

/// Ends transactions in the partitions of this node. Copies share what they work with.
#[derive(Clone)]
pub struct Markers {
    /// The world.
    pub runtime: Runtime,
    /// What the cluster looks like now.
    pub images: ImageCell,
    /// The partitions of this node.
    pub replicas: Replicas,
    /// Groups: their topic's markers go through them.
    pub groups: Groups,
}

/// What there is to wait for.
enum Begun {
    /// Nothing.
    Done,
    /// That it is committed.
    Appended(AckWait),
    /// The same, and that offsets are settled.
    Groups(Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>),
}

impl Begun {
    async fn ended(self) -> Result<(), ErrorCode> {
        match self {
            Begun::Done => Ok(()),
            Begun::Appended(mut wait) => wait.acknowledged().await.map_err(|error| error.code()),
            Begun::Groups(ended) => ended.await.map_err(told_of_groups),
        }
    }
}

impl Markers {
    /// Appends markers, at once and on this thread, which writes files; the outcomes come when
    /// they are committed. `UNKNOWN_TOPIC_OR_PARTITION` is that of a partition that does not
    /// exist; after `INVALID_PRODUCER_EPOCH` and `TRANSACTION_COORDINATOR_FENCED` it is of no use
    /// to try again.
    pub fn write(
        &self,
        markers: Vec<(TopicPartition, Marker)>,
        plane: Plane,
    ) -> impl Future<Output = Vec<Result<(), ErrorCode>>> + Send + use<> {
        let begun: Vec<_> = markers
            .iter()
            .map(|(partition, marker)| self.begin(partition, marker, plane))
            .collect();
        let clock = self.runtime.clock().clone();
        let deadline = clock.now().after(COMMIT_WAIT_MAX);
        async move {
            let mut outcomes = Vec::with_capacity(begun.len());
            for begun in begun {
                let left = deadline.since(clock.now());
                let ended = async { begun?.ended().await };
                let ended = clock.timeout(left, ended).await;
                outcomes.push(ended.unwrap_or(Err(ErrorCode::RequestTimedOut)));
            }
            outcomes
        }
    }

    fn begin(
        &self,
        partition: &TopicPartition,
        marker: &Marker,
        plane: Plane,
    ) -> Result<Begun, ErrorCode> {
        let id = TopicIdPartition {
            topic_id: self.topic_id(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?,
            partition: partition.partition,
        };
        if marker.producer_id <= ProducerId::NONE || marker.producer_epoch <= ProducerEpoch::NONE {
            // Kafka cannot build such a batch.
            return Err(ErrorCode::UnknownServerError);
        }
        let is_of_groups = &*partition.topic == GROUPS_TOPIC;
        let partition = self.replicas.get(&id).ok_or_else(|| self.replicas.why_missing(&id))?;
        let now = self.runtime.clock().wall();
        let appended = if is_of_groups {
            // One that is refused, or is there, is no step of the coordinator's.
            let found = partition.find_marker(marker, now).map_err(|error| error.code())?;
            let Some(found) = found else {
                let ended = self.groups.end_transaction(id.partition, end_of(marker));
                return Ok(Begun::Groups(Box::pin(ended)));
            };
            found
        } else {
            partition.append_marker(marker, now).map_err(|error| error.code())?
        };
        if appended.start_flush {
            self.replicas.flush(Arc::clone(&partition), plane);
        }
        Ok(appended.wait.map_or(Begun::Done, Begun::Appended))
    }

    /// Id of the topic, if it has the partition.
    fn topic_id(&self, partition: &TopicPartition) -> Option<Uuid> {
        let image = self.images.load();
        let topic = image.topics().by_name(&partition.topic)?;
        topic.partition(partition.partition).map(|_| topic.id)
    }
}

fn end_of(marker: &Marker) -> TransactionEnd {
    TransactionEnd {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        commit: marker.commit,
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: marker.transaction_version,
    }
}

/// What a transaction coordinator is told of a coordinator of groups that is not ready.
fn told_of_groups(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => ErrorCode::NotLeaderOrFollower,
        other => other,
    }
}
