//! A log directory as the partitions in it share it: its files, its health, and what its
//! checkpoints hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ottla_storage::{
    DataDir, DirError, DirHealth, LastStop, Left, LogDir, OffsetCheckpoint, PartitionDir,
    PartitionDirName, SegmentFile, Shutdown,
};
use ottla_types::{Offset, TopicIdPartition, TopicPartition, Uuid};

use crate::placement::{Placement, plan_dirs};

/// What is in a directory.
pub(crate) struct Prepared {
    /// The partitions that are to be opened, and how.
    pub(crate) open: BTreeMap<TopicIdPartition, Left>,
    /// Copies that were to take the place of a log elsewhere, and the names of their directories.
    pub(crate) copies: Vec<(TopicIdPartition, String)>,
    /// Where logs begin.
    pub(crate) starts: OffsetCheckpoint,
    /// Those whose log may be there, and does not say so: they are offline.
    pub(crate) nameless: BTreeSet<TopicIdPartition>,
}

/// A log directory in use.
pub(crate) struct Dir {
    log_dir: Arc<LogDir>,
    /// What the file of recovery points holds, or may hold after a power cut.
    pub(crate) recovery_points: Mutex<OffsetCheckpoint>,
    /// What the file of the logs' starts holds, durably.
    pub(crate) log_starts: Mutex<OffsetCheckpoint>,
    /// What the file of high watermarks holds.
    pub(crate) high_watermarks: Mutex<OffsetCheckpoint>,
    /// What the file of how far compacted logs are clean holds.
    pub(crate) cleaned: Mutex<OffsetCheckpoint>,
    /// Whether a log found no room when it was closed.
    unclosed: AtomicBool,
    /// Logs that are offline because they are damaged. Their entries in the checkpoints stay: they
    /// say what was durable.
    damaged: Mutex<BTreeMap<TopicIdPartition, TopicPartition>>,
}

impl Dir {
    pub(crate) fn new(log_dir: Arc<LogDir>) -> Dir {
        Dir {
            log_dir,
            recovery_points: Mutex::default(),
            log_starts: Mutex::default(),
            high_watermarks: Mutex::default(),
            cleaned: Mutex::default(),
            unclosed: AtomicBool::new(false),
            damaged: Mutex::default(),
        }
    }

    /// `directory.id`.
    pub(crate) fn id(&self) -> Uuid {
        self.log_dir.id()
    }

    pub(crate) fn data(&self) -> &DataDir {
        self.log_dir.data()
    }

    /// How the last process that used it ended.
    pub(crate) fn last_stop(&self) -> LastStop {
        self.log_dir.last_stop()
    }

    pub(crate) fn health(&self) -> &DirHealth {
        self.log_dir.health()
    }

    /// Below which the log of this name is durable, as its last process noted.
    pub(crate) fn recovery_point(&self, name: &TopicPartition) -> Offset {
        let points = self.recovery_points.lock().expect("never poisoned");
        points.offsets.get(name).copied().unwrap_or(Offset::ZERO)
    }

    /// Notes a log that is offline because it is damaged.
    pub(crate) fn note_damaged(&self, id: TopicIdPartition, name: TopicPartition) {
        self.damaged.lock().expect("never poisoned").insert(id, name);
        self.health().note_damage();
    }

    /// Name of a damaged log that is deleted.
    pub(crate) fn forget_damaged(&self, id: &TopicIdPartition) -> Option<TopicPartition> {
        self.damaged.lock().expect("never poisoned").remove(id)
    }

    /// Puts into `new` what `last` says of damaged logs.
    pub(crate) fn keep_damaged(&self, last: &OffsetCheckpoint, new: &mut OffsetCheckpoint) {
        for name in self.damaged.lock().expect("never poisoned").values() {
            if let Some(offset) = last.offsets.get(name) {
                new.offsets.insert(name.clone(), *offset);
            }
        }
    }

    /// Looks at what is there: renames strays, removes what was deleted before, reads the
    /// checkpoints, and tells which partitions are to be opened.
    pub(crate) fn prepare(
        &self,
        placements: &BTreeMap<TopicIdPartition, Placement>,
    ) -> Result<Prepared, DirError> {
        let data = self.data();
        let found = data.partitions()?;
        let plan = plan_dirs(placements, &found, |found| is_begun(data, found));
        let (points, starts) = (data.recovery_points()?, data.log_starts()?);
        let cleaned = data.cleaner_offsets()?;
        let in_order = self.log_dir.last_stop() != LastStop::Unclean;
        let mut nameless = BTreeSet::new();
        for (name, partition) in &plan.stray {
            let by_name = placements.values().find(|placement| placement.name == *partition);
            let of_another = |id: Uuid| placements.keys().any(|placed| placed.topic_id == id);
            let topic_id = found.iter().find(|f| f.name == *name).and_then(|f| f.topic_id);
            let has_id = topic_id.is_some_and(|id| !of_another(id));
            // The id of a log is written before its records; a power cut may lose the one and keep
            // the others.
            let is_log = found.iter().any(|f| f.name == *name && is_log(&f.kind));
            if let Some(placement) = by_name.filter(|_| is_log && !has_id && in_order) {
                tracing::error!(partition = %partition, dir = %name,
                    "partition.metadata does not say whose log this is: it is offline");
                self.note_damaged(placement.id, partition.clone());
                nameless.insert(placement.id);
                continue;
            }
            let topic_id = found.iter().find(|f| f.name == *name).and_then(|f| f.topic_id);
            let stray = PartitionDirName::stray(partition, topic_id.unwrap_or_default());
            tracing::warn!(from = %name, to = %stray, "the metadata places no such partition here");
            data.rename(name, &stray)?;
        }
        for name in &plan.remove {
            data.remove(name)?;
        }
        let how = |id: &TopicIdPartition| {
            let name = &placements[id].name;
            let of = |offsets: &OffsetCheckpoint| {
                offsets.offsets.get(name).copied().unwrap_or(Offset::ZERO)
            };
            let recovery_point = of(&points);
            let shutdown = match self.log_dir.last_stop() {
                LastStop::Clean => Shutdown::Clean,
                LastStop::Killed => Shutdown::Killed { recovery_point },
                LastStop::Unclean => Shutdown::Unclean { recovery_point },
            };
            (*id, Left { shutdown, start: of(&starts) })
        };
        let open = plan.open.iter().map(how).collect();
        let prepared = Prepared { open, nameless, copies: plan.copies, starts: starts.clone() };
        *self.recovery_points.lock().expect("never poisoned") = points;
        *self.log_starts.lock().expect("never poisoned") = starts;
        *self.cleaned.lock().expect("never poisoned") = cleaned;
        Ok(prepared)
    }

    /// Fences the directory when something in it failed.
    pub(crate) fn fence_on_error(&self, done: Result<(), DirError>) {
        if let Err(error) = done {
            self.health().fence(error.to_string());
        }
    }

    /// Takes deleted logs' offsets out of the checkpoints before new logs take their names: they
    /// would call the new records deleted, or durable.
    pub(crate) fn forget_older_logs(&self, names: &[&TopicPartition]) -> Result<(), DirError> {
        // What is in memory changes with the file: what found no room is done again.
        let without = |known: &OffsetCheckpoint| {
            let mut left = known.clone();
            left.offsets.retain(|name, _| !names.contains(&name));
            (left != *known).then_some(left)
        };
        let mut starts = self.log_starts.lock().expect("never poisoned");
        if let Some(left) = without(&starts) {
            self.data().write_log_starts(&left)?;
            *starts = left;
        }
        drop(starts);
        let mut cleaned = self.cleaned.lock().expect("never poisoned");
        if let Some(left) = without(&cleaned) {
            self.data().write_cleaner_offsets(&left, true)?;
            *cleaned = left;
        }
        drop(cleaned);
        let mut points = self.recovery_points.lock().expect("never poisoned");
        if let Some(left) = without(&points) {
            self.data().write_recovery_points(&left)?;
            *points = left;
        }
        Ok(())
    }

    /// A log was not closed: the next start must look into the logs.
    pub(crate) fn leave_unclosed(&self) {
        self.unclosed.store(true, Ordering::Relaxed);
    }

    /// Whether a log was not closed.
    pub(crate) fn has_unclosed_logs(&self) -> bool {
        self.unclosed.load(Ordering::Relaxed)
    }
}

fn is_log(kind: &PartitionDirName) -> bool {
    matches!(kind, PartitionDirName::Log(_))
}

/// Whether a directory without a readable topic id holds records.
fn is_begun(dir: &DataDir, found: &PartitionDir) -> bool {
    let path = dir.path().join(&found.name);
    let Ok(entries) = dir.disk().list(&path) else { return true };
    entries.iter().any(|entry| {
        let is_log = matches!(SegmentFile::parse(&entry.name), Some((SegmentFile::Log, _)));
        is_log && !dir.disk().read(&path.join(&entry.name), 0).is_ok_and(|bytes| bytes.is_empty())
    })
}
