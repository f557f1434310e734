//! What Produce refuses, with Kafka's codes.

use bytes::Bytes;
use ottla_protocol::batch::{ATTRIBUTES_AT as ATTRIBUTES, CRC_AT as CRC, crc32c};
use ottla_test_client::records_of;
use ottla_types::ErrorCode;
use uuid::Uuid;

use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{
    PRODUCE, Topic, batch, create, error, fetch, produce, produce_request, produce_to, sequenced,
};

/// Where fields of a batch lie.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const LAST_OFFSET_DELTA: usize = 23;
const COUNT: usize = 57;

/// A batch of two records with bytes changed and its checksum made right again.
fn changed(at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch(&["one", "two"]).to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    with_checksum(batch)
}

fn with_checksum(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

fn flipped(bit: usize) -> Bytes {
    let mut batch = batch(&["one", "two"]).to_vec();
    batch[bit / 8] ^= 1 << (bit % 8);
    batch.into()
}

/// What Kafka 4.3.1 answers to these batches.
fn bad_batches() -> Vec<(&'static str, Bytes, ErrorCode)> {
    use ErrorCode::{CorruptMessage, InvalidRecord};
    let good = batch(&["one", "two"]);
    vec![
        ("nothing", Bytes::new(), InvalidRecord),
        ("checksum", flipped(CRC * 8), CorruptMessage),
        ("a bit of a record", flipped(good.len() * 8 - 1), CorruptMessage),
        ("cut", good.slice(..good.len() - 1), InvalidRecord),
        ("only a length", good.slice(..12), InvalidRecord),
        ("length of 40", changed(LENGTH, &40i32.to_be_bytes()), CorruptMessage),
        ("length of 13", changed(LENGTH, &13i32.to_be_bytes()), CorruptMessage),
        ("length of -1", changed(LENGTH, &(-1i32).to_be_bytes()), CorruptMessage),
        ("length of 1 GiB", changed(LENGTH, &(1i32 << 30).to_be_bytes()), InvalidRecord),
        ("magic 3", changed(MAGIC, &[3]), CorruptMessage),
        ("magic -1", changed(MAGIC, &[0xff]), CorruptMessage),
        ("magic 0", changed(MAGIC, &[0]), InvalidRecord),
        ("magic 1", changed(MAGIC, &[1]), InvalidRecord),
        ("control", changed(ATTRIBUTES + 1, &[32]), InvalidRecord),
        ("last delta", changed(LAST_OFFSET_DELTA, &5i32.to_be_bytes()), InvalidRecord),
        ("no record", changed(COUNT, &0i32.to_be_bytes()), InvalidRecord),
        ("-1 records", changed(COUNT, &(-1i32).to_be_bytes()), InvalidRecord),
        ("two batches", [good.clone(), good].concat().into(), InvalidRecord),
        ("no sequence", sequenced(Some((7, 0, -1)), &["one"]), InvalidRecord),
    ]
}

#[test]
fn bad_batches_are_refused_and_nothing_is_written() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("bad"), 1, &[]);
    let mut wrong = Vec::new();
    for (name, records, expected) in bad_batches() {
        let answer = produce(&mut client, &topic, records);
        let answered = error(answer.error_code);
        if answered != expected || answer.base_offset != -1 {
            wrong.push(format!("{name}: {answered:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let answer = produce(&mut client, &topic, batch(&["good"]));
    assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 0));
}

#[test]
fn batches_above_the_limit_are_too_large() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("limit"), 1, &[("max.message.bytes", "1000")]);
    let value = "x".repeat(900);
    let fits = batch(&[&value]);
    assert!(fits.len() < 1000);
    assert_eq!(error(produce(&mut client, &topic, fits).error_code), ErrorCode::None);
    let value = "x".repeat(1000);
    let refused = produce(&mut client, &topic, batch(&[&value]));
    assert_eq!(error(refused.error_code), ErrorCode::MessageTooLarge);
}

fn code(client: &mut Client, topic: &Topic, version: i16, acks: i16, partition: i32) -> ErrorCode {
    let records = [(partition, Some(batch(&["v"])))];
    let answer = client.call(version, &produce_request(version, topic, acks, &records));
    error(answer.responses[0].partition_responses[0].error_code)
}

#[test]
fn acks_and_topics_are_checked() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("checked"), 1, &[]);
    let missing = Topic { name: fresh("missing"), id: Uuid::from_u128(77) };
    for acks in [2, -2, i16::MAX, i16::MIN] {
        let answered = code(&mut client, &topic, PRODUCE, acks, 0);
        assert_eq!(answered, ErrorCode::InvalidRequiredAcks, "acks {acks}");
    }
    assert_eq!(code(&mut client, &missing, PRODUCE, -1, 0), ErrorCode::UnknownTopicId);
    let zero = Topic { id: Uuid::nil(), ..topic.clone() };
    assert_eq!(code(&mut client, &zero, PRODUCE, -1, 0), ErrorCode::UnknownTopicId);
    assert_eq!(code(&mut client, &missing, 12, -1, 0), ErrorCode::UnknownTopicOrPartition);
    for partition in [1, -1, i32::MAX] {
        for version in [12, PRODUCE] {
            let answered = code(&mut client, &topic, version, -1, partition);
            assert_eq!(answered, ErrorCode::UnknownTopicOrPartition, "{partition} v{version}");
        }
    }
    assert_eq!(code(&mut client, &topic, PRODUCE, 1, 0), ErrorCode::None);
}

#[test]
fn zstd_needs_version_7() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("zstd"), 1, &[]);
    let refused = produce_to(&mut client, 6, &topic, 0, changed(ATTRIBUTES + 1, &[4]));
    assert_eq!(error(refused.error_code), ErrorCode::UnsupportedCompressionType);
}

/// Kafka takes such a batch for a topic of the producer's time, and makes it say so.
#[test]
fn only_the_broker_says_that_a_time_is_its_own() {
    let node = Node::start();
    let mut client = node.connect();
    let claims = || changed(ATTRIBUTES + 1, &[8]);
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let stamped = create(&mut client, &fresh("stamped"), 1, &configs);
    let refused = produce(&mut client, &stamped, claims());
    assert_eq!(error(refused.error_code), ErrorCode::InvalidTimestamp);
    let own = create(&mut client, &fresh("own"), 1, &[]);
    assert_eq!(error(produce(&mut client, &own, claims()).error_code), ErrorCode::None);
    let records = fetch(&mut client, &own, 0).records.unwrap();
    assert_eq!(records[ATTRIBUTES + 1], 0, "the time is the producer's");
    assert_eq!(records_of(&records).unwrap().len(), 2, "the checksum is good");
}

/// Kafka answers `UNKNOWN_SERVER_ERROR`, which sends clients into retries.
#[test]
fn batches_that_kafka_stumbles_over_are_refused_for_good() {
    let node = Node::start();
    if node.is_outside() {
        return;
    }
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("stumble"), 1, &[]);
    for (records, expected) in [
        (changed(ATTRIBUTES + 1, &[5]), ErrorCode::InvalidRecord),
        (changed(ATTRIBUTES + 1, &[7]), ErrorCode::InvalidRecord),
        (changed(LENGTH, &i32::MAX.to_be_bytes()), ErrorCode::InvalidRecord),
    ] {
        assert_eq!(error(produce(&mut client, &topic, records).error_code), expected);
    }
}
