//! ListOffsets: ends, times, and the largest time.

use std::fs;

use ottla_test_client::record_batch;
use ottla_types::{ErrorCode, Timestamp};

use crate::client::Client;
use crate::node::{Node, Setup, fresh};
use crate::requests::{
    LIST_OFFSETS, Topic, batch, create, error, fetch, list_offset, list_offsets_request, produce,
    records,
};

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const MAX_TIMESTAMP: i64 = -3;

/// Writes batches of two records at these times.
fn with_times(client: &mut Client, times: &[i64]) -> Topic {
    let topic = create(client, &fresh("times"), 1, &[]);
    for time in times {
        let values = [b"a".to_vec(), b"b".to_vec()];
        let records = record_batch(Timestamp(*time), None, &values);
        assert_eq!(error(produce(client, &topic, records).error_code), ErrorCode::None);
    }
    topic
}

#[test]
fn offsets_are_found_by_time() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = with_times(&mut client, &[1000, 3000, 2000]);
    // Offset and time of the answer.
    for (asked, expected) in [
        (LATEST, (6, -1)),
        (EARLIEST, (0, -1)),
        (MAX_TIMESTAMP, (2, 3000)),
        (0, (0, 1000)),
        (1000, (0, 1000)),
        (1001, (2, 3000)),
        (3000, (2, 3000)),
        (3001, (-1, -1)),
    ] {
        let answer = list_offset(&mut client, &topic, 0, asked);
        let found = (answer.offset, answer.timestamp);
        assert_eq!((error(answer.error_code), found), (ErrorCode::None, expected), "{asked}");
    }
}

#[test]
fn an_empty_partition_has_ends_and_no_times() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("empty"), 1, &[]);
    for (asked, expected) in [(LATEST, 0), (EARLIEST, 0), (MAX_TIMESTAMP, -1), (0, -1)] {
        let answer = list_offset(&mut client, &topic, 0, asked);
        assert_eq!((error(answer.error_code), answer.offset), (ErrorCode::None, expected));
    }
}

#[test]
fn wrong_questions_are_refused() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = with_times(&mut client, &[1000]);
    let code = |client: &mut Client, topic: &Topic, partition| {
        error(list_offset(client, topic, partition, LATEST).error_code)
    };
    for partition in [1, -1, i32::MAX] {
        let answered = code(&mut client, &topic, partition);
        assert_eq!(answered, ErrorCode::UnknownTopicOrPartition, "{partition}");
    }
    let missing = Topic { name: fresh("missing"), ..topic.clone() };
    assert_eq!(code(&mut client, &missing, 0), ErrorCode::UnknownTopicOrPartition);

    let mut twice = list_offsets_request(&topic, 0, LATEST);
    let again = twice.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(again);
    let answer = client.call(LIST_OFFSETS, &twice);
    let answered: Vec<_> =
        answer.topics[0].partitions.iter().map(|p| error(p.error_code)).collect();
    assert!(answered.iter().all(|code| *code == ErrorCode::InvalidRequest), "{answered:?}");

    let mut future = list_offsets_request(&topic, 0, LATEST);
    future.topics[0].partitions[0].current_leader_epoch = 5;
    let answer = client.call(LIST_OFFSETS, &future);
    let answered = error(answer.topics[0].partitions[0].error_code);
    assert_eq!(answered, ErrorCode::UnknownLeaderEpoch);
}

#[test]
fn the_broker_stamps_topics_of_log_append_time() {
    let node = Node::start();
    let mut client = node.connect();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let topic = create(&mut client, &fresh("stamped"), 1, &configs);
    let answer = produce(&mut client, &topic, batch(&["a", "b"]));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let stamped = answer.log_append_time_ms;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    assert!((now - 60_000..=now).contains(&stamped), "{stamped} is now");
    let data = fetch(&mut client, &topic, 0);
    assert_eq!(records(&data).len(), 2, "the checksum is good");
    let max = list_offset(&mut client, &topic, 0, MAX_TIMESTAMP);
    assert_eq!(max.timestamp, stamped, "the records carry the broker's time");
    assert_eq!(list_offset(&mut client, &topic, 0, stamped).offset, 0);

    let own = create(&mut client, &fresh("own"), 1, &[]);
    let answer = produce(&mut client, &own, batch(&["a"]));
    assert_eq!(answer.log_append_time_ms, -1, "the producer's time stays");
}

#[test]
fn no_time_leads_below_the_start_of_the_log() {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, "moved", 1, &[]);
    produce(&mut client, &topic, batch(&["a", "b", "c"]));
    node.stop();
    // As DeleteRecords leaves it: inside a batch.
    let starts = node.setup.data().join("log-start-offset-checkpoint");
    fs::write(starts, "0\n1\nmoved 0 2\n").unwrap();
    node.start_again();
    let answer = list_offset(&mut node.connect(), &topic, 0, 0);
    assert_eq!((error(answer.error_code), answer.offset), (ErrorCode::None, 2));
}
