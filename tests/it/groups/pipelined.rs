//! Requests that a client sends without waiting for answers. Those of a group and of data over one
//! connection, which changes threads meanwhile, are answered in their order, and each sees those
//! before it.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    HeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
};
use ottla_types::ErrorCode;

use super::find_coordinator_of;
use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{PRODUCE, Topic, batch, create, error, produce_request, text};

const COMMIT: i16 = 8;
const FETCH_OFFSETS: i16 = 7;
const HEARTBEAT: i16 = 4;
const ROUNDS: i64 = 40;

fn commit_of(group: &str, topic: &Topic, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(text(&topic.name).into())
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default().with_group_id(text(group).into()).with_topics(vec![topic])
}

fn fetch_of(group: &str, topic: &Topic) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(text(&topic.name).into())
        .with_partition_indexes(vec![0]);
    OffsetFetchRequest::default().with_group_id(text(group).into()).with_topics(Some(vec![topic]))
}

fn expect_commit(client: &mut Client) {
    let (_, answer) = client.receive::<OffsetCommitRequest>(COMMIT);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(error(partition.error_code), ErrorCode::None);
}

fn expect_offset(client: &mut Client, expected: i64) {
    let (_, answer) = client.receive::<OffsetFetchRequest>(FETCH_OFFSETS);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(
        (error(partition.error_code), partition.committed_offset),
        (ErrorCode::None, expected)
    );
}

#[test]
fn a_fetch_of_offsets_sees_the_commits_before_it() {
    let node = Node::start();
    let client = &mut node.connect();
    let group = fresh("group");
    find_coordinator_of(client, &group);
    let topic = create(client, &fresh("t"), 1, &[]);
    let beat = HeartbeatRequest::default().with_group_id(text("nobody").into());
    for round in 0..ROUNDS {
        client.send(COMMIT, &commit_of(&group, &topic, round));
        client.send(HEARTBEAT, &beat);
        client.send(FETCH_OFFSETS, &fetch_of(&group, &topic));
    }
    for round in 0..ROUNDS {
        expect_commit(client);
        let (_, answer) = client.receive::<HeartbeatRequest>(HEARTBEAT);
        assert_eq!(error(answer.error_code), ErrorCode::UnknownMemberId);
        expect_offset(client, round);
    }
}

#[test]
fn a_connection_that_is_shared_by_groups_and_data_keeps_its_order() {
    let node = Node::start();
    let group = fresh("group");
    find_coordinator_of(&mut node.connect(), &group);
    let topic = create(&mut node.connect(), &fresh("t"), 1, &[]);
    for data_first in [true, false] {
        let client = &mut node.connect();
        let produce = produce_request(PRODUCE, &topic, -1, &[(0, Some(batch(&["1"])))]);
        for round in 0..ROUNDS {
            if data_first {
                client.send(PRODUCE, &produce);
            }
            client.send(COMMIT, &commit_of(&group, &topic, round));
            client.send(FETCH_OFFSETS, &fetch_of(&group, &topic));
            if !data_first {
                client.send(PRODUCE, &produce);
            }
        }
        let expect_produced = |client: &mut Client| {
            let (_, answer) = client.receive::<ProduceRequest>(PRODUCE);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(error(partition.error_code), ErrorCode::None);
        };
        for round in 0..ROUNDS {
            if data_first {
                expect_produced(client);
            }
            expect_commit(client);
            expect_offset(client, round);
            if !data_first {
                expect_produced(client);
            }
        }
    }
}
