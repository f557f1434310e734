//! Snapshots of the metadata log: written, fetched in pieces, cut below, and started from.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kafka_protocol::messages::{FetchSnapshotRequest, fetch_snapshot_request};
use ottla_types::ErrorCode;

use crate::apis::snapshot_request;
use crate::client::Client;
use crate::node::{Node, Setup, binary, wait_until};
use crate::requests::{create, error};

/// A node that takes snapshots all the time, keeps only the newest, and rolls the log quickly.
fn start() -> Node {
    Setup::new()
        .with("metadata.log.max.record.bytes.between.snapshots", 200)
        .with("metadata.log.segment.ms", 1)
        .with("metadata.max.retention.bytes", 0)
        .start()
}

fn files(node: &Node, suffix: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(metadata_dir(node)).expect("the metadata log");
    let mut files: Vec<PathBuf> = dir.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(suffix));
    files.sort();
    files
}

fn begins_above_zero(node: &Node) -> bool {
    files(node, ".log").first().is_some_and(|path| !path.ends_with(format!("{:020}.log", 0)))
}

fn metadata_dir(node: &Node) -> PathBuf {
    node.setup().data().join("__cluster_metadata-0")
}

/// End offset and epoch in a snapshot's name.
fn id(path: &Path) -> (i64, i32) {
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    (name[..20].parse().expect("an offset"), name[21..31].parse().expect("an epoch"))
}

fn topics(node: &Node, names: &mut BTreeSet<String>, count: usize) {
    let mut client = node.connect();
    for _ in 0..count {
        let name = format!("t{}", names.len());
        create(&mut client, &name, 2, &[]);
        names.insert(name);
    }
}

fn listed(node: &Node) -> BTreeSet<String> {
    let request = kafka_protocol::messages::MetadataRequest::default().with_topics(None);
    let answer = node.connect().call(12, &request);
    let names = answer.topics.into_iter().filter_map(|topic| topic.name);
    names.map(|name| name.to_string()).collect()
}

#[test]
fn the_log_is_cut_below_snapshots_and_nothing_is_lost() {
    let mut node = start();
    let mut names = BTreeSet::new();
    for round in 0..3 {
        topics(&node, &mut names, 10);
        wait_until("the log begins above 0", || begins_above_zero(&node));
        assert_eq!(listed(&node), names);
        for snapshot in files(&node, ".checkpoint") {
            // One that just went is no longer there.
            let Ok(metadata) = snapshot.metadata() else { continue };
            assert_eq!(metadata.permissions().mode() & 0o777, 0o400, "{}", snapshot.display());
        }
        if round == 0 {
            node.crash();
        } else {
            node.stop();
            node.start_again();
        }
        assert_eq!(listed(&node), names, "round {round}");
    }
}

#[test]
fn a_snapshot_is_given_in_pieces() {
    let setup = Setup::new().with("metadata.log.max.record.bytes.between.snapshots", 200);
    let node = setup.start();
    topics(&node, &mut BTreeSet::new(), 10);
    let newest = || files(&node, ".checkpoint").pop().filter(|path| id(path).0 > 0);
    wait_until("there is a snapshot", || newest().is_some());
    let path = newest().expect("there is one");
    let content = std::fs::read(&path).expect("it is the newest, and stays");
    let mut client = Client::connect(node.controller_address());
    let fenced = client.call(1, &snapshot_request());
    let epoch = fenced.topics[0].partitions[0].current_leader.leader_epoch;
    let mut ask = |position: i64| {
        let (end_offset, snapshot_epoch) = id(&path);
        let mut request: FetchSnapshotRequest = snapshot_request().with_max_bytes(100);
        let partition = &mut request.topics[0].partitions[0];
        partition.current_leader_epoch = epoch;
        partition.position = position;
        partition.snapshot_id = fetch_snapshot_request::SnapshotId::default()
            .with_end_offset(end_offset)
            .with_epoch(snapshot_epoch);
        client.call(1, &request).topics[0].partitions[0].clone()
    };
    // Its file has its name a moment before the quorum knows of it.
    wait_until("it is given", || error(ask(0).error_code) != ErrorCode::SnapshotNotFound);
    let mut fetched = Vec::new();
    while fetched.len() < content.len() {
        let piece = ask(fetched.len() as i64);
        assert_eq!(error(piece.error_code), ErrorCode::None);
        assert_eq!(piece.size, content.len() as i64);
        assert!(!piece.unaligned_records.is_empty() && piece.unaligned_records.len() <= 100);
        fetched.extend_from_slice(&piece.unaligned_records);
    }
    assert_eq!(fetched, content);
    let behind = ask(content.len() as i64);
    assert_eq!(error(behind.error_code), ErrorCode::PositionOutOfRange);
    assert_eq!(error(ask(-1).error_code), ErrorCode::PositionOutOfRange);
}

#[test]
fn a_damaged_snapshot_stops_the_start_where_the_log_does_not_reach_back() {
    let mut node = start();
    topics(&node, &mut BTreeSet::new(), 10);
    wait_until("the log begins above 0", || begins_above_zero(&node));
    node.stop();
    node.setup.is_damaged();
    let path = files(&node, ".checkpoint").pop().expect("there is a snapshot");
    let mut content = std::fs::read(&path).expect("readable");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::remove_file(&path).expect("removable");
    std::fs::write(&path, content).expect("writable");
    let setup = node.into_setup();
    let told = setup.fails_with(1, binary().args(setup.arguments()));
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    assert!(told.contains(&name), "{told}");
}

#[test]
fn a_damaged_snapshot_is_passed_over_where_the_log_reaches_back() {
    let setup = Setup::new().with("metadata.log.max.record.bytes.between.snapshots", 200);
    let mut node = setup.start();
    let mut names = BTreeSet::new();
    topics(&node, &mut names, 10);
    node.stop();
    node.setup.is_damaged();
    for path in files(&node, ".checkpoint").into_iter().filter(|path| id(path).0 > 0) {
        std::fs::remove_file(&path).expect("removable");
        std::fs::write(&path, b"nonsense").expect("writable");
    }
    node.start_again();
    assert_eq!(listed(&node), names);
}
