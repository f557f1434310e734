//! What handlers and publishers ask.

use ottla_protocol::metadata::{
    Endpoint, MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
    RemoveTopicRecord, TopicRecord,
};
use ottla_types::{ErrorCode, NodeId, PartitionId, TopicName, Uuid};

use crate::image::{Delta, Image, LeaderUnavailable, LocalChange, Touched};

const TOPIC: Uuid = Uuid([7; 16]);

fn broker(id: i32, fenced: bool, listener: &str) -> MetadataRecord {
    let (name, host) = (listener.to_owned(), format!("host-{id}"));
    RegisterBrokerRecord {
        broker_id: NodeId(id),
        end_points: vec![Endpoint { name, host, port: 9092, security_protocol: 0 }],
        fenced,
        ..Default::default()
    }
    .into()
}

/// Partitions 0, 1, 2 and 3 of topic "b", led by 1, 2, 3 and nobody; 2 is fenced, 3 is internal.
fn image() -> Image {
    let topic = |name: &str, topic_id| TopicRecord { name: name.into(), topic_id };
    let mut records = vec![
        broker(1, false, "PLAIN"),
        broker(2, true, "PLAIN"),
        broker(3, false, "INTERNAL"),
        topic("b", TOPIC).into(),
        topic("a", Uuid([8; 16])).into(),
    ];
    for (partition, leader) in [(0, 1), (1, 2), (2, 3), (3, -1)] {
        records.push(
            PartitionRecord {
                partition_id: PartitionId(partition),
                topic_id: TOPIC,
                replicas: vec![NodeId(1), NodeId(2)],
                leader: NodeId(leader),
                ..Default::default()
            }
            .into(),
        );
    }
    replayed(Image::default(), records).into_image()
}

fn replayed(base: Image, records: Vec<MetadataRecord>) -> Delta {
    let (mut image, mut touched) = (base.clone(), Touched::default());
    for record in records {
        image.replay(&record, &mut touched).expect("the records fit");
    }
    Delta::new(base, image, touched)
}

#[test]
fn leaders_are_where_clients_can_reach_them() {
    let image = image();
    let leader = |partition| {
        let partition = image.partition("b", PartitionId(partition)).expect("it is there");
        image.leader_on(partition, "PLAIN").map(|(broker, at)| (broker.id, at.host.as_str()))
    };
    assert_eq!(leader(0), Ok((NodeId(1), "host-1")));
    assert_eq!(leader(1), Err(LeaderUnavailable::NotAlive));
    assert_eq!(leader(2), Err(LeaderUnavailable::NoListener));
    assert_eq!(leader(3), Err(LeaderUnavailable::NotAlive));
    assert_eq!(LeaderUnavailable::NotAlive.code(), ErrorCode::LeaderNotAvailable);
    assert_eq!(LeaderUnavailable::NoListener.code(), ErrorCode::ListenerNotFound);
    let alive: Vec<NodeId> = image.alive_brokers_on("PLAIN").map(|(it, _)| it.id).collect();
    assert_eq!(alive, [NodeId(1)]);
}

#[test]
fn topics_by_name_come_in_pages() {
    let image = image();
    let from = |name| image.topics().from_name(name).map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(from(""), [TopicName::from("a"), TopicName::from("b")]);
    assert_eq!(from("aa"), [TopicName::from("b")]);
    assert_eq!(image.partition("b", PartitionId(9)), None);
    assert_eq!(image.partition("c", PartitionId(0)), None);
}

/// What a change asks of the brokers 1, 2 and 3.
fn local(record: impl Into<MetadataRecord>) -> Vec<[Option<LocalChange>; 3]> {
    let delta = replayed(image(), vec![record.into()]);
    delta.partitions().map(|it| [1, 2, 3].map(|broker| it.local(NodeId(broker)))).collect()
}

#[test]
fn a_change_asks_each_replica_for_its_part() {
    let change = PartitionChangeRecord {
        topic_id: TOPIC,
        partition_id: PartitionId(0),
        ..Default::default()
    };
    let (lead, follow) = (|elected| Some(LocalChange::Lead { elected }), Some(LocalChange::Follow));
    let isr = PartitionChangeRecord { isr: Some(vec![NodeId(1)]), ..change.clone() };
    assert_eq!(local(isr), [[lead(false), follow, None]]);
    let leader = PartitionChangeRecord { leader: NodeId(2), ..change.clone() };
    assert_eq!(local(leader), [[follow, lead(true), None]]);
    let replicas = vec![NodeId(1), NodeId(3)];
    let moved = PartitionChangeRecord { replicas: Some(replicas), ..change };
    let directories = PartitionChangeRecord { directories: Some(vec![TOPIC; 2]), ..moved };
    assert_eq!(local(directories), [[lead(false), Some(LocalChange::Delete), follow]]);
    let deleted = [Some(LocalChange::Delete), Some(LocalChange::Delete), None];
    assert_eq!(local(RemoveTopicRecord { topic_id: TOPIC }), [deleted; 4]);
}
