//! A snapshot's file while it is written: under a name that says so, until all of it is durable.
//!
//! ```text
//!   create ──> N-E.checkpoint.part ──append──> finish: fsync, mode 0400, rename, fsync the name
//! ```
//! What a crash leaves of it, the next start removes.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, File, OpenMode, SyncPoint};

use super::{file_name, partial_name};
use crate::core::OffsetAndEpoch;

/// A snapshot that is being written.
pub struct SnapshotFile {
    disk: Disk,
    dir: PathBuf,
    id: OffsetAndEpoch,
    file: File,
    len: u64,
}

impl SnapshotFile {
    /// Begins the file; one that was left under its name is replaced.
    ///
    /// # Errors
    /// Those of `open(2)` and `unlink(2)`.
    pub fn create(disk: &Disk, dir: &Path, id: OffsetAndEpoch) -> io::Result<SnapshotFile> {
        let path = dir.join(partial_name(id));
        match disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&path, OpenMode::Truncate)?;
        Ok(SnapshotFile { disk: disk.clone(), dir: dir.to_owned(), id, file, len: 0 })
    }

    /// Which snapshot it is.
    #[must_use]
    pub fn id(&self) -> OffsetAndEpoch {
        self.id
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Those of `pwritev(2)`.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(&mut [IoSlice::new(bytes)], self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// All that was written.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Makes the file durable and gives it its name, which becomes durable as `name` (when given).
    /// May stall.
    ///
    /// # Errors
    /// Those of `fsync(2)`, `chmod(2)` and `rename(2)`.
    pub fn finish(self, content: SyncPoint, name: Option<SyncPoint>) -> io::Result<()> {
        let (partial, path) = self.paths();
        self.file.sync(content)?;
        self.disk.set_read_only(&partial)?;
        self.disk.rename(&partial, &path)?;
        match name {
            Some(point) => self.disk.sync_dir(&self.dir, point),
            None => Ok(()),
        }
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn discard(self) -> io::Result<()> {
        self.disk.remove_file(&self.paths().0)
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.dir.join(partial_name(self.id)), self.dir.join(file_name(self.id)))
    }
}
