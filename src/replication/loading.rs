//! The start: what is found in the log directories is opened, what is missing is created.
//!
//! A replica that moved when the last process ended may have left more than one thing
//! ([`crate::moves`]): a log and its copy, which goes on moving; two logs, because a power cut took
//! the change of one name back: then the one that the metadata names counts; or, for the same
//! reason, the copy alone, which is whole then, and becomes the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_runtime::Plane;
use ottla_storage::{DirError, Left, PartitionDirName, RefusedFirsts, Shutdown};
use ottla_types::{Offset, TopicIdPartition};

use crate::dir::{Dir, Prepared};
use crate::load_error::LoadError;
use crate::moves::Moving;
use crate::opening::Opening;
use crate::placement::Placement;
use crate::replicas::{Replicas, When};

/// What is found in all directories.
#[derive(Default)]
struct Found {
    /// Partitions of the node that may be created.
    placements: BTreeMap<TopicIdPartition, Placement>,
    logs: BTreeMap<TopicIdPartition, Opening>,
    copies: Vec<FoundCopy>,
    /// Directories that get another name.
    renames: Vec<Rename>,
}

/// A copy that was to take the place of a log in another directory.
struct FoundCopy {
    id: TopicIdPartition,
    dir: Arc<Dir>,
    name: String,
    /// Where the log began, as the directory's file says.
    start: Offset,
}

struct Rename {
    dir: Arc<Dir>,
    from: String,
    to: String,
    /// Whether nobody needs it.
    remove: bool,
}

impl Replicas {
    /// Opens what is on disk and creates what is missing, once, before anything is served. A
    /// directory that cannot be read is fenced, and its partitions are offline.
    ///
    /// # Errors
    /// When nothing may be served: a partition is in two directories.
    pub async fn load(&self, placements: Vec<Placement>) -> Result<(), LoadError> {
        let placements = placements.into_iter().map(|p| (p.id, p)).collect();
        let mut found = Found { placements, ..Found::default() };
        for dir in &self.shared.dirs {
            let (preparing, planned) = (dir.clone(), found.placements.clone());
            let prepare = move || preparing.prepare(&planned);
            let prepared = match self.shared.runtime.blocking(Plane::Data(0), prepare).await {
                Err(DirError::Io { path, source }) => {
                    dir.health().fence(format!("{}: {source}", path.display()));
                    continue;
                }
                prepared => prepared?,
            };
            self.sort(&mut found, dir, prepared)?;
        }
        for copy in std::mem::take(&mut found.copies) {
            self.settle(&mut found, copy);
        }
        self.rename_all(found.renames).await;
        let Found { placements, logs, .. } = found;
        let missing = placements.into_iter().filter(|(id, _)| !logs.contains_key(id));
        let missing = missing.map(|(_, placement)| placement).collect();
        let threads = self.shared.config.recovery_threads * self.shared.dirs.len();
        self.open_all(logs.into_values().collect(), threads).await?;
        self.create(missing, When::AtStart).await
    }

    /// Puts what is in a directory to the rest.
    fn sort(&self, found: &mut Found, dir: &Arc<Dir>, here: Prepared) -> Result<(), LoadError> {
        let Prepared { open, copies, starts, nameless } = here;
        for id in nameless {
            self.shared.tell_lost(id);
            self.set_offline(id, None);
            found.placements.remove(&id);
        }
        for (id, name) in copies {
            let Some(placement) = found.placements.get(&id) else { continue };
            let start = starts.offsets.get(&placement.name).copied().unwrap_or(Offset::ZERO);
            found.copies.push(FoundCopy { id, dir: dir.clone(), name, start });
        }
        for (id, left) in open {
            // One that is damaged elsewhere is offline.
            let Some(placement) = found.placements.get(&id).cloned() else { continue };
            let refused = RefusedFirsts::default();
            let opening =
                Opening { placement, dir: dir.clone(), left: Some(left), copy: None, refused };
            self.add_log(found, opening)?;
        }
        Ok(())
    }

    /// Of two logs of a partition the one counts that is where the metadata says.
    fn add_log(&self, found: &mut Found, new: Opening) -> Result<(), LoadError> {
        let id = new.placement.id;
        let Some(other) = found.logs.remove(&id) else {
            found.logs.insert(id, new);
            return Ok(());
        };
        let is_named = |one: &Opening| one.dir.id() == one.placement.directory;
        let (kept, aside) = match (is_named(&other), is_named(&new)) {
            (true, false) => (other, new),
            (false, true) => (new, other),
            _ => {
                let name = other.placement.name.to_string();
                let path = |dir: &Dir| dir.data().path().join(&name);
                return Err(LoadError::Duplicate(path(&other.dir), path(&new.dir)));
            }
        };
        let name = &kept.placement.name;
        tracing::warn!(partition = %name, kept = %kept.dir.data().path().display(),
            aside = %aside.dir.data().path().display(),
            "a replica was moving when the node ended: the log in the other directory is stray");
        let (from, to) = (name.to_string(), PartitionDirName::stray(name, id.topic_id));
        found.renames.push(Rename { dir: aside.dir, from, to, remove: false });
        found.logs.insert(id, kept);
        Ok(())
    }

    /// What becomes of a copy: it goes on being one, or becomes the log, or nobody needs it.
    fn settle(&self, found: &mut Found, copy: FoundCopy) {
        let Some(placement) = found.placements.get(&copy.id).cloned() else { return };
        let FoundCopy { id, dir, name: from, start } = copy;
        let (name, told) = (placement.name.clone(), placement.directory == dir.id());
        let log = found.logs.get_mut(&id);
        let rename = |to, remove| Rename { dir: dir.clone(), from: from.clone(), to, remove };
        let unique = || self.shared.runtime.entropy().uuid();
        match log {
            Some(log) if log.copy.is_none() && !Arc::ptr_eq(&log.dir, &dir) => {
                tracing::info!(partition = %name, to = %dir.data().path().display(),
                    "a replica goes on moving");
                log.copy = Some(Arc::new(Moving::found(dir, from, told)));
            }
            Some(_) => found.renames.push(rename(PartitionDirName::deleted(&name, unique()), true)),
            // The log may be where nobody can look, and have more than the copy.
            None if self.shared.some_offline() => {
                tracing::warn!(partition = %name, copy = %dir.data().path().join(&from).display(),
                    "the log is in a directory that is offline, and its copy may lack records");
                self.set_offline(id, None);
                found.placements.remove(&id);
            }
            None if told => {
                tracing::warn!(partition = %name, dir = %dir.data().path().display(),
                    "a replica was moving when the node ended: its copy is the log");
                found.renames.push(rename(name.to_string(), false));
                let recovery_point = dir.recovery_point(&name);
                let left = Left { shutdown: Shutdown::Unclean { recovery_point }, start };
                let (left, refused) = (Some(left), RefusedFirsts::default());
                found.logs.insert(id, Opening { placement, dir, left, copy: None, refused });
            }
            None => found.renames.push(rename(PartitionDirName::stray(&name, id.topic_id), false)),
        }
    }

    /// Gives directories their new names, durably; one where that fails is fenced.
    async fn rename_all(&self, renames: Vec<Rename>) {
        let replicas = self.clone();
        let rename = move || {
            for Rename { dir, from, to, remove } in renames {
                if dir.health().is_fenced() {
                    continue;
                }
                let done = dir.data().rename(&from, &to).and_then(|()| dir.data().sync_moved());
                let failed = done.is_err();
                dir.fence_on_error(done);
                if remove && !failed {
                    replicas.remove_later(dir, to, Duration::ZERO);
                }
            }
        };
        self.shared.runtime.blocking(Plane::Data(0), rename).await;
    }
}
