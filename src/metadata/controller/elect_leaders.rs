//! ElectLeaders: elections that somebody asks for, of the preferred leader or an unclean one.
//!
//! A partition that has the leader that is asked for is not changed. Nothing is kept back from
//! others when one partition finds no leader.

use std::fmt;

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, PartitionId, TopicIdPartition};

use super::error::TopicError;
use super::members::AfterMove;
use super::partition_change::{Election, PartitionChange};
use super::{Controller, Decision, USER_RECORDS_MAX};
use crate::image::Topic;
use crate::versions::VersionedRecord;

/// Whom to elect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElectionKind {
    /// The first of the replicas, if it is complete; else any that is.
    Preferred,
    /// Where there is no leader, also a replica that may lack records.
    Unclean,
}

/// A request for elections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElectLeaders {
    /// Whom to elect.
    pub kind: ElectionKind,
    /// Where, by the topic's name; `None` is everywhere.
    pub partitions: Option<Vec<(String, Vec<PartitionId>)>>,
}

/// What became of the elections in a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElectedTopic {
    /// Its name.
    pub name: String,
    /// Each partition; of a request for everywhere, only those where something was to be done.
    pub partitions: Vec<(PartitionId, Result<(), ElectionError>)>,
}

/// Why there was no election. The texts are those of Kafka 4.3.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionError {
    /// No topic has this name.
    UnknownTopic(String),
    /// The topic has no such partition.
    UnknownPartition(String, PartitionId),
    /// The leader is the one that is asked for.
    NotNeeded,
    /// The preferred leader cannot lead, nor anybody better than now.
    PreferredUnavailable,
    /// Nobody can lead.
    NobodyEligible,
}

impl ElectionError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ElectionError::UnknownTopic(_) | ElectionError::UnknownPartition(..) => {
                ErrorCode::UnknownTopicOrPartition
            }
            ElectionError::NotNeeded => ErrorCode::ElectionNotNeeded,
            ElectionError::PreferredUnavailable => ErrorCode::PreferredLeaderNotAvailable,
            ElectionError::NobodyEligible => ErrorCode::EligibleLeadersNotAvailable,
        }
    }
}

impl fmt::Display for ElectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElectionError::UnknownTopic(name) => write!(f, "No such topic as {name}"),
            ElectionError::UnknownPartition(name, partition) => {
                write!(f, "No such partition as {name}-{partition}")
            }
            ElectionError::NotNeeded => {
                f.write_str("Leader election not needed for topic partition.")
            }
            ElectionError::PreferredUnavailable => {
                f.write_str("The preferred leader was not available.")
            }
            ElectionError::NobodyEligible => {
                f.write_str("Eligible topic partition leaders are not available.")
            }
        }
    }
}

impl std::error::Error for ElectionError {}

impl Controller {
    /// Elects leaders; topics of a request for everywhere come by name.
    ///
    /// # Errors
    /// When too many would be elected at once.
    pub fn elect_leaders(
        &self,
        request: &ElectLeaders,
    ) -> Result<Decision<Vec<ElectedTopic>>, TopicError> {
        let mut records = Vec::new();
        let mut topics = Vec::new();
        match &request.partitions {
            Some(asked) => {
                for (name, partitions) in asked {
                    let mut elect = |id| self.elect_named(name, id, request.kind, &mut records);
                    let partitions = partitions.iter().map(|id| (*id, elect(*id))).collect();
                    topics.push(ElectedTopic { name: name.clone(), partitions });
                }
            }
            None => {
                for topic in self.image.topics().from_name("") {
                    let elect = |id| (id, self.elect_leader(topic, id, request.kind, &mut records));
                    let elected = topic.partitions().map(|(id, _)| id).map(elect);
                    let needed = elected.filter(|(_, it)| *it != Err(ElectionError::NotNeeded));
                    let (name, partitions) = (topic.name.to_string(), needed.collect());
                    topics.push(ElectedTopic { name, partitions });
                }
            }
        }
        if records.len() > USER_RECORDS_MAX {
            return Err(TopicError::TooManyRecords);
        }
        Ok(Decision::divisible(records, topics))
    }

    fn elect_named(
        &self,
        name: &str,
        id: PartitionId,
        kind: ElectionKind,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<(), ElectionError> {
        let topic = self.image.topics().by_name(name);
        let topic = topic.ok_or_else(|| ElectionError::UnknownTopic(name.to_owned()))?;
        self.elect_leader(topic, id, kind, records)
    }

    fn elect_leader(
        &self,
        topic: &Topic,
        id: PartitionId,
        kind: ElectionKind,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<(), ElectionError> {
        let unknown = || ElectionError::UnknownPartition(topic.name.to_string(), id);
        let partition = topic.partition(id).ok_or_else(unknown)?;
        let (done, election, failed) = match kind {
            ElectionKind::Preferred => (
                partition.replicas.first() == Some(&partition.leader),
                Election::Preferred,
                ElectionError::PreferredUnavailable,
            ),
            ElectionKind::Unclean => {
                (partition.leader().is_some(), Election::Unclean, ElectionError::NobodyEligible)
            }
        };
        if done {
            return Err(ElectionError::NotNeeded);
        }
        let change = PartitionChange::new(partition, self.rules(topic)).election(election);
        let id = TopicIdPartition { topic_id: topic.id, partition: id };
        let change = change.build(id, &AfterMove::none(&self.image)).ok_or(failed)?;
        records.push(self.record(MetadataRecord::from(change)));
        Ok(())
    }
}
