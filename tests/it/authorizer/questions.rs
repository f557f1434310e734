//! Each API asks what Kafka's documentation says that it asks, and nothing else.

use std::collections::BTreeSet;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AllocateProducerIdsRequest, ApiVersionsRequest, BrokerId,
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeGroupsRequest, DescribeTransactionsRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetDeleteRequest, TransactionalId, UnregisterBrokerRequest,
};
use kafka_protocol::protocol::Request;
use ottla_protocol::ApiKey;
use ottla_protocol::group_offsets::{
    OffsetCommitResponse, OffsetFetchResponse, TxnOffsetCommitResponse,
};
use ottla_protocol::txn_markers::WriteTxnMarkersResponse;
use ottla_security::{Operation, ResourceKind};

use super::{Embedded, Policy};
use crate::apis::{
    add_offsets_request, alter_request, assign_request, begin_request, describe_request,
    elect_request, end_request, envelope_of, epoch_request, features_request, legacy_request,
    list_request, log_dirs_request, move_request, partitions_request, producers_request,
    quorum_request, reassign_request, snapshot_request, topics_request, vote_request,
};
use crate::client::Client;
use crate::groups::{
    Member, beat_request, commit_request, find_coordinator_of, join_request, offset_fetch_request,
    sync_request,
};
use crate::requests::{
    Topic, batch, creatable, create, create_request, delete_records_request, delete_request,
    fetch_request, list_offsets_request, produce_request, text, topic_name,
};
use crate::transactions::whole::{add_request, begin, end_request as end_txn_request, id};
use crate::transactions::{batch as in_transaction, markers_request, txn_commit_request};

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
    ("OffsetCommit", "Read", "Group"),
    ("OffsetCommit", "Read", "Topic"),
    ("OffsetFetch", "Describe", "Group"),
    ("OffsetFetch", "Describe", "Topic"),
    ("JoinGroup", "Read", "Group"),
    ("SyncGroup", "Read", "Group"),
    ("Heartbeat", "Read", "Group"),
    ("LeaveGroup", "Read", "Group"),
    ("DescribeGroups", "Describe", "Group"),
    ("ListGroups", "Describe", "Cluster"),
    ("ListGroups", "Describe", "Group"),
    ("DeleteGroups", "Delete", "Group"),
    ("AddPartitionsToTxn", "Write", "TransactionalId"),
    ("AddPartitionsToTxn", "Write", "Topic"),
    ("AddOffsetsToTxn", "Write", "TransactionalId"),
    ("AddOffsetsToTxn", "Read", "Group"),
    ("EndTxn", "Write", "TransactionalId"),
    ("DescribeTransactions", "Describe", "TransactionalId"),
    ("ListTransactions", "Describe", "TransactionalId"),
    ("WriteTxnMarkers", "Alter", "Cluster"),
    ("WriteTxnMarkers", "ClusterAction", "Cluster"),
    ("TxnOffsetCommit", "Write", "TransactionalId"),
    ("TxnOffsetCommit", "Read", "Group"),
    ("TxnOffsetCommit", "Read", "Topic"),
    ("OffsetDelete", "Delete", "Group"),
    ("OffsetDelete", "Read", "Topic"),
    ("ConsumerGroupHeartbeat", "Read", "Group"),
    ("ConsumerGroupDescribe", "Describe", "Group"),
    ("FindCoordinator", "Describe", "Group"),
    ("FindCoordinator", "Describe", "TransactionalId"),
    ("CreateTopics", "Create", "Cluster"),
    ("CreateTopics", "Create", "Topic"),
    ("DeleteTopics", "Delete", "Topic"),
    ("DeleteRecords", "Delete", "Topic"),
    ("InitProducerId", "Write", "TransactionalId"),
    ("InitProducerId", "IdempotentWrite", "Cluster"),
    ("OffsetForLeaderEpoch", "ClusterAction", "Cluster"),
    ("OffsetForLeaderEpoch", "Describe", "Topic"),
    ("DescribeConfigs", "DescribeConfigs", "Cluster"),
    ("DescribeConfigs", "DescribeConfigs", "Topic"),
    ("AlterConfigs", "AlterConfigs", "Cluster"),
    ("AlterConfigs", "AlterConfigs", "Topic"),
    ("IncrementalAlterConfigs", "AlterConfigs", "Cluster"),
    ("IncrementalAlterConfigs", "AlterConfigs", "Topic"),
    ("DescribeClientQuotas", "DescribeConfigs", "Cluster"),
    ("ListConfigResources", "DescribeConfigs", "Cluster"),
    ("DescribeLogDirs", "Describe", "Cluster"),
    ("AlterReplicaLogDirs", "Alter", "Cluster"),
    ("CreatePartitions", "Alter", "Topic"),
    ("AssignReplicasToDirs", "ClusterAction", "Cluster"),
    ("DescribeTopicPartitions", "Describe", "Topic"),
    ("DescribeProducers", "Read", "Topic"),
    ("DescribeQuorum", "Describe", "Cluster"),
    ("ElectLeaders", "Alter", "Cluster"),
    ("AlterPartitionReassignments", "Alter", "Cluster"),
    ("ListPartitionReassignments", "Describe", "Cluster"),
    ("UnregisterBroker", "Alter", "Cluster"),
    ("UpdateFeatures", "Alter", "Cluster"),
    ("AllocateProducerIds", "ClusterAction", "Cluster"),
    ("Envelope", "ClusterAction", "Cluster"),
    ("Vote", "ClusterAction", "Cluster"),
    ("BeginQuorumEpoch", "ClusterAction", "Cluster"),
    ("EndQuorumEpoch", "ClusterAction", "Cluster"),
    ("FetchSnapshot", "ClusterAction", "Cluster"),
    ("DescribeCluster", "Describe", "Cluster"),
];

/// What Kafka's code asks and its documentation leaves out.
const UNDOCUMENTED: &[(&str, &str, &str)] = &[
    // What the request inside asks.
    ("Envelope", "Alter", "Cluster"),
    // What a broker asks, KIP-890.
    ("AddPartitionsToTxn", "ClusterAction", "Cluster"),
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
    // The topics of consumer groups, KIP-848.
    ("ConsumerGroupHeartbeat", "Describe", "Topic"),
    ("ConsumerGroupDescribe", "Describe", "Topic"),
    // Configs of groups, KIP-848.
    ("DescribeConfigs", "DescribeConfigs", "Group"),
    ("AlterConfigs", "AlterConfigs", "Group"),
    ("IncrementalAlterConfigs", "AlterConfigs", "Group"),
];

/// What is documented and not asked here.
const NOT_ASKED: &[(&str, &str, &str)] = &[
    // Kafka asks nothing of the kind since KIP-679.
    ("Produce", "IdempotentWrite", "Cluster"),
];

/// A call, and the questions that it must cause.
struct Row {
    api: &'static str,
    allowed: Policy,
    call: Box<dyn Fn(&mut Client)>,
    expected: &'static [&'static str],
}

fn row<R: Request + 'static>(
    api: &'static str,
    allowed: Policy,
    version: i16,
    request: R,
    expected: &'static [&'static str],
) -> Row {
    let call = move |client: &mut Client| drop(client.call(version, &request));
    Row { api, allowed, call: Box::new(call), expected }
}

const ALL: Policy = |_, _| true;
const NO_ALTER: Policy = |operation, _| operation != Operation::Alter;
const NOT_THE_CLUSTER: Policy = |_, kind| kind != ResourceKind::Cluster;
const NO_DESCRIBE: Policy = |operation, _| operation != Operation::Describe;
/// Nothing is described, and so no operations are told.
const NO_OPERATIONS: Policy = |_, _| false;
const NO_DELETE: Policy = |operation, _| operation != Operation::Delete;
const NOT_IDEMPOTENT: Policy = |operation, _| operation != Operation::IdempotentWrite;

const CREATE: &str = "Create Cluster kafka-cluster";
const ALTER: &str = "Alter Cluster kafka-cluster";
const DESCRIBE: &str = "Describe Cluster kafka-cluster";
const CLUSTER_ACTION: &str = "ClusterAction Cluster kafka-cluster";
const IDEMPOTENT: &str = "IdempotentWrite Cluster kafka-cluster";

/// Questions about records.
fn records(topic: &Topic) -> Vec<Row> {
    let produce = |version| {
        let records = [(0, Some(batch(&["v"])))];
        let request = produce_request(version, topic, -1, &records);
        row("Produce", ALL, version, request, &["Write Topic t"])
    };
    let fetch = |version| {
        let request = fetch_request(version, topic, &[(0, 0)]);
        row("Fetch", ALL, version, request, &["Read Topic t"])
    };
    let mut follower = fetch_request(17, topic, &[(0, 0)]);
    follower.replica_state.replica_id = BrokerId(5);
    let in_transaction = [(0, Some(in_transaction((7, 0, 0), &["v"])))];
    let in_transaction = produce_request(12, topic, -1, &in_transaction)
        .with_transactional_id(Some(TransactionalId(text("x"))));
    let transactional = &["Write Topic t", "Write TransactionalId x"];
    let offsets = list_offsets_request(topic, 0, -1);
    let described = &[CLUSTER_ACTION, "Describe Topic t"];
    vec![
        produce(12),
        produce(13),
        row("Produce", ALL, 12, in_transaction, transactional),
        fetch(12),
        fetch(17),
        row("Fetch", ALL, 17, follower, &[CLUSTER_ACTION]),
        row("ListOffsets", ALL, 10, offsets, &["Describe Topic t"]),
        row("OffsetForLeaderEpoch", ALL, 4, epoch_request("t", -1, 0), &[CLUSTER_ACTION]),
        row("OffsetForLeaderEpoch", NOT_THE_CLUSTER, 4, epoch_request("t", -1, 0), described),
    ]
}

/// Questions about where things are.
fn metadata(topic: &Topic) -> Vec<Row> {
    let ask = |topic: MetadataRequestTopic| {
        let topics = Some(vec![topic]);
        MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true)
    };
    let by_name =
        |name: &str| ask(MetadataRequestTopic::default().with_name(Some(topic_name(name))));
    let by_id = ask(MetadataRequestTopic::default().with_name(None).with_topic_id(topic.id));
    let all = MetadataRequest::default().with_topics(None);
    let made = &[CREATE, "Describe Topic made"];
    let more = &[CREATE, "Create Topic more", "Describe Topic more"];
    let coordinator = |key_type: i8, expected| {
        let request = FindCoordinatorRequest::default().with_key_type(key_type);
        let request = request.with_coordinator_keys(vec![text("k")]);
        row("FindCoordinator", ALL, 6, request, expected)
    };
    vec![
        row("Metadata", ALL, 13, by_name("t"), &["Describe Topic t"]),
        row("Metadata", ALL, 13, by_id, &["Describe Topic t"]),
        row("Metadata", ALL, 13, all, &[OFFSETS, TRANSACTIONS, "Describe Topic t"]),
        row("Metadata", ALL, 13, by_name("made"), made),
        row("Metadata", NOT_THE_CLUSTER, 13, by_name("more"), more),
        coordinator(0, &["Describe Group k"]),
        coordinator(1, &["Describe TransactionalId k"]),
        coordinator(2, &[CLUSTER_ACTION]),
        row("ApiVersions", ALL, 0, ApiVersionsRequest::default(), &[]),
        row("DescribeCluster", ALL, 2, DescribeClusterRequest::default(), &[]),
        row(
            "DescribeCluster",
            NO_DESCRIBE,
            2,
            describe_cluster(),
            &["Describe Cluster kafka-cluster"],
        ),
    ]
}

fn describe_cluster() -> DescribeClusterRequest {
    DescribeClusterRequest::default().with_include_cluster_authorized_operations(true)
}

const OFFSETS: &str = "Describe Topic __consumer_offsets";
const TRANSACTIONS: &str = "Describe Topic __transaction_state";

/// Questions about what is made and unmade.
fn administration(topic: &Topic) -> Vec<Row> {
    let create = |name: &str| create_request(vec![creatable(name, 1, &[])]);
    let new = &[CREATE, "DescribeConfigs Topic new"];
    let newer = &[CREATE, "Create Topic newer", "DescribeConfigs Topic newer"];
    let producer = |id: Option<&str>| {
        InitProducerIdRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(1000)
    };
    let by_name = delete_request(&Topic { name: "newer".to_owned(), ..topic.clone() }, 5);
    let by_id = delete_request(topic, 6);
    let refused = &["Delete Topic t", "Describe Topic t"];
    let of_transactions = &["Write TransactionalId x"];
    let any = &[IDEMPOTENT, "Write Topic (any)"];
    let described = topics_request(&["t"], 1, None);
    let mut twice = partitions_request("t", 1, None);
    twice.topics.extend(twice.topics.clone());
    twice.topics.extend(partitions_request("u", 1, None).topics);
    vec![
        row("CreateTopics", ALL, 7, create("new"), new),
        row("CreateTopics", NOT_THE_CLUSTER, 7, create("newer"), newer),
        row("InitProducerId", ALL, 4, producer(None), &[IDEMPOTENT]),
        row("InitProducerId", NOT_IDEMPOTENT, 4, producer(None), any),
        row("InitProducerId", ALL, 4, producer(Some("x")), of_transactions),
        row("AlterReplicaLogDirs", ALL, 2, move_request("/x", "t", 0), &[ALTER]),
        row("DescribeLogDirs", ALL, 4, log_dirs_request(None), &["Describe Cluster kafka-cluster"]),
        row("CreatePartitions", ALL, 3, partitions_request("t", 1, None), &["Alter Topic t"]),
        row("CreatePartitions", ALL, 3, twice, &["Alter Topic u"]),
        row("DescribeProducers", ALL, 0, producers_request("t", &[0]), &["Read Topic t"]),
        row("DescribeTopicPartitions", NO_OPERATIONS, 0, described, &["Describe Topic t"]),
        row("DeleteRecords", ALL, 2, delete_records_request(topic, &[(0, 0)]), &["Delete Topic t"]),
        row("DeleteTopics", ALL, 5, by_name, &["Delete Topic newer"]),
        row("DeleteTopics", NO_DELETE, 6, by_id.clone(), refused),
        row("DeleteTopics", ALL, 6, by_id, &["Delete Topic t"]),
    ]
}

/// Questions about groups.
fn groups(topic: &Topic) -> Vec<Row> {
    let ask = |api, call: fn(&mut Client, &Topic), expected| {
        let topic = topic.clone();
        Row { api, allowed: ALL, call: Box::new(move |client| call(client, &topic)), expected }
    };
    let commit = |client: &mut Client, topic: &Topic| {
        let request = commit_request("g", topic, 9, &[(0, 1)]);
        let _: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request);
    };
    let fetch = |client: &mut Client, topic: &Topic| {
        let request = offset_fetch_request("g", topic, 9, &[0]);
        let _: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 9, &request);
    };
    let commit_in_transaction = |client: &mut Client, topic: &Topic| {
        let request = txn_commit_request("g", &topic.name, (7, 0), 1);
        let _: TxnOffsetCommitResponse = client.ask(ApiKey::TxnOffsetCommit, 5, &request);
    };
    let in_transaction = &["Read Group g", "Read Topic t", "Write TransactionalId tx"];
    let end = |client: &mut Client, topic: &Topic| {
        let request = markers_request(crate::transactions::commit(7, 0), &[(&topic.name, &[0])]);
        let _: WriteTxnMarkersResponse = client.ask(ApiKey::WriteTxnMarkers, 2, &request);
    };
    let nobody = Member { id: "m".to_owned(), generation: 1, leader: String::new() };
    let join = join_request("g", "m");
    let sync = sync_request("g", &nobody, 5);
    let beat = HeartbeatRequest::default().with_group_id(text("g").into());
    let leave = LeaveGroupRequest::default().with_group_id(text("g").into());
    let described = DescribeGroupsRequest::default().with_groups(vec![text("g").into()]);
    let list = ListGroupsRequest::default();
    let deleted = DeleteGroupsRequest::default().with_groups_names(vec![text("h").into()]);
    let forgotten = OffsetDeleteRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
    let forgotten =
        OffsetDeleteRequest::default().with_group_id(text("g").into()).with_topics(vec![forgotten]);
    let consumer = beat_request("c", "m", 0, "t");
    let members = ConsumerGroupDescribeRequest::default().with_group_ids(vec![text("c").into()]);
    let one_by_one = &[DESCRIBE, "Describe Group g"];
    vec![
        ask("OffsetCommit", commit, &["Read Group g", "Read Topic t"]),
        ask("TxnOffsetCommit", commit_in_transaction, in_transaction),
        ask("WriteTxnMarkers", end, &[ALTER]),
        Row { allowed: NO_ALTER, ..ask("WriteTxnMarkers", end, &[ALTER, CLUSTER_ACTION]) },
        ask("OffsetFetch", fetch, &["Describe Group g", "Describe Topic t"]),
        row("JoinGroup", ALL, 9, join, &["Read Group g"]),
        row("SyncGroup", ALL, 5, sync, &["Read Group g"]),
        row("Heartbeat", ALL, 4, beat, &["Read Group g"]),
        row("LeaveGroup", ALL, 5, leave, &["Read Group g"]),
        row("DescribeGroups", ALL, 6, described, &["Describe Group g"]),
        row("ListGroups", ALL, 5, list.clone(), &[DESCRIBE]),
        row("ListGroups", NOT_THE_CLUSTER, 5, list, one_by_one),
        row("ConsumerGroupHeartbeat", ALL, 0, consumer, &["Describe Topic t", "Read Group c"]),
        row("ConsumerGroupDescribe", ALL, 1, members, &["Describe Group c", "Describe Topic t"]),
        row("OffsetDelete", ALL, 0, forgotten, &["Delete Group g", "Read Topic t"]),
        row("DeleteGroups", ALL, 2, deleted, &["Delete Group h"]),
    ]
}

/// Questions about transactions.
fn transactions() -> Vec<Row> {
    let of_broker = AddPartitionsToTxnTransaction::default().with_transactional_id(id("x"));
    let of_broker = AddPartitionsToTxnRequest::default().with_transactions(vec![of_broker]);
    let writes = &["Write TransactionalId x"];
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![id("x")]);
    let list = ListTransactionsRequest::default().with_duration_filter(-1);
    let added = &["Write Topic t", "Write TransactionalId x"];
    let offsets = add_offsets_request("x", (7, 0), "g");
    let with_group = &["Read Group g", "Write TransactionalId x"];
    let describes = &["Describe TransactionalId x"];
    vec![
        row("AddPartitionsToTxn", ALL, 3, add_request("x", (7, 0), "t"), added),
        row("AddPartitionsToTxn", ALL, 5, of_broker, &[CLUSTER_ACTION]),
        row("AddOffsetsToTxn", ALL, 4, offsets, with_group),
        row("EndTxn", ALL, 5, end_txn_request("x", (7, 0), true), writes),
        row("DescribeTransactions", ALL, 0, describe, describes),
        row("ListTransactions", ALL, 2, list, describes),
    ]
}

/// Questions about configs.
fn configs() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add =
        |kind, name: &str, key: &str, value: &str, asked: [&'static [&'static str]; 2]| {
            let [described, altered] = asked;
            rows.push(row("DescribeConfigs", ALL, 4, describe_request(kind, name), described));
            let incremental = alter_request(kind, name, key, value);
            rows.push(row("IncrementalAlterConfigs", ALL, 1, incremental, altered));
            let legacy = legacy_request(kind, name, key, value);
            rows.push(row("AlterConfigs", ALL, 2, legacy, altered));
        };
    let cluster: [&'static [&'static str]; 2] =
        [&["DescribeConfigs Cluster kafka-cluster"], &["AlterConfigs Cluster kafka-cluster"]];
    let topic: [&'static [&'static str]; 2] =
        [&["DescribeConfigs Topic u"], &["AlterConfigs Topic u"]];
    let group: [&'static [&'static str]; 2] =
        [&["DescribeConfigs Group g"], &["AlterConfigs Group g"]];
    add(2, "u", "segment.ms", "5", topic);
    add(4, "1", "log.roll.ms", "5", cluster);
    add(16, "m", "interval.ms", "1000", cluster);
    add(32, "g", "share.auto.offset.reset", "earliest", group);
    let list = ListConfigResourcesRequest::default();
    rows.push(row("ListConfigResources", ALL, 1, list, cluster[0]));
    let quotas = DescribeClientQuotasRequest::default();
    rows.push(row("DescribeClientQuotas", ALL, 1, quotas, cluster[0]));
    rows
}

/// Questions that are the same on both listeners.
fn both() -> Vec<Row> {
    let unregister = UnregisterBrokerRequest::default().with_broker_id(BrokerId(9));
    let elect = elect_request(Some(("t", &[0])));
    let reassign = reassign_request("t", 0, Some(&[1]));
    let quorum = quorum_request("__cluster_metadata", 0);
    vec![
        row("ElectLeaders", ALL, 2, elect, &[ALTER]),
        row("AlterPartitionReassignments", ALL, 1, reassign, &[ALTER]),
        row("ListPartitionReassignments", ALL, 0, list_request(None), &[DESCRIBE]),
        row("DescribeQuorum", ALL, 2, quorum, &[DESCRIBE]),
        row("UnregisterBroker", ALL, 0, unregister, &[ALTER]),
        row("UpdateFeatures", ALL, 2, features_request(2, "nope", 1, 1), &[ALTER]),
    ]
}

/// Questions on the controller's listener.
fn quorum() -> Vec<Row> {
    let metadata_log = Topic { name: String::new(), id: uuid::Uuid::from_u128(1) };
    let fetch = fetch_request(17, &metadata_log, &[(0, 0)]);
    let create = create_request(vec![creatable("c", 1, &[])]);
    let ids = AllocateProducerIdsRequest::default();
    let forwarded = envelope_of(2, &elect_request(Some(("t", &[0]))));
    let assign = assign_request(-1, metadata_log.id, metadata_log.id, 0);
    let describe = describe_cluster().with_endpoint_type(2);
    let described = &["Alter Cluster kafka-cluster", "Describe Cluster kafka-cluster"];
    vec![
        row("Vote", ALL, 2, vote_request(), &[CLUSTER_ACTION]),
        row("BeginQuorumEpoch", ALL, 1, begin_request(), &[CLUSTER_ACTION]),
        row("EndQuorumEpoch", ALL, 1, end_request(), &[CLUSTER_ACTION]),
        row("FetchSnapshot", ALL, 1, snapshot_request(), &[CLUSTER_ACTION]),
        row("Fetch", ALL, 17, fetch, &[CLUSTER_ACTION]),
        row("CreateTopics", ALL, 7, create, &[CREATE, "DescribeConfigs Topic c"]),
        row("CreatePartitions", ALL, 3, partitions_request("t", 1, None), &["Alter Topic t"]),
        row("AssignReplicasToDirs", ALL, 0, assign, &[CLUSTER_ACTION]),
        row("AllocateProducerIds", ALL, 0, ids, &[CLUSTER_ACTION]),
        row("Envelope", ALL, 0, forwarded, &[ALTER, CLUSTER_ACTION]),
        row("DescribeCluster", NO_DESCRIBE, 2, describe, described),
    ]
}

#[test]
fn the_questions_are_those_of_kafka() {
    let node = Embedded::start();
    let topic = create(&mut node.connect(), "t", 1, &[]);
    find_coordinator_of(&mut node.connect(), "g");
    begin(&mut node.connect(), "x");
    node.recorder.take();
    let mut asked = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut check = |client: &mut Client, rows: Vec<Row>| {
        for Row { api, allowed, call, expected } in rows {
            node.recorder.set_policy(allowed);
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
    check(&mut node.connect(), metadata(&topic));
    check(&mut node.connect(), groups(&topic));
    check(&mut node.connect(), transactions());
    check(&mut node.connect(), administration(&topic));
    check(&mut node.connect(), configs());
    check(&mut node.connect_to_controller(), quorum());
    check(&mut node.connect(), both());
    check(&mut node.connect_to_controller(), both());
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
