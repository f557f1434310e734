//! What a broker's coming and going means for the partitions it holds.

use ottla_protocol::metadata::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord,
};
use ottla_types::{BrokerEpoch, NodeId, PartitionId, TopicIdPartition, Uuid};

use super::Controller;
use super::partition_change::{Brokers, Election, PartitionChange, Rules};
use crate::image::{Image, Topic};
use crate::versions::VersionedRecord;

/// What happens to a broker. The image still shows it as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// None: the brokers stay as they are.
    Stays,
    /// It can lead no more: it is fenced, about to stop, or its directory is offline.
    Leaves(NodeId),
    /// It can lead again.
    Joins(NodeId),
    /// It came back after a crash, and may lack records that it had.
    LostData(NodeId),
}

/// The brokers as they will be after a move.
pub(super) struct AfterMove<'a> {
    pub(super) image: &'a Image,
    pub(super) step: Move,
}

impl AfterMove<'_> {
    /// The brokers as they are.
    pub(super) fn none(image: &Image) -> AfterMove<'_> {
        AfterMove { image, step: Move::Stays }
    }
}

impl Brokers for AfterMove<'_> {
    fn is_acceptable(&self, broker: NodeId, directory: Uuid) -> bool {
        let Some(registration) = self.image.cluster().broker(broker) else { return false };
        let active = match self.step {
            Move::Leaves(left) | Move::LostData(left) if left == broker => false,
            // Only a new registration ends a controlled shutdown.
            Move::Joins(joined) if joined == broker => !registration.in_controlled_shutdown,
            _ => registration.is_active(),
        };
        active && registration.has_online_directory(directory)
    }

    fn default_directory(&self, broker: NodeId) -> Uuid {
        default_directory(self.image, broker)
    }
}

/// The directory that a new replica gets: the broker's only one, else the broker will name it.
pub(super) fn default_directory(image: &Image, broker: NodeId) -> Uuid {
    match image.cluster().broker(broker).map(|it| it.directories.as_slice()) {
        Some([]) => Uuid::DIR_MIGRATING,
        Some([only]) => *only,
        _ => Uuid::DIR_UNASSIGNED,
    }
}

impl Controller {
    /// What a fenced broker's partitions become, then the fence. In this order nobody sees a
    /// fenced leader.
    pub(super) fn fence_records(&self, id: NodeId, epoch: BrokerEpoch) -> Vec<VersionedRecord> {
        let mut records = self.moved(Move::Leaves(id), self.index.in_sync(id));
        let change = BrokerRegistrationChangeRecord { fenced: 1, ..registration_change(id, epoch) };
        records.push(self.record(change));
        records
    }

    /// Unfences, then lets the broker lead what has no leader.
    pub(super) fn unfence_records(&self, id: NodeId, epoch: BrokerEpoch) -> Vec<VersionedRecord> {
        let change =
            BrokerRegistrationChangeRecord { fenced: -1, ..registration_change(id, epoch) };
        let mut records = vec![self.record(change)];
        records.extend(self.moved(Move::Joins(id), self.index.leaderless()));
        records
    }

    /// Begins a controlled shutdown, if that is not noted yet, and moves the broker's partitions.
    pub(super) fn shutdown_records(&self, id: NodeId, epoch: BrokerEpoch) -> Vec<VersionedRecord> {
        let mut records = Vec::new();
        if !self.image.cluster().broker(id).is_some_and(|it| it.in_controlled_shutdown) {
            records.push(self.record(BrokerRegistrationChangeRecord {
                in_controlled_shutdown: 1,
                ..registration_change(id, epoch)
            }));
        }
        records.extend(self.moved(Move::Leaves(id), self.index.in_sync(id)));
        records
    }

    /// What an incarnation leaves behind when the next one registers. After a crash it counts
    /// neither as in sync nor as eligible (KIP-966).
    pub(super) fn previous_incarnation_records(
        &self,
        id: NodeId,
        stopped_cleanly: bool,
    ) -> Vec<VersionedRecord> {
        if stopped_cleanly || !self.image.features().elr_enabled() {
            return self.moved(Move::Leaves(id), self.index.in_sync(id));
        }
        let mut records = self.moved(Move::LostData(id), self.index.in_sync(id));
        records.extend(self.moved(Move::LostData(id), self.index.eligible(id)));
        records
    }

    /// The changes of these partitions that follow from a move, by topic id and index.
    pub(super) fn moved(
        &self,
        step: Move,
        partitions: Vec<TopicIdPartition>,
    ) -> Vec<VersionedRecord> {
        let changes = partitions.into_iter().filter_map(|id| self.moved_partition(step, id));
        changes.map(|change| self.record(MetadataRecord::from(change))).collect()
    }

    fn moved_partition(&self, step: Move, id: TopicIdPartition) -> Option<PartitionChangeRecord> {
        let topic = self.image.topics().by_id(id.topic_id).expect("indexed topics are there");
        let partition = topic.partition(id.partition).expect("indexed partitions are there");
        let without = |left: NodeId| {
            partition.isr.iter().copied().filter(|broker| *broker != left).collect::<Vec<_>>()
        };
        let change = PartitionChange::new(partition, self.rules(topic))
            .election(self.election_for(&topic.name));
        let change = match step {
            Move::Leaves(broker) => change.isr(without(broker)),
            Move::LostData(broker) => change.isr(without(broker)).lost_data(broker),
            Move::Joins(_) | Move::Stays => change,
        };
        change.build(id, &AfterMove { image: &self.image, step })
    }

    pub(super) fn rules(&self, topic: &Topic) -> Rules {
        let first = topic.partition(PartitionId(0));
        let replicas = first.map_or(usize::MAX, |partition| partition.replicas.len());
        Rules {
            version: self.version(),
            elr_enabled: self.image.features().elr_enabled(),
            min_isr: self.min_isr(&topic.name).min(replicas),
        }
    }

    fn election_for(&self, topic: &str) -> Election {
        if self.allows_unclean_election(topic) { Election::Unclean } else { Election::Clean }
    }
}

/// A change of a registration that changes nothing yet.
pub(super) fn registration_change(
    broker_id: NodeId,
    broker_epoch: BrokerEpoch,
) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord { broker_id, broker_epoch, ..Default::default() }
}
