//! What the metadata and the node's file together say about a topic, and about the node while it
//! runs.

use ottla_config::{TOPIC_KEYS, TopicConfig, TopicKey};
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
    let configs = image.configs();
    let this_broker = ConfigResource { kind: ResourceKind::BROKER, name: node.to_string() };
    let resources = [&this_broker, &ConfigResource::all_brokers()];
    let mut values = resources.into_iter();
    let set = values.find_map(|resource| configs.value(resource, "max.connections.per.ip"))?;
    set.trim().parse::<i32>().ok().and_then(|max| u32::try_from(max).ok()).filter(|max| *max > 0)
}
