//! The log directories of a node (`log.dirs`), each with an id and a health of its own, and which
//! of them holds the metadata log (`metadata.log.dir`, which may also be one beside them).
//!
//! Invariant: the directory of the metadata log is one of `dirs`, or stands apart and holds no
//! partition.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{BrokerEpoch, Uuid};

use crate::boot_note::BootNote;
use crate::clean_shutdown::CleanShutdown;
use crate::data_dir::DataDir;
use crate::health::DirHealth;

/// A data directory in use.
pub struct LogDir {
    data: DataDir,
    id: Uuid,
    health: Arc<DirHealth>,
    clean: Option<CleanShutdown>,
    note: Option<BootNote>,
    killed: bool,
}

/// How the last process left the logs in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastStop {
    /// Everything was closed and synced.
    Clean,
    /// The process died, and the page cache still holds all that it wrote.
    Killed,
    /// Anything may have happened.
    Unclean,
}

impl LogDir {
    /// A directory with the id that its `meta.properties` gives it, and the mark of a clean stop
    /// that was found in it.
    #[must_use]
    pub fn new(data: DataDir, id: Uuid, clean: Option<CleanShutdown>) -> LogDir {
        LogDir { data, id, health: Arc::default(), clean, note: None, killed: false }
    }

    /// With the note of this boot, and whether the last process left one that is to be believed.
    #[must_use]
    pub fn with_note(self, note: Option<BootNote>, believed: bool) -> LogDir {
        LogDir { note, killed: believed, ..self }
    }

    /// How the last process left it.
    #[must_use]
    pub fn last_stop(&self) -> LastStop {
        match (self.clean, self.killed) {
            (Some(_), _) => LastStop::Clean,
            (None, true) => LastStop::Killed,
            (None, false) => LastStop::Unclean,
        }
    }

    /// Leaves the note that all logs in it are sound, as the page cache of this boot has them.
    pub fn leave_note(&self) {
        if let Some(note) = &self.note {
            self.health.leave_note(note.clone());
        }
    }

    /// Its files.
    #[must_use]
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// `directory.id`.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it can still be trusted.
    #[must_use]
    pub fn health(&self) -> &Arc<DirHealth> {
        &self.health
    }

    /// What the last clean stop left in it; `None` when its logs must be looked into.
    #[must_use]
    pub fn clean(&self) -> Option<CleanShutdown> {
        self.clean
    }
}

/// All directories of a node.
#[derive(Clone)]
pub struct LogDirs {
    dirs: Vec<Arc<LogDir>>,
    metadata: Arc<LogDir>,
    unreadable: Vec<PathBuf>,
}

impl LogDirs {
    /// The directories of partitions in the order of `log.dirs`, the one of the metadata log, and
    /// those that could not be opened.
    ///
    /// # Panics
    /// Without a directory for partitions.
    #[must_use]
    pub fn new(dirs: Vec<Arc<LogDir>>, metadata: Arc<LogDir>, unreadable: Vec<PathBuf>) -> LogDirs {
        assert!(!dirs.is_empty(), "a node has a place for partitions");
        LogDirs { dirs, metadata, unreadable }
    }

    /// One directory for everything.
    #[must_use]
    pub fn single(dir: LogDir) -> LogDirs {
        let dir = Arc::new(dir);
        LogDirs { dirs: vec![dir.clone()], metadata: dir, unreadable: Vec::new() }
    }

    /// The directories of partitions that could be opened, in the order of `log.dirs`.
    #[must_use]
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// The directory of the metadata log.
    #[must_use]
    pub fn metadata(&self) -> &Arc<LogDir> {
        &self.metadata
    }

    /// The directories that could not be opened: offline until the next start.
    #[must_use]
    pub fn unreadable(&self) -> &[PathBuf] {
        &self.unreadable
    }

    /// Every directory once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        let apart = self.dirs.iter().all(|dir| dir.id != self.metadata.id);
        self.dirs.iter().chain(apart.then_some(&self.metadata))
    }

    /// Epoch of the broker's last registration, when all directories of partitions say that it
    /// stopped cleanly, and agree.
    #[must_use]
    pub fn previous_epoch(&self) -> BrokerEpoch {
        let mut epochs = self.dirs.iter().map(|dir| dir.clean.map(|clean| clean.broker_epoch));
        let first = epochs.next().flatten();
        let agreed = first.filter(|_| epochs.all(|epoch| epoch == first));
        agreed.unwrap_or(BrokerEpoch::UNKNOWN)
    }
}
