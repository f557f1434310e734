//! What can go wrong with a log.
//!
//! A rejection is the client's affair and changes nothing. Everything else is a fault of this
//! node: the directory is to be fenced, because what is on disk is no longer known.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::DecodeError;
use ottla_protocol::batch::BatchError;
use ottla_runtime::is_out_of_descriptors;
use ottla_types::{ErrorCode, Offset};

/// Why a batch is not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRejection {
    /// Larger than `segment.bytes`.
    LargerThanSegment,
    /// The producer's sequence numbers do not follow each other.
    OutOfOrderSequence,
    /// A newer producer with the same id has written already.
    OldProducerEpoch,
    /// It is not transactional, and its producer's transaction is open.
    OutsideTransaction,
    /// Its transaction is not open, and nobody has seen that the coordinator knows of it.
    Unverified,
    /// A newer coordinator of the producer's transactions has written already.
    OldCoordinatorEpoch,
    /// A follower's batch does not follow the end of the log.
    OutOfOrderOffsets,
    /// The disk is full; nothing was written.
    DiskFull,
}

/// A failed operation on a log.
#[derive(Debug)]
pub enum LogError {
    /// The batch was refused; the log is as it was.
    Rejected(AppendRejection),
    /// The offset is outside the log, or above the bound of the reader.
    OffsetOutOfRange,
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content is not what its format says.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// Offset of the log expected there.
        offset: Offset,
        /// What is wrong.
        source: BatchError,
    },
    /// What was durable is not sound: no crash does that, and cutting it off is not for a start to
    /// decide.
    Damaged(Damage),
    /// Records inside a batch cannot be read.
    BadRecords(DecodeError),
}

/// Where a log is damaged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub position: u64,
    /// Offset of the log expected there.
    pub offset: Offset,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, position, offset, reason } = self;
        write!(f, "{} is damaged at byte {position} (offset {offset}): {reason}", path.display())
    }
}

impl AppendRejection {
    /// What the client is told.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            AppendRejection::LargerThanSegment => ErrorCode::RecordListTooLarge,
            AppendRejection::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
            AppendRejection::OldProducerEpoch => ErrorCode::InvalidProducerEpoch,
            AppendRejection::OutsideTransaction | AppendRejection::Unverified => {
                ErrorCode::InvalidTxnState
            }
            AppendRejection::OldCoordinatorEpoch => ErrorCode::TransactionCoordinatorFenced,
            AppendRejection::OutOfOrderOffsets => ErrorCode::UnknownServerError,
            AppendRejection::DiskFull => ErrorCode::KafkaStorageError,
        }
    }
}

impl LogError {
    /// An I/O error of a file.
    pub(crate) fn io(path: &Path, source: io::Error) -> LogError {
        LogError::Io { path: path.to_owned(), source }
    }

    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            LogError::Rejected(rejection) => rejection.code(),
            LogError::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
            LogError::Io { .. } | LogError::Damaged(_) => ErrorCode::KafkaStorageError,
            LogError::Corrupt { .. } | LogError::BadRecords(_) => ErrorCode::CorruptMessage,
        }
    }

    /// Whether the disk had no room; what was to be written is not there then. A sync never says
    /// so.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            LogError::Rejected(rejection) => *rejection == AppendRejection::DiskFull,
            LogError::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether the node's own storage failed, so that the directory must be fenced.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            LogError::Io { .. } if self.is_disk_full() => false,
            LogError::Rejected(_) | LogError::OffsetOutOfRange | LogError::BadRecords(_) => false,
            // Nothing was written: it can be tried again when others have closed theirs.
            LogError::Io { source, .. } => !is_out_of_descriptors(source),
            LogError::Damaged(_) => true,
            // One place of one log; whoever reads elsewhere is served.
            LogError::Corrupt { .. } => false,
        }
    }

    /// Whether one log's files are to blame, and not the disk: others can be served on.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            LogError::Damaged(_) | LogError::Corrupt { .. } | LogError::BadRecords(_) => true,
            LogError::Rejected(_) | LogError::OffsetOutOfRange => false,
            LogError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
            ),
        }
    }
}

impl fmt::Display for AppendRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendRejection::LargerThanSegment => "it is larger than a segment",
            AppendRejection::OutOfOrderSequence => "its sequence numbers do not follow",
            AppendRejection::OldProducerEpoch => "a newer producer has written",
            AppendRejection::OutsideTransaction => "its producer's transaction is open",
            AppendRejection::Unverified => "it is not part of a transaction that is open",
            AppendRejection::OldCoordinatorEpoch => "a newer coordinator has written",
            AppendRejection::OutOfOrderOffsets => "its offsets do not follow",
            AppendRejection::DiskFull => "No space left on device",
        })
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Rejected(rejection) => write!(f, "batch refused: {rejection}"),
            LogError::OffsetOutOfRange => f.write_str("the offset is out of range"),
            LogError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            LogError::Corrupt { path, position, offset, source } => {
                write!(f, "{} at byte {position} (offset {offset}): {source}", path.display())
            }
            LogError::Damaged(damage) => damage.fmt(f),
            LogError::BadRecords(source) => write!(f, "records cannot be read: {source}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Rejected(_) | LogError::OffsetOutOfRange | LogError::Damaged(_) => None,
            LogError::Io { source, .. } => Some(source),
            LogError::Corrupt { source, .. } => Some(source),
            LogError::BadRecords(source) => Some(source),
        }
    }
}
