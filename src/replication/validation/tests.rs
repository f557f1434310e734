//! What is taken, what is refused, and what a batch looks like afterwards. What Kafka answers to
//! each case over the wire stands in `tests/it/validation`; here is what no client can reach today
//! (compacted topics), what Kafka does not have (relaxed, limits), and what holds for any batch.

use std::io::Write;

use ottla_config::{CompressionConfig, Properties, Values};
use ottla_protocol::batch::{ATTRIBUTES_AT, BatchBuilder, BatchKind, CRC_AT, Records, crc32c};
use ottla_protocol::compression::Compressor;
use ottla_types::{LeaderEpoch, Offset, PartitionId};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn topic() -> TopicConfig {
    TopicConfig::defaults(&Values::new(Properties::default()).expect("defaults are valid"))
}

struct Bench {
    topic: TopicConfig,
    partition: TopicPartition,
    validation: ProduceValidation,
    decompressed_bytes_max: usize,
    workspace: Workspace,
}

impl Bench {
    fn new(topic: TopicConfig) -> Bench {
        Bench {
            topic,
            partition: TopicPartition { topic: "t".into(), partition: PartitionId(3) },
            validation: ProduceValidation::Strict,
            decompressed_bytes_max: 64 << 20,
            workspace: Workspace::default(),
        }
    }

    fn relaxed(self) -> Bench {
        Bench { validation: ProduceValidation::Relaxed, ..self }
    }

    fn judge(&mut self, batch: &[u8]) -> Result<IncomingBatch, Refusal> {
        let rules = Rules {
            topic: &self.topic,
            partition: &self.partition,
            validation: self.validation,
            decompressed_bytes_max: self.decompressed_bytes_max,
            now: NOW,
        };
        let bytes = Bytes::copy_from_slice(batch);
        let header = BatchHeader::read_checked(&bytes).expect("a sound header");
        validate_records(IncomingBatch { header, bytes }, &rules, &mut self.workspace)
    }

    fn code(&mut self, batch: &[u8]) -> ErrorCode {
        self.judge(batch).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
    }
}

fn builder() -> BatchBuilder {
    BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), NOW)
}

fn batch_of(values: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = builder();
    for (index, value) in values.iter().enumerate() {
        let time = Timestamp(NOW.0 - index as i64 * 1000);
        builder.push_with_headers(time, Some(b"key"), Some(value), &[("h", None)]);
    }
    builder.build()
}

fn with_checksum(mut batch: Vec<u8>) -> Vec<u8> {
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn compressed(batch: &[u8], codec: Compression) -> Vec<u8> {
    let mut records = Compressor::new(codec.into(), Vec::new()).unwrap();
    records.write_all(&batch[BATCH_OVERHEAD..]).unwrap();
    let mut out = batch[..BATCH_OVERHEAD].to_vec();
    out.extend(records.finish().unwrap());
    out[ATTRIBUTES_AT + 1] |= codec as u8;
    with_checksum(out)
}

/// Offsets, times, keys and values.
type Content = Vec<(i64, i64, Option<Vec<u8>>, Option<Vec<u8>>)>;

fn content(batch: &IncomingBatch) -> Content {
    let header = BatchHeader::read_checked(&batch.bytes).expect("the checksum is good");
    assert_eq!(header, batch.header);
    let codec = header.attributes.compression().expect("a codec");
    let records = codec.decompress(&batch.bytes[BATCH_OVERHEAD..header.size()], 1 << 30).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Records::new(&header, &records)
        .map(|record| record.expect("a record"))
        .map(|record| (record.offset.0, record.timestamp.0, owned(record.key), owned(record.value)))
        .collect()
}

/// Values of many sizes, some larger than the window, none of them alike.
fn values() -> Vec<Vec<u8>> {
    let sizes = [0, 1, 100, 63 << 10, 3, 64 << 10, 200_000, 7, (64 << 10) - 30, 1000];
    let mut seed = 7u32;
    let mut byte = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 28) as u8
    };
    sizes.into_iter().map(|size| (0..size).map(|_| byte()).collect()).collect()
}

fn to(codec: CompressionType) -> TopicConfig {
    let compression = CompressionConfig { codec, ..topic().compression };
    TopicConfig { compression, ..topic() }
}

#[test]
fn every_codec_is_taken_and_kept_or_changed_into_every_other() {
    let plain = batch_of(&values());
    let expected = content(&Bench::new(topic()).judge(&plain).expect("good"));
    assert_eq!(expected.len(), values().len());
    let targets = [
        (CompressionType::Producer, None),
        (CompressionType::Uncompressed, Some(Compression::None)),
        (CompressionType::Gzip, Some(Compression::Gzip)),
        (CompressionType::Snappy, Some(Compression::Snappy)),
        (CompressionType::Lz4, Some(Compression::Lz4)),
        (CompressionType::Zstd, Some(Compression::Zstd)),
    ];
    for source in CODECS {
        let batch = compressed(&plain, source);
        for (codec, target) in targets {
            let taken = Bench::new(to(codec)).judge(&batch).expect("good");
            let stored = taken.header.attributes.compression();
            assert_eq!(stored, Some(target.unwrap_or(source)));
            assert_eq!(content(&taken), expected, "{source:?} to {codec:?}");
            if target.is_none_or(|target| target == source) {
                assert_eq!(taken.bytes, batch, "what need not change does not");
            }
        }
    }
}

#[test]
fn a_changed_batch_may_be_too_large() {
    let batch = compressed(&batch_of(&[vec![b'x'; 20_000]]), Compression::Gzip);
    let config = TopicConfig { message_bytes_max: 10_000, ..to(CompressionType::Uncompressed) };
    assert_eq!(Bench::new(config).code(&batch), ErrorCode::MessageTooLarge);
}

#[test]
fn the_level_is_the_topics() {
    let words: Vec<Vec<u8>> =
        (0..2000u32).map(|i| format!("word {} of many", i * 7919 % 1000).into_bytes()).collect();
    let batch = batch_of(&words);
    let size = |codec, gzip_level, zstd_level| {
        let compression =
            CompressionConfig { codec, gzip_level, zstd_level, ..topic().compression };
        Bench::new(TopicConfig { compression, ..topic() }).judge(&batch).expect("good").bytes.len()
    };
    assert!(size(CompressionType::Gzip, Some(1), 3) > size(CompressionType::Gzip, Some(9), 3));
    assert!(size(CompressionType::Zstd, None, -50) > size(CompressionType::Zstd, None, 19));
    let hardest = size(CompressionType::Zstd, None, 22);
    assert!(hardest <= size(CompressionType::Zstd, None, 1), "and its window can be read");
}

#[test]
fn compacted_topics_want_keys() {
    let compacted = || TopicConfig { compacts: true, ..topic() };
    let mut keyed = builder();
    keyed.push(Some(b""), None);
    let keyed = keyed.build();
    let mut keyless = builder();
    keyless.push(Some(b"k"), None);
    keyless.push(None, Some(b"v"));
    let keyless = keyless.build();
    for codec in CODECS {
        for bench in [Bench::new(compacted()), Bench::new(compacted()).relaxed()] {
            let mut bench = bench;
            assert_eq!(bench.code(&compressed(&keyed, codec)), ErrorCode::None, "{codec:?}");
            let refusal = bench.judge(&compressed(&keyless, codec)).err().expect("no key");
            assert_eq!(refusal.code, ErrorCode::InvalidRecord);
            let text = "Compacted topic cannot accept message without key in topic partition t-3";
            let record = RecordError { index: 1, message: text.to_owned() };
            assert_eq!(refusal.records, [record]);
            let message = format!(
                "One or more records have been rejected due to 1 record errors in total, and only \
                 showing the first three errors at most: [RecordError(batchIndex=1, \
                 message='{text}')]"
            );
            assert_eq!(refusal.message, Some(message));
        }
        assert_eq!(Bench::new(topic()).code(&compressed(&keyless, codec)), ErrorCode::None);
    }
}

#[test]
fn an_answer_names_a_thousand_records_and_counts_all() {
    let mut keyless = builder();
    (0..5000).for_each(|_| keyless.push(None, None));
    let compacted = TopicConfig { compacts: true, ..topic() };
    let refusal = Bench::new(compacted).judge(&keyless.build()).err().expect("no keys");
    assert_eq!(refusal.records.len(), RECORD_ERRORS_MAX);
    let message = refusal.message.expect("told");
    assert!(message.contains("5000 record errors") && message.contains("batchIndex=2"));
    assert!(!message.contains("batchIndex=3"));
}

#[test]
fn what_comes_out_is_limited() {
    for codec in CODECS.into_iter().skip(1) {
        let bomb = compressed(&batch_of(&[vec![0; 8 << 20]]), codec);
        let mut bench = Bench::new(topic());
        assert_eq!(bench.code(&bomb), ErrorCode::None, "{codec:?}");
        bench.decompressed_bytes_max = 8 << 20;
        let refusal = bench.judge(&bomb).err().expect("above the limit");
        assert_eq!(refusal.code, ErrorCode::MessageTooLarge, "{codec:?}");
        assert!(refusal.message.is_some_and(|m| m.contains("decompressed.max.bytes")));
    }
}

/// A batch of one record whose largest time says something else.
fn with_max(codec: Compression, max: i64) -> Vec<u8> {
    let mut batch = compressed(&batch_of(&[b"v".to_vec()]), codec);
    batch[35..43].copy_from_slice(&max.to_be_bytes());
    with_checksum(batch)
}

#[test]
fn the_largest_time_becomes_right() {
    for codec in CODECS {
        for max in [-1, 0, NOW.0 - 1, NOW.0 + 1, NOW.0 * 2] {
            let taken = Bench::new(topic()).judge(&with_max(codec, max)).expect("good");
            assert_eq!(taken.header.max_timestamp, NOW, "{codec:?} {max}");
            assert_eq!(content(&taken).len(), 1, "the checksum is right");
        }
        // Relaxed believes what can be, and looks at what cannot.
        for (max, kept) in [(-1, NOW.0), (NOW.0 - 1, NOW.0 - 1), (NOW.0 * 2, NOW.0)] {
            let taken = Bench::new(topic()).relaxed().judge(&with_max(codec, max)).expect("good");
            assert_eq!(taken.header.max_timestamp.0, kept, "{codec:?} {max}");
        }
        let source = TimestampSource::LogAppendTime;
        let stamped = TopicConfig { timestamp_source: source, ..topic() };
        let batch = with_max(codec, 5);
        let taken = Bench::new(stamped).judge(&batch).expect("good");
        assert_eq!(taken.bytes, batch, "the log sets the broker's time");
    }
}

#[test]
fn relaxed_looks_into_no_batch_that_stays_as_it_is() {
    for codec in CODECS {
        let mut damaged = batch_of(&[b"one".to_vec(), b"two".to_vec()]);
        damaged[BATCH_OVERHEAD] ^= 2;
        let damaged = compressed(&with_checksum(damaged), codec);
        assert_eq!(Bench::new(topic()).code(&damaged), ErrorCode::InvalidRecord, "{codec:?}");
        let relaxed = Bench::new(topic()).relaxed().code(&damaged);
        assert_eq!(relaxed, ErrorCode::None, "{codec:?}");
        let compacted = TopicConfig { compacts: true, ..topic() };
        let compacts = Bench::new(compacted).relaxed().code(&damaged);
        assert_eq!(compacts, ErrorCode::InvalidRecord, "{codec:?}");
        let other = to(CompressionType::Zstd);
        let looked_at = codec != Compression::Zstd;
        let recompressed = Bench::new(other).relaxed().code(&damaged);
        assert_eq!(recompressed == ErrorCode::InvalidRecord, looked_at, "{codec:?}");
    }
}

#[test]
fn times_have_bounds_and_no_time_has_none() {
    let hour = 3_600_000;
    let config =
        TopicConfig { timestamp_before_max_ms: 2 * hour, timestamp_after_max_ms: hour, ..topic() };
    let now = NOW.0;
    for (time, good) in [
        (now, true),
        (now + hour, true),
        (now + hour + 1, false),
        (now - 2 * hour, true),
        (now - 2 * hour - 1, false),
        (-1, true),
        (-2, false),
        (i64::MAX, false),
        (i64::MIN, false),
    ] {
        let kind = BatchKind::Data;
        let mut batch = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(time));
        batch.push(None, None);
        let batch = batch.build();
        for codec in CODECS {
            let code = Bench::new(config.clone()).code(&compressed(&batch, codec));
            let expected = if good { ErrorCode::None } else { ErrorCode::InvalidTimestamp };
            assert_eq!(code, expected, "{codec:?} {time}");
        }
    }
}
