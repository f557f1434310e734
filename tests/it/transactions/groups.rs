//! Offsets in transactions: invisible until the marker on the group's partition.

use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{
    OffsetCommitResponse, OffsetFetchResponse, TxnOffsetCommitPartition, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse, TxnOffsetCommitTopic,
};
use ottla_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicName, Uuid,
};

use super::whole::{begin, end_request};
use super::{End, abort, believing, commit, end_in};
use crate::client::Client;
use crate::groups::{commit_request, find_coordinator_of, offset_fetch_request};
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{Topic, create, error};

const OFFSETS: &str = "__consumer_offsets";

pub fn request(
    group: &str,
    topic: &str,
    producer: (i64, i16),
    offset: i64,
) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitPartition {
        partition_index: PartitionId(0),
        committed_offset: Offset(offset),
        committed_leader_epoch: LeaderEpoch(-1),
        committed_metadata: Some("m".to_owned()),
    };
    TxnOffsetCommitRequest {
        transactional_id: "tx".to_owned(),
        group_id: group.to_owned(),
        producer_id: ProducerId(producer.0),
        producer_epoch: ProducerEpoch(producer.1),
        topics: vec![TxnOffsetCommitTopic {
            name: TopicName::from(topic),
            topic_id: Uuid::ZERO,
            partitions: vec![partition],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

fn commit_in(client: &mut Client, version: i16, request: &TxnOffsetCommitRequest) -> ErrorCode {
    let answer: TxnOffsetCommitResponse = client.ask(ApiKey::TxnOffsetCommit, version, request);
    error(answer.topics[0].partitions[0].error_code)
}

/// The offset, or the error of one who asks for stable offsets.
fn fetch(client: &mut Client, group: &str, topic: &Topic, stable: bool) -> (ErrorCode, i64) {
    let mut request = offset_fetch_request(group, topic, 10, &[0]);
    request.require_stable = stable;
    let mut told = (ErrorCode::CoordinatorLoadInProgress, 0);
    wait_until("the group is loaded", || {
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 10, &request);
        let group = &answer.groups[0];
        let loading = matches!(
            error(group.error_code),
            ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
        );
        if !loading {
            let partition = &group.topics[0].partitions[0];
            told = (error(partition.error_code), partition.committed_offset.0);
        }
        !loading
    });
    told
}

/// The partition that a group is kept in.
fn place_of(client: &mut Client, group: &str) -> i32 {
    let count = crate::requests::metadata_of(client, OFFSETS).topics[0].partitions.len();
    ottla_types::java_string_hash(group).checked_abs().unwrap_or(0) % count as i32
}

#[test]
fn offsets_count_when_the_marker_comes() {
    let mut node = believing().start();
    let group = fresh("g");
    let topic = create(&mut node.connect(), &fresh("t"), 1, &[]);
    find_coordinator_of(&mut node.connect(), &group);
    for version in 0..=4 {
        let client = &mut node.connect();
        let (id, before) = (100 + i64::from(version), i64::from(version));
        let place = place_of(client, &group);
        let asked = request(&group, &topic.name, (id, 0), before + 1);
        wait_until("the group is loaded", || {
            let code = commit_in(client, version, &asked);
            assert!(
                matches!(
                    code,
                    ErrorCode::None
                        | ErrorCode::CoordinatorLoadInProgress
                        | ErrorCode::CoordinatorNotAvailable
                ),
                "version {version}: {code}"
            );
            code == ErrorCode::None
        });
        let unstable = (ErrorCode::UnstableOffsetCommit, -1);
        let told = if version == 0 { -1 } else { before };
        assert_eq!(fetch(client, &group, &topic, false), (ErrorCode::None, told));
        assert_eq!(fetch(client, &group, &topic, true), unstable);
        node.crash();
        let client = &mut node.connect();
        assert_eq!(fetch(client, &group, &topic, true), unstable, "after a kill");
        // Another transaction is aborted, and holds nothing up.
        let aborted = request(&group, &topic.name, (id + 50, 0), 77);
        assert_eq!(commit_in(client, version, &aborted), ErrorCode::None);
        assert_eq!(end_in(client, abort(id + 50, 0), OFFSETS, &[place]), [ErrorCode::None]);
        assert_eq!(fetch(client, &group, &topic, true), unstable);
        assert_eq!(end_in(client, commit(id, 0), OFFSETS, &[place]), [ErrorCode::None]);
        assert_eq!(fetch(client, &group, &topic, true), (ErrorCode::None, before + 1));
        if version % 2 == 0 {
            node.crash();
        }
    }
    let client = &mut node.connect();
    assert_eq!(fetch(client, &group, &topic, true), (ErrorCode::None, 5));
    node.stop();
}

#[test]
fn the_partition_of_a_group_is_added_by_a_commit() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let (group, topic) = (fresh("g"), create(client, &fresh("t"), 1, &[]));
    find_coordinator_of(client, &group);
    let mut producer = begin(client, "tx");
    for offset in [1, 2] {
        let asked = request(&group, &topic.name, producer, offset);
        wait_until("the offset is committed", || {
            match commit_in(client, 5, &asked) {
                ErrorCode::None => true,
                // Its coordinators begin, or the transaction before has not ended everywhere.
                ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::ConcurrentTransactions => false,
                other => panic!("{offset}: {other}"),
            }
        });
        assert_eq!(fetch(client, &group, &topic, true).0, ErrorCode::UnstableOffsetCommit);
        let ended = client.call(5, &end_request("tx", producer, true));
        assert_eq!(error(ended.error_code), ErrorCode::None, "{offset}");
        producer = (ended.producer_id.0, ended.producer_epoch);
        wait_until("the offset counts", || {
            fetch(client, &group, &topic, true) == (ErrorCode::None, offset)
        });
    }
}

#[test]
fn late_producers_and_coordinators_are_fenced() {
    let node = believing().start();
    let client = &mut node.connect();
    let (group, topic) = (fresh("g"), create(client, &fresh("t"), 1, &[]));
    find_coordinator_of(client, &group);
    let place = place_of(client, &group);
    let asked = |epoch, offset| request(&group, &topic.name, (7, epoch), offset);
    wait_until("the group is loaded", || commit_in(client, 4, &asked(0, 1)) == ErrorCode::None);
    let with = |epoch, coordinator| End { version: 2, coordinator, ..commit(7, epoch) };
    assert_eq!(end_in(client, with(0, 3), OFFSETS, &[place]), [ErrorCode::InvalidProducerEpoch]);
    for _ in 0..2 {
        assert_eq!(end_in(client, with(1, 3), OFFSETS, &[place]), [ErrorCode::None]);
    }
    assert_eq!(fetch(client, &group, &topic, true), (ErrorCode::None, 1));
    let fenced = [ErrorCode::TransactionCoordinatorFenced];
    assert_eq!(end_in(client, with(2, 2), OFFSETS, &[place]), fenced);
    assert_eq!(commit_in(client, 4, &asked(0, 9)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(fetch(client, &group, &topic, true), (ErrorCode::None, 1));
    // Who commits beside it is not disturbed.
    let plain = commit_request(&group, &topic, 10, &[(0, 5)]);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &plain);
    assert_eq!(error(answer.topics[0].partitions[0].error_code), ErrorCode::None);
    assert_eq!(fetch(client, &group, &topic, true), (ErrorCode::None, 5));
}

#[test]
fn what_is_no_commit_is_refused() {
    let node = believing().start();
    let client = &mut node.connect();
    let (group, topic) = (fresh("g"), create(client, &fresh("t"), 1, &[]));
    let asked = request(&group, &topic.name, (7, 0), 1);
    find_coordinator_of(client, &group);
    wait_until("the group is loaded", || commit_in(client, 4, &asked) == ErrorCode::None);
    let missing = request(&group, "missing", (7, 0), 1);
    assert_eq!(commit_in(client, 4, &missing), ErrorCode::UnknownTopicOrPartition);
    let nameless = request("", &topic.name, (7, 0), 1);
    assert_eq!(commit_in(client, 4, &nameless), ErrorCode::InvalidGroupId);
    let mut member = request(&group, &topic.name, (7, 0), 1);
    (member.generation, member.member_id) = (3, "who".to_owned());
    assert_eq!(commit_in(client, 4, &member), ErrorCode::UnknownMemberId);
    let unknown = request(&group, &topic.name, (-1, 0), 1);
    assert_eq!(commit_in(client, 4, &unknown), ErrorCode::InvalidProducerIdMapping);
    // Nobody adds the group's partition to a transaction.
    let other = request(&group, &topic.name, (8, 0), 1);
    assert_ne!(commit_in(client, 5, &other), ErrorCode::None);
}
