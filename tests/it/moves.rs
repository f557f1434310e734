//! Replicas that move between the log directories of a node.

use std::fs;
use std::path::Path;

use kafka_protocol::messages::DescribeLogDirsResponse;
use ottla_types::ErrorCode;

use crate::apis::{alter_request, log_dirs_of, log_dirs_request, move_request};
use crate::client::Client;
use crate::node::{Node, Setup, wait_until};
use crate::requests::{
    DELETE_TOPICS, PRODUCE, Topic, batch, create, delete_request, error, produce_to, read_all,
    values,
};

const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const BROKER: i8 = 4;

/// A node with the directories `a` and `b`, that copies so many bytes in a second.
fn started(rate: i64) -> Node {
    let setup = Setup::new().with("log.flush.offset.checkpoint.interval.ms", 50);
    let dirs: Vec<_> =
        ["a", "b"].iter().map(|name| setup.dir().join(name).display().to_string()).collect();
    setup.with("log.dirs", dirs.join(",")).with(RATE, rate).start()
}

fn path(node: &Node, dir: &str) -> String {
    node.setup.dir().join(dir).display().to_string()
}

fn move_to(client: &mut Client, dir: &str, topic: &Topic) -> ErrorCode {
    let answer = client.call(2, &move_request(dir, &topic.name, 0));
    error(answer.results[0].partitions[0].error_code)
}

/// As `kafka-reassign-partitions --replica-alter-log-dirs-throttle` does.
fn set_rate(client: &mut Client, rate: i64) {
    let answer = client.call(1, &alter_request(BROKER, "1", RATE, &rate.to_string()));
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
}

fn append(client: &mut Client, topic: &Topic, values: &[&str]) {
    let answer = produce_to(client, PRODUCE, topic, 0, batch(values));
    assert_eq!(error(answer.error_code), ErrorCode::None);
}

/// In which of the directories the partition is, and whether it is a copy there.
fn places(told: &DescribeLogDirsResponse) -> Vec<(char, bool)> {
    let mut places = Vec::new();
    for dir in &told.results {
        let name = dir.log_dir.chars().last().expect("a name");
        for log in dir.topics.iter().flat_map(|topic| &topic.partitions) {
            places.push((name, log.is_future_key));
        }
    }
    places
}

fn described(client: &mut Client, topic: &Topic) -> DescribeLogDirsResponse {
    log_dirs_of(client, 4, &log_dirs_request(Some((topic, &[0])))).0
}

fn home(client: &mut Client, topic: &Topic) -> (String, String) {
    let now = places(&described(client, topic));
    assert_eq!(now.len(), 1, "{now:?}");
    match now[0].0 {
        'a' => ("a".to_owned(), "b".to_owned()),
        _ => ("b".to_owned(), "a".to_owned()),
    }
}

/// Names of the directories of a topic's logs, without what is to be removed.
fn names(dir: &str, topic: &Topic) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_str().unwrap().to_owned());
    names.filter(|n| n.starts_with(&topic.name) && !n.ends_with("-delete")).collect()
}

/// Whether there is a copy that a start after a kill takes up: one that has its topic's id.
fn is_begun(dir: &str, topic: &Topic) -> bool {
    names(dir, topic).iter().any(|name| {
        let metadata = fs::read_to_string(Path::new(dir).join(name).join("partition.metadata"));
        let id = metadata.ok().and_then(|text| Some(text.split_once("topic_id: ")?.1.len()));
        id.is_some_and(|length| length == 22)
    })
}

#[test]
fn a_replica_moves_under_load_and_back() {
    let mut node = started(i64::MAX);
    let client = &mut node.connect();
    let topic =
        create(client, "moved", 1, &[("segment.bytes", "1048576"), ("flush.messages", "1")]);
    let (from, to) = home(client, &topic);
    let large = "x".repeat(100_000);
    let mut expected = Vec::new();
    let mut write = |client: &mut Client, count: usize| {
        for _ in 0..count {
            let value = format!("{} {large}", expected.len());
            append(client, &topic, &[&value]);
            expected.push(value);
        }
    };
    write(client, 50);
    for dir in [&to, &from] {
        assert_eq!(move_to(client, &path(&node, dir), &topic), ErrorCode::None);
        let wanted = (dir.chars().next().unwrap(), false);
        wait_until("it has moved", || {
            write(client, 1);
            places(&described(client, &topic)) == [wanted]
        });
        write(client, 10);
    }
    assert_eq!(names(&path(&node, &to), &topic), Vec::<String>::new());
    assert_eq!(names(&path(&node, &from), &topic), ["moved-0"]);
    assert_eq!(values(&read_all(client, &topic, 0)), expected);
    node.crash();
    let client = &mut node.connect();
    assert_eq!(values(&read_all(client, &topic, 0)), expected);
    node.stop();
    node.start_again();
    assert_eq!(values(&read_all(&mut node.connect(), &topic, 0)), expected);
    node.stop();
}

#[test]
fn a_move_is_told_of_called_off_and_goes_on_after_a_kill() {
    let mut node = started(10_000);
    let client = &mut node.connect();
    let topic = create(client, "slow", 1, &[]);
    let (from, to) = home(client, &topic);
    let (here, there) = (from.chars().next().unwrap(), to.chars().next().unwrap());
    let value = "y".repeat(5_000);
    for _ in 0..20 {
        append(client, &topic, &[&value]);
    }
    assert_eq!(move_to(client, "/nowhere", &topic), ErrorCode::LogDirNotFound);
    assert_eq!(move_to(client, &path(&node, &to), &topic), ErrorCode::None);
    let told = described(client, &topic);
    let mut both = [(here, false), (there, true)];
    both.sort_unstable();
    assert_eq!(places(&told), both);
    wait_until("a part is copied", || {
        let told = described(client, &topic);
        let logs = told.results.iter().flat_map(|dir| &dir.topics).flat_map(|t| &t.partitions);
        let copy = logs.into_iter().find(|log| log.is_future_key).expect("it is slow");
        copy.partition_size > 0 && (1..20).contains(&copy.offset_lag)
    });
    // The same again changes nothing; where it is now calls the move off.
    assert_eq!(move_to(client, &path(&node, &to), &topic), ErrorCode::None);
    assert_eq!(names(&path(&node, &to), &topic).len(), 1);
    assert_eq!(move_to(client, &path(&node, &from), &topic), ErrorCode::None);
    assert_eq!(places(&described(client, &topic)), [(here, false)]);
    wait_until("the copy is gone", || names(&path(&node, &to), &topic).is_empty());
    // It goes on after kill -9.
    assert_eq!(move_to(client, &path(&node, &to), &topic), ErrorCode::None);
    wait_until("a copy is begun", || is_begun(&path(&node, &to), &topic));
    node.crash();
    let client = &mut node.connect();
    append(client, &topic, &["after"]);
    assert_eq!(places(&described(client, &topic)), both, "it moves on");
    set_rate(client, 100_000_000);
    wait_until("it has moved", || places(&described(client, &topic)) == [(there, false)]);
    let read = read_all(client, &topic, 0);
    assert_eq!((values(&read).len(), values(&read).last().unwrap().as_str()), (21, "after"));
    // A topic that is deleted takes its copy along.
    set_rate(client, 1);
    assert_eq!(move_to(client, &path(&node, &from), &topic), ErrorCode::None);
    wait_until("a copy is begun", || names(&path(&node, &from), &topic).len() == 1);
    let answer = client.call(DELETE_TOPICS, &delete_request(&topic, DELETE_TOPICS));
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    wait_until("the copy is gone", || names(&path(&node, &from), &topic).is_empty());
    assert_eq!(names(&path(&node, &to), &topic), Vec::<String>::new());
    node.stop();
}

#[test]
fn where_a_partition_is_wished_that_is_not_here_yet_is_remembered() {
    let mut node = started(i64::MAX);
    let client = &mut node.connect();
    for (name, dir) in [("to-b", "b"), ("to-a", "a"), ("also-b", "b")] {
        let wished = Topic { name: name.to_owned(), id: uuid::Uuid::nil() };
        let code = move_to(client, &path(&node, dir), &wished);
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
        create(client, name, 1, &[]);
        assert!(Path::new(&path(&node, dir)).join(format!("{name}-0")).is_dir(), "{name}");
    }
    let long = Topic { name: "x".repeat(240), id: uuid::Uuid::nil() };
    let code = move_to(client, &path(&node, "b"), &long);
    assert_eq!(code, ErrorCode::InvalidTopicException);
    node.stop();
}
