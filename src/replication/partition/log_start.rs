//! Where a partition's log begins: decided under the lock, written to the checkpoint without it,
//! and only then in force ([`crate::retention`]).

use std::path::PathBuf;

use ottla_storage::LogError;
use ottla_types::{Offset, Timestamp};

use super::Partition;
use crate::request::PartitionError;

impl Partition {
    /// Where the log is to begin, as retention says ([`Log::plan_retention`]). `None` also when the
    /// disk is full: somebody will make room.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn plan_retention(&self, now: Timestamp) -> Result<Option<Offset>, PartitionError> {
        let mut state = self.lock()?;
        let high_watermark = state.core.high_watermark();
        match state.log.plan_retention(high_watermark, now) {
            Err(LogError::Rejected(_)) => Ok(None),
            planned => planned.map_err(|error| self.failed(error)),
        }
    }

    /// Deletes the segments below a start that is durable; returns the files, to be removed.
    ///
    /// # Errors
    /// On a fault, and the directory is fenced.
    pub(crate) fn delete_below(&self, start: Offset) -> Result<Vec<PathBuf>, PartitionError> {
        let mut state = self.lock()?;
        state.log.delete_below(start).map_err(|error| self.failed(error))
    }

    /// First offset that may be read.
    ///
    /// # Errors
    /// `Offline`.
    pub fn log_start(&self) -> Result<Offset, PartitionError> {
        Ok(self.lock()?.log.log_start())
    }

    /// Where the log is to begin when a client deletes what lies below `before`; `None` is the high
    /// watermark. Not below the present start.
    ///
    /// # Errors
    /// `NotLeader`; `PolicyViolation` for a log that is compacted only; `OffsetOutOfRange` for a
    /// negative offset and one above the high watermark; `Offline`.
    pub(crate) fn plan_deletion(&self, before: Option<Offset>) -> Result<Offset, PartitionError> {
        let state = self.lock()?;
        state.check_epoch(None)?;
        let config = state.log.config();
        if config.compacts && !config.deletes {
            return Err(PartitionError::PolicyViolation);
        }
        let high_watermark = state.core.high_watermark();
        let start = before.unwrap_or(high_watermark);
        if start < Offset::ZERO || start > high_watermark {
            return Err(PartitionError::Log(LogError::OffsetOutOfRange));
        }
        Ok(start.max(state.log.log_start()))
    }
}
