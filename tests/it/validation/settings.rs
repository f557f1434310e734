//! What the node's and the topics' configs change: how much is looked at, how large records may
//! become, how far their times may lie, and with what they are compressed.

use ottla_protocol::batch::BatchHeader;
use ottla_protocol::compression::{Codec, Compression};
use ottla_types::ErrorCode;

use super::build::{batch_of, record};
use crate::client::Client;
use crate::node::{Node, Setup, fresh};
use crate::requests::{
    CREATE_TOPICS, Topic, batch, creatable, create, create_request, error, fetch, produce,
};

/// A batch whose second record is cut short by its length.
fn damaged(codec: Codec) -> bytes::Bytes {
    let mut second = record(1);
    second.length_error = -1;
    batch_of(&[record(0), second]).compressed(codec).bytes()
}

fn code(client: &mut Client, topic: &Topic, records: bytes::Bytes) -> ErrorCode {
    error(produce(client, topic, records).error_code)
}

#[test]
fn relaxed_believes_what_stays_as_it_is() {
    let strict = Node::start();
    let relaxed = Setup::new().with("ottla.produce.validation", "relaxed").start();
    // What it believes is not what Kafka's tools can decode.
    relaxed.setup.is_damaged();
    for (node, expected) in [(&strict, ErrorCode::InvalidRecord), (&relaxed, ErrorCode::None)] {
        if node.is_outside() {
            return;
        }
        let mut client = node.connect();
        let topic = create(&mut client, &fresh("believed"), 1, &[]);
        assert_eq!(code(&mut client, &topic, damaged(Codec::Zstd(3))), expected);
        assert_eq!(code(&mut client, &topic, damaged(Codec::None)), expected);
        let other = create(&mut client, &fresh("other"), 1, &[("compression.type", "lz4")]);
        let answered = code(&mut client, &other, damaged(Codec::Zstd(3)));
        assert_eq!(answered, ErrorCode::InvalidRecord, "it must be read to be written anew");
        let compacted =
            create(&mut client, &fresh("compacted"), 1, &[("cleanup.policy", "compact")]);
        let answered = code(&mut client, &compacted, damaged(Codec::None));
        assert_eq!(answered, ErrorCode::InvalidRecord, "its keys must be read");
    }
}

#[test]
fn what_records_become_is_limited() {
    let node = Setup::new().with("ottla.produce.decompressed.max.bytes", 1 << 20).start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("bombs"), 1, &[]);
    for codec in [Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)] {
        let sized = |len: usize| {
            let mut large = record(0);
            large.value = (len as i32, vec![0; len]);
            batch_of(&[large]).compressed(codec).bytes()
        };
        let refused = produce(&mut client, &topic, sized(1 << 20));
        assert_eq!(error(refused.error_code), ErrorCode::MessageTooLarge, "{codec:?}");
        assert!(refused.error_message.is_some_and(|it| it.contains("decompressed.max.bytes")));
        let taken = code(&mut client, &topic, sized((1 << 20) - 100));
        assert_eq!(taken, ErrorCode::None, "{codec:?}");
    }
}

#[test]
fn what_the_records_of_a_request_become_is_limited_together() {
    let node = Setup::new().with("ottla.produce.decompressed.max.bytes", 1 << 20).start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("cluster-bombs"), 3, &[]);
    let mut large = record(0);
    large.value = (700_000, vec![0; 700_000]);
    let bomb = batch_of(&[large]).compressed(Codec::Zstd(3)).bytes();
    let records = [(0, Some(bomb.clone())), (1, Some(bomb.clone())), (2, Some(bomb))];
    let answer = client.call(13, &crate::requests::produce_request(13, &topic, 1, &records));
    let answers = &answer.responses[0].partition_responses;
    let codes: Vec<_> = answers.iter().map(|answer| error(answer.error_code)).collect();
    use ErrorCode::{MessageTooLarge, None};
    assert_eq!(codes, [None, MessageTooLarge, MessageTooLarge]);
}

#[test]
fn the_nodes_configs_are_the_topics_defaults() {
    let node = Setup::new()
        .with("compression.type", "gzip")
        .with("log.message.timestamp.before.max.ms", 60_000)
        .start();
    let mut client = node.connect();
    let old = create(&mut client, &fresh("old"), 1, &[]);
    assert_eq!(code(&mut client, &old, batch(&["2023"])), ErrorCode::InvalidTimestamp);
    let any_time = ("message.timestamp.before.max.ms", "9223372036854775807");
    for (configs, expected) in [
        (&[any_time][..], Compression::Gzip),
        (&[any_time, ("compression.type", "snappy")], Compression::Snappy),
        (&[any_time, ("compression.type", "producer")], Compression::None),
    ] {
        let topic = create(&mut client, &fresh("own"), 1, configs);
        assert_eq!(code(&mut client, &topic, batch(&["2023"])), ErrorCode::None);
        let stored = fetch(&mut client, &topic, 0).records.unwrap();
        let header = BatchHeader::read_checked(&stored).unwrap();
        assert_eq!(header.attributes.compression(), Some(expected), "{configs:?}");
    }
}

/// All but lz4's levels are refused by Kafka as well.
#[test]
fn wrong_configs_are_refused() {
    let node = Node::start();
    let mut client = node.connect();
    for (name, value) in [
        ("compression.type", "brotli"),
        ("compression.type", "GZIP"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("compression.lz4.level", "18"),
        ("compression.zstd.level", "23"),
        ("message.timestamp.after.max.ms", "-1"),
        ("message.timestamp.before.max.ms", "never"),
    ] {
        let request = create_request(vec![creatable(&fresh("wrong"), 1, &[(name, value)])]);
        let answer = client.call(CREATE_TOPICS, &request);
        let answered = error(answer.topics[0].error_code);
        assert_eq!(answered, ErrorCode::InvalidConfig, "{name}={value}");
    }
}
