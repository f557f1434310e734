//! The content of a `.snapshot` file: all producers at the offset in its name, each with its last
//! batch only (`ProducerStateManager`, `ProducerSnapshot` version 1).
//!
//! ```text
//! version: i16 = 1 | crc32c of what follows: u32 | count: i32 | count entries of 46 bytes:
//! producer i64 | epoch i16 | last sequence i32 | last offset i64 | its batch's offset delta i32
//! last time i64 | coordinator's epoch i32 | first offset of the open transaction i64, or -1
//! ```
//! The order of the entries means nothing; here it is that of the ids.

use std::io;

use ottla_protocol::batch::crc32c;
use ottla_protocol::{DecodeError, Decoded, Reader, Writer};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::{AppendedBatch, Producer, ProducerState};

const SNAPSHOT_VERSION: i16 = 1;
const CRC_END: usize = 6;

impl ProducerState {
    /// The content of a `.snapshot` file.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.i16(SNAPSHOT_VERSION);
        writer.u32(0);
        writer.i32(i32::try_from(self.producers.len()).expect("fewer than 2^31 producers"));
        for (id, producer) in &self.producers {
            let last = producer.batches.last();
            writer.i64(id.0);
            writer.i16(producer.epoch.0);
            writer.i32(last.map_or(-1, |batch| batch.last_sequence));
            writer.i64(last.map_or(-1, |batch| batch.last_offset.0));
            writer.i32(last.map_or(0, |batch| batch.offset_delta));
            writer.i64(producer.last_timestamp.0);
            writer.i32(producer.coordinator_epoch);
            writer.i64(producer.transaction_start.map_or(-1, |start| start.0));
        }
        let mut bytes = writer.into_bytes();
        let crc = crc32c(&bytes[CRC_END..]);
        bytes[CRC_END - 4..CRC_END].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the content of a `.snapshot` file.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged; the state is then rebuilt from the log.
    pub fn from_snapshot(bytes: &[u8]) -> io::Result<ProducerState> {
        read(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn read(bytes: &[u8]) -> Decoded<ProducerState> {
    let mut reader = Reader::new(bytes);
    if reader.i16()? != SNAPSHOT_VERSION {
        return Err(DecodeError::UnsupportedVersion);
    }
    if reader.u32()? != crc32c(&bytes[CRC_END..]) {
        return Err(DecodeError::UnknownValue);
    }
    let mut state = ProducerState::default();
    for _ in 0..reader.i32()? {
        let id = ProducerId(reader.i64()?);
        let producer = read_producer(&mut reader)?;
        if let Some(start) = producer.transaction_start {
            state.open.insert(start, id);
        }
        state.producers.insert(id, producer);
    }
    if reader.remaining() > 0 { Err(DecodeError::TrailingBytes) } else { Ok(state) }
}

fn read_producer(reader: &mut Reader<'_>) -> Decoded<Producer> {
    let epoch = ProducerEpoch(reader.i16()?);
    let last_sequence = reader.i32()?;
    let last_offset = Offset(reader.i64()?);
    let offset_delta = reader.i32()?;
    let timestamp = Timestamp(reader.i64()?);
    let coordinator_epoch = reader.i32()?;
    let transaction_start = Offset(reader.i64()?);
    let batch = AppendedBatch { last_sequence, last_offset, offset_delta, timestamp };
    Ok(Producer {
        epoch,
        batches: (last_offset >= Offset::ZERO).then_some(batch).into_iter().collect(),
        last_timestamp: timestamp,
        coordinator_epoch,
        transaction_start: (transaction_start >= Offset::ZERO).then_some(transaction_start),
    })
}
