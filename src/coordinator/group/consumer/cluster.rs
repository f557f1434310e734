//! What groups ask of the cluster's metadata, and nothing else of it.

use std::sync::Arc;

use ottla_types::{TopicName, Uuid};

/// A topic as groups see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicView {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The cluster's metadata at one moment.
pub trait Cluster: Send + Sync {
    /// A topic, by its name.
    fn topic(&self, name: &str) -> Option<TopicView>;

    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<TopicName>;

    /// For each partition of a topic the racks of its replicas, as far as they are known; in no
    /// order, and some of them twice.
    fn racks(&self, id: Uuid) -> Vec<Vec<String>>;

    /// What an operator set for a group, in text form.
    fn group_config(&self, group: &str, key: &str) -> Option<String>;
}

/// A cluster that nothing is known of yet.
pub struct NoCluster;

impl Cluster for NoCluster {
    fn topic(&self, _: &str) -> Option<TopicView> {
        None
    }

    fn name_of(&self, _: Uuid) -> Option<TopicName> {
        None
    }

    fn racks(&self, _: Uuid) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn group_config(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// What a shard holds of it.
pub type SharedCluster = Arc<dyn Cluster>;
