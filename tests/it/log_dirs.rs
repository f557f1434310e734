//! What is told of log directories, and what the controller is told of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kafka_protocol::messages::DescribeLogDirsResponse;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_types::ErrorCode;
use uuid::Uuid;

use crate::apis::{assign_request, assigned, broker_epoch, log_dirs_of, log_dirs_request};
use crate::client::Client;
use crate::node::{Node, Setup, wait_until};
use crate::requests::{
    PRODUCE, Topic, batch, create, error, metadata_of, produce_to, read_all, values,
};

const NEWEST: i16 = 5;
const PARTITIONS: i32 = 4;

/// A node whose directories have these names; the metadata log is in the last one.
fn started(names: &[&str]) -> Node {
    let setup = Setup::new().with("replica.high.watermark.checkpoint.interval.ms", 50);
    let dirs: Vec<_> =
        names.iter().map(|name| setup.dir().join(name).display().to_string()).collect();
    let metadata = dirs.last().unwrap().clone();
    setup.with("log.dirs", dirs.join(",")).with("metadata.log.dir", metadata).start()
}

fn describe(client: &mut Client) -> DescribeLogDirsResponse {
    log_dirs_of(client, NEWEST, &log_dirs_request(None)).0
}

/// Partitions and their sizes.
fn sizes(dir: &DescribeLogDirsResult) -> BTreeMap<String, i64> {
    let logs = dir.topics.iter().flat_map(|topic| {
        let name = |index: i32| format!("{}-{index}", &*topic.name);
        topic.partitions.iter().map(move |log| (name(log.partition_index), log.partition_size))
    });
    logs.collect()
}

/// The same, as the files say.
fn files(dir: &Path) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !path.is_dir() || name.starts_with("__cluster") {
            continue;
        }
        let logs = fs::read_dir(&path).unwrap().map(|file| file.unwrap().path());
        let logs = logs.filter(|file| file.extension().is_some_and(|it| it == "log"));
        let bytes: u64 = logs.map(|log| fs::metadata(log).unwrap().len()).sum();
        found.insert(name, i64::try_from(bytes).unwrap());
    }
    found
}

fn fill(client: &mut Client, topic: &Topic) {
    for partition in 0..PARTITIONS {
        let value = "x".repeat(100 * (partition as usize + 1));
        let answer = produce_to(client, PRODUCE, topic, partition, batch(&[&value]));
        assert_eq!(error(answer.error_code), ErrorCode::None);
    }
}

#[test]
fn sizes_are_those_of_the_files_and_a_directory_that_failed_has_an_error() {
    let names = ["b", "a"];
    let mut node = started(&names);
    let client = &mut node.connect();
    let topic = create(client, "spread", PARTITIONS, &[]);
    for _ in 0..2 {
        fill(client, &topic);
        let told = describe(client);
        assert_eq!(told.results.len(), 2);
        for (name, dir) in names.iter().zip(&told.results) {
            let path = node.setup.dir().join(name);
            assert_eq!((&*dir.log_dir, dir.error_code), (path.to_str().unwrap(), 0));
            assert_eq!(sizes(dir), files(&path));
            assert_eq!(sizes(dir).len(), 2, "half of the partitions");
        }
    }
    // The next checkpoint finds no directory.
    fs::rename(node.setup.dir().join("b"), node.setup.dir().join("away")).unwrap();
    wait_until("the directory is offline", || describe(client).results[0].error_code != 0);
    let told = describe(client);
    let [failed, left] = told.results.as_slice() else { panic!("{told:?}") };
    // For a moment there is a directory, and nothing at its path: Kafka's answer is the same.
    wait_until("it is fenced", || {
        error(describe(client).results[0].error_code) == ErrorCode::KafkaStorageError
    });
    assert!(failed.log_dir.ends_with("/b") && failed.topics.is_empty());
    assert_eq!((failed.total_bytes, failed.usable_bytes), (-1, -1));
    assert_eq!(sizes(left), files(&node.setup.dir().join("a")));
    node.stop();
    // A directory that cannot be opened at the start has the error from the beginning.
    fs::write(node.setup.dir().join("b"), "no directory").unwrap();
    node.start_again();
    let told = describe(&mut node.connect());
    let codes: Vec<_> = told.results.iter().map(|dir| error(dir.error_code)).collect();
    assert_eq!(codes, [ErrorCode::KafkaStorageError, ErrorCode::None]);
    node.stop();
}

/// Leader and offline replicas of partition 0.
fn told(client: &mut Client, topic: &Topic) -> (i32, usize) {
    let answer = metadata_of(client, &topic.name);
    let partition = &answer.topics[0].partitions[0];
    (partition.leader_id.0, partition.offline_replicas.len())
}

#[test]
fn a_replica_that_is_said_to_be_in_a_lost_directory_leads_no_more() {
    let mut node = started(&["b", "a"]);
    let client = &mut node.connect();
    let topic = create(client, "lost", 1, &[]);
    let answer = produce_to(client, PRODUCE, &topic, 0, batch(&["v"]));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let controller = &mut Client::connect(node.controller_address());
    let epoch = broker_epoch(controller);
    let lost = Uuid::from_u128(0x0dd);
    assert_eq!(told(client, &topic), (1, 0));
    let answer = controller.call(0, &assign_request(epoch, lost, topic.id, 0));
    assert_eq!(assigned(&answer), ErrorCode::None);
    // The broker knows better where its replica is; nobody elects it for that.
    wait_until("the broker says where it is", || told(client, &topic) == (-1, 0));
    let answer = produce_to(client, PRODUCE, &topic, 0, batch(&["refused"]));
    assert_eq!(error(answer.error_code), ErrorCode::NotLeaderOrFollower);
    node.crash();
    let client = &mut node.connect();
    assert_eq!(told(client, &topic), (1, 0));
    assert_eq!(values(&read_all(client, &topic, 0)), ["v"]);
    node.stop();
}
