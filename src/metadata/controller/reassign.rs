//! AlterPartitionReassignments: other brokers for a partition (KIP-455).
//!
//! New replicas are added first. Those that are to go stay until enough of the others are in sync;
//! then [`super::partition_change`] completes it. An assignment that only changes the order is
//! complete at once; one that is there already changes nothing. A reassignment that is cancelled
//! goes back to what was before.

use std::fmt;

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, PartitionId, TopicIdPartition};

use super::error::{AssignmentError, TopicError};
use super::members::AfterMove;
use super::partition_change::{Election, PartitionChange};
use super::{Controller, Decision, USER_RECORDS_MAX};
use crate::image::{Partition, Topic};
use crate::versions::VersionedRecord;

/// A partition and its brokers, the preferred leader first; without them the reassignment under way
/// is cancelled.
pub type WantedReplicas = (PartitionId, Option<Vec<NodeId>>);

/// A request for reassignments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassignments {
    /// What is wanted, by the topic's name.
    pub topics: Vec<(String, Vec<WantedReplicas>)>,
    /// Whether a partition may get another number of replicas (KIP-860).
    pub may_change_replication_factor: bool,
}

/// What became of the reassignments in a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReassignedTopic {
    /// Its name.
    pub name: String,
    /// Each partition.
    pub partitions: Vec<(PartitionId, Result<(), ReassignmentError>)>,
}

/// Why a partition is not reassigned. The texts are those of Kafka 4.3.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReassignmentError {
    /// No topic has this name.
    UnknownTopic(String),
    /// The topic has no such partition.
    UnknownPartition(String, PartitionId),
    /// There is nothing to cancel.
    NotInProgress,
    /// Without the new replicas none would be in sync.
    WouldBeUnclean(String, PartitionId),
    /// The number of replicas is to stay.
    ReplicationFactorChanges {
        /// The present number.
        present: usize,
        /// The number asked for.
        wanted: usize,
    },
    /// As for a topic that is created.
    BadAssignment(AssignmentError),
}

impl ReassignmentError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ReassignmentError::UnknownTopic(_) | ReassignmentError::UnknownPartition(..) => {
                ErrorCode::UnknownTopicOrPartition
            }
            ReassignmentError::NotInProgress => ErrorCode::NoReassignmentInProgress,
            ReassignmentError::WouldBeUnclean(..) | ReassignmentError::BadAssignment(_) => {
                ErrorCode::InvalidReplicaAssignment
            }
            ReassignmentError::ReplicationFactorChanges { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
        }
    }

    /// The text beside the code, where Kafka sends one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        (*self != ReassignmentError::NotInProgress).then(|| self.to_string())
    }
}

impl fmt::Display for ReassignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReassignmentError::UnknownTopic(name) => {
                write!(f, "Unable to find a topic named {name}.")
            }
            ReassignmentError::UnknownPartition(name, id) => {
                write!(f, "Unable to find partition {name}:{id}.")
            }
            ReassignmentError::NotInProgress => {
                f.write_str("No partition reassignment is in progress.")
            }
            ReassignmentError::WouldBeUnclean(name, id) => write!(
                f,
                "Unable to revert partition assignment for {name}:{id} because it would require an \
                 unclean leader election."
            ),
            ReassignmentError::ReplicationFactorChanges { present, wanted } => {
                write!(f, "The replication factor is changed from {present} to {wanted}")
            }
            ReassignmentError::BadAssignment(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReassignmentError {}

impl Controller {
    /// Begins and cancels reassignments.
    ///
    /// # Errors
    /// When it is too much at once.
    pub fn reassign(
        &self,
        request: &Reassignments,
    ) -> Result<Decision<Vec<ReassignedTopic>>, TopicError> {
        let mut records = Vec::new();
        let mut topics = Vec::new();
        for (name, asked) in &request.topics {
            let topic = self.image.topics().by_name(name);
            let mut partitions = Vec::new();
            for (id, replicas) in asked {
                let done = match topic {
                    None => Err(ReassignmentError::UnknownTopic(name.clone())),
                    Some(topic) => self.reassign_one(topic, *id, replicas.as_deref(), request),
                };
                partitions.push((*id, done.map(|record| records.extend(record))));
            }
            topics.push(ReassignedTopic { name: name.clone(), partitions });
        }
        if records.len() > USER_RECORDS_MAX {
            return Err(TopicError::TooManyRecords);
        }
        Ok(Decision::atomic(records, topics))
    }

    fn reassign_one(
        &self,
        topic: &Topic,
        id: PartitionId,
        replicas: Option<&[NodeId]>,
        request: &Reassignments,
    ) -> Result<Option<VersionedRecord>, ReassignmentError> {
        let unknown = || ReassignmentError::UnknownPartition(topic.name.to_string(), id);
        let partition = topic.partition(id).ok_or_else(unknown)?;
        let change = match replicas {
            Some(replicas) => {
                self.check_replicas(replicas).map_err(ReassignmentError::BadAssignment)?;
                if !request.may_change_replication_factor {
                    check_replication_factor(partition, replicas.len())?;
                }
                self.change_replicas(topic, partition, replicas)
            }
            None => self.cancel(topic, id, partition)?,
        };
        let id = TopicIdPartition { topic_id: topic.id, partition: id };
        let record = change.build(id, &AfterMove::none(&self.image));
        Ok(record.map(|record| self.record(MetadataRecord::from(record))))
    }

    fn change_replicas<'a>(
        &self,
        topic: &Topic,
        partition: &'a Partition,
        wanted: &[NodeId],
    ) -> PartitionChange<'a> {
        let without = |all: &[NodeId], others: &[NodeId]| {
            let mut left: Vec<NodeId> =
                all.iter().copied().filter(|id| !others.contains(id)).collect();
            left.sort_unstable();
            left
        };
        let removing = without(&partition.replicas, wanted);
        let adding = without(wanted, &partition.replicas);
        let replicas = [wanted, &removing].concat();
        let mut change = PartitionChange::new(partition, self.rules(topic)).replicas(replicas);
        // What was under way and is not asked for any more stays noted, as with Kafka.
        if !removing.is_empty() {
            change = change.removing(removing);
        }
        if !adding.is_empty() {
            change = change.adding(adding);
        }
        change
    }

    /// Back to the replicas before the reassignment.
    fn cancel<'a>(
        &self,
        topic: &Topic,
        id: PartitionId,
        partition: &'a Partition,
    ) -> Result<PartitionChange<'a>, ReassignmentError> {
        if !partition.is_reassigning() {
            return Err(ReassignmentError::NotInProgress);
        }
        let stays = |broker: &NodeId| !partition.adding.contains(broker);
        let keep = |all: &[NodeId]| all.iter().copied().filter(stays).collect::<Vec<_>>();
        let (replicas, mut isr) = (keep(&partition.replicas), keep(&partition.isr));
        let unclean_allowed = self.allows_unclean_election(&topic.name);
        if isr.is_empty() {
            let first = replicas.first().filter(|_| unclean_allowed);
            let unclean = || ReassignmentError::WouldBeUnclean(topic.name.to_string(), id);
            isr.push(*first.ok_or_else(unclean)?);
        }
        let election = if unclean_allowed { Election::Unclean } else { Election::Clean };
        Ok(PartitionChange::new(partition, self.rules(topic))
            .election(election)
            .isr(isr)
            .replicas(replicas)
            .removing(Vec::new())
            .adding(Vec::new()))
    }
}

fn check_replication_factor(partition: &Partition, wanted: usize) -> Result<(), ReassignmentError> {
    let going = |broker: &&NodeId| partition.removing.contains(broker);
    let present = partition.replicas.iter().filter(|broker| !going(broker)).count();
    if present == wanted {
        return Ok(());
    }
    Err(ReassignmentError::ReplicationFactorChanges { present, wanted })
}
