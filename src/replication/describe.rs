//! What is in each log directory, for DescribeLogDirs, and which replica is elsewhere than the
//! metadata says.
//!
//! Each partition is asked by itself, under its lock: what is told is not of one moment.

use std::io;
use std::path::Path;

use ottla_runtime::Space;
use ottla_types::{TopicPartition, Uuid};

use crate::partition::Partition;
use crate::replicas::{Replicas, Shared};

/// A log directory that can be used.
#[derive(Debug)]
pub struct DescribedDir {
    /// `directory.id`.
    pub id: Uuid,
    /// Room on its file system.
    pub space: io::Result<Space>,
    /// The logs in it, by name.
    pub logs: Vec<DescribedLog>,
}

/// A log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedLog {
    /// Topic name and index.
    pub name: TopicPartition,
    /// Bytes in all its segments.
    pub size: u64,
}

impl Replicas {
    /// What is in the log directory at `path`; `None` when the node has none there, or it is
    /// offline. Looks at the file system, which may stall.
    #[must_use]
    pub fn describe_dir(&self, path: &Path) -> Option<DescribedDir> {
        let dir = self.shared.dirs.iter().find(|dir| dir.data().path() == path)?;
        let space = self.shared.runtime.disk().space(path);
        let mut logs = Vec::new();
        for partition in self.all_in(dir) {
            // One that was deleted meanwhile, or panicked, is not told of.
            let Ok(size) = partition.size() else { continue };
            logs.push(DescribedLog { name: partition.name().clone(), size });
        }
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        (!dir.health().is_fenced()).then_some(DescribedDir { id: dir.id(), space, logs })
    }
}

/// How a log directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirState {
    /// The node has none there.
    Missing,
    /// It failed.
    Offline,
    /// It can be used.
    Online,
}

impl Replicas {
    /// How the log directory at `path` is, as the configuration names it.
    #[must_use]
    pub fn dir_state(&self, path: &Path) -> DirState {
        match self.shared.dirs.iter().find(|dir| dir.data().path() == path) {
            None => DirState::Missing,
            Some(dir) if dir.health().is_fenced() => DirState::Offline,
            Some(_) => DirState::Online,
        }
    }
}

impl Partition {
    /// Whether its log is in the log directory at `path`, as the configuration names it.
    #[must_use]
    pub fn is_in(&self, path: &Path) -> bool {
        self.dir().data().path() == path
    }
}

impl Shared {
    /// Tells where a replica is that the metadata places in another directory.
    pub(crate) fn tell_if_moved(&self, partition: &Partition, placed: Uuid) {
        let dir = partition.dir().id();
        if dir != placed {
            // Whoever listens may have ended.
            let _ = self.moved.send((partition.id(), dir));
        }
    }
}
