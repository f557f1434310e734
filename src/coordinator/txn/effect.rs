//! What a step wants done, and what it answers.

use ottla_types::{ErrorCode, Offset};

use super::TransactionalId;
use super::port::TxnMarker;
use super::state::Producer;
use crate::shard_core::{self, Ticket};

/// What the sender of a request is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The producer begins.
    Initialized(Producer),
    /// The request needs a fresh producer id: it is made again with one.
    NeedsProducerId,
    /// All partitions are in the transaction.
    Added,
    /// Whether each partition is in the transaction, in the order of the request.
    Verified(Vec<Result<(), ErrorCode>>),
    /// The transaction ends; with KIP-890 this is the producer of the next one.
    Ended(Option<Producer>),
}

/// What follows a write.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Then {
    /// Nobody waits for it.
    #[default]
    Nothing,
    /// An answer, or an error that was decided by what was written before it.
    Answer(Ticket, Result<Answer, ErrorCode>),
    /// The end of a transaction is complete; if that could not be kept, it is tried again.
    Completed(TransactionalId),
}

/// What is done beside the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Markers are written; what came of them is told to
    /// [`TxnShard::markers_told`](super::TxnShard::markers_told).
    Markers {
        /// Whose they are.
        id: TransactionalId,
        /// The record by which the transaction ends.
        record: Offset,
        /// The markers.
        markers: Vec<TxnMarker>,
    },
    /// A transaction is over time and the last epoch of its producer is used up: with a fresh
    /// producer id, [`TxnShard::abort_with`](super::TxnShard::abort_with) ends it.
    FreshId {
        /// Whose it is.
        id: TransactionalId,
        /// The record that was seen.
        record: Offset,
    },
}

/// What a step wants done, in causal order.
pub type Effects = shard_core::Effects<Answer, Then, Errand>;
