//! What it costs to look at the records of a produced batch, in this process and without a broker.
//!
//! Records of 100 bytes, 10,000 in a batch. Every figure is the least of many short passes: a pass
//! that was disturbed counts for nothing.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use ottla_config::{ProduceValidation, Properties, TopicConfig, Values};
use ottla_protocol::batch::{
    ATTRIBUTES_AT, BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, CRC_AT, LOG_OVERHEAD,
    crc32c,
};
use ottla_protocol::compression::{Codec, Compressor};
use ottla_replication::validation::{Rules, Workspace, validate_records};
use ottla_storage::IncomingBatch;
use ottla_types::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicPartition};

use crate::Failure;

const RECORDS: usize = 10_000;
const VALUE_LEN: usize = 100;
const TIME: Timestamp = Timestamp(1_700_000_000_000);
const PASSES: usize = 1000;

/// Prints nanoseconds for a record: the checksum, relaxed and strict validation, by codec.
pub fn measure() -> Result<(), Failure> {
    println!("| codec | bytes | checksum | relaxed | strict |\n|---|---|---|---|---|");
    let plain = plain_batch();
    let topic = TopicConfig::defaults(&Values::new(Properties::default())?);
    let partition = TopicPartition { topic: "t".into(), partition: PartitionId(0) };
    let mut workspace = Workspace::default();
    for codec in [Codec::None, Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)] {
        let bytes = compressed(&plain, codec)?;
        let header = BatchHeader::read_checked(&bytes)?;
        let checksum = least(|| {
            black_box(BatchHeader::read_checked(black_box(&bytes)).is_ok());
        });
        let mut validated = |validation| {
            let rules = Rules {
                topic: &topic,
                partition: &partition,
                validation,
                decompressed_bytes_max: usize::MAX,
                now: TIME,
            };
            least(|| {
                let batch = IncomingBatch { header, bytes: bytes.clone() };
                black_box(validate_records(batch, &rules, &mut workspace).is_ok());
            })
        };
        let relaxed = validated(ProduceValidation::Relaxed);
        let strict = validated(ProduceValidation::Strict);
        let (name, size) = (codec.compression(), bytes.len());
        println!("| {name:?} | {size} | {checksum:.1} | {relaxed:.1} | {strict:.1} |");
    }
    Ok(())
}

/// Nanoseconds for a record in the quickest pass.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the real clock")]
fn least(mut pass: impl FnMut()) -> f64 {
    let mut least = u128::MAX;
    for _ in 0..PASSES {
        let began = Instant::now();
        pass();
        least = least.min(began.elapsed().as_nanos());
    }
    least as f64 / RECORDS as f64
}

/// Letters drawn from sixteen: codecs find something, and not much.
fn plain_batch() -> Vec<u8> {
    let mut seed = 1u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (seed >> 28) as u8
    };
    let mut batch = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), TIME);
    for _ in 0..RECORDS {
        let value: Vec<u8> = (0..VALUE_LEN).map(|_| letter()).collect();
        batch.push(None, Some(&value));
    }
    batch.build()
}

fn compressed(plain: &[u8], codec: Codec) -> Result<Bytes, Failure> {
    let mut records = Compressor::new(codec, Vec::new())?;
    records.write_all(&plain[BATCH_OVERHEAD..])?;
    let mut batch = [&plain[..BATCH_OVERHEAD], &records.finish()?].concat();
    let length = i32::try_from(batch.len() - LOG_OVERHEAD)?;
    batch[8..LOG_OVERHEAD].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_AT + 1] |= codec.compression() as u8;
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(batch.into())
}
