//! Makes a shard's state from its log: every batch up to the high watermark, in order.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use ottla_protocol::control::ControlRecord;
use ottla_types::{Offset, TopicIdPartition};

use super::port::LogPort;
use crate::shard_core::{LoadedRecord, ShardCore};

/// Most bytes that the records of a batch may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// A shard as its log says, and where that ends.
///
/// # Errors
/// What cannot be read, in words: the shard is not served then.
pub(super) fn load<C: ShardCore>(
    port: &dyn LogPort,
    partition: TopicIdPartition,
    config: Arc<C::Config>,
    piece_bytes: u64,
) -> Result<(C, Offset), String> {
    let mut shard = C::new(config);
    let (start, end) = port.bounds(partition).map_err(|error| error.to_string())?;
    let mut next = start;
    while next < end {
        let piece = port.read(partition, next, piece_bytes).map_err(|error| error.to_string())?;
        let after = load_piece(&mut shard, &piece, next)?;
        if after == next {
            // What is left is a gap that a compaction made.
            break;
        }
        next = after;
    }
    Ok((shard, end))
}

/// Replays the whole batches of a piece; returns the offset behind them.
fn load_piece<C: ShardCore>(shard: &mut C, piece: &Bytes, from: Offset) -> Result<Offset, String> {
    let (mut next, mut left) = (from, &piece[..]);
    while left.len() >= BATCH_OVERHEAD {
        let header = BatchHeader::read(left).map_err(|error| error.to_string())?;
        let Some(batch) = left.get(..header.size()) else { break };
        BatchHeader::read_checked(batch).map_err(|error| error.to_string())?;
        load_batch(shard, &header, &batch[BATCH_OVERHEAD..], from)?;
        next = header.next_offset();
        left = &left[batch.len()..];
    }
    Ok(next)
}

fn load_batch(
    shard: &mut impl ShardCore,
    header: &BatchHeader,
    records: &[u8],
    from: Offset,
) -> Result<(), String> {
    let decompressed;
    let records = match header.attributes.compression() {
        None => return Err(format!("{}: an unknown compression", header.base_offset)),
        Some(compression) => {
            decompressed = compression.decompress(records, DECOMPRESSED_BYTES_MAX);
            decompressed.as_deref().map_err(ToString::to_string)?
        }
    };
    let producer = header.attributes.is_transactional().then_some(header.producer_id);
    for record in Records::new(header, records) {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset < from {
            continue;
        }
        if header.attributes.is_control() {
            match ControlRecord::decode(record.key, record.value) {
                Ok(ControlRecord::Commit(_)) => {
                    shard.load_marker(record.offset, header.producer_id, true);
                }
                Ok(ControlRecord::Abort(_)) => {
                    shard.load_marker(record.offset, header.producer_id, false);
                }
                Ok(_) => {}
                Err(error) => return Err(format!("{}: {error}", record.offset)),
            }
            continue;
        }
        let (offset, value) = (record.offset, record.value);
        // Every record of a compacted topic has a key; what has none says nothing.
        let Some(key) = record.key else { continue };
        let loaded = shard.load(LoadedRecord { offset, producer, key, value });
        loaded.map_err(|error| format!("{offset}: {error}"))?;
    }
    Ok(())
}
