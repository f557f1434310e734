//! Dynamic configs by resource.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::metadata::ConfigRecord;

use super::delta::Touched;
use crate::versions::{MetadataVersion, VersionedRecord};

/// What kind of thing a config is of, by its number in records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ResourceKind(pub i8);

impl ResourceKind {
    /// A topic, by name.
    pub const TOPIC: ResourceKind = ResourceKind(2);
    /// A broker, by id; all brokers when the name is empty.
    pub const BROKER: ResourceKind = ResourceKind(4);
    /// A subscription to client metrics (KIP-714).
    pub const CLIENT_METRICS: ResourceKind = ResourceKind(16);
    /// A consumer, share or streams group.
    pub const GROUP: ResourceKind = ResourceKind(32);
}

/// What a config is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

impl ConfigResource {
    /// The topic of this name.
    #[must_use]
    pub fn topic(name: &str) -> ConfigResource {
        ConfigResource { kind: ResourceKind::TOPIC, name: name.to_owned() }
    }

    /// The dynamic default of all brokers.
    #[must_use]
    pub fn all_brokers() -> ConfigResource {
        ConfigResource { kind: ResourceKind::BROKER, name: String::new() }
    }
}

/// The configs of one resource by name.
pub type ConfigMap = OrdMap<String, String>;

/// The configs of all resources that have any.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Configs {
    resources: OrdMap<ConfigResource, Arc<ConfigMap>>,
}

impl Configs {
    /// The configs of a resource; `None` when it has none.
    #[must_use]
    pub fn of(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.resources.get(resource).map(Arc::as_ref)
    }

    /// One config of a resource.
    #[must_use]
    pub fn value(&self, resource: &ConfigResource, name: &str) -> Option<&str> {
        self.of(resource)?.get(name).map(String::as_str)
    }

    /// All resources with their configs.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.resources.iter().map(|(resource, configs)| (resource, configs.as_ref()))
    }

    pub(super) fn set(&mut self, record: &ConfigRecord, touched: &mut Touched) {
        let resource = ConfigResource {
            kind: ResourceKind(record.resource_type),
            name: record.resource_name.clone(),
        };
        let configs = Arc::make_mut(self.resources.entry(resource.clone()).or_default());
        match &record.value {
            Some(value) => configs.insert(record.name.clone(), value.clone()),
            None => configs.remove(&record.name),
        };
        if configs.is_empty() {
            self.resources.remove(&resource);
        }
        touched.configs.insert(resource);
    }

    /// The configs of a topic go with it.
    pub(super) fn remove_topic(&mut self, name: &str, touched: &mut Touched) {
        let resource = ConfigResource::topic(name);
        if self.resources.remove(&resource).is_some() {
            touched.configs.insert(resource);
        }
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        for (resource, configs) in self.iter() {
            for (name, value) in configs {
                let record = ConfigRecord {
                    resource_type: resource.kind.0,
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                };
                out(VersionedRecord::new(record, version));
            }
        }
    }
}
