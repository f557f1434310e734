//! What the driver tells the one who follows the log: the loader and the controller.

use bytes::Bytes;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use ottla_protocol::{DecodeError, Decoded};
use ottla_types::{LeaderEpoch, Offset};

use crate::core::OffsetAndEpoch;

/// Something that happened to the log, in order.
pub enum QuorumEvent {
    /// A snapshot to begin anew with: the newest on disk, first of all, if there is one; later,
    /// one of the leader's, where its log no longer has what would follow.
    Snapshot {
        /// Its name.
        id: OffsetAndEpoch,
        /// The whole file, already checked.
        bytes: Vec<u8>,
    },
    /// Committed batches.
    Committed(Vec<CommittedBatch>),
    /// The snapshot that was asked for is on disk, or was given up.
    SnapshotDone,
    /// This replica leads, and everything of earlier epochs was told before.
    Leader {
        /// Its epoch.
        epoch: LeaderEpoch,
        /// Offset of the next record.
        next_offset: Offset,
    },
    /// This replica leads no longer; what was proposed and is not committed may be lost.
    LostLeadership {
        /// The epoch it led.
        epoch: LeaderEpoch,
    },
}

/// A committed batch.
pub struct CommittedBatch {
    /// Its header.
    pub header: BatchHeader,
    /// The whole batch.
    bytes: Bytes,
}

impl CommittedBatch {
    pub(super) fn new(header: BatchHeader, bytes: Bytes) -> CommittedBatch {
        CommittedBatch { header, bytes }
    }

    /// The values of its records; none for a batch of control records, which are the quorum's.
    ///
    /// # Errors
    /// When a record is not one, or has no value.
    pub fn values(&self) -> Decoded<Vec<&[u8]>> {
        if self.header.attributes.is_control() {
            return Ok(Vec::new());
        }
        let records = Records::new(&self.header, &self.bytes[BATCH_OVERHEAD..]);
        records.map(|record| record?.value.ok_or(DecodeError::BadLength)).collect()
    }
}
