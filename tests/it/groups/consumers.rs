//! Consumer groups (KIP-848): what members are told when topics change, when they are silent, and
//! when the broker dies and comes back.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatResponse, DeleteGroupsRequest,
    DescribeGroupsRequest, ListGroupsRequest,
};
use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{OffsetCommitResponse, OffsetFetchResponse};
use ottla_types::ErrorCode;

use super::{beat_request, commit_request, find_coordinator_of, offset_fetch_request};
use crate::apis::{alter_request, features_request, partitions_request};
use crate::client::Client;
use crate::node::{Setup, wait_until};
use crate::requests::{Topic, create, error, text};

/// Partitions of the only topic that a member is told of.
fn told(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let assignment = answer.assignment.as_ref()?;
    Some(assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect())
}

/// A heartbeat of a member that says what it has.
fn beat(
    client: &mut Client,
    member: &str,
    epoch: i32,
    (topic, owned): (&Topic, &[i32]),
) -> ConsumerGroupHeartbeatResponse {
    let partitions =
        TopicPartitions::default().with_topic_id(topic.id).with_partitions(owned.to_vec());
    let owned = if owned.is_empty() { Vec::new() } else { vec![partitions] };
    let request = beat_request("g", member, epoch, &topic.name);
    client.call(0, &request.with_topic_partitions(Some(owned)))
}

#[test]
fn partitions_change_hands_when_they_are_given_back() {
    let setup = Setup::new().with("group.consumer.assignment.interval.ms", 0);
    let mut node = setup.start();
    let client = &mut node.connect();
    let topic = create(client, "t", 2, &[]);
    find_coordinator_of(client, "g");
    let answer = beat(client, "a", 0, (&topic, &[]));
    assert_eq!((answer.member_epoch, told(&answer)), (2, Some(vec![0, 1])));
    assert_eq!(answer.heartbeat_interval_ms, 5000);
    let answer = beat(client, "b", 0, (&topic, &[]));
    assert_eq!((answer.member_epoch, told(&answer)), (3, Some(vec![])));
    let answer = beat(client, "a", 2, (&topic, &[0, 1]));
    let kept = told(&answer).expect("it is to give one back");
    assert_eq!((answer.member_epoch, kept.len()), (2, 1));

    // The broker dies in the midst of it, and everybody goes on.
    node.crash();
    let client = &mut node.connect();
    wait_until("the group is loaded", || {
        let answer = beat(client, "a", 2, (&topic, &kept));
        error(answer.error_code) == ErrorCode::None && answer.member_epoch == 3
    });
    let answer = beat(client, "b", 3, (&topic, &[]));
    let given = told(&answer).expect("what the other one gave back");
    let mut all = [kept, given].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1]);

    // Operators see a consumer group, and no classic one.
    let listed = client.call(5, &ListGroupsRequest::default());
    let [group] = listed.groups.as_slice() else { panic!("{listed:?}") };
    assert_eq!((&*group.group_type, &*group.group_state), ("consumer", "Stable"));
    let names = vec![text("g").into()];
    let described = client.call(6, &DescribeGroupsRequest::default().with_groups(names.clone()));
    assert_eq!(error(described.groups[0].error_code), ErrorCode::GroupIdNotFound);
    let deleted = client.call(2, &DeleteGroupsRequest::default().with_groups_names(names.clone()));
    assert_eq!(error(deleted.results[0].error_code), ErrorCode::NonEmptyGroup);
    for member in ["a", "b"] {
        let answer = client.call(0, &beat_request("g", member, -1, "t"));
        assert_eq!((error(answer.error_code), answer.member_epoch), (ErrorCode::None, -1));
    }
    let deleted = client.call(2, &DeleteGroupsRequest::default().with_groups_names(names));
    assert_eq!(error(deleted.results[0].error_code), ErrorCode::None);
}

#[test]
fn topics_that_come_and_grow_reach_their_groups() {
    let setup = Setup::new().with("group.consumer.assignment.interval.ms", 0);
    let node = setup.start();
    let client = &mut node.connect();
    find_coordinator_of(client, "g");
    let answer = client.call(0, &beat_request("g", "a", 0, "later"));
    assert_eq!((answer.member_epoch, told(&answer)), (2, Some(vec![])));
    let topic = create(client, "later", 1, &[]);
    let mut epoch = 2;
    for (has, gets) in [(vec![], vec![0]), (vec![0], vec![0, 1, 2])] {
        wait_until("the group hears of its topic", || {
            let answer = beat(client, "a", epoch, (&topic, &has));
            epoch = answer.member_epoch;
            told(&answer).is_some_and(|told| told == gets)
        });
        client.call(3, &partitions_request("later", 3, None));
    }
}

#[test]
fn a_pattern_stands_for_the_topics_that_there_are() {
    let setup = Setup::new().with("group.consumer.assignment.interval.ms", 0);
    let node = setup.start();
    let client = &mut node.connect();
    for (name, partitions) in [("orders-eu", 1), ("orders-us", 2), ("other", 1)] {
        create(client, name, partitions, &[]);
    }
    find_coordinator_of(client, "g");
    let join = |regex: &str| {
        let request = beat_request("g", "a", 0, "");
        request.with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text(regex)))
    };
    let answer = client.call(1, &join("orders-(eu"));
    assert_eq!(error(answer.error_code), ErrorCode::InvalidRegularExpression);
    let answer = client.call(1, &join("orders-.+"));
    assert_eq!((answer.member_epoch, told(&answer)), (1, Some(vec![])));
    let mut epoch = 1;
    wait_until("the pattern is looked up", || {
        let answer = client.call(1, &beat_request("g", "a", epoch, ""));
        epoch = answer.member_epoch;
        told(&answer).is_some_and(|told| told.len() == 3)
    });
}

#[test]
fn without_the_feature_there_are_no_consumer_groups() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let downgrade = features_request(2, "group.version", 0, 2);
    assert_eq!(error(client.call(2, &downgrade).error_code), ErrorCode::None);
    wait_until("the level is lower", || {
        let answer = client.call(1, &beat_request("g", "a", 0, "t"));
        error(answer.error_code) == ErrorCode::UnsupportedVersion
    });
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![text("g").into()]);
    let described = client.call(1, &request);
    assert_eq!(error(described.groups[0].error_code), ErrorCode::UnsupportedVersion);
}

#[test]
fn members_commit_in_their_epoch() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, "t", 1, &[]);
    find_coordinator_of(client, "g");
    beat(client, "a", 0, (&topic, &[]));
    let commit = |client: &mut Client, member: &str, epoch: i32| {
        let mut request = commit_request("g", &topic, 9, &[(0, 5)]);
        (request.member_id, request.generation) = (member.to_owned(), epoch);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request);
        error(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(commit(client, "a", 2), ErrorCode::None);
    assert_eq!(commit(client, "a", 3), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(client, "b", 2), ErrorCode::UnknownMemberId);
    let fetch = |client: &mut Client, epoch: i32| {
        let mut request = offset_fetch_request("g", &topic, 9, &[0]);
        (request.groups[0].member_id, request.groups[0].member_epoch) =
            (Some("a".to_owned()), epoch);
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 9, &request);
        error(answer.groups[0].error_code)
    };
    assert_eq!(fetch(client, 2), ErrorCode::None);
    assert_eq!(fetch(client, 1), ErrorCode::StaleMemberEpoch);
}

#[test]
fn a_silent_member_is_out_and_a_group_may_have_its_own_interval() {
    let setup = Setup::new().with("group.consumer.session.timeout.ms", 500);
    let node = setup.start();
    let client = &mut node.connect();
    let topic = create(client, "t", 1, &[]);
    find_coordinator_of(client, "g");
    client.call(1, &alter_request(32, "g", "consumer.heartbeat.interval.ms", "7000"));
    wait_until("the group hears of its config", || {
        let answer = beat(client, "a", 0, (&topic, &[]));
        answer.heartbeat_interval_ms == 7000
    });
    wait_until("it is out", || {
        let listed = client.call(5, &ListGroupsRequest::default());
        listed.groups.iter().all(|group| &*group.group_state == "Empty")
    });
    let answer = client.call(0, &beat_request("g", "a", 2, "t"));
    assert_eq!(error(answer.error_code), ErrorCode::UnknownMemberId);
}
