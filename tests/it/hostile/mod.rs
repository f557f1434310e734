//! Hostile clients: wrong, huge, slow and many, while others keep working.
//!
//! Each case of the tables says what must come of it: an answer with a code, or a closed
//! connection. The process lives and panics nowhere, its memory stays within a multiple of its
//! limits, and whoever behaves is served as before.

mod bodies;
mod bombs;
mod case;
mod frames;
mod golden;
mod mutated;
mod names;
mod notice;
mod pressure;
mod quorum;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::node::{Node, Setup, WAIT_MAX, fresh};
use crate::requests::{Topic, batch, create, error, fetch, produce, records};
use case::Case;
pub use case::encoded;
use frames::REQUEST_MAX;
use ottla_types::ErrorCode;

/// Slowest answer, of a hundred, to a client that behaves. Others share the machine's processors.
const P99_MAX: Duration = Duration::from_millis(500);
/// Longest request of all APIs but Produce (`docs/apis.md`).
const OTHER_REQUEST_MAX: u64 = 4 << 20;
/// Memory may grow by so many times the longest requests: as many attackers send one at once, and
/// on a busy machine none of them is done when the last one comes.
const MEMORY_FACTOR: u64 = 8;

/// Peak of the process's resident memory, in bytes.
pub fn peak_memory(node: &mut Node) -> u64 {
    let path = format!("/proc/{}/status", node.process().id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Fewest answers of one client from which a percentile is told.
const SAMPLES_MIN: usize = 50;

/// Writes and reads until told to stop; the times that it took.
fn behave(mut client: Client, topic: &Topic, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) || times.len() < SAMPLES_MIN {
        let began = Instant::now();
        let answer = produce(&mut client, topic, batch(&["well-behaved"]));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        let data = fetch(&mut client, topic, answer.base_offset);
        assert_eq!(records(&data).first().unwrap().offset, answer.base_offset);
        times.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    times
}

/// Runs an attack on a node that others use; checks that they did not notice.
fn attack(node: &mut Node, attack: impl FnOnce(&Node)) {
    let before = if node.is_outside() { 0 } else { peak_memory(node) };
    let topic = create(&mut node.connect(), &fresh("behaves"), 1, &[]);
    let stop = AtomicBool::new(false);
    let mut times = scope(|threads| {
        let others: Vec<_> = (0..3)
            .map(|_| {
                let (client, topic, stop) = (node.connect(), &topic, &stop);
                threads.spawn(move || behave(client, topic, stop))
            })
            .collect();
        // What was attacked in vain must not leave the others running.
        let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(node)));
        stop.store(true, Ordering::Relaxed);
        let times: Vec<Duration> =
            others.into_iter().flat_map(|other| other.join().unwrap()).collect();
        attacked.unwrap_or_else(|reason| std::panic::resume_unwind(reason));
        times
    });
    if node.is_outside() {
        return;
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 <= P99_MAX, "others waited {p99:?}");
    let grown = peak_memory(node) - before;
    let allowed = MEMORY_FACTOR * (u64::from(REQUEST_MAX.unsigned_abs()) + OTHER_REQUEST_MAX);
    assert!(grown <= allowed, "memory grew by {} MiB", grown >> 20);
    println!("p99 {p99:?} of {}, memory +{} KiB", times.len(), grown >> 10);
    assert!(!node.process().has_ended());
    assert_eq!(node.setup.stderr(), "");
}

fn target() -> Node {
    if std::env::var_os("OTTLA_IT_BROKER").is_some() {
        return Node::start();
    }
    Setup::new().with("socket.request.max.bytes", REQUEST_MAX).start()
}

/// Longest wait for what comes of a case; Kafka leaves some without an answer.
fn patience(node: &Node) -> Duration {
    if node.is_outside() { Duration::from_secs(1) } else { WAIT_MAX }
}

/// What Apache Kafka 4.3.1 does with each case. Written by a run against it, with
/// `OTTLA_IT_BROKER` and `UPDATE=1`.
const OF_KAFKA: &str = include_str!("kafka-4.3.1.txt");
const OF_KAFKA_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile/kafka-4.3.1.txt");

/// All named cases.
fn cases(topic: &Topic) -> Vec<Case> {
    let mut cases = frames::cases();
    cases.extend(bodies::cases(topic));
    cases.extend(names::cases());
    cases
}

fn play(node: &Node, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let (expected, observed) = (case.expected(), case.observe(node, patience(node)));
        if expected != observed {
            wrong.push(format!("{}: {observed}, expected {expected}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn hostile_requests_are_answered_or_end_their_connection() {
    let mut node = target();
    let topic = create(&mut node.connect(), &fresh("victim"), 1, &[]);
    produce(&mut node.connect(), &topic, batch(&["seen"]));
    let cases = cases(&topic);
    assert!(cases.len() >= 250, "{} cases", cases.len());
    if node.is_outside() {
        let line =
            |case: &Case| format!("{} | {}\n", case.name, case.observe(&node, patience(&node)));
        let seen: String = cases.iter().map(line).collect();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(OF_KAFKA_PATH, &seen).unwrap();
        }
        assert_eq!(seen, OF_KAFKA);
        return;
    }
    attack(&mut node, |node| play(node, &cases));
}

/// Each case is one that was tried on Kafka, and says rightly whether Kafka does the same.
#[test]
fn kafka_was_asked_about_every_case() {
    let topic = Topic { name: "victim".to_owned(), id: uuid::Uuid::from_u128(7) };
    let of_kafka: Vec<(&str, &str)> =
        OF_KAFKA.lines().map(|line| line.rsplit_once(" | ").unwrap()).collect();
    let cases = cases(&topic);
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, of_kafka.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (case, (name, of_kafka)) in cases.iter().zip(of_kafka) {
        let differs = case.expected() != of_kafka;
        assert_eq!(differs, case.unlike_kafka, "{name}: Kafka {of_kafka}");
    }
}

#[test]
fn every_bit_of_a_batch_is_guarded() {
    let mut node = target();
    let topic = create(&mut node.connect(), &fresh("bits"), 1, &[]);
    let good = batch(&["guarded"]);
    attack(&mut node, |node| {
        let mut client = node.connect();
        // The offset and the leader's epoch in front of the checksum are the broker's to write.
        for bit in (8 * 8..good.len() * 8).filter(|bit| !(12 * 8..16 * 8).contains(bit)) {
            let mut records = good.to_vec();
            records[bit / 8] ^= 0x80 >> (bit % 8);
            let answer = produce(&mut client, &topic, records.into());
            let code = error(answer.error_code);
            // Transactions are looked for before the checksum.
            let guarded = matches!(
                code,
                ErrorCode::CorruptMessage
                    | ErrorCode::InvalidRecord
                    | ErrorCode::TransactionalIdAuthorizationFailed
            );
            // Kafka's sum of lengths overflows.
            let is_kafka = node.is_outside() && code == ErrorCode::UnknownServerError;
            assert!(guarded || is_kafka, "bit {bit}: {code:?}");
        }
    });
}
