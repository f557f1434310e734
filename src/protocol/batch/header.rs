//! The 61 bytes at the front of a batch.

use std::fmt;

use crc_fast::{CrcAlgorithm, checksum_combine};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::crc32c;
use crate::codec::{Decoded, Reader};
use crate::compression::Compression;

/// Bytes of a batch without its records.
pub const BATCH_OVERHEAD: usize = 61;
/// Bytes of base offset and length, which the length does not count.
pub const LOG_OVERHEAD: usize = 12;
/// The only magic that is written since Kafka 0.11.
pub const MAGIC_V2: i8 = 2;

pub(super) const EPOCH_AT: usize = 12;
/// Where the checksum stands; it covers everything from [`ATTRIBUTES_AT`] on.
pub const CRC_AT: usize = 17;
/// Where the attributes stand.
pub const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;

/// What is wrong with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchError {
    /// Fewer bytes than the batch claims, or than any batch has.
    Truncated,
    /// The length field is below what a header takes.
    BadLength,
    /// Another magic than 2.
    UnsupportedMagic(i8),
    /// The checksum does not fit the bytes.
    BadCrc,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Truncated => f.write_str("the batch is cut"),
            BatchError::BadLength => f.write_str("the batch's length is below its header's"),
            BatchError::UnsupportedMagic(magic) => write!(f, "magic {magic} is not supported"),
            BatchError::BadCrc => f.write_str("the batch's checksum is wrong"),
        }
    }
}

impl std::error::Error for BatchError {}

/// Who set a batch's timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// The producer, record by record.
    CreateTime,
    /// The broker, for the whole batch.
    LogAppendTime,
}

/// The flags of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Attributes(pub i16);

impl Attributes {
    const TIMESTAMP_TYPE: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Codec of the records; `None` for a number that no codec has.
    #[must_use]
    pub fn compression(self) -> Option<Compression> {
        Compression::from_code(self.0 & 7)
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Attributes::TIMESTAMP_TYPE == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records instead of data.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether the base timestamp is the time at which compaction may drop the batch's tombstones
    /// (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }

    /// With, or without, the flag of a delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self, set: bool) -> Attributes {
        let others = self.0 & !Attributes::DELETE_HORIZON;
        Attributes(if set { others | Attributes::DELETE_HORIZON } else { others })
    }

    /// Those of the same batch when it has lost its records.
    #[must_use]
    pub fn without_records(self) -> Attributes {
        Attributes(self.0 & !7).with_delete_horizon(false)
    }

    /// With the flag of control batches.
    #[must_use]
    pub fn with_control(self) -> Attributes {
        Attributes(self.0 | Attributes::CONTROL)
    }

    /// With the flag of a transaction.
    #[must_use]
    pub fn with_transactional(self) -> Attributes {
        Attributes(self.0 | Attributes::TRANSACTIONAL)
    }

    /// With the flag of who set the timestamps.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        match timestamp_type {
            TimestampType::CreateTime => Attributes(self.0 & !Attributes::TIMESTAMP_TYPE),
            TimestampType::LogAppendTime => Attributes(self.0 | Attributes::TIMESTAMP_TYPE),
        }
    }
}

/// A batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record (also when compaction has removed it).
    pub base_offset: Offset,
    /// Bytes behind the length field.
    pub length: i32,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// Checksum of everything behind it.
    pub crc: u32,
    /// Flags.
    pub attributes: Attributes,
    /// Last offset less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// Producer, or none.
    pub producer_id: ProducerId,
    /// Generation of the producer id.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. The records behind it need not be there.
    ///
    /// # Errors
    /// `Truncated`, `UnsupportedMagic`, `BadLength`.
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // Magic stands in the same place in every format.
        let magic = *bytes.get(16).ok_or(BatchError::Truncated)? as i8;
        if magic != MAGIC_V2 {
            return Err(BatchError::UnsupportedMagic(magic));
        }
        let header = BatchHeader::fields(bytes).map_err(|_| BatchError::Truncated)?;
        if header.length < (BATCH_OVERHEAD - LOG_OVERHEAD) as i32 {
            return Err(BatchError::BadLength);
        }
        Ok(header)
    }

    fn fields(bytes: &[u8]) -> Decoded<BatchHeader> {
        let mut reader = Reader::new(bytes);
        Ok(BatchHeader {
            base_offset: Offset(reader.i64()?),
            length: reader.i32()?,
            leader_epoch: LeaderEpoch(reader.i32()?),
            crc: {
                reader.i8()?;
                reader.u32()?
            },
            attributes: Attributes(reader.i16()?),
            last_offset_delta: reader.i32()?,
            base_timestamp: Timestamp(reader.i64()?),
            max_timestamp: Timestamp(reader.i64()?),
            producer_id: ProducerId(reader.i64()?),
            producer_epoch: ProducerEpoch(reader.i16()?),
            base_sequence: reader.i32()?,
            record_count: reader.i32()?,
        })
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.length as usize
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Offset behind the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Whether the batch has, or had before compaction, a record at `offset`.
    #[must_use]
    pub fn holds(&self, offset: Offset) -> bool {
        self.base_offset <= offset && offset <= self.last_offset()
    }

    /// Sequence number of the last record; -1 without sequence numbers. They wrap at 2^31.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Time of a record whose delta this is: the producer's, or the batch's when the broker set it.
    #[must_use]
    pub fn timestamp_of(&self, delta: i64) -> Timestamp {
        match self.attributes.timestamp_type() {
            TimestampType::LogAppendTime => self.max_timestamp,
            TimestampType::CreateTime => Timestamp(self.base_timestamp.0.wrapping_add(delta)),
        }
    }

    /// Whether the batch carries a producer id.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > ProducerId::NONE
    }

    /// Reads the header of the batch at the front of `bytes` and compares its checksum.
    ///
    /// # Errors
    /// Those of [`BatchHeader::read`]; `Truncated` when records are missing; `BadCrc`.
    pub fn read_checked(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::read(bytes)?;
        let batch = bytes.get(..header.size()).ok_or(BatchError::Truncated)?;
        if crc32c(&batch[ATTRIBUTES_AT..]) != header.crc {
            return Err(BatchError::BadCrc);
        }
        Ok(header)
    }
}

/// The front of a batch as the leader writes it, while its records stay where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestampedHeader(pub [u8; BATCH_OVERHEAD]);

impl RestampedHeader {
    /// The header of `batch` with the leader's base offset and epoch; the checksum stays good.
    ///
    /// # Panics
    /// When `batch` is shorter than a header; callers have read it.
    #[must_use]
    pub fn new(batch: &[u8], base_offset: Offset, epoch: LeaderEpoch) -> RestampedHeader {
        let mut bytes: [u8; BATCH_OVERHEAD] =
            batch[..BATCH_OVERHEAD].try_into().expect("the length is given");
        bytes[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        bytes[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&epoch.0.to_be_bytes());
        RestampedHeader(bytes)
    }

    /// Sets the broker's time for all records (`LogAppendTime`). `records_crc` is the checksum of
    /// the bytes behind the header, so that they need not be read again.
    #[must_use]
    pub fn with_log_append_time(
        mut self,
        now: Timestamp,
        records_crc: u32,
        records_len: usize,
    ) -> RestampedHeader {
        let bytes = &mut self.0;
        let attributes = i16::from_be_bytes([bytes[ATTRIBUTES_AT], bytes[ATTRIBUTES_AT + 1]]);
        let attributes = Attributes(attributes).with_timestamp_type(TimestampType::LogAppendTime);
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.0.to_be_bytes());
        let head = u64::from(crc32c(&bytes[ATTRIBUTES_AT..]));
        let records_len = records_len as u64;
        let whole =
            checksum_combine(CrcAlgorithm::Crc32Iscsi, head, u64::from(records_crc), records_len);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&(whole as u32).to_be_bytes());
        self
    }
}
