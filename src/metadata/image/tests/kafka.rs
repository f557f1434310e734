//! Replays what Apache Kafka 4.3.1 wrote: its log makes the images that its own snapshots hold.

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, NodeId, Offset, PartitionId};

use crate::image::{Delta, Image};
use crate::testdata::{
    RESTARTS, SNAPSHOTS, THREE_BROKERS, batches, log_batch, with_sorted_features,
};
use crate::{Loader, LogBatch, MetadataVersion, VersionedRecord};

fn log(bytes: &[u8]) -> impl Iterator<Item = LogBatch> {
    batches(bytes).into_iter().map(|(header, records)| log_batch(&header, records))
}

fn snapshot(bytes: &[u8]) -> Vec<VersionedRecord> {
    batches(bytes).into_iter().flat_map(|(_, records)| records).collect()
}

/// The image of the records before `end_offset`, where a batch ends.
fn image_before(end_offset: i64) -> Image {
    let mut loader = Loader::new();
    for batch in log(THREE_BROKERS).filter(|batch| batch.last_offset.0 < end_offset) {
        loader.load_batch(&batch).expect("Kafka's log can be followed");
    }
    assert_eq!(loader.image().provenance().offset, Offset(end_offset - 1));
    loader.image().clone()
}

#[test]
fn kafkas_log_makes_the_images_of_kafkas_snapshots() {
    for (end_offset, bytes) in SNAPSHOTS {
        let image = image_before(end_offset);
        let load = |records: Vec<VersionedRecord>| {
            let records = records.into_iter().map(|it| with_sorted_features(it.record));
            let delta = Loader::new().load_snapshot(image.provenance(), records);
            delta.map(Delta::into_image).expect("the snapshot can be loaded")
        };
        assert_eq!(load(snapshot(bytes)), load(image.to_records()), "at {end_offset}");
    }
}

/// Records of one kind stand together, in Kafka's order of kinds and each in Kafka's version.
#[test]
fn our_snapshots_are_laid_out_as_kafkas() {
    let layout = |records: Vec<VersionedRecord>| {
        let mut kinds: Vec<(u32, i16)> =
            records.iter().map(|it| (it.record.type_number(), it.version)).collect();
        kinds.dedup();
        kinds
    };
    for (end_offset, bytes) in SNAPSHOTS {
        let ours = layout(image_before(end_offset).to_records());
        // Which topic, or which resource's configs, comes first is chance in Kafka.
        assert_eq!(ours, layout(snapshot(bytes)), "at {end_offset}");
    }
}

#[test]
fn a_log_with_restarts_is_followed_to_its_end() {
    let mut loader = Loader::new();
    for batch in log(RESTARTS) {
        loader.load_batch(&batch).expect("Kafka's log can be followed");
        loader.image().check();
    }
    let image = loader.image();
    let partition = image.partition("a", PartitionId(0)).expect("it was created");
    assert_eq!(partition.leader_epoch, LeaderEpoch(7));
    assert_eq!(image.metadata_version(), MetadataVersion::V4_3);
    assert!(image.cluster().broker(NodeId(1)).is_some_and(|broker| broker.fenced));
    let is_data = |record: &MetadataRecord| !matches!(record, MetadataRecord::NoOp(_));
    assert!(log(RESTARTS).flat_map(|batch| batch.records).filter(is_data).count() > 30);
}
