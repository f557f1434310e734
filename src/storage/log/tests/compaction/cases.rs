//! Single behaviours, each with the smallest log that shows it. Every batch is a segment of its
//! own, and the last one is written to: it stays as it is.

use super::super::*;
use crate::log::cleaner::{CleanJob, CleanLimits, CleanStats, CleanStep, Cleanable, CleanedGroup};
use ottla_protocol::batch::{BATCH_OVERHEAD, Records};
use ottla_protocol::control::{ControlRecord, EndTransaction};

/// Time of the first cleaning, and of the records.
const NOW: Timestamp = Timestamp(50_000);
const RETENTION: Timestamp = Timestamp(1_000);

type Pairs<'a> = &'a [(Option<&'a str>, Option<&'a str>)];

fn small() -> LogOptions {
    let mut options = options();
    options.config.compacts = true;
    options.config.segment_bytes = 100;
    options.config.delete_retention = Duration::from_millis(RETENTION.0.unsigned_abs());
    options
}

/// A log whose batches may be merged, but for the last one.
fn open_small(node: &SimNode) -> Log {
    let (mut log, _) = open_with(node, small(), Shutdown::Clean);
    log.note_created();
    log
}

fn builder(kind: BatchKind, producer: Option<(i64, i32)>) -> BatchBuilder {
    let builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), NOW);
    match producer {
        Some((id, sequence)) => builder.with_producer(ProducerId(id), ProducerEpoch(0), sequence),
        None => builder,
    }
}

fn write(log: &mut Log, builder: BatchBuilder, origin: Origin) {
    let bytes = Bytes::from(builder.build());
    let batch = IncomingBatch { header: BatchHeader::read(&bytes).expect("built"), bytes };
    let plan = log.plan_append(&batch.header, origin, NOW).expect("accepted");
    log.append(plan, &batch, EPOCH, NOW).expect("appended");
}

fn put_as(log: &mut Log, kind: BatchKind, producer: Option<(i64, i32)>, pairs: Pairs<'_>) {
    let mut builder = builder(kind, producer);
    for (key, value) in pairs {
        builder.push(key.map(str::as_bytes), value.map(str::as_bytes));
    }
    write(log, builder, Origin::Client);
}

fn put(log: &mut Log, pairs: Pairs<'_>) {
    put_as(log, BatchKind::Data, None, pairs);
}

fn abort(log: &mut Log, producer: i64) {
    let record = ControlRecord::Abort(EndTransaction { coordinator_epoch: 0 });
    let (key, value) = record.encode();
    let mut builder = builder(BatchKind::Marker, Some((producer, -1)));
    builder.push(Some(&key), Some(&value));
    write(log, builder, Origin::Quorum);
}

fn flush(log: &mut Log) {
    while let Some(job) = log.start_flush().expect("sound") {
        job.run().expect("sound");
        log.finish_flush(job.end);
    }
    log.replicated(log.end());
}

fn plan(log: &mut Log, from: Option<Offset>, now: Timestamp) -> Cleanable {
    flush(log);
    let end = log.end();
    log.plan_cleaning(from, end, now).expect("readable")
}

/// Cleans into segments of this size; the map takes as many keys.
fn clean_with(
    log: &mut Log,
    from: Option<Offset>,
    now: Timestamp,
    (segment_bytes, keys): (u32, u64),
) -> (Offset, CleanStats) {
    let planned = plan(log, from, now);
    let mut config = small().config;
    config.segment_bytes = segment_bytes;
    log.set_config(config);
    let map_bytes = (keys + 1) * 24;
    let limits = CleanLimits { map_bytes, load_factor: 1.0, write_bytes: 100, secret: (1, 2) };
    let mut job = log.start_cleaning(planned, limits, now).expect("readable");
    log.set_config(small().config);
    loop {
        match job.step().expect("sound") {
            CleanStep::Working(_) => {}
            CleanStep::Cleaned(group) => {
                let base = group.base();
                let group = log.stage_swap(*group).expect("renamed").expect("unchanged");
                job.sync_staged().expect("sound");
                log.begin_swap(group).expect("renamed").expect("unchanged");
                job.sync_replaced().expect("sound");
                log.end_swap(base).expect("renamed");
                log.check();
            }
            CleanStep::Done(end, stats) => return (end, stats),
        }
    }
}

fn clean(log: &mut Log, now: Timestamp) -> CleanStats {
    clean_with(log, None, now, (100_000, 100)).1
}

/// Headers of all batches, and their records: offset, and key and value as one text.
fn found(log: &mut Log) -> (Vec<BatchHeader>, Vec<(i64, String)>) {
    let (mut headers, mut records) = (Vec::new(), Vec::new());
    let (mut from, end) = (log.log_start(), log.end());
    while from < end {
        let limit = ReadLimit { end, bytes_max: u64::MAX, at_least_one: true };
        let extent = log.read(from, limit).expect("in range").expect("there is more");
        let mut bytes = vec![0; extent.len as usize];
        extent.file.read_exact_at(&mut bytes, extent.position).expect("valid");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let header = BatchHeader::read_checked(rest).expect("sound");
            from = header.next_offset();
            for record in Records::new(&header, &rest[BATCH_OVERHEAD..header.size()]) {
                let record = record.expect("sound");
                let text = |bytes: Option<&[u8]>| {
                    bytes.map_or("-".into(), |it| String::from_utf8_lossy(it).into_owned())
                };
                if !header.attributes.is_control() {
                    let pair = format!("{} {}", text(record.key), text(record.value));
                    records.push((record.offset.0, pair));
                }
            }
            rest = &rest[header.size()..];
            headers.push(header);
        }
    }
    (headers, records)
}

fn records(log: &mut Log) -> Vec<(i64, String)> {
    found(log).1
}

/// As [`records`] tells them.
fn are(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(at, pair)| (*at, (*pair).to_owned())).collect()
}

fn after(time: Timestamp, ms: i64) -> Timestamp {
    Timestamp(time.0 + ms)
}

#[test]
fn the_last_of_each_key_stays_where_it_is() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(Some("a"), Some("1")), (Some("b"), Some("1"))]);
        put(&mut log, &[(Some("a"), Some("2")), (Some("c"), Some("1"))]);
        put(&mut log, &[(Some("b"), Some("3"))]);
        let stats = clean(&mut log, NOW);
        assert_eq!((stats.read_records, stats.written_records), (4, 3));
        assert_eq!(records(&mut log), are(&[(1, "b 1"), (2, "a 2"), (3, "c 1"), (4, "b 3")]));
        put(&mut log, &[(Some("x"), Some("1"))]);
        clean(&mut log, NOW);
        assert_eq!(records(&mut log), are(&[(2, "a 2"), (3, "c 1"), (4, "b 3"), (5, "x 1")]));
        assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
    });
}

#[test]
fn a_tombstone_goes_when_its_time_is_past_which_the_first_cleaning_sets() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(Some("a"), Some("1"))]);
        put(&mut log, &[(Some("a"), None)]);
        put(&mut log, &[(Some("x"), Some("1"))]);
        put(&mut log, &[(Some("x"), Some("2"))]);
        clean(&mut log, NOW);
        let (headers, left) = found(&mut log);
        assert_eq!(left, are(&[(1, "a -"), (2, "x 1"), (3, "x 2")]));
        assert!(headers[0].attributes.has_delete_horizon());
        assert_eq!(headers[0].base_timestamp, after(NOW, RETENTION.0));
        clean(&mut log, after(NOW, RETENTION.0 - 1));
        assert_eq!(records(&mut log)[0], (1, "a -".to_owned()));
        clean(&mut log, after(NOW, RETENTION.0));
        assert_eq!(records(&mut log), are(&[(2, "x 1"), (3, "x 2")]));
    });
}

#[test]
fn aborted_data_goes_at_once_and_its_marker_when_its_time_is_past() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(Some("a"), Some("1"))]);
        put_as(&mut log, BatchKind::Transactional, Some((7, 0)), &[(Some("a"), Some("void"))]);
        abort(&mut log, 7);
        // It is another epoch's marker that the log must keep.
        let bumped = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), NOW);
        let mut bumped = bumped.with_producer(ProducerId(7), ProducerEpoch(1), 0);
        bumped.push(Some(b"b"), Some(b"1"));
        write(&mut log, bumped, Origin::Client);
        put(&mut log, &[(Some("x"), Some("1"))]);
        let offsets = |log: &mut Log| {
            found(log).0.iter().map(|header| header.base_offset.0).collect::<Vec<_>>()
        };
        clean(&mut log, NOW);
        assert_eq!(records(&mut log), are(&[(0, "a 1"), (3, "b 1"), (4, "x 1")]));
        assert_eq!(offsets(&mut log), [0, 2, 3, 4], "the marker is there");
        // Nothing of its transaction is left: from now on its time counts.
        clean(&mut log, NOW);
        clean(&mut log, after(NOW, RETENTION.0 - 1));
        assert_eq!(offsets(&mut log), [0, 2, 3, 4]);
        clean(&mut log, after(NOW, RETENTION.0));
        assert_eq!(offsets(&mut log), [0, 3, 4]);
    });
}

#[test]
fn records_without_a_key_go_and_are_counted() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(None, Some("1")), (Some("a"), Some("1"))]);
        put(&mut log, &[(None, Some("2"))]);
        assert_eq!(clean(&mut log, NOW).keyless_records, 1);
        assert_eq!(records(&mut log), are(&[(1, "a 1"), (2, "- 2")]));
    });
}

#[test]
fn batches_that_a_producer_may_send_again_stay_without_records() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        for sequence in 0..8 {
            let value = sequence.to_string();
            let pairs = [(Some("a"), Some(value.as_str()))];
            put_as(&mut log, BatchKind::Data, Some((7, sequence)), &pairs);
        }
        put(&mut log, &[(Some("x"), Some("1"))]);
        clean(&mut log, NOW);
        let (headers, left) = found(&mut log);
        assert_eq!(left, are(&[(7, "a 7"), (8, "x 1")]));
        let offsets: Vec<_> = headers.iter().map(|header| header.base_offset.0).collect();
        assert_eq!(offsets, [3, 4, 5, 6, 7, 8]);
        log.close().expect("closed");
        flush(&mut log);
        drop(log);
        let (log, _) = open_with(&node, small(), Shutdown::Clean);
        let mut again = builder(BatchKind::Data, Some((7, 3)));
        again.push(Some(b"a"), Some(b"3"));
        let header = BatchHeader::read(&again.build()).expect("built");
        let plan = log.plan_append(&header, Origin::Client, NOW).expect("recognized");
        assert!(matches!(plan, AppendPlan::Duplicate(..)), "{plan:?}");
    });
}

#[test]
fn what_does_not_fit_into_the_table_waits_for_the_next_time() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        for key in ["a", "b", "c", "a", "b", "c", "x"] {
            put(&mut log, &[(Some(key), Some("1"))]);
        }
        let (end, _) = clean_with(&mut log, None, NOW, (100_000, 2));
        assert_eq!(end, Offset(2));
        assert_eq!(records(&mut log).len(), 7);
        let (end, stats) = clean_with(&mut log, Some(end), NOW, (100_000, 100));
        assert_eq!((end, stats.written_records), (Offset(6), 3));
        assert_eq!(records(&mut log), are(&[(3, "a 1"), (4, "b 1"), (5, "c 1"), (6, "x 1")]));
    });
}

#[test]
fn neighbours_become_one_segment_as_far_as_they_fit() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        for key in ["a", "b", "c", "d", "x"] {
            put(&mut log, &[(Some(key), Some("1"))]);
        }
        let size = log.segments[0].size() as u32;
        clean_with(&mut log, None, NOW, (size * 3, 100));
        let bases: Vec<_> = log.segments.iter().map(|segment| segment.base().0).collect();
        assert_eq!(bases, [0, 3, 4]);
        assert_eq!(records(&mut log).len(), 5);
    });
}

#[test]
fn what_is_young_not_stable_or_not_durable_is_left_alone() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(Some("a"), Some("1"))]);
        put_as(&mut log, BatchKind::Transactional, Some((7, 0)), &[(Some("a"), Some("2"))]);
        put(&mut log, &[(Some("a"), Some("3"))]);
        let end = log.end();
        let unflushed = log.plan_cleaning(None, end, NOW).expect("readable");
        assert_eq!(unflushed.dirty_bytes, 0);
        assert_eq!(plan(&mut log, None, NOW).end, Offset(1), "the transaction is open");
        abort(&mut log, 7);
        assert_eq!(plan(&mut log, None, NOW).end, Offset(3));
        let mut config = small().config;
        config.min_compaction_lag = Duration::from_millis(10);
        log.set_config(config);
        assert_eq!(plan(&mut log, None, after(NOW, 9)).end, Offset(0));
        assert_eq!(plan(&mut log, None, after(NOW, 10)).end, Offset(3));
    });
}

#[test]
fn a_log_in_another_directory_takes_no_segment_of_a_job() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        put(&mut log, &[(Some("a"), Some("1"))]);
        put(&mut log, &[(Some("a"), Some("2"))]);
        let (_, group) = first_group(&mut log);
        // As one that was moved: the same segments elsewhere.
        let disk = Runtime::simulated(&node).disk().clone();
        let elsewhere = Path::new("/elsewhere");
        disk.create_dir(elsewhere).expect("created");
        let (mut moved, _) =
            Log::open(&disk, elsewhere, small(), Shutdown::Clean, NOW).expect("opened");
        put(&mut moved, &[(Some("a"), Some("1"))]);
        put(&mut moved, &[(Some("a"), Some("2"))]);
        assert!(moved.stage_swap(group).expect("dropped").is_none());
        moved.check();
        assert_eq!(records(&mut moved).len(), 2);
        let left = disk.list(Path::new(DIR)).expect("listed");
        assert!(!left.iter().any(|entry| entry.name.ends_with(".cleaned")), "{left:?}");
    });
}

/// A segment that a job made, and the job.
fn first_group(log: &mut Log) -> (CleanJob, CleanedGroup) {
    let planned = plan(log, None, NOW);
    let limits = CleanLimits { map_bytes: 100, load_factor: 1.0, write_bytes: 1, secret: (1, 2) };
    let mut job = log.start_cleaning(planned, limits, NOW).expect("readable");
    loop {
        if let CleanStep::Cleaned(group) = job.step().expect("sound") {
            return (job, *group);
        }
    }
}

#[test]
fn a_log_that_was_truncated_takes_no_segment_of_a_job() {
    for is_staged in [false, true] {
        on_disk(async |node| {
            let mut log = open_small(&node);
            for value in ["1", "2", "3"] {
                put(&mut log, &[(Some("a"), Some(value))]);
            }
            let (job, group) = first_group(&mut log);
            let group = match is_staged {
                false => group,
                true => {
                    let group = log.stage_swap(group).expect("renamed").expect("unchanged");
                    job.sync_staged().expect("sound");
                    group
                }
            };
            // The same segments again, with something else in them.
            log.truncate_to(Offset(0)).expect("cut");
            for value in ["4", "5", "6"] {
                put(&mut log, &[(Some("b"), Some(value))]);
            }
            let disk = Runtime::simulated(&node).disk().clone();
            let left = || disk.list(Path::new(DIR)).expect("listed");
            let has = |suffix: &str| left().iter().any(|entry| entry.name.ends_with(suffix));
            assert!(!has(".swap") && !has(".cleaned"), "a crash would bring it back");
            if is_staged {
                assert!(log.begin_swap(group).expect("dropped").is_none());
            } else {
                assert!(log.stage_swap(group).expect("dropped").is_none());
            }
            log.check();
            assert_eq!(records(&mut log), are(&[(0, "b 4"), (1, "b 5"), (2, "b 6")]));
        });
    }
}

#[test]
fn what_is_as_old_as_it_may_be_is_compacted_however_little_there_is_to_gain() {
    on_disk(async |node| {
        let mut options = small();
        options.config.min_cleanable_ratio = 1.0;
        options.config.max_compaction_lag = Some(Duration::from_millis(500));
        let (mut log, _) = open_with(&node, options.clone(), Shutdown::Clean);
        log.note_created();
        put(&mut log, &[(Some("a"), Some("1"))]);
        put(&mut log, &[(Some("a"), Some("2"))]);
        let is_due = |log: &mut Log, ms| plan(log, None, after(NOW, ms)).is_due(&options.config);
        assert!(!is_due(&mut log, 500));
        assert!(is_due(&mut log, 501));
        let overdue = |log: &mut Log, ms| plan(log, None, after(NOW, ms)).overdue_ms;
        assert_eq!([500, 501, 1_700].map(|ms| overdue(&mut log, ms)), [0, 1, 1_200]);
    });
}

#[test]
fn nothing_of_a_cleaning_that_has_no_room_is_left() {
    on_disk(async |node| {
        let mut log = open_small(&node);
        for round in 0..4 {
            let value = format!("{round}");
            put(&mut log, &[(Some("a"), Some(&value)), (Some("b"), Some(&value))]);
        }
        let planned = plan(&mut log, None, NOW);
        // All of it is written when its segment is whole.
        let limits =
            CleanLimits { map_bytes: 1_000, load_factor: 1.0, write_bytes: 1_000, secret: (1, 2) };
        let mut job = log.start_cleaning(planned, limits, NOW).expect("readable");
        let used = node.disk().used();
        node.disk().set_faults(|faults| faults.capacity = Some(used));
        let error = loop {
            match job.step() {
                Ok(CleanStep::Working(_)) => {}
                // Of which nothing is left.
                Ok(CleanStep::Cleaned(group)) => group.discard().expect("removed"),
                Ok(CleanStep::Done(..)) => panic!("there is room"),
                Err(error) => break error,
            }
        };
        assert!(error.is_disk_full(), "{error}");
        job.abandon();
        let left = || {
            let files = node.disk().files().into_iter().map(|(path, _)| path);
            files.filter(|path| path.extension().is_some_and(|it| it == "cleaned")).count()
        };
        assert_eq!(left(), 0);

        // Nor when nobody could remove it: a start would take it for a part of what is swapped.
        node.disk().set_faults(|faults| faults.capacity = None);
        let stale = Path::new(DIR).join("00000000000000000001.log.cleaned");
        let disk = Runtime::simulated(&node).disk().clone();
        disk.write_atomically(&stale, b"x", None, None).expect("written");
        clean(&mut log, NOW);
        assert_eq!(left(), 0);
    });
}
