//! What happens to all partitions from time to time: checkpoints, forgetting, and the clean stop.
//!
//! Nothing is written when nothing changed, so that an idle node costs nothing.

use std::sync::Arc;
use std::time::Duration;

use ottla_runtime::Plane;
use ottla_storage::{LogError, OffsetCheckpoint};

use crate::partition::Partition;
use crate::replicas::{LoadError, Replicas};
use crate::request::PartitionError;

/// Time between looks for silent producers (`producer.id.expiration.check.interval.ms`).
const PRODUCER_CHECK_INTERVAL: Duration = Duration::from_mins(10);

/// Time after the start within which everything is done once (`InitialTaskDelayMs` of Kafka's).
const FIRST_RUN_WITHIN: Duration = Duration::from_secs(30);

impl Replicas {
    /// Starts the tasks. They end with the process.
    pub fn start_housekeeping(&self) {
        let config = self.shared.config;
        let replicas = self.clone();
        self.every("recovery points", config.recovery_point_interval, move || {
            replicas.write_recovery_points()
        });
        let (replicas, mut last) = (self.clone(), OffsetCheckpoint::default());
        self.every("high watermarks", config.high_watermark_interval, move || {
            replicas.write_high_watermarks(&mut last)
        });
        let replicas = self.clone();
        self.every("retention", config.retention_check_interval, move || {
            replicas.delete_old_segments()
        });
        let replicas = self.clone();
        self.every("producer expiry", PRODUCER_CHECK_INTERVAL, move || {
            let now = replicas.shared.runtime.clock().wall();
            let age_max = replicas.shared.config.producer_id_expiration;
            replicas.all().iter().for_each(|partition| partition.expire_producers(now, age_max));
            Ok(())
        });
    }

    /// Closes all logs and makes them durable, so that the next start need not look into them.
    ///
    /// # Errors
    /// When a file cannot be written; the stop is not a clean one then.
    pub async fn close(&self) -> Result<(), LoadError> {
        let replicas = self.clone();
        let work = move || {
            replicas.all().iter().try_for_each(|partition| replicas.close_one(partition))?;
            replicas.write_recovery_points()?;
            replicas.write_high_watermarks(&mut OffsetCheckpoint::default())?;
            replicas.write_log_starts_at_stop()
        };
        self.shared.runtime.blocking(Plane::Data(0), work).await
    }

    fn close_one(&self, partition: &Arc<Partition>) -> Result<(), LoadError> {
        let job = match partition.close() {
            // Deleted while the others were closed.
            Err(PartitionError::Gone) => return Ok(()),
            job => job?,
        };
        let path = self.shared.dir.path().join(partition.name().to_string());
        partition.run_flush(&job).map_err(|source| {
            self.shared.health.fence(format!("{}: {source}", path.display()));
            LogError::Io { path, source }
        })?;
        partition.flushed(job.end);
        Ok(())
    }

    fn every(
        &self,
        name: &'static str,
        interval: Duration,
        mut work: impl FnMut() -> Result<(), LoadError> + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let plane = Plane::Data(0);
        let task = async move {
            // Also a broker that never lives for an interval gets to it.
            let mut wait = interval.min(FIRST_RUN_WITHIN);
            loop {
                shared.runtime.clock().sleep(wait).await;
                wait = interval;
                let ran = shared.runtime.blocking(plane, move || (work(), work)).await;
                work = ran.1;
                if let Err(error) = ran.0 {
                    return shared.health.fence(format!("{name}: {error}"));
                }
            }
        };
        self.shared.runtime.spawn(plane, name, task);
    }

    fn write_recovery_points(&self) -> Result<(), LoadError> {
        // Locked before the partitions are listed: a log that is deleted meanwhile must not come
        // back into the file behind the new log that takes its name.
        let mut last = self.shared.recovery_points.lock().expect("never poisoned");
        let partitions = self.all();
        let offset = |p: &Arc<Partition>| Some((p.name().clone(), p.checkpoint_offset().ok()?));
        let points = OffsetCheckpoint { offsets: partitions.iter().filter_map(offset).collect() };
        if *last == points {
            return Ok(());
        }
        self.shared.dir.write_recovery_points(&points)?;
        *last = points;
        Ok(())
    }

    fn write_high_watermarks(&self, last: &mut OffsetCheckpoint) -> Result<(), LoadError> {
        let partitions = self.all();
        let offset = |p: &Arc<Partition>| Some((p.name().clone(), p.high_watermark().ok()?));
        let marks = OffsetCheckpoint { offsets: partitions.iter().filter_map(offset).collect() };
        if *last != marks {
            self.shared.dir.write_high_watermarks(&marks)?;
            *last = marks;
        }
        Ok(())
    }
}
