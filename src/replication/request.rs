//! What is asked of a partition and what it answers.

use ottla_storage::{
    AppendInfo, AppendRejection, EndedTransaction, Extent, LogError, VerificationGuard,
};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::oneshot;

use crate::acks::AckEnd;

/// How many replicas must have a batch before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// The leader's log is enough, or nobody waits at all.
    Leader,
    /// All replicas in sync.
    All,
}

/// Who appends a batch of a client's transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transactional {
    /// Whether it is a coordinator of this node, which has no sequence numbers.
    pub is_coordinator: bool,
    /// Whether the transaction must be open here, or have been verified.
    pub verified: bool,
    /// Of the verification, where there was one.
    pub guard: Option<VerificationGuard>,
}

/// What a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset, without aborted transactions.
    ReadCommitted,
}

/// Why a partition does not do what it was asked for.
#[derive(Debug)]
pub enum PartitionError {
    /// This node holds the partition and does not lead it now.
    NotLeader,
    /// The client knows an older leader epoch.
    FencedLeaderEpoch,
    /// The client knows a newer leader epoch than this node.
    UnknownLeaderEpoch,
    /// Fewer replicas are in sync than `min.insync.replicas`.
    NotEnoughReplicas,
    /// Records of a log that is only compacted are not to be deleted.
    PolicyViolation,
    /// The partition was deleted meanwhile.
    Gone,
    /// The data directory is fenced.
    Offline,
    /// The log refused or failed.
    Log(LogError),
}

impl std::fmt::Display for PartitionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PartitionError::Log(error) => error.fmt(f),
            other => other.code().fmt(f),
        }
    }
}

impl std::error::Error for PartitionError {}

impl PartitionError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            PartitionError::NotLeader | PartitionError::Gone => ErrorCode::NotLeaderOrFollower,
            PartitionError::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            PartitionError::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
            PartitionError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            PartitionError::PolicyViolation => ErrorCode::PolicyViolation,
            PartitionError::Offline => ErrorCode::KafkaStorageError,
            PartitionError::Log(error) => error.code(),
        }
    }
}

/// Completes when a batch is acknowledged.
pub struct AckWait(pub(crate) oneshot::Receiver<AckEnd>);

impl AckWait {
    /// Waits for the acknowledgement. Cancel safe.
    ///
    /// # Errors
    /// `Gone` when the partition was deleted, `Offline` when its directory failed.
    pub async fn acknowledged(&mut self) -> Result<(), PartitionError> {
        match (&mut self.0).await {
            Ok(AckEnd::Acknowledged) => Ok(()),
            Ok(AckEnd::Offline) => Err(PartitionError::Offline),
            Err(_) => Err(PartitionError::Gone),
        }
    }
}

/// An append that was done.
pub struct Appended {
    /// Where the batch is.
    pub info: AppendInfo,
    /// First offset of the log.
    pub log_start: Offset,
    /// What to wait for before the batch is acknowledged; `None` when it is already.
    pub wait: Option<AckWait>,
    /// Whether the caller must start [`crate::Replicas::flush`] for the partition.
    pub start_flush: bool,
}

/// What a fetch asks of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSpec {
    /// First offset wanted.
    pub offset: Offset,
    /// Most bytes.
    pub bytes_max: u64,
    /// Whether the first batch comes whole even if it is longer.
    pub at_least_one: bool,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Leader epoch that the client knows, if it knows one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record that the client has, if it tells.
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// What a partition has for a fetch.
pub struct FetchOutcome {
    /// Where the records are; `None` when there are none yet.
    pub extent: Option<Extent>,
    /// Aborted transactions among them that a `read_committed` reader must leave out.
    pub aborted: Vec<EndedTransaction>,
    /// The largest epoch and its end that reader and leader share, when they diverge.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The partition's bounds.
    pub offsets: PartitionOffsets,
}

/// The bounds of a partition: `log_start ≤ last_stable ≤ high_watermark ≤ end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOffsets {
    /// First offset.
    pub log_start: Offset,
    /// End of what a `read_committed` reader may see.
    pub last_stable: Offset,
    /// End of what readers may see.
    pub high_watermark: Offset,
    /// End of the log.
    pub end: Offset,
    /// Epoch of the leader.
    pub leader_epoch: LeaderEpoch,
}

/// What the metadata says about a partition that this node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// Epoch of the leader.
    pub epoch: LeaderEpoch,
    /// Whether this node leads; a partition without a leader is held and not served.
    pub leads: bool,
    /// Number of replicas in sync.
    pub in_sync: usize,
    /// Number of replicas.
    pub replicas: usize,
}

impl From<AppendRejection> for PartitionError {
    fn from(rejection: AppendRejection) -> PartitionError {
        PartitionError::Log(LogError::Rejected(rejection))
    }
}
