//! Requests of one connection are answered in their order, whatever their acks.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
};

use crate::node::{Node, fresh, wait_until};
use crate::requests::{
    FETCH, LIST_OFFSETS, PRODUCE, batch, create, error, fetch_request, list_offset,
    list_offsets_request, produce_request, read_all, values,
};
use ottla_types::ErrorCode;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("pipeline"), 1, &[]);
    const COUNT: i64 = 200;
    let mut sent = Vec::new();
    for index in 0..COUNT {
        let records = batch(&[&format!("v{index}")]);
        // Different acks take different ways through the broker.
        let acks = if index % 3 == 0 { 1 } else { -1 };
        let request = produce_request(PRODUCE, &topic, acks, &[(0, Some(records))]);
        sent.push(client.send(PRODUCE, &request));
        sent.push(client.send(LIST_OFFSETS, &list_offsets_request(&topic, 0, -1)));
    }
    for index in 0..COUNT {
        let (correlation, answer) = client.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(correlation, sent.remove(0));
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((error(partition.error_code), partition.base_offset), (ErrorCode::None, index));
        let (correlation, answer) = client.receive::<ListOffsetsRequest>(LIST_OFFSETS);
        assert_eq!(correlation, sent.remove(0));
        let end = answer.topics[0].partitions[0].offset;
        assert!((index + 1..=COUNT).contains(&end), "the append before it is seen: {end}");
    }
    let expected: Vec<String> = (0..COUNT).map(|index| format!("v{index}")).collect();
    assert_eq!(values(&read_all(&mut client, &topic, 0)), expected);
}

#[test]
fn acks_0_is_not_answered_and_disturbs_no_order() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("acks0"), 1, &[]);
    for round in 0..50 {
        for acks in [0, 1, 0, -1, 0] {
            let records = batch(&[&format!("{round}/{acks}")]);
            let request = produce_request(PRODUCE, &topic, acks, &[(0, Some(records))]);
            let correlation = client.send(PRODUCE, &request);
            if acks != 0 {
                let (answered, answer) = client.receive::<ProduceRequest>(PRODUCE);
                assert_eq!(answered, correlation);
                let partition = &answer.responses[0].partition_responses[0];
                assert_eq!(error(partition.error_code), ErrorCode::None);
            }
        }
    }
    let written = values(&read_all(&mut client, &topic, 0));
    let expected = (0..50).flat_map(|round| [0, 1, 0, -1, 0].map(|acks| format!("{round}/{acks}")));
    assert_eq!(written, expected.collect::<Vec<_>>());
}

#[test]
fn an_error_with_acks_0_closes_the_connection() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("acks0-error"), 1, &[]);
    let request = produce_request(PRODUCE, &topic, 0, &[(7, Some(batch(&["lost"])))]);
    client.send(PRODUCE, &request);
    assert!(client.is_closed());
}

#[test]
fn one_request_writes_to_many_partitions() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("many"), 3, &[]);
    let records = [(2, Some(batch(&["c"]))), (0, Some(batch(&["a"]))), (9, Some(batch(&["?"])))];
    let answer = client.call(PRODUCE, &produce_request(PRODUCE, &topic, -1, &records));
    let answered: Vec<_> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|partition| (partition.index, error(partition.error_code), partition.base_offset))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let mut expected = [(2, ErrorCode::None, 0), (0, ErrorCode::None, 0), (9, unknown, -1)];
    expected.sort();
    let mut answered = answered;
    answered.sort();
    assert_eq!(answered, expected);
    assert_eq!(values(&read_all(&mut client, &topic, 2)), ["c"]);
    assert_eq!(values(&read_all(&mut client, &topic, 1)), [""; 0]);
}

#[test]
fn long_polls_and_acks_all_hold_up_answers_but_no_requests() {
    let node = Node::start();
    let mut client = node.connect();
    // Only what is on disk is acknowledged, so that acks=all has to wait.
    let topic = create(&mut client, &fresh("mixed"), 1, &[("flush.messages", "1")]);
    let empty = create(&mut client, &fresh("nothing"), 1, &[]);
    let append = |acks| produce_request(PRODUCE, &topic, acks, &[(0, Some(batch(&["v"])))]);
    let poll = fetch_request(FETCH, &empty, &[(0, 0)]).with_max_wait_ms(300);
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(client.send(FETCH, &poll));
        sent.push(client.send(PRODUCE, &append(-1)));
        client.send(PRODUCE, &append(0));
        sent.push(client.send(PRODUCE, &append(1)));
        sent.push(client.send(LIST_OFFSETS, &list_offsets_request(&topic, 0, -1)));
        sent.push(client.send(0, &ApiVersionsRequest::default()));
    }
    let mut other = node.connect();
    let began = Instant::now();
    // Kafka begins a request when the one before it is answered.
    let all = if node.is_outside() { 3 } else { 30 };
    wait_until("the appends are made", || list_offset(&mut other, &topic, 0, -1).offset >= all);
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    let mut sent = sent.into_iter();
    let mut next = || sent.next().unwrap();
    for round in 0..10 {
        assert_eq!(client.receive::<FetchRequest>(FETCH).0, next());
        for acks in [-1, 1] {
            let (correlation, answer) = client.receive::<ProduceRequest>(PRODUCE);
            assert_eq!(correlation, next());
            let appended = &answer.responses[0].partition_responses[0];
            assert_eq!(error(appended.error_code), ErrorCode::None);
            // The one without an answer is between them.
            assert_eq!(appended.base_offset, 3 * round + i64::from(acks + 1));
        }
        assert_eq!(client.receive::<ListOffsetsRequest>(LIST_OFFSETS).0, next());
        assert_eq!(client.receive::<ApiVersionsRequest>(0).0, next());
    }
}

#[test]
fn who_sends_no_more_gets_all_answers() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("half-closed"), 1, &[("flush.messages", "1")]);
    let poll = fetch_request(FETCH, &topic, &[(0, 0)]).with_max_wait_ms(400).with_min_bytes(9999);
    for _ in 0..3 {
        client.send(FETCH, &poll);
        let records = [(0, Some(batch(&["last words"])))];
        client.send(PRODUCE, &produce_request(PRODUCE, &topic, -1, &records));
    }
    client.finish();
    for _ in 0..3 {
        client.receive::<FetchRequest>(FETCH);
        let (_, answer) = client.receive::<ProduceRequest>(PRODUCE);
        let appended = &answer.responses[0].partition_responses[0];
        assert_eq!(error(appended.error_code), ErrorCode::None);
    }
    assert!(client.is_closed());
}

#[test]
fn a_thousand_connections_come_and_go() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("crowd"), 1, &[]);
    let request = produce_request(PRODUCE, &topic, 1, &[(0, Some(batch(&["v"])))]);
    let mut written = 0;
    for index in 0..1_000 {
        let mut other = node.connect();
        match index % 4 {
            0 => {}
            1 => drop(other.send_raw(&[0, 0, 0])),
            2 => drop(other.call(0, &ApiVersionsRequest::default())),
            _ => {
                other.call(PRODUCE, &request);
                written += 1;
            }
        }
    }
    assert_eq!(list_offset(&mut client, &topic, 0, -1).offset, written);
}
