//! Calls on a controller's listener.

use kafka_protocol::messages::{
    ApiVersionsRequest, BeginQuorumEpochRequest, BrokerId, DescribeClusterRequest,
    EndQuorumEpochRequest, FetchSnapshotRequest, VoteRequest, begin_quorum_epoch_request,
    end_quorum_epoch_request, fetch_snapshot_request, vote_request,
};
use ottla_types::ErrorCode;
use uuid::Uuid;

use super::calls::{address, on_either};
use super::{World, admin, configs, described, forwarded};
use crate::client::Client;
use crate::node::fresh;
use crate::requests::{
    Topic, creatable, create, create_request, delete_request, error, fetch_request, text,
    topic_name,
};

/// Calls an API with success and with an error.
pub fn call(world: &mut World, key: i16, version: i16) {
    let client = &mut world.controller;
    match key {
        1 => fetches_metadata(client, version),
        18 => api_versions(client, version),
        19 => create_topics(client, version),
        20 => {
            let topic = create(&mut world.broker, &fresh("deletes"), 1, &[]);
            delete_topics(client, &topic, version);
        }
        32..=33 | 44 => {
            let name = fresh("configured");
            create(&mut world.broker, &name, 1, &[]);
            configs::of_topic(client, key, version, &name);
        }
        37 => {
            let topic = create(&mut world.broker, &fresh("grows"), 1, &[]);
            admin::create_partitions(client, &topic, version);
        }
        43 | 45 | 46 | 55 | 57 | 64 => {
            let topic = create(&mut world.broker, &fresh("both"), 1, &[]);
            let port = world.node.controller_address().port();
            on_either(client, &topic, key, version, port);
        }
        58 => forwarded::envelope(client, version),
        67 => described::allocate_producer_ids(client, version),
        52 => votes(client, version),
        53 => begin_epoch(client, version),
        54 => end_epoch(client, version),
        59 => fetch_snapshot(client, version),
        60 => describe_cluster(client, version, world.node.controller_address().port()),
        73 => admin::assign_replicas(&mut world.broker, client),
        _ => panic!("no call for API {key}"),
    }
}

fn metadata_topic() -> Topic {
    Topic { name: "__cluster_metadata".to_owned(), id: Uuid::from_u128(1) }
}

fn fetches_metadata(client: &mut Client, version: i16) {
    let ask = |client: &mut Client, topic: &Topic, epoch: i32| {
        let mut request = fetch_request(version, topic, &[(0, 0)]);
        let partition = &mut request.topics[0].partitions[0];
        (partition.current_leader_epoch, partition.last_fetched_epoch) = (epoch, 0);
        if version < 9 {
            partition.current_leader_epoch = -1;
        }
        if version < 12 {
            partition.last_fetched_epoch = -1;
        }
        let mut answer = client.call(version, &request);
        let data = answer.responses.pop().map(|mut topic| topic.partitions.remove(0));
        data.ok_or(error(answer.error_code))
    };
    let other = Topic { name: fresh("other"), id: Uuid::from_u128(5) };
    // Requests before version 7 have no place for an error of the whole.
    let refused = if version < 7 { ErrorCode::None } else { ErrorCode::InvalidRequest };
    assert_eq!(ask(client, &other, 1), Err(refused), "v{version}");
    if version < 13 {
        assert_eq!(ask(client, &metadata_topic(), 1), Err(refused), "it goes by id");
        return;
    }
    let data = ask(client, &metadata_topic(), 0).unwrap();
    assert_eq!(error(data.error_code), ErrorCode::FencedLeaderEpoch, "v{version}");
    assert_eq!(data.current_leader.leader_id.0, 1);
    let epoch = data.current_leader.leader_epoch;
    let future = ask(client, &metadata_topic(), epoch + 1).unwrap();
    assert_eq!(error(future.error_code), ErrorCode::UnknownLeaderEpoch, "v{version}");
    let data = ask(client, &metadata_topic(), epoch).unwrap();
    assert_eq!(error(data.error_code), ErrorCode::None, "v{version}");
    // A log begins with its records, or with the snapshot that took their place.
    let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
    assert!(has_records || data.snapshot_id.end_offset >= 0, "v{version}");
}

fn api_versions(client: &mut Client, version: i16) {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("it"))
        .with_client_software_version(text("1.0"));
    let answer = client.call(version, &request);
    assert_eq!(error(answer.error_code), ErrorCode::None);
    assert!(answer.api_keys.iter().any(|row| row.api_key == 52));
    if version >= 3 {
        let answer = client.call(version, &request.with_client_software_version(text("")));
        assert_eq!(error(answer.error_code), ErrorCode::InvalidRequest);
    }
}

fn create_topics(client: &mut Client, version: i16) {
    let request = create_request(vec![creatable(&fresh("creates"), 1, &[])]);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::None);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::TopicAlreadyExists);
}

fn delete_topics(client: &mut Client, topic: &Topic, version: i16) {
    let request = delete_request(topic, version);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    let answer = client.call(version, &request);
    let expected =
        if version < 6 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(error(answer.responses[0].error_code), expected);
}

/// The question of a stranger for votes in the first epoch.
pub fn vote_request() -> VoteRequest {
    let partition = vote_request::PartitionData::default()
        .with_replica_epoch(1)
        .with_replica_id(BrokerId(7))
        .with_replica_directory_id(Uuid::from_u128(7));
    let topic = vote_request::TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    VoteRequest::default().with_cluster_id(None).with_topics(vec![topic])
}

fn votes(client: &mut Client, version: i16) {
    let answer = client.call(version, &vote_request().with_voter_id(BrokerId(1)));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let partition = &answer.topics[0].partitions[0];
    let is_over = partition.leader_epoch > 1;
    let expected = if is_over { ErrorCode::FencedLeaderEpoch } else { ErrorCode::None };
    assert_eq!(error(partition.error_code), expected);
    assert_eq!((partition.leader_id.0, partition.vote_granted), (1, false));
    let strange = vote_request().with_cluster_id(Some(text("another")));
    let answer = client.call(version, &strange);
    assert_eq!(error(answer.error_code), ErrorCode::InconsistentClusterId);
}

/// A stranger that claims to lead an epoch that is over.
pub fn begin_request() -> BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch_request::PartitionData::default()
        .with_leader_id(BrokerId(7))
        .with_leader_epoch(0);
    let topic = begin_quorum_epoch_request::TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    BeginQuorumEpochRequest::default().with_cluster_id(None).with_topics(vec![topic])
}

fn begin_epoch(client: &mut Client, version: i16) {
    let answer = client.call(version, &begin_request());
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(error(partition.error_code), ErrorCode::FencedLeaderEpoch);
    assert_eq!(partition.leader_id.0, 1);
    let strange = begin_request().with_cluster_id(Some(text("another")));
    let answer = client.call(version, &strange);
    assert_eq!(error(answer.error_code), ErrorCode::InconsistentClusterId);
}

/// A stranger that no longer leads an epoch that is over.
pub fn end_request() -> EndQuorumEpochRequest {
    let partition = end_quorum_epoch_request::PartitionData::default()
        .with_leader_id(BrokerId(7))
        .with_leader_epoch(0);
    let topic = end_quorum_epoch_request::TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    EndQuorumEpochRequest::default().with_cluster_id(None).with_topics(vec![topic])
}

fn end_epoch(client: &mut Client, version: i16) {
    let answer = client.call(version, &end_request());
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(error(partition.error_code), ErrorCode::FencedLeaderEpoch);
    assert_eq!(partition.leader_id.0, 1);
    let strange = end_request().with_cluster_id(Some(text("another")));
    let answer = client.call(version, &strange);
    assert_eq!(error(answer.error_code), ErrorCode::InconsistentClusterId);
}

fn describe_cluster(client: &mut Client, version: i16, port: u16) {
    let wanted = if version == 0 { 1 } else { 2 };
    let request = DescribeClusterRequest::default().with_endpoint_type(wanted);
    let answer = client.call(version, &request);
    if version == 0 {
        // It cannot ask for controllers, and there are no brokers here.
        assert_eq!(error(answer.error_code), ErrorCode::InvalidRequest);
        return;
    }
    assert_eq!((error(answer.error_code), answer.endpoint_type), (ErrorCode::None, 2));
    let controllers: Vec<_> = answer.brokers.iter().map(address).collect();
    assert_eq!(controllers, [(1, "127.0.0.1".to_owned(), i32::from(port))]);
    let answer = client.call(version, &request.with_endpoint_type(1));
    assert_eq!(error(answer.error_code), ErrorCode::MismatchedEndpointType);
}

/// A stranger's question for a snapshot that is not there, in an epoch that is over.
pub fn snapshot_request() -> FetchSnapshotRequest {
    let id = fetch_snapshot_request::SnapshotId::default().with_end_offset(1 << 40).with_epoch(1);
    let partition = fetch_snapshot_request::PartitionSnapshot::default()
        .with_current_leader_epoch(0)
        .with_snapshot_id(id);
    let topic = fetch_snapshot_request::TopicSnapshot::default()
        .with_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    FetchSnapshotRequest::default().with_replica_id(BrokerId(7)).with_topics(vec![topic])
}

fn fetch_snapshot(client: &mut Client, version: i16) {
    let ask = |client: &mut Client, request: &FetchSnapshotRequest| {
        let answer = client.call(version, request);
        assert_eq!(error(answer.error_code), ErrorCode::None);
        answer.topics[0].partitions[0].clone()
    };
    let mut request = snapshot_request();
    let partition = ask(client, &request);
    assert_eq!(error(partition.error_code), ErrorCode::FencedLeaderEpoch);
    let leader = partition.current_leader;
    assert_eq!(leader.leader_id.0, 1);
    request.topics[0].partitions[0].current_leader_epoch = leader.leader_epoch;
    let partition = ask(client, &request);
    assert_eq!(error(partition.error_code), ErrorCode::SnapshotNotFound);
    // The one that the directory was formatted with is there, and nobody else's.
    request.topics[0].partitions[0].snapshot_id = fetch_snapshot_request::SnapshotId::default();
    assert_eq!(error(ask(client, &request).error_code), ErrorCode::SnapshotNotFound);
    request.topics[0].name = topic_name("another");
    assert_eq!(error(ask(client, &request).error_code), ErrorCode::UnknownTopicOrPartition);
    let strange = snapshot_request().with_cluster_id(Some(text("another")));
    let answer = client.call(version, &strange);
    assert_eq!(error(answer.error_code), ErrorCode::InconsistentClusterId);
}
