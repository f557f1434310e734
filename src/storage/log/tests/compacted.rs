//! Logs that Kafka's cleaner worked on: gaps between segments, and segments without a record in
//! front of others.

use std::path::Path;

use ottla_runtime::sim::SimNode;
use ottla_runtime::{OpenMode, Runtime};
use ottla_types::{Offset, Timestamp};

use super::{
    Batch, DIR, Log, LogOptions, Shutdown, UNCLEAN, all_bases, append, append_many, on_disk,
    open_with, options,
};

/// A log whose first and third segment were compacted to nothing; the offsets that are left.
fn compacted(node: &SimNode, options: &LogOptions) -> Vec<i64> {
    let (mut log, _) = open_with(node, options.clone(), Shutdown::Clean);
    append_many(&mut log, 0..30, 5);
    let bases: Vec<i64> = log.segments.iter().map(|segment| segment.base().0).collect();
    assert!(bases.len() >= 5, "{bases:?}");
    let all = all_bases(&mut log);
    log.close().expect("closed");
    let disk = Runtime::simulated(node).disk().clone();
    for base in [bases[0], bases[2]] {
        for suffix in ["log", "index", "timeindex"] {
            let path = Path::new(DIR).join(format!("{base:020}.{suffix}"));
            disk.open(&path, OpenMode::Truncate).expect("emptied");
        }
    }
    let is_gone = |at: &i64| *at < bases[1] || (bases[2]..bases[3]).contains(at);
    all.into_iter().filter(|at| !is_gone(at)).collect()
}

fn check(log: &mut Log, left: &[i64]) {
    log.check();
    assert_eq!(all_bases(log), left);
    assert_eq!(log.inconsistencies().expect("readable"), Vec::<String>::new());
    let end = log.end();
    assert_eq!(append(log, &Batch::of(5)).base_offset, end);
    assert!(log.locate_time(Timestamp(0), Offset(0)).expect("readable").is_some());
}

#[test]
fn empty_segments_are_passed_over() {
    on_disk(async |node| {
        let left = compacted(&node, &options());
        let (mut log, recovered) = open_with(&node, options(), Shutdown::Clean);
        assert_eq!(recovered.cut_bytes, 0);
        check(&mut log, &left);
    });
}

#[test]
fn gaps_of_a_compacted_log_are_no_loss() {
    on_disk(async |node| {
        let mut options = options();
        options.config.compacts = true;
        let left = compacted(&node, &options);
        let (mut log, recovered) = open_with(&node, options, UNCLEAN);
        assert_eq!(recovered.cut_bytes, 0);
        check(&mut log, &left);
    });
}

#[test]
fn gaps_of_a_log_that_was_compacted_before_are_no_loss_either() {
    on_disk(async |node| {
        let mut options = options();
        let left = compacted(&node, &options);
        options.was_compacted = true;
        let (mut log, recovered) = open_with(&node, options, UNCLEAN);
        assert_eq!(recovered.cut_bytes, 0);
        check(&mut log, &left);
    });
}

#[test]
fn a_gap_of_another_log_is_the_lost_end_of_a_segment() {
    on_disk(async |node| {
        compacted(&node, &options());
        let (mut log, recovered) = open_with(&node, options(), UNCLEAN);
        assert!(recovered.cut_bytes > 0 && all_bases(&mut log).is_empty());
    });
}
