//! The logs of `__consumer_offsets` and `__transaction_state` as coordinators see them, and which
//! of their partitions this node leads.

use bytes::Bytes;
use ottla_coordinator::Groups;
use ottla_coordinator::group::{Part, Transaction, TransactionEnd};
use ottla_coordinator::runtime::{Appended, GROUPS_TOPIC, LogPort};
use ottla_metadata::image::Image;
use ottla_protocol::batch::BatchHeader;
use ottla_replication::{Acks, FetchSpec, Isolation, Partition, Replicas, Transactional};
use ottla_runtime::{Plane, Runtime};
use ottla_storage::{IncomingBatch, Marker, VerificationGuard};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionId, TopicIdPartition, Uuid};
use std::sync::Arc;

/// The partitions of this node.
pub(crate) struct CoordinatorLogs {
    pub(crate) runtime: Runtime,
    pub(crate) replicas: Replicas,
}

impl CoordinatorLogs {
    fn partition(&self, id: TopicIdPartition) -> Result<Arc<Partition>, ErrorCode> {
        self.replicas.get(&id).ok_or_else(|| self.replicas.why_missing(&id))
    }
}

impl LogPort for CoordinatorLogs {
    fn append(
        &self,
        id: TopicIdPartition,
        bytes: Bytes,
        part: Part,
    ) -> Result<Appended, ErrorCode> {
        let partition = self.partition(id)?;
        let header = BatchHeader::read(&bytes).expect("the coordinator builds batches");
        let now = self.runtime.clock().wall();
        let batch = IncomingBatch { header, bytes };
        let appended = match part {
            Part::None => partition.append(&batch, Acks::All, now),
            Part::Of(of) => partition.append_transactional(&batch, written_in(of), Acks::All, now),
            Part::End(end) => partition.append_marker(&marker_of(end), now),
        };
        let appended = appended.map_err(|error| error.code())?;
        if appended.start_flush {
            let threads = self.runtime.data_threads();
            let thread = id.partition.0.unsigned_abs() as usize % threads;
            self.replicas.flush(partition, Plane::Data(thread));
        }
        let committed = appended.wait.map(|mut wait| -> ottla_coordinator::runtime::Committed {
            Box::pin(async move { wait.acknowledged().await.map_err(|error| error.code()) })
        });
        Ok(Appended { base: appended.info.base_offset, committed })
    }

    fn batch_bytes_max(&self, id: TopicIdPartition) -> Result<usize, ErrorCode> {
        let config = self.partition(id)?.config().map_err(|error| error.code())?;
        Ok(config.message_bytes_max.min(config.segment_bytes) as usize)
    }

    fn read(&self, id: TopicIdPartition, from: Offset, bytes_max: u64) -> Result<Bytes, ErrorCode> {
        let spec = FetchSpec {
            offset: from,
            bytes_max,
            at_least_one: true,
            isolation: Isolation::ReadUncommitted,
            leader_epoch: None,
            last_fetched_epoch: None,
        };
        let outcome = self.partition(id)?.fetch(spec).map_err(|error| error.code())?;
        let Some(extent) = outcome.extent else { return Ok(Bytes::new()) };
        let mut bytes = vec![0; usize::try_from(extent.len).expect("a piece is short")];
        let read = extent.file.read_exact_at(&mut bytes, extent.position);
        read.map_err(|_| ErrorCode::KafkaStorageError)?;
        Ok(bytes.into())
    }

    fn bounds(&self, id: TopicIdPartition) -> Result<(Offset, Offset), ErrorCode> {
        let offsets = self.partition(id)?.offsets(None).map_err(|error| error.code())?;
        Ok((offsets.log_start, offsets.high_watermark))
    }
}

fn written_in(of: Transaction) -> Transactional {
    let guard = of.guard.map(VerificationGuard);
    Transactional { is_coordinator: true, verified: of.verified, guard }
}

fn marker_of(end: TransactionEnd) -> Marker {
    Marker {
        producer_id: end.producer_id,
        producer_epoch: end.producer_epoch,
        commit: end.commit,
        coordinator_epoch: end.coordinator_epoch,
        transaction_version: end.transaction_version,
    }
}

/// A coordinator's topic, how many partitions it has, and which of them this node leads.
pub(crate) fn led(
    image: &Image,
    topic: &str,
    node: NodeId,
) -> (Uuid, i32, Vec<(PartitionId, LeaderEpoch)>) {
    let Some(topic) = image.topic(topic) else { return (Uuid::ZERO, 0, Vec::new()) };
    let led = topic.partitions().filter(|(_, partition)| partition.leader == node);
    let led = led.map(|(id, partition)| (id, partition.leader_epoch)).collect();
    (topic.id, i32::try_from(topic.partition_count()).unwrap_or(i32::MAX), led)
}

/// Tells the coordinator which partitions this node leads.
pub(crate) fn lead(groups: &Groups, image: &Image, node: NodeId) {
    let (topic, count, led) = led(image, GROUPS_TOPIC, node);
    groups.lead(topic, count, &led);
}
