//! Making a log durable: a job is taken under the owner's lock, run without it, and reported back.

use std::io;
use std::path::PathBuf;

use ottla_runtime::{Disk, File, SyncPoint};
use ottla_types::Offset;

use super::{Log, LogError};

/// Syncs to be made for everything below an offset.
pub struct FlushJob {
    disk: Disk,
    files: Vec<(File, SyncPoint)>,
    /// Directory whose names are synced, last: names may only appear with their content.
    names: Option<(PathBuf, SyncPoint)>,
    /// Where the job ends.
    pub end: Offset,
}

impl FlushJob {
    /// Makes everything below [`FlushJob::end`] durable. May stall.
    ///
    /// # Errors
    /// Those of `fsync(2)`: the directory must be fenced.
    pub fn run(&self) -> io::Result<()> {
        for (file, point) in &self.files {
            file.sync(*point)?;
        }
        match &self.names {
            Some((dir, point)) => self.disk.sync_dir(dir, *point),
            None => Ok(()),
        }
    }
}

impl Log {
    /// The job that makes everything appended so far durable; `None` when it is. The job must be
    /// run: what it covers is not offered again.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn start_flush(&mut self) -> Result<Option<FlushJob>, LogError> {
        let sealed = self.segments.len() - 1;
        let unsynced_indexes = self.segments[..sealed].iter().any(|s| !s.indexes_durable);
        if self.recovery_point == self.end && !self.names_unsynced && !unsynced_indexes {
            return Ok(None);
        }
        self.flush_job(sealed).map(Some)
    }

    /// The job that makes a closed log durable, the indexes of its last segment included.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn start_final_flush(&mut self) -> Result<FlushJob, LogError> {
        self.names_unsynced = true;
        self.flush_job(self.segments.len())
    }

    /// A job for everything, with the indexes of the first `sealed` segments. Those of the segment
    /// that is written to are left out: recovery rebuilds them.
    fn flush_job(&mut self, sealed: usize) -> Result<FlushJob, LogError> {
        let mut files = Vec::new();
        let first = self.segment_index(self.recovery_point);
        for (index, segment) in self.segments.iter_mut().enumerate() {
            if index >= first {
                files.push((segment.file()?.clone(), self.options.sync_points.data));
            }
            if index < sealed && !segment.indexes_durable {
                files.extend(segment.index_files()?);
                segment.indexes_durable = true;
            }
        }
        let names = self.names_unsynced.then(|| (self.dir.clone(), self.options.sync_points.names));
        self.names_unsynced = false;
        Ok(FlushJob { disk: self.disk.clone(), files, names, end: self.end })
    }

    /// Notes that a job was done.
    pub fn finish_flush(&mut self, end: Offset) {
        // A truncation meanwhile moved the end below the job's.
        self.recovery_point = self.recovery_point.max(end.min(self.end));
    }

    /// Whether a full segment waits for being made durable: it is to be flushed in the background.
    #[must_use]
    pub fn has_unflushed_segment(&self) -> bool {
        let sealed = self.segments.len() - 1;
        self.recovery_point < self.active().base()
            || self.segments[..sealed].iter().any(|segment| !segment.indexes_durable)
    }

    /// The recovery point for the checkpoint: below it, records and indexes are durable.
    #[must_use]
    pub fn checkpoint_offset(&self) -> Offset {
        let sealed = self.segments.len() - 1;
        let unsynced = self.segments[..sealed].iter().find(|segment| !segment.indexes_durable);
        unsynced.map_or(self.recovery_point, |segment| segment.base().min(self.recovery_point))
    }
}
