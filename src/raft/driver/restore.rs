//! What a start finds on disk: `quorum-state`, the newest snapshot, the log and its voters.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::control::{ControlRecord, VoterEndpoint};
use ottla_runtime::{Disk, Runtime};
use ottla_storage::{Log, LogError, LogOptions, PartitionMetadata, Shutdown, SyncPoints};
use ottla_types::{Offset, ReplicaKey, Uuid};

use super::metadata_log::MetadataLog;
use crate::core::{
    CoreConfig, ElectionState, LogShape, OffsetAndEpoch, Restored, SnapshotRange, Timeouts,
    VoterHistory, VoterSet,
};
use crate::quorum_state::{self, QuorumStateError};
use crate::records::{RecordsError, read_fetched};
use crate::snapshot::{FileState, SnapshotBatch, SnapshotError, SnapshotReader, parse_file_name};

const QUORUM_STATE_MAX: u64 = 64 << 10;
/// A snapshot above this is none: Kafka's clusters of a million partitions stay below.
const SNAPSHOT_MAX: u64 = 4 << 30;

/// What the driver is started with.
pub struct QuorumSetup {
    /// The directory `__cluster_metadata-0`.
    pub dir: PathBuf,
    /// Id of the cluster.
    pub cluster_id: String,
    /// This replica.
    pub me: ReplicaKey,
    /// Where this replica listens for the quorum.
    pub listeners: Vec<VoterEndpoint>,
    /// Whether this node must be the whole quorum.
    pub alone: bool,
    /// Voters of a static quorum; empty when the log names them.
    pub static_voters: VoterSet,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How the log is kept.
    pub log: LogOptions,
}

/// Why the quorum cannot start. The text is one line for the operator.
#[derive(Debug)]
pub enum QuorumError {
    /// A file cannot be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be opened.
    Log(LogError),
    /// `quorum-state` is not what Kafka writes.
    QuorumState(PathBuf, QuorumStateError),
    /// A snapshot is not complete.
    Snapshot(PathBuf, SnapshotError),
    /// A batch of the log cannot be read.
    Records(PathBuf, RecordsError),
    /// The log names other voters than this node and this directory.
    OtherVoters(Vec<ReplicaKey>),
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuorumError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            QuorumError::Log(error) => error.fmt(f),
            QuorumError::QuorumState(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::Snapshot(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::Records(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::OtherVoters(ids) => {
                let name = |key: &ReplicaKey| format!("{} ({})", key.id, key.directory_id);
                let names: Vec<String> = ids.iter().map(name).collect();
                write!(
                    f,
                    "the voters (with their directory.id) of this metadata log are {}; this \
                     version runs as the only voter, in the directory it voted with",
                    if names.is_empty() { "unknown".to_owned() } else { names.join(", ") }
                )
            }
        }
    }
}

impl std::error::Error for QuorumError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            QuorumError::Io { source, .. } => Some(source),
            QuorumError::Log(error) => Some(error),
            QuorumError::QuorumState(_, error) => Some(error),
            QuorumError::Snapshot(_, error) => Some(error),
            QuorumError::Records(_, error) => Some(error),
            QuorumError::OtherVoters(_) => None,
        }
    }
}

impl From<LogError> for QuorumError {
    fn from(error: LogError) -> QuorumError {
        QuorumError::Log(error)
    }
}

/// Everything that a start found.
pub(super) struct Found {
    pub(super) log: MetadataLog,
    pub(super) config: CoreConfig,
    pub(super) restored: Restored,
    pub(super) snapshot: Option<(OffsetAndEpoch, Vec<u8>)>,
}

/// Reads the directory. May stall: the log is checked and made durable.
pub(super) fn restore(runtime: &Runtime, setup: &QuorumSetup) -> Result<Found, QuorumError> {
    let disk = runtime.disk();
    let election = read_quorum_state(disk, &setup.dir)?;
    let mut log = open_log(runtime, setup)?;
    let mut voters = VoterHistory::new(setup.static_voters.clone());
    let snapshot = newest_snapshot(disk, &setup.dir)?;
    if let Some((id, bytes)) = &snapshot {
        let failed = |error| QuorumError::Snapshot(setup.dir.clone(), error);
        for batch in SnapshotReader::new(bytes) {
            if let SnapshotBatch::Control(records) = batch.map_err(failed)? {
                note_voters(&mut voters, Offset(id.offset.0 - 1), &records);
            }
        }
    }
    note_logged_voters(&mut log, &mut voters, &setup.dir)?;
    if setup.alone && !voters.voters().is_only(setup.me) {
        return Err(QuorumError::OtherVoters(voters.voters().keys().collect()));
    }
    let mut shape = LogShape::new(log.start(), log.end(), log.epochs());
    // The snapshot at 0 is what the directory was formatted with, and stands for no record.
    let is_real = |id: &OffsetAndEpoch| id.offset > Offset::ZERO;
    if let Some((id, _)) = snapshot.as_ref().filter(|(id, _)| is_real(id)) {
        let log_start = log.start();
        shape = shape.with_snapshots(SnapshotRange { log_start, earliest: *id, latest: *id });
    }
    let config = CoreConfig {
        me: setup.me,
        cluster_id: setup.cluster_id.clone(),
        listeners: setup.listeners.clone(),
        kraft_versions: ottla_protocol::control::KRaftVersionRange {
            min_supported_version: 0,
            max_supported_version: 1,
        },
        can_become_voter: true,
        bootstrap: Vec::new(),
        timeouts: setup.timeouts,
        seed: runtime.entropy().bits(),
        #[cfg(test)]
        mutant: None,
    };
    let restored = Restored { election, log: shape, voters };
    Ok(Found { log, config, restored, snapshot })
}

fn read_quorum_state(disk: &Disk, dir: &Path) -> Result<Option<ElectionState>, QuorumError> {
    let path = dir.join(quorum_state::FILE_NAME);
    let bytes = match disk.read(&path, QUORUM_STATE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(QuorumError::Io { path, source }),
    };
    let text = String::from_utf8_lossy(&bytes);
    quorum_state::parse(&text).map(Some).map_err(|error| QuorumError::QuorumState(path, error))
}

/// Opens the log, checked from its start as Kafka does, and makes what was found durable: the core
/// counts on it.
fn open_log(runtime: &Runtime, setup: &QuorumSetup) -> Result<MetadataLog, QuorumError> {
    let (disk, dir) = (runtime.disk(), &setup.dir);
    let failed = |source| QuorumError::Io { path: dir.clone(), source };
    if PartitionMetadata::read(disk, dir).map_err(failed)?.is_none() {
        let metadata = PartitionMetadata { topic_id: Uuid::METADATA_TOPIC };
        metadata.write(disk, dir).map_err(failed)?;
    }
    let options = LogOptions { sync_points: SyncPoints::METADATA, ..setup.log.clone() };
    let shutdown = Shutdown::Unclean { recovery_point: Offset::ZERO };
    let (log, recovered) = Log::open(disk, dir, options, shutdown, runtime.clock().wall())?;
    if recovered.cut_bytes > 0 {
        tracing::warn!(bytes = recovered.cut_bytes, end = log.end().0, "cut the metadata log");
    }
    let mut log = MetadataLog::new(log);
    while let Some(job) = log.start_flush()? {
        job.run().map_err(failed)?;
        log.finish_flush(job.end);
    }
    Ok(log)
}

/// The newest complete snapshot. What was left of unfinished ones is removed.
fn newest_snapshot(
    disk: &Disk,
    dir: &Path,
) -> Result<Option<(OffsetAndEpoch, Vec<u8>)>, QuorumError> {
    let failed = |path: &Path, source| QuorumError::Io { path: path.to_owned(), source };
    let mut newest = None;
    for entry in disk.list(dir).map_err(|error| failed(dir, error))? {
        let path = dir.join(&entry.name);
        match parse_file_name(&entry.name) {
            Some((id, FileState::Complete)) => newest = newest.max(Some((id, path))),
            Some((_, FileState::Partial | FileState::Deleted)) => {
                disk.remove_file(&path).map_err(|error| failed(&path, error))?;
            }
            None => {}
        }
    }
    let Some((id, path)) = newest else { return Ok(None) };
    let bytes = disk.read(&path, SNAPSHOT_MAX).map_err(|error| failed(&path, error))?;
    let checked: Result<Vec<_>, _> = SnapshotReader::new(&bytes).collect();
    checked.map_err(|error| QuorumError::Snapshot(path, error))?;
    Ok(Some((id, bytes)))
}

fn note_logged_voters(
    log: &mut MetadataLog,
    voters: &mut VoterHistory,
    dir: &Path,
) -> Result<(), QuorumError> {
    let mut offset = log.start();
    while offset < log.end() {
        let bytes = log.read(offset, log.end(), 1 << 20)?;
        let failed = |error| QuorumError::Records(dir.to_owned(), error);
        let fetched = read_fetched(&bytes).map_err(failed)?;
        for batch in &fetched.batches {
            for (at, record) in &batch.control {
                note_voters(voters, *at, std::slice::from_ref(record));
            }
            offset = batch.end_offset;
        }
    }
    Ok(())
}

fn note_voters(voters: &mut VoterHistory, offset: Offset, records: &[ControlRecord]) {
    for record in records {
        voters.record(offset, record);
    }
}
