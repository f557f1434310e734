//! Opening the metadata log: its torn tail is cut, and damage is refused.
//!
//! A crash tears what was not durable: the last batch when the process died, any part of what was
//! not yet synced when the machine did. What is not sound is damage when it would take committed
//! records with it:
//!
//! - it lies below the end of what was committed and durable, as the last process noted; or
//! - a sound batch stands behind it, and the page cache kept the order of the writes (after a clean
//!   stop, or a death of the process alone in this boot); or
//! - the first batch of an epoch stands behind it, in a quorum of one: each start makes the log
//!   that it finds durable before it begins an epoch.
//!
//! What a sound snapshot holds is not lost. Kafka 4.3.1 cuts the log in any case.

use ottla_protocol::control::ControlRecord;
use ottla_runtime::{Disk, Runtime, SyncPoint};
use ottla_storage::{
    Damage, FoundBatch, Left, Log, LogError, LogOptions, PartitionMetadata, Progress, Shutdown,
    SyncPoints, each_sound_behind,
};
use ottla_types::{Offset, Uuid};

use super::metadata_log::MetadataLog;
use super::restore::{QuorumError, QuorumSetup};
use super::snapshots;
use crate::records::control_records;

/// Opens the log, checked from its start as Kafka does. What was found is not durable yet.
pub(super) fn open_log(runtime: &Runtime, setup: &QuorumSetup) -> Result<MetadataLog, QuorumError> {
    let (disk, dir) = (runtime.disk(), &setup.dir);
    let failed = |source| QuorumError::Io { path: dir.clone(), source };
    if PartitionMetadata::read(disk, dir).map_err(failed)?.is_none() {
        let metadata = PartitionMetadata { topic_id: Uuid::METADATA_TOPIC };
        metadata.write(disk, dir, Some(SyncPoint::PartitionMetadataFile)).map_err(failed)?;
    }
    let open = |shutdown| {
        let options = LogOptions { sync_points: SyncPoints::METADATA, ..setup.log.clone() };
        let left = Left { shutdown, start: Offset::ZERO };
        Log::open_watched(disk, dir, options, left, runtime.clock().wall(), &Progress::default())
    };
    let damage = match open(Shutdown::Doubted) {
        Ok((log, _)) => return Ok(MetadataLog::new(log)),
        Err(LogError::Damaged(damage)) => damage,
        Err(error) => return Err(error.into()),
    };
    let lost = committed_below(disk, setup, &damage)?;
    if lost > damage.offset && lost > snapshots::newest_snapshot(disk, dir)? {
        return Err(QuorumError::Damaged(damage));
    }
    let (log, recovered) = open(Shutdown::Unclean { recovery_point: Offset::ZERO })?;
    if recovered.cut_bytes > 0 {
        tracing::warn!(bytes = recovered.cut_bytes, end = log.end().0, "cut the metadata log");
    }
    Ok(MetadataLog::new(log))
}

/// An offset below which everything is known to have been committed, as far as that is known.
fn committed_below(
    disk: &Disk,
    setup: &QuorumSetup,
    damage: &Damage,
) -> Result<Offset, QuorumError> {
    let mut committed = setup.durable;
    each_sound_behind(disk, damage, |batch| {
        if setup.in_order {
            committed = committed.max(batch.header.next_offset());
        } else if setup.alone && begins_epoch(batch) {
            committed = committed.max(batch.header.base_offset);
        }
    })?;
    Ok(committed)
}

fn begins_epoch(batch: &FoundBatch<'_>) -> bool {
    let records = control_records(&batch.header, batch.bytes).unwrap_or_default();
    records.iter().any(|(_, record)| matches!(record, ControlRecord::LeaderChange(_)))
}
