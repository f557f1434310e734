//! Record batches (magic 2): the header, the records inside, and building them.
//!
//! ```text
//!  0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64
//! 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 count i32 | 61 records
//! ```
//! The CRC-32C covers the bytes from 21 to the end, so the leader sets base offset and leader
//! epoch without touching it. Length counts from byte 12. Source: `DefaultRecordBatch`.

mod build;
mod header;
mod records;

pub use build::{BatchBuilder, BatchKind};
pub use header::{
    ATTRIBUTES_AT, Attributes, BATCH_OVERHEAD, BatchError, BatchHeader, CRC_AT, LOG_OVERHEAD,
    MAGIC_V2, RestampedHeader, TimestampType,
};
pub use records::{Record, RecordHeader, Records};

/// CRC-32C (Castagnoli).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
