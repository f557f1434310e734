//! Topics that come, go and come again, and logs of many segments.

use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, fresh, wait_until};
use crate::requests::{
    CREATE_TOPICS, DELETE_TOPICS, Topic, batch, creatable, create, create_request, delete_request,
    error, fetch, list_offset, metadata_of, produce, read_all, values,
};

fn delete(client: &mut Client, topic: &Topic) -> ErrorCode {
    let answer = client.call(DELETE_TOPICS, &delete_request(topic, DELETE_TOPICS));
    error(answer.responses[0].error_code)
}

#[test]
fn a_name_is_used_again_without_its_past() {
    let node = Node::start();
    let mut client = node.connect();
    let name = fresh("again");
    let first = create(&mut client, &name, 2, &[]);
    for round in 0..5 {
        produce(&mut client, &first, batch(&[&format!("old {round}")]));
    }
    assert_eq!(delete(&mut client, &first), ErrorCode::None);
    wait_until("the topic is gone", || {
        let code = metadata_of(&mut client, &name).topics[0].error_code;
        error(code) == ErrorCode::UnknownTopicOrPartition
    });
    let old = produce(&mut client, &first, batch(&["late"]));
    assert_eq!(error(old.error_code), ErrorCode::UnknownTopicId);
    assert_eq!(error(fetch(&mut client, &first, 0).error_code), ErrorCode::UnknownTopicId);

    let second = create(&mut client, &name, 1, &[]);
    assert_ne!(second.id, first.id);
    let answer = produce(&mut client, &second, batch(&["new"]));
    assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 0));
    assert_eq!(values(&read_all(&mut client, &second, 0)), ["new"]);
    let old = produce(&mut client, &first, batch(&["late"]));
    assert_eq!(error(old.error_code), ErrorCode::UnknownTopicId, "the id is not the name");
    assert_eq!(metadata_of(&mut client, &name).topics[0].partitions.len(), 1);
    assert_eq!(delete(&mut client, &first), ErrorCode::UnknownTopicId);
}

#[test]
fn waiting_readers_of_a_deleted_topic_are_answered() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("short-lived"), 1, &[]);
    let mut reader = node.connect();
    let request = crate::requests::fetch_request(17, &topic, &[(0, 0)]).with_max_wait_ms(5_000);
    reader.send(17, &request);
    assert_eq!(delete(&mut client, &topic), ErrorCode::None);
    let (_, answer) = reader.receive::<kafka_protocol::messages::FetchRequest>(17);
    assert_eq!(answer.responses[0].partitions.len(), 1);
}

#[test]
fn topics_are_refused_with_reasons() {
    let node = Node::start();
    let mut client = node.connect();
    let name = fresh("there");
    create(&mut client, &name, 1, &[]);
    let long = "x".repeat(250);
    let cases: Vec<(_, ErrorCode)> = vec![
        (creatable(&name, 1, &[]), ErrorCode::TopicAlreadyExists),
        (creatable("", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable(".", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("..", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("a/b", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("../x", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("a\0b", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("a\nb", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable("t\u{f6}pic", 1, &[]), ErrorCode::InvalidTopicException),
        (creatable(&long, 1, &[]), ErrorCode::InvalidTopicException),
        (creatable(&fresh("none"), 0, &[]), ErrorCode::InvalidPartitions),
        (creatable(&fresh("minus"), -2, &[]), ErrorCode::InvalidPartitions),
        (
            creatable(&fresh("two"), 1, &[]).with_replication_factor(2),
            ErrorCode::InvalidReplicationFactor,
        ),
        (
            creatable(&fresh("zero"), 1, &[]).with_replication_factor(0),
            ErrorCode::InvalidReplicationFactor,
        ),
        (creatable(&fresh("config"), 1, &[("no.such", "1")]), ErrorCode::InvalidConfig),
        (creatable(&fresh("value"), 1, &[("segment.bytes", "x")]), ErrorCode::InvalidConfig),
    ];
    for (topic, expected) in cases {
        let shown = format!("{topic:?}");
        let answer = client.call(CREATE_TOPICS, &create_request(vec![topic]));
        assert_eq!(error(answer.topics[0].error_code), expected, "{shown}");
    }
    let twice = vec![creatable("twice", 1, &[]), creatable("twice", 2, &[])];
    let answer = client.call(CREATE_TOPICS, &create_request(twice));
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::InvalidRequest);
    let dry = create_request(vec![creatable("dry", 1, &[])]).with_validate_only(true);
    assert_eq!(error(client.call(CREATE_TOPICS, &dry).topics[0].error_code), ErrorCode::None);
    let code = metadata_of(&mut client, "dry").topics[0].error_code;
    assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition, "only validated");
}

#[test]
fn names_that_differ_in_dot_and_underscore_collide() {
    let node = Node::start();
    let mut client = node.connect();
    let name = fresh("a.b");
    create(&mut client, &name, 1, &[]);
    let other = name.replace('.', "_");
    let answer = client.call(CREATE_TOPICS, &create_request(vec![creatable(&other, 1, &[])]));
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::InvalidTopicException);
}

#[test]
fn records_of_many_segments_are_read_also_after_restarts() {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let name = fresh("segments");
    let topic = create(&mut client, &name, 1, &[("segment.bytes", "1048576")]);
    let value = "x".repeat(100_000);
    let mut expected = Vec::new();
    for index in 0..45 {
        expected.push(format!("{index} {value}"));
        let answer = produce(&mut client, &topic, batch(&[&expected[index]]));
        assert_eq!(answer.base_offset, index as i64);
    }
    let dir = node.setup.data().join(format!("{name}-0"));
    let segments = || {
        let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
    };
    assert_eq!(segments(), 5, "ten batches fit into one");
    let check = |client: &mut Client| {
        assert!(values(&read_all(client, &topic, 0)) == expected);
        for offset in [0, 9, 10, 11, 44] {
            let data = fetch(client, &topic, offset);
            assert_eq!(crate::requests::records(&data)[0].offset, offset);
        }
        assert_eq!(list_offset(client, &topic, 0, -1).offset, 45);
        assert_eq!(list_offset(client, &topic, 0, -2).offset, 0);
    };
    check(&mut client);
    node.stop();
    node.start_again();
    check(&mut node.connect());
    node.crash();
    check(&mut node.connect());
    assert_eq!(segments(), 5);
}
