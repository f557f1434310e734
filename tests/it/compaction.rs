//! Compaction in a running node: of each key the last value stays, and a kill or a stop changes
//! nothing about it; and how it is changed while it runs.

use std::fs;

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use crate::apis::{alter_request, describe_request};
use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{Topic, create, error, now, produce, read_all};

/// Longer than a quarter of the shortest segment that a topic may have.
const VALUE_LEN: usize = 300_000;
/// The key of what is there to fill segments.
const FILLER: u8 = b'.';

/// A batch of one record, whose value begins with the key; without one it is a tombstone.
fn keyed(key: u8, value: Option<u8>) -> Bytes {
    let mut batch = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), now());
    let value = value.map(|byte| [&[key], [byte; VALUE_LEN].as_slice()].concat());
    batch.push(Some(&[key]), value.as_deref());
    Bytes::from(batch.build())
}

fn write(client: &mut Client, topic: &Topic, key: u8, value: Option<u8>) {
    let answer = produce(client, topic, keyed(key, value));
    assert_eq!(error(answer.error_code), ErrorCode::None);
}

/// Offset, key, and value of each record; of a tombstone the offset alone.
fn found(client: &mut Client, topic: &Topic) -> Vec<(i64, u8, u8)> {
    let records = read_all(client, topic, 0);
    let byte = |value: &[u8], at: usize| value.get(at).copied().unwrap_or(0);
    records.iter().map(|r| (r.offset, byte(&r.value, 0), byte(&r.value, 1))).collect()
}

#[test]
fn the_last_value_of_each_key_stays_through_a_stop_and_a_kill() {
    let setup =
        Setup::new().with("log.cleaner.backoff.ms", 50).with("log.segment.delete.delay.ms", 0);
    let mut node = setup.start();
    let mut client = node.connect();
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
    ];
    let topic = create(&mut client, &fresh("compacted"), 1, &configs);
    for round in 0..4 {
        for key in *b"abc" {
            write(&mut client, &topic, key, Some(round));
        }
    }
    write(&mut client, &topic, b'b', None);
    // What is written to stays as it is: these fill it.
    for round in 0..4 {
        write(&mut client, &topic, FILLER, Some(100 + round));
    }
    let left = |client: &mut Client| {
        let mut all = found(client, &topic);
        all.retain(|(_, key, _)| *key != FILLER);
        all
    };
    let expected = [(9, b'a', 3), (11, b'c', 3)];
    // The tombstone's time counts from its first compaction on.
    wait_until("only the last values are there", || {
        write(&mut client, &topic, FILLER, Some(1));
        left(&mut client) == expected
    });
    let dir = node.setup().data().join(format!("{}-0", topic.name));
    let has = |suffix: &str| {
        let mut names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
        names.any(|name| name.to_str().unwrap().ends_with(suffix))
    };
    wait_until("what was replaced is removed", || !has(".deleted"));
    let checkpoint = node.setup().data().join("cleaner-offset-checkpoint");
    let text = fs::read_to_string(checkpoint).unwrap();
    assert!(text.starts_with(&format!("0\n1\n{} 0 ", topic.name)), "{text}");
    for stop_cleanly in [true, false] {
        if stop_cleanly {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        client = node.connect();
        assert_eq!(left(&mut client), expected);
        write(&mut client, &topic, FILLER, Some(2));
    }
}

const BROKER: i8 = 4;
const RATE: &str = "log.cleaner.io.max.bytes.per.second";
const THREADS: &str = "log.cleaner.threads";
const MAPS: &str = "log.cleaner.dedupe.buffer.size";

/// Sets a config of a broker, or of all; what is told if that is refused.
fn set(client: &mut Client, name: &str, key: &str, value: &str) -> Option<String> {
    let answer = client.call(1, &alter_request(BROKER, name, key, value));
    let answer = &answer.responses[0];
    match error(answer.error_code) {
        ErrorCode::None => None,
        code => {
            assert_eq!(code, ErrorCode::InvalidRequest);
            Some(answer.error_message.as_ref().unwrap().to_string())
        }
    }
}

#[test]
fn compaction_is_configured_while_it_runs() {
    let setup =
        Setup::new().with("log.cleaner.backoff.ms", 50).with("log.segment.delete.delay.ms", 0);
    let mut node = setup.start();
    let mut client = node.connect();
    assert_eq!(set(&mut client, "", RATE, "1"), None);
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = create(&mut client, &fresh("paced"), 1, &configs);
    for round in 0..12 {
        write(&mut client, &topic, b'a', Some(round));
    }
    // It would take weeks.
    assert_eq!(found(&mut client, &topic).len(), 12);
    assert_eq!(set(&mut client, "1", RATE, "1000000000"), None);
    wait_until("it is compacted", || found(&mut client, &topic).len() < 12);

    // The number of threads changes step by step, and each has some memory left, as with Kafka.
    let refused = set(&mut client, "", THREADS, "3").expect("refused");
    assert!(refused.contains("to more than double the current value 1"), "{refused}");
    let refused = set(&mut client, "", MAPS, "1000").expect("refused");
    assert!(refused.contains("at least 1MB per cleaner thread"), "{refused}");
    for threads in ["2", "4"] {
        assert_eq!(set(&mut client, "", THREADS, threads), None);
    }
    node.stop();
    node.start_again();
    client = node.connect();
    let configs = client.call(4, &describe_request(BROKER, "1")).results.remove(0).configs;
    let threads = configs.into_iter().find(|config| &*config.name == THREADS).unwrap();
    assert_eq!((threads.value.as_deref(), threads.read_only), (Some("4"), false));
    let refused = set(&mut client, "", THREADS, "1").expect("refused");
    assert!(refused.contains("to less than half the current value 4"), "{refused}");
}
