//! When the next segment begins, and files that have their full size at once.

use std::path::PathBuf;
use std::time::Duration;

use ottla_runtime::Disk;

use super::*;

fn file(base: i64, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{DIR}/{base:020}.{suffix}"))
}

fn disk(node: &SimNode) -> Disk {
    Runtime::simulated(node).disk().clone()
}

fn len(node: &SimNode, path: &Path) -> u64 {
    disk(node).open(path, OpenMode::Read).expect("it is there").len().expect("told")
}

fn bases(log: &Log) -> Vec<i64> {
    log.segments.iter().map(|segment| segment.base().0).collect()
}

/// Nothing but what the case is about makes a segment end.
fn endless() -> LogOptions {
    let mut options = options();
    options.config.segment_bytes = 1 << 20;
    options.config.segment_age_max = Duration::from_secs(1_000_000);
    options
}

fn append_at(log: &mut Log, time: i64, now: i64) {
    let batch = Batch { records: 1, time, producer: None }.build();
    let plan = log.plan_append(&batch.header, Origin::Client, Timestamp(now)).expect("accepted");
    log.append(plan, &batch, EPOCH, Timestamp(now)).expect("appended");
}

#[test]
fn a_segment_is_as_old_as_the_times_of_its_records_are_apart() {
    let rolls_of = |times: &[(i64, i64)]| {
        let (tx, rx) = std::sync::mpsc::channel();
        on_disk(async move |node| {
            let mut options = endless();
            options.config.segment_age_max = Duration::from_millis(100);
            let (mut log, _) = open_with(&node, options, Shutdown::Clean);
            times.iter().for_each(|(time, now)| append_at(&mut log, *time, *now));
            tx.send(bases(&log)).expect("somebody waits");
        });
        rx.recv().expect("sent")
    };
    // The wall clock does not count where records have times …
    assert_eq!(rolls_of(&[(1000, 0), (1100, 5000), (1101, 5000)]), [0, 2]);
    // … nor do records that go back, or have none.
    assert_eq!(rolls_of(&[(1000, 0), (900, 0), (-1, 9000), (1100, 9000)]), [0]);
    // Without a time of the first batch the clock counts, from the segment's creation.
    assert_eq!(rolls_of(&[(-1, 0), (-1, 100), (-1, 101)]), [0, 2]);
}

#[test]
fn the_largest_time_of_the_first_batch_counts_after_a_restart_and_a_truncation_too() {
    on_disk(async |node| {
        let mut options = endless();
        options.config.segment_age_max = Duration::from_millis(100);
        let (mut log, _) = open_with(&node, options.clone(), UNCLEAN);
        append_at(&mut log, 1000, 0);
        append_at(&mut log, 1101, 0);
        append_at(&mut log, 1300, 0);
        assert_eq!(bases(&log), [0, 1, 2]);
        drop(log);
        let (mut log, _) = open_with(&node, options, UNCLEAN);
        log.truncate_to(Offset(1)).expect("truncated");
        append_at(&mut log, 1100, 0);
        assert_eq!(bases(&log), [0], "1000 is the first, and 1100 not too late");
        append_at(&mut log, 1101, 0);
        assert_eq!(bases(&log), [0, 2]);
    });
}

#[test]
fn full_indexes_end_a_segment() {
    on_disk(async |node| {
        let mut options = endless();
        options.config.index_interval_bytes = 0;
        // Five entries of eight bytes; three of twelve, of which one stays free.
        options.config.segment_index_bytes = 47;
        let (mut log, _) = open_with(&node, options.clone(), UNCLEAN);
        (0..13).for_each(|_| append_at(&mut log, 1000, 0));
        assert_eq!(bases(&log), [0, 6, 12], "the first batch has no entry");
        drop(log);
        disk(&node).remove_dir_all(Path::new(DIR)).expect("removed");
        disk(&node).create_dir(Path::new(DIR)).expect("created");
        let (mut log, _) = open_with(&node, options, UNCLEAN);
        (0..7).for_each(|index| append_at(&mut log, 1000 + index, 0));
        assert_eq!(bases(&log), [0, 3, 6], "two entries of times, and room for the last");
        assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
    });
}

#[test]
fn offsets_that_are_too_far_apart_are_in_two_segments() {
    let most = i64::from(i32::MAX);
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, endless(), UNCLEAN);
        append_from_leader(&mut log, 0);
        append_from_leader(&mut log, most);
        assert_eq!(bases(&log), [0]);
        append_from_leader(&mut log, most + 1);
        assert_eq!(bases(&log), [0, most + 1]);
        append_from_leader(&mut log, 3 * most);
        assert_eq!(bases(&log), [0, most + 1, 3 * most], "it begins with the batch");
        assert_eq!(log.end(), Offset(3 * most + 1));
    });
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, endless(), UNCLEAN);
        append_from_leader(&mut log, 2 * most);
        assert_eq!(bases(&log), [0, 2 * most], "an empty segment is no exception");
        assert_eq!(all_bases(&mut log), [2 * most]);
    });
}

#[test]
fn the_jitter_makes_segments_end_earlier_and_is_drawn_for_each() {
    on_disk(async |node| {
        let mut options = endless();
        options.config.segment_age_max = Duration::from_millis(1000);
        options.config.segment_jitter = Duration::from_millis(5000);
        options.entropy = Some(Runtime::simulated(&node).entropy().clone());
        let (mut log, _) = open_with(&node, options.clone(), UNCLEAN);
        (0..4000).for_each(|time| append_at(&mut log, time, 0));
        let bases = bases(&log);
        let ages: Vec<i64> = bases.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(ages.iter().all(|age| (1..=1001).contains(age)), "{ages:?}");
        assert!(ages.windows(2).any(|pair| pair[0] != pair[1]), "{ages:?}");
        assert!(ages.len() > 4, "the jitter is at most segment.ms: {ages:?}");
    });
}

fn preallocating() -> LogOptions {
    let mut options = options();
    options.config.preallocate = true;
    options
}

#[test]
fn a_preallocated_file_is_cut_at_the_end_of_its_segment_and_at_a_stop() {
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, preallocating(), UNCLEAN);
        assert_eq!(len(&node, &file(0, "log")), 1000);
        append_many(&mut log, 0..8, 10);
        let (bases, sizes) = (bases(&log), log.segments.iter().map(Segment::size));
        let sizes: Vec<u64> = sizes.collect();
        let files = |node| -> Vec<u64> {
            bases.iter().map(|base| len(node, &file(*base, "log"))).collect()
        };
        let last = sizes.len() - 1;
        assert!(last > 0 && sizes[last] < 1000);
        assert_eq!(files(&node), [&sizes[..last], &[1000]].concat());
        log.close().expect("closed");
        let job = log.start_final_flush().expect("a job");
        job.run().expect("synced");
        log.finish_flush(job.end);
        drop(log);
        // The cuts are durable.
        node.crash(true).await;
        assert_eq!(files(&node), sizes);
        let (mut log, _) = open_with(&node, preallocating(), Shutdown::Clean);
        assert_eq!(log.end(), Offset(80));
        append_many(&mut log, 0..8, 10);
        assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
    });
}

#[test]
fn a_crash_leaves_zeros_behind_the_records_which_are_cut() {
    for shutdown in [UNCLEAN, Shutdown::Killed { recovery_point: Offset(0) }] {
        on_disk(async move |node| {
            let (mut log, _) = open_with(&node, preallocating(), UNCLEAN);
            append_many(&mut log, 0..2, 10);
            let size = log.size();
            drop(log);
            node.crash(false).await;
            assert_eq!(len(&node, &file(0, "log")), 1000);
            // Whatever the topic says by now.
            let (mut log, recovered) = open_with(&node, options(), shutdown);
            assert_eq!((log.end(), recovered.cut_bytes), (Offset(20), 1000 - size));
            assert_eq!(len(&node, &file(0, "log")), size);
            append_many(&mut log, 0..8, 10);
            assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
        });
    }
}

#[test]
fn a_segment_whose_records_were_durable_before_it_was_cut_is_cut_after_a_power_cut() {
    on_disk(async |node| {
        disk(&node).sync_dir(Path::new("/"), ottla_runtime::SyncPoint::PartitionDir).expect("ok");
        let (mut log, _) = open_with(&node, preallocating(), UNCLEAN);
        log.note_created();
        // As with flush.messages=1: nothing of the first segment is left for the next flush.
        for _ in 0..8 {
            append(&mut log, &Batch::of(10));
            let job = log.start_flush().expect("open").expect("something to do");
            job.run().expect("synced");
            log.finish_flush(job.end);
        }
        let (recovery_point, first) = (log.checkpoint_offset(), log.segments[0].size());
        assert_eq!(recovery_point, Offset(80));
        drop(log);
        node.crash(true).await;
        assert_eq!(len(&node, &file(0, "log")), first);
        let (mut log, _) = open_with(&node, preallocating(), Shutdown::Unclean { recovery_point });
        assert_eq!(all_bases(&mut log), (0..8).map(|i| i * 10).collect::<Vec<_>>());
    });
}

#[test]
fn a_snapshot_s_silent_producers_are_not_taken_up() {
    on_disk(async |node| {
        let open_at = |now: i64| {
            let mut options = endless();
            options.producer_age_max = Duration::from_secs(60);
            let now = Timestamp(now);
            Log::open(&disk(&node), Path::new(DIR), options, Shutdown::Clean, now).expect("opens").0
        };
        let mut log = open_at(0);
        append(&mut log, &Batch { records: 1, time: 1000, producer: Some((1, 0)) });
        append(&mut log, &Batch { records: 1, time: 5000, producer: Some((2, 0)) });
        log.close().expect("closed");
        assert_eq!(open_at(60_999).producers().len(), 2);
        assert_eq!(open_at(61_000).producers().len(), 1, "as old as the limit is too old");
        // Without the snapshot the log tells of all, and the next look forgets them.
        disk(&node).remove_file(&file(2, "snapshot")).expect("there was one");
        assert_eq!(open_at(99_000).producers().len(), 2);
    });
}
