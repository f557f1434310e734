//! Moving the starts of logs: old segments of all partitions go from time to time
//! (`log.retention.check.interval.ms`), and clients delete records (KIP-107).
//!
//! A log's start is durable before anybody sees it: else a power cut could take it back, and what
//! was out of range would be there again. One file holds the starts of all logs in a
//! directory, and one write of it serves a whole check. Nothing is written when nothing changed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use ottla_runtime::{Disk, Plane};
use ottla_storage::OffsetCheckpoint;
use ottla_types::{Offset, TopicPartition};

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
        let now = self.shared.runtime.clock().wall();
        let (_in_file, moves) = self.move_log_starts(dir, || {
            let mut moves = Vec::new();
            for partition in self.all_in(dir) {
                if let Some(start) = held(partition.plan_retention(now))?.flatten() {
                    moves.push((partition, start));
                }
            }
            Ok(moves)
        })?;
        for (partition, start) in moves {
            self.begin_log_at(&partition, start)?;
        }
        Ok(())
    }

    /// Deletes what lies below an offset (`None`: the high watermark) in each of these partitions.
    /// Returns where each of them begins now, in their order; that is durable. May stall: call it
    /// where that is allowed.
    #[must_use]
    pub fn delete_records(&self, asked: &[(Arc<Partition>, Option<Offset>)]) -> Vec<LowWatermark> {
        let mut answers: Vec<Option<LowWatermark>> = asked.iter().map(|_| None).collect();
        // One that moves to a directory that had its turn is there in the second round.
        for _ in 0..2 {
            self.delete_records_in_each(asked, &mut answers);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(PartitionError::Gone))).collect()
    }

    fn delete_records_in_each(
        &self,
        asked: &[(Arc<Partition>, Option<Offset>)],
        answers: &mut [Option<LowWatermark>],
    ) {
        for dir in &self.shared.dirs {
            let here = |(partition, _): &(Arc<Partition>, _)| Arc::ptr_eq(dir, &partition.dir());
            let open: Vec<bool> = answers.iter().map(Option::is_none).collect();
            let asked_here = || {
                let all = asked.iter().enumerate();
                all.filter(|(at, asked)| open[*at] && here(asked))
            };
            if !open.contains(&true) {
                return;
            }
            let mut planned = Vec::new();
            let moved = self.move_log_starts(dir, || {
                for (at, (partition, before)) in asked_here() {
                    match partition.plan_deletion(*before) {
                        Ok(start) => planned.push((at, partition.clone(), start)),
                        Err(error) => answers[at] = Some(Err(error)),
                    }
                }
                Ok(planned
                    .iter()
                    .map(|(_, partition, start)| (partition.clone(), *start))
                    .collect())
            });
            if let Err(error) = &moved
                && !error.is_disk_full()
            {
                dir.health().fence(format!("deleting records: {error}"));
            }
            for (at, partition, start) in planned {
                let begun = match &moved {
                    // What the file holds is held until the log begins there: else the log might
                    // move to another directory in between.
                    Ok(_in_file) => {
                        self.begin_log_at(&partition, start).and_then(|()| partition.log_start())
                    }
                    Err(_) => Err(PartitionError::Offline),
                };
                answers[at] = Some(begun);
            }
        }
    }

    /// Lets a log begin at a start that is durable. A partition that this node lost meanwhile is
    /// left alone.
    fn begin_log_at(&self, partition: &Partition, start: Offset) -> Result<(), PartitionError> {
        let Some(files) = held(partition.delete_below(start))? else { return Ok(()) };
        tracing::info!(partition = %partition.name(), start = start.0, files = files.len(),
            "deleted old records");
        if let Some(config) = held(partition.config())?
            && !files.is_empty()
        {
            self.remove_files_later(files, config.file_delete_delay);
        }
        Ok(())
    }

    /// Asks `plan` where logs are to begin from now on, and makes it durable. No log leaves the
    /// directory, or comes, before the caller drops what the file holds.
    fn move_log_starts<'a>(
        &self,
        dir: &'a Arc<Dir>,
        plan: impl FnOnce() -> Result<NewStarts, LoadError>,
    ) -> Result<(MutexGuard<'a, OffsetCheckpoint>, NewStarts), LoadError> {
        // Locked before the partitions are listed: a log that is deleted meanwhile must not come
        // back into the file behind the new log that takes its name.
        let mut last = dir.log_starts.lock().expect("never poisoned");
        let moves = plan()?;
        if moves.is_empty() {
            return Ok((last, moves));
        }
        let mut starts = self.log_starts(dir, &last);
        for (partition, start) in &moves {
            note_start(&mut starts, partition.name(), *start);
        }
        if starts != *last {
            dir.data().write_log_starts(&starts)?;
            *last = starts;
        }
        Ok((last, moves))
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
        let copies = self.copies_in(dir);
        let mut names: BTreeSet<_> = partitions.iter().map(|partition| partition.name()).collect();
        names.extend(copies.iter().map(|(name, _)| name));
        let mut starts = last.clone();
        starts.offsets.retain(|name, _| names.contains(name));
        dir.keep_damaged(last, &mut starts);
        for partition in &partitions {
            if let Ok(start) = partition.log_start() {
                note_start(&mut starts, partition.name(), start);
            }
        }
        for (name, copy) in &copies {
            note_start(&mut starts, name, copy.start());
        }
        starts
    }

    pub(crate) fn remove_files_later(&self, files: Vec<PathBuf>, delay: Duration) {
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

/// Where logs are to begin.
type NewStarts = Vec<(Arc<Partition>, Offset)>;

/// Where a log begins now, or why nothing was deleted.
pub type LowWatermark = Result<Offset, PartitionError>;

/// Notes where a log begins, unless a start behind it is noted that is about to be in force.
fn note_start(starts: &mut OffsetCheckpoint, name: &TopicPartition, start: Offset) {
    if start > Offset::ZERO {
        let noted = starts.offsets.entry(name.clone()).or_insert(start);
        *noted = start.max(*noted);
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
