//! What groups ask of the cluster's metadata, and nothing else of it.

use std::collections::BTreeSet;
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

    /// Its version: the offset of the last record in it.
    fn version(&self) -> i64;

    /// All topics, by their names, in any order.
    fn each_topic(&self, see: &mut dyn FnMut(&TopicName));

    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<TopicName>;

    /// For each partition of a topic the racks of its replicas, as far as they are known; in no
    /// order, and some of them twice.
    fn racks(&self, id: Uuid) -> Vec<Vec<String>>;

    /// What an operator set for a group, in text form.
    fn group_config(&self, group: &str, key: &str) -> Option<String>;
}

/// What is other in the cluster's metadata than it was before.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ChangedTopics {
    /// Topics that changed, came or went.
    pub names: BTreeSet<TopicName>,
    /// Whether some came.
    pub has_new: bool,
}

/// A cluster that nothing is known of yet.
pub struct NoCluster;

impl Cluster for NoCluster {
    fn topic(&self, _: &str) -> Option<TopicView> {
        None
    }

    fn version(&self) -> i64 {
        -1
    }

    fn each_topic(&self, _: &mut dyn FnMut(&TopicName)) {}

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
