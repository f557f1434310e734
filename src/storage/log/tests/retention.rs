//! Retention on the simulated disk: what goes, what stays, and what a start makes of the rest.

use std::path::Path;
use std::time::Duration;

use ottla_runtime::Runtime;
use ottla_runtime::sim::SimNode;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::{
    Batch, DIR, Log, LogOptions, ReadLimit, Shutdown, UNCLEAN, all_bases, append, on_disk, options,
};
use crate::error::LogError;

const NOW: Timestamp = Timestamp(10_000);

fn options_with(bytes: Option<u64>, age_ms: Option<u64>) -> LogOptions {
    let mut options = options();
    options.config.retention_bytes = bytes;
    options.config.retention_age = age_ms.map(Duration::from_millis);
    options
}

fn open_from(node: &SimNode, options: LogOptions, shutdown: Shutdown, start: i64) -> Log {
    let disk = Runtime::simulated(node).disk().clone();
    let start = Offset(start);
    Log::open_from(&disk, Path::new(DIR), options, shutdown, start, NOW).expect("it opens").0
}

/// Twenty batches of five records in several segments, at times 0, 100, 200, …
fn filled(node: &SimNode, options: LogOptions) -> Log {
    let mut log = open_from(node, options, Shutdown::Clean, 0);
    for index in 0..20 {
        append(
            &mut log,
            &Batch { records: 5, time: index * 100, producer: Some((7, index as i32 * 5)) },
        );
    }
    assert!(log.segments.len() >= 4, "{} segments", log.segments.len());
    log
}

fn bases(log: &Log) -> Vec<i64> {
    log.segments.iter().map(|segment| segment.base().0).collect()
}

fn files(node: &SimNode, suffix: &str) -> Vec<String> {
    let entries = Runtime::simulated(node).disk().list(Path::new(DIR)).expect("listed");
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(suffix)).collect()
}

/// Plans and deletes, as the housekeeping does; the new start.
fn retain(log: &mut Log, high_watermark: Offset, now: Timestamp) -> Option<i64> {
    let start = log.plan_retention(high_watermark, now).expect("planned")?;
    log.delete_below(start).expect("deleted");
    log.check();
    assert_eq!(log.log_start(), start);
    Some(start.0)
}

#[test]
fn by_size_the_oldest_go_and_never_too_much() {
    on_disk(async |node| {
        let mut log = filled(&node, options_with(None, None));
        let (before, size, end) = (bases(&log), log.size(), log.end());
        assert_eq!(retain(&mut log, end, NOW), None, "nothing is limited");
        let first = log.segments[0].size();
        log.options = options_with(Some(size - first + 1), None);
        assert_eq!(retain(&mut log, end, NOW), None, "one byte less than a segment too much");
        log.options = options_with(Some(size - first), None);
        assert_eq!(retain(&mut log, Offset(before[1] - 1), NOW), None, "the high watermark is low");
        assert_eq!(retain(&mut log, end, NOW), Some(before[1]));
        assert_eq!(bases(&log), before[1..]);
        assert_eq!(log.size(), size - first);
        log.options = options_with(Some(1), None);
        let last = *before.last().expect("segments");
        assert_eq!(retain(&mut log, end, NOW), Some(last), "the active one holds the rest");
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn by_age_whole_segments_go_and_the_future_stays() {
    on_disk(async |node| {
        let mut log = filled(&node, options_with(None, Some(5_000)));
        let (before, end) = (bases(&log), log.end());
        let latest = log.segments[0].latest_time().0;
        assert_eq!(retain(&mut log, end, Timestamp(latest + 5_000)), None, "not older than it may");
        assert_eq!(retain(&mut log, end, Timestamp(0)), None, "the clock went back");
        assert_eq!(retain(&mut log, end, Timestamp(latest + 5_001)), Some(before[1]));
        assert_eq!(retain(&mut log, end, Timestamp(i64::MAX)), Some(end.0), "rolled, then deleted");
        assert_eq!((bases(&log), log.size()), (vec![end.0], 0));
        assert_eq!(retain(&mut log, end, Timestamp(i64::MAX)), None, "the last empty one stays");
        let next = append(&mut log, &Batch { records: 1, time: 1, producer: Some((7, 100)) });
        assert_eq!(next.base_offset, end, "offsets and producers go on");
        assert!(
            log.read(Offset(end.0 - 1), ReadLimit { end, bytes_max: 9, at_least_one: true })
                .is_err_and(|error| matches!(error, LogError::OffsetOutOfRange))
        );
    });
}

#[test]
fn only_the_policy_delete_deletes() {
    on_disk(async |node| {
        let mut options = options_with(Some(0), Some(0));
        options.config.deletes = false;
        let mut log = filled(&node, options);
        let end = log.end();
        assert_eq!(retain(&mut log, end, NOW), None);
        log.options.config.deletes = true;
        assert_eq!(retain(&mut log, end, NOW), Some(end.0));
    });
}

#[test]
fn a_start_finishes_what_was_begun() {
    on_disk(async |node| {
        let mut log = filled(&node, options_with(Some(1500), None));
        let (before, end) = (bases(&log), log.end());
        // The start became durable, and then nothing else happened.
        let start = log.plan_retention(end, NOW).unwrap().expect("too much").0;
        assert!(start >= before[1] && files(&node, ".deleted").is_empty());
        let log = open_from(&node, options(), UNCLEAN, start);
        assert_eq!((log.log_start().0, bases(&log)[0], log.end()), (start, start, end));
        assert!(
            files(&node, ".snapshot").iter().all(|name| name[..20] >= format!("{start:020}")[..])
        );
        assert_eq!(log.epochs().entries(), [(LeaderEpoch(4), Offset(start))]);
        // Files were renamed, and not removed.
        let mut log = open_from(&node, options_with(Some(1), None), UNCLEAN, start);
        let later = retain(&mut log, end, NOW).expect("too much");
        assert!(!files(&node, ".log.deleted").is_empty());
        let mut log = open_from(&node, options(), UNCLEAN, start);
        assert_eq!(files(&node, ".deleted"), Vec::<String>::new());
        assert_eq!(log.log_start().0, later, "the first segment counts as well");
        assert_eq!(all_bases(&mut log)[0], later);
        let again = append(&mut log, &Batch { records: 5, time: 1, producer: Some((7, 95)) });
        assert_eq!(again.base_offset.0, 95, "a batch that was sent again is known");
    });
}

#[test]
fn the_start_never_goes_back_whatever_was_lost() {
    on_disk(async |node| {
        let mut log = filled(&node, options());
        let second = bases(&log)[1];
        log.truncate_to(Offset(second)).expect("truncated");
        drop(log);
        // What was above the start was never synced.
        let mut log = open_from(&node, options(), UNCLEAN, second + 500);
        assert_eq!((log.log_start().0, log.end().0), (second + 500, second + 500));
        assert_eq!(bases(&log), [second + 500]);
        let next = append(&mut log, &Batch::of(2));
        assert_eq!(next.base_offset.0, second + 500);
        // A start inside a segment, as DeleteRecords of Kafka's leaves it.
        let log = open_from(&node, options(), Shutdown::Clean, second + 501);
        assert_eq!((log.log_start().0, log.end().0), (second + 501, second + 502));
        log.check();
    });
}
