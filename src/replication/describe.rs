//! What is in each log directory, for DescribeLogDirs, and which replica is elsewhere than the
//! metadata says.
//!
//! Each partition is asked by itself, under its lock: what is told is not of one moment.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ottla_runtime::Space;
use ottla_types::{Offset, TopicPartition, Uuid};

use crate::dir::Dir;
use crate::moves::Moving;
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
    /// How many records a copy is behind the log whose place it is to take; `None` for a log.
    pub behind: Option<i64>,
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
            logs.push(DescribedLog { name: partition.name().clone(), size, behind: None });
        }
        for (name, copy, end) in self.described_copies(dir) {
            let behind = Some(end.since(copy.end()));
            logs.push(DescribedLog { name, size: copy.size(), behind });
        }
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        (!dir.health().is_fenced()).then_some(DescribedDir { id: dir.id(), space, logs })
    }
}

impl Replicas {
    /// Copies in a directory, and where their logs end.
    fn described_copies(&self, dir: &Arc<Dir>) -> Vec<(TopicPartition, Arc<Moving>, Offset)> {
        let described = |partition: Arc<Partition>| {
            let moving = partition.moving().filter(|moving| Arc::ptr_eq(dir, &moving.dir))?;
            let end = partition.end().ok()?;
            Some((partition.name().clone(), moving, end))
        };
        self.all().into_iter().filter_map(described).collect()
    }
}

impl Shared {
    /// Tells where a replica is that the metadata places in another directory.
    pub(crate) fn tell_if_moved(&self, partition: &Partition, placed: Uuid) {
        let dir = partition.note_placed(placed);
        if dir != placed {
            self.tell(partition.id(), dir);
        }
    }
}
