//! The memory in which batches are validated: as many workspaces as batches are looked at at one
//! time, used again and again; and how long the thread that serves others may be kept by it.
//!
//! A batch is tried where its request is read, as long as little comes out of it. What would take
//! longer is left alone, and is looked at again, from the front, where it keeps nobody.

use std::sync::Mutex;

use ottla_config::{ProduceConfig, TopicConfig};
use ottla_storage::IncomingBatch;
use ottla_types::{Timestamp, TopicPartition};

use crate::validation::{Effort, Refusal, Rules, Workspace, effort, step_max, validate_records};

/// Whatever the limit says, a request may be decompressed to so many times its length.
const DECOMPRESSED_FACTOR: usize = 16;
/// Bytes that come out of the batches of a request while its thread is kept: so many times its
/// length, which is more than honest ones become, and within these.
const AT_ONCE_FACTOR: usize = 16;
const AT_ONCE_MIN: usize = 64 << 10;
const AT_ONCE_MAX: usize = 512 << 10;
/// Compressing takes so many times as long as decompressing, or more.
const REWRITE_FACTOR: usize = 4;

/// Validates the batches of clients.
pub struct Validator {
    config: ProduceConfig,
    /// Workspaces that nobody uses. Each is taken by one thread for one batch and given back, so
    /// that there are never more than threads.
    idle: Mutex<Vec<Workspace>>,
}

/// What the batches of a request may still become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Bytes that may come out of decompressors.
    left: usize,
    /// Those for which the thread may be kept; a batch that is compressed again counts several
    /// times.
    at_once: usize,
    at_once_max: usize,
}

impl Allowance {
    /// Others had their turn on the thread.
    pub fn begin_turn(&mut self) {
        self.at_once = self.at_once_max;
    }
}

/// Batch, what it is held to, and the time.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The batch; its header is good.
    pub batch: &'a IncomingBatch,
    /// The topic's configs.
    pub topic: &'a TopicConfig,
    /// The partition, for texts.
    pub partition: &'a TopicPartition,
    /// The time.
    pub now: Timestamp,
}

impl Validator {
    /// A validator without memory yet.
    #[must_use]
    pub fn new(config: ProduceConfig) -> Validator {
        Validator { config, idle: Mutex::default() }
    }

    /// What the batches of a request of `len` bytes may become.
    #[must_use]
    pub fn allowance(&self, len: usize) -> Allowance {
        let max = self.config.decompressed_bytes_max as usize;
        let at_once = len.saturating_mul(AT_ONCE_FACTOR).clamp(AT_ONCE_MIN, AT_ONCE_MAX);
        let left = max.max(len.saturating_mul(DECOMPRESSED_FACTOR));
        Allowance { left, at_once, at_once_max: at_once }
    }

    /// Does what [`Validator::validate`] does, if it takes little; `None`, and nothing is done, if
    /// it would take much.
    pub fn try_validate(
        &self,
        candidate: Candidate<'_>,
        allowance: &mut Allowance,
    ) -> Option<Result<IncomingBatch, Refusal>> {
        let rules = self.rules(candidate, allowance.left);
        let batch = candidate.batch;
        let factor = match effort(batch, &rules) {
            Effort::Walk => return Some(self.validate(candidate, allowance)),
            Effort::Decompress => 1,
            Effort::Rewrite => REWRITE_FACTOR,
        };
        let limit = (allowance.at_once / factor).min(allowance.left);
        let is_long = batch.bytes.len() > limit || step_max(batch) > allowance.at_once;
        if is_long && limit < allowance.left {
            return None;
        }
        let looked = self.look(batch, &Rules { decompressed_bytes_max: limit, ..rules });
        let took = looked.decompressed.max(batch.bytes.len());
        allowance.at_once = allowance.at_once.saturating_sub(took.saturating_mul(factor));
        if looked.overran && limit < allowance.left {
            return None;
        }
        allowance.left = allowance.left.saturating_sub(looked.decompressed);
        Some(looked.validated)
    }

    /// Checks the records of a batch whose header is good, and makes of it what is appended. Takes
    /// what they are when they are decompressed from `allowance`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn validate(
        &self,
        candidate: Candidate<'_>,
        allowance: &mut Allowance,
    ) -> Result<IncomingBatch, Refusal> {
        let looked = self.look(candidate.batch, &self.rules(candidate, allowance.left));
        allowance.left = allowance.left.saturating_sub(looked.decompressed);
        looked.validated
    }

    fn rules<'a>(&self, candidate: Candidate<'a>, decompressed_bytes_max: usize) -> Rules<'a> {
        let Candidate { topic, partition, now, .. } = candidate;
        let validation = self.config.validation;
        Rules { topic, partition, validation, decompressed_bytes_max, now }
    }

    fn look(&self, batch: &IncomingBatch, rules: &Rules<'_>) -> Looked {
        let idle = self.idle.lock().expect("never poisoned").pop();
        let mut workspace = idle.unwrap_or_default();
        let validated = validate_records(batch.clone(), rules, &mut workspace);
        workspace.trim();
        let decompressed = usize::try_from(workspace.take_decompressed()).unwrap_or(usize::MAX);
        let overran = workspace.take_overran();
        self.idle.lock().expect("never poisoned").push(workspace);
        Looked { validated, decompressed, overran }
    }
}

/// What came of a look into a batch.
struct Looked {
    validated: Result<IncomingBatch, Refusal>,
    /// Bytes that came out of it.
    decompressed: usize,
    /// Whether it was refused because more would have come.
    overran: bool,
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use ottla_config::{CompressionType, ProduceValidation, Properties, Values};
    use ottla_protocol::batch::{
        ATTRIBUTES_AT, BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, CRC_AT, LOG_OVERHEAD,
        crc32c,
    };
    use ottla_protocol::compression::{Codec, Compressor};
    use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId};

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    /// A batch of one record of `len` zeros.
    fn batch(len: usize, codec: Codec) -> IncomingBatch {
        let mut builder = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), NOW);
        builder.push(None, Some(&vec![0; len]));
        let plain = builder.build();
        let mut records = Compressor::new(codec, Vec::new()).unwrap();
        records.write_all(&plain[BATCH_OVERHEAD..]).unwrap();
        let mut bytes = [&plain[..BATCH_OVERHEAD], &records.finish().unwrap()].concat();
        let length = (bytes.len() - LOG_OVERHEAD) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[ATTRIBUTES_AT + 1] |= codec.compression() as u8;
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        let header = BatchHeader::read_checked(&bytes).unwrap();
        IncomingBatch { header, bytes: Bytes::from(bytes) }
    }

    struct Bench {
        validator: Validator,
        topic: TopicConfig,
        allowance: Allowance,
    }

    impl Bench {
        fn new(properties: &str, request_len: usize) -> Bench {
            let config = ProduceConfig {
                validation: ProduceValidation::Strict,
                decompressed_bytes_max: 64 << 20,
            };
            Bench::with(config, properties, request_len)
        }

        fn with(config: ProduceConfig, properties: &str, request_len: usize) -> Bench {
            let properties = Properties::parse(properties.as_bytes()).unwrap();
            let values = Values::new(properties).unwrap();
            let validator = Validator::new(config);
            let allowance = validator.allowance(request_len);
            Bench { validator, topic: TopicConfig::defaults(&values), allowance }
        }

        /// The outcome where others wait; `None` when it is to be looked at elsewhere.
        fn at_once(&mut self, batch: &IncomingBatch) -> Option<ErrorCode> {
            let partition = TopicPartition { topic: "t".into(), partition: PartitionId(0) };
            let candidate =
                Candidate { batch, topic: &self.topic, partition: &partition, now: NOW };
            let validated = self.validator.try_validate(candidate, &mut self.allowance)?;
            Some(validated.map_or_else(|refusal| refusal.code, |_| ErrorCode::None))
        }

        fn elsewhere(&mut self, batch: &IncomingBatch) -> ErrorCode {
            let partition = TopicPartition { topic: "t".into(), partition: PartitionId(0) };
            let candidate =
                Candidate { batch, topic: &self.topic, partition: &partition, now: NOW };
            let validated = self.validator.validate(candidate, &mut self.allowance);
            validated.map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
        }
    }

    #[test]
    fn what_becomes_large_is_left_for_elsewhere() {
        for codec in [Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)] {
            let mut bench = Bench::new("", 1000);
            let (small, large) = (batch(20 << 10, codec), batch(3 << 20, codec));
            assert_eq!(bench.at_once(&small), Some(ErrorCode::None), "{codec:?}");
            let before = bench.allowance.left;
            assert_eq!(bench.at_once(&large), None, "{codec:?}");
            assert_eq!(bench.allowance.left, before, "nothing is taken twice");
            assert_eq!(bench.elsewhere(&large), ErrorCode::None, "{codec:?}");
            assert!(bench.allowance.left <= before - (3 << 20));
        }
        let mut bench = Bench::new("", 4 << 20);
        assert_eq!(bench.at_once(&batch(3 << 20, Codec::None)), Some(ErrorCode::None));
    }

    #[test]
    fn small_ones_together_keep_the_thread_no_longer() {
        let mut bench = Bench::new("", 1000);
        let one = batch(20 << 10, Codec::Gzip(None));
        let tried: Vec<_> = (0..5).map(|_| bench.at_once(&one)).collect();
        let good = Some(ErrorCode::None);
        assert_eq!(tried, [good, good, good, None, None]);
        bench.allowance.begin_turn();
        assert_eq!(bench.at_once(&one), good);
    }

    #[test]
    fn compressing_again_counts_several_times() {
        let mut bench = Bench::new("compression.type=zstd", 60 << 10);
        assert!(matches!(bench.topic.compression.codec, CompressionType::Zstd));
        assert_eq!(bench.at_once(&batch(50 << 10, Codec::None)), Some(ErrorCode::None));
        let long = batch(200 << 10, Codec::None);
        assert_eq!(bench.at_once(&long), None);
        assert_eq!(bench.elsewhere(&long), ErrorCode::None);
    }

    #[test]
    fn the_limit_itself_refuses_at_once() {
        let validation = ProduceValidation::Strict;
        let config = ProduceConfig { validation, decompressed_bytes_max: 30_000 };
        let mut bench = Bench::with(config, "", 1000);
        let large = batch(40 << 10, Codec::Zstd(3));
        assert_eq!(bench.at_once(&large), Some(ErrorCode::MessageTooLarge));
    }

    #[test]
    fn relaxed_looks_at_nothing_and_keeps_nobody() {
        let validation = ProduceValidation::Relaxed;
        let config = ProduceConfig { validation, decompressed_bytes_max: 64 << 20 };
        let mut bench = Bench::with(config, "", 1000);
        let large = batch(3 << 20, Codec::Zstd(3));
        assert_eq!(bench.at_once(&large), Some(ErrorCode::None));
    }
}
