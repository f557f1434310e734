//! Room kept on a log directory's disk for what must go on when it is full.
//!
//! A file of [`RESERVE_BYTES`] lies in each log directory. When a write that may not fail finds no
//! room (a record of the metadata log, `quorum-state`, the starts of logs before segments go), the
//! file is removed, and the write is made again. From then on nothing of clients is appended in
//! this directory, or they would take the room, until the file could be written again: so topics
//! can be deleted on a full disk, and their space brings everything back.
//!
//! Kafka takes no notice of the file: it looks at directories, and at files of names it knows.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, OpenMode};

/// Size of the file: some thousand records of the metadata log.
pub const RESERVE_BYTES: u64 = 1 << 20;
/// Its name.
pub(crate) const RESERVE_NAME: &str = ".ottla-reserve";

/// The reserve of a log directory.
#[derive(Clone)]
pub struct Reserve {
    disk: Disk,
    path: PathBuf,
}

impl Reserve {
    /// The reserve in a directory, whether it is there or not.
    #[must_use]
    pub fn new(disk: &Disk, dir: &Path) -> Reserve {
        Reserve { disk: disk.clone(), path: dir.join(RESERVE_NAME) }
    }

    /// Writes the file, unless it is there. Never synced: what counts is the room that it takes.
    ///
    /// # Errors
    /// `StorageFull`, and nothing is there then; else those of writing.
    pub fn fill(&self) -> io::Result<()> {
        let file = self.disk.open(&self.path, OpenMode::Create)?;
        if file.len()? == RESERVE_BYTES {
            return Ok(());
        }
        let bytes = vec![0x6f; usize::try_from(RESERVE_BYTES).expect("fits memory")];
        let written = file.write_all_at(&mut [IoSlice::new(&bytes)], 0);
        if written.is_err() {
            self.release()?;
        }
        written
    }

    /// Removes the file; tells whether it was there.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn release(&self) -> io::Result<bool> {
        match self.disk.remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
