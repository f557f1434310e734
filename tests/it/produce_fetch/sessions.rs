//! Fetch sessions (KIP-227): requests say what changes, answers what is new. Apache Kafka 4.3.1 was
//! asked the same and answered the same (`OTTLA_IT_BROKER`), but for the limits, which are ours: it
//! cuts its places into eight parts and has no limit on partitions.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, fresh};
use crate::requests::{
    FETCH, PRODUCE, Topic, batch, create, error, fetch_request, produce, produce_request, records,
    values,
};

/// A request of a session that changes nothing.
fn next(id: i32, epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_id(id)
        .with_session_epoch(epoch)
}

fn reads(topic: &Topic, partition: i32, offset: i64) -> FetchTopic {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    FetchTopic::default().with_topic_id(topic.id).with_partitions(vec![asked])
}

/// Partitions of the answer, each with its values.
fn answered(answer: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| (data.partition_index, values(&records(data)))).collect()
}

fn begin(client: &mut Client, topic: &Topic, partitions: &[(i32, i64)]) -> FetchResponse {
    client.call(FETCH, &fetch_request(FETCH, topic, partitions).with_session_epoch(0))
}

#[test]
fn answers_say_what_is_new() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 3, &[]);
    produce(&mut client, &topic, batch(&["a"]));
    let answer = begin(&mut client, &topic, &[(0, 0), (1, 0)]);
    let id = answer.session_id;
    assert!(id > 0);
    assert_eq!(answered(&answer), [(0, vec!["a".to_owned()]), (1, vec![])]);
    // Nothing is known of what was read until the client says so.
    let answer = client.call(FETCH, &next(id, 1));
    assert_eq!((answer.session_id, error(answer.error_code)), (id, ErrorCode::None));
    assert_eq!(answered(&answer), [(0, vec!["a".to_owned()])]);
    let answer = client.call(FETCH, &next(id, 2).with_topics(vec![reads(&topic, 0, 1)]));
    assert_eq!(answered(&answer), []);
    // A new partition is told once, and then only what moves.
    let answer = client.call(FETCH, &next(id, 3).with_topics(vec![reads(&topic, 2, 0)]));
    assert_eq!(answered(&answer), [(2, vec![])]);
    produce(&mut client, &topic, batch(&["b"]));
    let answer = client.call(FETCH, &next(id, 4));
    assert_eq!(answered(&answer), [(0, vec!["b".to_owned()])]);
    // What is forgotten is not told.
    let forgotten = ForgottenTopic::default().with_topic_id(topic.id).with_partitions(vec![0]);
    let answer = client.call(FETCH, &next(id, 5).with_forgotten_topics_data(vec![forgotten]));
    assert_eq!(answered(&answer), []);
    // An error is told each time.
    let wrong = || vec![reads(&topic, 1, 99)];
    for epoch in 6..8 {
        let answer = client.call(FETCH, &next(id, epoch).with_topics(wrong()));
        let data = &answer.responses[0].partitions[0];
        assert_eq!(error(data.error_code), ErrorCode::OffsetOutOfRange);
    }
}

#[test]
fn wrong_sessions_are_refused() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 1, &[]);
    let id = begin(&mut client, &topic, &[(0, 0)]).session_id;
    let mut refused = |version, request: FetchRequest| {
        let answer = client.call(version, &request);
        assert!(answer.responses.is_empty());
        (error(answer.error_code), answer.session_id)
    };
    assert_eq!(refused(FETCH, next(id, 2)), (ErrorCode::InvalidFetchSessionEpoch, 0));
    assert_eq!(refused(FETCH, next(id ^ 1, 1)), (ErrorCode::FetchSessionIdNotFound, 0));
    assert_eq!(refused(12, next(id, 1)), (ErrorCode::FetchSessionTopicIdError, 0));
    // None of it has moved the session.
    assert_eq!(refused(FETCH, next(id, 1)), (ErrorCode::None, id));
    // A full fetch without a session ends it.
    let full = fetch_request(FETCH, &topic, &[(0, 0)]).with_session_id(id);
    assert_eq!(client.call(FETCH, &full).session_id, 0);
    let answer = client.call(FETCH, &next(id, 2));
    assert_eq!(error(answer.error_code), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn sessions_end_and_begin_anew() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 2, &[]);
    let first = begin(&mut client, &topic, &[(0, 0)]).session_id;
    // A full fetch that begins another one ends the one that it names.
    let full = fetch_request(FETCH, &topic, &[(0, 0), (1, 0)]).with_session_epoch(0);
    let second = client.call(FETCH, &full.with_session_id(first)).session_id;
    assert!(second > 0 && second != first);
    let mut code_of = |request: FetchRequest| {
        let answer = client.call(FETCH, &request);
        (error(answer.error_code), answer.session_id)
    };
    assert_eq!(code_of(next(first, 1)), (ErrorCode::FetchSessionIdNotFound, 0));
    assert_eq!(code_of(next(0, 1)), (ErrorCode::FetchSessionIdNotFound, 0));
    // One that forgets everything is none any more.
    let forgotten = ForgottenTopic::default().with_topic_id(topic.id).with_partitions(vec![0, 1]);
    let all = next(second, 1).with_forgotten_topics_data(vec![forgotten]);
    assert_eq!(code_of(all), (ErrorCode::None, 0));
    assert_eq!(code_of(next(second, 2)), (ErrorCode::FetchSessionIdNotFound, 0));
    // One may begin with nothing, and ends if it stays so.
    let (code, third) = code_of(next(0, 0));
    assert!(code == ErrorCode::None && third > 0);
    assert_eq!(code_of(next(third, 1)), (ErrorCode::None, 0));
    let (_, fourth) = code_of(next(0, 0));
    let more = next(fourth, 1).with_topics(vec![reads(&topic, 0, 0)]);
    assert_eq!(code_of(more), (ErrorCode::None, fourth));
}

#[test]
fn errors_are_told_each_time_and_all_get_their_turn() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 2, &[]);
    let request = produce_request(PRODUCE, &topic, -1, &[0, 1].map(|it| (it, Some(batch(&["v"])))));
    client.call(PRODUCE, &request);
    let unknown = Topic { name: fresh("unknown"), id: uuid::Uuid::from_u128(0xABCDEF) };
    let mut full = fetch_request(FETCH, &topic, &[(0, 0), (1, 0)]).with_session_epoch(0);
    full.topics.extend([reads(&unknown, 0, 0), reads(&topic, 7, 0)]);
    let id = client.call(FETCH, &full).session_id;
    let mut turns = Vec::new();
    for epoch in 1..5 {
        let answer = client.call(FETCH, &next(id, epoch).with_max_bytes(1));
        let mut errors = Vec::new();
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            match error(data.error_code) {
                ErrorCode::None => turns.push(data.partition_index),
                code => errors.push((data.partition_index, code)),
            }
        }
        errors.sort_unstable_by_key(|(index, _)| *index);
        let expected = [(0, ErrorCode::UnknownTopicId), (7, ErrorCode::UnknownTopicOrPartition)];
        assert_eq!(errors, expected, "epoch {epoch}");
    }
    // One batch for each answer: the partition that had its turn goes to the end.
    assert_eq!(turns, [0, 1, 0, 1]);
}

#[test]
fn partitions_of_all_sessions_are_limited() {
    let node = Setup::new().with("ottla.fetch.session.partitions.max", 3).start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 3, &[]);
    let id = begin(&mut client, &topic, &[(0, 0), (1, 0)]).session_id;
    assert!(id > 0);
    assert_eq!(begin(&mut client, &topic, &[(0, 0), (1, 0)]).session_id, 0, "four are too many");
    assert!(begin(&mut client, &topic, &[(0, 0)]).session_id > 0, "three are not");
    // A session that grows beyond is given up: its client begins anew.
    let answer = client.call(FETCH, &next(id, 1).with_topics(vec![reads(&topic, 2, 0)]));
    assert_eq!(error(answer.error_code), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn without_room_there_are_full_fetches() {
    let node = Setup::new().with("max.incremental.fetch.session.cache.slots", 1).start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("session"), 2, &[]);
    let id = begin(&mut client, &topic, &[(0, 0)]).session_id;
    assert!(id > 0);
    assert_eq!(begin(&mut client, &topic, &[(0, 0), (1, 0)]).session_id, 0);
    assert_eq!(error(client.call(FETCH, &next(id, 1)).error_code), ErrorCode::None);
    // Its end makes room.
    let ending = fetch_request(FETCH, &topic, &[(0, 0)]).with_session_id(id);
    client.call(FETCH, &ending);
    assert!(begin(&mut client, &topic, &[(0, 0)]).session_id > 0);
}
