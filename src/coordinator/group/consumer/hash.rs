//! The hash of the topics that a group reads (KIP-1101): when it changes, a new assignment is due.
//! It equals Kafka's, so that a group which changes its coordinator is left as it is.
//!
//! - Of a topic: XXH3 over a zero byte, id, name, count of partitions, and for each partition its
//!   index and the racks of its replicas, sorted, each with its length before it. Numbers are
//!   little-endian, a text is its UTF-16 units and their count.
//! - Of a group: XXH3 over those of its topics that exist, by their names; 0 when there are none.

use std::collections::BTreeSet;

use ottla_types::TopicName;
use twox_hash::XxHash3_64;

use super::cluster::{Cluster, TopicView};

/// The first byte, which names how the rest is made.
const MAGIC: u8 = 0;

/// The hash of the topics that a group reads.
#[must_use]
pub fn metadata_hash(topics: &BTreeSet<TopicName>, cluster: &dyn Cluster) -> i64 {
    let mut all: Vec<(&TopicName, u64)> = topics
        .iter()
        .filter_map(|name| Some((name, topic_hash(name, cluster.topic(name)?, cluster))))
        .collect();
    if all.is_empty() {
        return 0;
    }
    all.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let bytes: Vec<u8> = all.iter().flat_map(|(_, hash)| hash.to_le_bytes()).collect();
    XxHash3_64::oneshot(&bytes).cast_signed()
}

fn topic_hash(name: &str, topic: TopicView, cluster: &dyn Cluster) -> u64 {
    let mut bytes = vec![MAGIC];
    let (high, low) = topic.id.0.split_at(8);
    bytes.extend(high.iter().rev());
    bytes.extend(low.iter().rev());
    put_text(&mut bytes, name);
    bytes.extend(topic.partitions.to_le_bytes());
    for (partition, mut racks) in (0i32..).zip(cluster.racks(topic.id)) {
        bytes.extend(partition.to_le_bytes());
        racks.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        for rack in racks {
            bytes.extend(units(&rack).to_le_bytes());
            put_text(&mut bytes, &rack);
        }
    }
    XxHash3_64::oneshot(&bytes)
}

fn units(text: &str) -> u32 {
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.extend(units(text).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use ottla_types::Uuid;

    use super::*;

    struct Two;

    impl Cluster for Two {
        fn topic(&self, name: &str) -> Option<TopicView> {
            let id = "AuXEB9Lk_EmmP0LMxTATTg".parse().expect("an id");
            (name == "t\u{f6}pic").then_some(TopicView { id, partitions: 2 })
        }

        fn version(&self) -> i64 {
            0
        }

        fn each_topic(&self, _: &mut dyn FnMut(&TopicName)) {}

        fn name_of(&self, _: Uuid) -> Option<TopicName> {
            None
        }

        fn racks(&self, _: Uuid) -> Vec<Vec<String>> {
            vec![vec!["b".to_owned(), "a".to_owned()], Vec::new()]
        }

        fn group_config(&self, _: &str, _: &str) -> Option<String> {
            None
        }
    }

    /// Values of Kafka's `Utils.computeTopicHash` and `computeGroupHash`.
    #[test]
    fn equals_kafkas() {
        let view = Two.topic("t\u{f6}pic").expect("it is there");
        let hash = topic_hash("t\u{f6}pic", view, &Two).cast_signed();
        assert_eq!(hash, -5_903_339_054_903_000_095);
        let names = |names: &[&str]| names.iter().map(|name| TopicName::from(*name)).collect();
        let hash = |all: &[&str]| metadata_hash(&names(all), &Two);
        assert_eq!(hash(&["t\u{f6}pic"]), 4_774_976_926_390_724_402);
        assert_eq!(hash(&["t\u{f6}pic", "missing"]), 4_774_976_926_390_724_402);
        assert_eq!(hash(&["missing"]), 0);
    }
}
