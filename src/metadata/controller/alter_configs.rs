//! Changes configs of topics, brokers, groups and subscriptions to client metrics: a ConfigRecord
//! for each key (Kafka's `ConfigurationControlManager`).
//!
//! - Resources are decided one by one: a bad key refuses its resource, whole, and no other.
//! - A record is written only for what changes, but always for brokers, which Kafka reloads by it.
//! - Keys that are changed are checked, and those of a topic against each other. What is there
//!   already, and what a change takes away, is not: a directory of an older Kafka may hold keys and
//!   values that are not allowed any more.
//! - With eligible leader replicas `min.insync.replicas` is set for all brokers and for none alone,
//!   and any change of it clears them (KIP-966).
//! - Whether a key of a broker may change while it runs, the broker says before it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ottla_config::{
    ClientMetricsError, KEPT_TOPIC_KEYS, TOPIC_KEYS, ValueType, broker_key, check_client_metrics,
    check_group_configs, check_topic_config, check_topic_configs_together,
};
use ottla_protocol::metadata::{ClearElrRecord, ConfigRecord};
use ottla_types::{ErrorCode, InvalidTopicName, TopicName};

use super::configs::MIN_INSYNC_REPLICAS;
use super::create_topics::check_config_length;
use super::error::TopicError;
use super::{Controller, Decision, USER_RECORDS_MAX};
use crate::image::{ConfigMap, ConfigResource, ResourceKind};
use crate::versions::VersionedRecord;

/// A request to change configs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterConfigs {
    /// Each resource once.
    pub resources: Vec<(ConfigResource, ConfigChange)>,
    /// Whether to decide only, and write nothing.
    pub validate_only: bool,
}

/// What becomes of the configs of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    /// These keys change.
    Some(Vec<(String, ConfigOperation)>),
    /// These are all that is set.
    All(Vec<(String, String)>),
}

/// What becomes of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigOperation {
    /// It gets this value.
    Set(String),
    /// It is not set any more.
    Delete,
    /// These elements are added to its list.
    Append(String),
    /// These elements are taken from its list.
    Subtract(String),
}

/// Why the configs of a resource are not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlterConfigError {
    /// The request makes no sense.
    Request(String),
    /// A config is not known, or its value is not allowed.
    Config(String),
    /// There can be no topic of this name.
    InvalidTopic(InvalidTopicName),
    /// There is no topic of this name.
    UnknownTopic(String),
}

impl AlterConfigError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AlterConfigError::Request(_) => ErrorCode::InvalidRequest,
            AlterConfigError::Config(_) => ErrorCode::InvalidConfig,
            AlterConfigError::InvalidTopic(_) => ErrorCode::InvalidTopicException,
            AlterConfigError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
        }
    }
}

impl fmt::Display for AlterConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlterConfigError::Request(text) | AlterConfigError::Config(text) => f.write_str(text),
            AlterConfigError::InvalidTopic(error) => error.fmt(f),
            AlterConfigError::UnknownTopic(name) => {
                write!(f, "The topic '{name}' does not exist.")
            }
        }
    }
}

impl std::error::Error for AlterConfigError {}

/// What became of each resource.
pub type AlteredConfigs = Vec<Result<(), AlterConfigError>>;

/// New values of keys; `None` is not set any more.
type Values = BTreeMap<String, Option<String>>;

impl Controller {
    /// Changes configs. The reply has a result for each resource, in order.
    ///
    /// # Errors
    /// When the request changes too much at once.
    pub fn alter_configs(
        &self,
        request: &AlterConfigs,
    ) -> Result<Decision<AlteredConfigs>, TopicError> {
        let mut records = Vec::new();
        let mut results = Vec::new();
        for (resource, change) in &request.resources {
            let decided = self.alter_resource(resource, change);
            results.push(decided.map(|altered| records.extend(altered)));
        }
        if records.len() > USER_RECORDS_MAX {
            return Err(TopicError::TooManyRecords);
        }
        let cleared = self.clear_elr(&records);
        let records = records.into_iter().map(|record| self.record(record)).chain(cleared);
        let records = if request.validate_only { Vec::new() } else { records.collect() };
        Ok(Decision::atomic(records, results))
    }

    fn alter_resource(
        &self,
        resource: &ConfigResource,
        change: &ConfigChange,
    ) -> Result<Vec<ConfigRecord>, AlterConfigError> {
        let empty = ConfigMap::new();
        let now = self.image.configs().of(resource).unwrap_or(&empty);
        let (set, implied) = match change {
            ConfigChange::Some(operations) => (operate(resource.kind, now, operations)?, None),
            ConfigChange::All(configs) => {
                let set: Values =
                    configs.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
                let gone = now.keys().filter(|key| !set.contains_key(*key)).cloned();
                let gone: BTreeSet<String> = gone.collect();
                (set, Some(gone))
            }
        };
        for value in set.values().flatten() {
            check_config_length(value).map_err(AlterConfigError::Config)?;
        }
        let implied = implied.unwrap_or_default();
        self.check_min_insync(resource, &set, &implied)?;
        self.check_values(resource, now, &set, &implied)?;
        let record = |name: &String, value: Option<String>| ConfigRecord {
            resource_type: resource.kind.0,
            resource_name: resource.name.clone(),
            name: name.clone(),
            value,
        };
        let is_new = |key: &String, value: &Option<String>| {
            now.get(key) != value.as_ref() || resource.kind == ResourceKind::BROKER
        };
        let changed = set.iter().filter(|(key, value)| is_new(key, value));
        let changed = changed.map(|(key, value)| record(key, value.clone()));
        Ok(changed.chain(implied.iter().map(|key| record(key, None))).collect())
    }

    /// With eligible leader replicas all replicas must know the same number.
    fn check_min_insync(
        &self,
        resource: &ConfigResource,
        set: &Values,
        implied: &BTreeSet<String>,
    ) -> Result<(), AlterConfigError> {
        if resource.kind != ResourceKind::BROKER || !self.image.features().elr_enabled() {
            return Ok(());
        }
        let change = set.get(MIN_INSYNC_REPLICAS);
        let is_set = change.is_some_and(Option::is_some);
        let is_gone = change.is_some_and(Option::is_none) || implied.contains(MIN_INSYNC_REPLICAS);
        let refused = if resource.name.is_empty() {
            is_gone.then_some("Cluster-level min.insync.replicas cannot be removed")
        } else {
            is_set.then_some("Broker-level min.insync.replicas cannot be altered")
        };
        match refused {
            Some(text) => Err(AlterConfigError::Config(format!("{text} while ELR is enabled."))),
            None => Ok(()),
        }
    }

    fn check_values(
        &self,
        resource: &ConfigResource,
        now: &ConfigMap,
        set: &Values,
        implied: &BTreeSet<String>,
    ) -> Result<(), AlterConfigError> {
        let stays = |key: &str| !set.contains_key(key) && !implied.contains(key);
        let kept = now.iter().filter(|(key, _)| stays(key));
        let mut all: BTreeMap<&str, &str> = kept.map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let new: BTreeMap<&str, &str> =
            set.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_deref()?))).collect();
        all.extend(&new);
        match resource.kind {
            ResourceKind::TOPIC => self.check_topic(&resource.name, &new, &all),
            ResourceKind::GROUP if resource.name.is_empty() => {
                let text = "Default group resources are not allowed.";
                Err(AlterConfigError::Request(text.to_owned()))
            }
            ResourceKind::GROUP => check_group_configs(&new).map_err(AlterConfigError::Config),
            ResourceKind::CLIENT_METRICS => {
                check_client_metrics(&resource.name, &new).map_err(|error| match error {
                    ClientMetricsError::Request(text) => AlterConfigError::Request(text),
                    ClientMetricsError::Value(text) => AlterConfigError::Config(text),
                })
            }
            // The broker has looked.
            _ => Ok(()),
        }
    }

    fn check_topic(
        &self,
        name: &str,
        new: &BTreeMap<&str, &str>,
        all: &BTreeMap<&str, &str>,
    ) -> Result<(), AlterConfigError> {
        if name.is_empty() {
            let text = "Default topic resources are not allowed.";
            return Err(AlterConfigError::Request(text.to_owned()));
        }
        TopicName::validate(name).map_err(AlterConfigError::InvalidTopic)?;
        for (key, value) in new {
            check_topic_config(key, value).map_err(AlterConfigError::Config)?;
        }
        check_topic_configs_together(all).map_err(AlterConfigError::Config)?;
        match self.image.topics().by_name(name) {
            Some(_) => Ok(()),
            None => Err(AlterConfigError::UnknownTopic(name.to_owned())),
        }
    }

    /// Who was eligible to lead was so by the old number.
    fn clear_elr(&self, records: &[ConfigRecord]) -> Vec<VersionedRecord> {
        if !self.image.features().elr_enabled() {
            return Vec::new();
        }
        let changes = records.iter().filter(|record| record.name == MIN_INSYNC_REPLICAS);
        let cleared = changes.map(|record| {
            let is_topic = record.resource_type == ResourceKind::TOPIC.0;
            let topic = if is_topic { record.resource_name.as_str() } else { "" };
            self.record(ClearElrRecord { topic_name: TopicName::from(topic) })
        });
        cleared.collect()
    }
}

/// What becomes of the keys.
fn operate(
    kind: ResourceKind,
    now: &ConfigMap,
    operations: &[(String, ConfigOperation)],
) -> Result<Values, AlterConfigError> {
    let mut values = Values::new();
    for (key, operation) in operations {
        let list = |verb: &str| match default_of_list(kind, key) {
            Some(default) => {
                let value = now.get(key).map_or(default, String::as_str);
                Ok(value.split(',').filter(|it| !it.is_empty()).collect::<Vec<&str>>())
            }
            None => Err(AlterConfigError::Config(format!(
                "Can't {verb} to key {key} because its type is not LIST."
            ))),
        };
        let value = match operation {
            ConfigOperation::Set(value) => Some(value.clone()),
            ConfigOperation::Delete => None,
            ConfigOperation::Append(more) => {
                let mut elements = list("APPEND")?;
                for element in more.split(',') {
                    if !elements.contains(&element) {
                        elements.push(element);
                    }
                }
                Some(elements.join(","))
            }
            ConfigOperation::Subtract(less) => {
                let mut elements = list("SUBTRACT")?;
                for element in less.split(',') {
                    if let Some(at) = elements.iter().position(|it| *it == element) {
                        elements.remove(at);
                    }
                }
                Some(elements.join(","))
            }
        };
        values.insert(key.clone(), value);
    }
    Ok(values)
}

/// What a list holds that is not set; `None` when the key is none of a list.
fn default_of_list(kind: ResourceKind, name: &str) -> Option<&'static str> {
    let of_broker = |name: &str| {
        let key = broker_key(name)?;
        (key.kind.value_type() == ValueType::List).then_some(key.default.unwrap_or_default())
    };
    match kind {
        ResourceKind::BROKER => of_broker(name),
        ResourceKind::TOPIC => {
            let kept = KEPT_TOPIC_KEYS.iter().find(|key| key.name == name);
            let kept = kept.filter(|key| key.kind.value_type() == ValueType::List);
            let read = || TOPIC_KEYS.iter().find(|key| key.name == name);
            kept.map(|key| key.default).or_else(|| of_broker(read()?.broker_keys.first()?))
        }
        _ => None,
    }
}
