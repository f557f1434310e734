//! Writing a batch anew: with another codec, or with offsets that follow each other.
//!
//! Only for batches whose records were walked over and found good. Every record keeps its time,
//! key, value and headers; its offset becomes its place in the batch. What the header says of the
//! producer is kept, what it says of the records is made new (`MemoryRecordsBuilder`).

use std::io::{self, BufWriter, Write};

use ottla_types::Timestamp;

use super::walk::{CopyBytes, PieceBytes, RecordFront, SliceBytes, WalkError, Walked};
use super::{
    ATTRIBUTES_AT, Attributes, BATCH_OVERHEAD, BatchHeader, CRC_AT, LOG_OVERHEAD, TimestampType,
    crc32c,
};
use crate::codec::Writer;
use crate::compression::{Codec, Compression, Compressor, Decompressor, Scratch};

/// Bytes that are gathered before they go to a compressor.
const GATHERED_LEN: usize = 8 << 10;

/// A batch that was written anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewritten {
    /// The batch.
    Batch(Vec<u8>),
    /// It would have this size, and is larger than allowed.
    TooLarge(usize),
}

/// What a batch is rewritten to.
#[derive(Clone, Copy, Debug)]
pub struct RewriteGoal {
    /// The codec.
    pub codec: Codec,
    /// Largest time of the records, as the walk found it.
    pub max_timestamp: Timestamp,
    /// Most bytes of the new batch: no more are kept.
    pub size_max: usize,
    /// Most bytes of the records when they are decompressed.
    pub decompressed_max: usize,
}

/// Writes `batch`, a whole batch with this header, anew.
///
/// # Errors
/// When its records are not what the walk saw.
pub fn rewrite_batch(
    header: &BatchHeader,
    batch: &[u8],
    goal: &RewriteGoal,
    scratch: &mut Scratch,
    window: &mut [u8],
) -> Walked<Rewritten> {
    let out = Capped { bytes: vec![0; BATCH_OVERHEAD], len: BATCH_OVERHEAD, max: goal.size_max };
    let out = Compressor::new(goal.codec, out).map_err(WalkError::Compress)?;
    let mut out = BufWriter::with_capacity(GATHERED_LEN, out);
    let records = &batch[BATCH_OVERHEAD..header.size()];
    let codec = header.attributes.compression().unwrap_or(Compression::None);
    let first = if codec == Compression::None {
        copy_records(header, &mut SliceBytes::new(records), &mut out)?
    } else {
        let decompressor = Decompressor::new(codec, records, goal.decompressed_max, scratch)?;
        copy_records(header, &mut PieceBytes::new(decompressor, window), &mut out)?
    };
    let out = out.into_inner().map_err(|error| WalkError::Compress(error.into_error()))?;
    let out = out.finish().map_err(WalkError::Compress)?;
    if out.len > out.max {
        return Ok(Rewritten::TooLarge(out.len));
    }
    Ok(Rewritten::Batch(with_header(header, goal, first, out.bytes)))
}

/// Copies all records; returns the time of the first.
fn copy_records(
    header: &BatchHeader,
    records: &mut impl CopyBytes,
    out: &mut impl Write,
) -> Walked<Timestamp> {
    let mut base = None;
    // Used for every record, so that none costs an allocation.
    let (mut deltas, mut new) = (Writer::new(), Writer::new());
    for index in 0..header.record_count {
        let front = RecordFront::read(records)?;
        let timestamp = header.timestamp_of(front.timestamp_delta).0;
        let base = *base.get_or_insert(timestamp);
        let read = (records.position() - front.start) as usize;
        let rest = front.len.checked_sub(read).ok_or(crate::DecodeError::BadLength)?;
        deltas.clear();
        deltas.varlong(timestamp.wrapping_sub(base));
        deltas.varint(index);
        new.clear();
        new.varint((1 + deltas.len() + rest) as i32);
        new.i8(0);
        new.raw(deltas.written());
        out.write_all(new.written()).map_err(WalkError::Compress)?;
        records.copy(rest, out)?;
    }
    Ok(Timestamp(base.unwrap_or(Timestamp::NONE.0)))
}

fn with_header(
    old: &BatchHeader,
    goal: &RewriteGoal,
    base_timestamp: Timestamp,
    mut batch: Vec<u8>,
) -> Vec<u8> {
    let mut attributes = Attributes(goal.codec.compression() as i16);
    if old.attributes.is_transactional() {
        attributes = attributes.with_transactional();
    }
    let mut front = Writer::new();
    front.i64(0);
    front.i32((batch.len() - LOG_OVERHEAD) as i32);
    front.i32(old.leader_epoch.0);
    front.i8(super::MAGIC_V2);
    front.u32(0);
    front.i16(attributes.0);
    // What is not a count is refused elsewhere, and is no panic here.
    front.i32(old.record_count.wrapping_sub(1));
    front.i64(base_timestamp.0);
    front.i64(goal.max_timestamp.0);
    front.i64(old.producer_id.0);
    front.i16(old.producer_epoch.0);
    front.i32(old.base_sequence);
    front.i32(old.record_count);
    batch[..BATCH_OVERHEAD].copy_from_slice(&front.into_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// `batch` with this largest time, which is the producer's.
#[must_use]
pub fn with_max_timestamp(batch: &[u8], max_timestamp: Timestamp) -> Vec<u8> {
    let mut batch = batch.to_vec();
    let header = BatchHeader::read(&batch).expect("callers have read it");
    let attributes = header.attributes.with_timestamp_type(TimestampType::CreateTime);
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
    let at = super::header::MAX_TIMESTAMP_AT;
    batch[at..at + 8].copy_from_slice(&max_timestamp.0.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Keeps bytes up to a limit and counts the rest.
struct Capped {
    bytes: Vec<u8>,
    len: usize,
    max: usize,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max.saturating_sub(self.len).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.len += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
