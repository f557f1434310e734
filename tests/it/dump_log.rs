//! `ottla dump-log`. The files of `tests/clients/data` are Apache Kafka's, and the texts beside
//! them are what its DumpLogSegments printed of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::{TempDir, binary};

const SEGMENT: &str = "00000000000000000000";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/data/kafka-4.3.1")
}

/// What `ottla dump-log` prints on both outputs, and its exit code.
fn run(dir: &Path, arguments: &[&str]) -> (String, String, i32) {
    let output = binary().current_dir(dir).arg("dump-log").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// A segment of Kafka's with all that belongs to it, to be damaged.
fn copied(topic: &str) -> TempDir {
    let dir = TempDir::new();
    fs::create_dir_all(dir.path()).unwrap();
    for entry in fs::read_dir(data().join(topic)).unwrap() {
        let entry = entry.unwrap();
        fs::write(dir.path().join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
    dir
}

fn damage(dir: &TempDir, suffix: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let name = format!("{SEGMENT}.{suffix}");
    let path = dir.path().join(&name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    name
}

#[test]
fn kafkas_files_are_dumped_as_by_kafka() {
    let mut compared = 0;
    for line in fs::read_to_string(data().join("commands.txt")).unwrap().lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let Ok(expected) = fs::read_to_string(data().join(format!("{name}.out"))) else { continue };
        let (out, _, code) = run(&data(), &words.collect::<Vec<_>>());
        assert_eq!(out, expected, "{name}");
        assert_eq!(code, 0, "{name}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} texts are there");
}

#[test]
fn a_wrong_checksum_is_shown_and_ends_with_1() {
    let dir = copied("codecs-0");
    let name = damage(&dir, "log", |bytes| bytes[100] ^= 1);
    let (out, _, code) = run(dir.path(), &["--files", &name]);
    assert_eq!(code, 1);
    assert_eq!(out.matches("isvalid: false").count(), 1, "{out}");
    assert_eq!(out.matches("isvalid: true").count(), 5, "{out}");
}

#[test]
fn what_follows_the_last_whole_batch_is_counted() {
    let dir = copied("codecs-0");
    let name = damage(&dir, "log", |bytes| bytes.truncate(bytes.len() - 5));
    let (out, _, code) = run(dir.path(), &["--files", &name]);
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("Found ") && last.ends_with(&format!(" at the end of {name}")));
    assert_eq!(code, 1);
    let (out, _, code) = run(dir.path(), &["--max-bytes", "600", "--files", &name]);
    assert!(!out.contains("Found"), "{out}");
    assert_eq!(code, 0);
}

#[test]
fn a_length_that_cannot_be_ends_the_file_with_a_message() {
    let dir = copied("codecs-0");
    let name = damage(&dir, "log", |bytes| bytes[8..12].fill(0));
    let (_, err, code) = run(dir.path(), &["--deep-iteration", "--files", &name]);
    let text =
        format!("Found record size 0 smaller than minimum record overhead (14) in file {name}.\n");
    assert_eq!((err, code), (text, 1));
}

#[test]
fn a_wrong_index_is_a_mismatch() {
    let dir = copied("codecs-0");
    let name = damage(&dir, "index", |bytes| bytes[3] += 1);
    let (_, err, code) = run(dir.path(), &["--verify-index-only", "--files", &name]);
    assert!(err.starts_with("Mismatches in :/"), "{err}");
    assert!(err.contains("  Index offset: "), "{err}");
    assert_eq!(code, 1);
    damage(&dir, "index", |bytes| bytes[7] ^= 1);
    let (_, err, code) = run(dir.path(), &["--files", &name]);
    assert!(!err.is_empty());
    assert_eq!(code, 1);

    let times = damage(&dir, "timeindex", |bytes| bytes[7] ^= 1);
    let (_, err, code) = run(dir.path(), &["--files", &times]);
    assert!(err.contains("timestamp"), "{err}");
    assert_eq!(code, 1);
    damage(&dir, "timeindex", |bytes| bytes.push(0));
    let (_, err, code) = run(dir.path(), &["--index-sanity-check", "--files", &times]);
    assert!(err.contains("is corrupt, found 25 bytes which is neither"), "{err}");
    assert_eq!(code, 1);
}

#[test]
fn a_damaged_snapshot_of_producers_shows_nothing() {
    let dir = copied("codecs-0");
    let path = dir.path().join("00000000000000000016.snapshot");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (out, err, code) = run(dir.path(), &["--files", "00000000000000000016.snapshot"]);
    assert_eq!(out, "Dumping 00000000000000000016.snapshot\n");
    assert!(err.starts_with("Snapshot is corrupt (CRC is no longer valid). Stored crc: "));
    assert_eq!(code, 1);
}

#[test]
fn no_flipped_byte_is_more_than_a_message() {
    let cases = [
        ("codecs-0", "log", "--print-data-log"),
        ("codecs-0", "index", "--deep-iteration"),
        ("codecs-0", "timeindex", "--deep-iteration"),
        ("txn-0", "txnindex", "--deep-iteration"),
        ("txn-0", "log", "--deep-iteration"),
        ("__consumer_offsets-3", "log", "--offsets-decoder"),
    ];
    for (topic, suffix, option) in cases {
        let dir = copied(topic);
        let name = format!("{SEGMENT}.{suffix}");
        let sound = fs::read(dir.path().join(&name)).unwrap();
        for at in (0..sound.len()).step_by(sound.len().div_ceil(40)) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                fs::write(dir.path().join(&name), bytes).unwrap();
                let (_, err, code) = run(dir.path(), &[option, "--files", &name]);
                assert!(!err.contains("panicked"), "{topic} {suffix} {at} {flip}: {err}");
                assert!(code == 0 || code == 1, "{topic} {suffix} {at} {flip}: {code}");
            }
        }
    }
}

#[test]
fn files_that_cannot_be_dumped_are_named_and_the_others_are_dumped() {
    let dir = copied("txn-0");
    let log = format!("{SEGMENT}.log");
    fs::write(dir.path().join("00000000000000000009.log"), "").unwrap();
    let files = format!("nothing.log,absent/{log},00000000000000000009.log,README,{log}");
    let (out, err, code) = run(dir.path(), &["--files", &files]);
    assert!(out.contains("\nLog starting offset: 9\nDumping README\nDumping 0"), "{out}");
    assert!(out.contains("isvalid: true"), "{out}");
    let reasons: Vec<_> = err.lines().collect();
    assert_eq!(reasons[0], "nothing.log: the name does not begin with an offset");
    assert!(reasons[1].starts_with(&format!("absent/{log}: ")), "{err}");
    assert_eq!(reasons[2], "Ignoring unknown file README");
    assert_eq!((reasons.len(), code), (3, 1));
}

#[test]
fn what_is_not_built_is_refused() {
    for (option, reason) in [
        ("--remote-log-metadata-decoder", "tiered storage is not built yet"),
        ("--value-decoder-class=a.B", "a.B is refused: only "),
        ("--key-decoder-class=a.B", "Java classes cannot be loaded"),
    ] {
        let (out, err, code) = run(&data(), &[option, "--files", "codecs-0/x.log"]);
        assert!(err.contains(reason), "{err}");
        assert_eq!((out.as_str(), code), ("", 1));
    }
    let (_, err, code) = run(&data(), &["--deep-iteration"]);
    assert!(err.contains("--files"), "{err}");
    assert_eq!(code, 1);
}
