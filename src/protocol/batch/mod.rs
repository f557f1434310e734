//! Record batches (magic 2): the header, the records inside, building them, and writing them anew.
//!
//! ```text
//!  0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64
//! 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 count i32 | 61 records
//! ```
//! The CRC-32C covers the bytes from 21 to the end, so the leader sets base offset and leader
//! epoch without touching it. Length counts from byte 12. Source: `DefaultRecordBatch`.

mod build;
mod compact;
mod header;
mod records;
mod rewrite;
mod walk;

pub use build::{BatchBuilder, BatchKind};
pub use compact::{
    CompactionBuffers, Kept, KeyVisitor, KeyedRecord, empty_batch, visit_keys, write_kept,
};
pub use header::{
    ATTRIBUTES_AT, Attributes, BATCH_OVERHEAD, BatchError, BatchHeader, CRC_AT, LOG_OVERHEAD,
    MAGIC_V2, RestampedHeader, TimestampType,
};
pub use records::{Record, RecordHeader, Records};
pub use rewrite::{RewriteGoal, Rewritten, rewrite_batch, with_max_timestamp};
pub use walk::{PieceBytes, RecordBody, RecordBytes, RecordFront, SliceBytes, WalkError, Walked};

/// CRC-32C (Castagnoli).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32C of bytes that come in pieces.
pub struct Crc32c(crc_fast::Digest);

impl Crc32c {
    /// Of no bytes so far.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "nothing asks for a default")]
    pub fn new() -> Crc32c {
        Crc32c(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize() as u32
    }
}
