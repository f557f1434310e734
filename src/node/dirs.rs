//! The log directories at the start: opened, locked, and checked or formatted.
//!
//! A directory that cannot be read is offline, and the node starts without it; not so that of the
//! metadata log, nor the last one. What contradicts the configuration (another node's directory,
//! another cluster's, a copy) stops the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_protocol::control::VoterEndpoint;
use ottla_raft::quorum_state;
use ottla_runtime::{Disk, Runtime};
use ottla_storage::{BootNote, DataDir, DirError, LogDir, LogDirs, MetaProperties, Reserve};
use ottla_types::Uuid;

use crate::format::{DirIdentity, FormatError, check, check_or_format, format_beside};

/// The directories of a node that starts.
pub(crate) struct Dirs {
    pub(crate) dirs: LogDirs,
    pub(crate) cluster_id: String,
}

/// The directories beside that of the metadata log, while they are opened.
struct Beside<'a> {
    runtime: &'a Runtime,
    config: &'a NodeConfig,
    opened: Vec<(DataDir, Option<MetaProperties>)>,
    failed: Vec<(PathBuf, DirError)>,
}

impl Dirs {
    /// Locks the directories, formats fresh ones, and takes the marks of a clean stop away.
    ///
    /// # Errors
    /// When they cannot be this node's.
    pub(crate) fn open(
        runtime: &Runtime,
        config: &NodeConfig,
        voter: &[VoterEndpoint],
    ) -> Result<Dirs, FormatError> {
        let metadata = DataDir::open(runtime.disk(), &config.metadata_dir)?;
        let mut beside = Beside { runtime, config, opened: Vec::new(), failed: Vec::new() };
        beside.open_all()?;
        let is_used = beside.opened.iter().any(|(_, meta)| meta.is_some());
        if is_used && metadata.meta_properties()?.is_none() {
            // A new cluster would forget what the others hold.
            return Err(FormatError::NotFormatted(config.metadata_dir.clone()));
        }
        let identity = check_or_format(runtime, &metadata, config, voter)?;
        let metadata = Arc::new(take_up(runtime, config, metadata, identity.directory_id)?);
        keep_room(&metadata, identity.new.is_some())?;
        let mut others = beside.identify(&identity)?;
        let mut dirs = Vec::new();
        let mut unreadable = Vec::new();
        for path in &config.log_dirs {
            if *path == config.metadata_dir {
                dirs.push(metadata.clone());
            } else if let Some(at) = others.iter().position(|dir| dir.path() == path) {
                dirs.push(Arc::new(others.swap_remove(at)));
            } else {
                unreadable.push(path.clone());
            }
        }
        if dirs.is_empty() {
            let (_, error) = beside.failed.remove(0);
            return Err(FormatError::Dir(error));
        }
        for (path, error) in &beside.failed {
            tracing::error!(dir = %path.display(), %error, "a data directory is offline");
        }
        check_ids(&dirs, &metadata)?;
        Ok(Dirs { dirs: LogDirs::new(dirs, metadata, unreadable), cluster_id: identity.cluster_id })
    }
}

impl Beside<'_> {
    fn open_all(&mut self) -> Result<(), FormatError> {
        let metadata_dir = &self.config.metadata_dir;
        for path in self.config.log_dirs.iter().filter(|path| *path != metadata_dir) {
            match open(self.runtime.disk(), path) {
                Ok((dir, meta)) => {
                    check_no_metadata(&dir, self.config)?;
                    self.opened.push((dir, meta));
                }
                Err(error @ DirError::Io { .. }) => self.failed.push((path.clone(), error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Checks whose they are, and formats fresh ones.
    fn identify(&mut self, node: &DirIdentity) -> Result<Vec<LogDir>, FormatError> {
        let mut found = Vec::new();
        for (dir, meta) in std::mem::take(&mut self.opened) {
            let path = dir.path().to_owned();
            match self.identify_one(dir, meta, node) {
                Ok(dir) => found.push(dir),
                Err(FormatError::Dir(error @ DirError::Io { .. })) => {
                    self.failed.push((path, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn identify_one(
        &self,
        dir: DataDir,
        meta: Option<MetaProperties>,
        node: &DirIdentity,
    ) -> Result<LogDir, FormatError> {
        let (runtime, node_id) = (self.runtime, self.config.node_id);
        // It may be another name of a directory that was formatted since.
        let meta = match meta {
            None => dir.meta_properties()?,
            found => found,
        };
        let id = match meta {
            Some(meta) => {
                let found = check(runtime, &dir, node_id, &meta)?;
                if found.cluster_id != node.cluster_id {
                    return Err(FormatError::OtherCluster {
                        path: dir.path().to_owned(),
                        stored: found.cluster_id,
                        expected: node.cluster_id.clone(),
                    });
                }
                found.directory_id
            }
            None => format_beside(runtime, &dir, node_id, &node.cluster_id, node.new.as_ref())?,
        };
        let dir = take_up(runtime, self.config, dir, id)?;
        keep_room(&dir, node.new.is_some())?;
        Ok(dir)
    }
}

/// Keeps room for what must go on when the disk is full. A node that has served starts without it:
/// topics can be deleted then. A new one is refused.
fn keep_room(dir: &LogDir, is_new: bool) -> Result<(), FormatError> {
    let failed = |source| FormatError::Io { path: dir.path().to_owned(), source };
    dir.health().keep_room(Reserve::new(dir.data().disk(), dir.path())).map_err(failed)?;
    if dir.health().is_full() {
        if is_new {
            return Err(failed(std::io::Error::from_raw_os_error(28)));
        }
        tracing::error!(dir = %dir.path().display(), "the disk is full: nothing is appended");
    }
    Ok(())
}

/// Takes away what the last process left in a directory, and tells how it was left.
fn take_up(
    runtime: &Runtime,
    config: &NodeConfig,
    dir: DataDir,
    id: Uuid,
) -> Result<LogDir, DirError> {
    let clean = dir.take_clean_shutdown()?;
    // Every process that runs on these directories begins an epoch.
    let witness = DataDir::metadata_dir_in(&config.metadata_dir).join(quorum_state::FILE_NAME);
    let boot = runtime.boot_id();
    let note = boot.map(|boot| BootNote::new(runtime.disk(), dir.path(), witness, boot));
    let believed = note.as_ref().map_or(Ok(false), BootNote::take);
    let believed = believed.map_err(|source| DirError::Io { path: dir.path().into(), source })?;
    Ok(LogDir::new(dir, id, clean).with_note(note, believed))
}

fn open(disk: &Disk, path: &Path) -> Result<(DataDir, Option<MetaProperties>), DirError> {
    let dir = DataDir::open(disk, path)?;
    let meta = dir.meta_properties()?;
    Ok((dir, meta))
}

/// A metadata log beside the configured one may be the real one.
fn check_no_metadata(dir: &DataDir, config: &NodeConfig) -> Result<(), FormatError> {
    let found = dir.metadata_dir();
    let exists = dir.disk().exists(&found);
    if exists.map_err(|source| FormatError::Io { path: found.clone(), source })? {
        let configured = config.metadata_dir.clone();
        return Err(FormatError::MetadataElsewhere { found, configured });
    }
    Ok(())
}

fn check_ids(dirs: &[Arc<LogDir>], metadata: &Arc<LogDir>) -> Result<(), FormatError> {
    let mut seen: Vec<(Uuid, &Arc<LogDir>)> = vec![(metadata.id(), metadata)];
    for dir in dirs.iter().filter(|dir| !Arc::ptr_eq(dir, metadata)) {
        if let Some((id, other)) = seen.iter().find(|(id, _)| *id == dir.id()) {
            let (first, second) = (other.path().to_owned(), dir.path().to_owned());
            return Err(FormatError::DuplicateId(first, second, *id));
        }
        seen.push((dir.id(), dir));
    }
    Ok(())
}
