//! How much a Fetch answers, and how long it waits.

use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use ottla_types::ErrorCode;
use uuid::Uuid;

use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{
    FETCH, Topic, batch, create, error, fetch, fetch_request, produce, produce_to, records, values,
};

/// A topic whose partition 0 holds ten batches of one record, "0" to "9".
fn filled(client: &mut Client, partitions: i32) -> Topic {
    let topic = create(client, &fresh("filled"), partitions, &[]);
    for index in 0..10 {
        produce(client, &topic, batch(&[&index.to_string()]));
    }
    topic
}

#[test]
fn limits_cut_between_batches_and_one_batch_is_always_answered() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 1);
    let size = batch(&["0"]).len() as i32;
    for (partition_max, max, expected) in [
        (1 << 20, 1 << 20, 10),
        (1, 1, 1),
        (0, 0, 1),
        (1 << 20, 1, 1),
        (1, 1 << 20, 1),
        (3 * size, 1 << 20, 3),
        (1 << 20, 4 * size, 4),
    ] {
        let mut request = fetch_request(FETCH, &topic, &[(0, 0)]).with_max_bytes(max);
        request.topics[0].partitions[0].partition_max_bytes = partition_max;
        let answer = client.call(FETCH, &request);
        let data = &answer.responses[0].partitions[0];
        let whole = values(&records(data)).len();
        assert_eq!(whole, expected, "at most {partition_max} of a partition and {max} of all");
        let len = data.records.as_ref().unwrap().len() as i32;
        assert!(len <= size.max(partition_max.min(max)), "{len} bytes");
    }
}

#[test]
fn only_the_first_partition_with_records_may_exceed_the_limit() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 3);
    produce_to(&mut client, 13, &topic, 1, batch(&["b"]));
    produce_to(&mut client, 13, &topic, 2, batch(&["c"]));
    // Partition 0 is asked for at its end: it has nothing, so partition 1 is the first.
    let asked = [(0, 10), (1, 0), (2, 0)];
    let mut request = fetch_request(FETCH, &topic, &asked).with_max_bytes(1);
    request.topics[0].partitions.iter_mut().for_each(|asked| asked.partition_max_bytes = 1);
    let answer = client.call(FETCH, &request);
    let mut read: Vec<_> = answer.responses[0]
        .partitions
        .iter()
        .map(|data| (data.partition_index, values(&records(data)).len()))
        .collect();
    read.sort();
    assert_eq!(read, [(0, 0), (1, 1), (2, 0)]);
}

#[test]
fn a_fetch_waits_for_its_bytes_and_no_longer_than_it_says() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 1);
    let wait = Duration::from_millis(300);
    let wait_ms = wait.as_millis() as i32;
    let at_the_end = fetch_request(FETCH, &topic, &[(0, 10)]).with_max_wait_ms(wait_ms);
    let began = Instant::now();
    let answer = client.call(FETCH, &at_the_end);
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 0);

    // Woken by records: the wait is far longer than the test may last.
    let mut reader = node.connect();
    let long = at_the_end.clone().with_max_wait_ms(600_000);
    reader.send(FETCH, &long);
    let two = 2 * batch(&["x"]).len() as i32;
    let mut patient = node.connect();
    patient.send(FETCH, &long.with_min_bytes(two));
    produce(&mut client, &topic, batch(&["x"]));
    let (_, answer) = reader.receive::<FetchRequest>(FETCH);
    assert_eq!(values(&records(&answer.responses[0].partitions[0])), ["x"]);
    produce(&mut client, &topic, batch(&["y"]));
    let (_, answer) = patient.receive::<FetchRequest>(FETCH);
    assert_eq!(values(&records(&answer.responses[0].partitions[0])), ["x", "y"]);
}

#[test]
fn enough_bytes_or_an_error_end_the_wait_at_once() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 2);
    let asked = fetch_request(FETCH, &topic, &[(0, 0)]).with_max_wait_ms(600_000);
    let answer = client.call(FETCH, &asked);
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 10);
    let with_error = fetch_request(FETCH, &topic, &[(1, 0), (0, 99)]).with_max_wait_ms(600_000);
    let answer = client.call(FETCH, &with_error);
    let answered: Vec<_> =
        answer.responses[0].partitions.iter().map(|data| error(data.error_code)).collect();
    assert!(answered.contains(&ErrorCode::OffsetOutOfRange), "{answered:?}");
}

#[test]
fn readers_are_told_what_is_wrong() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 1);
    for offset in [11, 1000, i64::MAX, -1, i64::MIN] {
        let data = fetch(&mut client, &topic, offset);
        assert_eq!(error(data.error_code), ErrorCode::OffsetOutOfRange, "offset {offset}");
        assert!(data.records.is_none_or(|records| records.is_empty()));
    }
    assert_eq!(error(fetch(&mut client, &topic, 10).error_code), ErrorCode::None);
    let missing = Topic { name: fresh("missing"), id: Uuid::from_u128(9) };
    let data = fetch(&mut client, &missing, 0);
    assert_eq!(error(data.error_code), ErrorCode::UnknownTopicId);
    let by_name = client.call(12, &fetch_request(12, &missing, &[(0, 0)]));
    let code = by_name.responses[0].partitions[0].error_code;
    assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition);
    for (epoch, expected) in
        [(0, ErrorCode::None), (1, ErrorCode::UnknownLeaderEpoch), (-1, ErrorCode::None)]
    {
        let mut request = fetch_request(FETCH, &topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let answer = client.call(FETCH, &request);
        let answered = error(answer.responses[0].partitions[0].error_code);
        assert_eq!(answered, expected, "leader epoch {epoch}");
    }
}

#[test]
fn committed_readers_see_everything_without_transactions() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 1);
    let request = fetch_request(FETCH, &topic, &[(0, 0)]).with_isolation_level(1);
    let answer = client.call(FETCH, &request);
    let data = &answer.responses[0].partitions[0];
    assert_eq!((data.high_watermark, data.last_stable_offset, data.log_start_offset), (10, 10, 0));
    assert_eq!(records(data).len(), 10);
}

#[test]
fn a_partition_asked_for_twice_is_answered_once() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = filled(&mut client, 2);
    // The last question counts.
    let asked = [(0, 0), (1, 0), (0, 3), (0, 8)];
    let answer = client.call(FETCH, &fetch_request(FETCH, &topic, &asked));
    let read = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let mut read: Vec<_> =
        read.map(|data| (data.partition_index, values(&records(data)))).collect();
    read.sort();
    assert_eq!(read, [(0, vec!["8".to_owned(), "9".to_owned()]), (1, vec![])]);
}
