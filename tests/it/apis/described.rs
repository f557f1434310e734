//! Calls of APIs that describe the quorum, topics and producers, and of those that choose leaders
//! and replicas.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AlterPartitionReassignmentsRequest, BrokerId,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest, describe_producers_request, list_partition_reassignments_request,
};
use ottla_types::ErrorCode;

use super::admin::broker_epoch;
use crate::client::Client;
use crate::node::fresh;
use crate::requests::{Topic, create, error, init_producer, produce, sequenced, text, topic_name};

pub fn quorum_request(topic: &str, partition: i32) -> DescribeQuorumRequest {
    let partition = PartitionData::default().with_partition_index(partition);
    let topic =
        TopicData::default().with_topic_name(topic_name(topic)).with_partitions(vec![partition]);
    DescribeQuorumRequest::default().with_topics(vec![topic])
}

pub fn describe_quorum(client: &mut Client, version: i16, controller: u16) {
    let answer = client.call(version, &quorum_request("__cluster_metadata", 0));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((error(partition.error_code), partition.leader_id.0), (ErrorCode::None, 1));
    let [voter] = partition.current_voters.as_slice() else { panic!("{partition:?}") };
    assert!(partition.observers.is_empty() && partition.leader_epoch > 0);
    assert_eq!((voter.replica_id.0, voter.log_end_offset), (1, partition.high_watermark));
    assert_eq!(voter.last_fetch_timestamp > 0, version >= 1, "v{version}");
    assert_eq!(voter.last_caught_up_timestamp, voter.last_fetch_timestamp);
    assert_eq!(voter.replica_directory_id.is_nil(), version < 2, "v{version}");
    if version >= 2 {
        let texts = [&answer.error_message, &partition.error_message];
        assert!(texts.iter().all(|text| text.as_deref() == Some("")), "{answer:?}");
        let listener = &answer.nodes[0].listeners[0];
        assert_eq!((answer.nodes[0].node_id.0, listener.port), (1, controller));
    }
    for (topic, partition) in [("other", 0), ("__cluster_metadata", 1)] {
        let answer = client.call(version, &quorum_request(topic, partition));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition);
        assert!(answer.nodes.is_empty());
    }
}

/// A question for topics by name, for so many partitions, from a topic and a partition on.
pub fn topics_request(
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsRequest {
    let topics = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name)));
    let cursor = cursor.map(|(name, index)| {
        Cursor::default().with_topic_name(topic_name(name)).with_partition_index(index)
    });
    DescribeTopicPartitionsRequest::default()
        .with_topics(topics.collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

pub fn describe_topic_partitions(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("described"), 2, &[]);
    let missing = fresh("missing");
    let request = topics_request(&[&topic.name, &missing, "not/a name"], 2000, None);
    let answer = client.call(version, &request);
    let found = answer.topics.iter().find(|found| found.topic_id == topic.id).unwrap();
    let partition = &found.partitions[1];
    assert_eq!((error(found.error_code), found.partitions.len()), (ErrorCode::None, 2));
    assert_eq!((partition.partition_index, partition.leader_id.0), (1, 1));
    assert_eq!((partition.replica_nodes.len(), partition.isr_nodes.len()), (1, 1));
    assert_eq!(partition.eligible_leader_replicas.as_deref(), Some(&[][..]));
    assert_eq!(found.topic_authorized_operations, 3576);
    let code = |name: &str| {
        let found = answer.topics.iter().find(|it| it.name == Some(topic_name(name)));
        error(found.unwrap().error_code)
    };
    assert_eq!(code(&missing), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code("not/a name"), ErrorCode::InvalidTopicException);
}

pub fn producers_request(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(partitions.to_vec());
    DescribeProducersRequest::default().with_topics(vec![topic])
}

pub fn describe_producers(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("producers"), 1, &[]);
    let (id, epoch) = init_producer(client);
    let sent = sequenced(Some((id, epoch, 0)), &["a", "b", "c"]);
    assert_eq!(produce(client, &topic, sent).base_offset, 0);
    let answer = client.call(version, &producers_request(&topic.name, &[0, 3]));
    let [there, missing] = answer.topics[0].partitions.as_slice() else { panic!("{answer:?}") };
    let [producer] = there.active_producers.as_slice() else { panic!("{there:?}") };
    assert_eq!((producer.producer_id.0, producer.producer_epoch), (id, i32::from(epoch)));
    assert_eq!((producer.last_sequence, producer.current_txn_start_offset), (2, -1));
    assert_eq!(producer.coordinator_epoch, -1);
    assert!(producer.last_timestamp > 0);
    assert_eq!(error(missing.error_code), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(missing.error_message, None);
    for (name, code, text) in [
        (fresh("missing"), 3, "This server does not host this topic-partition."),
        (String::new(), 17, "Topic name is invalid: the empty string is not allowed"),
    ] {
        let answer = client.call(version, &producers_request(&name, &[0]));
        let refused = &answer.topics[0].partitions[0];
        assert_eq!((refused.error_code, refused.error_message.as_deref()), (code, Some(text)));
    }
}

pub fn elect_request(topic: Option<(&str, &[i32])>) -> ElectLeadersRequest {
    let topics = topic.map(|(name, partitions)| {
        let asked = TopicPartitions::default()
            .with_topic(topic_name(name))
            .with_partitions(partitions.to_vec());
        vec![asked]
    });
    ElectLeadersRequest::default().with_topic_partitions(topics).with_timeout_ms(30_000)
}

pub fn elect_leaders(client: &mut Client, topic: &Topic, version: i16) {
    let answer = client.call(version, &elect_request(Some((&topic.name, &[0, 7]))));
    let told: Vec<_> = answer.replica_election_results[0]
        .partition_result
        .iter()
        .map(|it| (it.partition_id, it.error_code, it.error_message.as_deref().unwrap_or("-")))
        .collect();
    let unknown = format!("No such partition as {}-7", topic.name);
    let not_needed = "Leader election not needed for topic partition.";
    assert_eq!(told, [(0, 84, not_needed), (7, 3, &*unknown)]);
    let answer = client.call(version, &elect_request(None));
    let topics = &answer.replica_election_results;
    let found = topics.iter().find(|it| it.topic == topic_name(&topic.name)).unwrap();
    assert!(found.partition_result.is_empty(), "what needs nothing is not told");
    let late = elect_request(Some((&topic.name, &[0]))).with_timeout_ms(0);
    let answer = client.call(version, &late);
    let late = &answer.replica_election_results[0].partition_result[0];
    assert_eq!((late.error_code, late.error_message.as_deref()), (7, None));
    assert_eq!(answer.error_code, if version == 0 { 0 } else { 7 });
    if version >= 1 {
        let strange = elect_request(Some((&topic.name, &[0]))).with_election_type(2);
        let answer = client.call(version, &strange);
        let refused = &answer.replica_election_results[0].partition_result[0];
        let text = refused.error_message.as_deref();
        assert_eq!((answer.error_code, refused.error_code), (42, 42));
        assert_eq!(text, Some("Unknown election type 2"));
    }
}

/// A request to put a partition on these brokers, or to cancel that.
pub fn reassign_request(
    topic: &str,
    partition: i32,
    brokers: Option<&[i32]>,
) -> AlterPartitionReassignmentsRequest {
    let ids = |brokers: &[i32]| brokers.iter().map(|id| BrokerId(*id)).collect();
    let partition = ReassignablePartition::default()
        .with_partition_index(partition)
        .with_replicas(brokers.map(ids));
    let topic =
        ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Brokers that a partition is to be on; none cancels.
type Brokers = Option<&'static [i32]>;

pub fn reassign(client: &mut Client, topic: &Topic, version: i16) {
    let manual = "The manual partition assignment includes";
    let missing = fresh("missing");
    let cases: &[(&str, i32, Brokers, i16, String)] = &[
        (&topic.name, 0, Some(&[1]), 0, "-".to_owned()),
        (&topic.name, 0, None, 85, "-".to_owned()),
        (&topic.name, 0, Some(&[]), 39, format!("{manual} an empty replica list.")),
        (&topic.name, 0, Some(&[1, 1]), 39, format!("{manual} the broker 1 more than once.")),
        (
            &topic.name,
            0,
            Some(&[1, 2]),
            39,
            format!("{manual} broker 2, but no such broker is registered."),
        ),
        (&topic.name, 9, Some(&[1]), 3, format!("Unable to find partition {}:9.", topic.name)),
        (&missing, 0, None, 3, format!("Unable to find a topic named {missing}.")),
    ];
    for (name, partition, brokers, code, text) in cases {
        let answer = client.call(version, &reassign_request(name, *partition, *brokers));
        assert_eq!((answer.error_code, answer.error_message.as_deref()), (0, None));
        let told = &answer.responses[0].partitions[0];
        let said = told.error_message.as_deref().unwrap_or("-");
        assert_eq!((told.error_code, said), (*code, &**text), "{name} {brokers:?}");
    }
    let nothing = AlterPartitionReassignmentsRequest::default().with_timeout_ms(1000);
    assert_eq!(client.call(version, &nothing).error_message.as_deref(), Some(""));
    let late = reassign_request(&topic.name, 0, Some(&[1])).with_timeout_ms(0);
    let answer = client.call(version, &late);
    assert_eq!(error(answer.error_code), ErrorCode::RequestTimedOut);
}

pub fn list_request(topic: Option<&str>) -> ListPartitionReassignmentsRequest {
    let topics = topic.map(|name| {
        let asked =
            list_partition_reassignments_request::ListPartitionReassignmentsTopics::default()
                .with_name(topic_name(name))
                .with_partition_indexes(vec![0]);
        vec![asked]
    });
    ListPartitionReassignmentsRequest::default().with_topics(topics)
}

pub fn list_reassignments(client: &mut Client, topic: &Topic, version: i16) {
    for topic in [None, Some(&*topic.name), Some("missing")] {
        let answer = client.call(version, &list_request(topic));
        assert_eq!((error(answer.error_code), answer.error_message), (ErrorCode::None, None));
        assert!(answer.topics.is_empty());
    }
}

pub fn unregister_broker(client: &mut Client, version: i16) {
    for id in [9, -1] {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(id));
        let answer = client.call(version, &request);
        let text = format!("Broker ID {id} is not currently registered");
        assert_eq!((answer.error_code, answer.error_message.as_deref()), (102, Some(&*text)));
    }
}

pub fn features_request(version: i16, name: &str, level: i16, kind: i8) -> UpdateFeaturesRequest {
    let update = FeatureUpdateKey::default().with_feature(text(name)).with_max_version_level(level);
    let update = match version {
        0 => update.with_allow_downgrade(kind > 1),
        _ => update.with_upgrade_type(kind),
    };
    UpdateFeaturesRequest::default().with_feature_updates(vec![update])
}

pub fn update_features(client: &mut Client, version: i16) {
    let mut ask = |name: &str, level: i16, kind: i8| {
        let answer = client.call(version, &features_request(version, name, level, kind));
        (
            error(answer.error_code),
            answer.error_message.map(|text| text.to_string()),
            answer.results,
        )
    };
    let (code, message, results) = ask("metadata.version", 30, 1);
    assert_eq!((code, message), (ErrorCode::None, None), "v{version}");
    assert_eq!(results.len(), usize::from(version < 2));
    assert!(results.iter().all(|it| it.error_message.as_deref() == Some("NONE")));
    let (code, message, _) = ask("metadata.version", 29, 2);
    assert_eq!(code, ErrorCode::InvalidUpdateVersion);
    let why = "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the \
               requested downgrade because it might delete metadata information.";
    assert!(message.is_some_and(|text| text.ends_with(why)));
}

pub fn allocate_producer_ids(controller: &mut Client, version: i16) {
    let epoch = broker_epoch(controller);
    let request = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1));
    let mut last = -1;
    for _ in 0..2 {
        let answer = controller.call(version, &request.clone().with_broker_epoch(epoch));
        assert_eq!((error(answer.error_code), answer.producer_id_len), (ErrorCode::None, 1000));
        assert!(answer.producer_id_start.0 > last);
        last = answer.producer_id_start.0 + 999;
    }
    for stale in [request.clone().with_broker_epoch(-1), request.with_broker_id(BrokerId(9))] {
        let answer = controller.call(version, &stale);
        assert_eq!(error(answer.error_code), ErrorCode::StaleBrokerEpoch);
    }
}
