//! Deleting old segments of all partitions (`log.retention.check.interval.ms`).
//!
//! A log's start is durable before anybody sees it: else a power cut could take it back, and what
//! was out of range would be there again. One file holds the starts of all logs in a
//! directory, and one write of it serves a whole check. Nothing is written when nothing changed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_runtime::{Disk, Plane};
use ottla_storage::OffsetCheckpoint;
use ottla_types::Offset;

use crate::dir::Dir;
use crate::load_error::LoadError;
use crate::partition::Partition;
use crate::replicas::Replicas;
use crate::request::PartitionError;

impl Replicas {
    /// Deletes what no log is to keep.
    pub(crate) fn delete_all_old_segments(&self) {
        self.in_each_dir("retention", |dir| self.delete_old_segments(dir));
    }

    fn delete_old_segments(&self, dir: &Arc<Dir>) -> Result<(), LoadError> {
        for (partition, start) in self.move_log_starts(dir)? {
            let Some(files) = held(partition.delete_below(start))? else { continue };
            tracing::info!(partition = %partition.name(), start = start.0, files = files.len(),
                "deleted old segments");
            let Some(config) = held(partition.config())? else { continue };
            self.remove_files_later(files, config.file_delete_delay);
        }
        Ok(())
    }

    /// Decides where logs begin from now on, and makes it durable.
    fn move_log_starts(&self, dir: &Arc<Dir>) -> Result<Vec<(Arc<Partition>, Offset)>, LoadError> {
        // Locked before the partitions are listed: a log that is deleted meanwhile must not come
        // back into the file behind the new log that takes its name.
        let mut last = dir.log_starts.lock().expect("never poisoned");
        let now = self.shared.runtime.clock().wall();
        let mut moves = Vec::new();
        for partition in self.all_in(dir) {
            if let Some(start) = held(partition.plan_retention(now))?.flatten() {
                moves.push((partition, start));
            }
        }
        if moves.is_empty() {
            return Ok(moves);
        }
        let mut starts = self.log_starts(dir, &last);
        let moved = moves.iter().map(|(partition, start)| (partition.name().clone(), *start));
        starts.offsets.extend(moved);
        if starts != *last {
            dir.data().write_log_starts(&starts)?;
            *last = starts;
        }
        Ok(moves)
    }

    /// Writes the starts of all logs: Kafka expects the file.
    pub(crate) fn write_log_starts_at_stop(&self, dir: &Arc<Dir>) -> Result<(), LoadError> {
        let mut last = dir.log_starts.lock().expect("never poisoned");
        let starts = self.log_starts(dir, &last);
        dir.data().write_log_starts(&starts)?;
        *last = starts;
        Ok(())
    }

    /// The starts of all logs in a directory. One that is offline keeps what it had.
    fn log_starts(&self, dir: &Arc<Dir>, last: &OffsetCheckpoint) -> OffsetCheckpoint {
        let partitions = self.all_in(dir);
        let names: BTreeSet<_> = partitions.iter().map(|partition| partition.name()).collect();
        let mut starts = last.clone();
        starts.offsets.retain(|name, _| names.contains(name));
        for partition in &partitions {
            if let Ok(start) = partition.log_start()
                && start > Offset::ZERO
            {
                starts.offsets.insert(partition.name().clone(), start);
            }
        }
        starts
    }

    fn remove_files_later(&self, files: Vec<PathBuf>, delay: Duration) {
        let (shared, plane) = (self.shared.clone(), Plane::Data(0));
        let task = async move {
            shared.runtime.clock().sleep(delay).await;
            let disk = shared.runtime.disk().clone();
            let remove = move || files.iter().for_each(|file| remove_file(&disk, file));
            shared.runtime.blocking(plane, remove).await;
        };
        self.shared.runtime.spawn(plane, "remove deleted segments", task);
    }
}

fn remove_file(disk: &Disk, file: &Path) {
    match disk.remove_file(file) {
        // Its topic was deleted meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(file = %file.display(), %error, "a deleted file stays"),
        Ok(()) => {}
    }
}

/// What came of a partition that this node may have lost meanwhile.
fn held<T>(result: Result<T, PartitionError>) -> Result<Option<T>, PartitionError> {
    match result {
        Err(PartitionError::Gone | PartitionError::Offline) => Ok(None),
        result => result.map(Some),
    }
}
