//! What readers are told of transactions, also after the process was killed.

use ottla_types::ErrorCode;

use super::{Client, Topic, abort, believing, commit, end, plain, write};
use crate::apis::producers_request;
use crate::node::fresh;
use crate::requests::{
    FETCH, LIST_OFFSETS, create, error, fetch_request, list_offsets_request, produce, records,
    values,
};

/// What a committed reader is told: values, aborted transactions, last stable offset, high
/// watermark.
pub type Told = (Vec<String>, Vec<(i64, i64)>, i64, i64);

pub fn committed(client: &mut Client, topic: &Topic, offset: i64) -> Told {
    let request = fetch_request(FETCH, topic, &[(0, offset)]).with_isolation_level(1);
    let mut answer = client.call(FETCH, &request);
    let data = answer.responses.remove(0).partitions.remove(0);
    assert_eq!(error(data.error_code), ErrorCode::None);
    let aborted = data.aborted_transactions.iter().flatten();
    let aborted = aborted.map(|it| (it.producer_id.0, it.first_offset)).collect();
    (values(&records(&data)), aborted, data.last_stable_offset, data.high_watermark)
}

/// The end of the log for a reader of this isolation.
fn end_for(client: &mut Client, topic: &Topic, isolation: i8) -> i64 {
    let request = list_offsets_request(topic, 0, -1).with_isolation_level(isolation);
    client.call(LIST_OFFSETS, &request).topics[0].partitions[0].offset
}

/// Id, epoch, coordinator's epoch and start of the open transaction of each producer.
fn producers(client: &mut Client, topic: &Topic) -> Vec<(i64, i32, i32, i64)> {
    let answer = client.call(0, &producers_request(&topic.name, &[0]));
    let producers = answer.topics[0].partitions[0].active_producers.iter();
    let told = producers.map(|it| {
        let id = it.producer_id.0;
        (id, it.producer_epoch, it.coordinator_epoch, it.current_txn_start_offset)
    });
    told.collect()
}

/// Markers are records, with a value that is no text.
pub fn texts(told: &Told) -> Vec<&str> {
    told.0
        .iter()
        .map(String::as_str)
        .filter(|value| value.is_ascii() && !value.contains('\0'))
        .collect()
}

#[test]
fn what_is_committed_is_read_and_what_is_aborted_is_named() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    assert_eq!(produce(client, &topic, plain(&["plain"])).base_offset, 0);
    assert_eq!(write(client, &topic, (7, 0, 0), &["a", "b"]), (ErrorCode::None, 1));
    assert_eq!(write(client, &topic, (8, 0, 0), &["c"]), (ErrorCode::None, 3));
    assert_eq!(produce(client, &topic, plain(&["late"])).base_offset, 4);
    let told = committed(client, &topic, 0);
    assert_eq!((texts(&told), told.2, told.3), (vec!["plain"], 1, 5));
    assert_eq!([0, 1].map(|isolation| end_for(client, &topic, isolation)), [5, 1]);
    assert_eq!(producers(client, &topic), [(7, 0, -1, 1), (8, 0, -1, 3)]);

    assert_eq!(end(client, abort(7, 0), &topic), ErrorCode::None);
    let told = committed(client, &topic, 0);
    assert_eq!((texts(&told), told.1.clone(), told.2), (vec!["plain", "a", "b"], vec![(7, 1)], 3));
    assert_eq!(end(client, commit(8, 0), &topic), ErrorCode::None);
    let told = committed(client, &topic, 0);
    assert_eq!(texts(&told), ["plain", "a", "b", "c", "late"]);
    assert_eq!((told.1, told.2, told.3), (vec![(7, 1)], 7, 7));
    assert_eq!(committed(client, &topic, 6).1, [], "it ended before");
    assert_eq!(producers(client, &topic), [(7, 0, 0, -1), (8, 0, 0, -1)]);
    assert_eq!([0, 1].map(|isolation| end_for(client, &topic, isolation)), [7, 7]);
}

#[test]
fn an_open_transaction_outlives_a_kill_and_a_stop() {
    let mut node = believing().start();
    let topic = {
        let client = &mut node.connect();
        let topic = create(client, &fresh("t"), 1, &[("segment.bytes", "1048576")]);
        assert_eq!(write(client, &topic, (7, 3, 0), &["a"]), (ErrorCode::None, 0));
        assert_eq!(write(client, &topic, (8, 0, 0), &["b"]), (ErrorCode::None, 1));
        assert_eq!(end(client, abort(8, 0), &topic), ErrorCode::None);
        topic
    };
    for round in 0..3 {
        if round == 1 {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        let client = &mut node.connect();
        let told = committed(client, &topic, 0);
        assert_eq!((told.2, told.3), (0, 3 + round), "round {round}");
        assert_eq!(producers(client, &topic), [(7, 3, -1, 0), (8, 0, 0, -1)]);
        let sequence = 1 + round as i32;
        assert_eq!(write(client, &topic, (7, 3, sequence), &["c"]), (ErrorCode::None, 3 + round));
    }
    let client = &mut node.connect();
    assert_eq!(end(client, commit(7, 3), &topic), ErrorCode::None);
    node.crash();
    let client = &mut node.connect();
    let told = committed(client, &topic, 0);
    assert_eq!((texts(&told), told.1.clone()), (vec!["a", "b", "c", "c", "c"], vec![(8, 1)]));
    assert_eq!((told.2, told.3), (7, 7));
    node.stop();
}

#[test]
fn a_marker_wakes_a_reader_that_waits() {
    let node = believing().start();
    let (client, reader) = (&mut node.connect(), &mut node.connect());
    let topic = create(client, &fresh("t"), 1, &[]);
    assert_eq!(write(client, &topic, (7, 0, 0), &["a"]), (ErrorCode::None, 0));
    let waits =
        fetch_request(FETCH, &topic, &[(0, 0)]).with_isolation_level(1).with_max_wait_ms(25_000);
    // Answers come in order: what is asked behind it says that it waits.
    reader.send(FETCH, &waits);
    assert_eq!(end(client, commit(7, 0), &topic), ErrorCode::None);
    let told = committed(client, &topic, 0);
    assert_eq!((texts(&told), told.2), (vec!["a"], 2));
    let frame = reader.receive_frame().unwrap();
    assert!(frame.len() > 100, "it has records: {}", frame.len());
}
