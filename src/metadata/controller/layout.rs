//! The partitions of a new topic: placed by the controller, or assigned by hand.

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, NodeId, PartitionEpoch, PartitionId};

use super::create_topics::{ManualAssignment, NewTopic};
use super::error::{AssignmentError, PlacementError, TopicError};
use super::members::default_directory;
use super::placement::{UsableBroker, place};
use super::{Controller, Random};
use crate::image::{LeaderRecovery, Partition};

impl Controller {
    /// The partitions of a new topic, by index.
    pub(super) fn lay_out(
        &self,
        topic: &NewTopic,
        random: &mut Random<'_>,
    ) -> Result<Vec<Partition>, TopicError> {
        if !topic.assignments.is_empty() {
            if topic.replication_factor != -1 {
                return Err(TopicError::AssignedAndReplicationFactor);
            }
            if topic.partitions != -1 {
                return Err(TopicError::AssignedAndPartitionCount);
            }
            return self.assign(&topic.assignments).map_err(TopicError::BadAssignment);
        }
        let times = or_default(topic.replication_factor, self.settings.default_replication_factor)
            .ok_or(TopicError::BadReplicationFactor)?;
        let partitions = or_default(topic.partitions, self.settings.default_partitions)
            .ok_or(TopicError::BadPartitionCount)?;
        self.place_partitions(partitions as usize, times as usize, random)
            .map_err(|reason| TopicError::CannotReplicate { times, reason })
    }

    pub(super) fn place_partitions(
        &self,
        partitions: usize,
        replication_factor: usize,
        random: &mut Random<'_>,
    ) -> Result<Vec<Partition>, PlacementError> {
        let placed = place(&self.usable_brokers(), partitions, replication_factor, random)?;
        let created = placed.into_iter().map(|replicas| self.new_partition(replicas));
        created.collect::<Option<Vec<Partition>>>().ok_or(PlacementError::AllInactive)
    }

    /// The brokers that can take a replica: not those about to stop, and not those whose
    /// directories are all cordoned.
    fn usable_brokers(&self) -> Vec<UsableBroker> {
        let stops = |id| self.sessions.is_shutting_down(id);
        let brokers = self.image.cluster().brokers();
        let usable = brokers.filter(|it| it.has_uncordoned_directory() && !stops(it.id));
        usable
            .map(|it| UsableBroker { id: it.id, rack: it.rack.clone(), fenced: it.fenced })
            .collect()
    }

    fn assign(&self, assignments: &[ManualAssignment]) -> Result<Vec<Partition>, AssignmentError> {
        let mut partitions = BTreeMap::new();
        let mut replication_factor = None;
        for assignment in assignments {
            let (id, replicas) = (assignment.partition, &assignment.replicas);
            if partitions.contains_key(&id) {
                return Err(AssignmentError::DuplicatePartition(id));
            }
            self.check_replicas(replicas)?;
            let expected = *replication_factor.get_or_insert(replicas.len());
            if replicas.len() != expected {
                let found = replicas.len();
                return Err(AssignmentError::OtherReplicationFactor { found, expected });
            }
            let partition = self.new_partition(replicas.clone());
            partitions.insert(id, partition.ok_or(AssignmentError::AllInactive(id))?);
        }
        let dense = partitions.keys().enumerate().all(|(at, id)| *id == PartitionId(at as i32));
        if dense { Ok(partitions.into_values().collect()) } else { Err(AssignmentError::Gap) }
    }

    pub(super) fn check_replicas(&self, replicas: &[NodeId]) -> Result<(), AssignmentError> {
        if replicas.is_empty() {
            return Err(AssignmentError::NoReplicas);
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for (at, id) in sorted.iter().enumerate() {
            if self.image.cluster().broker(*id).is_none() {
                return Err(AssignmentError::UnknownBroker(*id));
            }
            if at > 0 && sorted[at - 1] == *id {
                return Err(AssignmentError::DuplicateBroker(*id));
            }
        }
        Ok(())
    }

    /// A partition whose active replicas are in sync, the first of them its leader; `None` when
    /// none is active.
    pub(super) fn new_partition(&self, replicas: Vec<NodeId>) -> Option<Partition> {
        let is_active = |id: &&NodeId| self.image.cluster().broker(**id)?.is_active().then_some(());
        let isr: Vec<NodeId> =
            replicas.iter().filter(|id| is_active(id).is_some()).copied().collect();
        let directory = |id: &NodeId| default_directory(&self.image, *id);
        Some(Partition {
            directories: replicas.iter().map(directory).collect(),
            leader: *isr.first()?,
            isr,
            replicas,
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            recovery: LeaderRecovery::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        })
    }
}

/// A count as it is asked for, where -1 asks for the default; `None` when it is none.
fn or_default<T: From<i8> + PartialOrd>(asked: T, default: T) -> Option<T> {
    if asked == T::from(-1) { Some(default) } else { (asked > T::from(0)).then_some(asked) }
}
