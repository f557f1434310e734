//! What a client's batch must be before a partition looks at it (`LogValidator`, `ProduceRequest`).
//!
//! Versions: those of Produce. Pure checks on the batch's bytes and header; records inside a batch
//! are not looked at.
//!
//! Errors: `CORRUPT_MESSAGE` for a length below a header's, a magic that never was or a wrong
//! checksum; `INVALID_RECORD` for null, nothing, a cut batch, magic 0 or 1, a second batch, a
//! control batch, a count that does not fit the offsets or a producer without sequence numbers;
//! `MESSAGE_TOO_LARGE`; `INVALID_TIMESTAMP` for a client that claims the broker's time in a topic
//! of the broker's time; `UNSUPPORTED_COMPRESSION_TYPE`; `INVALID_TXN_STATE` for a transactional
//! batch. Kafka answers `UNKNOWN_SERVER_ERROR` to a codec that does not exist and to a length near
//! 2 GiB; here both are `INVALID_RECORD`, which no client tries again.

use bytes::Bytes;
use ottla_config::{TimestampSource, TopicConfig};
use ottla_protocol::batch::{
    ATTRIBUTES_AT, BatchError, BatchHeader, CRC_AT, LOG_OVERHEAD, TimestampType, crc32c,
};
use ottla_protocol::compression::Compression;
use ottla_storage::IncomingBatch;
use ottla_types::ErrorCode;

const ZSTD_FROM: i16 = 7;
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const NEWEST_MAGIC: u8 = 2;
/// Bytes of the shortest record of magic 0 (`LegacyRecord.RECORD_OVERHEAD_V0`).
const OLDEST_RECORD_MIN: i32 = 14;
/// The attribute in the lower byte.
const LOG_APPEND_TIME: u8 = 1 << 3;

/// Why a batch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// What the client is told.
    pub code: ErrorCode,
    /// Why, in words.
    pub message: Option<&'static str>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: None }
    }
}

fn invalid(message: &'static str) -> Refused {
    Refused { code: ErrorCode::InvalidRecord, message: Some(message) }
}

/// Checks the records of one partition: they must be one sound batch.
///
/// # Errors
/// Why they are refused.
pub fn check_batch(
    records: Option<&Bytes>,
    config: &TopicConfig,
    version: i16,
) -> Result<IncomingBatch, Refused> {
    let records = records.ok_or_else(|| invalid("the records are null"))?;
    let size = front_batch(records)?.ok_or_else(|| invalid("there is no whole batch"))?;
    if front_batch(&records[size..])?.is_some() {
        return Err(invalid("there is more than one batch"));
    }
    let header = BatchHeader::read(&records[..size]).map_err(unreadable)?;
    check_compression(&header, version)?;
    if size > config.message_bytes_max as usize {
        return Err(ErrorCode::MessageTooLarge.into());
    }
    BatchHeader::read_checked(records).map_err(unreadable)?;
    check_header(&header, config)?;
    let bytes = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => records.clone(),
        TimestampType::LogAppendTime => with_own_time(&records[..size]),
    };
    let header = BatchHeader::read(&bytes).map_err(unreadable)?;
    Ok(IncomingBatch { header, bytes })
}

/// Size of the whole batch at the front, if one is there (`ByteBufferLogInputStream`): a cut one
/// counts as none.
fn front_batch(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    let Some(length) = bytes.get(LENGTH_AT..LOG_OVERHEAD) else { return Ok(None) };
    let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
    if length < OLDEST_RECORD_MIN {
        return Err(ErrorCode::CorruptMessage.into());
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if *magic > NEWEST_MAGIC {
        return Err(ErrorCode::CorruptMessage.into());
    }
    let size = LOG_OVERHEAD + length.unsigned_abs() as usize;
    Ok((size <= bytes.len()).then_some(size))
}

fn check_compression(header: &BatchHeader, version: i16) -> Result<(), Refused> {
    let compression = header.attributes.compression();
    let compression = compression.ok_or_else(|| invalid("no codec has this number"))?;
    if compression == Compression::Zstd && version < ZSTD_FROM {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    Ok(())
}

fn check_header(header: &BatchHeader, config: &TopicConfig) -> Result<(), Refused> {
    if header.record_count <= 0 || header.last_offset_delta != header.record_count - 1 {
        return Err(invalid("the count of records does not fit their offsets"));
    }
    if header.attributes.is_control() {
        return Err(invalid("clients do not write control records"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(invalid("a producer with an id needs sequence numbers"));
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime
        && config.timestamp_source == TimestampSource::LogAppendTime
    {
        return Err(ErrorCode::InvalidTimestamp.into());
    }
    if header.attributes.is_transactional() {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    Ok(())
}

/// The batch with times that are the producer's: Kafka corrects a claim that they are the broker's
/// where the topic keeps producers' times.
fn with_own_time(batch: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[ATTRIBUTES_AT + 1] &= !LOG_APPEND_TIME;
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

fn unreadable(error: BatchError) -> Refused {
    match error {
        BatchError::UnsupportedMagic(_) => invalid("only batches of magic 2 are taken"),
        BatchError::Truncated | BatchError::BadLength | BatchError::BadCrc => {
            ErrorCode::CorruptMessage.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::{Properties, Values};
    use ottla_protocol::batch::{BatchBuilder, BatchKind};
    use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

    use super::*;

    fn config() -> TopicConfig {
        TopicConfig::defaults(&Values::new(Properties::default()).expect("defaults are valid"))
    }

    fn batch() -> Vec<u8> {
        let (kind, epoch) = (BatchKind::Data, LeaderEpoch(-1));
        let mut builder = BatchBuilder::new(kind, Offset(0), epoch, Timestamp(1000));
        builder.push(None, Some(b"value"));
        builder.push(None, None);
        builder.build()
    }

    /// The batch with bytes changed and its checksum made right again.
    fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut batch = batch();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    fn code(records: &[u8]) -> ErrorCode {
        let records = Bytes::copy_from_slice(records);
        match check_batch(Some(&records), &config(), 9) {
            Ok(_) => ErrorCode::None,
            Err(refused) => refused.code,
        }
    }

    #[test]
    fn one_sound_batch_is_taken() {
        assert_eq!(code(&batch()), ErrorCode::None);
        let with_rest = [batch(), vec![0; 11]].concat();
        assert_eq!(code(&with_rest), ErrorCode::None, "a rest that is no batch is ignored");
    }

    #[test]
    fn everything_else_is_refused() {
        let check = |records: &[u8], expected: ErrorCode, why: &str| {
            assert_eq!(code(records), expected, "{why}");
        };
        check(&[], ErrorCode::InvalidRecord, "nothing");
        check(&batch()[..11], ErrorCode::InvalidRecord, "not even a length");
        check(&batch()[..16], ErrorCode::InvalidRecord, "no magic");
        check(&batch()[..40], ErrorCode::InvalidRecord, "cut");
        check(&[batch(), vec![0; 12]].concat(), ErrorCode::CorruptMessage, "a bad length behind");
        check(&[batch(), batch()].concat(), ErrorCode::InvalidRecord, "two batches");
        check(&changed(16, &[1]), ErrorCode::InvalidRecord, "magic 1");
        check(&changed(8, &[0, 0, 0, 40]), ErrorCode::CorruptMessage, "short length");
        check(&changed(8, &[0, 0, 0, 13]), ErrorCode::CorruptMessage, "shorter than any record");
        check(&changed(8, &[0x7f, 0, 0, 0]), ErrorCode::InvalidRecord, "long length");
        check(&changed(16, &[3]), ErrorCode::CorruptMessage, "magic 3");
        check(&changed(22, &[5]), ErrorCode::InvalidRecord, "codec 5");
        check(&changed(22, &[16]), ErrorCode::InvalidTxnState, "transactional");
        check(&changed(22, &[32]), ErrorCode::InvalidRecord, "control");
        check(&changed(57, &[0, 0, 0, 3]), ErrorCode::InvalidRecord, "count above the offsets");
        check(&changed(57, &[0, 0, 0, 0]), ErrorCode::InvalidRecord, "count 0");
        check(&changed(57, &[0xff; 4]), ErrorCode::InvalidRecord, "count -1");
        let mut bad_crc = batch();
        bad_crc[17] ^= 1;
        check(&bad_crc, ErrorCode::CorruptMessage, "checksum");
        let mut unsequenced =
            BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), Timestamp(1))
                .with_producer(ProducerId(1), ProducerEpoch(0), -1);
        unsequenced.push(None, None);
        check(&unsequenced.build(), ErrorCode::InvalidRecord, "a producer without sequence");
        assert!(check_batch(None, &config(), 9).is_err());
        let small = TopicConfig { message_bytes_max: 70, ..config() };
        let refused = check_batch(Some(&batch().into()), &small, 9).err().map(|r| r.code);
        assert_eq!(refused, Some(ErrorCode::MessageTooLarge));
        let zstd = check_batch(Some(&changed(22, &[4]).into()), &config(), 6).err().map(|r| r.code);
        assert_eq!(zstd, Some(ErrorCode::UnsupportedCompressionType));
    }

    #[test]
    fn only_the_broker_says_that_a_time_is_its_own() {
        let claims = Bytes::from(changed(22, &[8]));
        let taken = check_batch(Some(&claims), &config(), 9).expect("corrected");
        assert_eq!(taken.bytes, batch(), "the time is the producer's");
        let source = TimestampSource::LogAppendTime;
        let stamped = TopicConfig { timestamp_source: source, ..config() };
        let refused = check_batch(Some(&claims), &stamped, 9).err().map(|r| r.code);
        assert_eq!(refused, Some(ErrorCode::InvalidTimestamp));
    }
}
