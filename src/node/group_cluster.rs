//! The cluster's metadata, as the group coordinator asks for it.

use std::sync::Arc;

use ottla_coordinator::group::consumer::{ChangedTopics, Cluster, TopicView};
use ottla_metadata::image::{ConfigResource, Delta, Image, ResourceKind};
use ottla_types::{TopicName, Uuid};

/// An image, for groups.
pub(crate) struct GroupsCluster(pub(crate) Arc<Image>);

impl Cluster for GroupsCluster {
    fn topic(&self, name: &str) -> Option<TopicView> {
        let topic = self.0.topics().by_name(name)?;
        let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        Some(TopicView { id: topic.id, partitions })
    }

    fn version(&self) -> i64 {
        self.0.provenance().offset.0
    }

    fn each_topic(&self, see: &mut dyn FnMut(&TopicName)) {
        self.0.topics().iter().for_each(|topic| see(&topic.name));
    }

    fn name_of(&self, id: Uuid) -> Option<TopicName> {
        self.0.topics().by_id(id).map(|topic| topic.name.clone())
    }

    fn racks(&self, id: Uuid) -> Vec<Vec<String>> {
        let Some(topic) = self.0.topics().by_id(id) else { return Vec::new() };
        let brokers = self.0.cluster();
        let racks = topic.partitions().map(|(_, partition)| {
            let replicas = partition.replicas.iter();
            replicas.filter_map(|node| brokers.broker(*node)?.rack.clone()).collect()
        });
        racks.collect()
    }

    fn group_config(&self, group: &str, key: &str) -> Option<String> {
        let resource = ConfigResource { kind: ResourceKind::GROUP, name: group.into() };
        self.0.configs().value(&resource, key).map(str::to_owned)
    }
}

/// The topics of which groups may want to know something else.
pub(crate) fn changed_topics(delta: &Delta) -> ChangedTopics {
    let partitions = delta.partitions().map(|change| change.topic.name.clone());
    let created = delta.topics_created().map(|topic| topic.name.clone());
    let deleted = delta.topics_deleted().map(|topic| topic.name.clone());
    let names = partitions.chain(created).chain(deleted).collect();
    ChangedTopics { names, has_new: delta.topics_created().next().is_some() }
}
