//! Calls about groups.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest,
};
use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{OffsetCommitResponse, OffsetFetchResponse};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::groups::{
    Member, asking_for, beat_request, commit_request, find_coordinator_of, join_request, member_of,
    offset_fetch_request, sync_request,
};
use crate::node::fresh;
use crate::requests::{Topic, create, error, text, topic_name};

/// Calls an API of groups with success and with an error.
pub fn call(client: &mut Client, key: i16, version: i16) {
    match key {
        8 => offset_commit(client, version),
        9 => offset_fetch(client, version),
        11 => join(client, version),
        12 => heartbeat(client, version),
        13 => leave(client, version),
        14 => sync(client, version),
        15 => describe(client, version),
        16 => list(client, version),
        42 => delete(client, version),
        47 => offset_delete(client),
        68 => beat(client, version),
        69 => describe_consumers(client, version),
        _ => panic!("no call for API {key}"),
    }
}

fn beat(client: &mut Client, version: i16) {
    let (group, topic) = (fresh("beaten"), create(client, &fresh("beaten"), 3, &[]));
    find_coordinator_of(client, &group);
    let answer = client.call(version, &beat_request(&group, "me", 0, &topic.name));
    assert_eq!((error(answer.error_code), answer.member_epoch), (ErrorCode::None, 2));
    let told = answer.assignment.expect("who joins is told what it has");
    assert_eq!(told.topic_partitions[0].partitions, [0, 1, 2]);
    let answer = client.call(version, &beat_request(&group, "me", 7, &topic.name));
    assert_eq!(error(answer.error_code), ErrorCode::FencedMemberEpoch);
}

fn describe_consumers(client: &mut Client, version: i16) {
    let (group, topic) = (fresh("described"), create(client, &fresh("described"), 1, &[]));
    find_coordinator_of(client, &group);
    client.call(0, &beat_request(&group, "me", 0, &topic.name));
    let names = [group.as_str(), "missing"].map(|name| text(name).into());
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(names.to_vec());
    let answer = client.call(version, &request);
    let [described, missing] = answer.groups.as_slice() else { panic!("{answer:?}") };
    assert_eq!((&*described.group_state, described.group_epoch), ("Stable", 2));
    let [one] = described.members.as_slice() else { panic!("{answer:?}") };
    assert_eq!((&*one.member_id, &*one.client_host), ("me", "/127.0.0.1"));
    assert_eq!(one.member_type, if version < 1 { -1 } else { 1 });
    let [assigned] = one.assignment.topic_partitions.as_slice() else { panic!("{answer:?}") };
    assert_eq!((&**assigned.topic_name, &*assigned.partitions), (&*topic.name, &[0][..]));
    assert_eq!(error(missing.error_code), ErrorCode::GroupIdNotFound);
}

fn join(client: &mut Client, version: i16) {
    let group = fresh("joined");
    let member = member_of(client, &group, version);
    assert!(member.id.starts_with("it-"), "{member:?}");
    assert_eq!((member.generation, &*member.leader), (1, &*member.id), "v{version}");
    let refused = client.call(version, &join_request(&fresh("joined"), "nobody"));
    assert_eq!(error(refused.error_code), ErrorCode::UnknownMemberId, "v{version}");
}

fn sync(client: &mut Client, version: i16) {
    let group = fresh("synced");
    let member = member_of(client, &group, 9);
    let answer = client.call(version, &sync_request(&group, &member, version));
    assert_eq!(error(answer.error_code), ErrorCode::None, "v{version}");
    assert_eq!(&*answer.assignment, b"all");
    let stranger = Member { id: "nobody".to_owned(), ..member };
    let answer = client.call(version, &sync_request(&group, &stranger, version));
    assert_eq!(error(answer.error_code), ErrorCode::UnknownMemberId, "v{version}");
}

fn heartbeat(client: &mut Client, version: i16) {
    let group = fresh("alive");
    let member = member_of(client, &group, 9);
    let mut ask = |generation| {
        let request = HeartbeatRequest::default()
            .with_group_id(text(&group).into())
            .with_member_id(text(&member.id))
            .with_generation_id(generation);
        error(client.call(version, &request).error_code)
    };
    assert_eq!([ask(1), ask(2)], [ErrorCode::None, ErrorCode::IllegalGeneration]);
}

fn leave(client: &mut Client, version: i16) {
    let group = fresh("left");
    let member = member_of(client, &group, 9);
    let mut ask = || {
        let request = LeaveGroupRequest::default().with_group_id(text(&group).into());
        let id = text(&member.id);
        let request = match version {
            ..3 => request.with_member_id(id),
            _ => request.with_members(vec![MemberIdentity::default().with_member_id(id)]),
        };
        let answer = client.call(version, &request);
        error(answer.members.first().map_or(answer.error_code, |member| member.error_code))
    };
    assert_eq!([ask(), ask()], [ErrorCode::None, ErrorCode::UnknownMemberId], "v{version}");
}

fn describe(client: &mut Client, version: i16) {
    let group = fresh("described");
    let member = member_of(client, &group, 9);
    client.call(5, &sync_request(&group, &member, 5));
    let names = [group.as_str(), "missing"].map(|name| text(name).into());
    let request = DescribeGroupsRequest::default().with_groups(names.to_vec());
    let answer = client.call(version, &request);
    let [described, missing] = answer.groups.as_slice() else { panic!("{answer:?}") };
    assert_eq!((&*described.group_state, &*described.protocol_data), ("Stable", "range"));
    let [one] = described.members.as_slice() else { panic!("{answer:?}") };
    assert_eq!((&*one.member_id, &*one.client_host), (&*member.id, "/127.0.0.1"));
    assert_eq!((&*one.member_metadata, &*one.member_assignment), (&b"me"[..], &b"all"[..]));
    let expected = if version < 6 { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
    assert_eq!((error(missing.error_code), &*missing.group_state), (expected, "Dead"));
}

fn list(client: &mut Client, version: i16) {
    let group = fresh("listed");
    member_of(client, &group, 9);
    let mut ask = |state: &str| {
        let request = ListGroupsRequest::default();
        let filters = if version < 4 { Vec::new() } else { vec![text(state)] };
        let answer = client.call(version, &request.with_states_filter(filters));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        answer.groups.into_iter().find(|listed| **listed.group_id == *group)
    };
    let listed = ask("completingrebalance").expect("it is there");
    assert_eq!(&*listed.protocol_type, "consumer");
    let state = if version < 4 { "" } else { "CompletingRebalance" };
    let kind = if version < 5 { "" } else { "classic" };
    assert_eq!((&*listed.group_state, &*listed.group_type), (state, kind), "v{version}");
    assert_eq!(ask("Empty").is_some(), version < 4, "v{version}");
}

fn delete(client: &mut Client, version: i16) {
    let (group, simple) = (fresh("lives"), fresh("simple"));
    member_of(client, &group, 9);
    let topic = create(client, &fresh("t"), 1, &[]);
    let request = commit_request(&simple, &topic, 10, &[(0, 5)]);
    let _: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
    let mut ask = |name: &str| {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![text(name).into()]);
        error(client.call(version, &request).results[0].error_code)
    };
    assert_eq!(ask(&group), ErrorCode::NonEmptyGroup);
    assert_eq!(ask(&simple), ErrorCode::None);
    assert_eq!(ask(&simple), ErrorCode::GroupIdNotFound);
}

fn offset_delete(client: &mut Client) {
    let group = fresh("forgets");
    find_coordinator_of(client, &group);
    let topic = create(client, &fresh("t"), 1, &[]);
    let ask = |client: &mut Client| {
        let partition = OffsetDeleteRequestPartition::default();
        let part = OffsetDeleteRequestTopic::default()
            .with_name(topic_name(&topic.name))
            .with_partitions(vec![partition]);
        let request = OffsetDeleteRequest::default().with_group_id(text(&group).into());
        let answer = client.call(0, &request.with_topics(vec![part]));
        answer.topics.first().map_or(answer.error_code, |it| it.partitions[0].error_code)
    };
    assert_eq!(error(ask(client)), ErrorCode::GroupIdNotFound);
    let request = commit_request(&group, &topic, 10, &[(0, 5)]);
    let _: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
    assert_eq!(error(ask(client)), ErrorCode::None);
    let request = offset_fetch_request(&group, &topic, 10, &[0]);
    let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 10, &request);
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset.0, -1);
}

fn offset_commit(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("committed"), 1, &[]);
    find_coordinator_of(client, "calls");
    let request = commit_request("calls", &topic, version, &[(0, 5), (9, 5)]);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, version, &request);
    let codes: Vec<_> =
        answer.topics[0].partitions.iter().map(|partition| error(partition.error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition], "v{version}");
    if version < 10 {
        let request = OffsetCommitRequest::default().with_member_id(text("nobody"));
        let answer = client.call(version, &request.with_generation_id_or_member_epoch(3));
        assert!(answer.topics.is_empty(), "v{version}");
    }
}

fn offset_fetch(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("fetched"), 2, &[]);
    find_coordinator_of(client, "calls");
    let request = commit_request("calls", &topic, 10, &[(0, 5)]);
    let _: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
    let told = |client: &mut Client, topic: &Topic| {
        let request = offset_fetch_request("calls", topic, version, &[0, 1]);
        let mut answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, version, &request);
        let topics = match version {
            ..8 => answer.topics,
            _ => answer.groups.remove(0).topics,
        };
        let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
        partitions.map(|it| (it.committed_offset.0, error(it.error_code))).collect::<Vec<_>>()
    };
    assert_eq!(told(client, &topic), [(5, ErrorCode::None), (-1, ErrorCode::None)]);
    let missing = Topic { name: fresh("missing"), id: uuid::Uuid::from_u128(9) };
    let expected = if version < 10 { ErrorCode::None } else { ErrorCode::UnknownTopicId };
    assert_eq!(told(client, &missing), [(-1, expected), (-1, expected)]);
    if version >= 2 {
        let request = asking_for("calls", None, version);
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, version, &request);
        let topics = if version < 8 { answer.topics } else { answer.groups[0].topics.clone() };
        assert!(!topics.is_empty(), "v{version}");
    }
    if version < 10 {
        let answer = client.call(version, &OffsetFetchRequest::default());
        assert_eq!(error(answer.error_code), ErrorCode::None, "v{version}");
    }
}
