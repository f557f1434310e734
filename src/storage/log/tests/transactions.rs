//! Transactions that are found in a log: what is stable, what was aborted, and the index of it.

use ottla_protocol::control::{ControlRecord, EndTransaction};

use super::*;
use crate::names::SegmentFile;
use crate::producer_state::{FirstBatch, Marker, Verification, VerificationGuard};

/// A batch of a producer's transaction, or its end.
#[derive(Clone, Copy)]
enum Step {
    Data(i64, i32),
    Abort(i64),
    Commit(i64),
}

use Step::{Abort, Commit, Data};

/// Two producers' transactions: 1 commits, 2 aborts twice (the first time over segments), 3 stays
/// open. Offsets are those of the list.
const STORY: &[Step] = &[
    Data(1, 0), // 0
    Data(2, 0), // 1
    Commit(1),  // 2
    Data(1, 1), // 3
    Data(1, 2), // 4
    Abort(2),   // 5, while 1 is open
    Data(2, 1), // 6
    Commit(1),  // 7
    Data(3, 0), // 8
    Abort(2),   // 9
    Data(1, 3), // 10
    Commit(1),  // 11
];

fn write(log: &mut Log, step: Step) {
    let end = EndTransaction { coordinator_epoch: 0 };
    let (kind, id, sequence, record) = match step {
        Data(id, sequence) => (BatchKind::Transactional, id, sequence, None),
        Abort(id) => (BatchKind::Marker, id, -1, Some(ControlRecord::Abort(end))),
        Commit(id) => (BatchKind::Marker, id, -1, Some(ControlRecord::Commit(end))),
    };
    let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(1000))
        .with_producer(ProducerId(id), ProducerEpoch(0), sequence);
    match record.map(|record| record.encode()) {
        Some((key, value)) => builder.push(Some(&key), Some(&value)),
        None => builder.push(None, Some(&[7; 100])),
    }
    let bytes = Bytes::from(builder.build());
    let batch = IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes };
    let plan = log.plan_append(&batch.header, Origin::Quorum, Timestamp(0)).expect("accepted");
    log.append(plan, &batch, EPOCH, Timestamp(0)).expect("appended");
    log.check();
}

/// A log of `segment_bytes` with the story in it.
fn told(node: &SimNode, segment_bytes: u32) -> Log {
    let (mut log, _) = open_with(node, small(segment_bytes), UNCLEAN);
    STORY.iter().for_each(|step| write(&mut log, *step));
    log
}

fn small(segment_bytes: u32) -> LogOptions {
    let mut options = options();
    (options.config.segment_bytes, options.config.index_interval_bytes) = (segment_bytes, 1);
    options
}

/// What a reader of one batch at `offset` must leave out: `(producer, first offset)`.
fn aborted_at(log: &mut Log, offset: i64) -> Vec<(i64, i64)> {
    let limit = ReadLimit { end: log.end(), bytes_max: 0, at_least_one: true };
    let (_, aborted) = log.read_committed(Offset(offset), limit).expect("in range").expect("some");
    aborted.iter().map(|ended| (ended.producer_id.0, ended.first_offset.0)).collect()
}

fn assert_told(log: &mut Log) {
    for (offset, expected) in [
        (0, vec![]),
        (1, vec![(2, 1)]),
        (5, vec![(2, 1)]),
        (6, vec![(2, 6)]),
        (9, vec![(2, 6)]),
        (10, vec![]),
    ] {
        assert_eq!(aborted_at(log, offset), expected, "at {offset}");
    }
    log.replicated(log.end());
    assert_eq!(log.last_stable_offset(log.end()), Offset(8), "3 is open");
    assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
}

fn txn_indexes(node: &SimNode) -> Vec<(i64, Vec<u8>)> {
    let disk = Runtime::simulated(node).disk().clone();
    let entries = disk.list(Path::new(DIR)).expect("readable");
    let parsed = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
    let mut indexes: Vec<_> = parsed
        .filter(|(kind, _)| *kind == SegmentFile::TxnIndex)
        .map(|(kind, base)| {
            let path = Path::new(DIR).join(kind.name(base));
            (base.0, disk.read(&path, 1 << 20).expect("readable"))
        })
        .collect();
    indexes.sort();
    indexes
}

#[test]
fn aborted_transactions_are_found_and_indexed() {
    on_disk(async |node| {
        for segment_bytes in [1000, 400] {
            let mut log = told(&node, segment_bytes);
            assert_told(&mut log);
            log.truncate_to(Offset(0)).expect("truncated");
            assert_eq!(txn_indexes(&node), []);
            drop(log);
        }
    });
}

#[test]
fn the_index_has_kafkas_bytes_at_once() {
    on_disk(async |node| {
        let _log = told(&node, 10_000);
        let entry = |numbers: [i64; 4]| {
            let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
            [0, 0].into_iter().chain(numbers).collect::<Vec<u8>>()
        };
        // Producer, first offset, marker, last stable offset.
        let expected = [entry([2, 1, 5, 3]), entry([2, 6, 9, 8])].concat();
        assert_eq!(txn_indexes(&node), [(0, expected)]);
    });
}

#[test]
fn what_is_unstable_is_held_back() {
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, small(400), UNCLEAN);
        let mut stable = Vec::new();
        for step in STORY {
            write(&mut log, *step);
            // The marker itself is not replicated.
            log.replicated(Offset(log.end().0 - 1));
            stable.push(log.last_stable_offset(log.end()).0);
        }
        assert_eq!(stable, [0, 0, 0, 1, 1, 1, 3, 3, 6, 6, 8, 8]);
    });
}

#[test]
fn indexes_are_recovered_whatever_happened_to_them() {
    on_disk(async |node| {
        for clean in [true, false] {
            let mut log = told(&node, 400);
            let (expected, end) = (txn_indexes(&node), log.end());
            assert!(expected.len() > 1, "in several segments: {expected:?}");
            let mut shutdown = UNCLEAN;
            if clean {
                log.close().expect("closed");
                shutdown = Shutdown::Clean;
            }
            drop(log);
            let disk = Runtime::simulated(&node).disk().clone();
            for (base, _) in &expected {
                let path = |kind: SegmentFile| Path::new(DIR).join(kind.name(Offset(*base)));
                // A missing index is noticed by an unclean start only, as with Kafka.
                if clean {
                    let file = disk.open(&path(SegmentFile::TxnIndex), OpenMode::ReadWrite);
                    file.expect("there").set_len(33).expect("cut");
                } else {
                    disk.remove_file(&path(SegmentFile::TxnIndex)).expect("there");
                }
            }
            let (mut log, _) = open_with(&node, small(400), shutdown);
            assert_eq!((txn_indexes(&node), log.end()), (expected, end), "clean: {clean}");
            assert_told(&mut log);
            log.truncate_to(Offset(0)).expect("truncated");
        }
    });
}

#[test]
fn producers_are_the_same_from_snapshots_and_from_the_log() {
    on_disk(async |node| {
        let mut log = told(&node, 400);
        log.replicated(log.end());
        let producers = log.producers().to_snapshot();
        log.close().expect("closed");
        drop(log);
        let disk = Runtime::simulated(&node).disk().clone();
        for (shutdown, without) in [(Shutdown::Clean, false), (UNCLEAN, false), (UNCLEAN, true)] {
            for entry in disk.list(Path::new(DIR)).expect("readable") {
                if without && entry.name.ends_with(".snapshot") {
                    disk.remove_file(&Path::new(DIR).join(entry.name)).expect("removed");
                }
            }
            let (mut log, _) = open_with(&node, small(400), shutdown);
            assert_eq!(log.producers().to_snapshot(), producers);
            assert_told(&mut log);
        }
    });
}

#[test]
fn a_truncation_opens_what_was_ended_behind_it() {
    on_disk(async |node| {
        let mut log = told(&node, 400);
        log.truncate_to(Offset(5)).expect("truncated");
        log.replicated(log.end());
        assert_eq!(log.last_stable_offset(log.end()), Offset(1), "2 is open again");
        assert_eq!(txn_indexes(&node), []);
        STORY[5..].iter().for_each(|step| write(&mut log, *step));
        assert_told(&mut log);
    });
}

#[test]
fn snapshots_are_kept_of_segments_and_of_the_end() {
    on_disk(async |node| {
        let mut log = told(&node, 400);
        log.close().expect("closed");
        let (bases, end) = (log.segments.iter().map(Segment::base).skip(1), log.end());
        let expected: Vec<Offset> = bases.chain([end]).collect();
        assert_eq!(log.snapshots, expected);
        drop(log);
        let (mut log, _) = open_with(&node, small(400), Shutdown::Clean);
        write(&mut log, Commit(3));
        log.close().expect("closed");
        drop(log);
        let (log, _) = open_with(&node, small(400), Shutdown::Clean);
        let mut kept = expected;
        *kept.last_mut().expect("some") = end.plus(1);
        assert_eq!(log.snapshots, kept, "that of the stop before is gone");
    });
}

/// A batch of producer 1's transaction.
fn batch(epoch: i16, sequence: i32) -> IncomingBatch {
    let kind = BatchKind::Transactional;
    let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(1000))
        .with_producer(ProducerId(1), ProducerEpoch(epoch), sequence);
    builder.push(None, Some(&[7; 100]));
    let bytes = Bytes::from(builder.build());
    IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes }
}

fn append(
    log: &mut Log,
    batch: &IncomingBatch,
    guard: Option<VerificationGuard>,
) -> Result<i64, AppendRejection> {
    let plan = log.plan_transactional(&batch.header, Origin::Client, guard, Timestamp(0))?;
    let info = log.append(plan, batch, EPOCH, Timestamp(0)).expect("appended");
    Ok(info.base_offset.0)
}

fn end(log: &mut Log, epoch: i16, transaction_version: i16) -> Result<i64, AppendRejection> {
    let (producer_id, producer_epoch) = (ProducerId(1), ProducerEpoch(epoch));
    let marker = Marker {
        producer_id,
        producer_epoch,
        commit: false,
        coordinator_epoch: 0,
        transaction_version,
    };
    let batch = marker.batch(Timestamp(0));
    let plan = log.plan_marker(&marker, &batch.header, Timestamp(0))?;
    let info = log.append(plan, &batch, EPOCH, Timestamp(0)).expect("appended");
    Ok(info.base_offset.0)
}

fn verified(log: &mut Log, epoch: i16, adds: bool) -> Option<VerificationGuard> {
    let (producer_id, producer_epoch) = (ProducerId(1), ProducerEpoch(epoch));
    let batch = FirstBatch { producer_id, producer_epoch, sequence: 0, adds };
    match log.begin_verification(batch, Timestamp(0)).expect("it is not fenced") {
        Verification::NotNeeded => None,
        Verification::Needed(guard) => Some(guard),
    }
}

#[test]
fn nothing_is_written_outside_of_a_transaction() {
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, small(10_000), UNCLEAN);
        assert_eq!(append(&mut log, &batch(0, 0), None), Err(AppendRejection::Unverified));
        let guard = verified(&mut log, 0, false);
        assert_eq!(append(&mut log, &batch(0, 0), guard), Ok(0));
        assert_eq!(verified(&mut log, 0, false), None, "it is open");
        assert_eq!(append(&mut log, &batch(0, 1), None), Ok(1));
        assert_eq!(append(&mut log, &batch(0, 0), None), Ok(0), "it comes again");
        assert_eq!(end(&mut log, 0, 1), Ok(2));
        // What comes late has no transaction, but what was written is still answered.
        assert_eq!(append(&mut log, &batch(0, 1), None), Ok(1));
        assert_eq!(append(&mut log, &batch(0, 2), None), Err(AppendRejection::Unverified));
        assert_eq!(append(&mut log, &batch(0, 2), guard), Err(AppendRejection::Unverified));
        // An answer of before the marker is no answer.
        let early = verified(&mut log, 0, false);
        assert_eq!(end(&mut log, 0, 1), Ok(3));
        assert_eq!(append(&mut log, &batch(0, 2), early), Err(AppendRejection::Unverified));
        assert_eq!(log.end(), Offset(4));
        log.replicated(log.end());
        assert_eq!(log.last_stable_offset(log.end()), Offset(4));
        assert_eq!(aborted_at(&mut log, 0), [(1, 0)]);
        assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
    });
}

#[test]
fn a_marker_of_version_2_refuses_what_comes_late_and_comes_again_for_nothing() {
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, small(10_000), UNCLEAN);
        let guard = verified(&mut log, 0, true);
        assert_eq!(append(&mut log, &batch(0, 0), guard), Ok(0));
        assert_eq!(end(&mut log, 0, 2), Err(AppendRejection::OldProducerEpoch));
        assert_eq!(end(&mut log, 1, 2), Ok(1));
        assert_eq!(end(&mut log, 1, 2), Ok(1), "where the log ended then");
        assert_eq!(log.end(), Offset(2));
        assert_eq!(append(&mut log, &batch(0, 1), guard), Err(AppendRejection::OldProducerEpoch));
        let refused = log.begin_verification(
            FirstBatch {
                producer_id: ProducerId(1),
                producer_epoch: ProducerEpoch(0),
                sequence: 1,
                adds: true,
            },
            Timestamp(0),
        );
        assert_eq!(refused, Err(AppendRejection::OldProducerEpoch));
        let guard = verified(&mut log, 1, true);
        let late = append(&mut log, &batch(1, 5), guard);
        assert_eq!(late, Err(AppendRejection::OutOfOrderSequence), "it begins with 0");
        assert_eq!(append(&mut log, &batch(1, 0), guard), Ok(2));
        assert_eq!(end(&mut log, 2, 2), Ok(3));
    });
}
