//! A disk that is full, and has room again: a small tmpfs in a mount namespace of the node's own.

use std::process::Command;
use std::time::Duration;

use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, TempDir, in_own_mounts, wait_until};
use crate::requests::{
    DELETE_TOPICS, Topic, batch, creatable, create, create_request, delete_request, error, fetch,
    metadata_of, produce, read_all, records,
};

fn started(setup: Setup, disk: &TempDir, mib: u32) -> Node {
    let path = disk.path().display().to_string();
    let setup = setup
        .with("log.dirs", format!("{path}/data"))
        .with("log.flush.offset.checkpoint.interval.ms", 50)
        .with("replica.high.watermark.checkpoint.interval.ms", 50)
        .with("log.segment.delete.delay.ms", 0);
    let prepare = format!("mount -t tmpfs -o size={mib}m tmpfs {path}");
    Node::from_command(|setup| -> Command { in_own_mounts(setup, &prepare) }, setup)
}

fn code(client: &mut Client, topic: &Topic, len: usize) -> ErrorCode {
    error(produce(client, topic, batch(&[&"x".repeat(len)])).error_code)
}

/// Produces until not even one byte finds room; tells how many batches were taken.
fn fill(client: &mut Client, topic: &Topic) -> i64 {
    let mut taken = 0;
    for len in [200_000, 20_000, 2_000, 1] {
        loop {
            match code(client, topic, len) {
                ErrorCode::None => taken += 1,
                ErrorCode::KafkaStorageError => break,
                other => panic!("{other}"),
            }
            assert!(taken < 10_000, "more than the disk holds");
        }
    }
    taken
}

#[test]
fn topics_can_be_deleted_on_a_full_disk_and_then_it_takes_records_again() {
    let disk = TempDir::new();
    let mut node = started(Setup::new(), &disk, 4);
    let client = &mut node.connect();
    let small = create(client, "small", 1, &[]);
    assert_eq!(code(client, &small, 10), ErrorCode::None);
    let large = create(client, "large", 1, &[]);
    let taken = fill(client, &large);
    assert!(taken > 20, "{taken}");
    // Checkpoints find no room meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(code(client, &small, 10), ErrorCode::KafkaStorageError);
    assert_eq!(records(&fetch(client, &large, 0))[0].value.len(), 200_000, "reads go on");
    assert_eq!(read_all(client, &small, 0).len(), 1);
    // So do changes of metadata: a topic is created, and waits for room.
    let request = create_request(vec![creatable("waits", 1, &[])]);
    let answer = client.call(crate::requests::CREATE_TOPICS, &request);
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::None);
    let waits = Topic { name: "waits".to_owned(), id: answer.topics[0].topic_id };
    assert_eq!(code(client, &waits, 10), ErrorCode::KafkaStorageError);
    assert_eq!(metadata_of(client, "waits").topics[0].partitions[0].leader_id.0, 1);
    let answer = client.call(DELETE_TOPICS, &delete_request(&large, DELETE_TOPICS));
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    for topic in [&small, &waits] {
        wait_until("records are taken again", || code(client, topic, 10) == ErrorCode::None);
    }
    assert!(read_all(client, &small, 0).len() > 1);
    let again = create(client, "again", 1, &[]);
    assert_eq!(code(client, &again, 100_000), ErrorCode::None);
    assert!(!node.process().has_ended(), "{}", node.setup.stderr());
    node.stop();
    assert!(!node.setup.stderr().contains("fencing"), "{}", node.setup.stderr());
}

#[test]
fn a_node_stops_cleanly_on_a_full_disk() {
    let disk = TempDir::new();
    let mut node = started(Setup::new(), &disk, 4);
    let client = &mut node.connect();
    let topic = create(client, "full", 1, &[]);
    fill(client, &topic);
    node.stop();
}
