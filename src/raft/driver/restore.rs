//! What a start finds on disk: `quorum-state`, the newest snapshot, the log and its voters.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::control::{ControlRecord, VoterEndpoint};
use ottla_runtime::{Disk, Runtime};
use ottla_storage::{Damage, LogError, LogOptions, RecoveryPoints};
use ottla_types::{LeaderEpoch, Offset, ReplicaKey};

use super::doubt::open_log;
use super::metadata_log::MetadataLog;
use super::snapshots::{self, FoundSnapshots, LogSpan, SnapshotRetention};
use crate::core::{
    CoreConfig, EPOCH_MAX, ElectionState, LogShape, Restored, Timeouts, VoterHistory, VoterSet,
};
use crate::quorum_state::{self, QuorumStateError};
use crate::records::{RecordsError, read_fetched};
use crate::snapshot::SnapshotError;

const QUORUM_STATE_MAX: u64 = 64 << 10;

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
    /// What is kept of snapshots and of the log below them.
    pub retention: SnapshotRetention,
    /// Where the driver notes what is durable.
    pub points: Arc<RecoveryPoints>,
    /// What was noted: everything below was committed, and durable here.
    pub durable: Offset,
    /// Whether the last process left behind all that it wrote, in the order of its writes: it was
    /// closed, or died alone.
    pub in_order: bool,
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
    /// The log is damaged, and not torn by a crash: committed records would be lost.
    Damaged(Damage),
    /// `quorum-state` is not what Kafka writes.
    QuorumState(PathBuf, QuorumStateError),
    /// A snapshot is not sound, and the log does not have what it stood for.
    Snapshot(PathBuf, SnapshotError),
    /// The log begins above 0, and no snapshot stands for what was before.
    NoSnapshot {
        /// The directory.
        dir: PathBuf,
        /// Where the log begins.
        log_start: Offset,
    },
    /// A batch of the log cannot be read.
    Records(PathBuf, RecordsError),
    /// `quorum-state`, the log or a snapshot names an epoch that cannot be.
    Epoch {
        /// The directory.
        dir: PathBuf,
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// The log names other voters than this node and this directory.
    OtherVoters(Vec<ReplicaKey>),
}

impl QuorumError {
    /// Whether the disk failed, and not what is on it.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, QuorumError::Io { .. } | QuorumError::Log(LogError::Io { .. }))
    }
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuorumError::Io { path, source } => write!(f, "{}: {source}", path.display()),
            QuorumError::Log(error) => error.fmt(f),
            QuorumError::Damaged(damage) => write!(
                f,
                "{damage}; no crash does that, and what is behind it would be lost: `ottla storage \
                 repair` shows what that is, and can cut the log there"
            ),
            QuorumError::QuorumState(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::Snapshot(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::NoSnapshot { dir, log_start } => write!(
                f,
                "{}: the log begins at offset {log_start}, and there is no sound snapshot for \
                 what was before",
                dir.display()
            ),
            QuorumError::Records(path, error) => write!(f, "{}: {error}", path.display()),
            QuorumError::Epoch { dir, epoch } => write!(
                f,
                "{}: epoch {epoch} is too high to be true: quorum-state, the log or a snapshot is \
                 damaged",
                dir.display()
            ),
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
            QuorumError::NoSnapshot { .. }
            | QuorumError::Damaged(_)
            | QuorumError::Epoch { .. }
            | QuorumError::OtherVoters(_) => None,
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
    pub(super) snapshots: FoundSnapshots,
}

/// Reads the directory. May stall: the log is checked and made durable.
pub(super) fn restore(runtime: &Runtime, setup: &QuorumSetup) -> Result<Found, QuorumError> {
    let disk = runtime.disk();
    let election = read_quorum_state(disk, &setup.dir)?;
    let mut log = open_log(runtime, setup)?;
    make_durable(&mut log, &setup.dir)?;
    let mut voters = VoterHistory::new(setup.static_voters.clone());
    let mut snapshots = snapshots::find(disk, &setup.dir, span(&log))?;
    let newest = snapshots.newest.as_ref().map(|(id, _)| *id);
    let restarts_at = newest.filter(|id| snapshots::is_ahead(*id, span(&log)));
    refuse_early_end(&log, restarts_at.map_or(log.end(), |id| id.offset), setup.durable)?;
    let mut told = log.start();
    if let Some((id, bytes)) = &snapshots.newest {
        let failed = |error| QuorumError::Snapshot(setup.dir.clone(), error);
        let control = snapshots::check(bytes).map_err(failed)?;
        note_voters(&mut voters, Offset(id.offset.0 - 1), &control);
        if restarts_at.is_some() {
            tracing::warn!(
                end = log.end().0,
                snapshot = id.offset.0,
                "the snapshot is ahead of the metadata log, which begins anew behind it"
            );
            log.restart_at(id.offset, runtime.clock().wall())?;
            make_durable(&mut log, &setup.dir)?;
            for older in snapshots.all.forget_before(*id) {
                let path = snapshots::path(&setup.dir, older);
                let removed = disk.remove_file(&path);
                removed.map_err(|source| QuorumError::Io { path, source })?;
            }
        }
        told = id.offset;
    }
    note_logged_voters(&mut log, told, &mut voters, &setup.dir)?;
    if setup.alone && !voters.voters().is_only(setup.me) {
        return Err(QuorumError::OtherVoters(voters.voters().keys().collect()));
    }
    refuse_late_epochs(&setup.dir, election, &log, &snapshots)?;
    let mut shape = LogShape::new(log.start(), log.end(), epochs(&log));
    if let Some(range) = snapshots.all.range(log.start()) {
        shape = shape.with_snapshots(range);
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
    Ok(Found { log, config, restored, snapshots })
}

/// Refuses a log that will end at `end`, though everything below `durable` was there.
fn refuse_early_end(log: &MetadataLog, end: Offset, durable: Offset) -> Result<(), QuorumError> {
    match log.ends_early(durable) {
        LogError::Damaged(damage) if end < durable => Err(QuorumError::Damaged(damage)),
        _ => Ok(()),
    }
}

fn refuse_late_epochs(
    dir: &Path,
    election: Option<ElectionState>,
    log: &MetadataLog,
    snapshots: &FoundSnapshots,
) -> Result<(), QuorumError> {
    let logged = log.epochs().last().map(|(epoch, _)| *epoch);
    let snapshot = snapshots.newest.as_ref().map(|(id, _)| id.epoch);
    let elected = election.map(|election| election.epoch);
    match [logged, snapshot, elected].into_iter().flatten().max() {
        Some(epoch) if epoch > EPOCH_MAX => Err(QuorumError::Epoch { dir: dir.to_owned(), epoch }),
        _ => Ok(()),
    }
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

pub(super) fn make_durable(log: &mut MetadataLog, dir: &Path) -> Result<(), QuorumError> {
    while let Some(job) = log.start_flush()? {
        let done = job.run();
        done.map_err(|source| QuorumError::Io { path: dir.to_owned(), source })?;
        log.finish_flush(job.end);
    }
    Ok(())
}

/// The epochs that have records. A log that was begun anew may remember one that has none.
fn epochs(log: &MetadataLog) -> Vec<(LeaderEpoch, Offset)> {
    let mut epochs = log.epochs();
    epochs.retain(|(_, start)| *start < log.end());
    epochs
}

fn span(log: &MetadataLog) -> LogSpan {
    let last_epoch = epochs(log).last().map_or(LeaderEpoch(0), |(epoch, _)| *epoch);
    LogSpan { start: log.start(), end: log.end(), last_epoch }
}

/// Notes the voters that the log names from `offset` on: those below are in the snapshot.
fn note_logged_voters(
    log: &mut MetadataLog,
    mut offset: Offset,
    voters: &mut VoterHistory,
    dir: &Path,
) -> Result<(), QuorumError> {
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
