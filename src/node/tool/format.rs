//! `format`: checks what is asked for, then formats as a start does.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ottla_config::NodeConfig;
use ottla_metadata::{FormatLevels, QuorumKind};
use ottla_runtime::{Runtime, SyncPoint};
use ottla_storage::{DataDir, DirError, MetaProperties};

use super::ToolError;
use crate::format::{FormatError, NewCluster, format, format_beside};
use crate::listeners::voter_endpoints;

/// Who votes in the new quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitialControllers {
    /// Whoever the config names.
    Unsaid,
    /// This node alone (`--standalone`).
    Standalone,
    /// Whoever others name (`--no-initial-controllers`).
    Elsewhere,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct FormatRequest {
    /// `--cluster-id`.
    pub cluster_id: String,
    /// `--ignore-formatted`.
    pub ignore_formatted: bool,
    /// `--release-version`.
    pub release: Option<String>,
    /// Each `--feature`.
    pub features: Vec<(String, i16)>,
    /// Who votes.
    pub controllers: InitialControllers,
}

/// Formats the data directories of `config`, durably, and tells what it did.
///
/// # Errors
/// What cannot be formatted with, or why the directory cannot be written.
pub fn format_storage(
    runtime: &Runtime,
    config: &NodeConfig,
    request: &FormatRequest,
) -> Result<String, ToolError> {
    let quorum = quorum(config, request.controllers)?;
    let release = request.release.as_deref();
    let levels = FormatLevels::choose(release, &request.features, quorum)?;
    if request.cluster_id.is_empty() {
        return Err(ToolError::Refused("You must specify the cluster id.".to_owned()));
    }
    let mut text = String::new();
    let mut fresh = Vec::new();
    let mut formatted = Vec::new();
    for path in super::all_dirs(config) {
        match DataDir::meta_properties_in(runtime.disk(), &path) {
            Ok(None) => fresh.push(path),
            Ok(Some(meta)) => {
                check_is_ours(&path, &meta, config, request)?;
                formatted.push(path);
            }
            Err(error @ DirError::Io { .. }) if super::all_dirs(config).len() > 1 => {
                tracing::debug!(%error, "a directory cannot be read");
                let path = path.display();
                let _ =
                    writeln!(text, "I/O error trying to read log directory {path}. Ignoring...");
            }
            Err(error) => return Err(error.into()),
        }
    }
    match formatted.first() {
        Some(path) if !request.ignore_formatted => Err(ToolError::Refused(format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this \
             directory and format the others.",
            path.display()
        ))),
        None if fresh.is_empty() => {
            Err(ToolError::Refused("No available log directories to format.".to_owned()))
        }
        _ if fresh.is_empty() => Ok(text + "All of the log directories are already formatted.\n"),
        _ => {
            let cluster_id = request.cluster_id.clone();
            let new = NewCluster { cluster_id, levels: levels.clone(), quorum };
            format_all(runtime, config, &fresh, &new)?;
            Ok(text + &told(config, &fresh, &levels, quorum))
        }
    }
}

/// Formats directories, durably; none when one of them holds something.
fn format_all(
    runtime: &Runtime,
    config: &NodeConfig,
    paths: &[PathBuf],
    new: &NewCluster,
) -> Result<(), ToolError> {
    let mut dirs = Vec::new();
    let opened = paths.iter().try_for_each(|path| {
        let dir = DataDir::open(runtime.disk(), path)?;
        let is_fresh = dir.is_fresh();
        dirs.push(dir);
        if is_fresh? { Ok(()) } else { Err(FormatError::NotFormatted(path.clone())) }
    });
    let formatted =
        opened.and_then(|()| dirs.iter().try_for_each(|dir| format_one(runtime, config, dir, new)));
    for dir in dirs {
        dir.remove_lock_file()?;
        let synced = runtime.disk().sync_dir(dir.path(), SyncPoint::FormatDir);
        synced.map_err(|source| FormatError::Io { path: dir.path().to_owned(), source })?;
    }
    Ok(formatted?)
}

fn format_one(
    runtime: &Runtime,
    config: &NodeConfig,
    dir: &DataDir,
    new: &NewCluster,
) -> Result<(), FormatError> {
    if *dir.path() == config.metadata_dir {
        let voter = voter_endpoints(runtime.net(), config);
        format(runtime, dir, config.node_id, &voter, new).map(|_| ())
    } else {
        let levels = Some(&new.levels);
        format_beside(runtime, dir, config.node_id, &new.cluster_id, levels).map(|_| ())
    }
}

/// Where the voters are to be kept. What would leave the node without one is refused.
fn quorum(config: &NodeConfig, asked: InitialControllers) -> Result<QuorumKind, ToolError> {
    let reason = match (config.static_voters, asked) {
        (true, InitialControllers::Unsaid | InitialControllers::Elsewhere) => {
            return Ok(QuorumKind::Static);
        }
        (false, InitialControllers::Standalone) => return Ok(QuorumKind::Dynamic),
        (true, InitialControllers::Standalone) => {
            "You cannot specify controller.quorum.voters and format the node with \
             --initial-controllers or --standalone. If you want to use dynamic quorum, please \
             remove controller.quorum.voters and specify controller.quorum.bootstrap.servers \
             instead."
        }
        (false, InitialControllers::Unsaid) => {
            "Because controller.quorum.voters is not set on this controller, you must specify one \
             of the following: --standalone, --initial-controllers, or --no-initial-controllers."
        }
        (false, InitialControllers::Elsewhere) => {
            "--no-initial-controllers would leave this node without a voter: this version runs a \
             quorum of one; use --standalone"
        }
    };
    Err(ToolError::Refused(reason.to_owned()))
}

fn check_is_ours(
    dir: &Path,
    meta: &MetaProperties,
    config: &NodeConfig,
    request: &FormatRequest,
) -> Result<(), ToolError> {
    let file = dir.join("meta.properties");
    let refused = |reason: String| Err(ToolError::Refused(reason));
    if meta.cluster_id != request.cluster_id {
        return refused(format!(
            "Invalid cluster.id in: {}. Expected {}, but read {}",
            file.display(),
            request.cluster_id,
            meta.cluster_id
        ));
    }
    if meta.node_id != config.node_id {
        return refused(format!(
            "Stored node id {} doesn't match previous node id {} in {}. If you moved your data, \
             make sure your configured node id matches. If you intend to create a new node, you \
             should remove all data in your data directories.",
            meta.node_id,
            config.node_id,
            file.display()
        ));
    }
    Ok(())
}

fn told(
    config: &NodeConfig,
    dirs: &[PathBuf],
    levels: &FormatLevels,
    quorum: QuorumKind,
) -> String {
    let record = |(name, level): (&str, i16)| {
        format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at \
             version 0)"
        )
    };
    let records: Vec<_> = levels.levels().map(record).collect();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={}, \
         source=format command)",
        records.join(", "),
        levels.version().level()
    );
    for dir in dirs {
        let kind = match quorum {
            _ if *dir != config.metadata_dir => "data",
            QuorumKind::Static => "metadata",
            QuorumKind::Dynamic => "dynamic metadata voter",
        };
        let (dir, version) = (dir.display(), levels.version().name());
        let _ =
            writeln!(text, "Formatting {kind} directory {dir} with metadata.version {version}.");
    }
    text
}
