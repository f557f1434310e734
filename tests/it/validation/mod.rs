//! What becomes of produced batches, case by case, as Apache Kafka 4.3.1 answered.
//!
//! `kafka-4.3.1.txt` holds Kafka's answer to every case of [`cases`]: error, message, the errors of
//! single records, and the batch as it was stored. It is written by Kafka itself, with
//! `UPDATE=1 OTTLA_IT_BROKER=HOST:PORT`; where Ottla means to differ stands in [`OTHERWISE`].

pub mod build;
mod cases;
mod settings;

use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, TimestampType};
use ottla_protocol::compression::Compression;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{Topic, create, error, fetch, produce};
use cases::Case;

const KAFKA: &str = include_str!("kafka-4.3.1.txt");
/// Where Kafka's answers stand, from the root of the repository.
const KAFKA_FILE: &str = "tests/it/validation/kafka-4.3.1.txt";
/// Most errors of single records that are shown in full.
const SHOWN_MAX: usize = 3;

/// Cases, for every codec or for the one in front, that Ottla refuses with `INVALID_RECORD` where
/// Kafka stores what some reader stumbles over, or answers `UNKNOWN_SERVER_ERROR`
/// (docs/deviations.md).
const REFUSED_HERE: &[&str] = &[
    "offset twice",
    "offset skipped",
    "offset negative",
    "to gzip, offset skipped",
    "varint of six bytes",
    "varint beyond 32 bits",
    "length too short",
    "length too long",
    "length negative",
    "length of 2 GiB",
    "not compressed",
    "nothing",
    "cut by one",
    "cut by four",
    "cut by eight",
    "junk behind",
    "zeros behind",
    "last byte damaged",
    "gzip: middle damaged",
    "blocks that need each other",
];

#[test]
fn batches_are_judged_as_kafka_judges_them() {
    let node = Node::start();
    let recording = node.is_outside() && std::env::var_os("UPDATE").is_some();
    let answers = ask_all(&mut node.connect(), cases::all());
    if recording {
        let text: String = answers.iter().map(|(_, answer)| format!("{answer}\n")).collect();
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(KAFKA_FILE);
        std::fs::write(file, text).unwrap();
        return;
    }
    compare(&answers, if node.is_outside() { &[] } else { REFUSED_HERE });
}

fn compare(answers: &[(Case, String)], refused_here: &[&str]) {
    let expected: BTreeMap<_, _> =
        KAFKA.lines().filter_map(|line| Some((line.split_once(" | ")?.0, line))).collect();
    let mut wrong = Vec::new();
    for (case, answer) in answers {
        let short = case.name.split_once(": ").map_or("", |(_, name)| name);
        let own = [short, &case.name].iter().any(|name| refused_here.contains(name));
        let own = own.then(|| {
            let refusal = "INVALID_RECORD(87) | append time none, log start 0";
            format!("{} | {refusal}", case.name)
        });
        let expected = own.as_deref().or(expected.get(&*case.name).copied());
        if expected != Some(answer) {
            wrong.push(format!("\n  {answer}\n  {}", expected.unwrap_or("not recorded")));
        }
    }
    assert!(wrong.is_empty(), "{} cases, answer and expectation: {}", wrong.len(), wrong.concat());
}

fn ask_all(client: &mut Client, cases: Vec<Case>) -> Vec<(Case, String)> {
    let mut topics: BTreeMap<Vec<(&str, &str)>, Topic> = BTreeMap::new();
    let mut answers = Vec::new();
    for case in cases {
        let topic = topics
            .entry(case.configs.to_vec())
            .or_insert_with_key(|configs| create(client, &fresh("judged"), 1, configs));
        let answer = produce(client, topic, case.batch.clone());
        let mut line = format!("{} | {}", case.name, describe(&answer, topic));
        if answer.error_code == 0 {
            let stored = fetch(client, topic, answer.base_offset).records.unwrap_or_default();
            line += &describe_stored(&stored);
        }
        answers.push((case, line));
    }
    answers
}

fn describe(answer: &PartitionProduceResponse, topic: &Topic) -> String {
    let shown = |text: &str| mask(&text.replace(&topic.name, "TOPIC"));
    let mut line = format!("{:?}", error(answer.error_code));
    let append_time = if answer.log_append_time_ms == -1 { "none" } else { "set" };
    write!(line, " | append time {append_time}, log start {}", answer.log_start_offset).unwrap();
    if let Some(message) = &answer.error_message {
        write!(line, " | {}", shown(message)).unwrap();
    }
    if !answer.record_errors.is_empty() {
        write!(line, " | {} records:", answer.record_errors.len()).unwrap();
    }
    for record in answer.record_errors.iter().take(SHOWN_MAX) {
        let message = record.batch_index_error_message.as_ref().map(|message| shown(message));
        write!(line, " {}: {message:?}", record.batch_index).unwrap();
    }
    line
}

/// The text without the bounds of times, which move with the clock.
fn mask(text: &str) -> String {
    let mut parts = text.split(" within [");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once(']').map_or(part, |(_, rest)| rest);
        masked += " within [LOW, HIGH]";
        masked += rest;
    }
    masked
}

/// The first batch, without what moves from run to run.
fn describe_stored(stored: &Bytes) -> String {
    let header = BatchHeader::read_checked(stored).unwrap();
    let records = &stored[BATCH_OVERHEAD..header.size()];
    let codec = header.attributes.compression().unwrap_or(Compression::None);
    let Ok(records) = codec.decompress(records, 1 << 30) else {
        return format!(" | stored {codec:?} that cannot be decompressed");
    };
    let by_broker = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let time = |time: i64| if by_broker { "now".to_owned() } else { time.to_string() };
    let mut line = format!(
        " | stored {codec:?}, attributes {:#x}, last {}, times {}..{}, producer {}/{}/{}, count {}",
        header.attributes.0 & !7,
        header.last_offset_delta,
        time(header.base_timestamp.0),
        time(header.max_timestamp.0),
        header.producer_id.0,
        header.producer_epoch.0,
        header.base_sequence,
        header.record_count,
    );
    if records.len() <= 64 {
        let hex: String = records.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(line, ", records {hex}").unwrap();
    } else {
        let crc = ottla_protocol::batch::crc32c(&records);
        write!(line, ", {} bytes of records, crc {crc:08x}", records.len()).unwrap();
    }
    line
}
