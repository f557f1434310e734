//! The configs of topics that the controller itself goes by, and that it tells the creator of one.

use std::collections::BTreeMap;

use ottla_config::{TOPIC_KEYS, TopicKey};

use super::Controller;
use crate::image::ConfigResource;

/// Name of the config that says how many replicas must be in sync.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// Where the value of a config comes from, by Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// Set in the broker's file.
    StaticBroker = 4,
    /// Set nowhere.
    Default = 5,
}

/// A config that topics get without saying.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDefault {
    /// Name among a topic's configs.
    pub name: String,
    /// The value in the topic's unit.
    pub value: String,
    /// Whether the broker's file says so.
    pub source: ConfigSource,
}

/// A config of a new topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectiveConfig {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
}

impl Controller {
    /// `min.insync.replicas` of a topic.
    pub(super) fn min_isr(&self, topic: &str) -> usize {
        let set = self.topic_config(topic, MIN_INSYNC_REPLICAS).and_then(|it| it.parse().ok());
        usize::try_from(set.unwrap_or(self.settings.min_insync_replicas)).unwrap_or(0)
    }

    /// `unclean.leader.election.enable` of a topic.
    pub(super) fn allows_unclean_election(&self, topic: &str) -> bool {
        let set = self.topic_config(topic, UNCLEAN_ELECTION).and_then(parse_bool);
        set.unwrap_or(self.settings.unclean_leader_election)
    }

    /// A config that is set on the topic, or for all brokers while they run.
    fn topic_config(&self, topic: &str, name: &str) -> Option<&str> {
        let configs = self.image.configs();
        let own = configs.value(&ConfigResource::topic(topic), name);
        own.or_else(|| self.dynamic_default(name))
    }

    /// What is set for all brokers, under one of the broker's names for the topic's config.
    fn dynamic_default(&self, name: &str) -> Option<&str> {
        let all_brokers = ConfigResource::all_brokers();
        let configs = self.image.configs().of(&all_brokers)?;
        let key = TOPIC_KEYS.iter().find(|key| key.name == name);
        let names = key.map_or(&[][..], |key: &TopicKey| key.broker_keys);
        let mut values = names.iter().copied().chain([name]).map(|it| configs.get(it));
        values.find_map(|value| value.map(String::as_str))
    }

    /// All configs of a topic that is created with `own`, by name.
    pub(super) fn effective_configs(&self, own: &BTreeMap<&str, &str>) -> Vec<EffectiveConfig> {
        let known = self.settings.topic_defaults.iter();
        let mut configs: BTreeMap<&str, (&str, ConfigSource)> =
            known.map(|it| (it.name.as_str(), (it.value.as_str(), it.source))).collect();
        for (name, effective) in &mut configs {
            if let Some(value) = self.dynamic_default(name) {
                *effective = (value, ConfigSource::DynamicDefaultBroker);
            }
        }
        configs.extend(own.iter().map(|(name, value)| (*name, (*value, ConfigSource::Topic))));
        let effective = |(name, (value, source)): (&str, (&str, ConfigSource))| EffectiveConfig {
            name: name.to_owned(),
            value: value.to_owned(),
            source,
        };
        configs.into_iter().map(effective).collect()
    }
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.trim() {
        value if value.eq_ignore_ascii_case("true") => Some(true),
        value if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}
