//! What clients hear who may do nothing: Kafka's codes, and nothing about what is there.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, ApiVersionsRequest, DescribeClusterRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, TransactionalId, UnregisterBrokerRequest,
};
use ottla_types::ErrorCode;
use uuid::Uuid;

use super::Embedded;
use crate::apis::{
    assign_request, begin_request, elect_request, end_request, envelope_of, features_request,
    list_request, log_dirs_request, move_request, partitions_request, producers_request,
    quorum_request, reassign_request, topics_request, vote_request,
};
use crate::client::Client;
use crate::requests::{
    Topic, batch, creatable, create, create_request, delete_records_request, delete_request, error,
    fetch_request, list_offsets_request, metadata_of, produce_request, text,
};

/// What was asked for, what came, and what Kafka 4.3.1 answers.
type Told = Vec<(String, ErrorCode, ErrorCode)>;

use ErrorCode::{
    ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed,
    TransactionalIdAuthorizationFailed, UnknownTopicId, UnknownTopicOrPartition,
};

fn records(client: &mut Client, topic: &Topic) -> Told {
    let missing = Topic { name: "missing".to_owned(), id: Uuid::from_u128(5) };
    let mut told = Told::new();
    for (name, topic, by_id) in
        [("there", topic, TopicAuthorizationFailed), ("missing", &missing, UnknownTopicId)]
    {
        for version in [12, 13] {
            let records = [(0, Some(batch(&["v"])))];
            let expected = if version == 13 { by_id } else { TopicAuthorizationFailed };
            let answer = client.call(version, &produce_request(version, topic, -1, &records));
            let code = answer.responses[0].partition_responses[0].error_code;
            told.push((format!("Produce {version} {name}"), error(code), expected));
            let answer = client.call(version, &fetch_request(version, topic, &[(0, 0)]));
            let code = answer.responses[0].partitions[0].error_code;
            told.push((format!("Fetch {version} {name}"), error(code), expected));
        }
        let answer = client.call(10, &list_offsets_request(topic, 0, -1));
        let code = answer.topics[0].partitions[0].error_code;
        told.push((format!("ListOffsets {name}"), error(code), TopicAuthorizationFailed));
        let code = metadata_of(client, &topic.name).topics[0].error_code;
        told.push((format!("Metadata {name}"), error(code), TopicAuthorizationFailed));
        let asked = MetadataRequestTopic::default().with_name(None).with_topic_id(topic.id);
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let answer = client.call(13, &request);
        let code = answer.topics[0].error_code;
        assert!(answer.topics[0].name.is_none(), "an id does not tell the name");
        told.push((format!("Metadata by id {name}"), error(code), by_id));
    }
    let all = client.call(13, &MetadataRequest::default().with_topics(None));
    assert!(all.topics.is_empty(), "what one may not see is not there");
    told
}

fn administration(client: &mut Client, topic: &Topic) -> Told {
    let mut told = Told::new();
    let mut push = |name: &str, code: i16, expected| {
        told.push((name.to_owned(), error(code), expected));
    };
    for (key_type, expected) in
        [(0, GroupAuthorizationFailed), (1, TransactionalIdAuthorizationFailed)]
    {
        let request = FindCoordinatorRequest::default().with_key_type(key_type);
        let request = request.with_coordinator_keys(vec![text("k")]);
        let code = client.call(6, &request).coordinators[0].error_code;
        push(&format!("FindCoordinator {key_type}"), code, expected);
    }
    let answer = client.call(0, &ApiVersionsRequest::default());
    push("ApiVersions", answer.error_code, ErrorCode::None);
    let answer = client.call(7, &create_request(vec![creatable("new", 1, &[])]));
    push("CreateTopics", answer.topics[0].error_code, TopicAuthorizationFailed);
    let answer = client.call(5, &delete_request(topic, 5));
    push("DeleteTopics", answer.responses[0].error_code, TopicAuthorizationFailed);
    let missing = Topic { name: "missing".to_owned(), id: Uuid::from_u128(5) };
    let answer = client.call(5, &delete_request(&missing, 5));
    push("DeleteTopics missing", answer.responses[0].error_code, TopicAuthorizationFailed);
    told.extend(cluster(client));
    let mut push = |name: &str, code: i16, expected| {
        told.push((name.to_owned(), error(code), expected));
    };
    let answer = client.call(0, &producers_request(&topic.name, &[0]));
    push("DescribeProducers", answer.topics[0].partitions[0].error_code, TopicAuthorizationFailed);
    let answer = client.call(0, &topics_request(&[&topic.name, "missing"], 9, None));
    for refused in &answer.topics {
        assert!(refused.topic_id.is_nil() && refused.partitions.is_empty());
        push("DescribeTopicPartitions", refused.error_code, TopicAuthorizationFailed);
    }
    let answer = client.call(0, &topics_request(&[], 9, None));
    assert!(answer.topics.is_empty(), "what one may not see is not there");
    let answer = client.call(4, &log_dirs_request(None));
    assert!(answer.results.is_empty(), "nothing is told");
    let moved = client.call(2, &move_request("/x", "secret", 0));
    let moved = moved.results[0].partitions[0].error_code;
    push("AlterReplicaLogDirs", moved, ClusterAuthorizationFailed);
    push("DescribeLogDirs", answer.error_code, ClusterAuthorizationFailed);
    assert!(client.call(2, &log_dirs_request(None)).results.is_empty(), "without an error");
    let answer = client.call(3, &partitions_request(&topic.name, 2, None));
    assert_eq!(answer.results[0].error_message, None);
    push("CreatePartitions", answer.results[0].error_code, TopicAuthorizationFailed);
    let answer = client.call(2, &delete_records_request(topic, &[(0, 0)]));
    let deleted = &answer.topics[0].partitions[0];
    assert_eq!(deleted.low_watermark, -1);
    push("DeleteRecords", deleted.error_code, TopicAuthorizationFailed);
    let answer = client.call(6, &delete_request(topic, 6));
    push("DeleteTopics by id", answer.responses[0].error_code, TopicAuthorizationFailed);
    let answer = client.call(6, &delete_request(&missing, 6));
    push("DeleteTopics by unknown id", answer.responses[0].error_code, UnknownTopicId);
    let request = InitProducerIdRequest::default().with_transaction_timeout_ms(1000);
    let answer = client.call(4, &request.clone().with_transactional_id(None));
    push("InitProducerId", answer.error_code, ClusterAuthorizationFailed);
    let of_transactions = request.with_transactional_id(Some(TransactionalId(text("x"))));
    let answer = client.call(4, &of_transactions);
    push("InitProducerId x", answer.error_code, TransactionalIdAuthorizationFailed);
    let request =
        DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let answer = client.call(2, &request);
    push("DescribeCluster", answer.error_code, ErrorCode::None);
    assert_eq!(answer.cluster_authorized_operations, 0, "nothing is allowed");
    told
}

/// What the cluster's administration answers on either listener.
fn cluster(client: &mut Client) -> Told {
    let elected = client.call(2, &elect_request(Some(("secret", &[0])))).error_code;
    let reassigned = client.call(1, &reassign_request("secret", 0, Some(&[1]))).error_code;
    let listed = client.call(0, &list_request(None)).error_code;
    let quorum = client.call(2, &quorum_request("__cluster_metadata", 0)).error_code;
    let forgotten = client.call(0, &UnregisterBrokerRequest::default()).error_code;
    let updated = client.call(2, &features_request(2, "nope", 1, 1)).error_code;
    let codes = [
        ("UpdateFeatures", updated),
        ("ElectLeaders", elected),
        ("AlterPartitionReassignments", reassigned),
        ("ListPartitionReassignments", listed),
        ("DescribeQuorum", quorum),
        ("UnregisterBroker", forgotten),
    ];
    codes.map(|(name, code)| (name.to_owned(), error(code), ClusterAuthorizationFailed)).into()
}

/// What a controller answers to those who administer topics.
fn controller(client: &mut Client, topic: &Topic) -> Told {
    let answer = client.call(7, &create_request(vec![creatable("new", 1, &[])]));
    let created = answer.topics[0].error_code;
    let answer = client.call(6, &delete_request(topic, 6));
    let deleted = answer.responses[0].error_code;
    let request = DescribeClusterRequest::default().with_endpoint_type(2);
    let described = client.call(2, &request).error_code;
    vec![
        ("CreateTopics".to_owned(), error(created), TopicAuthorizationFailed),
        ("DeleteTopics".to_owned(), error(deleted), TopicAuthorizationFailed),
        ("DescribeCluster".to_owned(), error(described), ClusterAuthorizationFailed),
    ]
}

fn quorum(client: &mut Client) -> Told {
    let metadata_log = Topic { name: String::new(), id: Uuid::from_u128(1) };
    let vote = client.call(2, &vote_request()).error_code;
    let begin = client.call(1, &begin_request()).error_code;
    let end = client.call(1, &end_request()).error_code;
    let fetch = client.call(17, &fetch_request(17, &metadata_log, &[(0, 0)])).error_code;
    let assign = assign_request(-1, metadata_log.id, metadata_log.id, 0);
    let assign = client.call(0, &assign).error_code;
    let ids = client.call(0, &AllocateProducerIdsRequest::default()).error_code;
    let codes = [
        ("Vote", vote),
        ("Begin", begin),
        ("End", end),
        ("Fetch", fetch),
        ("Assign", assign),
        ("Ids", ids),
        ("Envelope", client.call(0, &envelope_of(0, &list_request(None))).error_code),
    ];
    codes.map(|(name, code)| (name.to_owned(), error(code), ClusterAuthorizationFailed)).into()
}

fn assert_told(told: Told) {
    let wrong: Vec<_> = told.iter().filter(|(_, code, expected)| code != expected).collect();
    assert!(wrong.is_empty(), "what, answered, expected: {wrong:#?}");
}

#[test]
fn whoever_may_do_nothing_is_told_as_by_kafka() {
    let node = Embedded::start();
    let mut client = node.connect();
    let topic = create(&mut client, "secret", 1, &[]);
    node.recorder.set_policy(|_, _| false);
    assert_told(records(&mut client, &topic));
    assert_told(administration(&mut client, &topic));
    assert_told(controller(&mut node.connect_to_controller(), &topic));
    assert_told(quorum(&mut node.connect_to_controller()));
    node.recorder.set_policy(|_, _| true);
    let code = metadata_of(&mut client, "new").topics[0].error_code;
    assert_eq!(error(code), UnknownTopicOrPartition, "what was refused was not done");
    assert_eq!(error(metadata_of(&mut client, "secret").topics[0].error_code), ErrorCode::None);
}
