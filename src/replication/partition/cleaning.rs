//! Compaction of a partition's log: planned and swapped under the lock, done without it
//! ([`crate::cleaner`]).
//!
//! A log that moves to another directory is not compacted: its copy might keep a value that it took
//! from one segment, and miss the tombstone that is gone from the next. Nothing is staged while it
//! moves, and no copy begins while something is ([`Partition::look`]); so whatever a crash leaves
//! beside a copy, completing it changes nothing.

use std::path::PathBuf;

use ottla_storage::{CleanJob, CleanLimits, Cleanable, CleanedGroup};
use ottla_types::{Offset, Timestamp};

use super::Partition;
use crate::dir::Dir;
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
        let planned = self.look_at_dirt(cleaned_to, now)?;
        Ok(planned.filter(|(_, is_due)| *is_due).map(|(planned, _)| planned))
    }

    /// What of a log that is to be compacted could be cleaned, and whether it is worth it now.
    ///
    /// # Errors
    /// `Offline`, `Gone`; those of reading.
    pub(crate) fn look_at_dirt(
        &self,
        cleaned_to: Option<Offset>,
        now: Timestamp,
    ) -> Result<Option<(Cleanable, bool)>, PartitionError> {
        let mut state = self.lock()?;
        if !state.log.config().compacts || state.moving.is_some() {
            return Ok(None);
        }
        let high_watermark = state.core.high_watermark();
        let planned = state.log.plan_cleaning(cleaned_to, high_watermark, now);
        let planned = planned.map_err(PartitionError::Log)?;
        Ok(Some((planned, planned.is_due(state.log.config()))))
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

    /// Whether there is still something to clean, in this directory.
    pub(crate) fn is_in(&self, dir: &Dir) -> bool {
        self.lock().is_ok_and(|state| std::ptr::eq(&raw const *state.dir, dir))
    }

    /// Whether the log moves to another directory, and is left alone until then.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving().is_some()
    }

    /// Gives a segment that a job made the names that a start completes; `None` when the log has
    /// changed there, or moves.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn stage_swap(
        &self,
        group: CleanedGroup,
    ) -> Result<Option<CleanedGroup>, PartitionError> {
        let mut state = self.lock()?;
        if state.moving.is_some() {
            group.discard().map_err(|error| self.failed(error))?;
            return Ok(None);
        }
        let staged = state.log.stage_swap(group).map_err(|error| self.failed(error))?;
        state.swapping = staged.is_some();
        Ok(staged)
    }

    /// Takes the names of a segment back that could not be made durable.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn unstage_swap(&self, group: CleanedGroup) -> Result<(), PartitionError> {
        let mut state = self.lock()?;
        group.discard().map_err(|error| self.failed(error))?;
        state.swapping = false;
        Ok(())
    }

    /// Lets the log go on with a segment that a job made; `None` when the log has changed there.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn begin_swap(
        &self,
        group: CleanedGroup,
    ) -> Result<Option<Vec<PathBuf>>, PartitionError> {
        let mut state = self.lock()?;
        let begun = state.log.begin_swap(group).map_err(|error| self.failed(error))?;
        state.swapping = begun.is_some();
        Ok(begun)
    }

    /// What was swapped has lost its names durably.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn end_swap(&self, base: Offset) -> Result<(), PartitionError> {
        let mut state = self.lock()?;
        state.log.end_swap(base).map_err(|error| self.failed(error))?;
        state.swapping = false;
        Ok(())
    }
}
