//! Files: plain synchronous calls, on the real file system or on a simulated one.
//!
//! Reads and writes go through the page cache and are made inline; what may stall (fsync, removal
//! of trees, recovery) is called from [`crate::Runtime::blocking`]. Every fsync names its
//! [`SyncPoint`]. Directory listings are sorted, so that nothing depends on a file system's order.

#[cfg(debug_assertions)]
mod failpoint;
mod open_files;
mod real;
pub(crate) mod sim;
mod sim_model;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use open_files::LazyFile;

use crate::sync_point::SyncPoint;
use open_files::OpenFiles;
use sim::{SimDisk, SimFile};

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; created when absent, kept as it is when present.
    Create,
    /// For reading and writing; created when absent, emptied when present.
    Truncate,
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Name within the directory. Names that are not UTF-8 are not listed: nothing of Kafka's is.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What tells a file from all others, copies and later files of its name included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file in it; numbers are used again.
    pub inode: u64,
    /// When the file was created, ns since 1970.
    pub born: u64,
}

/// Room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// All of it, bytes.
    pub total: u64,
    /// What an ordinary user may still write, bytes.
    pub usable: u64,
}

/// The file system of a node. Copies share it.
#[derive(Clone)]
pub struct Disk {
    twin: DiskTwin,
    files: OpenFiles,
}

#[derive(Clone)]
enum DiskTwin {
    Real,
    Sim(Arc<SimDisk>),
}

/// An open file; positions are explicit. Copies share the descriptor, which closes with the last.
#[derive(Clone)]
pub struct File {
    twin: FileTwin,
}

#[derive(Clone)]
pub(crate) enum FileTwin {
    Real(Arc<std::fs::File>),
    Sim(SimFile),
}

/// Holds a directory's `.lock` until dropped. The kernel frees it when the process dies.
pub struct DirLock {
    _file: File,
}

impl Disk {
    pub(crate) fn real() -> Disk {
        Disk { twin: DiskTwin::Real, files: OpenFiles::new() }
    }

    pub(crate) fn simulated(disk: &SimDisk) -> Disk {
        Disk { twin: DiskTwin::Sim(Arc::new(disk.clone())), files: OpenFiles::new() }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        let open = || match &self.twin {
            DiskTwin::Real => Ok(FileTwin::Real(Arc::new(real::open(path, mode)?))),
            DiskTwin::Sim(disk) => Ok(FileTwin::Sim(disk.open(path, mode)?)),
        };
        Ok(File { twin: self.with_room(open)? })
    }

    /// Changes how many [`LazyFile`]s stay open between their uses.
    pub fn set_open_files_max(&self, files_max: usize) {
        self.files.set_files_max(files_max);
    }

    /// Number of [`LazyFile`]s that are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.files.len()
    }

    /// Closes the [`LazyFile`]s that were not used since the last call; returns how many.
    #[expect(clippy::must_use_candidate, reason = "the number is for tests")]
    pub fn close_unused_files(&self) -> usize {
        self.files.close_unused()
    }

    fn files(&self) -> &OpenFiles {
        &self.files
    }

    /// Makes a call that needs a descriptor; once more with room when there is none left.
    fn with_room<T>(&self, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match call() {
            Err(error) if real::is_out_of_descriptors(&error) && self.files.close_half() => {
                self.with_room(call)
            }
            result => result,
        }
    }

    /// Reads a whole file of at most `len_max` bytes.
    ///
    /// # Errors
    /// Those of `open(2)` and `read(2)`; `FileTooLarge` above `len_max`.
    pub fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > len_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(len).expect("bounded by len_max")];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replaces a file in one step: writes `path` + ".tmp", syncs it as `file_point` (when
    /// given), renames it, and syncs the directory as `dir_point` (when given).
    ///
    /// # Errors
    /// Those of the calls; the old file is in place then, or already the new one when only the
    /// sync of the directory failed.
    pub fn write_atomically(
        &self,
        path: &Path,
        bytes: &[u8],
        file_point: Option<SyncPoint>,
        dir_point: Option<SyncPoint>,
    ) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        // What a power cut left of an earlier one goes as a file: if it was only emptied and
        // written to, without a sync, the next power cut could bring its content back, under the
        // new name.
        match self.remove_file(temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        let file = self.open(temporary, OpenMode::Truncate)?;
        if let Err(error) = file.write_all_at(&mut [IoSlice::new(bytes)], 0) {
            if error.kind() == io::ErrorKind::StorageFull {
                // What was written of it would keep its room.
                self.remove_file(temporary)?;
            }
            return Err(error);
        }
        if let Some(point) = file_point {
            file.sync(point)?;
        }
        self.rename(temporary, path)?;
        match (dir_point, path.parent()) {
            (Some(point), Some(dir)) => self.sync_dir(dir, point),
            _ => Ok(()),
        }
    }

    /// Creates a directory; its parent must exist.
    ///
    /// # Errors
    /// Those of `mkdir(2)`, `AlreadyExists` included.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => std::fs::create_dir(path),
            DiskTwin::Sim(disk) => disk.create_dir(path),
        }
    }

    /// Creates a directory and the parents that are missing.
    ///
    /// # Errors
    /// Those of `mkdir(2)`.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => std::fs::create_dir_all(path),
            DiskTwin::Sim(disk) => disk.create_dir_all(path),
        }
    }

    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// Those of `opendir(3)` and `readdir(3)`.
    pub fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        match &self.twin {
            DiskTwin::Real => self.with_room(|| real::list(path)),
            DiskTwin::Sim(disk) => disk.list(path),
        }
    }

    /// Whether something exists at `path`.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        match &self.twin {
            DiskTwin::Real => path.try_exists(),
            DiskTwin::Sim(disk) => disk.exists(path),
        }
    }

    /// Which file is at `path`; `None` when there is none, or when the file system does not tell
    /// when files were created.
    ///
    /// # Errors
    /// Those of `statx(2)`, without `NotFound`.
    pub fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let found = match &self.twin {
            DiskTwin::Real => real::file_id(path),
            DiskTwin::Sim(disk) => disk.file_id(path).map(Some),
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found,
        }
    }

    /// Room on the file system that `path` is on. May stall.
    ///
    /// # Errors
    /// Those of `statvfs(3)`.
    pub fn space(&self, path: &Path) -> io::Result<Space> {
        match &self.twin {
            DiskTwin::Real => real::space(path),
            DiskTwin::Sim(disk) => disk.space(path),
        }
    }

    /// The path from the root on, as it is written: links are not followed.
    #[must_use]
    pub fn absolute(&self, path: &Path) -> PathBuf {
        match &self.twin {
            DiskTwin::Real => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            DiskTwin::Sim(_) => path.to_owned(),
        }
    }

    /// Renames a file or directory within its directory; replaces a file in one step.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => std::fs::rename(from, to),
            DiskTwin::Sim(disk) => disk.rename(from, to),
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Those of `unlink(2)`, `NotFound` included.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => std::fs::remove_file(path),
            DiskTwin::Sim(disk) => disk.remove_file(path),
        }
    }

    /// Lets nobody write to a file any more, as Kafka does with snapshots: mode 0400. Whoever has
    /// it open still can.
    ///
    /// # Errors
    /// Those of `chmod(2)`.
    pub fn set_read_only(&self, path: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => real::set_read_only(path),
            // The simulated disk has one user, who may do everything.
            DiskTwin::Sim(_) => Ok(()),
        }
    }

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// Those of `unlink(2)` and `rmdir(2)`.
    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => self.with_room(|| std::fs::remove_dir_all(path)),
            DiskTwin::Sim(disk) => disk.remove_dir_all(path),
        }
    }

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// Those of `open(2)` and `fsync(2)`.
    pub fn sync_dir(&self, path: &Path, point: SyncPoint) -> io::Result<()> {
        match &self.twin {
            DiskTwin::Real => self.with_room(|| std::fs::File::open(path))?.sync_all(),
            DiskTwin::Sim(disk) => disk.sync_dir(path, point),
        }
    }

    /// Takes Kafka's lock on a data directory: `.lock`, locked as Java's `FileChannel` does it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it; else those of `open(2)` and `fcntl(2)`.
    pub fn lock_dir(&self, dir: &Path) -> io::Result<DirLock> {
        let file = self.open(&dir.join(".lock"), OpenMode::Create)?;
        match &file.twin {
            FileTwin::Real(real) => real::lock(real)?,
            FileTwin::Sim(sim) => sim.lock()?,
        }
        Ok(DirLock { _file: file })
    }
}

impl File {
    /// Length in bytes.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    #[expect(clippy::len_without_is_empty, reason = "a file is no collection")]
    pub fn len(&self) -> io::Result<u64> {
        match &self.twin {
            FileTwin::Real(file) => Ok(file.metadata()?.len()),
            FileTwin::Sim(file) => file.len(),
        }
    }

    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.twin {
            FileTwin::Real(file) => real::read_full_at(file, buf, offset),
            FileTwin::Sim(file) => file.read_at(buf, offset),
        }
    }

    /// Reads exactly `buf.len()` bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; else those of `pread(2)`.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buf, offset)? < buf.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Writes all slices one after the other at `offset`, extending the file when needed.
    ///
    /// # Errors
    /// Those of `pwritev(2)`; then any part of the bytes may have been written.
    pub fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        match &self.twin {
            FileTwin::Real(file) => {
                #[cfg(debug_assertions)]
                failpoint::pass(failpoint::When::Before, file);
                let written = real::write_all_at(file, slices, offset);
                #[cfg(debug_assertions)]
                failpoint::pass(failpoint::When::After, file);
                written
            }
            FileTwin::Sim(file) => file.write_all_at(slices, offset),
        }
    }

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.twin {
            FileTwin::Real(file) => file.set_len(len),
            FileTwin::Sim(file) => file.set_len(len),
        }
    }

    /// Makes the file's bytes and length durable (`fdatasync`).
    ///
    /// # Errors
    /// Those of `fdatasync(2)`, but never of the kind `StorageFull`. After an error nothing may be
    /// assumed of what was written since the last success, and a second call proves nothing: the
    /// directory must be fenced.
    pub fn sync(&self, point: SyncPoint) -> io::Result<()> {
        match &self.twin {
            FileTwin::Real(file) => file.sync_data().map_err(sync_failed),
            FileTwin::Sim(file) => file.sync(point),
        }
    }

    pub(crate) fn twin(&self) -> &FileTwin {
        &self.twin
    }
}

/// A sync that finds no room (blocks are allocated late) has lost what a write had taken: that is
/// no full disk which refuses and stays as it was.
fn sync_failed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull => io::Error::other(format!("sync failed: {error}")),
        _ => error,
    }
}

/// The id that Linux gives each run of the kernel.
pub(crate) fn real_boot_id() -> Option<String> {
    real::boot_id()
}

/// Whether a file could not be opened because the process, or the system, has no descriptor left.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    real::is_out_of_descriptors(error)
}

#[cfg(test)]
mod conformance;
