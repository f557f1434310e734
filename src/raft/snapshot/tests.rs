//! Snapshots against Kafka's bytes, cut ones, and ones with batches out of place.

use ottla_protocol::batch::{BatchError, BatchHeader};
use ottla_protocol::control::{
    ControlRecord, KRaftVersion, KRaftVersionRange, SnapshotFooter, SnapshotHeader, Voter,
    VoterEndpoint, Voters,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};

use super::{SnapshotBatch, SnapshotError, SnapshotReader, SnapshotStart, SnapshotWriter};
use crate::core::OffsetAndEpoch;

/// What `StorageTool format --standalone` of Kafka 4.3.1 wrote as the 0-0 snapshot.
const KAFKAS: &[u8] = include_bytes!("testdata/kafka-4.3.1-first.checkpoint");

fn kafkas_start() -> SnapshotStart {
    let voter = Voter {
        voter_id: NodeId(1),
        voter_directory_id: "FsS96sJjSCOFeIS6PWkeqw".parse().expect("a UUID"),
        endpoints: vec![VoterEndpoint {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: 24_481,
        }],
        k_raft_version_feature: KRaftVersionRange {
            min_supported_version: 0,
            max_supported_version: 1,
        },
    };
    SnapshotStart {
        id: OffsetAndEpoch::default(),
        last_contained_log_timestamp: Timestamp(1_795_249_128_203),
        voters: Some((1, Voters { version: 0, voters: vec![voter] })),
    }
}

fn id(offset: i64, epoch: i32) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
}

/// A snapshot of three records without voters, in two batches.
fn sample() -> Vec<u8> {
    let start =
        SnapshotStart { id: id(7, 3), last_contained_log_timestamp: Timestamp(1), voters: None };
    let mut writer = SnapshotWriter::new(&start, 80, Timestamp(2));
    let mut bytes = Vec::new();
    for value in [[b'a'; 8], [b'b'; 8], [b'c'; 8]] {
        writer.push(&value, Timestamp(3));
        bytes.extend(writer.take_finished());
    }
    bytes.extend(writer.finish(Timestamp(4)));
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<SnapshotBatch<'_>>, SnapshotError> {
    SnapshotReader::new(bytes).collect()
}

#[test]
fn the_first_snapshot_has_the_bytes_that_kafka_writes() {
    let writer = SnapshotWriter::new(&kafkas_start(), 1024, Timestamp(1_795_249_128_209));
    assert_eq!(writer.finish(Timestamp(1_795_249_128_215)), KAFKAS);
}

#[test]
fn a_snapshot_of_kafkas_is_read() {
    let (version, voters) = kafkas_start().voters.expect("it has voters");
    let header =
        SnapshotHeader { version: 0, last_contained_log_timestamp: Timestamp(1_795_249_128_203) };
    let start = vec![
        ControlRecord::SnapshotHeader(header),
        ControlRecord::KRaftVersion(KRaftVersion { version: 0, k_raft_version: version }),
        ControlRecord::Voters(voters),
    ];
    let end = vec![ControlRecord::SnapshotFooter(SnapshotFooter { version: 0 })];
    let batches = [SnapshotBatch::Control(start), SnapshotBatch::Control(end)];
    assert_eq!(read(KAFKAS), Ok(batches.to_vec()));
}

#[test]
fn records_are_read_as_they_were_written() {
    let bytes = sample();
    let batches = read(&bytes).expect("a good snapshot");
    let SnapshotBatch::Data(first) = &batches[1] else { panic!("data behind the header") };
    assert_eq!(first, &[[b'a'; 8], [b'b'; 8]]);
    assert_eq!(batches[2], SnapshotBatch::Data(vec![&[b'c'; 8]]));
    assert_eq!(batches.len(), 4);
    let epochs: Vec<_> = starts(&bytes)
        .into_iter()
        .map(|at| BatchHeader::read(&bytes[at..]).expect("a batch").leader_epoch.0)
        .collect();
    assert_eq!(epochs, [3; 4]);
}

/// Where the batches begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Ok(header) = BatchHeader::read(&bytes[*starts.last().expect("one")..]) {
        starts.push(starts.last().expect("one") + header.size());
    }
    starts.pop();
    starts
}

#[test]
fn a_cut_snapshot_is_not_complete() {
    let bytes = sample();
    let starts = starts(&bytes);
    for len in 0..bytes.len() {
        let error = match len {
            0 => SnapshotError::NoHeader,
            len if starts.contains(&len) => SnapshotError::NoFooter,
            _ => BatchError::Truncated.into(),
        };
        assert_eq!(read(&bytes[..len]), Err(error), "{len} bytes");
    }
}

#[test]
fn batches_out_of_place_are_refused() {
    let bytes = sample();
    let starts = starts(&bytes);
    let (header, rest) = bytes.split_at(starts[1]);
    let (first, second) = rest.split_at(starts[2] - starts[1]);
    let footer = &bytes[starts[3]..];
    assert_eq!(read(rest), Err(SnapshotError::OutOfOrder));
    assert_eq!(read(&[header, second].concat()), Err(SnapshotError::OutOfOrder));
    assert_eq!(read(&[&bytes, footer].concat()), Err(SnapshotError::BehindFooter));
    let mut at_zero = first.to_vec();
    at_zero[..8].fill(0);
    assert_eq!(read(&at_zero), Err(SnapshotError::NoHeader));
    let mut second_header = header.to_vec();
    second_header[7] = 1;
    let twice = [header, &second_header].concat();
    assert_eq!(read(&twice), Err(SnapshotError::UnexpectedControl));
    let mut footer_only = footer.to_vec();
    footer_only[..8].fill(0);
    assert_eq!(read(&footer_only), Err(SnapshotError::NoHeader));
}
