//! `kill -9` at random moments under load: everything acknowledged is there once, in order.
//!
//! Idempotent producers keep five batches in flight, and send again after a restart whatever was
//! not acknowledged, with the same sequence numbers: what had been written is answered with its
//! offset and not written again. Meanwhile segments roll, those of one topic are deleted by size,
//! and topics come and go. `OTTLA_CRASH_ROUNDS` says how many times the node is killed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, ProduceRequest};
use ottla_test_client::record_batch;
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, fresh};
use crate::requests::{
    CREATE_TOPICS, DELETE_TOPICS, FETCH, PRODUCE, Topic, creatable, create, create_request,
    delete_request, error, fetch_request, init_producer, list_offset, metadata_of, now,
    produce_request, records,
};

/// Partitions of each topic, each with a producer.
const PRODUCERS: i32 = 2;
/// What is left of a partition of the topic whose segments are deleted, in bytes.
const RETAINED: i64 = 2_500_000;
/// No record takes more of the log, its batch's header included.
const RECORD_BYTES_MAX: i64 = 130;
const IN_FLIGHT: usize = 5;
/// Earliest offset, as ListOffsets asks for it.
const EARLIEST: i64 = -2;
/// Records of the batches, over and over.
const COUNTS: [i64; 4] = [1, 3, 2, 6];
/// Topics of the churn that are there at the same time.
const TOPICS_MAX: usize = 3;

/// The only writer of a partition, so that every offset is known beforehand.
struct Producer {
    topic: Topic,
    partition: i32,
    id: i64,
    /// Batches that were acknowledged.
    acked: i64,
    /// Records that were read after a crash and found in order, or deleted.
    verified: i64,
    /// Whether old segments of the topic are deleted.
    shrinks: bool,
    /// The newest start of the log that was seen.
    start: i64,
}

/// First record of the batch with this number.
fn first_record(batch: i64) -> i64 {
    let cycle: i64 = COUNTS.iter().sum();
    let (cycles, rest) = (batch / 4, (batch % 4) as usize);
    cycles * cycle + COUNTS[..rest].iter().sum::<i64>()
}

impl Producer {
    fn batch(&self, number: i64) -> Bytes {
        let first = first_record(number);
        let values = (first..first_record(number + 1)).map(|record| self.value(record));
        let values: Vec<Vec<u8>> = values.collect();
        record_batch(now(), Some((self.id, 0, first as i32)), &values)
    }

    fn value(&self, record: i64) -> Vec<u8> {
        format!("partition {} record {record:020}", self.partition).into_bytes()
    }

    /// Produces until the node dies.
    fn run(&mut self, client: &mut Client) -> io::Result<()> {
        let mut next = self.acked;
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < IN_FLIGHT {
                let acks = if next % 5 == 0 { 1 } else { -1 };
                let records = [(self.partition, Some(self.batch(next)))];
                let request = produce_request(PRODUCE, &self.topic, acks, &records);
                waiting.push_back((client.try_send(PRODUCE, &request)?, next));
                next += 1;
            }
            let (correlation, number) = waiting.pop_front().expect("just filled");
            let (answered, answer) = client.try_receive::<ProduceRequest>(PRODUCE)?;
            assert_eq!(answered, correlation);
            let answer = &answer.responses[0].partition_responses[0];
            let outcome = (error(answer.error_code), answer.base_offset);
            assert_eq!(outcome, (ErrorCode::None, first_record(number)), "batch {number}");
            self.acked = number + 1;
        }
    }

    /// The start never goes back, and leaves what is to be kept.
    fn see_start(&mut self, start: i64) {
        assert!(start >= self.start, "the log began at {} and begins at {start}", self.start);
        let left = (first_record(self.acked + IN_FLIGHT as i64) - start) * RECORD_BYTES_MAX;
        assert!(start == 0 || self.shrinks && left >= RETAINED, "{left} bytes or fewer are left");
        self.start = start;
    }

    /// Reads what came since the last time.
    fn verify(&mut self, client: &mut Client) {
        loop {
            let asked = [(self.partition, self.verified)];
            let answer = client.call(FETCH, &fetch_request(FETCH, &self.topic, &asked));
            let data = &answer.responses[0].partitions[0];
            if error(data.error_code) == ErrorCode::OffsetOutOfRange {
                let start = list_offset(client, &self.topic, self.partition, EARLIEST).offset;
                self.see_start(start);
                assert!(self.verified < start, "{} is in range", self.verified);
                self.verified = start;
                continue;
            }
            assert_eq!(error(data.error_code), ErrorCode::None);
            self.see_start(data.log_start_offset);
            let before = self.verified;
            for record in records(data).iter().filter(|record| record.offset >= before) {
                assert_eq!(record.offset, self.verified, "nothing is missing");
                assert_eq!(record.value, self.value(record.offset), "in order and once");
                self.verified += 1;
            }
            if self.verified == before {
                let acked = first_record(self.acked);
                assert!(self.verified >= acked, "{} of {acked} records", self.verified);
                return;
            }
        }
    }
}

/// Topics that come and go.
#[derive(Default)]
struct Churn {
    there: BTreeMap<String, Topic>,
    gone: Vec<String>,
    /// What was asked for when the node died: it may be done or not.
    unknown: Vec<String>,
}

impl Churn {
    /// Creates and deletes until the node dies.
    fn run(&mut self, client: &mut Client) -> io::Result<()> {
        loop {
            if self.there.len() < TOPICS_MAX {
                let name = fresh("churn");
                self.unknown.push(name.clone());
                let request = create_request(vec![creatable(&name, 2, &[])]);
                let answer = client.try_call::<CreateTopicsRequest>(CREATE_TOPICS, &request)?;
                assert_eq!(error(answer.topics[0].error_code), ErrorCode::None);
                let topic = Topic { name: name.clone(), id: answer.topics[0].topic_id };
                self.there.insert(name, topic);
            } else {
                let (name, topic) = self.there.pop_first().unwrap();
                self.unknown.push(name.clone());
                let request = delete_request(&topic, DELETE_TOPICS);
                let answer = client.try_call::<DeleteTopicsRequest>(DELETE_TOPICS, &request)?;
                assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
                self.gone.push(name);
            }
            self.unknown.pop();
            sleep(Duration::from_millis(5));
        }
    }

    fn verify(&mut self, client: &mut Client) {
        for (name, topic) in &self.there {
            let answer = &metadata_of(client, name).topics[0];
            assert_eq!((error(answer.error_code), answer.topic_id), (ErrorCode::None, topic.id));
        }
        for name in self.gone.drain(..) {
            let code = metadata_of(client, &name).topics[0].error_code;
            assert_eq!(error(code), ErrorCode::UnknownTopicOrPartition, "{name} is back");
        }
        self.unknown.clear();
    }
}

/// A round: load, death at a random moment, restart, and a look at everything.
fn round(node: &mut Node, producers: &mut [Producer], churn: &mut Churn, until_death: Duration) {
    let address = node.address();
    scope(|threads| {
        for producer in &mut *producers {
            threads.spawn(move || producer.run(&mut Client::connect(address)));
        }
        threads.spawn(|| churn.run(&mut Client::connect(address)));
        sleep(until_death);
        node.process().kill();
    });
    node.start_again();
    let mut client = node.connect();
    producers.iter_mut().for_each(|producer| producer.verify(&mut client));
    churn.verify(&mut client);
}

#[test]
fn everything_acknowledged_survives_kill_9_once_and_in_order() {
    let rounds = std::env::var("OTTLA_CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let setup = Setup::new()
        .with("log.retention.check.interval.ms", 20)
        .with("log.segment.delete.delay.ms", 10);
    let mut node = setup.start();
    let mut client = node.connect();
    let mut producers = Vec::new();
    for (name, retention) in [("kept", -1), ("shrinking", RETAINED)] {
        let retention = retention.to_string();
        let configs = [("segment.bytes", "1048576"), ("retention.bytes", retention.as_str())];
        let topic = create(&mut client, &fresh(name), PRODUCERS, &configs);
        producers.extend((0..PRODUCERS).map(|partition| {
            let (topic, id) = (topic.clone(), init_producer(&mut client).0);
            let shrinks = name == "shrinking";
            Producer { topic, partition, id, acked: 0, verified: 0, shrinks, start: 0 }
        }));
    }
    let mut churn = Churn::default();
    let began = Instant::now();
    let mut random = u64::from(std::process::id()) * 0x9E37_79B9 + 1;
    for number in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until_death = Duration::from_millis(30 + (random >> 33) % 400);
        round(&mut node, &mut producers, &mut churn, until_death);
        let held: Vec<_> = producers.iter().map(|one| one.start..first_record(one.acked)).collect();
        println!("round {number} after {:?}: {held:?} acknowledged", began.elapsed());
    }
    let mut client = node.connect();
    for producer in &mut producers {
        assert!(producer.acked > 0, "there was load");
        producer.verified = 0;
        producer.verify(&mut client);
    }
    let bytes = |one: &Producer| first_record(one.acked) * RECORD_BYTES_MAX;
    let long = producers.iter().filter(|one| one.shrinks && bytes(one) > 4 * RETAINED);
    assert!(long.clone().all(|one| one.start > 0), "old segments were deleted");
    assert_eq!(node.setup.stderr(), "");
}
