//! Topics and their partitions, by name and by id.
//!
//! Invariant: `by_name` holds exactly the topics of `by_id`, each under its own name.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::metadata::{
    ClearElrRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use ottla_types::{PartitionId, TopicIdPartition, TopicName, Uuid};

use super::delta::Touched;
use super::error::ReplayError;
use super::partition::Partition;
use crate::versions::{MetadataVersion, VersionedRecord};

/// A topic.
#[derive(Clone, PartialEq, Debug)]
pub struct Topic {
    /// Its id, which a topic created later under the same name does not share.
    pub id: Uuid,
    /// Its name.
    pub name: TopicName,
    partitions: OrdMap<PartitionId, Arc<Partition>>,
}

impl Topic {
    /// The partition with this index.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(&id).map(Arc::as_ref)
    }

    /// All partitions by index.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition.as_ref()))
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    fn partition_key(&self, partition: PartitionId) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.id, partition }
    }
}

/// All topics.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Topics {
    by_id: OrdMap<Uuid, Arc<Topic>>,
    by_name: OrdMap<TopicName, Uuid>,
}

impl Topics {
    /// The topic of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name).and_then(|id| self.by_id(*id))
    }

    /// The topic with this id.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// The partition with this topic id and index.
    #[must_use]
    pub fn partition(&self, id: TopicIdPartition) -> Option<&Partition> {
        self.by_id(id.topic_id)?.partition(id.partition)
    }

    /// All topics by id.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_id.values().map(Arc::as_ref)
    }

    /// All topics by name, from `first` on, for answers that come in pages.
    pub fn from_name(&self, first: &str) -> impl Iterator<Item = &Topic> {
        self.by_name.range(TopicName::from(first)..).filter_map(|(_, id)| self.by_id(*id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn create(
        &mut self,
        record: &TopicRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        if self.by_name.contains_key(&record.name) || self.by_id.contains_key(&record.topic_id) {
            return Err(ReplayError::DuplicateTopic(record.name.clone()));
        }
        let topic =
            Topic { id: record.topic_id, name: record.name.clone(), partitions: OrdMap::new() };
        self.by_name.insert(record.name.clone(), record.topic_id);
        self.by_id.insert(record.topic_id, Arc::new(topic));
        touched.topics.insert(record.topic_id);
        Ok(())
    }

    /// Removes the topic and returns it, as its configs go with it.
    pub(super) fn remove(
        &mut self,
        record: &RemoveTopicRecord,
        touched: &mut Touched,
    ) -> Result<Arc<Topic>, ReplayError> {
        let id = record.topic_id;
        let topic = self.by_id.remove(&id).ok_or(ReplayError::UnknownTopicId(id))?;
        self.by_name.remove(&topic.name);
        touched.topics.insert(id);
        touched.partitions.extend(topic.partitions.keys().map(|key| topic.partition_key(*key)));
        Ok(topic)
    }

    pub(super) fn set_partition(
        &mut self,
        record: &PartitionRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let partition = Partition::from_record(record)?;
        self.topic_mut(record.topic_id)?
            .partitions
            .insert(record.partition_id, Arc::new(partition));
        touched.partition(record.topic_id, record.partition_id);
        Ok(())
    }

    pub(super) fn change_partition(
        &mut self,
        record: &PartitionChangeRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let topic = self.topic_mut(record.topic_id)?;
        let key = topic.partition_key(record.partition_id);
        let partition = topic
            .partitions
            .get_mut(&record.partition_id)
            .ok_or(ReplayError::UnknownPartition(key))?;
        *partition = Arc::new(partition.changed(record)?);
        touched.partition(record.topic_id, record.partition_id);
        Ok(())
    }

    /// Clears the eligible leaders of one topic, or of all: with another `min.insync.replicas`
    /// they would not be eligible (KIP-966). Each partition that had some counts a change.
    pub(super) fn clear_elr(
        &mut self,
        record: &ClearElrRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let name = &record.topic_name;
        let topics: Vec<Uuid> = if name.is_empty() {
            self.by_id.keys().copied().collect()
        } else {
            let id = self.by_name.get(name).ok_or(ReplayError::UnknownTopic(name.clone()))?;
            vec![*id]
        };
        for id in topics {
            for key in self.partitions_with_elr(id) {
                self.change_partition(
                    &PartitionChangeRecord {
                        topic_id: id,
                        partition_id: key,
                        eligible_leader_replicas: Some(Vec::new()),
                        last_known_elr: Some(Vec::new()),
                        ..PartitionChangeRecord::default()
                    },
                    touched,
                )?;
            }
        }
        Ok(())
    }

    fn partitions_with_elr(&self, topic_id: Uuid) -> Vec<PartitionId> {
        let has_elr = |it: &Partition| !it.elr.is_empty() || !it.last_known_elr.is_empty();
        let topic = self.by_id(topic_id).expect("the id is a key of the map");
        topic.partitions().filter(|(_, it)| has_elr(it)).map(|(id, _)| id).collect()
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut Topic, ReplayError> {
        self.by_id.get_mut(&id).map(Arc::make_mut).ok_or(ReplayError::UnknownTopicId(id))
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        for topic in self.iter() {
            let record = TopicRecord { name: topic.name.clone(), topic_id: topic.id };
            out(VersionedRecord::new(record, version));
            for (id, partition) in topic.partitions() {
                out(VersionedRecord::new(partition.to_record(topic.id, id), version));
            }
        }
    }

    /// Asserts the invariant of the file's head.
    pub(super) fn check(&self) {
        assert_eq!(self.by_id.len(), self.by_name.len(), "as many names as ids");
        for (name, id) in &self.by_name {
            let topic = self.by_id(*id).expect("every name has a topic");
            assert_eq!((&topic.name, topic.id), (name, *id), "a topic stands under its name");
        }
    }
}
