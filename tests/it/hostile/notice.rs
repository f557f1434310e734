//! What others notice of an attack: their slowest answers while it goes on and while it does not,
//! in turn, in one run; and the memory that all of it takes together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::mutated::{Bad, Tally, bad_requests, provoke};
use super::{cases, peak_memory};
use crate::apis::{Seeds, seeds};
use crate::client::Client;
use crate::node::{Node, fresh};
use crate::requests::{Topic, batch, create, error, fetch, produce};
use ottla_types::ErrorCode;

/// Pairs of a quiet time and one of attack.
const ROUNDS: usize = 8;
const PHASE: Duration = Duration::from_millis(250);
/// An attack may make the slowest of a hundred answers so many times slower.
const RATIO_MAX: f64 = 5.0;
/// Below this an answer is not slow, whatever the ratio.
const FAST: Duration = Duration::from_millis(2);
/// The machine may be busy with something else.
const TRIES: usize = 3;
/// All attacks together may take so much memory: four times the longest request, the answers that
/// wait for one client, and what looks into batches.
const MEMORY_MAX: u64 = 4 * ((16 << 20) + (1 << 20));

#[derive(Default)]
struct Times {
    quiet: Vec<Duration>,
    attacked: Vec<Duration>,
}

impl Times {
    fn p99(times: &mut [Duration]) -> Duration {
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// The 99th percentiles, and how many times the second is the first.
    fn compare(&mut self) -> (Duration, Duration, f64) {
        let (quiet, attacked) = (Times::p99(&mut self.quiet), Times::p99(&mut self.attacked));
        (quiet, attacked, attacked.as_secs_f64() / quiet.max(FAST).as_secs_f64())
    }
}

/// Writes and reads until told to stop; the times by what went on.
fn behave(mut client: Client, topic: &Topic, attacked: &AtomicBool, stop: &AtomicBool) -> Times {
    let mut times = Times::default();
    while !stop.load(Relaxed) {
        let (began, before) = (Instant::now(), attacked.load(Relaxed));
        let answer = produce(&mut client, topic, batch(&["well-behaved"]));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        fetch(&mut client, topic, answer.base_offset);
        let took = began.elapsed();
        match (before, attacked.load(Relaxed)) {
            (false, false) => times.quiet.push(took),
            (true, true) => times.attacked.push(took),
            _ => {}
        }
        sleep(Duration::from_micros(500));
    }
    times
}

/// Everything at once, one thing after the other, while `attacked`.
fn attack(node: &Node, topic: &Topic, seeds: &Seeds, attacked: &AtomicBool, stop: &AtomicBool) {
    let bad: Vec<Bad> = bad_requests(seeds, 77, 1_000);
    // Those to the quorum take its leader away for a moment, which is their right.
    let bad: Vec<&Bad> = bad.iter().filter(|bad| !bad.to_controller).collect();
    let (cases, decoders, tally) = (cases(topic), seeds.decoders(), Tally::default());
    let next = AtomicUsize::new(0);
    let (cases, decoders) = (&cases, &decoders);
    while !stop.load(Relaxed) {
        if !attacked.load(Relaxed) {
            sleep(Duration::from_millis(1));
            continue;
        }
        let turn = next.fetch_add(1, Relaxed);
        match turn % 4 {
            0 => drop(cases[turn / 4 % cases.len()].observe(node, Duration::from_millis(50))),
            1 => {
                let mut claimant = node.connect();
                let _ = claimant.send_raw(&super::pressure::claim(60_000));
            }
            _ => {
                // What comes of it is another test's question.
                let _ = provoke(node.address(), &bad[turn % bad.len()].bytes, decoders, &tally);
            }
        }
    }
}

/// What two others notice of two attackers, in turn with quiet. An attacker is told whether it is
/// to attack, and whether to stop.
fn measure(node: &Node, attack: &(impl Fn(&AtomicBool, &AtomicBool) + Sync)) -> Times {
    let topic = create(&mut node.connect(), &fresh("behaves"), 1, &[]);
    let (attacked, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    scope(|threads| {
        let behaving: Vec<_> = (0..2)
            .map(|_| threads.spawn(|| behave(node.connect(), &topic, &attacked, &stop)))
            .collect();
        for _ in 0..2 {
            threads.spawn(|| attack(&attacked, &stop));
        }
        for _ in 0..ROUNDS {
            for on in [false, true] {
                attacked.store(on, Relaxed);
                sleep(PHASE);
            }
        }
        stop.store(true, Relaxed);
        let mut all = Times::default();
        for times in behaving.into_iter().map(|thread| thread.join().unwrap()) {
            all.quiet.extend(times.quiet);
            all.attacked.extend(times.attacked);
        }
        all
    })
}

/// Checks that others hardly notice; some of the attacks may fall into a bad moment.
pub fn hardly_notice(node: &Node, attack: impl Fn(&AtomicBool, &AtomicBool) + Sync) {
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let mut times = measure(node, &attack);
        let (quiet, attacked, ratio) = times.compare();
        println!(
            "p99 {quiet:?} of {} when it is quiet, {attacked:?} of {} under attack: {ratio:.1} times",
            times.quiet.len(),
            times.attacked.len(),
        );
        ratios.push(ratio);
        if ratio <= RATIO_MAX {
            return;
        }
    }
    panic!("others noticed: {ratios:?}");
}

#[test]
fn others_hardly_notice_an_attack() {
    let (mut node, seeds) = seeds();
    if node.is_outside() {
        return;
    }
    let before = peak_memory(&mut node);
    let victim = create(&mut node.connect(), &fresh("victim"), 1, &[]);
    hardly_notice(&node, |attacked, stop| attack(&node, &victim, &seeds, attacked, stop));
    let grown = peak_memory(&mut node) - before;
    println!("memory of all attacks together: +{} KiB", grown >> 10);
    assert!(grown <= MEMORY_MAX, "memory grew by {} KiB", grown >> 10);
    assert!(!node.process().has_ended());
    assert_eq!(node.setup.stderr(), "");
}
