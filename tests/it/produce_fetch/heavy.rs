//! Batches that become so large that they are looked into beside the thread: nothing of the order
//! changes, of answers or of records, and who goes meanwhile leaves the node as it was.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::{ListOffsetsRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::compression::Codec;
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, fresh, wait_until};
use crate::requests::{
    LIST_OFFSETS, PRODUCE, Topic, batch, create, error, list_offset, list_offsets_request,
    produce_request,
};
use crate::validation::build::{RawBatch, batch_of, record};

const CODECS: [Codec; 4] = [Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)];

/// A batch of one record of a producer; `len` bytes of its value are compressed. It is of now: a
/// producer whose last batch is a day old is forgotten by a check that runs while the node does.
fn of_producer(sequence: i32, len: usize, codec: Codec) -> RawBatch {
    let mut record = record(0);
    record.value = (len as i32, vec![7; len]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    batch_of(&[record]).compressed(codec).with(|batch| {
        batch.producer = (4711, 0, sequence);
        (batch.base_timestamp, batch.max_timestamp) = (now, now);
    })
}

fn outcomes(answer: &ProduceResponse) -> Vec<(i32, ErrorCode, i64)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let outcome = partitions.map(|it| (it.index, error(it.error_code), it.base_offset));
    outcome.collect()
}

fn send(client: &mut Client, topic: &Topic, acks: i16, batches: &[(i32, RawBatch)]) -> i32 {
    let records: Vec<_> =
        batches.iter().map(|(index, batch)| (*index, Some(batch.bytes()))).collect();
    client.send(PRODUCE, &produce_request(PRODUCE, topic, acks, &records))
}

#[test]
fn a_producer_s_batches_keep_their_order() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("mixed"), 1, &[]);
    let mut sent = Vec::new();
    // A gap in the sequence would be refused.
    for sequence in 0..24 {
        let len = if sequence % 3 == 1 { 4 << 20 } else { 10 };
        let codec = CODECS[sequence as usize % 4];
        let acks = if sequence % 2 == 0 { 1 } else { -1 };
        sent.push(send(&mut client, &topic, acks, &[(0, of_producer(sequence, len, codec))]));
        sent.push(client.send(LIST_OFFSETS, &list_offsets_request(&topic, 0, -1)));
    }
    for sequence in 0..24 {
        let (correlation, answer) = client.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(correlation, sent.remove(0));
        assert_eq!(outcomes(&answer), [(0, ErrorCode::None, sequence)]);
        let (correlation, answer) = client.receive::<ListOffsetsRequest>(LIST_OFFSETS);
        assert_eq!(correlation, sent.remove(0));
        let end = answer.topics[0].partitions[0].offset;
        assert!(end > sequence, "it is begun when the batch before it is there: {end}");
    }
}

#[test]
fn heavy_and_light_batches_of_a_request_are_answered_together() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("together"), 6, &[]);
    let batch = |len, codec| of_producer(0, len, codec);
    let broken = batch(3 << 20, Codec::Zstd(3)).with(|batch| batch.count = 2);
    let batches = [
        (0, batch(10, Codec::Zstd(3))),
        (1, batch(2 << 20, Codec::Gzip(None))),
        (2, batch(70 << 20, Codec::Zstd(3))),
        (3, broken.with(|batch| batch.last_offset_delta = 1)),
        (4, batch(1 << 20, Codec::Lz4)),
        (5, batch(10, Codec::None)),
        (9, batch(10, Codec::None)),
    ];
    let good = ErrorCode::None;
    for acks in [1, -1] {
        let correlation = send(&mut client, &topic, acks, &batches);
        let (answered, answer) = client.receive::<ProduceRequest>(PRODUCE);
        assert_eq!(answered, correlation);
        let expected = [
            (0, good, 0),
            (1, good, 0),
            (2, ErrorCode::MessageTooLarge, -1),
            // What the first ones and the bomb took is gone.
            (3, ErrorCode::MessageTooLarge, -1),
            (4, ErrorCode::MessageTooLarge, -1),
            (5, good, 0),
            (9, ErrorCode::UnknownTopicOrPartition, -1),
        ];
        assert_eq!(outcomes(&answer), expected, "the second time they are duplicates");
    }
    let small = [(3, batches[3].1.clone()), (4, batches[4].1.clone())];
    send(&mut client, &topic, 1, &small);
    let (_, answer) = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(outcomes(&answer), [(3, ErrorCode::InvalidRecord, -1), (4, good, 0)]);
}

#[test]
fn without_acks_only_errors_are_told_by_the_end() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("untold"), 1, &[]);
    send(&mut client, &topic, 0, &[(0, of_producer(0, 5 << 20, Codec::Gzip(None)))]);
    let told = send(&mut client, &topic, 1, &[(0, of_producer(1, 10, Codec::None))]);
    let (correlation, answer) = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!((correlation, outcomes(&answer)), (told, vec![(0, ErrorCode::None, 1)]));
    send(&mut client, &topic, 0, &[(0, of_producer(7, 5 << 20, Codec::Gzip(None)))]);
    send(&mut client, &topic, 1, &[(0, of_producer(2, 10, Codec::None))]);
    assert!(client.is_closed(), "an error without an answer");
    assert_eq!(list_offset(&mut node.connect(), &topic, 0, -1).offset, 2);
}

#[test]
fn who_goes_meanwhile_leaves_the_node_as_it_was() {
    let node = Node::start();
    let topic = create(&mut node.connect(), &fresh("gone"), 1, &[]);
    for round in 0..8 {
        let mut client = node.connect();
        send(&mut client, &topic, -1, &[(0, of_producer(0, 60 << 20, Codec::Gzip(None)))]);
        // Who says that nothing more comes is answered.
        if round % 2 == 0 {
            client.finish();
            let (_, answer) = client.receive::<ProduceRequest>(PRODUCE);
            assert_eq!(outcomes(&answer), [(0, ErrorCode::None, 0)]);
        }
    }
    let mut client = node.connect();
    send(&mut client, &topic, 1, &[(0, of_producer(1, 1 << 20, Codec::Zstd(3)))]);
    let (_, answer) = client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(outcomes(&answer), [(0, ErrorCode::None, 1)]);
    wait_until("others are served", || {
        let records = [(0, Some(batch(&["after"])))];
        let answer = client.call(PRODUCE, &produce_request(PRODUCE, &topic, 1, &records));
        outcomes(&answer)[0].1 == ErrorCode::None
    });
}
