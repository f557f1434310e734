//! What the metadata and the node's file together say about a topic, and about the node while it
//! runs.

use ottla_config::{CleanerConfig, TOPIC_KEYS, TopicConfig, TopicKey};
use ottla_metadata::image::{ConfigMap, ConfigResource, Image, ResourceKind};
use ottla_types::NodeId;

/// The configs of a topic: its own, else those set for this broker or for all brokers while they
/// run, else the node's defaults.
pub(crate) fn effective(
    image: &Image,
    node: NodeId,
    topic: &str,
    defaults: &TopicConfig,
) -> TopicConfig {
    let configs = image.configs();
    let own = configs.of(&ConfigResource::topic(topic));
    let this_broker = ConfigResource { kind: ResourceKind::BROKER, name: node.to_string() };
    let brokers = [configs.of(&this_broker), configs.of(&ConfigResource::all_brokers())];
    let value = |map: Option<&ConfigMap>, name: &str| map?.get(name).cloned();
    let found: Vec<(&str, String)> = TOPIC_KEYS
        .iter()
        .filter_map(|key| {
            let by_topic = value(own, key.name);
            let by_broker = || {
                let names = || key.broker_keys.iter();
                let of = |map, name: &str| Some(TopicKey::in_own_unit(name, &value(map, name)?));
                brokers.iter().find_map(|map| names().find_map(|name| of(*map, name)))
            };
            Some((key.name, by_topic.or_else(by_broker)?))
        })
        .collect();
    defaults.with_overrides(found.iter().map(|(name, value)| (*name, value.as_str())))
}

/// How many connections an address may have: as this broker or all brokers are told while they
/// run; `None` leaves it to the node's file.
pub(crate) fn connections_per_ip_max(image: &Image, node: NodeId) -> Option<u32> {
    let set = told(image, node, "max.connections.per.ip")?;
    set.trim().parse::<i32>().ok().and_then(|max| u32::try_from(max).ok()).filter(|max| *max > 0)
}

/// How many bytes may be copied in a second for replicas that move, likewise.
pub(crate) fn move_bytes_per_second(image: &Image, node: NodeId) -> Option<u64> {
    let set = told(image, node, "replica.alter.log.dirs.io.max.bytes.per.second")?;
    set.trim().parse::<i64>().ok().and_then(|rate| u64::try_from(rate).ok())
}

/// How logs are compacted, likewise.
pub(crate) fn cleaner(image: &Image, node: NodeId, begun_with: CleanerConfig) -> CleanerConfig {
    begun_with.with(|key| told(image, node, key))
}

/// What this broker, else all brokers, are told of a key.
fn told<'a>(image: &'a Image, node: NodeId, key: &str) -> Option<&'a str> {
    let this_broker = ConfigResource { kind: ResourceKind::BROKER, name: node.to_string() };
    let resources = [&this_broker, &ConfigResource::all_brokers()];
    resources.into_iter().find_map(|resource| image.configs().value(resource, key))
}
