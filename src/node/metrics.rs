//! Which parts of the node tell metrics, and what takes two of them: the lag of groups.

use ottla_coordinator::Groups;
use ottla_metadata::ImageCell;
use ottla_replication::Replicas;
use ottla_runtime::metrics::{self, Metrics, Readings};
use ottla_types::{TopicIdPartition, Uuid};

/// The metrics of a node; of at most so many committed offsets the lag.
pub(crate) fn metrics_of(
    groups: &Groups,
    replicas: &Replicas,
    images: &ImageCell,
    offsets_max: usize,
) -> Metrics {
    let metrics = Metrics::default();
    let (coordinator, logs) = (groups.clone(), replicas.clone());
    metrics.register(move |readings| {
        coordinator.tell(readings);
        logs.tell_cleaning(readings);
    });
    let (groups, replicas, images) = (groups.clone(), replicas.clone(), images.clone());
    metrics.register(move |readings| {
        tell_members(&groups, offsets_max, readings);
        tell_lag(&groups, &replicas, &images, offsets_max, readings);
    });
    metrics
}

/// Of no more groups than there may be offsets: a page has a limit, however many groups there are.
fn tell_members(groups: &Groups, groups_max: usize, readings: &mut Readings) {
    for (group, members) in groups.member_counts().into_iter().take(groups_max) {
        readings.tell(&metrics::CONSUMERGROUP_MEMBERS, &[&group], members as f64);
    }
}

/// The lag is known where this node has the partition. What is committed for a topic that was
/// deleted and made anew says nothing about the new one.
fn tell_lag(
    groups: &Groups,
    replicas: &Replicas,
    images: &ImageCell,
    offsets_max: usize,
    readings: &mut Readings,
) {
    let image = images.load();
    let (offsets, left_out) = groups.committed_offsets(offsets_max);
    for committed in offsets {
        let key = &committed.key;
        let partition = key.partition.to_string();
        let labels = [&*key.group, &*key.topic, partition.as_str()];
        let current = committed.offset.0 as f64;
        readings.tell(&metrics::CONSUMERGROUP_CURRENT_OFFSET, &labels, current);
        let Some(topic) = image.topics().by_name(&key.topic) else { continue };
        if committed.topic_id != topic.id && committed.topic_id != Uuid::ZERO {
            continue;
        }
        let id = TopicIdPartition { topic_id: topic.id, partition: key.partition };
        let end = replicas.get(&id).and_then(|partition| partition.high_watermark().ok());
        if let Some(end) = end {
            let lag = end.0.saturating_sub(committed.offset.0).max(0);
            readings.tell(&metrics::CONSUMERGROUP_LAG, &labels, lag as f64);
        }
    }
    readings.tell(&metrics::CONSUMERGROUP_LEFT_OUT, &[], left_out as f64);
}
