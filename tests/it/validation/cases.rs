//! The cases: batches, and the configs of the topics they go to.

use bytes::Bytes;
use ottla_protocol::compression::Codec;

use super::build::{RawBatch, RawRecord, TIME, batch_of, batch_of_bytes, compress, record, varint};

/// A batch for a topic.
pub struct Case {
    pub name: String,
    pub configs: &'static [(&'static str, &'static str)],
    pub batch: Bytes,
}

const CODECS: [(&str, Codec); 5] = [
    ("none", Codec::None),
    ("gzip", Codec::Gzip(None)),
    ("snappy", Codec::Snappy),
    ("lz4", Codec::Lz4),
    ("zstd", Codec::Zstd(3)),
];
/// Later than any clock of a test.
const FUTURE: i64 = 4_000_000_000_000;
const STAMPED: &[(&str, &str)] = &[("message.timestamp.type", "LogAppendTime")];
pub const COMPACTED: &[(&str, &str)] = &[("cleanup.policy", "compact")];
const NARROW: &[(&str, &str)] =
    &[("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "0")];
const SMALL: &[(&str, &str)] =
    &[("compression.type", "uncompressed"), ("max.message.bytes", "500")];
const TARGETS: [&[(&str, &str)]; 5] = [
    &[("compression.type", "uncompressed")],
    &[("compression.type", "gzip"), ("compression.gzip.level", "9")],
    &[("compression.type", "snappy")],
    &[("compression.type", "lz4")],
    &[("compression.type", "zstd"), ("compression.zstd.level", "-5")],
];

/// All cases, each with a name of its own.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (name, codec)) in CODECS.into_iter().enumerate() {
        let named = |(case, configs, mut batch): (&str, _, RawBatch)| {
            // A producer of its own, or the batch would be one that was sent before.
            if batch.producer.0 > 0 {
                batch.producer.0 += index as i64;
            }
            let name = format!("{name}: {case}");
            Case { name, configs, batch: batch.compressed(codec).bytes() }
        };
        cases.extend(records().into_iter().map(named));
        cases.extend(headers().into_iter().map(named));
        cases.extend(times().into_iter().map(named));
        cases.extend(recompressed().into_iter().map(named));
    }
    cases.extend(streams());
    cases
}

type Described = (&'static str, &'static [(&'static str, &'static str)], RawBatch);

fn changed(change: impl FnOnce(&mut RawRecord)) -> RawBatch {
    let mut second = record(1);
    change(&mut second);
    batch_of(&[record(0), second])
}

fn good() -> RawBatch {
    changed(|_| {})
}

/// What records can say wrongly.
fn records() -> Vec<Described> {
    let header = |key_len: i32, key: &[u8], value_len: i32, value: &[u8]| {
        [varint(key_len), key.to_vec(), varint(value_len), value.to_vec()].concat()
    };
    let with = |name, change: &dyn Fn(&mut RawRecord)| (name, &[][..], changed(change));
    vec![
        ("good", &[], good()),
        with("null key and value", &|r| (r.key, r.value) = ((-1, vec![]), (-1, vec![]))),
        with("key length -2", &|r| r.key = (-2, vec![])),
        with("value length -77", &|r| r.value = (-77, vec![])),
        with("key longer than the batch", &|r| r.key.0 = 10_000),
        with("value longer than its record", &|r| r.value.0 = 7),
        with("value shorter than its record", &|r| r.value.0 = 3),
        with("value of 2 GiB", &|r| r.value.0 = i32::MAX),
        with("length too short", &|r| r.length_error = -1),
        with("length too long", &|r| r.length_error = 1),
        with("length negative", &|r| r.length_error = -100),
        with("length of 2 GiB", &|r| r.length_error = i32::MAX - 100),
        with("record attributes", &|r| r.attributes = 7),
        with("headers", &|r| {
            r.headers = (2, [header(1, b"a", 1, b"1"), header(0, b"", -1, b"")].concat());
        }),
        with("header key null", &|r| r.headers = (1, header(-1, b"", 1, b"1"))),
        with("header value length -9", &|r| r.headers = (1, header(1, b"a", -9, b""))),
        with("header key not UTF-8", &|r| r.headers = (1, header(2, &[0xff, 0xfe], 1, b"1"))),
        with("header key too long", &|r| r.headers = (1, header(1000, b"a", 1, b"1"))),
        with("headers missing", &|r| r.headers = (3, header(1, b"a", 1, b"1"))),
        with("headers negative", &|r| r.headers = (-1, vec![])),
        with("headers 2 billion", &|r| r.headers = (i32::MAX, vec![])),
        with("offset twice", &|r| r.offset_delta = 0),
        with("offset skipped", &|r| r.offset_delta = 5),
        with("offset negative", &|r| r.offset_delta = -1),
        ("more bytes than records", &[], more_bytes()),
        (
            "fewer records than the count",
            &[],
            good().with(|b| (b.count, b.last_offset_delta) = (3, 2)),
        ),
        ("no bytes at all", &[], batch_of_bytes(1, vec![])),
        ("overlong varint", &[], batch_of_bytes(1, overlong(&record(0)))),
        (
            "varint of six bytes",
            &[],
            batch_of_bytes(1, [vec![0xff; 5], vec![1], vec![0; 80]].concat()),
        ),
        ("varint beyond 32 bits", &[], batch_of_bytes(1, beyond_32_bits(&record(0)))),
        ("timestamp delta of eleven bytes", &[], batch_of_bytes(1, long_delta())),
        ("keys in a compacted topic", COMPACTED, good()),
        ("no key in a compacted topic", COMPACTED, changed(|r| r.key = (-1, vec![]))),
        ("no keys in a compacted topic", COMPACTED, keyless(5)),
        (
            "no keys and times out of range",
            COMPACTED,
            keyless(2).with(|b| b.base_timestamp = FUTURE),
        ),
    ]
}

fn more_bytes() -> RawBatch {
    good().with(|batch| batch.records.push(0))
}

fn keyless(count: i32) -> RawBatch {
    let keyless = |index| RawRecord { key: (-1, vec![]), ..record(index) };
    batch_of(&(0..count).map(keyless).collect::<Vec<_>>())
}

/// The record with the length of its key in three bytes instead of one.
fn overlong(record: &RawRecord) -> Vec<u8> {
    let body = record.body();
    let body = [&body[..3], &[body[3] | 0x80, 0x80, 0], &body[4..]].concat();
    [varint(body.len() as i32), body].concat()
}

/// The record with a key length whose fifth byte has bits that an int has not.
fn beyond_32_bits(record: &RawRecord) -> Vec<u8> {
    let body = record.body();
    let body = [&body[..3], &[body[3] | 0x80, 0x80, 0x80, 0x80, 0x70], &body[4..]].concat();
    [varint(body.len() as i32), body].concat()
}

fn long_delta() -> Vec<u8> {
    let body = record(0).body();
    let body = [&body[..1], &[0xff; 10], &[1], &body[2..]].concat();
    [varint(body.len() as i32), body].concat()
}

/// What headers can say wrongly.
fn headers() -> Vec<Described> {
    let with = |name, change: &dyn Fn(&mut RawBatch)| (name, &[][..], good().with(change));
    vec![
        with("base offset 7", &|b| b.base_offset = 7),
        with("base offset negative", &|b| b.base_offset = -3),
        with("count too small", &|b| b.count = 1),
        with("count and offsets too small", &|b| (b.count, b.last_offset_delta) = (1, 0)),
        with("offsets negative", &|b| b.last_offset_delta = -1),
        with("count 0", &|b| b.count = 0),
        with("empty", &|b| (b.count, b.last_offset_delta) = (0, -1)),
        with("control", &|b| b.attributes |= 0x20),
        with("delete horizon", &|b| b.attributes |= 0x40),
        with("unknown attributes", &|b| b.attributes |= 0x380),
        with("producer without sequence", &|b| b.producer = (1 << 40, 0, -1)),
        with("sequence without producer", &|b| b.producer = (-1, -1, 5)),
        with("producer epoch negative", &|b| b.producer = (1 << 41, -1, 0)),
        with("producer negative", &|b| b.producer = (-2, 3, 0)),
        with("max time unset", &|b| b.max_timestamp = -1),
        with("max time too low", &|b| b.max_timestamp = TIME - 1000),
        with("max time too high", &|b| b.max_timestamp = TIME + 1000),
        with("max time in the future", &|b| b.max_timestamp = FUTURE),
        ("larger than allowed", &[("max.message.bytes", "60")], good()),
    ]
}

/// Records' times.
fn times() -> Vec<Described> {
    let at = |times: &'static [i64]| {
        let record = |(index, time): (usize, &i64)| RawRecord {
            timestamp_delta: time.wrapping_sub(TIME),
            ..record(index as i32)
        };
        let records: Vec<RawRecord> = times.iter().enumerate().map(record).collect();
        let max = *times.iter().max().unwrap();
        batch_of(&records).with(|batch| batch.max_timestamp = max)
    };
    let claims = |batch: RawBatch| batch.with(|batch| batch.attributes |= 8);
    vec![
        ("times go down", &[], at(&[TIME + 5, TIME, TIME + 3])),
        ("time none", &[], at(&[-1, -1])),
        ("one time none", &[], at(&[TIME, -1])),
        ("time negative", &[], at(&[-5, TIME])),
        ("time far negative", &[], at(&[i64::MIN, TIME])),
        ("time in the future", &[], at(&[TIME, FUTURE])),
        ("times in the future", &[], at(&[FUTURE; 5])),
        ("time at the end of time", &[], at(&[i64::MAX, TIME])),
        ("time too old", NARROW, at(&[TIME])),
        ("time none where old ones are refused", NARROW, at(&[-1])),
        ("stamped", STAMPED, at(&[TIME, TIME + 9])),
        ("stamped, in the future", STAMPED, at(&[TIME, FUTURE])),
        ("stamped, wrong max time", STAMPED, at(&[TIME]).with(|b| b.max_timestamp = 3)),
        ("claims the broker's time", &[], claims(at(&[TIME, TIME - 5]))),
        (
            "claims the broker's time, max time lower",
            &[],
            claims(at(&[TIME, TIME - 5])).with(|b| b.max_timestamp = 77),
        ),
        ("claims a future time", &[], claims(at(&[TIME])).with(|b| b.max_timestamp = FUTURE)),
        ("claims no time", &[], claims(at(&[TIME])).with(|b| b.max_timestamp = -1)),
        ("claims the broker's time in a stamped topic", STAMPED, claims(at(&[TIME, TIME]))),
    ]
}

/// Batches for topics with a codec of their own.
fn recompressed() -> Vec<Described> {
    let odd = || {
        let header = [varint(1), b"h".to_vec(), varint(-1)].concat();
        let second = RawRecord {
            attributes: 3,
            timestamp_delta: -70_000,
            headers: (1, header),
            key: (-1, vec![]),
            ..record(1)
        };
        let first = RawRecord { timestamp_delta: 500, ..record(0) };
        batch_of(&[first, second]).with(|b| {
            (b.producer, b.max_timestamp) = ((1 << 42, 0, 0), TIME + 500);
            b.attributes |= 0x40;
        })
    };
    let names = ["to none", "to gzip", "to snappy", "to lz4", "to zstd"];
    let mut all: Vec<Described> =
        names.into_iter().zip(TARGETS).map(|(name, target)| (name, target, odd())).collect();
    let mut value = record(0);
    value.value = (2000, vec![b'x'; 2000]);
    let stamped: &[(&str, &str)] =
        &[("compression.type", "lz4"), ("message.timestamp.type", "LogAppendTime")];
    all.extend([
        ("to none, then too large", SMALL, batch_of(&[value])),
        ("to lz4, stamped", stamped, batch_of(&[record(0), record(1)])),
        ("to gzip, bad record", TARGETS[1], changed(|r| r.value.0 = 7)),
        ("to gzip, future", TARGETS[1], good().with(|b| b.base_timestamp = FUTURE)),
        ("to gzip, offset skipped", TARGETS[1], changed(|r| r.offset_delta = 5)),
        ("to none, record length too long", TARGETS[0], changed(|r| r.length_error = 1)),
    ]);
    all
}

/// Compressed bytes that are not what they should be.
fn streams() -> Vec<Case> {
    let plain = good().records;
    let case = |name: String, codec: Codec, records: Vec<u8>| {
        let batch = batch_of_bytes(2, records)
            .with(|batch| batch.attributes |= codec.compression() as i16)
            .bytes();
        Case { name, configs: &[], batch }
    };
    let mut cases = Vec::new();
    for (name, codec) in CODECS.into_iter().skip(1) {
        let packed = compress(codec, &plain);
        let half = plain.len() / 2;
        let twice = [compress(codec, &plain[..half]), compress(codec, &plain[half..])].concat();
        let mut end_damaged = packed.clone();
        *end_damaged.last_mut().unwrap() ^= 0x55;
        let mut middle_damaged = packed.clone();
        middle_damaged[packed.len() / 2] ^= 0x55;
        for (what, records) in [
            ("not compressed", plain.clone()),
            ("nothing", vec![]),
            ("cut by one", packed[..packed.len() - 1].to_vec()),
            ("cut by four", packed[..packed.len() - 4].to_vec()),
            ("cut by eight", packed[..packed.len() - 8].to_vec()),
            ("junk behind", [packed.clone(), vec![0x55; 9]].concat()),
            ("zeros behind", [packed.clone(), vec![0; 8]].concat()),
            ("two streams", twice),
            ("last byte damaged", end_damaged),
            ("middle damaged", middle_damaged),
        ] {
            cases.push(case(format!("{name}: {what}"), codec, records));
        }
    }
    let bare = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    cases.push(case("snappy: bare block".to_owned(), Codec::Snappy, bare));
    cases.push(case("lz4: blocks that need each other".to_owned(), Codec::Lz4, linked_lz4(&plain)));
    cases
}

fn linked_lz4(bytes: &[u8]) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    use std::io::Write;
    let frame = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
