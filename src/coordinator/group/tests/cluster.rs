//! A cluster for scripts: some topics, whose ids say their names.

use std::collections::BTreeMap;

use ottla_types::{TopicName, Uuid};

use crate::group::consumer::{Cluster, TopicView};

#[derive(Clone, Default)]
pub(in crate::group) struct TestCluster {
    pub(super) topics: BTreeMap<String, TopicView>,
    pub(super) configs: BTreeMap<String, String>,
    /// Racks of the only replica of each partition of a topic, as far as they are known.
    pub(super) racks: BTreeMap<String, String>,
    /// How often it changed.
    pub(super) version: i64,
}

impl TestCluster {
    /// Adds a topic.
    pub(in crate::group) fn add(&mut self, name: &str, partitions: i32) -> Uuid {
        let id = id_of(name);
        self.topics.insert(name.to_owned(), TopicView { id, partitions });
        id
    }
}

/// An id that says a name.
pub(super) fn id_of(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Uuid(bytes)
}

/// The id of a topic that was deleted and came back so many times; fewer than 256.
pub(super) fn id_of_again(name: &str, times: u8) -> Uuid {
    let mut id = id_of(name);
    id.0[15] = times;
    id
}

/// The name that an id says.
pub(super) fn said(id: Uuid) -> String {
    let name = id.0.iter().take_while(|byte| **byte != 0).copied();
    String::from_utf8(name.collect()).expect("ids of scripts say names")
}

impl Cluster for TestCluster {
    fn topic(&self, name: &str) -> Option<TopicView> {
        self.topics.get(name).copied()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn each_topic(&self, see: &mut dyn FnMut(&TopicName)) {
        self.topics.keys().for_each(|name| see(&TopicName::from(name.as_str())));
    }

    fn name_of(&self, id: Uuid) -> Option<TopicName> {
        let name = said(id);
        let view = self.topics.get(&name).filter(|view| view.id == id);
        view.map(|_| TopicName::from(name.as_str()))
    }

    fn racks(&self, id: Uuid) -> Vec<Vec<String>> {
        let name = said(id);
        let count = self.topics.get(&name).map_or(0, |topic| topic.partitions);
        vec![self.racks.get(&name).cloned().into_iter().collect(); count.unsigned_abs() as usize]
    }

    fn group_config(&self, _: &str, key: &str) -> Option<String> {
        self.configs.get(key).cloned()
    }
}
