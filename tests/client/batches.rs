//! Record batches as a client makes and reads them.

use bytes::Bytes;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, Records};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// An uncompressed batch of records without keys. `producer` is its id, epoch and first sequence.
#[must_use]
pub fn record_batch(
    timestamp: Timestamp,
    producer: Option<(i64, i16, i32)>,
    values: &[Vec<u8>],
) -> Bytes {
    let kind = BatchKind::Data;
    let mut batch = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), timestamp);
    if let Some((id, epoch, sequence)) = producer {
        batch = batch.with_producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    }
    values.iter().for_each(|value| batch.push(None, Some(value)));
    batch.build().into()
}

/// A record that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: i64,
    /// Its value.
    pub value: Vec<u8>,
}

/// The records of whole batches at the front of `bytes`; a cut batch at the end is left out.
///
/// # Errors
/// What is wrong with a batch.
pub fn records_of(bytes: &[u8]) -> Result<Vec<ReadRecord>, String> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Ok(header) = BatchHeader::read(rest) {
        let Some(batch) = rest.get(..header.size()) else { break };
        let header = BatchHeader::read_checked(batch).map_err(|error| format!("{error:?}"))?;
        for record in Records::new(&header, &batch[BATCH_OVERHEAD..]) {
            let record = record.map_err(|error| format!("{error:?}"))?;
            let value = record.value.unwrap_or_default().to_vec();
            records.push(ReadRecord { offset: record.offset.0, value });
        }
        rest = &rest[header.size()..];
    }
    Ok(records)
}
