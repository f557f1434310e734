//! What Apache Kafka 4.3.1 wrote, byte by byte.
//!
//! - `kafka-4.3.1-three-brokers.log`: the metadata log of one controller and the brokers 2, 3 and
//!   4 that were killed, stopped and started; the checkpoints are Kafka's own snapshots of it.
//! - `kafka-4.3.1-restarts.log`: that of one combined node, which was started, given a topic,
//!   stopped, started, killed, started, stopped, started and stopped.

use ottla_protocol::Writer;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use ottla_protocol::metadata::MetadataRecord;

use crate::{LogBatch, VersionedRecord};

pub(crate) const RESTARTS: &[u8] = include_bytes!("kafka-4.3.1-restarts.log");
pub(crate) const THREE_BROKERS: &[u8] = include_bytes!("kafka-4.3.1-three-brokers.log");
/// Snapshots of [`THREE_BROKERS`] and the offsets that they reach up to.
pub(crate) const SNAPSHOTS: [(i64, &[u8]); 3] = [
    (42, include_bytes!("kafka-4.3.1-three-brokers-42.checkpoint")),
    (92, include_bytes!("kafka-4.3.1-three-brokers-92.checkpoint")),
    (130, include_bytes!("kafka-4.3.1-three-brokers-130.checkpoint")),
];

/// The batches of a log or a snapshot. Control records are left out of theirs.
pub(crate) fn batches(mut bytes: &[u8]) -> Vec<(BatchHeader, Vec<VersionedRecord>)> {
    let mut batches = Vec::new();
    while let Ok(header) = BatchHeader::read(bytes) {
        let (batch, rest) = bytes.split_at(header.size());
        bytes = rest;
        let mut records = Vec::new();
        if !header.attributes.is_control() {
            records.extend(Records::new(&header, &batch[BATCH_OVERHEAD..]).map(|record| {
                let value = record.expect("Kafka wrote it").value.expect("has a value");
                let (record, version) = MetadataRecord::decode(value).expect("known");
                let mut writer = Writer::new();
                record.encode(version, &mut writer);
                assert_eq!(writer.into_bytes(), value, "we write the bytes that Kafka writes");
                VersionedRecord { record, version }
            }));
        }
        batches.push((header, records));
    }
    assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
    batches
}

/// A batch as a loader takes it.
pub(crate) fn log_batch(header: &BatchHeader, records: Vec<VersionedRecord>) -> LogBatch {
    LogBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        epoch: header.leader_epoch,
        timestamp: header.max_timestamp,
        records: records.into_iter().map(|it| it.record).collect(),
    }
}

/// Puts the features of a node, which Kafka lists in the order of a hash map, into ours.
pub(crate) fn with_sorted_features(mut record: MetadataRecord) -> MetadataRecord {
    match &mut record {
        MetadataRecord::RegisterBroker(it) => it.features.sort_by(|a, b| a.name.cmp(&b.name)),
        MetadataRecord::RegisterController(it) => it.features.sort_by(|a, b| a.name.cmp(&b.name)),
        _ => {}
    }
    record
}
