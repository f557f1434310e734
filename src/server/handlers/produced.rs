//! What a client's batch must be before its records are looked at (`ProduceRequest`,
//! `UnifiedLog.analyzeAndValidateRecords`, `LogValidator.validateBatch`).
//!
//! Versions: those of Produce. Pure checks on the batch's bytes and header.
//!
//! Errors: `CORRUPT_MESSAGE` for a length below a header's, a magic that never was or a wrong
//! checksum; `INVALID_RECORD` for null, nothing, a cut batch, magic 0 or 1, a second batch, a base
//! offset, a control batch, a count that does not fit the offsets or a producer without sequence
//! numbers; `MESSAGE_TOO_LARGE`; `UNSUPPORTED_COMPRESSION_TYPE`. Kafka answers
//! `UNKNOWN_SERVER_ERROR` to a codec that does not exist and to a length near 2 GiB; here both are
//! `INVALID_RECORD`, which no client tries again.

use bytes::Bytes;
use ottla_config::TopicConfig;
use ottla_protocol::batch::{BatchError, BatchHeader, LOG_OVERHEAD};
use ottla_protocol::compression::Compression;
use ottla_protocol::produce::ProduceRequest;
use ottla_replication::validation::Refusal;
use ottla_storage::IncomingBatch;
use ottla_types::{ErrorCode, Offset};

const ZSTD_FROM: i16 = 7;
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const NEWEST_MAGIC: u8 = 2;
/// Bytes of the shortest record of magic 0 (`LegacyRecord.RECORD_OVERHEAD_V0`).
const OLDEST_RECORD_MIN: i32 = 14;

/// The one batch that the records of a partition must be, not looked at yet.
///
/// # Errors
/// Why they are refused.
pub fn one_batch(records: Option<&Bytes>, version: i16) -> Result<Bytes, Refusal> {
    let records = records.ok_or_else(|| Refusal::invalid("the records are null"))?;
    let size = front_batch(records)?.ok_or_else(|| Refusal::invalid("there is no whole batch"))?;
    if front_batch(&records[size..])?.is_some() {
        return Err(Refusal::invalid("there is more than one batch"));
    }
    let header = BatchHeader::read(&records[..size]).map_err(unreadable)?;
    check_compression(&header, version)?;
    Ok(records.slice(..size))
}

/// Checks size, checksum and header of a batch.
///
/// # Errors
/// Why it is refused.
pub fn check_batch(batch: Bytes, config: &TopicConfig) -> Result<IncomingBatch, Refusal> {
    let header = BatchHeader::read(&batch).map_err(unreadable)?;
    if header.base_offset != Offset::ZERO {
        return Err(Refusal::invalid("the base offset is not 0"));
    }
    if batch.len() > config.message_bytes_max as usize {
        return Err(Refusal::new(ErrorCode::MessageTooLarge, "it exceeds max.message.bytes"));
    }
    BatchHeader::read_checked(&batch).map_err(unreadable)?;
    check_header(&header)?;
    Ok(IncomingBatch { header, bytes: batch })
}

/// Size of the whole batch at the front, if one is there (`ByteBufferLogInputStream`): a cut one
/// counts as none.
fn front_batch(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    front_size(bytes).map_err(|reason| Refusal::new(ErrorCode::CorruptMessage, reason))
}

/// As [`front_batch`]; why there cannot be a batch is said in Kafka's words.
fn front_size(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(length) = bytes.get(LENGTH_AT..LOG_OVERHEAD) else { return Ok(None) };
    let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
    if length < OLDEST_RECORD_MIN {
        let min = OLDEST_RECORD_MIN;
        return Err(format!(
            "Record size {length} is less than the minimum record overhead ({min})"
        ));
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if *magic > NEWEST_MAGIC {
        return Err(format!("Invalid magic found in record: {}", magic.cast_signed()));
    }
    let size = LOG_OVERHEAD + length.unsigned_abs() as usize;
    Ok((size <= bytes.len()).then_some(size))
}

/// What the first batches of a request say before its topics are looked at.
pub enum Fronts {
    /// Nothing in particular.
    Plain,
    /// One belongs to a transaction.
    Transactional,
    /// One cannot be a batch: all of the request is refused.
    Unreadable(Refusal),
}

/// Kafka looks at the first batch of each partition for one that belongs to a transaction, and
/// fails at one that cannot be.
pub fn fronts(request: &ProduceRequest) -> Fronts {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    for records in partitions.filter_map(|partition| partition.records.as_ref()) {
        match front_size(records) {
            Ok(Some(size)) => {
                let header = BatchHeader::read(&records[..size]);
                if header.is_ok_and(|header| header.attributes.is_transactional()) {
                    return Fronts::Transactional;
                }
            }
            Ok(None) => {}
            Err(reason) => {
                let refusal = Refusal::new(ErrorCode::CorruptMessage, reason.clone());
                return Fronts::Unreadable(Refusal { message: Some(reason), ..refusal });
            }
        }
    }
    Fronts::Plain
}

fn check_compression(header: &BatchHeader, version: i16) -> Result<(), Refusal> {
    let compression = header.attributes.compression();
    let compression = compression.ok_or_else(|| Refusal::invalid("no codec has this number"))?;
    if compression == Compression::Zstd && version < ZSTD_FROM {
        let reason = "zstd needs version 7";
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, reason));
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    if header.record_count <= 0 || header.last_offset_delta != header.record_count - 1 {
        return Err(Refusal::invalid("the count of records does not fit their offsets"));
    }
    if header.attributes.is_control() {
        return Err(Refusal::invalid("clients do not write control records"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(Refusal::invalid("a producer with an id needs sequence numbers"));
    }
    Ok(())
}

fn unreadable(error: BatchError) -> Refusal {
    match error {
        BatchError::UnsupportedMagic(_) => Refusal::invalid("only batches of magic 2 are taken"),
        BatchError::Truncated | BatchError::BadLength | BatchError::BadCrc => {
            Refusal::new(ErrorCode::CorruptMessage, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::{Properties, Values};
    use ottla_protocol::batch::{BatchBuilder, BatchKind, crc32c};
    use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId, Timestamp};

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

    fn code_of(records: &[u8], config: &TopicConfig, version: i16) -> ErrorCode {
        let records = Bytes::copy_from_slice(records);
        let checked = one_batch(Some(&records), version);
        match checked.and_then(|batch| check_batch(batch, config)) {
            Ok(_) => ErrorCode::None,
            Err(refused) => refused.code,
        }
    }

    fn code(records: &[u8]) -> ErrorCode {
        code_of(records, &config(), 9)
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
        assert!(one_batch(None, 9).is_err());
        check(&changed(7, &[1]), ErrorCode::InvalidRecord, "base offset 1");
        let small = TopicConfig { message_bytes_max: 70, ..config() };
        assert_eq!(code_of(&batch(), &small, 9), ErrorCode::MessageTooLarge);
        let zstd = code_of(&changed(22, &[4]), &config(), 6);
        assert_eq!(zstd, ErrorCode::UnsupportedCompressionType);
    }
}
