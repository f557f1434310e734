//! Creates topics: one TopicRecord each, then its configs, then its partitions.
//!
//! - Topics are decided one by one; one that is refused keeps no other from being created.
//! - A request for too many partitions or records is refused as a whole.
//! - The placement and ids of a request that only validates are drawn all the same, and reported.
//! - With eligible leader replicas, setting `min.insync.replicas` clears those of the topic
//!   (KIP-966), as any change of that config does. A new topic has none; Kafka writes it still.

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{check_topic_config, check_topic_configs_together};
use ottla_protocol::metadata::{ClearElrRecord, ConfigRecord, TopicRecord};
use ottla_types::{NodeId, PartitionId, TopicName, Uuid};

use super::configs::MIN_INSYNC_REPLICAS;
use super::error::TopicError;
use super::{Controller, Decision, EffectiveConfig, Random, USER_RECORDS_MAX};
use crate::image::ResourceKind;
use crate::versions::VersionedRecord;

/// Most partitions that one request may create.
const REQUEST_PARTITIONS_MAX: i64 = 10_000;
/// Longest value of a config, in UTF-16 code units.
const CONFIG_VALUE_MAX: usize = 32_767;
const VALUE_TOO_LONG: &str = "The configuration value cannot be added because it \
                                         exceeds the maximum value size of 32767 bytes.";
/// The topic of the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A request to create topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether to decide only, and write nothing.
    pub validate_only: bool,
}

impl CreateTopics {
    /// Whether there is anything to decide: a topic that is named once and may be asked for.
    #[must_use]
    pub fn asks_for_topics(&self) -> bool {
        !sift(&self.topics).0.is_empty()
    }
}

/// A topic to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the default, or when they are assigned.
    pub partitions: i32,
    /// How many replicas of each; -1 for the default, or when they are assigned.
    pub replication_factor: i16,
    /// Where the replicas go; empty to have them placed.
    pub assignments: Vec<ManualAssignment>,
    /// Its configs; of a name that comes twice the last counts.
    pub configs: Vec<(String, Option<String>)>,
}

/// Where the replicas of a partition go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManualAssignment {
    /// The partition.
    pub partition: PartitionId,
    /// Its brokers, the preferred leader first.
    pub replicas: Vec<NodeId>,
}

/// What became of a topic to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicOutcome {
    /// Its name.
    pub name: String,
    /// The topic, or why there is none.
    pub result: Result<CreatedTopic, TopicError>,
}

/// A new topic, as the creator is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// All its configs by name, defaults included.
    pub configs: Vec<EffectiveConfig>,
}

impl Controller {
    /// Creates topics. The reply names those that are asked for twice, or may not be asked for,
    /// last.
    ///
    /// # Errors
    /// When the request asks for too much at once.
    pub fn create_topics(
        &self,
        request: &CreateTopics,
        random: &mut Random<'_>,
    ) -> Result<Decision<Vec<TopicOutcome>>, TopicError> {
        let (topics, refused) = sift(&request.topics);
        self.check_total(&topics)?;
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for topic in topics {
            let result = self.create_topic(topic, &mut records, random);
            outcomes.push(TopicOutcome { name: topic.name.clone(), result });
        }
        if records.len() > USER_RECORDS_MAX {
            return Err(TopicError::TooManyRecords);
        }
        if request.validate_only {
            records.clear();
        }
        outcomes.extend(refused);
        Ok(Decision::atomic(records, outcomes))
    }

    fn check_total(&self, topics: &[&NewTopic]) -> Result<(), TopicError> {
        let count = |topic: &&NewTopic| match (topic.assignments.len(), topic.partitions) {
            (0, -1) => i64::from(self.settings.default_partitions),
            (0, partitions) => i64::from(partitions.max(0)),
            (assigned, _) => assigned as i64,
        };
        let total: i64 = topics.iter().map(count).sum();
        if total > REQUEST_PARTITIONS_MAX { Err(TopicError::TooManyPartitions) } else { Ok(()) }
    }

    fn create_topic(
        &self,
        topic: &NewTopic,
        records: &mut Vec<VersionedRecord>,
        random: &mut Random<'_>,
    ) -> Result<CreatedTopic, TopicError> {
        self.check_name(&topic.name)?;
        let configs = check_configs(&topic.configs)?;
        let topic_id = self.draw_topic_id(random);
        let partitions = self.lay_out(topic, random)?;
        let record = TopicRecord { name: TopicName::from(topic.name.as_str()), topic_id };
        records.push(self.record(record));
        records.extend(self.config_records(&topic.name, &configs));
        for (at, partition) in partitions.iter().enumerate() {
            records.push(self.record(partition.to_record(topic_id, PartitionId(at as i32))));
        }
        Ok(CreatedTopic {
            topic_id,
            partitions: partitions.len() as i32,
            replication_factor: partitions[0].replicas.len() as i16,
            configs: self.effective_configs(&configs),
        })
    }

    fn check_name(&self, name: &str) -> Result<(), TopicError> {
        if let Some(topic) = self.image.topics().by_name(name) {
            return Err(TopicError::Exists(topic.name.clone()));
        }
        TopicName::validate(name).map_err(TopicError::InvalidName)?;
        match self.index.colliding(name) {
            None => Ok(()),
            Some(with) => Err(TopicError::Collides { name: name.to_owned(), with: with.clone() }),
        }
    }

    fn config_records(&self, topic: &str, configs: &BTreeMap<&str, &str>) -> Vec<VersionedRecord> {
        let set = configs.iter().map(|(name, value)| ConfigRecord {
            resource_type: ResourceKind::TOPIC.0,
            resource_name: topic.to_owned(),
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        });
        let mut records: Vec<VersionedRecord> = set.map(|record| self.record(record)).collect();
        if configs.contains_key(MIN_INSYNC_REPLICAS) && self.image.features().elr_enabled() {
            records.push(self.record(ClearElrRecord { topic_name: TopicName::from(topic) }));
        }
        records
    }

    fn draw_topic_id(&self, random: &mut Random<'_>) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&random().to_be_bytes());
            bytes[8..].copy_from_slice(&random().to_be_bytes());
            let is_free = |id: &Uuid| self.image.topics().by_id(*id).is_none();
            if let Some(id) = Uuid::from_random(bytes).filter(is_free) {
                return id;
            }
        }
    }
}

/// Parts the topics that are asked for once from those that are refused unseen.
fn sift(topics: &[NewTopic]) -> (Vec<&NewTopic>, Vec<TopicOutcome>) {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&str> =
        topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect();
    let is_free = |name: &str| !twice.contains(name) && name != METADATA_TOPIC;
    let good = topics.iter().filter(|topic| is_free(&topic.name)).collect();
    let refusal = |name: &str, error| TopicOutcome { name: name.to_owned(), result: Err(error) };
    let mut refused: Vec<TopicOutcome> =
        twice.iter().map(|name| refusal(name, TopicError::DuplicateName)).collect();
    if seen.contains(METADATA_TOPIC) && !twice.contains(METADATA_TOPIC) {
        refused.push(refusal(METADATA_TOPIC, TopicError::MetadataTopic));
    }
    (good, refused)
}

/// Checks the length of a config's value.
///
/// # Errors
/// That it is too long, in Kafka's words.
pub fn check_config_length(value: &str) -> Result<(), String> {
    let is_short = value.encode_utf16().count() <= CONFIG_VALUE_MAX;
    if is_short { Ok(()) } else { Err(VALUE_TOO_LONG.to_owned()) }
}

/// The configs by name, each with a value that is allowed.
fn check_configs(configs: &[(String, Option<String>)]) -> Result<BTreeMap<&str, &str>, TopicError> {
    let without_value = configs.iter().filter(|(_, value)| value.is_none());
    let names: Vec<String> = without_value.map(|(name, _)| name.clone()).collect();
    if !names.is_empty() {
        return Err(TopicError::NullConfigs(names));
    }
    let pairs = configs.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
    let checked: BTreeMap<&str, &str> = pairs.collect();
    for (name, value) in &checked {
        check_config_length(value).map_err(TopicError::InvalidConfig)?;
        check_topic_config(name, value).map_err(TopicError::InvalidConfig)?;
    }
    check_topic_configs_together(&checked).map_err(TopicError::InvalidConfig)?;
    Ok(checked)
}
