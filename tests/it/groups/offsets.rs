//! Offsets of simple groups: what is committed is told, whatever happens to the broker.

use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{OffsetCommitResponse, OffsetFetchResponse};
use ottla_types::ErrorCode;

use super::{asking_for, commit_request, find_coordinator_of, offset_fetch_request};
use crate::client::Client;
use crate::node::{Node, Setup, fresh, wait_until};
use crate::requests::{Topic, create, delete_request, error, metadata_of};

/// Commits, and expects the same outcome for all.
fn commit(client: &mut Client, group: &str, topic: &Topic, offsets: &[(i32, i64)]) -> ErrorCode {
    let request = commit_request(group, topic, 10, offsets);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
    let mut codes = answer.topics[0].partitions.iter().map(|partition| partition.error_code);
    let first = codes.next().unwrap();
    assert!(codes.all(|code| code == first), "{answer:?}");
    error(first)
}

/// What is told of a partition; none while the group is being loaded.
fn fetch(client: &mut Client, group: &str, topic: &Topic, partition: i32) -> Option<i64> {
    let request = offset_fetch_request(group, topic, 10, &[partition]);
    let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 10, &request);
    if error(answer.groups[0].error_code) == ErrorCode::CoordinatorLoadInProgress {
        return None;
    }
    assert_eq!(error(answer.groups[0].error_code), ErrorCode::None);
    Some(answer.groups[0].topics[0].partitions[0].committed_offset.0)
}

fn fetch_when_loaded(client: &mut Client, group: &str, topic: &Topic, partition: i32) -> i64 {
    let mut told = None;
    wait_until("the group is loaded", || {
        told = fetch(client, group, topic, partition);
        told.is_some()
    });
    told.unwrap()
}

#[test]
fn offsets_outlive_a_stop_and_a_kill() {
    let mut node = Setup::new().start();
    let groups: Vec<String> = (0..20).map(|number| format!("group-{number}")).collect();
    let topic = {
        let client = &mut node.connect();
        let topic = create(client, "t", 2, &[]);
        find_coordinator_of(client, &groups[0]);
        topic
    };
    for round in 1..4 {
        let client = &mut node.connect();
        for (number, group) in (0..).zip(&groups) {
            if round > 1 {
                let before = fetch_when_loaded(client, group, &topic, 1);
                assert_eq!(before, number + 100 * (round - 1), "{group}");
            }
            let offsets = [(0, number), (1, number + 100 * round)];
            wait_until("the group is loaded", || {
                let code = commit(client, group, &topic, &offsets);
                assert!(matches!(code, ErrorCode::None | ErrorCode::CoordinatorLoadInProgress));
                code == ErrorCode::None
            });
        }
        if round % 2 == 0 {
            node.crash();
        } else {
            node.stop();
            node.start_again();
        }
    }
    for (number, group) in (0..).zip(&groups) {
        assert_eq!(fetch_when_loaded(&mut node.connect(), group, &topic, 1), number + 300);
    }
}

#[test]
fn a_topic_that_was_made_anew_begins_without_offsets() {
    let node = Node::start();
    let client = &mut node.connect();
    let (name, group) = (fresh("again"), fresh("group"));
    find_coordinator_of(client, &group);
    let topic = create(client, &name, 1, &[]);
    assert_eq!(commit(client, &group, &topic, &[(0, 7)]), ErrorCode::None);
    client.call(6, &delete_request(&topic, 6));
    wait_until("the topic is gone", || {
        let answer = metadata_of(client, &name);
        error(answer.topics[0].error_code) != ErrorCode::None
    });
    let topic = create(client, &name, 1, &[]);
    assert_eq!(fetch_when_loaded(client, &group, &topic, 0), -1);
}

#[test]
fn groups_begin_anew_when_their_topic_was_deleted() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, "t", 2, &[]);
    find_coordinator_of(client, "g");
    assert_eq!(commit(client, "g", &topic, &[(0, 7), (1, 8)]), ErrorCode::None);
    let old = metadata_of(client, "__consumer_offsets").topics[0].topic_id;
    let place = Topic { name: "__consumer_offsets".to_owned(), id: old };
    let answer = client.call(5, &delete_request(&place, 5));
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    find_coordinator_of(client, "g");
    assert_ne!(metadata_of(client, "__consumer_offsets").topics[0].topic_id, old);
    wait_until("the group is there again", || {
        commit(client, "g", &topic, &[(0, 3)]) == ErrorCode::None
    });
    assert_eq!(fetch(client, "g", &topic, 0), Some(3));
    assert_eq!(fetch(client, "g", &topic, 1), Some(-1), "what was deleted is gone");
}

#[test]
fn what_is_refused_keeps_nothing_else_from_being_committed() {
    let node = Node::start();
    let client = &mut node.connect();
    let group = fresh("group");
    find_coordinator_of(client, &group);
    let topic = create(client, &fresh("t"), 1, &[]);
    let mut request = commit_request(&group, &topic, 9, &[(0, 1), (5, 1)]);
    let missing = Topic { name: fresh("missing"), ..topic.clone() };
    request.topics.extend(commit_request(&group, &missing, 9, &[(0, 1)]).topics);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request);
    let codes: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| error(it.error_code)))
        .collect();
    let missing = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(codes, [ErrorCode::None, missing, missing]);
    request.topics.truncate(1);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5000));
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request);
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(error(code), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(fetch_when_loaded(client, &group, &topic, 0), 1);
    // Who says that he is in a generation must be in it.
    request.topics[0].partitions[0].committed_metadata = None;
    request.generation = 3;
    for (version, expected) in [(8, ErrorCode::IllegalGeneration), (9, ErrorCode::GroupIdNotFound)]
    {
        request.group_id = fresh("nobody");
        find_coordinator_of(client, &request.group_id);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, version, &request);
        assert_eq!(error(answer.topics[0].partitions[0].error_code), expected);
    }
    let all = asking_for(&group, None, 8);
    let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 8, &all);
    let told = &answer.groups[0].topics;
    assert_eq!((told.len(), told[0].partitions.len()), (1, 1), "{answer:?}");
    assert_eq!(told[0].partitions[0].metadata.as_deref(), Some("m"));
}
