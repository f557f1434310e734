//! Adds partitions to topics: one PartitionRecord each.
//!
//! - Topics are decided one by one; one that is refused keeps no other from growing, and gets no
//!   partition. (Kafka leaves those that it had placed when it came to its limit of records.)
//! - New partitions get as many replicas as the first one of the topic has.

use std::fmt;

use ottla_types::{ErrorCode, NodeId, PartitionId};

use super::error::{AssignmentError, TopicError};
use super::{Controller, Decision, Random, USER_RECORDS_MAX};
use crate::image::{Partition, Topic};
use crate::versions::VersionedRecord;

/// A request to add partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPartitions {
    /// The topics, each once.
    pub topics: Vec<GrownTopic>,
    /// Whether to decide only, and write nothing.
    pub validate_only: bool,
}

/// A topic that is to have more partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrownTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it is to have.
    pub count: i32,
    /// The brokers of each new partition, the preferred leader first; `None` to have them placed.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// What became of a topic that was to have more partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionsOutcome {
    /// Its name.
    pub name: String,
    /// Why it has no more.
    pub result: Result<(), GrowthError>,
}

/// Why a topic gets no more partitions. The texts are those of Kafka 4.3.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrowthError {
    /// It has as many as it is to have.
    AlreadyHas(usize),
    /// It has more.
    NoIncrease {
        /// Its name.
        name: String,
        /// How many it has.
        present: usize,
        /// How many it was to have.
        wanted: i32,
    },
    /// Not one assignment for each new partition.
    AssignmentCount {
        /// New partitions.
        additional: usize,
        /// Assignments.
        given: usize,
    },
    /// As for a topic that is created.
    Topic(TopicError),
}

impl GrowthError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            GrowthError::AlreadyHas(_) | GrowthError::NoIncrease { .. } => {
                ErrorCode::InvalidPartitions
            }
            GrowthError::AssignmentCount { .. } => ErrorCode::InvalidReplicaAssignment,
            GrowthError::Topic(error) => error.code(),
        }
    }

    /// The text beside the code, where Kafka sends one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        (*self != GrowthError::Topic(TopicError::Unknown)).then(|| self.to_string())
    }
}

impl fmt::Display for GrowthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrowthError::AlreadyHas(present) => {
                write!(f, "Topic already has {present} partition(s).")
            }
            GrowthError::NoIncrease { name, present, wanted } => write!(
                f,
                "The topic {name} currently has {present} partition(s); {wanted} would not be an \
                 increase."
            ),
            GrowthError::AssignmentCount { additional, given } => write!(
                f,
                "Attempted to add {additional} additional partition(s), but only {given} \
                 assignment(s) were specified."
            ),
            GrowthError::Topic(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for GrowthError {}

impl From<TopicError> for GrowthError {
    fn from(error: TopicError) -> GrowthError {
        GrowthError::Topic(error)
    }
}

impl From<AssignmentError> for GrowthError {
    fn from(error: AssignmentError) -> GrowthError {
        GrowthError::Topic(TopicError::BadAssignment(error))
    }
}

impl Controller {
    /// Adds partitions to topics. What is refused stands in the reply.
    pub fn create_partitions(
        &self,
        request: &NewPartitions,
        random: &mut Random<'_>,
    ) -> Decision<Vec<PartitionsOutcome>> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for topic in &request.topics {
            let grown = self.grow(topic, USER_RECORDS_MAX - records.len(), random);
            let result = grown.map(|new| records.extend(new));
            outcomes.push(PartitionsOutcome { name: topic.name.clone(), result });
        }
        if request.validate_only {
            records.clear();
        }
        Decision::atomic(records, outcomes)
    }

    /// The records of a topic's new partitions, of which there may be `records_max`.
    fn grow(
        &self,
        asked: &GrownTopic,
        records_max: usize,
        random: &mut Random<'_>,
    ) -> Result<Vec<VersionedRecord>, GrowthError> {
        let topic = self.image.topics().by_name(&asked.name).ok_or(TopicError::Unknown)?;
        let present = topic.partition_count();
        let wanted = usize::try_from(asked.count).unwrap_or(0);
        if wanted == present {
            return Err(GrowthError::AlreadyHas(present));
        }
        let additional = wanted.checked_sub(present).ok_or_else(|| GrowthError::NoIncrease {
            name: asked.name.clone(),
            present,
            wanted: asked.count,
        })?;
        let given = asked.assignments.as_ref().map_or(additional, Vec::len);
        if given != additional {
            return Err(GrowthError::AssignmentCount { additional, given });
        }
        if additional > records_max {
            return Err(TopicError::TooManyRecords.into());
        }
        let new = match &asked.assignments {
            Some(assignments) => self.assign_more(topic, assignments)?,
            None => self.place_more(topic, additional, random)?,
        };
        let ids = (present..).map(|index| PartitionId(index as i32));
        let records = new.iter().zip(ids).map(|(new, id)| new.to_record(topic.id, id));
        Ok(records.map(|record| self.record(record)).collect())
    }

    fn place_more(
        &self,
        topic: &Topic,
        additional: usize,
        random: &mut Random<'_>,
    ) -> Result<Vec<Partition>, TopicError> {
        let times = replication_factor(topic);
        let cannot = |reason| {
            let times = i16::try_from(times).unwrap_or(i16::MAX);
            TopicError::CannotReplicate { times, reason }
        };
        self.place_partitions(additional, times, random).map_err(cannot)
    }

    fn assign_more(
        &self,
        topic: &Topic,
        assignments: &[Vec<NodeId>],
    ) -> Result<Vec<Partition>, AssignmentError> {
        let expected = replication_factor(topic);
        let first = topic.partition_count();
        let assign = |(at, replicas): (usize, &Vec<NodeId>)| {
            self.check_replicas(replicas)?;
            let found = replicas.len();
            if found != expected {
                return Err(AssignmentError::OtherReplicationFactor { found, expected });
            }
            let id = PartitionId((first + at) as i32);
            self.new_partition(replicas.clone()).ok_or(AssignmentError::AllInactive(id))
        };
        assignments.iter().enumerate().map(assign).collect()
    }
}

fn replication_factor(topic: &Topic) -> usize {
    topic.partition(PartitionId(0)).map_or(0, |partition| partition.replicas.len())
}
