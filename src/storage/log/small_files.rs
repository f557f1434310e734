//! The small files beside a log's segments: `leader-epoch-checkpoint` and `partition.metadata`.
//!
//! They are written without a sync and become durable with the log's next flush, before the
//! recovery point moves: so thousands of logs can be created, or begin an epoch, without waiting
//! for the disk. After a power cut, one of a log without durable records may be damaged: the log's
//! batches tell its epochs again.
//!
//! An epoch without records is in memory only: the next leadership has another one.

use std::io;
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{LeaderEpoch, Offset};

use super::{Log, LogError, Shutdown};
use crate::leader_epochs::LeaderEpochs;
use crate::partition_metadata::PartitionMetadata;

/// What the next flush has to do for them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct SmallFiles {
    /// An epoch began that the file does not know.
    epochs_unwritten: bool,
    /// The log's start moved, which the file does not know.
    epochs_cut: bool,
    /// The files may not be durable.
    unsynced: bool,
}

/// The epochs in a partition's directory.
pub(super) struct ReadEpochs {
    pub(super) epochs: LeaderEpochs,
    /// Whether the file was damaged, so that the log must tell them.
    pub(super) damaged: bool,
}

impl SmallFiles {
    /// Those of a log that was left so.
    pub(super) fn left(shutdown: Shutdown) -> SmallFiles {
        SmallFiles { unsynced: shutdown != Shutdown::Clean, ..SmallFiles::default() }
    }

    /// Notes whether a new start of the log changed its epochs.
    pub(super) fn note_cut_epochs(&mut self, is_cut: bool) {
        self.epochs_cut |= is_cut;
    }

    pub(super) fn are_durable(self) -> bool {
        !self.unsynced
    }

    /// What is to be synced now, with the directory behind it.
    pub(super) fn take_unsynced(&mut self, dir: &Path) -> Vec<(PathBuf, SyncPoint)> {
        if !std::mem::take(&mut self.unsynced) {
            return Vec::new();
        }
        let epochs = (LeaderEpochs::path(dir), SyncPoint::LeaderEpochFile);
        vec![epochs, (PartitionMetadata::path(dir), SyncPoint::PartitionMetadataFile)]
    }
}

/// Reads the epochs. A file that is missing, empty or malformed is made again from the batches.
pub(super) fn read_epochs(disk: &Disk, dir: &Path) -> io::Result<ReadEpochs> {
    match LeaderEpochs::read(disk, dir) {
        // A file that a power cut emptied looks like one of a log without records.
        Ok(epochs) => {
            let damaged = epochs.entries().is_empty();
            Ok(ReadEpochs { epochs, damaged })
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(dir = %dir.display(), %error, "the log's batches tell its epochs");
            Ok(ReadEpochs { epochs: LeaderEpochs::default(), damaged: true })
        }
        Err(error) => Err(error),
    }
}

impl Log {
    /// Notes that `epoch` begins at the end of the log, before the first record of it. The file
    /// learns of it with that record.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.note_epoch(epoch, self.end);
    }

    pub(super) fn note_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.small_files.epochs_unwritten |= self.epochs.assign(epoch, start);
    }

    /// The epochs of the log whose place this one takes; some of them may have no records.
    pub(super) fn replace_epochs(&mut self, epochs: LeaderEpochs) {
        self.small_files.epochs_unwritten |= self.epochs != epochs;
        self.epochs = epochs;
    }

    /// Writes `leader-epoch-checkpoint` if an epoch began since. On an error the next append tries
    /// it again.
    pub(super) fn write_new_epochs(&mut self) -> Result<(), LogError> {
        if !self.small_files.epochs_unwritten {
            return Ok(());
        }
        let written = self.epochs.write(&self.disk, &self.dir, None);
        written.map_err(|error| LogError::io(&self.dir, error))?;
        self.small_files = SmallFiles { unsynced: true, ..SmallFiles::default() };
        self.names_unsynced = true;
        Ok(())
    }

    /// Writes `leader-epoch-checkpoint` if the log's start moved since.
    pub(super) fn write_cut_epochs(&mut self) -> Result<(), LogError> {
        self.small_files.epochs_unwritten |= self.small_files.epochs_cut;
        if self.small_files.epochs_cut { self.write_new_epochs() } else { Ok(()) }
    }

    /// Notes that the directory and what is in it were just created.
    pub(crate) fn note_created(&mut self) {
        self.small_files.unsynced = true;
        self.names_unsynced = true;
    }

    /// Collects the epochs from the batches, for want of the file.
    pub(super) fn rebuild_epochs(&mut self) -> Result<(), LogError> {
        let mut epochs = LeaderEpochs::default();
        for segment in &mut self.segments {
            let mut scanner = segment.scan_at(0)?;
            while let Some((_, header)) = scanner.next_header()? {
                epochs.assign(header.leader_epoch, header.base_offset);
            }
        }
        self.epochs = epochs;
        Ok(())
    }
}
