//! The metadata log: damage stops the start, and a torn tail is cut.

use std::fs;
use std::path::Path;

use ottla_types::ErrorCode;

use super::{BOTH, End, batches, find, flip, metadata_log, resize};
use crate::node::{Node, Setup, binary, wait_until};
use crate::requests::{create, error, metadata_of};

/// A node with the topics `first`, `second` and `third`, which has ended.
fn ended(end: End) -> Node {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    let client = &mut node.connect();
    for name in ["first", "second", "third"] {
        create(client, name, 1, &[]);
    }
    match end {
        End::Clean => node.stop(),
        End::Kill => node.process().kill(),
    }
    node
}

/// The start is refused, as often as it is tried; what it says.
fn refused(setup: &Setup) -> String {
    let told: Vec<_> =
        (0..2).map(|_| setup.fails_with(1, binary().args(setup.arguments()))).collect();
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("ottla storage repair"), "{told:?}");
    assert_eq!(told[0].lines().count(), 1, "{told:?}");
    told[0].clone()
}

fn serves_all(node: &mut Node) {
    node.start_again();
    for name in ["first", "second", "third"] {
        let found = error(metadata_of(&mut node.connect(), name).topics[0].error_code);
        assert_eq!(found, ErrorCode::None, "{name}");
    }
}

/// Bytes of the log as they are, to be put back in place.
fn put_back(path: &Path, bytes: &[u8]) {
    resize(path, 0, bytes);
}

/// The offset of the batch in which a text stands.
fn offset_of(log: &Path, text: &str) -> i64 {
    let (bytes, at) = (fs::read(log).unwrap(), find(log, text));
    let start = *batches(log).iter().rfind(|start| **start < at).unwrap();
    i64::from_be_bytes(bytes[start..start + 8].try_into().unwrap())
}

/// Up to where the log is noted to be durable.
fn noted_end(setup: &Setup) -> i64 {
    let noted = fs::read_to_string(setup.data().join("recovery-point-offset-checkpoint"));
    let noted = noted.unwrap_or_default();
    let line = noted.lines().find_map(|line| line.strip_prefix("__cluster_metadata 0 "));
    line.map_or(-1, |end| end.parse().unwrap())
}

#[test]
fn a_broken_batch_with_sound_ones_behind_it_stops_the_start() {
    for end in BOTH {
        let mut node = ended(end);
        let log = metadata_log(&node.setup);
        let at = find(&log, "second");
        let start = *batches(&log).iter().rfind(|start| **start < at).unwrap();
        flip(&log, at);
        let told = refused(&node.setup);
        let place = format!("{} is damaged at byte {start} (offset ", log.display());
        assert!(told.contains(&place), "{told}");
        assert!(find(&log, "third") > at, "nothing was cut");
        flip(&log, at);
        serves_all(&mut node);
    }
}

#[test]
fn an_offset_or_an_epoch_that_is_wrong_is_damage_too() {
    let mut node = ended(End::Clean);
    let log = metadata_log(&node.setup);
    let at = find(&log, "second");
    let start = *batches(&log).iter().rfind(|start| **start < at).unwrap();
    // No checksum covers these.
    for field in [start + 6, start + 13] {
        flip(&log, field);
        assert!(refused(&node.setup).contains("does not follow the one before"));
        flip(&log, field);
    }
    serves_all(&mut node);
}

#[test]
fn a_log_that_ends_below_what_was_committed_stops_the_start() {
    for end in BOTH {
        let mut node = ended(end);
        if end == End::Kill {
            node.start_again();
            wait_until("it is noted that all topics are durable", || {
                noted_end(&node.setup) > offset_of(&metadata_log(&node.setup), "third")
            });
            node.process().kill();
        }
        let log = metadata_log(&node.setup);
        let (whole, starts) = (fs::read(&log).unwrap(), batches(&log));
        let at = find(&log, "third");
        let before = *starts.iter().rfind(|start| **start < at).unwrap();
        for (what, len) in [("in a batch", at), ("between two", before), ("empty", 0)] {
            resize(&log, len, b"");
            let told = refused(&node.setup);
            assert!(told.contains("damaged") && told.contains("durable") == (len != at), "{what}");
            put_back(&log, &whole);
        }
        let last = starts[starts.len() - 2];
        flip(&log, last + 65);
        refused(&node.setup);
        flip(&log, last + 65);
        serves_all(&mut node);
    }
}

#[test]
fn what_a_crash_leaves_behind_the_last_batch_is_cut() {
    for end in BOTH {
        for tail in [
            &b"garbage that is no batch, and longer than the header of one: 0123456789"[..],
            &[0; 5_000],
        ] {
            let mut node = ended(end);
            let log = metadata_log(&node.setup);
            let whole = fs::read(&log).unwrap();
            let torn = &whole[..80];
            for tail in [tail, torn] {
                resize(&log, fs::read(&log).unwrap().len(), tail);
                serves_all(&mut node);
                node.stop();
                assert!(batches(&log).len() > 3);
            }
        }
    }
}

/// Without marks and notes, as after a power cut of a machine that ran Kafka.
fn forget_everything(setup: &Setup) {
    for name in [".kafka_cleanshutdown", ".ottla-boot", "recovery-point-offset-checkpoint"] {
        let path = setup.data().join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_lies_before_the_first_batch_of_an_epoch_was_durable() {
    let mut node = ended(End::Kill);
    let log = metadata_log(&node.setup);
    let at = find(&log, "second");
    forget_everything(&node.setup);
    // In one epoch, a power cut may keep younger sectors than it loses.
    let whole = fs::read(&log).unwrap();
    flip(&log, at);
    node.start_again();
    node.process().kill();
    assert!(fs::read(&log).unwrap().windows(5).all(|text| text != b"third"), "it was cut");
    put_back(&log, &whole);
    forget_everything(&node.setup);
    serves_all(&mut node);
    node.process().kill();
    // Now another epoch has begun behind it.
    forget_everything(&node.setup);
    flip(&log, at);
    assert!(refused(&node.setup).contains("is damaged at byte"));
    flip(&log, at);
    serves_all(&mut node);
}
