//! Calls on a client's listener.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeClusterRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, OffsetForLeaderEpochRequest, TransactionalId,
};
use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::TxnOffsetCommitResponse;
use ottla_protocol::txn_markers::WriteTxnMarkersResponse;
use ottla_types::ErrorCode;
use uuid::Uuid;

use super::{World, admin, configs, described, groups};
use crate::client::Client;
use crate::groups::find_coordinator_of;
use crate::node::{fresh, wait_until};
use crate::requests::{
    Topic, batch, creatable, create, create_request, delete_records_request, delete_request, error,
    fetch_request, init_producer, list_offsets_request, produce, produce_request, produce_to,
    records, text, topic_name, values,
};
use crate::transactions::whole::{begin, init_request};
use crate::transactions::{commit, markers_request, txn_commit_request};

/// Calls an API with success and with an error.
pub fn call(world: &mut World, key: i16, version: i16) {
    let controller = world.node.controller_address().port();
    let client = &mut world.broker;
    match key {
        0 => produces(client, version),
        1 => fetches(client, version),
        2 => list_offsets(client, version),
        3 => metadata(client, version),
        8 | 9 | 11..=16 | 42 | 47 | 68 | 69 => groups::call(client, key, version),
        10 => find_coordinator(client, version),
        18 => api_versions(client, version),
        19 => create_topics(client, version),
        20 => delete_topics(client, version),
        21 => delete_records(client, version),
        22 => init_producer_id(client, version),
        34 => admin::alter_replica_log_dirs(client, version),
        35 => admin::describe_log_dirs(client, version),
        37 => {
            let topic = create(client, &fresh("grows"), 1, &[]);
            admin::create_partitions(client, &topic, version);
        }
        23 => offset_for_leader_epoch(client, version),
        24..=26 | 65 | 66 => super::transactions::call(client, key, version),
        27 => write_txn_markers(client, version),
        28 => txn_offset_commit(client, version),
        32 => configs::describe(client, version),
        33 => configs::alter(client, version),
        44 => configs::alter_incremental(client, version),
        48 => configs::client_quotas(client, version),
        43 | 45 | 46 | 55 | 57 | 64 => both(client, key, version, controller),
        61 => described::describe_producers(client, version),
        75 => described::describe_topic_partitions(client, version),
        60 => describe_cluster(client, version, world.node.address().port()),
        74 => configs::list(client, version),
        _ => panic!("no call for API {key}"),
    }
}

/// APIs that are the same on both listeners, on a broker's.
fn both(client: &mut Client, key: i16, version: i16, controller: u16) {
    let topic = create(client, &fresh("both"), 1, &[]);
    on_either(client, &topic, key, version, controller);
}

/// APIs that are the same on both listeners.
pub fn on_either(client: &mut Client, topic: &Topic, key: i16, version: i16, controller: u16) {
    match key {
        43 => described::elect_leaders(client, topic, version),
        45 => described::reassign(client, topic, version),
        46 => described::list_reassignments(client, topic, version),
        55 => described::describe_quorum(client, version, controller),
        57 => described::update_features(client, version),
        64 => described::unregister_broker(client, version),
        _ => panic!("no call for API {key}"),
    }
}

/// A marker without a transaction is one as well.
fn write_txn_markers(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("ended"), 1, &[]);
    let request = markers_request(commit(7, 0), &[(&topic.name, &[0, 1])]);
    let answer: WriteTxnMarkersResponse = client.ask(ApiKey::WriteTxnMarkers, version, &request);
    let told = &answer.markers[0].topics[0].partitions;
    let told: Vec<_> = told.iter().map(|partition| error(partition.error_code)).collect();
    assert_eq!(told, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
}

/// Successes are in `transactions`: they need one.
fn txn_offset_commit(client: &mut Client, version: i16) {
    let request = txn_commit_request("g", "missing", (7, 0), 1);
    let answer: TxnOffsetCommitResponse = client.ask(ApiKey::TxnOffsetCommit, version, &request);
    let told = error(answer.topics[0].partitions[0].error_code);
    assert_eq!(told, ErrorCode::UnknownTopicOrPartition);
}

fn missing() -> Topic {
    Topic { name: fresh("missing"), id: Uuid::from_u128(0xabc) }
}

fn produces(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("produces"), 1, &[]);
    for offset in 0..2 {
        let answer = produce_to(client, version, &topic, 0, batch(&["v"]));
        assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, offset));
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version < 5 { -1 } else { 0 });
    }
    let records = [(0, Some(batch(&["v"])))];
    let answer = client.call(version, &produce_request(version, &missing(), -1, &records));
    let expected =
        if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!((error(answer.error_code), answer.base_offset), (expected, -1), "v{version}");
}

fn fetches(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("fetches"), 1, &[]);
    produce(client, &topic, batch(&["a", "b"]));
    let answer = client.call(version, &fetch_request(version, &topic, &[(0, 0)]));
    let data = &answer.responses[0].partitions[0];
    assert_eq!((error(data.error_code), data.high_watermark), (ErrorCode::None, 2));
    assert_eq!(values(&records(data)), ["a", "b"], "v{version}");
    let answer = client.call(version, &fetch_request(version, &topic, &[(0, 3)]));
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(error(code), ErrorCode::OffsetOutOfRange);
    let answer = client.call(version, &fetch_request(version, &missing(), &[(0, 0)]));
    let expected =
        if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(error(answer.responses[0].partitions[0].error_code), expected, "v{version}");
    if version >= 7 {
        let request = fetch_request(version, &topic, &[(0, 0)]);
        let unknown = request.with_session_id(12345).with_session_epoch(7);
        let code = client.call(version, &unknown).error_code;
        assert_eq!(error(code), ErrorCode::FetchSessionIdNotFound);
    }
}

fn list_offsets(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("offsets"), 1, &[]);
    produce(client, &topic, batch(&["a", "b"]));
    // Special times, from which version on they are known, and the offset that is answered.
    for (timestamp, from, offset) in
        [(-1, 1, 2), (-2, 1, 0), (-3, 7, 0), (-4, 8, 0), (-5, 9, -1), (-6, 11, -1)]
    {
        let answer = client.call(version, &list_offsets_request(&topic, 0, timestamp));
        let found = &answer.topics[0].partitions[0];
        let (code, offset) = if version < from {
            (ErrorCode::UnsupportedVersion, -1)
        } else {
            (ErrorCode::None, offset)
        };
        assert_eq!(
            (error(found.error_code), found.offset),
            (code, offset),
            "{timestamp} v{version}"
        );
    }
    let answer = client.call(version, &list_offsets_request(&missing(), 0, -1));
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition);
}

fn metadata_request(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true)
}

fn metadata(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("metadata"), 2, &[]);
    let answer = client.call(version, &metadata_request(&topic.name));
    assert_eq!((answer.brokers.len(), answer.brokers[0].node_id.0), (1, 1));
    assert_eq!(answer.cluster_id.is_some(), version >= 2);
    let described = &answer.topics[0];
    assert_eq!((error(described.error_code), described.partitions.len()), (ErrorCode::None, 2));
    assert_eq!(described.topic_id, if version < 10 { Uuid::nil() } else { topic.id });
    let partition = &described.partitions[1];
    assert_eq!((partition.leader_id.0, partition.replica_nodes.len()), (1, 1));

    // Everything, and nothing.
    let request = MetadataRequest::default();
    let all = request.clone().with_topics(if version == 0 { Some(vec![]) } else { None });
    let answer = client.call(version, &all);
    assert!(answer.topics.iter().any(|found| found.name == Some(topic_name(&topic.name))));
    if version > 0 {
        let none = client.call(version, &request.with_topics(Some(vec![])));
        assert!(none.topics.is_empty() && !none.brokers.is_empty());
    }
    let answer = client.call(version, &metadata_request("not/a name"));
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::InvalidTopicException);
    if version >= 12 {
        let asked = MetadataRequestTopic::default().with_topic_id(missing().id).with_name(None);
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let answer = client.call(version, &request);
        assert_eq!(error(answer.topics[0].error_code), ErrorCode::UnknownTopicId);
    }
    // A topic that is missing is made, and there when the client asks again.
    let name = fresh("wanted");
    let answer = client.call(version, &metadata_request(&name));
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::UnknownTopicOrPartition);
    wait_until("the topic is created", || {
        let answer = client.call(version, &metadata_request(&name));
        error(answer.topics[0].error_code) == ErrorCode::None
    });
}

fn find_coordinator(client: &mut Client, version: i16) {
    find_coordinator_of(client, "me");
    let mut ask = |key_type: i8| {
        let request = FindCoordinatorRequest::default().with_key_type(if version == 0 {
            0
        } else {
            key_type
        });
        let request = if version < 4 {
            request.with_key(text("me"))
        } else {
            request.with_coordinator_keys(vec![text("me"), text("you")])
        };
        let answer = client.call(version, &request);
        match answer.coordinators.as_slice() {
            [] => answer.error_code,
            [me, you] => {
                assert_eq!((&*me.key, &*you.key), ("me", "you"));
                me.error_code
            }
            _ => panic!("{answer:?}"),
        }
    };
    assert_eq!(error(ask(0)), ErrorCode::None, "v{version}");
    if version > 0 {
        assert_eq!(error(ask(9)), ErrorCode::InvalidRequest, "v{version}");
    }
}

fn api_versions(client: &mut Client, version: i16) {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("it"))
        .with_client_software_version(text("1.0"));
    let answer = client.call(version, &request);
    assert_eq!(error(answer.error_code), ErrorCode::None);
    assert!(answer.api_keys.len() >= 10);
    assert_eq!(!answer.supported_features.is_empty(), version >= 3);
    if version >= 3 {
        let answer = client.call(version, &request.with_client_software_name(text("-")));
        assert_eq!(error(answer.error_code), ErrorCode::InvalidRequest);
    }
}

fn create_topics(client: &mut Client, version: i16) {
    let name = fresh("creates");
    // From version 4 on the broker may choose.
    let mut topic = creatable(&name, 3, &[("flush.messages", "7")]);
    if version >= 4 {
        topic = topic.with_num_partitions(-1).with_replication_factor(-1);
    }
    let request = create_request(vec![topic]);
    let answer = client.call(version, &request);
    let created = &answer.topics[0];
    assert_eq!((error(created.error_code), &*created.name.0), (ErrorCode::None, &*name));
    if version >= 5 {
        assert_eq!((created.num_partitions, created.replication_factor), (1, 1));
        let configs = created.configs.as_ref().unwrap();
        let set = configs.iter().find(|config| &*config.name == "flush.messages").unwrap();
        assert_eq!((set.value.as_deref(), set.config_source), (Some("7"), 1));
    }
    assert_eq!(created.topic_id.is_nil(), version < 7);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::TopicAlreadyExists);
}

fn delete_topics(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("deletes"), 1, &[]);
    let request = delete_request(&topic, version);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    let name = answer.responses[0].name.as_ref().map(|name| name.to_string());
    assert_eq!(name.as_deref(), Some(&*topic.name), "v{version}");
    let expected =
        if version < 6 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    let answer = client.call(version, &request);
    assert_eq!(error(answer.responses[0].error_code), expected, "v{version}");
}

fn delete_records(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("shrinks"), 1, &[]);
    produce(client, &topic, batch(&["a", "b"]));
    for (before, code, start) in
        [(1, ErrorCode::None, 1), (3, ErrorCode::OffsetOutOfRange, -1), (-1, ErrorCode::None, 2)]
    {
        let answer = client.call(version, &delete_records_request(&topic, &[(0, before)]));
        let answer = &answer.topics[0].partitions[0];
        assert_eq!((error(answer.error_code), answer.low_watermark), (code, start), "v{version}");
    }
}

fn offset_for_leader_epoch(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("epochs"), 1, &[]);
    produce(client, &topic, batch(&["a", "b"]));
    // The epoch asked for, the client's own, and the answer.
    for (asked, known, expected) in [
        (0, -1, (ErrorCode::None, 0, 2)),
        (0, 0, (ErrorCode::None, 0, 2)),
        (1, -1, (ErrorCode::None, -1, -1)),
        (-1, -1, (ErrorCode::None, -1, -1)),
        (0, 1, (ErrorCode::UnknownLeaderEpoch, -1, -1)),
    ] {
        let request = epoch_request(&topic.name, known, asked);
        let answer = client.call(version, &request);
        let end = &answer.topics[0].partitions[0];
        let found = (error(end.error_code), end.leader_epoch, end.end_offset);
        assert_eq!(found, expected, "{asked} {known} v{version}");
    }
    let answer = client.call(version, &epoch_request(&missing().name, -1, 0));
    let end = &answer.topics[0].partitions[0];
    assert_eq!(error(end.error_code), ErrorCode::UnknownTopicOrPartition);
}

/// Asks for the end of an epoch of partition 0.
pub fn epoch_request(topic: &str, known: i32, asked: i32) -> OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default()
        .with_current_leader_epoch(known)
        .with_leader_epoch(asked);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-2)).with_topics(vec![topic])
}

fn init_producer_id(client: &mut Client, version: i16) {
    let (earlier, _) = init_producer(client);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    let answer = client.call(version, &request);
    assert_eq!((error(answer.error_code), answer.producer_epoch), (ErrorCode::None, 0));
    assert!(answer.producer_id.0 > earlier);
    let empty = request.with_transactional_id(Some(TransactionalId(text(""))));
    let answer = client.call(version, &empty);
    assert_eq!(error(answer.error_code), ErrorCode::InvalidRequest);
    assert_eq!((answer.producer_id.0, answer.producer_epoch), (-1, -1));
    let name = fresh("tx");
    let (first, epoch) = begin(client, &name);
    let mut again = init_request(&name).with_transaction_timeout_ms(1000);
    if version < 3 {
        again = InitProducerIdRequest::default()
            .with_transactional_id(again.transactional_id)
            .with_transaction_timeout_ms(1000);
    }
    let answer = client.call(version, &again);
    assert_eq!((answer.producer_id.0, answer.producer_epoch), (first, epoch + 1));
    let answer = client.call(version, &again.with_transaction_timeout_ms(i32::MAX));
    assert_eq!(error(answer.error_code), ErrorCode::InvalidTransactionTimeout);
}

fn describe_cluster(client: &mut Client, version: i16, port: u16) {
    let request = DescribeClusterRequest::default().with_endpoint_type(1);
    let answer = client.call(version, &request);
    assert_eq!(error(answer.error_code), ErrorCode::None);
    assert_eq!((answer.controller_id.0, answer.endpoint_type), (1, 1));
    let brokers: Vec<_> = answer.brokers.iter().map(address).collect();
    assert_eq!(brokers, [(1, "127.0.0.1".to_owned(), i32::from(port))]);
    assert_eq!(answer.cluster_authorized_operations, i32::MIN, "nobody asked");
    if version >= 1 {
        let answer = client.call(version, &request.clone().with_endpoint_type(2));
        assert_eq!(error(answer.error_code), ErrorCode::MismatchedEndpointType);
        let answer = client.call(version, &request.with_endpoint_type(3));
        assert_eq!(error(answer.error_code), ErrorCode::UnsupportedEndpointType);
    }
}

pub fn address(broker: &DescribeClusterBroker) -> (i32, String, i32) {
    (broker.broker_id.0, broker.host.to_string(), broker.port)
}
