//! Making a log durable: a job is taken under the owner's lock, run without it, and reported back.

use std::io;
use std::path::PathBuf;

use ottla_runtime::{Disk, File, OpenMode, SyncPoint};
use ottla_types::Offset;

use super::{Log, LogError};

/// Syncs to be made for everything below an offset.
pub struct FlushJob {
    disk: Disk,
    /// By name, so that a job of many segments holds no descriptors. What is gone when its turn
    /// comes was deleted, and nobody needs it any more.
    files: Vec<(PathBuf, SyncPoint)>,
    /// The one that is written to: it is open.
    active: (File, SyncPoint),
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
        for (path, point) in &self.files {
            match self.disk.open(path, OpenMode::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync(*point)?,
            }
        }
        self.active.0.sync(self.active.1)?;
        match &self.names {
            Some((dir, point)) => self.disk.sync_dir(dir, *point),
            None => Ok(()),
        }
    }
}

impl Log {
    /// The job that makes everything appended so far durable; `None` when it is. The job must be
    /// run: what it covers is not offered again. There is one at a time.
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
        let last = self.segments.len() - 1;
        let data = self.options.sync_points.data;
        for (index, segment) in self.segments.iter_mut().enumerate() {
            // The cut of a preallocated file at its seal becomes durable with the indexes: also
            // when all data is already, and when another process made it.
            if index < last && (first <= index || !segment.indexes_durable) {
                files.push((segment.path().to_owned(), data));
            }
            if index < sealed && !segment.indexes_durable {
                files.extend(segment.index_files()?);
            }
        }
        files.extend(self.small_files.take_unsynced(&self.dir));
        let names = self.names_unsynced.then(|| (self.dir.clone(), self.options.sync_points.names));
        let active = (self.active_mut().file()?, data);
        self.flushing_from = Some(self.checkpoint_offset());
        // Behind everything that can fail: what a job covers is not offered again.
        self.segments[..sealed].iter_mut().for_each(|segment| segment.indexes_durable = true);
        self.names_unsynced = false;
        self.flush_end = self.end;
        Ok(FlushJob { disk: self.disk.clone(), files, active, names, end: self.end })
    }

    /// Notes that a job was done.
    pub fn finish_flush(&mut self, end: Offset) {
        // Behind a truncation meanwhile there is something else now.
        self.recovery_point = self.recovery_point.max(end.min(self.flush_end));
        self.flushing_from = None;
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
        let durable =
            self.flushing_from.map_or(self.recovery_point, |from| from.min(self.recovery_point));
        unsynced.map_or(durable, |segment| segment.base().min(durable))
    }
}
