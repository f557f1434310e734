//! Record batches as a client makes and reads them.

use std::io::Write;

use bytes::Bytes;
use ottla_protocol::batch::{
    ATTRIBUTES_AT, BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, CRC_AT, LOG_OVERHEAD,
    Records, crc32c,
};
use ottla_protocol::compression::{Codec, Compression, Compressor};
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

/// Most bytes that a batch may become when it is read.
const DECOMPRESSED_MAX: usize = 64 << 20;

/// An uncompressed batch with its records compressed.
///
/// # Panics
/// When the bytes are no batch.
#[must_use]
pub fn compressed(batch: &[u8], codec: Codec) -> Bytes {
    let mut records = Compressor::new(codec, Vec::new()).expect("a codec of ours");
    records.write_all(&batch[BATCH_OVERHEAD..]).expect("memory takes it");
    let records = records.finish().expect("memory takes it");
    let mut batch = [&batch[..BATCH_OVERHEAD], &records].concat();
    let length = (batch.len() - LOG_OVERHEAD) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_AT + 1] |= codec.compression() as u8;
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// A record that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: i64,
    /// Its value; empty without one.
    pub value: Vec<u8>,
    /// Whether it has no value.
    pub is_tombstone: bool,
    /// The value of its first header; empty without one.
    pub header: Vec<u8>,
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
        let codec = header.attributes.compression().unwrap_or(Compression::None);
        let whole = codec.decompress(&batch[BATCH_OVERHEAD..], DECOMPRESSED_MAX);
        let whole = whole.map_err(|error| format!("{error:?}"))?;
        for record in Records::new(&header, &whole) {
            let record = record.map_err(|error| format!("{error:?}"))?;
            let value = record.value.unwrap_or_default().to_vec();
            let is_tombstone = record.value.is_none();
            let header = record.headers().next().and_then(|header| header.value);
            let header = header.unwrap_or_default().to_vec();
            records.push(ReadRecord { offset: record.offset.0, value, is_tombstone, header });
        }
        rest = &rest[header.size()..];
    }
    Ok(records)
}
