//! `ottla storage repair`: what is damaged is shown, and taken out when that is asked for.

use std::fs;
use std::process::Output;

use ottla_types::ErrorCode;

use super::{End, batches, find, flip, metadata_log, resize};
use crate::node::{Node, Setup, binary};
use crate::requests::{
    batch, create, error, fetch, list_offset, metadata_of, produce, read_all, values,
};

/// Runs the command with the node's own configuration.
fn repair(setup: &Setup, flags: &[&str]) -> Output {
    let mut command = binary();
    command.args(["storage", "repair"]).args(setup.arguments()).args(flags);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it tells, and its exit code.
fn told(setup: &Setup, flags: &[&str]) -> (String, i32) {
    let output = repair(setup, flags);
    assert_eq!(text(&output.stderr), "");
    (text(&output.stdout), output.status.code().unwrap())
}

fn assert_holds(told: &str, words: &[&str]) {
    let missing: Vec<_> = words.iter().filter(|word| !told.contains(**word)).collect();
    assert!(missing.is_empty(), "{told} lacks {missing:?}");
}

#[test]
fn a_sound_directory_is_left_alone_and_one_in_use_is_not_looked_at() {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    let topic = create(&mut node.connect(), "sound", 2, &[]);
    produce(&mut node.connect(), &topic, batch(&["a"]));
    let refused = repair(&node.setup, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("in use by another process"));
    node.process().kill();
    assert_eq!(told(&node.setup, &[]), ("Nothing is damaged.\n".to_owned(), 0));
    node.start_again();
    node.stop();
    assert_eq!(told(&node.setup, &["--yes"]), ("Nothing is damaged.\n".to_owned(), 0));
    node.start_again();
    assert_eq!(values(&read_all(&mut node.connect(), &topic, 0)), ["a"]);
    let nowhere = Setup::new();
    let refused = repair(&nowhere, &[]);
    assert!(text(&refused.stderr).contains("is not a directory"));
    assert!(!nowhere.data().exists());
}

#[test]
fn the_metadata_log_is_cut_where_it_is_damaged() {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    let client = &mut node.connect();
    let first = create(client, "first", 1, &[]);
    for name in ["second", "third"] {
        create(client, name, 2, &[]);
    }
    produce(client, &first, batch(&["kept"]));
    node.stop();
    let log = metadata_log(&node.setup);
    let (whole, at) = (fs::read(&log).unwrap(), find(&log, "second"));
    let cut = *batches(&log).iter().rfind(|start| **start < at).unwrap();
    flip(&log, at);
    let (shown, code) = told(&node.setup, &[]);
    assert_eq!(code, 1);
    let place = format!("{} is damaged at byte {cut} (offset ", log.display());
    let words = [&place, "1 TOPIC_RECORD", "2 PARTITION_RECORD", "topics created there: third"];
    assert_holds(&shown, &words.map(|word| word));
    assert_holds(&shown, &["lost with it", "Nothing was changed", "--yes"]);
    assert_eq!(fs::read(&log).unwrap().len(), whole.len());
    let (done, code) = told(&node.setup, &["--yes"]);
    assert_eq!(code, 0);
    let aside = format!("{}.damaged-{cut}", log.display());
    assert_holds(&done, &["Repaired", &aside]);
    assert_eq!(fs::read(&log).unwrap(), whole[..cut]);
    assert_eq!(fs::read(&aside).unwrap().len(), whole.len() - cut, "nothing is thrown away");
    assert_eq!(told(&node.setup, &[]).1, 0);
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(values(&read_all(client, &first, 0)), ["kept"]);
    let code = error(metadata_of(client, "third").topics[0].error_code);
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
    create(client, "fourth", 1, &[]);
    let strays = fs::read_dir(node.setup.data())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with("-stray"));
    assert_eq!(strays.count(), 4, "what is lost to the metadata is still on disk");
    node.stop();
}

#[test]
fn a_metadata_log_that_is_gone_is_begun_anew_only_when_that_is_asked_for() {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    create(&mut node.connect(), "first", 1, &[]);
    node.stop();
    resize(&metadata_log(&node.setup), 0, b"");
    let (shown, code) = told(&node.setup, &[]);
    assert_eq!(code, 1);
    assert_holds(&shown, &["ends early", "was committed"]);
    assert_eq!(told(&node.setup, &["--yes"]).1, 0);
    node.start_again();
    create(&mut node.connect(), "second", 1, &[]);
    node.stop();
}

/// A node with a log of six batches of a record each, of which all are durable, and which looks at
/// them again at its next start.
fn with_a_log(end: End) -> (Node, crate::requests::Topic, std::path::PathBuf) {
    let mut node = Setup::new().start();
    node.setup.is_damaged();
    let client = &mut node.connect();
    let topic = create(client, "data", 1, &[]);
    create(client, "other", 1, &[]);
    for value in ["0", "1", "2", "3", "4", "5"] {
        produce(client, &topic, batch(&[value]));
    }
    node.stop();
    if end == End::Kill {
        let mark = node.setup.data().join(".kafka_cleanshutdown");
        fs::remove_file(mark).unwrap();
    }
    let log = node.setup.data().join("data-0/00000000000000000000.log");
    (node, topic, log)
}

#[test]
fn only_what_is_broken_is_taken_out_of_a_partitions_log() {
    let (mut node, topic, log) = with_a_log(End::Kill);
    let starts = batches(&log);
    flip(&log, starts[2] + 65);
    node.start_again();
    let client = &mut node.connect();
    let code = error(metadata_of(client, "data").topics[0].partitions[0].error_code);
    assert_eq!(code, ErrorCode::LeaderNotAvailable);
    node.stop();
    let (shown, code) = told(&node.setup, &[]);
    assert_eq!(code, 1);
    let place = format!("{} is damaged at byte {} (offset 2)", log.display(), starts[2]);
    let lost = format!("lost: {} bytes", starts[3] - starts[2]);
    assert_holds(&shown, &[&place, &lost, "kept: the other records from offset 0 to 6"]);
    assert_eq!(told(&node.setup, &["--yes"]).1, 0);
    node.start_again();
    let client = &mut node.connect();
    let read = read_all(client, &topic, 0);
    assert_eq!(values(&read), ["0", "1", "3", "4", "5"]);
    assert_eq!(read[2].offset, 3, "offsets stay");
    assert_eq!(produce(client, &topic, batch(&["6"])).base_offset, 6);
    node.stop();
    assert_eq!(told(&node.setup, &[]).1, 0);
}

#[test]
fn a_log_that_does_not_say_whose_it_is_is_given_its_id_again() {
    let (mut node, topic, log) = with_a_log(End::Clean);
    let id = log.with_file_name("partition.metadata");
    let text = fs::read_to_string(&id).unwrap();
    let other = node.setup.data().join("other-0/partition.metadata");
    let other = fs::read_to_string(other).unwrap();
    for damaged in ["", "nonsense", &other] {
        fs::write(&id, damaged).unwrap();
        node.start_again();
        let client = &mut node.connect();
        let code = error(metadata_of(client, "data").topics[0].partitions[0].error_code);
        assert_eq!(code, ErrorCode::LeaderNotAvailable);
        node.stop();
        let (shown, code) = told(&node.setup, &[]);
        assert_eq!(code, 1);
        assert_holds(&shown, &["does not say whose log this is", "the topic data"]);
        assert_eq!(told(&node.setup, &["--yes"]).1, 0);
        assert_eq!(fs::read_to_string(&id).unwrap(), text);
        node.start_again();
        let read = values(&read_all(&mut node.connect(), &topic, 0));
        assert_eq!(read, ["0", "1", "2", "3", "4", "5"]);
        node.stop();
    }
}

#[test]
fn small_files_that_cannot_be_read_are_moved_aside() {
    let (mut node, topic, log) = with_a_log(End::Clean);
    let data = node.setup.data();
    for path in [
        data.join("__cluster_metadata-0/quorum-state"),
        data.join("recovery-point-offset-checkpoint"),
        data.join("log-start-offset-checkpoint"),
    ] {
        fs::write(&path, "nonsense").unwrap();
        node.setup.fails_with(1, binary().args(node.setup.arguments()));
        let (shown, code) = told(&node.setup, &[]);
        assert_eq!(code, 1);
        assert_holds(&shown, &[&format!("{} cannot be read", path.display())]);
        assert_eq!(told(&node.setup, &["--yes"]).1, 0);
        node.start_again();
        let read = values(&read_all(&mut node.connect(), &topic, 0));
        assert_eq!(read, ["0", "1", "2", "3", "4", "5"], "{}", path.display());
        node.stop();
    }
    let index = log.with_extension("index");
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_holds(&told(&node.setup, &["--yes"]).0, &[&index.display().to_string()]);
    node.start_again();
    assert_eq!(read_all(&mut node.connect(), &topic, 0).len(), 6);
    node.stop();
}

#[test]
fn no_offset_is_given_twice_behind_a_tail_that_is_lost() {
    let (mut node, topic, log) = with_a_log(End::Kill);
    let starts = batches(&log);
    resize(&log, starts[4] + 30, b"");
    let (shown, code) = told(&node.setup, &[]);
    assert_eq!(code, 1);
    assert_holds(&shown, &["ends at offset 4", "everything below 6", "goes on at 6"]);
    assert_eq!(told(&node.setup, &["--yes", "--discard"]).1, 0);
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(produce(client, &topic, batch(&["6"])).base_offset, 6);
    assert_eq!(list_offset(client, &topic, 0, -1).offset, 7);
    assert_eq!(values(&read_all_from(client, &topic)), ["0", "1", "2", "3", "6"]);
    let left = fs::read_dir(node.setup.data().join("data-0")).unwrap();
    let aside = |name: &std::ffi::OsStr| name.to_string_lossy().contains("damaged");
    assert!(!left.into_iter().any(|entry| aside(&entry.unwrap().file_name())), "discarded");
    node.crash();
    assert_eq!(values(&read_all_from(&mut node.connect(), &topic)), ["0", "1", "2", "3", "6"]);
    node.stop();
}

/// Everything, over gaps.
fn read_all_from(
    client: &mut crate::client::Client,
    topic: &crate::requests::Topic,
) -> Vec<ottla_test_client::ReadRecord> {
    let end = list_offset(client, topic, 0, -1).offset;
    let mut all: Vec<ottla_test_client::ReadRecord> = Vec::new();
    let mut next = 0;
    while next < end {
        let data = fetch(client, topic, next);
        assert_eq!(error(data.error_code), ErrorCode::None);
        let read = crate::requests::records(&data);
        assert!(!read.is_empty(), "something is at or behind {next}");
        all.extend(read.into_iter().filter(|record| record.offset >= next));
        next = all.last().unwrap().offset + 1;
    }
    all
}
