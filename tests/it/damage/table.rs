//! The table of `docs/damaged-files.md`, case by case.
//!
//! A node has two topics, one of three segments with the records of an idempotent producer. It
//! ends, a file is damaged, and it starts again. Whatever is served then is right, and all that is
//! not said to be offline is served whole.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_test_client::record_batch;
use ottla_types::{ErrorCode, Timestamp};

use super::{End, batches, flip, resize};
use crate::node::{Node, Setup, binary};
use crate::requests::{
    Topic, batch, create, error, fetch, init_producer, list_offset, metadata_of, produce, read_all,
    records, values,
};

/// That of all records, so that the time index has one entry for each segment.
const TIME: Timestamp = Timestamp(1_700_000_000_000);
/// Batches of the damaged topic.
const BATCHES: usize = 24;
const SEGMENT_BYTES: &str = "1048576";

/// What a start makes of it.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Everything is there.
    Whole,
    /// The damaged topic has no leader, the other one serves; the log has these words.
    Offline(&'static str),
    /// The node does not start, and says these words.
    Refused(&'static str),
    /// The batches that were torn are gone.
    Shorter,
    /// The node serves what is left; what is broken is seen by readers.
    Served,
}

use Then::{Offline, Refused, Served, Shorter, Whole};

/// The files that are damaged.
struct Files {
    data: PathBuf,
    dir: PathBuf,
    /// Base names of the segments.
    segments: Vec<String>,
}

impl Files {
    fn of(setup: &Setup) -> Files {
        let dir = setup.data().join("a-0");
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut segments: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(".log")?.to_owned())).collect();
        segments.sort();
        assert_eq!(segments.len(), 3, "{segments:?}");
        Files { data: setup.data(), dir, segments }
    }

    fn segment(&self, index: usize, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}.{suffix}", self.segments[index]))
    }

    fn last(&self, suffix: &str) -> PathBuf {
        self.segment(2, suffix)
    }

    fn snapshot(&self) -> PathBuf {
        let names = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|it| it == "snapshot");
        names.filter(is_snapshot).max().unwrap()
    }
}

fn len(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

fn garbage(path: &Path) {
    // A file that replaces it, as an editor or a restore would leave it.
    fs::write(path, b"\x07garbage\xff\n\x00x").unwrap();
}

fn empty(path: &Path) {
    fs::write(path, b"").unwrap();
}

fn unreadable(path: &Path) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::create_dir(path).unwrap();
}

fn swap(one: &Path, other: &Path) {
    let bytes = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, bytes.1).unwrap();
    fs::write(other, bytes.0).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn value(number: usize) -> String {
    format!("{number:08}").repeat(12_000)
}

/// A node with both topics, which has ended.
fn ended(end: End) -> (Node, [Topic; 2]) {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    let client = &mut node.connect();
    let a = create(client, "a", 1, &[("segment.bytes", SEGMENT_BYTES)]);
    let b = create(client, "b", 1, &[]);
    let producer = init_producer(client);
    for number in 0..BATCHES {
        let sequence = Some((producer.0, producer.1, number as i32));
        let answer =
            produce(client, &a, record_batch(TIME, sequence, &[value(number).into_bytes()]));
        assert_eq!(error(answer.error_code), ErrorCode::None);
    }
    produce(client, &b, batch(&["b"]));
    match end {
        End::Clean => node.stop(),
        End::Kill => node.process().kill(),
    }
    (node, [a, b])
}

/// Ends a node, damages it, starts it again, and looks at what it serves.
fn check(name: &str, end: End, damage: impl Fn(&Files), then: Then) {
    println!("{name}, {end:?}");
    let (mut node, [a, b]) = ended(end);
    damage(&Files::of(&node.setup));
    if let Refused(words) = then {
        let told = node.setup.fails_with(1, binary().args(node.setup.arguments()));
        assert!(told.contains(words), "{name}, {end:?}: {told:?}");
        assert_eq!(told.lines().count(), 1, "{told:?}");
        return;
    }
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(values(&read_all(client, &b, 0)), ["b"], "{name}");
    let found = metadata_of(client, "a").topics[0].partitions[0].clone();
    let log = node.setup.stdout();
    assert!(!log.contains("panicked"), "{name}: {log}");
    match then {
        Whole => {
            let read = values(&read_all(client, &a, 0));
            assert!(read == (0..BATCHES).map(value).collect::<Vec<_>>(), "{name}, {end:?}");
            for offset in 0..BATCHES as i64 {
                let read = records(&fetch(client, &a, offset));
                assert_eq!(read.first().map(|record| record.offset), Some(offset), "{name}");
            }
            let answer = produce(client, &a, batch(&["more"]));
            assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 24));
        }
        Shorter => {
            let read = values(&read_all(client, &a, 0));
            assert!(!read.is_empty() && read.len() < BATCHES, "{name}, {end:?}: {}", read.len());
            assert!(read == (0..read.len()).map(value).collect::<Vec<_>>(), "{name}, {end:?}");
        }
        Offline(words) => {
            let code = error(found.error_code);
            assert_eq!(code, ErrorCode::LeaderNotAvailable, "{name}, {end:?}: {log}");
            assert_eq!((found.leader_id.0, found.offline_replicas.len()), (-1, 1), "{name}");
            let answer = produce(client, &a, batch(&["more"]));
            let refused = [ErrorCode::KafkaStorageError, ErrorCode::NotLeaderOrFollower];
            assert!(refused.contains(&error(answer.error_code)), "{name}: {answer:?}");
            assert!(refused.contains(&error(list_offset(client, &a, 0, -1).error_code)), "{name}");
            assert!(log.contains(words), "{name}, {end:?}: {log}");
        }
        Served => assert_eq!(error(found.error_code), ErrorCode::None, "{name}, {end:?}"),
        Refused(_) => unreachable!("looked at above"),
    }
    assert_eq!(node.setup.stderr(), "", "{name}");
    node.stop();
}

fn check_both(name: &str, damage: impl Fn(&Files), then: Then) {
    check(name, End::Clean, &damage, then);
    check(name, End::Kill, &damage, then);
}

#[test]
fn segments() {
    let flip_first =
        |files: &Files| flip(&files.segment(0, "log"), len(&files.segment(0, "log")) / 2);
    check_both("a closed segment, a flipped byte", flip_first, Served);
    let flip_last = |files: &Files| {
        let path = files.last("log");
        let starts = batches(&path);
        flip(&path, starts[starts.len() - 2] + 70);
    };
    check("the last batch, a flipped byte", End::Clean, flip_last, Served);
    check("the last batch, a flipped byte", End::Kill, flip_last, Shorter);
    // No checksum covers the offset: a bit of each of its bytes is flipped.
    for byte in 0..8 {
        let offset = |files: &Files| {
            let path = files.last("log");
            let starts = batches(&path);
            flip(&path, starts[starts.len() - 3] + byte);
        };
        check("an offset, of the last but one batch", End::Clean, offset, Served);
        check("an offset, of the last but one batch", End::Kill, offset, Served);
        let last = |files: &Files| {
            let path = files.last("log");
            let starts = batches(&path);
            flip(&path, starts[starts.len() - 2] + byte);
        };
        check("an offset, of the last batch", End::Clean, last, Offline("damaged"));
    }
    let cut = |files: &Files| resize(&files.last("log"), len(&files.last("log")) - 50, b"");
    check("cut in the middle of a batch", End::Clean, cut, Offline("damaged"));
    check("cut in the middle of a batch", End::Kill, cut, Shorter);
    let tail = |files: &Files| {
        resize(&files.last("log"), len(&files.last("log")), &[0x5a; 1_000]);
    };
    check_both("garbage behind the end", tail, Whole);
    let zeros = |files: &Files| resize(&files.last("log"), len(&files.last("log")), &[0; 9_000]);
    check_both("zeros behind the end", zeros, Whole);
    check_both(
        "a closed segment, empty",
        |files| empty(&files.segment(1, "log")),
        Offline("damaged"),
    );
    check(
        "the last segment, empty",
        End::Clean,
        |files| empty(&files.last("log")),
        Offline("damaged"),
    );
    check_both("unreadable", |files| unreadable(&files.last("log")), Offline("Is a directory"));
}

#[test]
fn indexes() {
    for suffix in ["index", "timeindex"] {
        let name = |what: &str| format!("{suffix}: {what}");
        for at in [0, 2] {
            check_both(&name("missing"), |files| remove(&files.segment(at, suffix)), Whole);
            check_both(&name("empty"), |files| empty(&files.segment(at, suffix)), Whole);
            check_both(&name("garbage"), |files| garbage(&files.segment(at, suffix)), Whole);
        }
        let flip_entry = |files: &Files| {
            let path = files.segment(0, suffix);
            flip(&path, len(&path) / 2 + 1);
        };
        check_both(&name("a flipped byte"), flip_entry, Whole);
        let tail = |files: &Files| {
            let path = files.segment(0, suffix);
            resize(&path, len(&path), &[0x5a; 24]);
        };
        check_both(&name("garbage behind the end"), tail, Whole);
        let cut = |files: &Files| {
            let path = files.segment(0, suffix);
            resize(&path, len(&path) - 3, b"");
        };
        check_both(&name("cut in the middle of an entry"), cut, Whole);
        let swapped = |files: &Files| swap(&files.segment(0, suffix), &files.segment(1, suffix));
        check_both(&name("of another segment"), swapped, Whole);
        let dir = |files: &Files| unreadable(&files.segment(0, suffix));
        check_both(&name("unreadable"), dir, Offline("Is a directory"));
    }
    for at in [0, 2] {
        check_both("txnindex: garbage", |files| garbage(&files.segment(at, "txnindex")), Whole);
        let dir = |files: &Files| unreadable(&files.segment(at, "txnindex"));
        check_both("txnindex: unreadable", dir, Offline("Is a directory"));
    }
}

#[test]
fn snapshots_of_producers() {
    check("missing", End::Clean, |files| remove(&files.snapshot()), Whole);
    check_both("empty", |files| empty(&files.snapshot()), Whole);
    check_both("garbage", |files| garbage(&files.snapshot()), Whole);
    check_both("a flipped byte", |files| flip(&files.snapshot(), 12), Whole);
    check_both("unreadable", |files| unreadable(&files.snapshot()), Offline("Is a directory"));
}

#[test]
fn small_files_of_a_partition() {
    let epochs = |files: &Files| files.dir.join("leader-epoch-checkpoint");
    check_both("epochs, missing", |files| remove(&epochs(files)), Whole);
    check_both("epochs, empty", |files| empty(&epochs(files)), Whole);
    check_both("epochs, garbage", |files| garbage(&epochs(files)), Whole);
    check_both("epochs, unreadable", |files| unreadable(&epochs(files)), Offline("Is a directory"));
    let id = |files: &Files| files.dir.join("partition.metadata");
    check_both("id, missing", |files| remove(&id(files)), Offline("partition.metadata"));
    check_both("id, empty", |files| empty(&id(files)), Offline("partition.metadata"));
    check_both("id, garbage", |files| garbage(&id(files)), Offline("partition.metadata"));
    check_both("id, unreadable", |files| unreadable(&id(files)), Offline("partition.metadata"));
}

#[test]
fn files_of_the_data_directory() {
    for name in [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
    ] {
        let path = |files: &Files| files.data.join(name);
        let gone = |files: &Files| {
            if path(files).exists() {
                remove(&path(files));
            }
        };
        check_both(&format!("{name}, missing"), gone, Whole);
        check_both(&format!("{name}, empty"), |files| empty(&path(files)), Whole);
    }
    let meta = |files: &Files| files.data.join("meta.properties");
    check_both("meta, missing", |files| remove(&meta(files)), Refused("meta.properties"));
    check_both("meta, empty", |files| empty(&meta(files)), Refused("meta.properties"));
    check_both("meta, garbage", |files| garbage(&meta(files)), Refused("meta.properties"));
    let state = |files: &Files| files.data.join("__cluster_metadata-0/quorum-state");
    check_both("quorum-state, missing", |files| remove(&state(files)), Whole);
    check_both("quorum-state, garbage", |files| garbage(&state(files)), Refused("quorum-state"));
    let mark = |files: &Files| files.data.join(".kafka_cleanshutdown");
    check("the mark, garbage", End::Clean, |files| garbage(&mark(files)), Whole);
}
