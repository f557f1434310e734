//! Partitions that a request names more than once. Kafka reads a request into a map of partitions:
//! each counts once, at its first place, with what was asked last.

use std::collections::{BTreeMap, BTreeSet};

/// Where a partition stands in a request: the place of its topic, and its own in the topic.
pub(crate) type Place = (usize, usize);

/// Each partition that was named before: where it stands first, and where again.
pub(crate) fn find<K: Ord>(named: impl Iterator<Item = (Place, K)>) -> Vec<(Place, Place)> {
    let mut first = BTreeMap::new();
    let mut repeated = Vec::new();
    for (place, key) in named {
        let before = *first.entry(key).or_insert(place);
        if before != place {
            repeated.push((before, place));
        }
    }
    repeated
}

/// Takes out what was named again, and topics without partitions.
pub(crate) fn remove<T, P>(
    topics: &mut Vec<T>,
    repeated: &[(Place, Place)],
    partitions: impl Fn(&mut T) -> &mut Vec<P>,
) {
    if !repeated.is_empty() {
        let again: BTreeSet<Place> = repeated.iter().map(|(_, again)| *again).collect();
        for (at, topic) in topics.iter_mut().enumerate() {
            let mut indexes = 0..;
            partitions(topic)
                .retain(|_| indexes.next().is_some_and(|index| !again.contains(&(at, index))));
        }
    }
    topics.retain_mut(|topic| !partitions(topic).is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_stays_and_empty_topics_go() {
        let mut topics = vec![("a", vec![0, 1]), ("b", vec![7, 7]), ("a", vec![1]), ("c", vec![])];
        let named: Vec<(Place, (&str, i32))> = topics
            .iter()
            .enumerate()
            .flat_map(|(at, (name, partitions))| {
                let places = partitions.iter().enumerate();
                places.map(move |(index, partition)| ((at, index), (*name, *partition)))
            })
            .collect();
        let repeated = find(named.into_iter());
        assert_eq!(repeated, [((1, 0), (1, 1)), ((0, 1), (2, 0))]);
        remove(&mut topics, &repeated, |(_, partitions)| partitions);
        assert_eq!(topics, [("a", vec![0, 1]), ("b", vec![7])]);
    }
}
