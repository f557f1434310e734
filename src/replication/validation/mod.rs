//! What the records of a client's batch must be before they are appended (Kafka's `LogValidator`).
//!
//! Size, checksum and header have been checked; here the records are walked over, decompressed
//! piece by piece where they are compressed, without the partition's lock and without memory that
//! grows with the batch. A batch whose header tells a wrong largest time gets the right one; one
//! whose codec is not the topic's is written anew.
//!
//! Strict looks at everything. Relaxed takes records unseen, so that a batch costs the same however
//! many there are, unless the header shows that they must be looked at (see [`Depth`]).
//!
//! Pure: bytes and the time in, a batch or a refusal out.

mod judge;

use std::borrow::Cow;

use bytes::Bytes;
use ottla_config::{CompressionType, ProduceValidation, TimestampSource, TopicConfig};
use ottla_protocol::DecodeError;
use ottla_protocol::batch::{
    BATCH_OVERHEAD, BatchHeader, PieceBytes, RecordBody, RecordBytes, RecordFront, RewriteGoal,
    Rewritten, SliceBytes, TimestampType, WalkError, Walked, rewrite_batch, with_max_timestamp,
};
use ottla_protocol::compression::{Codec, Compression, DecompressError, Decompressor, Scratch};
use ottla_storage::IncomingBatch;
use ottla_types::{ErrorCode, Timestamp, TopicPartition};

use judge::{Judge, RecordWord};

/// Decompressed bytes that are looked at at one time.
const WINDOW_LEN: usize = 64 << 10;
/// Errors of single records that an answer holds at most: each takes more bytes than the record
/// that it is about.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// What a batch is held to.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The topic's configs.
    pub topic: &'a TopicConfig,
    /// The partition, for texts.
    pub partition: &'a TopicPartition,
    /// How much is looked at.
    pub validation: ProduceValidation,
    /// Most bytes of the records when they are decompressed.
    pub decompressed_bytes_max: usize,
    /// The time.
    pub now: Timestamp,
}

/// Memory that one batch at a time is looked at in.
pub struct Workspace {
    window: Box<[u8]>,
    scratch: Scratch,
    /// Bytes that came out of decompressors.
    decompressed: u64,
    /// Whether more would have come than was allowed.
    overran: bool,
}

impl Default for Workspace {
    fn default() -> Workspace {
        let window = vec![0; WINDOW_LEN].into();
        Workspace { window, scratch: Scratch::default(), decompressed: 0, overran: false }
    }
}

impl Workspace {
    /// Gives back what an unusual batch took.
    pub fn trim(&mut self) {
        self.scratch.trim();
    }

    /// Bytes that were decompressed since it was asked last.
    pub fn take_decompressed(&mut self) -> u64 {
        std::mem::take(&mut self.decompressed)
    }

    /// Whether, since it was asked last, a batch was refused for what it would become.
    pub fn take_overran(&mut self) -> bool {
        std::mem::take(&mut self.overran)
    }
}

/// What is wrong with one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// Its place in the batch.
    pub index: i32,
    /// What is wrong.
    pub message: String,
}

/// Why a batch is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the client is told.
    pub code: ErrorCode,
    /// What it is told in words, where Kafka tells it something.
    pub message: Option<String>,
    /// The first of the records at fault, when single ones are.
    pub records: Vec<RecordError>,
    /// Why, for the log of the node.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal of which the client is told the code only.
    #[must_use]
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code, message: None, records: Vec::new(), reason: reason.into() }
    }

    /// `INVALID_RECORD`.
    #[must_use]
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(ErrorCode::InvalidRecord, reason)
    }

    fn told(code: ErrorCode, message: String) -> Refusal {
        Refusal { message: Some(message.clone()), ..Refusal::new(code, message) }
    }
}

/// How far into a batch is looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Depth {
    /// Its header only.
    Header,
    /// Everything.
    Full,
}

/// Checks the records of a batch whose header is good, and makes of it what is appended.
///
/// # Errors
/// Why it is refused.
pub fn validate_records(
    batch: IncomingBatch,
    rules: &Rules<'_>,
    workspace: &mut Workspace,
) -> Result<IncomingBatch, Refusal> {
    let source = batch.header.attributes.compression().unwrap_or(Compression::None);
    let target = target_codec(rules.topic, source);
    let walk = Walk { batch: &batch, source, rules };
    if walk.depth(target) == Depth::Header {
        return Ok(batch);
    }
    let in_place = source == target.compression();
    let passed_over = in_place && source != Compression::None;
    let word = if passed_over { RecordWord::Partial } else { RecordWord::Whole };
    let mut judge = Judge::new(&batch.header, rules, word);
    walk.over_records(workspace, |index, front, body| judge.see(index, front, body))
        .map_err(unreadable)?;
    let max_timestamp = judge.verdict()?;
    if in_place {
        return Ok(with_time_seen(batch, rules, max_timestamp));
    }
    rewrite(&batch, rules, target, max_timestamp, workspace)
}

/// How a look into a batch goes through its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// No codec has anything to do.
    Walk,
    /// The records are decompressed.
    Decompress,
    /// They are compressed again.
    Rewrite,
}

/// What [`validate_records`] will do with a batch.
#[must_use]
pub fn effort(batch: &IncomingBatch, rules: &Rules<'_>) -> Effort {
    let source = batch.header.attributes.compression().unwrap_or(Compression::None);
    let target = target_codec(rules.topic, source);
    match (Walk { batch, source, rules }).depth(target) {
        Depth::Full if source != target.compression() => Effort::Rewrite,
        Depth::Full if source != Compression::None => Effort::Decompress,
        Depth::Header | Depth::Full => Effort::Walk,
    }
}

/// Bytes that come out of the batch's decompressor at a time, whatever the limit.
#[must_use]
pub fn step_max(batch: &IncomingBatch) -> usize {
    let codec = batch.header.attributes.compression().unwrap_or(Compression::None);
    codec.step_max(&batch.bytes[BATCH_OVERHEAD..])
}

struct Walk<'a> {
    batch: &'a IncomingBatch,
    source: Compression,
    rules: &'a Rules<'a>,
}

impl Walk<'_> {
    fn depth(&self, target: Codec) -> Depth {
        let header = &self.batch.header;
        let own_time = header.attributes.timestamp_type() == TimestampType::CreateTime;
        let keeps_time = self.rules.topic.timestamp_source == TimestampSource::CreateTime;
        // Every record lies between these, if the header is right.
        let times_allowed = [header.base_timestamp, header.max_timestamp]
            .iter()
            .all(|time| judge::is_time_allowed(self.rules, *time));
        let must_look = header.max_timestamp == Timestamp::NONE
            || self.rules.topic.compacts
            || self.source != target.compression()
            || !own_time
            || (keeps_time && !times_allowed);
        match self.rules.validation {
            ProduceValidation::Strict => Depth::Full,
            ProduceValidation::Relaxed if must_look => Depth::Full,
            ProduceValidation::Relaxed => Depth::Header,
        }
    }

    fn over_records(
        &self,
        workspace: &mut Workspace,
        visit: impl FnMut(i32, &RecordFront, &RecordBody),
    ) -> Walked<()> {
        let header = &self.batch.header;
        let records = &self.batch.bytes[BATCH_OVERHEAD..header.size()];
        if self.source == Compression::None {
            return over_records(&mut SliceBytes::new(records), header.record_count, visit);
        }
        let len_max = self.rules.decompressed_bytes_max;
        let Workspace { window, scratch, decompressed, overran } = workspace;
        let decompressor = Decompressor::new(self.source, records, len_max, scratch)?;
        let mut pieces = PieceBytes::new(decompressor, window);
        let walked = over_records(&mut pieces, header.record_count, visit);
        *decompressed += pieces.position();
        *overran |= matches!(walked, Err(WalkError::Decompress(DecompressError::TooLarge)));
        walked
    }
}

/// Walks over all records: as many as the header says, and nothing behind them.
fn over_records(
    bytes: &mut impl RecordBytes,
    count: i32,
    mut visit: impl FnMut(i32, &RecordFront, &RecordBody),
) -> Walked<()> {
    for index in 0..count {
        let (front, body) = bytes.record()?;
        visit(index, &front, &body);
    }
    if bytes.is_at_end()? { Ok(()) } else { Err(DecodeError::TrailingBytes.into()) }
}

/// The batch with the largest time of its records, and the word that it is the producer's. Where
/// the broker sets the time, it does so when the batch is appended.
fn with_time_seen(batch: IncomingBatch, rules: &Rules<'_>, max: Timestamp) -> IncomingBatch {
    let header = &batch.header;
    let own_time = header.attributes.timestamp_type() == TimestampType::CreateTime;
    let right = own_time && header.max_timestamp == max;
    if right || rules.topic.timestamp_source == TimestampSource::LogAppendTime {
        return batch;
    }
    incoming(with_max_timestamp(&batch.bytes[..header.size()], max))
}

fn rewrite(
    batch: &IncomingBatch,
    rules: &Rules<'_>,
    target: Codec,
    max_timestamp: Timestamp,
    workspace: &mut Workspace,
) -> Result<IncomingBatch, Refusal> {
    let goal = RewriteGoal {
        codec: target,
        max_timestamp,
        size_max: rules.topic.message_bytes_max as usize,
        decompressed_max: rules.decompressed_bytes_max,
    };
    let Workspace { window, scratch, .. } = workspace;
    let rewritten = rewrite_batch(&batch.header, &batch.bytes, &goal, scratch, window);
    match rewritten.map_err(unreadable)? {
        Rewritten::Batch(bytes) => Ok(incoming(bytes)),
        Rewritten::TooLarge(size) => {
            let reason = format!("the batch has {size} bytes when it is compressed again");
            Err(Refusal::new(ErrorCode::MessageTooLarge, reason))
        }
    }
}

fn incoming(bytes: Vec<u8>) -> IncomingBatch {
    let header = BatchHeader::read(&bytes).expect("it was written here");
    IncomingBatch { header, bytes: Bytes::from(bytes) }
}

/// The codec that the topic keeps batches in, when they come with `source`.
fn target_codec(topic: &TopicConfig, source: Compression) -> Codec {
    let of = |compression| match compression {
        Compression::Gzip => Codec::Gzip(topic.compression.gzip_level),
        Compression::Zstd => Codec::Zstd(topic.compression.zstd_level),
        other => Codec::from(other),
    };
    match topic.compression.codec {
        CompressionType::Producer => Codec::from(source),
        CompressionType::Uncompressed => Codec::None,
        CompressionType::Gzip => of(Compression::Gzip),
        CompressionType::Snappy => Codec::Snappy,
        CompressionType::Lz4 => Codec::Lz4,
        CompressionType::Zstd => of(Compression::Zstd),
    }
}

fn unreadable(error: WalkError) -> Refusal {
    match error {
        WalkError::Record(error) => Refusal::invalid(error.to_string()),
        WalkError::Decompress(DecompressError::TooLarge) => Refusal::told(
            ErrorCode::MessageTooLarge,
            "The records exceed ottla.produce.decompressed.max.bytes".to_owned(),
        ),
        WalkError::Decompress(error) => Refusal::invalid(error.to_string()),
        WalkError::Compress(error) => {
            Refusal::new(ErrorCode::UnknownServerError, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
