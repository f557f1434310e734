//! The topics that the metadata knows, for partitions whose directory does not say whose it is.

use std::collections::BTreeMap;
use std::path::Path;

use ottla_protocol::batch::{BATCH_OVERHEAD, Records};
use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::driver::newest_snapshot_bytes;
use ottla_raft::snapshot::{SnapshotBatch, SnapshotReader};
use ottla_runtime::Disk;
use ottla_storage::examine;
use ottla_types::{Offset, Uuid};

use super::failed;
use crate::tool::ToolError;

/// Ids of the topics by name, as the sound part of the metadata in `dir` has them.
pub(super) fn ids_by_name(disk: &Disk, dir: &Path) -> Result<BTreeMap<String, Uuid>, ToolError> {
    let mut topics = BTreeMap::new();
    let newest = newest_snapshot_bytes(disk, dir).map_err(|error| failed(&error))?;
    let (from, bytes) = newest.unwrap_or((Offset::ZERO, Vec::new()));
    for batch in SnapshotReader::new(&bytes).flatten() {
        if let SnapshotBatch::Data(values) = batch {
            values.into_iter().for_each(|value| note(&mut topics, value));
        }
    }
    let visit = |batch: &ottla_storage::FoundBatch<'_>, breaks: usize| {
        let is_data = !batch.header.attributes.is_control();
        if breaks == 0 && is_data && batch.header.base_offset >= from {
            let records = Records::new(&batch.header, &batch.bytes[BATCH_OVERHEAD..]);
            let values = records.flatten().filter_map(|record| record.value);
            values.for_each(|value| note(&mut topics, value));
        }
    };
    examine(disk, dir, true, visit).map_err(|error| failed(&error))?;
    Ok(topics)
}

fn note(topics: &mut BTreeMap<String, Uuid>, value: &[u8]) {
    match MetadataRecord::decode(value) {
        Ok((MetadataRecord::Topic(topic), _)) => {
            topics.insert(topic.name.to_string(), topic.topic_id);
        }
        Ok((MetadataRecord::RemoveTopic(removed), _)) => {
            topics.retain(|_, id| *id != removed.topic_id);
        }
        _ => {}
    }
}
