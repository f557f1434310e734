//! Why partitions cannot be opened or created.

use std::path::PathBuf;

use ottla_storage::{DirError, LogError};

use crate::request::PartitionError;

/// Why partitions cannot be opened or created.
#[derive(Debug)]
pub enum LoadError {
    /// The data directory.
    Dir(DirError),
    /// A log.
    Log(LogError),
    /// A partition.
    Partition(PartitionError),
    /// A loader panicked; the log tells where.
    Panicked,
    /// A partition is in two directories.
    Duplicate(PathBuf, PathBuf),
}

impl LoadError {
    /// Whether the disk had no room.
    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            LoadError::Dir(error) => error.is_disk_full(),
            LoadError::Log(error) | LoadError::Partition(PartitionError::Log(error)) => {
                error.is_disk_full()
            }
            _ => false,
        }
    }
}

impl From<DirError> for LoadError {
    fn from(error: DirError) -> LoadError {
        LoadError::Dir(error)
    }
}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> LoadError {
        LoadError::Log(error)
    }
}

impl From<PartitionError> for LoadError {
    fn from(error: PartitionError) -> LoadError {
        LoadError::Partition(error)
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Dir(error) => error.fmt(f),
            LoadError::Log(error) => error.fmt(f),
            LoadError::Partition(error) => error.fmt(f),
            LoadError::Panicked => f.write_str("a log could not be opened"),
            LoadError::Duplicate(first, second) => write!(
                f,
                "Duplicate log directories for {} are found in both {} and {}. It is likely because \
                 log directory failure happened while broker was replacing current replica with \
                 future replica. Recover broker from this failure by manually deleting one of the \
                 two directories for this partition. It is recommended to delete the partition in \
                 the log directory that is known to have failed recently.",
                first.file_name().unwrap_or_default().to_string_lossy(),
                first.display(),
                second.display()
            ),
        }
    }
}

impl std::error::Error for LoadError {}
