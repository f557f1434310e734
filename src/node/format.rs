//! Whose directory it is: checked at every start, written at the first one.
//!
//! A fresh directory gets what `kafka-storage format` writes, whether a start or `ottla storage`
//! formats it: `bootstrap.checkpoint` with the features of a new cluster, the 0-0 checkpoint with
//! this node as the only voter (KIP-853; not for a static quorum), and last `meta.properties`.
//! Everything before it is durable by then, so that a formatted directory is a complete one. A
//! directory beside that of the metadata log gets the features and `meta.properties`; one that is
//! new to a node gets `meta.properties` alone.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_config::NodeConfig;
use ottla_metadata::{FormatLevels, MetadataVersion, QuorumKind, VersionedRecord};
use ottla_protocol::Writer;
use ottla_protocol::control::{KRaftVersionRange, Voter, VoterEndpoint, Voters};
use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::core::OffsetAndEpoch;
use ottla_raft::snapshot::{
    SnapshotBatch, SnapshotError, SnapshotFile, SnapshotReader, SnapshotStart, SnapshotWriter,
    file_name,
};
use ottla_runtime::{Runtime, SyncPoint};
use ottla_storage::{DataDir, DirError, MetaProperties};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp, Uuid};

const BOOTSTRAP: &str = "bootstrap.checkpoint";
const BOOTSTRAP_MAX: u64 = 16 << 20;
const BATCH_MAX: usize = 1 << 20;
/// The snapshot that a directory is formatted with.
const FIRST: OffsetAndEpoch = OffsetAndEpoch { offset: Offset(0), epoch: LeaderEpoch(0) };

/// Why a directory cannot be this node's. The text is one line for the operator.
#[derive(Debug)]
pub enum FormatError {
    /// The directory cannot be used.
    Dir(DirError),
    /// It holds files and no `meta.properties`.
    NotFormatted(PathBuf),
    /// It belongs to a node with another id.
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node it belongs to.
        stored: NodeId,
        /// `node.id`.
        configured: NodeId,
    },
    /// It belongs to a node of another cluster than the directory of the metadata log.
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster it belongs to.
        stored: String,
        /// The cluster of the metadata log.
        expected: String,
    },
    /// Two directories have the same id: one is a copy of the other, or another name of it.
    DuplicateId(PathBuf, PathBuf, Uuid),
    /// It holds a metadata log, and another directory is configured for that.
    MetadataElsewhere {
        /// The metadata log that was found.
        found: PathBuf,
        /// `metadata.log.dir`.
        configured: PathBuf,
    },
    /// A file cannot be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `bootstrap.checkpoint` is damaged.
    Bootstrap(PathBuf, SnapshotError),
    /// `bootstrap.checkpoint` holds a record that is not known.
    BootstrapRecord(PathBuf, ottla_protocol::DecodeError),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Dir(error) => error.fmt(f),
            FormatError::NotFormatted(path) => write!(
                f,
                "{} holds files but no meta.properties: it is not a data directory; choose an \
                 empty one with log.dirs=PATH",
                path.display()
            ),
            FormatError::OtherNode { path, stored, configured } => write!(
                f,
                "{} belongs to node.id {stored}, and this node is configured as {configured}",
                path.display()
            ),
            FormatError::OtherCluster { path, stored, expected } => write!(
                f,
                "Invalid cluster.id in: {}/meta.properties. Expected {expected}, but read {stored}",
                path.display()
            ),
            FormatError::DuplicateId(first, second, id) => write!(
                f,
                "Duplicate directory ID {id} found. It was the ID of {}, but also of {}",
                first.display(),
                second.display()
            ),
            FormatError::MetadataElsewhere { found, configured } => write!(
                f,
                "Found unexpected metadata location in data directory `{}` (the configured metadata \
                 directory is {}).",
                found.display(),
                configured.display()
            ),
            FormatError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            FormatError::Bootstrap(path, error) => write!(f, "{}: {error}", path.display()),
            FormatError::BootstrapRecord(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for FormatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FormatError::Dir(error) => Some(error),
            FormatError::Io { source, .. } => Some(source),
            FormatError::Bootstrap(_, error) => Some(error),
            FormatError::BootstrapRecord(_, error) => Some(error),
            FormatError::NotFormatted(_)
            | FormatError::OtherNode { .. }
            | FormatError::OtherCluster { .. }
            | FormatError::DuplicateId(..)
            | FormatError::MetadataElsewhere { .. } => None,
        }
    }
}

impl From<DirError> for FormatError {
    fn from(error: DirError) -> FormatError {
        FormatError::Dir(error)
    }
}

/// Who a directory says this node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DirIdentity {
    pub(crate) cluster_id: String,
    pub(crate) directory_id: Uuid,
    /// The levels of a cluster that begins now.
    pub(crate) new: Option<FormatLevels>,
}

/// Checks the directory of the metadata log, formats it when it is fresh, and tells whose it is.
pub(crate) fn check_or_format(
    runtime: &Runtime,
    dir: &DataDir,
    config: &NodeConfig,
    voter: &[VoterEndpoint],
) -> Result<DirIdentity, FormatError> {
    let identity = match dir.meta_properties()? {
        Some(meta) => check(runtime, dir, config.node_id, &meta)?,
        None if dir.is_fresh()? => {
            let new = NewCluster {
                cluster_id: runtime.entropy().uuid().to_string(),
                levels: FormatLevels::new(MetadataVersion::V4_3),
                quorum: if config.static_voters { QuorumKind::Static } else { QuorumKind::Dynamic },
            };
            format(runtime, dir, config.node_id, voter, &new)?
        }
        None => return Err(FormatError::NotFormatted(dir.path().to_owned())),
    };
    // For a static quorum there is none before the first start. Where there are partitions, it has
    // been lost, and they are not to be forgotten: the metadata log says that it is missing.
    let metadata_dir = dir.metadata_dir();
    let exists = dir.disk().exists(&metadata_dir);
    let exists = exists.map_err(|source| FormatError::Io { path: metadata_dir, source })?;
    if !exists && config.static_voters && dir.partitions()?.is_empty() {
        create_metadata_dir(dir)?;
    }
    Ok(identity)
}

/// Checks a directory that is formatted; one without an id gets one.
pub(crate) fn check(
    runtime: &Runtime,
    dir: &DataDir,
    node_id: NodeId,
    meta: &MetaProperties,
) -> Result<DirIdentity, FormatError> {
    if meta.node_id != node_id {
        return Err(FormatError::OtherNode {
            path: dir.path().to_owned(),
            stored: meta.node_id,
            configured: node_id,
        });
    }
    let directory_id = match meta.directory_id {
        Some(id) => id,
        None => {
            let id = runtime.entropy().uuid();
            let with_id = MetaProperties { directory_id: Some(id), ..meta.clone() };
            dir.write_meta_properties(&with_id, runtime.clock().wall())?;
            id
        }
    };
    Ok(DirIdentity { cluster_id: meta.cluster_id.clone(), directory_id, new: None })
}

/// Formats a fresh directory beside that of the metadata log; with the `levels` of a new cluster
/// when it is formatted together with that.
pub(crate) fn format_beside(
    runtime: &Runtime,
    dir: &DataDir,
    node_id: NodeId,
    cluster_id: &str,
    levels: Option<&FormatLevels>,
) -> Result<Uuid, FormatError> {
    if !dir.is_fresh()? {
        return Err(FormatError::NotFormatted(dir.path().to_owned()));
    }
    if let Some(levels) = levels {
        write_bootstrap(runtime, dir, levels)?;
        let synced = dir.disk().sync_dir(dir.path(), SyncPoint::FormatDir);
        synced.map_err(|source| FormatError::Io { path: dir.path().to_owned(), source })?;
    }
    let (cluster_id, id) = (cluster_id.to_owned(), runtime.entropy().uuid());
    let meta = MetaProperties { cluster_id, node_id, directory_id: Some(id) };
    dir.write_meta_properties(&meta, runtime.clock().wall())?;
    tracing::info!(dir = %dir.path().display(), "formatted a new data directory");
    Ok(id)
}

fn write_bootstrap(
    runtime: &Runtime,
    dir: &DataDir,
    levels: &FormatLevels,
) -> Result<(), FormatError> {
    let bytes = bootstrap_file(&levels.records(), runtime.clock().wall());
    let (path, point) = (dir.path().join(BOOTSTRAP), Some(SyncPoint::BootstrapFile));
    let written = dir.disk().write_atomically(&path, &bytes, point, None);
    written.map_err(|source| FormatError::Io { path, source })
}

/// Its name becomes durable with the next sync of the data directory.
fn create_metadata_dir(dir: &DataDir) -> Result<(), FormatError> {
    let path = dir.metadata_dir();
    match dir.disk().create_dir(&path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(FormatError::Io { path, source })
        }
        _ => Ok(()),
    }
}

/// The cluster that a fresh directory is to begin.
pub(crate) struct NewCluster {
    pub(crate) cluster_id: String,
    pub(crate) levels: FormatLevels,
    pub(crate) quorum: QuorumKind,
}

/// Formats a fresh directory; `voter` is where the quorum finds this node.
pub(crate) fn format(
    runtime: &Runtime,
    dir: &DataDir,
    node_id: NodeId,
    voter: &[VoterEndpoint],
    new: &NewCluster,
) -> Result<DirIdentity, FormatError> {
    let identity = DirIdentity {
        cluster_id: new.cluster_id.clone(),
        directory_id: runtime.entropy().uuid(),
        new: Some(new.levels.clone()),
    };
    let now = runtime.clock().wall();
    let disk = dir.disk();
    let metadata_dir = dir.metadata_dir();
    let sync = |path: &Path, point| {
        let synced = disk.sync_dir(path, point);
        synced.map_err(|source| FormatError::Io { path: path.to_owned(), source })
    };
    if new.quorum == QuorumKind::Dynamic {
        create_metadata_dir(dir)?;
        let voters = only_voter(node_id, identity.directory_id, voter);
        write_first_snapshot(dir, &first_snapshot(voters, now))?;
    } else {
        remove_first_snapshot(dir)?;
    }
    write_bootstrap(runtime, dir, &new.levels)?;
    let exists = disk.exists(&metadata_dir);
    if exists.map_err(|source| FormatError::Io { path: metadata_dir.clone(), source })? {
        sync(&metadata_dir, SyncPoint::FormatMetadataDir)?;
    }
    sync(dir.path(), SyncPoint::FormatDir)?;
    let meta = MetaProperties {
        cluster_id: identity.cluster_id.clone(),
        node_id,
        directory_id: Some(identity.directory_id),
    };
    dir.write_meta_properties(&meta, now)?;
    tracing::info!(dir = %dir.path().display(), cluster = %identity.cluster_id,
        "formatted a new data directory");
    Ok(identity)
}

fn write_first_snapshot(dir: &DataDir, bytes: &[u8]) -> Result<(), FormatError> {
    let path = dir.metadata_dir();
    let written = SnapshotFile::create(dir.disk(), &path, FIRST).and_then(|mut file| {
        file.append(bytes)?;
        file.finish(SyncPoint::SnapshotFile, None)
    });
    written.map_err(|source| FormatError::Io { path: path.join(file_name(FIRST)), source })
}

/// A format for a dynamic quorum may have been interrupted: its voters are not those of a static
/// one.
fn remove_first_snapshot(dir: &DataDir) -> Result<(), FormatError> {
    let path = dir.metadata_dir().join(file_name(FIRST));
    match dir.disk().remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FormatError::Io { path, source })
        }
        _ => Ok(()),
    }
}

/// The voter set of a quorum that is this node alone.
pub(crate) fn only_voter(id: NodeId, directory_id: Uuid, endpoints: &[VoterEndpoint]) -> Voters {
    let voter = Voter {
        voter_id: id,
        voter_directory_id: directory_id,
        endpoints: endpoints.to_vec(),
        k_raft_version_feature: KRaftVersionRange {
            min_supported_version: 0,
            max_supported_version: 1,
        },
    };
    Voters { version: 0, voters: vec![voter] }
}

fn first_snapshot(voters: Voters, now: Timestamp) -> Vec<u8> {
    let start =
        SnapshotStart { id: FIRST, last_contained_log_timestamp: now, voters: Some((1, voters)) };
    SnapshotWriter::new(&start, BATCH_MAX, now).finish(now)
}

fn bootstrap_file(records: &[VersionedRecord], now: Timestamp) -> Vec<u8> {
    let start =
        SnapshotStart { id: FIRST, last_contained_log_timestamp: Timestamp(0), voters: None };
    let mut snapshot = SnapshotWriter::new(&start, BATCH_MAX, now);
    for record in records {
        let mut value = Writer::new();
        record.record.encode(record.version, &mut value);
        snapshot.push(&value.into_bytes(), now);
    }
    snapshot.finish(now)
}

/// The records that the cluster was formatted with, for a metadata log that is still empty: those
/// of `bootstrap.checkpoint`, of the 0-0 checkpoint (Kafka 4.4 puts them there), or of a new
/// cluster.
pub(crate) fn bootstrap(dir: &DataDir) -> Result<Vec<VersionedRecord>, FormatError> {
    for path in [dir.path().join(BOOTSTRAP), dir.metadata_dir().join(file_name(FIRST))] {
        let bytes = match dir.disk().read(&path, BOOTSTRAP_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(FormatError::Io { path, source }),
        };
        let records = records_of(&bytes, &path)?;
        if !records.is_empty() {
            return Ok(records);
        }
    }
    Ok(FormatLevels::new(MetadataVersion::V4_3).records())
}

fn records_of(bytes: &[u8], path: &Path) -> Result<Vec<VersionedRecord>, FormatError> {
    let mut records = Vec::new();
    for batch in SnapshotReader::new(bytes) {
        let batch = batch.map_err(|error| FormatError::Bootstrap(path.to_owned(), error))?;
        let SnapshotBatch::Data(values) = batch else { continue };
        for value in values {
            let (record, version) = MetadataRecord::decode(value)
                .map_err(|error| FormatError::BootstrapRecord(path.to_owned(), error))?;
            records.push(VersionedRecord { record, version });
        }
    }
    Ok(records)
}
