//! Calls of APIs for administration, on either listener.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::assign_replicas_to_dirs_request::{
    DirectoryData, PartitionData, TopicData,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerId, CreatePartitionsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use kafka_protocol::protocol::Decodable;
use ottla_types::ErrorCode;
use uuid::Uuid;

use crate::client::Client;
use crate::node::fresh;
use crate::requests::{Topic, batch, create, error, produce, text, topic_name};

/// A question for the logs of these partitions, or for all.
pub fn log_dirs_request(topic: Option<(&Topic, &[i32])>) -> DescribeLogDirsRequest {
    let topics = topic.map(|(topic, partitions)| {
        let asked = DescribableLogDirTopic::default()
            .with_topic(topic_name(&topic.name))
            .with_partitions(partitions.to_vec());
        vec![asked]
    });
    DescribeLogDirsRequest::default().with_topics(topics)
}

/// The answer, and for each directory whether it is cordoned, which version 5 brought.
pub fn log_dirs_of(
    client: &mut Client,
    version: i16,
    request: &DescribeLogDirsRequest,
) -> (DescribeLogDirsResponse, Vec<bool>) {
    if version < 5 {
        return (client.call(version, request), Vec::new());
    }
    client.send(version, request);
    let mut frame = client.receive_frame().unwrap();
    // The correlation id and the tags of the header.
    frame.advance(5);
    let (old, cordoned) = without_cordoned(frame);
    (DescribeLogDirsResponse::decode(&mut old.clone(), 4).unwrap(), cordoned)
}

/// A length, seven bits in a byte.
fn uvarint(bytes: &mut Bytes) -> usize {
    let byte = bytes.get_u8();
    let low = usize::from(byte & 0x7f);
    if byte < 0x80 { low } else { low | uvarint(bytes) << 7 }
}

/// Takes the byte that version 5 has in front of the tags of each directory out of the body.
fn without_cordoned(body: Bytes) -> (Bytes, Vec<bool>) {
    let mut rest = body.clone();
    let mut cordoned = Vec::new();
    let mut at = Vec::new();
    rest.advance(4 + 2);
    for _ in 1..uvarint(&mut rest) {
        rest.advance(2);
        let name = uvarint(&mut rest);
        rest.advance(name - 1);
        for _ in 1..uvarint(&mut rest) {
            let topic = uvarint(&mut rest);
            rest.advance(topic - 1);
            let partitions = uvarint(&mut rest);
            rest.advance((partitions - 1) * (4 + 8 + 8 + 1 + 1) + 1);
        }
        rest.advance(8 + 8);
        at.push(body.len() - rest.len());
        cordoned.push(rest.get_u8() == 1);
        assert_eq!(rest.get_u8(), 0, "no tags");
    }
    assert_eq!(rest.as_ref(), [0], "the end");
    let old = body.iter().enumerate().filter(|(index, _)| !at.contains(index));
    (old.map(|(_, byte)| *byte).collect::<Vec<_>>().into(), cordoned)
}

pub fn describe_log_dirs(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("described"), 2, &[]);
    produce(client, &topic, batch(&["a", "b"]));
    let (all, cordoned) = log_dirs_of(client, version, &log_dirs_request(None));
    assert_eq!(error(all.error_code), ErrorCode::None);
    let logs = all.results.iter().flat_map(|dir| &dir.topics).filter(|it| **it.name == *topic.name);
    assert_eq!(logs.map(|topic| topic.partitions.len()).sum::<usize>(), 2);
    let request = log_dirs_request(Some((&topic, &[0, 7])));
    let (one, _) = log_dirs_of(client, version, &request);
    let logs: Vec<_> = one.results.iter().flat_map(|dir| &dir.topics).collect();
    let [log] = logs[0].partitions.as_slice() else { panic!("{one:?}") };
    assert_eq!((logs.len(), log.partition_index, log.offset_lag), (1, 0, 0));
    assert!(log.partition_size > 60 && !log.is_future_key, "{log:?}");
    for dir in &one.results {
        assert_eq!(error(dir.error_code), ErrorCode::None);
        let known = dir.usable_bytes > 0 && dir.total_bytes >= dir.usable_bytes;
        assert_eq!(known, version >= 4, "{dir:?}");
    }
    assert_eq!(cordoned, if version < 5 { vec![] } else { vec![false; one.results.len()] });
    let missing = Topic { name: fresh("missing"), id: Uuid::nil() };
    let request = log_dirs_request(Some((&missing, &[0])));
    let (none, _) = log_dirs_of(client, version, &request);
    assert!(none.results.iter().all(|dir| dir.topics.is_empty()), "nothing is known of it");
}

/// A request to put a partition into a log directory.
pub fn move_request(path: &str, topic: &str, partition: i32) -> AlterReplicaLogDirsRequest {
    let topic = AlterReplicaLogDirTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let dir = AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![topic]);
    AlterReplicaLogDirsRequest::default().with_dirs(vec![dir])
}

pub fn alter_replica_log_dirs(client: &mut Client, version: i16) {
    let topic = create(client, &fresh("stays"), 1, &[]);
    let (all, _) = log_dirs_of(client, 4, &log_dirs_request(Some((&topic, &[0]))));
    let own = all.results.iter().find(|dir| !dir.topics.is_empty()).unwrap();
    let own = own.log_dir.to_string();
    let mut ask = |path: &str, name: &str, partition: i32| {
        let answer = client.call(version, &move_request(path, name, partition));
        error(answer.results[0].partitions[0].error_code)
    };
    assert_eq!(ask(&own, &topic.name, 0), ErrorCode::None, "v{version}");
    assert_eq!(ask("/nowhere", &topic.name, 0), ErrorCode::LogDirNotFound);
    assert_eq!(ask("nowhere", &topic.name, 0), ErrorCode::LogDirNotFound);
    assert_eq!(ask(&own, &topic.name, 9), ErrorCode::UnknownTopicOrPartition);
}

/// A request to let a topic have so many partitions, those that are new on these brokers.
pub fn partitions_request(
    name: &str,
    count: i32,
    assigned: Option<&[&[i32]]>,
) -> CreatePartitionsRequest {
    let assignments = assigned.map(|all| {
        let ids = |brokers: &&[i32]| brokers.iter().map(|id| BrokerId(*id)).collect();
        let assignment =
            |brokers| CreatePartitionsAssignment::default().with_broker_ids(ids(brokers));
        all.iter().map(assignment).collect()
    });
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(assignments);
    CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

pub fn create_partitions(client: &mut Client, topic: &Topic, version: i16) {
    let ask = |client: &mut Client, name: &str, count, assigned| {
        let answer = client.call(version, &partitions_request(name, count, assigned));
        let [result] = answer.results.as_slice() else { panic!("{answer:?}") };
        assert_eq!(&*result.name.0, name);
        error(result.error_code)
    };
    assert_eq!(ask(client, &topic.name, 3, None), ErrorCode::None);
    assert_eq!(ask(client, &topic.name, 4, Some(&[&[1]])), ErrorCode::None);
    assert_eq!(ask(client, &topic.name, 4, None), ErrorCode::InvalidPartitions);
    let code = ask(client, &topic.name, 5, Some(&[&[9]]));
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    assert_eq!(ask(client, &fresh("no"), 5, None), ErrorCode::UnknownTopicOrPartition);
}

/// What a broker says of where its replica of a partition is.
pub fn assign_request(
    epoch: i64,
    directory: Uuid,
    topic: Uuid,
    partition: i32,
) -> AssignReplicasToDirsRequest {
    let partition = PartitionData::default().with_partition_index(partition);
    let topic = TopicData::default().with_topic_id(topic).with_partitions(vec![partition]);
    let directory = DirectoryData::default().with_id(directory).with_topics(vec![topic]);
    AssignReplicasToDirsRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_directories(vec![directory])
}

/// The epoch of the broker, which is the offset of its registration.
pub fn broker_epoch(controller: &mut Client) -> i64 {
    let is_known = |epoch: &i64| {
        let request = AssignReplicasToDirsRequest::default()
            .with_broker_id(BrokerId(1))
            .with_broker_epoch(*epoch);
        error(controller.call(0, &request).error_code) == ErrorCode::None
    };
    (0..100_000).find(is_known).unwrap()
}

/// The error of the only replica.
pub fn assigned(answer: &AssignReplicasToDirsResponse) -> ErrorCode {
    assert_eq!(error(answer.error_code), ErrorCode::None);
    error(answer.directories[0].topics[0].partitions[0].error_code)
}

pub fn assign_replicas(broker: &mut Client, controller: &mut Client) {
    let topic = create(broker, &fresh("placed"), 1, &[]);
    let epoch = broker_epoch(controller);
    let nowhere = Uuid::from_u128(0x0dd);
    let stale = controller.call(0, &assign_request(epoch + 1, nowhere, topic.id, 0));
    assert_eq!(error(stale.error_code), ErrorCode::StaleBrokerEpoch);
    assert!(stale.directories.is_empty());
    let answer = controller.call(0, &assign_request(epoch, nowhere, topic.id, 5));
    assert_eq!(assigned(&answer), ErrorCode::UnknownTopicOrPartition);
    let answer = controller.call(0, &assign_request(epoch, nowhere, nowhere, 0));
    assert_eq!(assigned(&answer), ErrorCode::UnknownTopicId);
    let answer = controller.call(0, &assign_request(epoch, nowhere, topic.id, 0));
    assert_eq!(assigned(&answer), ErrorCode::None);
    let answered = &answer.directories[0];
    assert_eq!((answered.id, answered.topics[0].topic_id), (nowhere, topic.id));
}
