//! The decoders of files and of records.

use std::io::Write;
use std::panic::RefUnwindSafe;

use bytes::Bytes;
use ottla_config::{ProduceValidation, TopicConfig};
use ottla_metadata::image::Provenance;
use ottla_metadata::{Loader, LogBatch};
use ottla_protocol::batch::{
    ATTRIBUTES_AT, BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, LOG_OVERHEAD, Records,
    crc32c,
};
use ottla_protocol::compression::{Codec, Compression, Compressor};
use ottla_protocol::metadata::MetadataRecord;
use ottla_raft::snapshot::{SnapshotBatch, SnapshotReader};
use ottla_replication::validation::{Rules, Workspace, validate_records};
use ottla_storage::{Checkpoint, IncomingBatch, MetaProperties, ProducerState};
use ottla_types::{
    LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicPartition,
};

const LOG: &[u8] = include_bytes!("../../src/metadata/testdata/kafka-4.3.1-three-brokers.log");
const RESTARTS: &[u8] = include_bytes!("../../src/metadata/testdata/kafka-4.3.1-restarts.log");
const SNAPSHOT: &[u8] =
    include_bytes!("../../src/metadata/testdata/kafka-4.3.1-three-brokers-130.checkpoint");
const FIRST: &[u8] =
    include_bytes!("../../src/raft/snapshot/testdata/kafka-4.3.1-first.checkpoint");

/// Most bytes that a decompressor may give here.
const DECOMPRESSED_MAX: usize = 64 << 10;

/// Decodes; whether all of it could be.
pub type Decode = Box<dyn Fn(&[u8]) -> bool + RefUnwindSafe>;

/// A decoder under test.
pub struct Target {
    /// Its name.
    pub name: String,
    /// Inputs that it reads without an error.
    pub inputs: Vec<Vec<u8>>,
    /// Makes checksums right again, so that damage gets behind them.
    pub mend: fn(&mut [u8]),
    /// Decodes; whether all of it could be.
    pub decode: Decode,
    /// Bytes that it may hold whatever the input.
    pub fixed: usize,
    /// Bytes that it may hold for each byte of input.
    pub times: usize,
}

impl Target {
    /// A target that holds little and mends nothing.
    pub fn new(
        name: &str,
        inputs: &[&[u8]],
        decode: impl Fn(&[u8]) -> bool + RefUnwindSafe + 'static,
    ) -> Target {
        Target {
            name: name.to_owned(),
            inputs: inputs.iter().map(|input| input.to_vec()).collect(),
            mend: |_| {},
            decode: Box::new(decode),
            fixed: 16 << 10,
            times: 64,
        }
    }

    /// The same, of lines: each is remembered by its own, however short it is.
    fn of_lines(mut self) -> Target {
        self.times = 128;
        self
    }

    /// The same, with checksums made right by `mend`.
    pub fn mending(mut self, mend: fn(&mut [u8])) -> Target {
        self.mend = mend;
        self
    }
}

/// All targets but the requests.
pub fn all() -> Vec<Target> {
    let batch = batch();
    let values = values(LOG);
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let properties = b"#\nnode.id=1\nversion=1\n\
        directory.id=AAAAAAAAAAAAAAAAAAAAAQ\ncluster.id=AAAAAAAAAAAAAAAAAAAAAg\n";
    let mut all = vec![
        Target::new("batch", &[&batch], read_batch).mending(mend_batch),
        Target::new("batch-crc", &[&batch], read_batch),
        Target::new("metadata-record", &values, |bytes| MetadataRecord::decode(bytes).is_ok()),
        Target::new("metadata-log", &[LOG, RESTARTS], replay_log).mending(mend_batches),
        Target::new("snapshot", &[SNAPSHOT, FIRST], read_snapshot).mending(mend_batches),
        Target::new("raft-fetched", &[LOG, SNAPSHOT], |bytes| {
            ottla_raft::records::read_fetched(&Bytes::copy_from_slice(bytes)).is_ok()
        })
        .mending(mend_batches),
        Target::new("quorum-state", QUORUM_STATES, |bytes| {
            std::str::from_utf8(bytes).is_ok_and(|it| ottla_raft::quorum_state::parse(it).is_ok())
        }),
        Target::new("meta-properties", &[properties], |it| MetaProperties::parse(it).is_ok())
            .of_lines(),
        Target::new("checkpoint", &[b"0\n2\nt 0 1\nu 3 4\n"], |it| Checkpoint::parse(it).is_ok())
            .of_lines(),
        Target::new("producer-snapshot", &[&producers()], |bytes| {
            ProducerState::from_snapshot(bytes).is_ok()
        })
        .mending(mend_producers),
        Target::new("properties", &[PROPERTIES], read_config).of_lines(),
    ];
    let codecs = [
        ("none", Compression::None, COMPRESSED[0]),
        ("gzip", Compression::Gzip, COMPRESSED[1]),
        ("snappy", Compression::Snappy, COMPRESSED[2]),
        ("lz4", Compression::Lz4, COMPRESSED[3]),
        ("zstd", Compression::Zstd, COMPRESSED[4]),
    ];
    for (name, codec, input) in codecs {
        let decode = move |bytes: &[u8]| match codec.decompress(bytes, DECOMPRESSED_MAX) {
            Ok(out) => {
                assert!(out.len() <= DECOMPRESSED_MAX, "{} bytes are over the limit", out.len());
                true
            }
            Err(_) => false,
        };
        let mut target = Target::new(&format!("decompress-{name}"), &[input], decode);
        // Tables, windows and blocks of the codecs (lz4's and zstd's say their size themselves).
        target.fixed = 16 << 20;
        all.push(target);
    }
    for (name, codec, validation) in [
        ("strict", Codec::None, ProduceValidation::Strict),
        ("relaxed", Codec::None, ProduceValidation::Relaxed),
        ("gzip", Codec::Gzip(None), ProduceValidation::Strict),
        ("snappy", Codec::Snappy, ProduceValidation::Strict),
        ("lz4", Codec::Lz4, ProduceValidation::Strict),
        ("zstd", Codec::Zstd(3), ProduceValidation::Strict),
    ] {
        for compression_type in ["producer", "zstd"] {
            let input = compressed(&batch, codec);
            let decode = validate(validation, compression_type);
            let name = format!("validate-{name}-{compression_type}");
            let mut target = Target::new(&name, &[&input], decode).mending(mend_batch);
            // The window, and what the codecs of both sides take.
            target.fixed = 24 << 20;
            all.push(target);
        }
    }
    all
}

/// The batch with its records compressed.
fn compressed(batch: &[u8], codec: Codec) -> Vec<u8> {
    let mut records = Compressor::new(codec, Vec::new()).expect("a codec");
    records.write_all(&batch[BATCH_OVERHEAD..]).expect("memory takes it");
    let records = records.finish().expect("memory takes it");
    let mut batch = [&batch[..BATCH_OVERHEAD], &records].concat();
    let length = (batch.len() - LOG_OVERHEAD) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_AT + 1] |= codec.compression() as u8;
    mend_batch(&mut batch);
    batch
}

/// Validates a batch as a producer's; what was looked at and passes must be readable to the end.
fn validate(
    validation: ProduceValidation,
    compression_type: &str,
) -> impl Fn(&[u8]) -> bool + RefUnwindSafe + 'static {
    let given = format!("compression.type={compression_type}");
    let properties = ottla_config::Properties::parse(given.as_bytes()).expect("a property");
    let values = ottla_config::Values::new(properties).expect("a good value");
    let topic = TopicConfig::defaults(&values);
    let partition = TopicPartition { topic: "t".into(), partition: PartitionId(0) };
    move |bytes| {
        let Ok(header) = BatchHeader::read_checked(bytes) else { return false };
        let bytes = Bytes::copy_from_slice(&bytes[..header.size()]);
        let rules = Rules {
            topic: &topic,
            partition: &partition,
            validation,
            decompressed_bytes_max: DECOMPRESSED_MAX,
            now: Timestamp(1 << 41),
        };
        let given = bytes.clone();
        let batch = IncomingBatch { header, bytes };
        let Ok(taken) = validate_records(batch, &rules, &mut Workspace::default()) else {
            return false;
        };
        let header = BatchHeader::read_checked(&taken.bytes).expect("a checksum that is right");
        let codec = header.attributes.compression().unwrap_or(Compression::None);
        if validation == ProduceValidation::Relaxed && taken.bytes == given {
            // Taken unseen, maybe.
            return true;
        }
        let records = codec.decompress(&taken.bytes[BATCH_OVERHEAD..header.size()], usize::MAX);
        let records = records.expect("it was decompressed before");
        let read =
            Records::new(&header, &records).map(|record| record.expect("it was walked over"));
        assert_eq!(read.count() as i32, header.record_count.max(0), "all records are there");
        true
    }
}

const QUORUM_STATES: &[&[u8]] = &[
    b"{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\
        \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}",
    b"{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\
        \"appliedOffset\":0,\"currentVoters\":[{\"voterId\":1}],\"data_version\":0}",
];

const PROPERTIES: &[u8] = b"# a node\nprocess.roles=broker,controller\nnode.id = 1\n\
    listeners=PLAINTEXT://:9092,CONTROLLER://[::1]:9093\ncontroller.listener.names=CONTROLLER\n\
    log.dirs=/d\\\n  /e\nnum.partitions:3\nlog.segment.bytes 1048576\nbroker.rack=\\u0041\\n\n";

/// "ottla" six times by each codec's own library; snappy as a bare block.
const COMPRESSED: [&[u8]; 5] = [
    b"ottla",
    &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 47, 41, 201, 73, 204, 199, 69, 0, 0, 217, 250, 189,
        15, 30, 0, 0, 0,
    ],
    &[30, 16, 111, 116, 116, 108, 97, 98, 5, 0],
    &[
        4, 34, 77, 24, 96, 64, 130, 15, 0, 0, 0, 95, 111, 116, 116, 108, 97, 5, 0, 1, 80, 111, 116,
        116, 108, 97, 0, 0, 0, 0,
    ],
    &[40, 181, 47, 253, 32, 30, 93, 0, 0, 40, 111, 116, 116, 108, 97, 1, 0, 88, 138, 22],
];

fn batch() -> Vec<u8> {
    let zero = Offset(0);
    let mut batch = BatchBuilder::new(BatchKind::Data, zero, LeaderEpoch(0), Timestamp(1))
        .with_producer(ProducerId(1), ProducerEpoch(0), 0);
    batch.push(Some(b"key"), Some(b"value"));
    batch.push(None, None);
    let headers: &[(&str, Option<&[u8]>)] = &[("a", Some(b"1")), ("b", None)];
    batch.push_with_headers(Timestamp(2), Some(b""), Some(b""), headers);
    batch.build()
}

fn read_batch(bytes: &[u8]) -> bool {
    let Ok(header) = BatchHeader::read_checked(bytes) else { return false };
    let (first, last) = (header.next_offset(), header.last_sequence());
    std::hint::black_box((first, last));
    let records = &bytes[BATCH_OVERHEAD..header.size()];
    Records::new(&header, records).all(|record| {
        record.is_ok_and(|record| record.headers().all(|header| header.key.len() < bytes.len()))
    })
}

/// Sets the CRC of the batch at the front.
fn mend_batch(bytes: &mut [u8]) {
    if bytes.len() > 21 {
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let end = usize::try_from(length).map_or(0, |length| length.saturating_add(12));
        if (21..=bytes.len()).contains(&end) {
            let crc = crc32c(&bytes[21..end]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

/// Sets the CRC of every batch.
pub fn mend_batches(mut bytes: &mut [u8]) {
    while bytes.len() > 61 {
        mend_batch(bytes);
        let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let Ok(end) = usize::try_from(i64::from(length) + 12) else { return };
        if end < 61 || end > bytes.len() {
            return;
        }
        bytes = &mut bytes[end..];
    }
}

/// The values of the records of a log's data batches.
fn values(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    while let Ok(header) = BatchHeader::read_checked(bytes) {
        let records = &bytes[BATCH_OVERHEAD..header.size()];
        if !header.attributes.is_control() {
            let found = Records::new(&header, records).flatten();
            values.extend(found.filter_map(|record| record.value.map(<[u8]>::to_vec)));
        }
        bytes = &bytes[header.size()..];
    }
    values
}

/// Replays each batch; what fits no more ends it, as it ends a replica.
fn replay_log(mut bytes: &[u8]) -> bool {
    let mut loader = Loader::new();
    while let Ok(header) = BatchHeader::read_checked(bytes) {
        // The log has no gaps: one like that is damage, and nobody replays it.
        if header.base_offset.0 > i64::MAX - i64::from(i32::MAX) {
            return false;
        }
        let records = &bytes[BATCH_OVERHEAD..header.size()];
        bytes = &bytes[header.size()..];
        if header.attributes.is_control() {
            continue;
        }
        let values: Vec<_> =
            Records::new(&header, records).map_while(|it| it.ok()?.value).collect();
        let (offset, epoch) = (header.base_offset, header.leader_epoch);
        let Ok(batch) = LogBatch::decode(offset, epoch, header.max_timestamp, values) else {
            return false;
        };
        if loader.load_batch(&batch).is_err() {
            return false;
        }
        std::hint::black_box(loader.image().to_records());
    }
    bytes.is_empty()
}

fn read_snapshot(bytes: &[u8]) -> bool {
    let mut records = Vec::new();
    for batch in SnapshotReader::new(bytes) {
        let Ok(batch) = batch else { return false };
        let SnapshotBatch::Data(values) = batch else { continue };
        for value in values {
            let Ok((record, _)) = MetadataRecord::decode(value) else { return false };
            records.push(record);
        }
    }
    let provenance =
        Provenance { offset: Offset(0), epoch: LeaderEpoch(0), timestamp: Timestamp(0) };
    Loader::new().load_snapshot(provenance, records).is_ok()
}

fn producers() -> Vec<u8> {
    let mut state = ProducerState::default();
    state.note(&BatchHeader::read(&batch()).expect("a sound batch"), None);
    state.to_snapshot()
}

fn mend_producers(bytes: &mut [u8]) {
    if bytes.len() >= 6 {
        let crc = crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    }
}

fn read_config(bytes: &[u8]) -> bool {
    let Ok(properties) = ottla_config::Properties::parse(bytes) else { return false };
    ottla_config::NodeConfig::new(Some(properties), &[]).is_ok()
}
