//! `format`: checks what is asked for, then formats as a start does.

use std::fmt::Write;

use ottla_config::NodeConfig;
use ottla_metadata::{FormatLevels, QuorumKind};
use ottla_runtime::{Runtime, SyncPoint};
use ottla_storage::{DataDir, MetaProperties};

use super::ToolError;
use crate::format::{FormatError, NewCluster, format};
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

/// Formats the data directory of `config`, durably, and tells what it did.
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
    let path = &config.data_dir;
    if let Some(meta) = DataDir::meta_properties_in(runtime.disk(), path)? {
        check_is_ours(&meta, config, request)?;
        if !request.ignore_formatted {
            return Err(ToolError::Refused(format!(
                "Log directory {} is already formatted. Use --ignore-formatted to ignore this \
                 directory and format the others.",
                path.display()
            )));
        }
        return Ok("All of the log directories are already formatted.\n".to_owned());
    }
    let dir = DataDir::open(runtime.disk(), path)?;
    let fresh = dir.is_fresh();
    let formatted = match fresh {
        Ok(true) => {
            let cluster_id = request.cluster_id.clone();
            let new = NewCluster { cluster_id, levels: levels.clone(), quorum };
            let voter = voter_endpoints(runtime.net(), config);
            format(runtime, &dir, config.node_id, &voter, &new).map(|_| ())
        }
        Ok(false) => Err(FormatError::NotFormatted(path.clone())),
        Err(error) => Err(FormatError::Dir(error)),
    };
    dir.remove_lock_file()?;
    formatted?;
    let synced = runtime.disk().sync_dir(path, SyncPoint::FormatDir);
    synced.map_err(|source| FormatError::Io { path: path.clone(), source })?;
    Ok(told(config, &levels, quorum))
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
    meta: &MetaProperties,
    config: &NodeConfig,
    request: &FormatRequest,
) -> Result<(), ToolError> {
    let file = config.data_dir.join("meta.properties");
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

fn told(config: &NodeConfig, levels: &FormatLevels, quorum: QuorumKind) -> String {
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
    let kind = match quorum {
        QuorumKind::Static => "metadata",
        QuorumKind::Dynamic => "dynamic metadata voter",
    };
    let (dir, version) = (config.data_dir.display(), levels.version().name());
    let _ = writeln!(text, "Formatting {kind} directory {dir} with metadata.version {version}.");
    text
}
