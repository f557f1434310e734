//! What Apache Kafka would find on a disk that lost power, were it started there: it gives up on a
//! `leader-epoch-checkpoint` that is malformed, and has no epochs by an empty one, where Ottla
//! reads them from the batches. So the file has to be sound where records are durable.

use std::path::Path;

use ottla_runtime::sim::SimNode;
use ottla_runtime::{Disk, Runtime};
use ottla_storage::{LeaderEpochs, OffsetCheckpoint, RecoveryPoints, SegmentFile};
use ottla_types::Offset;

use super::loss::dirs_in;
use crate::findings::Findings;

/// Looks at all log directories.
pub fn look(machine: &SimNode, findings: &Findings) {
    let disk = Runtime::simulated(machine).disk().clone();
    for dir in dirs_in(&disk, Path::new("/var")) {
        // A checkpoint that is not sound is Ottla's own trouble, too, and found by its start.
        let Ok(points) = RecoveryPoints::new(&disk, &dir).partitions() else { continue };
        let starts = OffsetCheckpoint::read(&disk, &dir.join("log-start-offset-checkpoint"));
        let starts = starts.unwrap_or_default().offsets;
        for (partition, point) in &points.offsets {
            let log = dir.join(format!("{}-{}", partition.topic, partition.partition));
            let Some(first) = first_offset(&disk, &log) else { continue };
            // It goes before its directory when a topic is deleted, and Kafka takes that.
            if !disk.exists(&LeaderEpochs::path(&log)).unwrap_or(false) {
                continue;
            }
            let start = starts.get(partition).copied().unwrap_or(first).max(first);
            let epochs = LeaderEpochs::read(&disk, &log);
            if *point > start && !epochs.is_ok_and(|epochs| !epochs.entries().is_empty()) {
                findings.violated(format!(
                    "{} has durable records, and a leader-epoch-checkpoint that is not sound",
                    log.display()
                ));
            }
        }
    }
}

/// Base offset of a log's first segment.
fn first_offset(disk: &Disk, log: &Path) -> Option<Offset> {
    let entries = disk.list(log).ok()?;
    let parsed = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
    parsed.filter(|(kind, _)| *kind == SegmentFile::Log).map(|(_, base)| base).min()
}
