//! What happens to all partitions from time to time: checkpoints, forgetting, and the clean stop.
//!
//! Nothing is written when nothing changed, so that an idle node costs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_runtime::Plane;
use ottla_storage::{DirError, LogError, OffsetCheckpoint};
use ottla_types::{Offset, Uuid};

use crate::dir::Dir;
use crate::load_error::LoadError;
use crate::moves::Moving;
use crate::partition::Partition;
use crate::replicas::Replicas;
use crate::request::PartitionError;

/// Time between looks for files that nobody uses; they close after twice that at the latest.
const UNUSED_FILES_INTERVAL: Duration = Duration::from_mins(1);

/// Logs that are closed at the same time.
const CLOSERS: usize = 8;

/// Time after the start within which everything is done once (`InitialTaskDelayMs` of Kafka's).
const FIRST_RUN_WITHIN: Duration = Duration::from_secs(30);

impl Replicas {
    /// Starts the tasks. They end with the process.
    pub fn start_housekeeping(&self) {
        let config = self.shared.config;
        let replicas = self.clone();
        self.every("recovery points", config.recovery_point_interval, move || {
            replicas.in_each_dir("recovery points", |dir| replicas.write_recovery_points(dir));
        });
        let replicas = self.clone();
        self.every("high watermarks", config.high_watermark_interval, move || {
            replicas.in_each_dir("high watermarks", |dir| replicas.write_high_watermarks(dir));
        });
        let replicas = self.clone();
        self.every("retention", config.retention_check_interval, move || {
            replicas.delete_all_old_segments();
        });
        let disk = self.shared.runtime.disk().clone();
        self.every("unused files", UNUSED_FILES_INTERVAL, move || {
            disk.close_unused_files();
        });
        self.start_looking_for_room();
        self.start_moving();
        self.start_cleaners();
        let replicas = self.clone();
        self.every("producer expiry", config.producer_check_interval, move || {
            let now = replicas.shared.runtime.clock().wall();
            let age_max = replicas.shared.config.producer_id_expiration;
            replicas.all().iter().for_each(|partition| partition.expire_producers(now, age_max));
        });
    }

    /// Closes all logs and makes them durable, so that the next start need not look into them;
    /// returns the ids of the directories where that was done. One where it fails is fenced, unless
    /// it is full.
    pub async fn close(&self) -> Vec<Uuid> {
        self.stop_moving().await;
        self.shared.cleaning.stop();
        self.close_partitions().await;
        let replicas = self.clone();
        let work = move || {
            let closed = Mutex::new(Vec::new());
            replicas.in_each_dir("closing", |dir| {
                replicas.write_recovery_points(dir)?;
                replicas.write_high_watermarks(dir)?;
                replicas.write_log_starts_at_stop(dir)?;
                if !dir.has_unclosed_logs() {
                    closed.lock().expect("never poisoned").push(dir.id());
                }
                Ok(())
            });
            closed.into_inner().expect("never poisoned")
        };
        self.shared.runtime.blocking(Plane::Data(0), work).await
    }

    /// Closes all logs. Several at a time, because each waits for the disk and they can share what
    /// they wait for.
    async fn close_partitions(&self) {
        let partitions = self.all();
        let share = partitions.len().div_ceil(CLOSERS).max(1);
        let mut closers = Vec::new();
        for (index, chunk) in partitions.chunks(share).enumerate() {
            let (replicas, chunk) = (self.clone(), chunk.to_vec());
            let plane = Plane::Data(index % self.shared.runtime.data_threads());
            let work = move || chunk.iter().for_each(|partition| replicas.close_one(partition));
            let runtime = self.shared.runtime.clone();
            let task = async move { runtime.blocking(plane, work).await };
            closers.push(self.shared.runtime.spawn(plane, "close logs", task));
        }
        for (mut closer, chunk) in closers.into_iter().zip(partitions.chunks(share)) {
            if closer.join().await.is_none() {
                let fence = |partition: &Arc<Partition>| {
                    partition.dir().health().fence("closing panicked".to_owned());
                };
                chunk.iter().for_each(fence);
            }
        }
    }

    /// Does something in each directory that is not fenced, and fences those where it fails. What
    /// finds no room is done again with the room that is kept for it; else the next time will do,
    /// as the files of before are in place.
    pub(crate) fn in_each_dir(
        &self,
        what: &str,
        work: impl Fn(&Arc<Dir>) -> Result<(), LoadError>,
    ) {
        for dir in self.shared.dirs.iter().filter(|dir| !dir.health().is_fenced()) {
            let mut done = work(dir);
            if done.as_ref().is_err_and(LoadError::is_disk_full) && dir.health().make_room() {
                done = work(dir);
            }
            match done {
                Ok(()) => {}
                Err(error) if error.is_disk_full() => {
                    tracing::warn!(%error, "{what}: will be tried again when there is room");
                }
                Err(error) => dir.health().fence(format!("{what}: {error}")),
            }
        }
    }

    /// Closes a log, or fences its directory, unless that is full.
    fn close_one(&self, partition: &Arc<Partition>) {
        let dir = partition.dir();
        let health = dir.health();
        if health.is_fenced() {
            return;
        }
        let mut closed = Replicas::close_durably(partition);
        if closed.as_ref().is_err_and(LoadError::is_disk_full) {
            health.make_room();
            closed = Replicas::close_durably(partition);
        }
        match closed {
            Ok(()) => {}
            Err(error) if error.is_disk_full() => dir.leave_unclosed(),
            Err(error) => health.fence(format!("closing: {error}")),
        }
    }

    fn close_durably(partition: &Partition) -> Result<(), LoadError> {
        let job = match partition.close() {
            // Deleted while the others were closed.
            Err(PartitionError::Gone) | Ok(None) => return Ok(()),
            job => job?.expect("the other case is above"),
        };
        let path = partition.dir().data().path().join(partition.name().to_string());
        partition.run_flush(&job).map_err(|source| LogError::Io { path, source })?;
        partition.flushed(job.end);
        Ok(())
    }

    fn every(
        &self,
        name: &'static str,
        interval: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let plane = Plane::Data(0);
        let task = async move {
            // Also a broker that never lives for an interval gets to it.
            let mut wait = interval.min(FIRST_RUN_WITHIN);
            loop {
                shared.runtime.clock().sleep(wait).await;
                wait = interval;
                let ran = move || {
                    work();
                    work
                };
                work = shared.runtime.blocking(plane, ran).await;
            }
        };
        self.shared.runtime.spawn(plane, name, task);
    }

    fn write_recovery_points(&self, dir: &Arc<Dir>) -> Result<(), LoadError> {
        // Locked before the partitions are listed: a log that is deleted meanwhile must not come
        // back into the file behind the new log that takes its name.
        let mut last = dir.recovery_points.lock().expect("never poisoned");
        let mut points = self.offsets_in(dir, Partition::checkpoint_offset, Moving::checkpoint);
        dir.keep_damaged(&last, &mut points);
        replace(&mut last, points, |points| dir.data().write_recovery_points(points))
    }

    fn write_high_watermarks(&self, dir: &Arc<Dir>) -> Result<(), LoadError> {
        let mut last = dir.high_watermarks.lock().expect("never poisoned");
        let marks = self.offsets_in(dir, Partition::high_watermark, Moving::end);
        replace(&mut last, marks, |marks| dir.data().write_high_watermarks(marks))
    }

    fn offsets_in(
        &self,
        dir: &Arc<Dir>,
        offset: impl Fn(&Partition) -> Result<Offset, PartitionError>,
        of_copy: impl Fn(&Moving) -> Offset,
    ) -> OffsetCheckpoint {
        // As Kafka does, also those of copies on their way: they bear the name of their log.
        let copies = self.copies_in(dir).into_iter();
        let mut offsets: BTreeMap<_, _> =
            copies.map(|(name, copy)| (name, of_copy(&copy))).collect();
        let partitions = self.all_in(dir);
        let offset = |p: &Arc<Partition>| Some((p.name().clone(), offset(p).ok()?));
        offsets.extend(partitions.iter().filter_map(offset));
        OffsetCheckpoint { offsets }
    }
}

/// Writes what changed.
fn replace(
    last: &mut OffsetCheckpoint,
    new: OffsetCheckpoint,
    write: impl FnOnce(&OffsetCheckpoint) -> Result<(), DirError>,
) -> Result<(), LoadError> {
    if *last != new {
        write(&new)?;
        *last = new;
    }
    Ok(())
}
