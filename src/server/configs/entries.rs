//! What is told of the configs of a resource: each key with its value, where the value comes from,
//! and what stands behind it (KIP-226).
//!
//! ```text
//!  topic ─> this broker ─> all brokers ─> the node's file ─> default      the first that says so
//! ```
//! Told are the keys that this version knows: those that something reads, and those that are kept.
//! A key that is set and not known, which another version may have left, is told without its value,
//! as Kafka does. Pure: everything comes in.

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::{
    CLIENT_METRICS_KEYS, ConfigKey, GROUP_KEYS, KEPT_TOPIC_KEYS, Kind, TOPIC_KEYS, TopicKey,
    ValueType, broker_key, broker_keys, is_dynamic,
};
use ottla_metadata::image::{ConfigMap, ConfigResource, Image, ResourceKind};
use ottla_types::NodeId;

/// Where a value comes from (`ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Topic = 1,
    Broker = 2,
    AllBrokers = 3,
    File = 4,
    Default = 5,
    ClientMetrics = 7,
    Group = 8,
}

/// Keys that Kafka knows on a running broker only (`DynamicConfig.Broker`): told when they are set.
const TOLD_WHEN_SET: [&str; 1] = ["replica.alter.log.dirs.io.max.bytes.per.second"];

/// A value that a key, or another that stands in for it, has somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// A config of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
    /// `None` is a key that is not known.
    pub(crate) value_type: Option<ValueType>,
    pub(crate) is_read_only: bool,
    pub(crate) synonyms: Vec<Synonym>,
    pub(crate) doc: Option<&'static str>,
}

/// Where values of this node's keys come from.
pub(crate) struct Levels<'a> {
    image: &'a Image,
    this_broker: ConfigMap,
    all_brokers: ConfigMap,
    file: &'a BTreeMap<&'static str, String>,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(
        image: &'a Image,
        node: NodeId,
        file: &'a BTreeMap<&'static str, String>,
    ) -> Levels<'a> {
        let of = |name: String| {
            let resource = ConfigResource { kind: ResourceKind::BROKER, name };
            image.configs().of(&resource).cloned().unwrap_or_default()
        };
        Levels { image, this_broker: of(node.to_string()), all_brokers: of(String::new()), file }
    }

    /// The values of keys of the node: the nearest level first, in each the keys in order.
    fn values(&self, names: &[&str]) -> Vec<Synonym> {
        let value = |source, name: &str| match source {
            Source::Broker => self.this_broker.get(name).cloned(),
            Source::AllBrokers => self.all_brokers.get(name).cloned(),
            Source::File => self.file.get(name).cloned(),
            _ => broker_key(name)?.default.map(str::to_owned),
        };
        let levels = [Source::Broker, Source::AllBrokers, Source::File, Source::Default];
        let all = levels.into_iter().flat_map(|source| {
            names.iter().filter_map(move |name| {
                let value = Some(value(source, name)?);
                Some(Synonym { name: (*name).to_owned(), value, source })
            })
        });
        all.collect()
    }

    /// What Kafka tells of them: from the key itself on.
    fn synonyms(&self, name: &str, names: &[&str]) -> Vec<Synonym> {
        let values = self.values(names).into_iter();
        values.skip_while(|synonym| synonym.name != name).collect()
    }

    fn configs_of(&self, kind: ResourceKind, name: &str) -> ConfigMap {
        let resource = ConfigResource { kind, name: name.to_owned() };
        self.image.configs().of(&resource).cloned().unwrap_or_default()
    }

    /// The configs of a topic.
    pub(crate) fn topic(&self, topic: &str) -> Vec<Entry> {
        let own = self.configs_of(ResourceKind::TOPIC, topic);
        let read = TOPIC_KEYS.iter().map(|key| self.topic_key(key, &own));
        let kept = KEPT_TOPIC_KEYS.iter().map(|key| {
            let below = key.broker_key.map(|name| Synonym {
                name: name.to_owned(),
                value: Some(key.default.to_owned()),
                source: Source::Default,
            });
            let below = below.into_iter().collect();
            let default = key.default.to_owned();
            topic_entry(key.name, key.kind, key.doc, &own, default, below)
        });
        let mut entries: Vec<Entry> = read.chain(kept).collect();
        let known: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let strange = own.keys().filter(|name| !known.contains(*name));
        entries.extend(strange.map(|name| unknown(name, Source::Topic, false)));
        sorted(entries)
    }

    fn topic_key(&self, key: &TopicKey, own: &ConfigMap) -> Entry {
        let first = key.broker_keys.first().copied().unwrap_or_default();
        let nearest = self.values(key.broker_keys).into_iter().next();
        let inherited = nearest.map_or_else(String::new, |synonym| {
            let value = TopicKey::in_own_unit(&synonym.name, &synonym.value.unwrap_or_default());
            key.kind.judge(key.name, &value).unwrap_or(value)
        });
        let below = self.synonyms(first, key.broker_keys);
        topic_entry(key.name, key.kind, key.doc, own, inherited, below)
    }

    /// The configs of this node.
    pub(crate) fn broker(&self) -> Vec<Entry> {
        let is_told =
            |it: &Entry| it.source != Source::Default || !TOLD_WHEN_SET.contains(&it.name.as_str());
        let known = broker_keys().map(|key| self.broker_entry(key)).filter(is_told);
        let dynamic: BTreeSet<&String> =
            self.this_broker.keys().chain(self.all_brokers.keys()).collect();
        let strange = dynamic.into_iter().filter(|name| broker_key(name).is_none());
        let strange = strange.map(|name| {
            let set_here = self.this_broker.contains_key(name);
            let source = if set_here { Source::Broker } else { Source::AllBrokers };
            unknown(name, source, true)
        });
        sorted(known.chain(strange).collect())
    }

    /// What is set for all brokers.
    pub(crate) fn all_brokers(&self) -> Vec<Entry> {
        let set = self.all_brokers.iter().map(|(name, value)| match broker_key(name) {
            None => unknown(name, Source::AllBrokers, true),
            Some(key) => {
                let entry = self.broker_entry(key);
                let of_all = |synonym: &Synonym| synonym.source == Source::AllBrokers;
                let synonyms = entry.synonyms.into_iter().filter(of_all).collect();
                let (value, source) = (Some(value.clone()), Source::AllBrokers);
                Entry { value, source, synonyms, ..entry }
            }
        });
        sorted(set.collect())
    }

    fn broker_entry(&self, key: &'static ConfigKey) -> Entry {
        // Kafka's three units of one time stand in for each other.
        let alike = TOPIC_KEYS.iter().find(|topic| topic.broker_keys.contains(&key.name));
        let names = alike.map_or(&[][..], |topic| topic.broker_keys);
        let names = if names.is_empty() { &[key.name][..] } else { names };
        let synonyms = self.synonyms(key.name, names);
        let first = synonyms.first().cloned();
        Entry {
            name: key.name.to_owned(),
            value: first.as_ref().and_then(|first| first.value.clone()),
            source: first.map_or(Source::Default, |first| first.source),
            value_type: Some(key.kind.value_type()),
            is_read_only: !is_dynamic(key.name),
            synonyms,
            doc: Some(key.doc),
        }
    }

    /// The configs of a group.
    pub(crate) fn group(&self, group: &str) -> Vec<Entry> {
        let own = self.configs_of(ResourceKind::GROUP, group);
        let entries = GROUP_KEYS.iter().map(|key| {
            let synonym = |name: &str, value: &str, source| Synonym {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                source,
            };
            let mut synonyms = self.values(&[key.broker_key]);
            if synonyms.is_empty() {
                synonyms.push(synonym(key.broker_key, key.default, Source::Default));
            }
            if let Some(value) = own.get(key.name) {
                let value = shown(key.kind, key.name, value);
                synonyms.insert(0, synonym(key.name, &value, Source::Group));
            }
            Entry {
                name: key.name.to_owned(),
                source: synonyms[0].source,
                value: synonyms[0].value.clone(),
                value_type: Some(key.kind.value_type()),
                is_read_only: false,
                synonyms,
                doc: Some(key.doc),
            }
        });
        sorted(entries.collect())
    }

    /// The configs of a subscription to client metrics.
    pub(crate) fn client_metrics(&self, subscription: &str) -> Vec<Entry> {
        let own = self.configs_of(ResourceKind::CLIENT_METRICS, subscription);
        let entries = CLIENT_METRICS_KEYS.iter().map(|(name, value_type, default, doc)| {
            let set = own.get(*name).cloned();
            let source = if set.is_some() { Source::ClientMetrics } else { Source::Default };
            let synonym = set.clone().map(|value| Synonym {
                name: (*name).to_owned(),
                value: Some(value),
                source,
            });
            Entry {
                name: (*name).to_owned(),
                value: Some(set.unwrap_or_else(|| (*default).to_owned())),
                source,
                value_type: Some(*value_type),
                is_read_only: false,
                synonyms: synonym.into_iter().collect(),
                doc: Some(doc),
            }
        });
        sorted(entries.collect())
    }
}

fn topic_entry(
    name: &str,
    kind: Kind,
    doc: &'static str,
    own: &ConfigMap,
    inherited: String,
    mut synonyms: Vec<Synonym>,
) -> Entry {
    let set = own.get(name).map(|value| shown(kind, name, value));
    if let Some(value) = set.clone() {
        let (name, source) = (name.to_owned(), Source::Topic);
        synonyms.insert(0, Synonym { name, value: Some(value), source });
    }
    Entry {
        name: name.to_owned(),
        value: Some(set.unwrap_or(inherited)),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        value_type: Some(kind.value_type()),
        is_read_only: false,
        synonyms,
        doc: Some(doc),
    }
}

/// A value as it is understood; one that no check let pass as it stands.
fn shown(kind: Kind, name: &str, value: &str) -> String {
    kind.judge(name, value).unwrap_or_else(|_| value.to_owned())
}

/// Its value may be anything, also a secret.
fn unknown(name: &str, source: Source, is_read_only: bool) -> Entry {
    Entry {
        name: name.to_owned(),
        value: None,
        source,
        value_type: None,
        is_read_only,
        synonyms: vec![Synonym { name: name.to_owned(), value: None, source }],
        doc: None,
    }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}
