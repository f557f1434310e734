//! Requests of one connection are answered in their order, whatever their acks.

use kafka_protocol::messages::{ListOffsetsRequest, ProduceRequest};

use crate::node::{Node, fresh};
use crate::requests::{
    LIST_OFFSETS, PRODUCE, batch, create, error, list_offsets_request, produce_request, read_all,
    values,
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
