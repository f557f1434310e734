//! What the transaction coordinator asks of the partitions, and what they ask of it.
//!
//! ```text
//!   coordinator ──> MarkerPort: markers into partitions ──> outcome for each
//!   partition   ──> TxnCheck: may a batch of this producer be appended here?
//! ```

use std::future::Future;
use std::pin::Pin;

use ottla_types::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

/// The end of a transaction in one partition: what becomes a control batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnMarker {
    /// Whose transaction it is.
    pub producer_id: ProducerId,
    /// The epoch of the marker: with version 2, and after a fencing, above that of the data.
    pub producer_epoch: ProducerEpoch,
    /// Whether the transaction counts.
    pub commit: bool,
    /// Leader epoch of the coordinator's partition: a lower one than a partition has seen of this
    /// producer is fenced.
    pub coordinator_epoch: i32,
    /// `transaction.version` of the transaction, 0 to 2: with 2 the marker's epoch has to be above
    /// that of the data.
    pub transaction_version: i16,
    /// Where it goes.
    pub partition: TopicPartition,
}

/// The outcome of each marker, in the order of the request.
pub type MarkersWritten = Pin<Box<dyn Future<Output = Vec<Result<(), ErrorCode>>> + Send>>;

/// Ends transactions in partitions.
pub trait MarkerPort: Send + Sync {
    /// Writes markers: each partition's is appended and committed, and what hangs on it (offsets
    /// of a group) is settled. A marker that is written again does no harm.
    ///
    /// An outcome of `UNKNOWN_TOPIC_OR_PARTITION` says that the metadata knows no such partition:
    /// it was deleted, and its transaction ends without it. `INVALID_PRODUCER_EPOCH` and
    /// `TRANSACTION_COORDINATOR_FENCED` say that somebody newer has ended it. After any other error
    /// the marker is written again, later.
    fn write(&self, markers: Vec<TxnMarker>) -> MarkersWritten;
}

/// What a partition asks before it appends a batch of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnCheck {
    /// Whose transaction it is.
    pub transactional_id: String,
    /// The producer, as the batch names it.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Where batches are to be appended.
    pub partitions: Vec<TopicPartition>,
    /// Whether partitions that are not in the transaction yet are added (KIP-890, from Produce 12
    /// and TxnOffsetCommit 5 on), or refused.
    pub add: bool,
}
