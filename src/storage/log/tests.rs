//! The log on the simulated disk: appends, reads, rolls, truncations and recovery.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ottla_config::{Properties, TimestampSource, TopicConfig, Values};
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind, TimestampType};
use ottla_runtime::sim::{SimNode, SimWorld};
use ottla_runtime::{OpenMode, Runtime};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::segment::Segment;
use super::{
    AppendInfo, AppendPlan, IncomingBatch, Log, LogOptions, Origin, ReadLimit, Recovered, Shutdown,
    SyncPoints,
};
use crate::error::{AppendRejection, LogError};

const EPOCH: LeaderEpoch = LeaderEpoch(4);
const DIR: &str = "/t-0";

fn options() -> LogOptions {
    let values = Values::new(Properties::default()).expect("defaults are valid");
    let mut config = TopicConfig::defaults(&values);
    config.segment_bytes = 1000;
    config.index_interval_bytes = 100;
    LogOptions::new(config, SyncPoints::DATA)
}

/// Runs a case on an empty simulated disk with a directory for the log.
fn on_disk(case: impl AsyncFnOnce(SimNode)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let node = SimWorld::new(7).node("a");
        Runtime::simulated(&node).disk().create_dir(Path::new(DIR)).expect("an empty disk");
        case(node).await;
    });
}

fn open_with(node: &SimNode, options: LogOptions, shutdown: Shutdown) -> (Log, Recovered) {
    let disk = Runtime::simulated(node).disk().clone();
    Log::open(&disk, Path::new(DIR), options, shutdown, Timestamp(0)).expect("a log that opens")
}

fn open(node: &SimNode, shutdown: Shutdown) -> (Log, Recovered) {
    open_with(node, options(), shutdown)
}

const UNCLEAN: Shutdown = Shutdown::Unclean { recovery_point: Offset(0) };

struct Batch {
    records: i32,
    time: i64,
    producer: Option<(i64, i32)>,
}

impl Batch {
    fn of(records: i32) -> Batch {
        Batch { records, time: 1000, producer: None }
    }

    fn build(&self) -> IncomingBatch {
        let kind = BatchKind::Data;
        let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(self.time));
        if let Some((id, sequence)) = self.producer {
            builder = builder.with_producer(ProducerId(id), ProducerEpoch(0), sequence);
        }
        for index in 0..self.records {
            builder.push(None, Some(format!("record {index:03}").as_bytes()));
        }
        let bytes = Bytes::from(builder.build());
        IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes }
    }
}

fn append(log: &mut Log, batch: &Batch) -> AppendInfo {
    let incoming = batch.build();
    let plan =
        log.plan_append(&incoming.header, Origin::Client, Timestamp(9000)).expect("accepted");
    let info = log.append(plan, &incoming, EPOCH, Timestamp(9000)).expect("appended");
    log.check();
    info
}

fn append_many(log: &mut Log, count: std::ops::Range<i32>, records: i32) {
    for _ in count {
        append(log, &Batch::of(records));
    }
}

/// As a follower, at a given offset.
fn append_from_leader(log: &mut Log, base: i64) {
    let mut batch = Batch::of(1).build();
    batch.header.base_offset = Offset(base);
    let plan = log.plan_append(&batch.header, Origin::Leader, Timestamp(0)).expect("accepted");
    log.append(plan, &batch, EPOCH, Timestamp(0)).expect("appended");
    log.check();
}

/// Offsets of the batches from `from` on, as a reader below `end` sees them.
fn read_bases(log: &mut Log, from: i64, end: i64, bytes_max: u64) -> Vec<i64> {
    let limit = ReadLimit { end: Offset(end), bytes_max, at_least_one: true };
    let Some(extent) = log.read(Offset(from), limit).expect("in range") else { return vec![] };
    let mut bytes = vec![0; extent.len as usize];
    extent.file.read_exact_at(&mut bytes, extent.position).expect("extents are valid");
    let mut bases = Vec::new();
    let mut rest = bytes.as_slice();
    while let Ok(header) = BatchHeader::read_checked(rest) {
        bases.push(header.base_offset.0);
        rest = &rest[header.size()..];
    }
    bases
}

fn all_bases(log: &mut Log) -> Vec<i64> {
    let mut bases: Vec<i64> = vec![];
    let (mut from, end) = (log.log_start().0, log.end().0);
    while from < end {
        let piece = read_bases(log, from, end, u64::MAX);
        bases.extend(&piece);
        let limit = ReadLimit { end: Offset(end), bytes_max: 0, at_least_one: true };
        let last = *piece.last().expect("a piece below the end is not empty");
        let extent = log.read(Offset(last), limit).expect("in range").expect("a batch");
        let mut bytes = vec![0; extent.len as usize];
        extent.file.read_exact_at(&mut bytes, extent.position).expect("valid");
        from = BatchHeader::read(&bytes).expect("a batch").next_offset().0;
    }
    bases
}

#[test]
fn batches_get_dense_offsets_over_segments() {
    on_disk(async |node| {
        let (mut log, recovered) = open(&node, Shutdown::Clean);
        assert_eq!(recovered, Recovered::default());
        for expected in 0..40 {
            let info = append(&mut log, &Batch::of(5));
            assert_eq!((info.base_offset.0, info.last_offset.0), (expected * 5, expected * 5 + 4));
        }
        assert!(log.segments.len() > 5, "{} segments", log.segments.len());
        assert_eq!(all_bases(&mut log), (0..40).map(|i| i * 5).collect::<Vec<_>>());
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        assert_eq!(log.epochs().entries(), [(EPOCH, Offset(0))]);
    });
}

#[test]
fn a_read_is_bounded_by_offset_and_bytes() {
    on_disk(async |node| {
        let mut options = options();
        options.config.segment_bytes = 1 << 20;
        let (mut log, _) = open_with(&node, options, Shutdown::Clean);
        let size = Batch::of(2).build().bytes.len() as u64;
        append_many(&mut log, 0..10, 2);
        assert_eq!(read_bases(&mut log, 5, 20, 3 * size), [4, 6, 8], "begins in the batch of 5");
        assert_eq!(read_bases(&mut log, 4, 8, u64::MAX), [4, 6], "ends below the bound");
        assert_eq!(read_bases(&mut log, 4, 20, 1), [4], "the first batch comes whole");
        assert_eq!(read_bases(&mut log, 20, 20, 100), [] as [i64; 0]);
        let none = ReadLimit { end: Offset(20), bytes_max: 0, at_least_one: false };
        assert!(log.read(Offset(4), none).unwrap().is_none());
        for outside in [-1, 21] {
            let result = log.read(Offset(outside), none);
            assert!(matches!(result, Err(LogError::OffsetOutOfRange)), "{outside}");
        }
    });
}

#[test]
fn times_are_found_in_their_batch() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        for time in [100, 300, 200, 500, 400, 900, 800] {
            append(&mut log, &Batch { time, ..Batch::of(4) });
        }
        let mut find = |target| {
            let found = log.locate_time(Timestamp(target), Offset(0)).expect("readable");
            found.map(|location| location.header.base_offset.0)
        };
        assert_eq!(find(0), Some(0));
        assert_eq!(find(101), Some(4));
        assert_eq!(find(300), Some(4));
        assert_eq!(find(301), Some(12));
        assert_eq!(find(900), Some(20));
        assert_eq!(find(901), None);
        let max = log.locate_max_time().expect("readable").expect("not empty");
        assert_eq!(max.header.base_offset, Offset(20));
    });
}

#[test]
fn log_append_time_is_the_broker_s() {
    on_disk(async |node| {
        let mut options = options();
        options.config.timestamp_source = TimestampSource::LogAppendTime;
        let (mut log, _) = open_with(&node, options, Shutdown::Clean);
        let info = append(&mut log, &Batch::of(3));
        assert_eq!(info.append_time, Timestamp(9000));
        let found = log.locate_time(Timestamp(9000), Offset(0)).unwrap().expect("it has the time");
        assert_eq!(found.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(read_bases(&mut log, 0, 3, 1000), [0], "its checksum is right");
    });
}

#[test]
fn idempotent_batches_are_appended_once() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        let batch = |sequence| Batch { producer: Some((5, sequence)), ..Batch::of(2) };
        append(&mut log, &batch(0));
        append(&mut log, &batch(2));
        assert_eq!(append(&mut log, &batch(0)).base_offset, Offset(0));
        assert_eq!(log.end(), Offset(4));
        let gap = log.plan_append(&batch(9).build().header, Origin::Client, Timestamp(0));
        assert_eq!(gap, Err(AppendRejection::OutOfOrderSequence));
        // The memory of producers survives a crash, by the log alone.
        drop(log);
        let (mut log, _) = open(&node, UNCLEAN);
        assert_eq!(append(&mut log, &batch(2)).base_offset, Offset(2));
        assert_eq!(append(&mut log, &batch(4)).base_offset, Offset(4));
    });
}

#[test]
fn a_clean_stop_forgets_none_of_a_producer_s_batches_under_way() {
    on_disk(async |node| {
        let batch = |sequence| Batch { producer: Some((5, sequence)), ..Batch::of(1) };
        let (mut log, _) = open(&node, Shutdown::Clean);
        for sequence in 0..100 {
            append(&mut log, &batch(sequence));
        }
        log.close().expect("closed");
        drop(log);
        // The snapshot holds the last batch alone; the log has the four before it.
        let (mut log, _) = open(&node, Shutdown::Clean);
        for sequence in 95..100 {
            let again = append(&mut log, &batch(sequence));
            assert_eq!(again.base_offset, Offset(i64::from(sequence)));
        }
        assert_eq!(log.end(), Offset(100));
    });
}

#[test]
fn segments_roll_by_age_and_full_index() {
    on_disk(async |node| {
        let mut options = options();
        options.config.segment_bytes = 1 << 20;
        options.config.segment_age_max = Duration::from_millis(500);
        let (mut log, _) = open_with(&node, options, Shutdown::Clean);
        for time in [1000, 1500, 1501] {
            append(&mut log, &Batch { time, ..Batch::of(1) });
        }
        assert_eq!(log.segments.len(), 2, "older than 500 ms");
        let mut config = log.config().clone();
        config.segment_age_max = Duration::from_hours(1);
        config.segment_index_bytes = 24;
        log.set_config(config);
        append_many(&mut log, 0..8, 9);
        assert!(log.segments.len() > 3, "{}", log.segments.len());
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    on_disk(async |node| {
        let (log, _) = open(&node, Shutdown::Clean);
        let plan = log.plan_append(&Batch::of(200).build().header, Origin::Client, Timestamp(0));
        assert_eq!(plan, Err(AppendRejection::LargerThanSegment));
    });
}

#[test]
fn a_follower_keeps_the_leader_s_offsets() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        let mut batch = Batch::of(2).build();
        batch.header.base_offset = Offset(10);
        let plan =
            log.plan_append(&batch.header, Origin::Leader, Timestamp(0)).expect("a gap is fine");
        assert!(matches!(plan, AppendPlan::Append { base_offset: Offset(10), .. }));
        log.append(plan, &batch, EPOCH, Timestamp(0)).expect("appended");
        assert_eq!(log.end(), Offset(12));
        let again = log.plan_append(&batch.header, Origin::Leader, Timestamp(0));
        assert_eq!(again, Err(AppendRejection::OutOfOrderOffsets));
    });
}

#[test]
fn truncation_forgets_everything_behind_the_end() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        for sequence in 0..30 {
            let producer = Some((5, sequence * 5));
            append(&mut log, &Batch { producer, time: 1000 + i64::from(sequence), ..Batch::of(5) });
        }
        for end in [140, 101, 100, 55, 0] {
            log.truncate_to(Offset(end)).expect("truncated");
            log.check();
            let end = end / 5 * 5;
            assert_eq!(log.end(), Offset(end), "at the border of a batch");
            assert_eq!(all_bases(&mut log), (0..end / 5).map(|i| i * 5).collect::<Vec<_>>());
            assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        }
        assert!(log.producers().is_empty());
        let first = append(&mut log, &Batch { producer: Some((5, 0)), ..Batch::of(5) });
        assert_eq!(first.base_offset, Offset(0));
    });
}

async fn flush(log: &mut Log) {
    while let Some(job) = log.start_flush().expect("files open") {
        job.run().expect("a sound disk");
        log.finish_flush(job.end);
    }
}

#[test]
fn what_was_flushed_survives_power_cuts() {
    for seed in 0..50 {
        on_disk(async |node| {
            Runtime::simulated(&node)
                .disk()
                .sync_dir(Path::new("/"), ottla_runtime::SyncPoint::PartitionDir)
                .unwrap();
            let (mut log, _) = open(&node, Shutdown::Clean);
            let durable = 3 + seed % 20;
            append_many(&mut log, 0..durable, 3);
            flush(&mut log).await;
            let point = log.checkpoint_offset();
            assert_eq!(point.0, i64::from(durable) * 3);
            append_many(&mut log, 0..7, 3);
            drop(log);
            node.crash(true).await;
            let shutdown = Shutdown::Unclean { recovery_point: point };
            let (mut log, _) = open(&node, shutdown);
            let bases = all_bases(&mut log);
            assert!(log.end() >= point, "seed {seed}: {} < {point}", log.end());
            assert_eq!(bases, (0..log.end().0 / 3).map(|i| i * 3).collect::<Vec<_>>());
            assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new(), "seed {seed}");
        });
    }
}

#[test]
fn a_clean_stop_needs_no_check() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..17, 4);
        log.close().expect("closed");
        log.start_final_flush().expect("files open").run().expect("a sound disk");
        drop(log);
        let (mut log, recovered) = open(&node, Shutdown::Clean);
        assert_eq!((log.end(), recovered), (Offset(68), Recovered::default()));
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        assert_eq!(append(&mut log, &Batch::of(1)).base_offset, Offset(68));
    });
}

#[test]
fn a_torn_tail_is_cut_and_later_segments_go() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..30, 5);
        let (base, path): (Offset, PathBuf) = {
            let segment = &log.segments[1];
            (segment.base(), segment.path().to_owned())
        };
        drop(log);
        let disk = Runtime::simulated(&node).disk().clone();
        let file = disk.open(&path, ottla_runtime::OpenMode::ReadWrite).unwrap();
        file.write_all_at(&mut [std::io::IoSlice::new(&[0xff])], 300).unwrap();
        let (mut log, recovered) = open(&node, UNCLEAN);
        assert!(log.end() > base && log.end() < base.plus(15), "{}", log.end());
        assert_eq!(log.segments.len(), 2);
        assert!(recovered.cut_bytes > 1000, "{recovered:?}");
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        let next = log.end();
        assert_eq!(append(&mut log, &Batch::of(1)).base_offset, next);
    });
}

#[test]
fn missing_and_damaged_indexes_are_rebuilt() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..30, 5);
        log.close().expect("closed");
        drop(log);
        let disk = Runtime::simulated(&node).disk().clone();
        let names: Vec<String> =
            disk.list(Path::new(DIR)).unwrap().into_iter().map(|e| e.name).collect();
        for (number, name) in names.iter().filter(|name| name.ends_with("index")).enumerate() {
            let path = Path::new(DIR).join(name);
            match number % 3 {
                0 => disk.remove_file(&path).unwrap(),
                1 => disk.open(&path, ottla_runtime::OpenMode::Create).unwrap().set_len(7).unwrap(),
                _ => {}
            }
        }
        let (mut log, recovered) = open(&node, Shutdown::Clean);
        assert_eq!((log.end(), recovered.cut_bytes), (Offset(150), 0));
        assert!(recovered.checked_bytes > 0);
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append(&mut log, &Batch::of(5));
        let used = node.disk().used();
        let mut refused = 0;
        for room in [0, 40, 150, 1000] {
            node.disk().set_faults(|faults| faults.capacity = Some(used + room));
            for _ in 0..8 {
                let batch = Batch::of(5).build();
                let plan = log.plan_append(&batch.header, Origin::Client, Timestamp(0)).unwrap();
                match log.append(plan, &batch, EPOCH, Timestamp(0)) {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(matches!(error, LogError::Rejected(AppendRejection::DiskFull)));
                        refused += 1;
                    }
                }
                log.check();
            }
        }
        assert!(refused > 10, "{refused}");
        node.disk().set_faults(|faults| faults.capacity = None);
        let end = log.end();
        assert_eq!(append(&mut log, &Batch::of(5)).base_offset, end);
        drop(log);
        let (mut log, recovered) = open(&node, UNCLEAN);
        assert_eq!((log.end(), recovered.cut_bytes), (end.plus(5), 0));
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

mod compacted;
mod compaction;
mod model;
mod recovery;
mod retention;
mod rolls;
mod transactions;
