//! Each API asks what Kafka's documentation says that it asks, and nothing else.

use std::collections::BTreeSet;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, DescribeClusterRequest, FindCoordinatorRequest,
    InitProducerIdRequest, MetadataRequest, TransactionalId,
};
use ottla_security::{Operation, ResourceKind};

use super::{Embedded, Policy};
use crate::apis::{begin_request, end_request, vote_request};
use crate::client::Client;
use crate::requests::{
    Topic, batch, creatable, create, create_request, delete_request, fetch_request,
    list_offsets_request, produce_request, text, topic_name,
};

/// API, operation and resource: the rows of Kafka's documentation (security, "Protocols and
/// resources") for the APIs that are built.
const MATRIX: &[(&str, &str, &str)] = &[
    ("Produce", "Write", "TransactionalId"),
    ("Produce", "IdempotentWrite", "Cluster"),
    ("Produce", "Write", "Topic"),
    ("Fetch", "ClusterAction", "Cluster"),
    ("Fetch", "Read", "Topic"),
    ("ListOffsets", "Describe", "Topic"),
    ("Metadata", "Describe", "Topic"),
    ("Metadata", "Create", "Cluster"),
    ("Metadata", "Create", "Topic"),
    ("FindCoordinator", "Describe", "Group"),
    ("FindCoordinator", "Describe", "TransactionalId"),
    ("CreateTopics", "Create", "Cluster"),
    ("CreateTopics", "Create", "Topic"),
    ("DeleteTopics", "Delete", "Topic"),
    ("InitProducerId", "Write", "TransactionalId"),
    ("InitProducerId", "IdempotentWrite", "Cluster"),
    ("Vote", "ClusterAction", "Cluster"),
    ("BeginQuorumEpoch", "ClusterAction", "Cluster"),
    ("EndQuorumEpoch", "ClusterAction", "Cluster"),
    ("DescribeCluster", "Describe", "Cluster"),
];

/// What Kafka's code asks and its documentation leaves out.
const UNDOCUMENTED: &[(&str, &str, &str)] = &[
    // Share coordinators, KIP-932.
    ("FindCoordinator", "ClusterAction", "Cluster"),
    // Whether the answer tells configs, KIP-525.
    ("CreateTopics", "DescribeConfigs", "Topic"),
    // Of a controller: Kafka asks for more there than of a broker.
    ("DescribeCluster", "Alter", "Cluster"),
    // Whether the refusal of an id tells the name, KIP-516.
    ("DeleteTopics", "Describe", "Topic"),
    // Whoever may write to any topic may do it idempotently, KIP-679.
    ("InitProducerId", "Write", "Topic"),
];

/// What is documented and not asked here.
const NOT_ASKED: &[(&str, &str, &str)] = &[
    // There are no transactions yet: their batches are refused.
    ("Produce", "Write", "TransactionalId"),
    // Kafka asks nothing of the kind since KIP-679.
    ("Produce", "IdempotentWrite", "Cluster"),
];

/// API, what is allowed, the call, and the questions that it must cause.
type Row<'a> = (&'static str, Policy, Box<dyn Fn(&mut Client) + 'a>, &'a [&'static str]);

const ALL: Policy = |_, _| true;
const NOT_THE_CLUSTER: Policy = |_, kind| kind != ResourceKind::Cluster;

fn metadata(topic: MetadataRequestTopic, create: bool) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(create)
}

/// Questions about records and where they are.
fn records(topic: &Topic) -> Vec<Row<'_>> {
    let by_name = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(topic.id);
    let mut follower = fetch_request(17, topic, &[(0, 0)]);
    follower.replica_state.replica_id = BrokerId(5);
    let one = move || [(0, Some(batch(&["v"])))];
    vec![
        (
            "Produce",
            ALL,
            Box::new(move |client| {
                client.call(13, &produce_request(13, topic, -1, &one()));
            }),
            &["Write Topic t"],
        ),
        (
            "Produce",
            ALL,
            Box::new(move |client| {
                client.call(12, &produce_request(12, topic, -1, &one()));
            }),
            &["Write Topic t"],
        ),
        (
            "Fetch",
            ALL,
            Box::new(|client| {
                client.call(17, &fetch_request(17, topic, &[(0, 0)]));
            }),
            &["Read Topic t"],
        ),
        (
            "Fetch",
            ALL,
            Box::new(|client| {
                client.call(12, &fetch_request(12, topic, &[(0, 0)]));
            }),
            &["Read Topic t"],
        ),
        (
            "Fetch",
            ALL,
            Box::new(move |client| {
                client.call(17, &follower);
            }),
            &["ClusterAction Cluster kafka-cluster"],
        ),
        (
            "ListOffsets",
            ALL,
            Box::new(|client| {
                client.call(10, &list_offsets_request(topic, 0, -1));
            }),
            &["Describe Topic t"],
        ),
        (
            "Metadata",
            ALL,
            Box::new(move |client| {
                client.call(13, &metadata(by_name("t"), true));
            }),
            &["Describe Topic t"],
        ),
        (
            "Metadata",
            ALL,
            Box::new(move |client| {
                client.call(13, &metadata(by_id.clone(), true));
            }),
            &["Describe Topic t"],
        ),
        (
            "Metadata",
            ALL,
            Box::new(|client| {
                client.call(13, &MetadataRequest::default().with_topics(None));
            }),
            &["Describe Topic t"],
        ),
        (
            "Metadata",
            ALL,
            Box::new(move |client| {
                client.call(13, &metadata(by_name("made"), true));
            }),
            &["Create Cluster kafka-cluster", "Describe Topic made"],
        ),
        (
            "Metadata",
            NOT_THE_CLUSTER,
            Box::new(move |client| {
                client.call(13, &metadata(by_name("more"), true));
            }),
            &["Create Cluster kafka-cluster", "Create Topic more", "Describe Topic more"],
        ),
    ]
}

/// Questions about everything else that clients ask for.
fn administration(topic: &Topic) -> Vec<Row<'_>> {
    let coordinator = |key_type: i8| {
        FindCoordinatorRequest::default()
            .with_key_type(key_type)
            .with_coordinator_keys(vec![text("k")])
    };
    let producer = |id: Option<&str>| {
        InitProducerIdRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(1000)
    };
    let not_idempotent: Policy = |operation, _| operation != Operation::IdempotentWrite;
    vec![
        (
            "FindCoordinator",
            ALL,
            Box::new(move |client| {
                client.call(6, &coordinator(0));
            }),
            &["Describe Group k"],
        ),
        (
            "FindCoordinator",
            ALL,
            Box::new(move |client| {
                client.call(6, &coordinator(1));
            }),
            &["Describe TransactionalId k"],
        ),
        (
            "FindCoordinator",
            ALL,
            Box::new(move |client| {
                client.call(6, &coordinator(2));
            }),
            &["ClusterAction Cluster kafka-cluster"],
        ),
        (
            "ApiVersions",
            ALL,
            Box::new(|client| {
                client.call(0, &ApiVersionsRequest::default());
            }),
            &[],
        ),
        (
            "CreateTopics",
            ALL,
            Box::new(|client| {
                client.call(7, &create_request(vec![creatable("new", 1, &[])]));
            }),
            &["Create Cluster kafka-cluster", "DescribeConfigs Topic new"],
        ),
        (
            "CreateTopics",
            NOT_THE_CLUSTER,
            Box::new(|client| {
                client.call(7, &create_request(vec![creatable("newer", 1, &[])]));
            }),
            &["Create Cluster kafka-cluster", "Create Topic newer", "DescribeConfigs Topic newer"],
        ),
        (
            "InitProducerId",
            ALL,
            Box::new(move |client| {
                client.call(4, &producer(None));
            }),
            &["IdempotentWrite Cluster kafka-cluster"],
        ),
        (
            "InitProducerId",
            not_idempotent,
            Box::new(move |client| {
                client.call(4, &producer(None));
            }),
            &["IdempotentWrite Cluster kafka-cluster", "Write Topic (any)"],
        ),
        (
            "InitProducerId",
            ALL,
            Box::new(move |client| {
                client.call(4, &producer(Some("x")));
            }),
            &["Write TransactionalId x"],
        ),
        (
            "DescribeCluster",
            |operation, _| operation != Operation::Describe,
            Box::new(|client| {
                client.call(2, &describe_cluster());
            }),
            &["Describe Cluster kafka-cluster"],
        ),
        (
            "DeleteTopics",
            ALL,
            Box::new(|client| {
                client.call(
                    5,
                    &delete_request(&Topic { name: "newer".to_owned(), ..topic.clone() }, 5),
                );
            }),
            &["Delete Topic newer"],
        ),
        (
            "DeleteTopics",
            |operation, _| operation != Operation::Delete,
            Box::new(|client| {
                client.call(6, &delete_request(topic, 6));
            }),
            &["Delete Topic t", "Describe Topic t"],
        ),
        (
            "DeleteTopics",
            ALL,
            Box::new(|client| {
                client.call(6, &delete_request(topic, 6));
            }),
            &["Delete Topic t"],
        ),
    ]
}

fn describe_cluster() -> DescribeClusterRequest {
    DescribeClusterRequest::default().with_include_cluster_authorized_operations(true)
}

/// Questions on the controller's listener.
fn quorum() -> Vec<Row<'static>> {
    const CLUSTER_ACTION: &[&str] = &["ClusterAction Cluster kafka-cluster"];
    let metadata_log = Topic { name: String::new(), id: uuid::Uuid::from_u128(1) };
    vec![
        (
            "Vote",
            ALL,
            Box::new(|client| {
                client.call(2, &vote_request());
            }),
            CLUSTER_ACTION,
        ),
        (
            "BeginQuorumEpoch",
            ALL,
            Box::new(|client| {
                client.call(1, &begin_request());
            }),
            CLUSTER_ACTION,
        ),
        (
            "EndQuorumEpoch",
            ALL,
            Box::new(|client| {
                client.call(1, &end_request());
            }),
            CLUSTER_ACTION,
        ),
        (
            "Fetch",
            ALL,
            Box::new(move |client| {
                client.call(17, &fetch_request(17, &metadata_log, &[(0, 0)]));
            }),
            CLUSTER_ACTION,
        ),
        (
            "DescribeCluster",
            |operation, _| operation != Operation::Describe,
            Box::new(|client| {
                client.call(2, &describe_cluster().with_endpoint_type(2));
            }),
            &["Alter Cluster kafka-cluster", "Describe Cluster kafka-cluster"],
        ),
        (
            "CreateTopics",
            ALL,
            Box::new(|client| {
                client.call(7, &create_request(vec![creatable("c", 1, &[])]));
            }),
            &["Create Cluster kafka-cluster", "DescribeConfigs Topic c"],
        ),
    ]
}

#[test]
fn the_questions_are_those_of_kafka() {
    let node = Embedded::start();
    let topic = create(&mut node.connect(), "t", 1, &[]);
    node.recorder.take();
    let mut asked = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut check = |client: &mut Client, rows: Vec<Row<'_>>| {
        for (api, policy, call, expected) in rows {
            node.recorder.set_policy(policy);
            call(client);
            let questions = node.recorder.take();
            if questions != expected {
                wrong.push(format!("{api} asks {questions:?}, expected {expected:?}"));
            }
            for question in &questions {
                let mut words = question.split(' ').map(str::to_owned);
                asked.insert((api, words.next().unwrap(), words.next().unwrap()));
            }
        }
    };
    check(&mut node.connect(), records(&topic));
    check(&mut node.connect(), administration(&topic));
    check(&mut node.connect_to_controller(), quorum());
    assert!(wrong.is_empty(), "{wrong:#?}");
    let owned = |rows: &[(&'static str, &str, &str)]| -> BTreeSet<_> {
        rows.iter()
            .map(|(api, operation, kind)| (*api, operation.to_string(), kind.to_string()))
            .collect()
    };
    let documented: BTreeSet<_> = owned(MATRIX).union(&owned(UNDOCUMENTED)).cloned().collect();
    let expected: BTreeSet<_> = documented.difference(&owned(NOT_ASKED)).cloned().collect();
    assert_eq!(asked, expected, "asked is left, Kafka's is right");
}
