//! The note of what is committed and durable here, written a moment after it grew and at a stop.
//!
//! It may lag behind, and is never ahead. A start refuses a log that has less (`doubt.rs`).

use std::sync::Arc;
use std::time::Duration;

use ottla_runtime::Plane;
use ottla_storage::{LogError, RecoveryPoints};
use ottla_types::{MonoTime, Offset};

use super::run::Driver;

/// Time in which growth is noted once.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct DurablePoint {
    points: Arc<RecoveryPoints>,
    /// What was noted, or is being noted.
    noted: Offset,
    /// When to note more; `None` when nothing grew.
    at: Option<MonoTime>,
}

impl DurablePoint {
    pub(super) fn new(points: Arc<RecoveryPoints>, noted: Offset) -> DurablePoint {
        DurablePoint { points, noted, at: None }
    }

    pub(super) fn at(&self) -> Option<MonoTime> {
        self.at
    }
}

impl Driver {
    /// The high watermark moved.
    pub(super) fn durable_point_grew(&mut self) {
        let now = self.runtime.clock().now();
        self.durable.at.get_or_insert(now.after(NOTE_INTERVAL));
    }

    /// What is committed and durable here, if more than was noted.
    fn more_durable(&self) -> Option<Offset> {
        let end = self.core.high_watermark()?.min(self.log.recovery_point());
        (end > self.durable.noted).then_some(end)
    }

    /// Notes what grew, when it is time to.
    pub(super) fn note_durable_if_due(&mut self) {
        if self.durable.at.is_none_or(|at| at > self.runtime.clock().now()) {
            return;
        }
        self.durable.at = None;
        let Some(end) = self.more_durable() else { return };
        self.durable.noted = end;
        let (runtime, health) = (self.runtime.clone(), self.health.clone());
        let points = self.durable.points.clone();
        let task = async move {
            let work = move || (points.raise_metadata(end), points.path().to_owned());
            let (done, path) = runtime.blocking(Plane::Control, work).await;
            match done.map_err(|source| LogError::Io { path, source }) {
                Ok(()) => {}
                Err(error) if error.is_disk_full() => {
                    tracing::debug!(%error, "will be noted with what comes next");
                }
                Err(error) => health.fence(error.to_string()),
            }
        };
        self.runtime.spawn(Plane::Control, "note durable metadata", task);
    }

    /// Notes all of a log that was closed.
    pub(super) fn note_durable_at_stop(&mut self) -> Result<(), LogError> {
        let Some(end) = self.more_durable() else { return Ok(()) };
        let points = &self.durable.points;
        let noted = points.raise_metadata(end);
        match noted.map_err(|source| LogError::Io { path: points.path().into(), source }) {
            Err(error) if error.is_disk_full() => Ok(()),
            done => done,
        }
    }
}
