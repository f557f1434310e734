//! A data directory: its lock, whose it is, what partitions it holds, and its checkpoints.
//!
//! ```text
//! .lock  meta.properties  bootstrap.checkpoint  .kafka_cleanshutdown
//! recovery-point-offset-checkpoint  log-start-offset-checkpoint  replication-offset-checkpoint
//! __cluster_metadata-0/  topic-0/  topic-0.<32 hex>-delete/
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_runtime::{DirLock, Disk, SyncPoint};
use ottla_types::{Offset, Timestamp, Uuid};

use crate::boot_note::BootNote;
use crate::checkpoint::OffsetCheckpoint;
use crate::clean_shutdown::{CleanShutdown, parse_clean_shutdown};
use crate::error::LogError;
use crate::log::{Log, LogOptions, Shutdown};
use crate::meta_properties::MetaProperties;
use crate::names::PartitionDirName;
use crate::partition_metadata::PartitionMetadata;
use crate::recovery_points::RecoveryPoints;

/// Directory of the metadata log.
const METADATA_DIR: &str = "__cluster_metadata-0";
const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const CLEANED: &str = "cleaner-offset-checkpoint";
const SMALL_FILE_MAX: u64 = 64 * 1024;

/// Why a data directory cannot be used. The text is one line for the operator.
#[derive(Debug)]
pub enum DirError {
    /// Another process uses it.
    InUse(PathBuf),
    /// A file or the directory cannot be read or written.
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds a directory that is not a partition's.
    Foreign(PathBuf),
}

/// An open, locked data directory.
pub struct DataDir {
    disk: Disk,
    path: PathBuf,
    recovery_points: Arc<RecoveryPoints>,
    _lock: DirLock,
}

/// A partition's directory that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDir {
    /// Name in the data directory.
    pub name: String,
    /// What the name says.
    pub kind: PartitionDirName,
    /// The topic's id; `None` when the file is missing or damaged.
    pub topic_id: Option<Uuid>,
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirError::InUse(path) => write!(
                f,
                "{} is in use by another process (it holds {}/.lock)",
                path.display(),
                path.display()
            ),
            DirError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            DirError::Foreign(path) => write!(
                f,
                "{} is not the directory of a partition (topic-number); data directories hold \
                 nothing else",
                path.display()
            ),
        }
    }
}

impl DirError {
    /// Whether the disk had no room; the old file is in place then.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, DirError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

impl std::error::Error for DirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DirError::Io { source, .. } => Some(source),
            DirError::InUse(_) | DirError::Foreign(_) => None,
        }
    }
}

/// Creates a directory and those above it that are missing, and makes all their names durable.
///
/// Also those that were there: an earlier start may have died between creating and syncing them.
fn create_durably(disk: &Disk, path: &Path) -> io::Result<()> {
    disk.create_dir_all(path)?;
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        let Some(parent) = dir.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent, SyncPoint::DataDir) {
            // Where nothing may be looked at, nothing was created either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}

impl DataDir {
    /// Creates the directory if it is missing, durably, and locks it.
    ///
    /// # Errors
    /// `InUse`, or why it cannot be created or written.
    pub fn open(disk: &Disk, path: &Path) -> Result<DataDir, DirError> {
        let failed = |source| DirError::Io { path: path.to_owned(), source };
        if !disk.exists(&path.join(META_PROPERTIES)).map_err(failed)? {
            create_durably(disk, path).map_err(failed)?;
        }
        let lock = disk.lock_dir(path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirError::InUse(path.to_owned()),
            _ => failed(error),
        })?;
        let recovery_points = Arc::new(RecoveryPoints::new(disk, path));
        Ok(DataDir { disk: disk.clone(), path: path.to_owned(), recovery_points, _lock: lock })
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the metadata log.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        DataDir::metadata_dir_in(&self.path)
    }

    /// Directory of the metadata log in the data directory at `path`.
    #[must_use]
    pub fn metadata_dir_in(path: &Path) -> PathBuf {
        path.join(METADATA_DIR)
    }

    /// Whether nothing is in it but the lock and what an interrupted format leaves.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn is_fresh(&self) -> Result<bool, DirError> {
        let entries = self.disk.list(&self.path).map_err(|error| self.failed("", error))?;
        let ours = |name: &str| {
            matches!(name, ".lock" | "bootstrap.checkpoint" | METADATA_DIR)
                || name.ends_with(".tmp")
        };
        if !entries.iter().all(|entry| ours(&entry.name)) {
            return Ok(false);
        }
        let metadata = match self.disk.list(&self.metadata_dir()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(self.failed(METADATA_DIR, error)),
        };
        Ok(!metadata.iter().any(|entry| entry.name.ends_with(".log")))
    }

    /// Reads `meta.properties`; `None` when it is missing.
    ///
    /// # Errors
    /// When it cannot be read or is malformed.
    pub fn meta_properties(&self) -> Result<Option<MetaProperties>, DirError> {
        DataDir::meta_properties_in(&self.disk, &self.path)
    }

    /// Reads `meta.properties` of a directory that is not opened, and may be another process's.
    ///
    /// # Errors
    /// When it cannot be read or is malformed.
    pub fn meta_properties_in(disk: &Disk, dir: &Path) -> Result<Option<MetaProperties>, DirError> {
        let path = dir.join(META_PROPERTIES);
        match disk.read(&path, SMALL_FILE_MAX).and_then(|bytes| MetaProperties::parse(&bytes)) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirError::Io { path, source }),
        }
    }

    /// Writes `meta.properties`: from now on the directory is formatted. Its name becomes durable
    /// in [`DataDir::take_clean_shutdown`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_meta_properties(
        &self,
        meta: &MetaProperties,
        now: Timestamp,
    ) -> Result<(), DirError> {
        let point = Some(SyncPoint::MetaPropertiesFile);
        let path = self.path.join(META_PROPERTIES);
        let text = meta.to_text(now);
        let written = self.disk.write_atomically(&path, text.as_bytes(), point, None);
        written.map_err(|error| self.failed(META_PROPERTIES, error))
    }

    /// Reads what a clean stop left and removes it, durably: if this process dies from here on,
    /// the next start must look into the logs. `None` when the stop was not clean, or when the
    /// file was torn by a power cut after it.
    ///
    /// The directory is synced in any case: a start before this one may have died between changing
    /// a name and syncing it.
    ///
    /// # Errors
    /// When the file cannot be read or removed.
    pub fn take_clean_shutdown(&self) -> Result<Option<CleanShutdown>, DirError> {
        let failed = |error| self.failed(CLEAN_SHUTDOWN, error);
        let path = self.path.join(CLEAN_SHUTDOWN);
        let found = match self.disk.read(&path, SMALL_FILE_MAX) {
            Ok(bytes) => {
                self.disk.remove_file(&path).map_err(failed)?;
                parse_clean_shutdown(&bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        self.disk.sync_dir(&self.path, SyncPoint::StartDir).map_err(failed)?;
        Ok(found)
    }

    /// Whether there is a mark of a clean stop, or a note of a boot, believed or not.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn has_mark(&self) -> Result<bool, DirError> {
        let marks = [CLEAN_SHUTDOWN, BootNote::NAME].map(|name| self.path.join(name));
        let found = marks.iter().map(|mark| self.disk.exists(mark)).collect::<Result<Vec<_>, _>>();
        Ok(found.map_err(|error| self.failed("", error))?.contains(&true))
    }

    /// Notes that everything is closed and durable. Not synced: without it the next start looks
    /// into the logs, which is slower and as right.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_clean_shutdown(&self, clean: CleanShutdown) -> Result<(), DirError> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", clean.broker_epoch);
        let path = self.path.join(CLEAN_SHUTDOWN);
        let written = self.disk.write_atomically(&path, text.as_bytes(), None, None);
        written.map_err(|error| self.failed(CLEAN_SHUTDOWN, error))
    }

    /// Removes `.lock`, as Kafka does after a clean stop. The lock itself is freed when this is
    /// dropped, or when the process ends.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_lock_file(&self) -> Result<(), DirError> {
        let removed = self.disk.remove_file(&self.path.join(".lock"));
        removed.map_err(|error| self.failed(".lock", error))
    }

    /// The partitions' directories, the metadata log's left out.
    ///
    /// # Errors
    /// `Foreign`, or when they cannot be listed.
    pub fn partitions(&self) -> Result<Vec<PartitionDir>, DirError> {
        let entries = self.disk.list(&self.path).map_err(|error| self.failed("", error))?;
        let dirs = entries.into_iter().filter(|entry| entry.is_dir && entry.name != METADATA_DIR);
        dirs.map(|entry| {
            let path = self.path.join(&entry.name);
            let kind = PartitionDirName::parse(&entry.name)
                .ok_or_else(|| DirError::Foreign(path.clone()))?;
            let topic_id = match PartitionMetadata::read(&self.disk, &path) {
                Ok(metadata) => metadata.map(|metadata| metadata.topic_id),
                Err(error) if is_of_this_file(&error) => None,
                Err(error) => return Err(self.failed(&entry.name, error)),
            };
            Ok(PartitionDir { name: entry.name, kind, topic_id })
        })
        .collect()
    }

    /// Begins the log of a new partition, or a copy of one, in a directory of this name.
    /// [`DataDir::sync_created`] makes its directory survive a power cut; what is in the directory
    /// is made durable with the first records.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create_log(
        &self,
        name: &str,
        topic_id: Uuid,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<Log, LogError> {
        let dir = self.path.join(name);
        let failed = |error| LogError::io(&dir, error);
        let is_new = match self.disk.create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            created => created.map(|()| true).map_err(failed)?,
        };
        let metadata = PartitionMetadata { topic_id };
        let written = match is_new {
            true => metadata.write_first(&self.disk, &dir),
            false => metadata.write(&self.disk, &dir, None),
        };
        written.map_err(failed)?;
        let mut log = if is_new {
            Log::create(&self.disk, &dir, options, now)?
        } else {
            // What an attempt before this one left may be damaged.
            let unclean = Shutdown::Unclean { recovery_point: Offset::ZERO };
            Log::open(&self.disk, &dir, options, unclean, now)?.0
        };
        log.note_created();
        Ok(log)
    }

    /// Makes the directories of new logs durable, and the removal of older logs of their names from
    /// the checkpoint of recovery points.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sync_created(&self) -> Result<(), DirError> {
        let synced = self.disk.sync_dir(&self.path, SyncPoint::PartitionDir);
        synced.map_err(|error| self.failed("", error))
    }

    /// Makes durable that a log has come or gone by a change of its directory's name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sync_moved(&self) -> Result<(), DirError> {
        let synced = self.disk.sync_dir(&self.path, SyncPoint::MovedDir);
        synced.map_err(|error| self.failed("", error))
    }

    /// Renames a directory inside this one. Not synced: the metadata decides again after a crash.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        let renamed = self.disk.rename(&self.path.join(from), &self.path.join(to));
        renamed.map_err(|error| self.failed(from, error))
    }

    /// Removes a directory with all that is in it. May take long.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn remove(&self, name: &str) -> Result<(), DirError> {
        self.disk.remove_dir_all(&self.path.join(name)).map_err(|error| self.failed(name, error))
    }

    /// The file of recovery points, for the owner of the metadata log.
    #[must_use]
    pub fn recovery_point_file(&self) -> &Arc<RecoveryPoints> {
        &self.recovery_points
    }

    /// Reads the offsets below which the partitions' logs are durable.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn recovery_points(&self) -> Result<OffsetCheckpoint, DirError> {
        let points = &self.recovery_points;
        points.partitions().map_err(|source| DirError::Io { path: points.path().into(), source })
    }

    /// Writes the offsets below which the partitions' logs are durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_recovery_points(&self, offsets: &OffsetCheckpoint) -> Result<(), DirError> {
        let points = &self.recovery_points;
        let written = points.write_partitions(offsets);
        written.map_err(|source| DirError::Io { path: points.path().into(), source })
    }

    /// Reads the high watermarks.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn high_watermarks(&self) -> Result<OffsetCheckpoint, DirError> {
        self.read_offsets(HIGH_WATERMARKS)
    }

    /// Writes the high watermarks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_high_watermarks(&self, offsets: &OffsetCheckpoint) -> Result<(), DirError> {
        self.write_offsets(HIGH_WATERMARKS, offsets, None)
    }

    /// Reads how far compacted logs are clean.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn cleaner_offsets(&self) -> Result<OffsetCheckpoint, DirError> {
        self.read_offsets(CLEANED)
    }

    /// Writes how far compacted logs are clean. `has_new` says whether a log is among them that was
    /// not: that must be durable before it is compacted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_cleaner_offsets(
        &self,
        offsets: &OffsetCheckpoint,
        has_new: bool,
    ) -> Result<(), DirError> {
        self.write_offsets(CLEANED, offsets, has_new.then_some(SyncPoint::CleanerDir))
    }

    /// Reads where logs begin.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn log_starts(&self) -> Result<OffsetCheckpoint, DirError> {
        self.read_offsets(LOG_STARTS)
    }

    /// Writes where logs begin, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_log_starts(&self, offsets: &OffsetCheckpoint) -> Result<(), DirError> {
        self.write_offsets(LOG_STARTS, offsets, Some(SyncPoint::LogStartDir))
    }

    fn read_offsets(&self, name: &str) -> Result<OffsetCheckpoint, DirError> {
        let read = OffsetCheckpoint::read(&self.disk, &self.path.join(name));
        read.map_err(|error| self.failed(name, error))
    }

    fn write_offsets(
        &self,
        name: &str,
        offsets: &OffsetCheckpoint,
        point: Option<SyncPoint>,
    ) -> Result<(), DirError> {
        let written = offsets.write(&self.disk, &self.path.join(name), point);
        written.map_err(|error| self.failed(name, error))
    }

    fn failed(&self, name: &str, source: io::Error) -> DirError {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        DirError::Io { path, source }
    }
}

/// Whether one file is to blame, and not the disk.
fn is_of_this_file(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::PermissionDenied
    )
}
