//! Valid requests with one thing wrong: every call that the tests of the APIs make, cut at every
//! byte, and damaged in lengths, counts, tags, nulls and ids; and what Kafka was asked, damaged.
//!
//! What may come of it: an answer that decodes, in the version that was asked for, or a closed
//! connection. What is behind the request is a good one, and then the client sends no more, so that
//! nobody waits. Seed and number decide everything; a failure prints them and the frame.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use kafka_protocol::messages::ApiVersionsRequest;
use ottla_types::ErrorCode;

use super::case::framed;
use super::{attack, golden};
use crate::apis::{Seeds, seeds};
use crate::client::{Client, Decode};
use crate::node::{Node, fresh, wait_until};
use crate::requests::{CREATE_TOPICS, creatable, create_request, error};

/// Decides what is damaged where: `OTTLA_IT_SEED`.
const SEED: u64 = 1;
/// Damaged requests, beside those that are cut.
const DAMAGED: usize = 3_000;
/// Damaged requests of those that Apache Kafka was asked.
const GOLDEN: usize = 2_500;
/// Connections at one time.
const THREADS: usize = 4;
/// Correlation id of the good request behind the bad one.
const BEHIND: i32 = 0x0BE1_A11D;
/// How long a fetch may wait for records, after which its answer is not waited for.
const FETCH_WAIT: Duration = Duration::from_millis(150);
const FETCH: i16 = 1;
/// APIs whose answers may wait for others.
const WAITING: &[i16] = &[FETCH, 11, 14, 78];
const API_VERSIONS: i16 = 18;

/// Numbers that are wrong as a length, a count, an id or an epoch.
const NUMBERS: &[i64] = &[0, 1, -1, -2, 2, 0x7f, 0x80, 0x7fff, 0x7fff_ffff, -0x8000_0000, i64::MAX];
/// Varints: null, empty, long, the longest, one beyond, and one without an end.
const VARINTS: &[&[u8]] = &[
    &[0],
    &[1],
    &[0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x1f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
];
/// Sections of tags: one unknown, the same twice, more than are there, one longer than the rest.
const TAGS: &[&[u8]] =
    &[&[1, 99, 1, 7], &[2, 9, 0, 9, 0], &[2, 9, 0, 5, 0], &[5, 1, 0], &[1, 3, 0x7f]];

/// Numbers from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, max: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % max.max(1) as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Damages a request (without its length) in one place, or in two.
pub fn damage(request: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=usize::from(dice.below(4) == 0) {
        // What makes it a request of its kind is damaged less often than the rest.
        let from = if dice.below(8) == 0 { 0 } else { 8.min(request.len()) };
        let at = from + dice.below(request.len() - from + 1);
        let end = |width: usize| (at + width).min(request.len());
        match dice.below(8) {
            0 => {
                let (wrong, width) = (dice.of(NUMBERS).to_be_bytes(), dice.of(&[1, 2, 4, 8]));
                request.splice(at..end(width), wrong[8 - width..].iter().copied());
            }
            1 => drop(request.splice(at..end(1), dice.of(VARINTS).iter().copied())),
            2 => drop(request.splice(at..at, dice.of(VARINTS).iter().copied())),
            3 => drop(request.splice(at..end(1), dice.of(TAGS).iter().copied())),
            4 => request.truncate(at),
            5 => drop(request.drain(at..end(dice.of(&[1, 2, 4, 16])))),
            6 => {
                let again = request[at..end(dice.of(&[1, 4, 20, 60]))].to_vec();
                request.splice(at..at, again);
            }
            _ => {
                if let Some(byte) = request.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
}

/// A bad request and who is asked.
pub struct Bad {
    pub bytes: Vec<u8>,
    pub to_controller: bool,
}

/// All that is sent: requests cut at every byte, and damaged ones.
pub fn bad_requests(seeds: &Seeds, seed: u64, damaged: usize) -> Vec<Bad> {
    let all: Vec<(&[u8], bool)> = seeds.all().collect();
    let mut bad = Vec::new();
    // Of each kind the shortest in its newest version.
    let mut newest: BTreeMap<(i16, bool), (i16, &[u8])> = BTreeMap::new();
    for (frame, to_controller) in &all {
        let (key, version) = kind(frame);
        let kept = newest.entry((key, *to_controller)).or_insert((version, frame));
        if version > kept.0 || (version == kept.0 && frame.len() < kept.1.len()) {
            *kept = (version, frame);
        }
    }
    for ((_, to_controller), (_, frame)) in newest {
        let cuts = (4..frame.len()).map(|len| framed(&frame[4..len]));
        bad.extend(cuts.map(|bytes| Bad { bytes, to_controller }));
    }
    let mut dice = Dice(seed);
    for _ in 0..damaged {
        let (frame, to_controller) = dice.of(&all);
        let mut request = frame[4..].to_vec();
        damage(&mut request, &mut dice);
        bad.push(Bad { bytes: framed(&request), to_controller });
    }
    bad
}

/// Key and version of a frame; zeros where it is too short.
fn kind(frame: &[u8]) -> (i16, i16) {
    let number =
        |at: usize| frame.get(at..at + 2).map_or(0, |it| i16::from_be_bytes([it[0], it[1]]));
    (number(4), number(6))
}

fn correlation(frame: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().unwrap()))
}

#[derive(Default)]
pub struct Tally {
    answered: AtomicUsize,
    closed: AtomicUsize,
    silent: AtomicUsize,
    waiting: AtomicUsize,
}

/// Sends a bad request and a good one behind it; what was wrong with the answers.
pub fn provoke(
    address: SocketAddr,
    bytes: &[u8],
    decoders: &BTreeMap<i16, Decode>,
    tally: &Tally,
) -> Result<(), String> {
    let (key, version) = kind(bytes);
    let mut client = Client::connect(address);
    let may_wait = WAITING.contains(&key);
    if may_wait {
        client.read_timeout(FETCH_WAIT);
    }
    let behind = ottla_test_client::encode_request(
        0,
        BEHIND,
        &client.client_id,
        &ApiVersionsRequest::default(),
    );
    // The other end may close before it has read everything.
    let _ = client.send_raw(&[bytes, &behind.unwrap()].concat());
    let _ = client.try_finish();
    let mut first = true;
    loop {
        let answer = match client.receive_frame() {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && may_wait => {
                tally.waiting.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err("no answer, and not closed".to_owned());
            }
            Err(_) => {
                tally.closed.fetch_add(usize::from(first), Ordering::Relaxed);
                return Ok(());
            }
        };
        match correlation(&answer, 0) {
            Some(BEHIND) => {
                tally.silent.fetch_add(usize::from(first), Ordering::Relaxed);
                decoders[&API_VERSIONS](0, answer).map_err(|error| error.to_string())?;
            }
            answered if first && answered == correlation(bytes, 8) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                let decode = decoders.get(&key).ok_or("an answer to no API")?;
                let known = key != API_VERSIONS || (0..=4).contains(&version);
                decode(if known { version } else { 0 }, answer)
                    .map_err(|error| format!("an answer that does not decode: {error}"))?;
            }
            other => return Err(format!("an answer to {other:?}")),
        }
        first = false;
    }
}

/// Sends all bad requests, a few at a time, and looks whether the node is well.
fn provoke_all(node: &mut Node, seeds: &Seeds, seed: u64, bad: &[Bad]) {
    let decoders = seeds.decoders();
    let (tally, next) = (Tally::default(), AtomicUsize::new(0));
    attack(node, |node| {
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(Bad { bytes, to_controller }) = bad.get(index) else { return };
                let address = match to_controller {
                    true => node.controller_address(),
                    false => node.address(),
                };
                if let Err(reason) = provoke(address, bytes, &decoders, &tally) {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    panic!("OTTLA_IT_SEED={seed}, request {index}: {reason}: {hex}");
                }
            }
        };
        scope(|threads| {
            let all: Vec<_> = (0..THREADS).map(|_| threads.spawn(work)).collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
        });
        // Some tell the quorum of a later epoch, in which it has to elect a leader first.
        let request = create_request(vec![creatable(&fresh("afterwards"), 1, &[])]);
        wait_until("topics are created", || {
            let answer = node.connect().call(CREATE_TOPICS, &request);
            error(answer.topics[0].error_code) == ErrorCode::None
        });
    });
    let Tally { answered, closed, silent, waiting } = &tally;
    println!(
        "{} bad requests: {answered:?} answered, {closed:?} closed, {silent:?} without an answer, \
         {waiting:?} left waiting",
        bad.len(),
    );
}

fn seed() -> u64 {
    std::env::var("OTTLA_IT_SEED").map_or(SEED, |seed| seed.parse().unwrap())
}

#[test]
fn damaged_requests_are_answered_or_end_their_connection() {
    let ((mut node, seeds), seed) = (seeds(), seed());
    let bad = bad_requests(&seeds, seed, DAMAGED);
    assert!(bad.len() >= 4_000, "{} requests", bad.len());
    println!("of {} good requests", seeds.all().count());
    provoke_all(&mut node, &seeds, seed, &bad);
}

#[test]
fn damaged_golden_requests_are_answered_or_end_their_connection() {
    let ((mut node, seeds), seed) = (seeds(), seed());
    let decoders = seeds.decoders();
    let bad = golden::bad_requests(|key| decoders.contains_key(&key), seed, GOLDEN);
    provoke_all(&mut node, &seeds, seed, &bad);
}
