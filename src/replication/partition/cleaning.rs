//! Compaction of a partition's log: planned and swapped under the lock, done without it
//! ([`crate::cleaner`]).

use std::path::PathBuf;

use ottla_storage::{CleanJob, CleanLimits, Cleanable, CleanedGroup};
use ottla_types::{Offset, Timestamp};

use super::Partition;
use crate::request::PartitionError;

impl Partition {
    /// What can be cleaned of a log that is to be compacted, if it is worth it now.
    ///
    /// # Errors
    /// `Offline`, `Gone`; those of reading.
    pub(crate) fn plan_cleaning(
        &self,
        cleaned_to: Option<Offset>,
        now: Timestamp,
    ) -> Result<Option<Cleanable>, PartitionError> {
        let mut state = self.lock()?;
        if !state.log.config().compacts {
            return Ok(None);
        }
        let high_watermark = state.core.high_watermark();
        let planned = state.log.plan_cleaning(cleaned_to, high_watermark, now);
        let planned = planned.map_err(PartitionError::Log)?;
        Ok(planned.is_due(state.log.config()).then_some(planned))
    }

    /// The job that does what was planned.
    ///
    /// # Errors
    /// `Offline`, `Gone`; those of reading.
    pub(crate) fn start_cleaning(
        &self,
        plan: Cleanable,
        limits: CleanLimits,
        now: Timestamp,
    ) -> Result<CleanJob, PartitionError> {
        self.lock()?.log.start_cleaning(plan, limits, now).map_err(PartitionError::Log)
    }

    /// Whether there is still something to clean.
    pub(crate) fn is_here(&self) -> bool {
        self.lock().is_ok()
    }

    /// Gives a segment that a job made the names that a start completes; `None` when the log has
    /// changed there.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn stage_swap(
        &self,
        group: CleanedGroup,
    ) -> Result<Option<CleanedGroup>, PartitionError> {
        self.lock()?.log.stage_swap(group).map_err(|error| self.failed(error))
    }

    /// Lets the log go on with a segment that a job made; `None` when the log has changed there.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn begin_swap(
        &self,
        group: CleanedGroup,
    ) -> Result<Option<Vec<PathBuf>>, PartitionError> {
        self.lock()?.log.begin_swap(group).map_err(|error| self.failed(error))
    }

    /// What was swapped has lost its names durably.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn end_swap(&self, base: Offset) -> Result<(), PartitionError> {
        self.lock()?.log.end_swap(base).map_err(|error| self.failed(error))
    }
}
