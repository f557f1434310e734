//! What ends a transaction: the marker that its coordinator writes into each partition, a control
//! batch with the producer's id.

use ottla_protocol::batch::{BatchHeader, Records};
use ottla_protocol::control::ControlRecord;
use ottla_types::{Offset, ProducerId, Timestamp};

/// Decompressed bytes of a marker that are looked at; nobody compresses markers.
const MARKER_BYTES_MAX: usize = 64 << 10;

/// What a marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionEnd {
    /// Whether what was written is void.
    pub aborted: bool,
    /// Epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// Time of the marker.
    pub timestamp: Timestamp,
}

impl TransactionEnd {
    /// Whether a batch can be a marker, so that its records must be read.
    #[must_use]
    pub fn is_possible(header: &BatchHeader) -> bool {
        header.attributes.is_control() && header.has_producer_id()
    }

    /// Reads the marker in a control batch; `records` are the bytes behind the header. `None` for
    /// control records of another kind, and for a marker that compaction has removed.
    #[must_use]
    pub fn read(header: &BatchHeader, records: &[u8]) -> Option<TransactionEnd> {
        if !TransactionEnd::is_possible(header) {
            return None;
        }
        let codec = header.attributes.compression()?;
        let records = codec.decompress(records, MARKER_BYTES_MAX).ok()?;
        let record = Records::new(header, &records).next()?.ok()?;
        let (aborted, end) = match ControlRecord::decode(record.key, record.value).ok()? {
            ControlRecord::Abort(end) => (true, end),
            ControlRecord::Commit(end) => (false, end),
            _ => return None,
        };
        let coordinator_epoch = end.coordinator_epoch;
        Some(TransactionEnd { aborted, coordinator_epoch, timestamp: record.timestamp })
    }
}

/// A transaction that has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Whether what it wrote is void.
    pub aborted: bool,
    /// Its first offset.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset behind the marker: up to here no transaction is open.
    pub last_stable_offset: Offset,
}
