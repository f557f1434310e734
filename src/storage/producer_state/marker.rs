//! A marker that a transaction coordinator wants written, and whether it may be.
//!
//! - A coordinator whose epoch is lower than one that has written here is fenced.
//! - KIP-890, KIP-1228: a transaction of version 2 ends with an epoch above that of its data, so
//!   that what its producer sent before and comes late is refused. A marker with the same epoch is
//!   one that comes again when no transaction is open, and of another time when one is.
//! - Up to version 1 a marker has the epoch of its data, or, when the producer was fenced, a newer
//!   one; one that comes again is written again.
//!
//! Source: `ProducerAppendInfo.checkProducerEpoch`, `checkCoordinatorEpoch`.

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_protocol::control::{ControlRecord, EndTransaction};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::ProducerState;
use crate::log::IncomingBatch;

/// From this `transaction.version` on a marker's epoch is above that of the data.
const EPOCH_BUMPED_FROM: i16 = 2;

/// The end of a transaction in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch from now on.
    pub producer_epoch: ProducerEpoch,
    /// Whether what was written counts.
    pub commit: bool,
    /// Epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// `transaction.version` of the transaction.
    pub transaction_version: i16,
}

/// What becomes of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerVerdict {
    /// It is to be written.
    Append,
    /// It was written before.
    Duplicate,
    /// A newer producer with this id has written.
    OldEpoch,
    /// A newer coordinator has written.
    OldCoordinator,
}

impl Marker {
    /// The batch, to be appended at `now`.
    #[must_use]
    pub fn batch(&self, now: Timestamp) -> IncomingBatch {
        let end = EndTransaction { coordinator_epoch: self.coordinator_epoch };
        let record =
            if self.commit { ControlRecord::Commit(end) } else { ControlRecord::Abort(end) };
        let (key, value) = record.encode();
        let mut builder = BatchBuilder::new(BatchKind::Marker, Offset::ZERO, LeaderEpoch(-1), now)
            .with_producer(self.producer_id, self.producer_epoch, -1);
        builder.push(Some(&key), Some(&value));
        let bytes = Bytes::from(builder.build());
        IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes }
    }
}

impl ProducerState {
    /// Judges a coordinator's marker.
    #[must_use]
    pub fn judge_marker(&self, marker: &Marker) -> MarkerVerdict {
        let Some(producer) = self.producers.get(&marker.producer_id) else {
            return MarkerVerdict::Append;
        };
        let bumped = marker.transaction_version >= EPOCH_BUMPED_FROM;
        if marker.producer_epoch < producer.epoch {
            MarkerVerdict::OldEpoch
        } else if bumped && marker.producer_epoch == producer.epoch {
            match producer.transaction_start {
                None => MarkerVerdict::Duplicate,
                Some(_) => MarkerVerdict::OldEpoch,
            }
        } else if marker.coordinator_epoch < producer.coordinator_epoch {
            MarkerVerdict::OldCoordinator
        } else {
            MarkerVerdict::Append
        }
    }
}
