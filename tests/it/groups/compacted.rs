//! `__consumer_offsets` is compacted: commits that others followed go, and the last ones stay.

use std::fs;

use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{OffsetCommitResponse, OffsetFetchResponse};
use ottla_types::ErrorCode;

use super::{commit_request, find_coordinator_of, offset_fetch_request};
use crate::client::Client;
use crate::node::{Node, Setup, wait_until};
use crate::requests::{Topic, create, error};

const PARTITIONS: i32 = 50;
/// As long as a commit may say, so that few commits fill a segment.
const METADATA_LEN: usize = 4_000;
const ROUNDS: i64 = 60;
const GROUPS: [&str; 2] = ["one", "two"];

/// Commits all partitions of a group.
fn commit_all(client: &mut Client, group: &str, topic: &Topic, offset: i64) {
    let offsets: Vec<(i32, i64)> = (0..PARTITIONS).map(|p| (p, offset + i64::from(p))).collect();
    let mut request = commit_request(group, topic, 10, &offsets);
    for partition in &mut request.topics[0].partitions {
        partition.committed_metadata = Some("m".repeat(METADATA_LEN));
    }
    wait_until("the group is loaded", || {
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
        let code = error(answer.topics[0].partitions[0].error_code);
        assert!(matches!(code, ErrorCode::None | ErrorCode::CoordinatorLoadInProgress), "{code}");
        code == ErrorCode::None
    });
}

/// What is told of all partitions.
fn told(client: &mut Client, group: &str, topic: &Topic) -> Vec<i64> {
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let request = offset_fetch_request(group, topic, 10, &partitions);
    let mut told = Vec::new();
    wait_until("the group is loaded", || {
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 10, &request);
        let group = &answer.groups[0];
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        told = partitions.map(|partition| partition.committed_offset.0).collect();
        error(group.error_code) == ErrorCode::None
    });
    told
}

/// Bytes of the segments that have their names.
fn size(node: &Node) -> u64 {
    let dir = node.setup().data().join("__consumer_offsets-0");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let segments = entries.filter(|entry| entry.file_name().to_str().unwrap().ends_with(".log"));
    // One that loses its name meanwhile is none.
    segments.filter_map(|segment| segment.metadata().ok()).map(|found| found.len()).sum()
}

#[test]
fn the_offsets_topic_stays_small_and_has_the_last_offsets_after_a_stop_and_a_kill() {
    let setup = Setup::new()
        .with("offsets.topic.num.partitions", 1)
        .with("offsets.topic.segment.bytes", 1 << 20)
        .with("log.cleaner.backoff.ms", 20);
    let mut node = setup.start();
    let mut client = node.connect();
    let topic = create(&mut client, "t", PARTITIONS, &[]);
    find_coordinator_of(&mut client, GROUPS[0]);
    for round in 0..ROUNDS {
        for group in GROUPS {
            commit_all(&mut client, group, &topic, round * 1_000);
        }
    }
    let live = GROUPS.len() as u64 * PARTITIONS as u64 * METADATA_LEN as u64;
    let written = ROUNDS as u64 * live;
    let small = written / 4;
    wait_until("the offsets are compacted", || size(&node) < small);
    assert!(size(&node) > live, "what is committed is there");
    let expected: Vec<i64> = (0..PARTITIONS).map(|p| (ROUNDS - 1) * 1_000 + i64::from(p)).collect();
    for stops_cleanly in [true, false] {
        if stops_cleanly {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        client = node.connect();
        for group in GROUPS {
            assert_eq!(told(&mut client, group, &topic), expected, "{group}");
        }
        assert!(size(&node) < small);
    }
}
