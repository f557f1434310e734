//! Fuzzing of everything that reads bytes:
//! `fuzz [--seconds N] [--seed N] [--target NAME] [--keep FILE]`.
//!
//! Each target has sound inputs of its own, what is kept for it in `corpus.txt`, and for requests
//! what Kafka was asked (`golden.rs`); a round damages one of them, or two joined, and decodes it.
//! A panic, or holding far more memory than the input is long, is a failure: the target, the seed
//! and the input are printed. Time and seed decide everything; there is one thread, and seconds are
//! of its processor's time, so that a busy machine does not make a run smaller.
//!
//! An input that makes a decoder behave as none before it is damaged further. Stable Rust does not
//! count branches, so behaviour is what can be seen: whether all was decoded, how much memory was
//! held, and how often some was asked for, each up to a factor. `--keep` writes those inputs, the
//! short ones, as lines for `corpus.txt`.

#[path = "../../src/allocator.rs"]
mod allocator;
mod coordinator;
mod files;
mod golden;
mod meter;
mod mutate;
mod requests;
mod targets;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Duration;

use fastrand::Rng;
use targets::Target;

#[global_allocator]
static METER: meter::Meter = meter::Meter;

/// Inputs that earlier runs found worth keeping: name of the target, and the bytes in hex.
const CORPUS: &str = include_str!("corpus.txt");
/// Longest input that is kept, and most of a target.
const KEPT_LEN_MAX: usize = 400;
const KEPT_MAX: usize = 8;
/// Most inputs that a run damages, of each target, beside those that it begins with.
const POOL_MAX: usize = 512;

struct Arguments {
    seconds: u64,
    seed: u64,
    target: Option<String>,
    keep: Option<String>,
}

/// What a target has gone through.
#[derive(Default)]
struct Run {
    rounds: u64,
    /// Inputs that behaved as none before.
    found: Vec<Vec<u8>>,
    /// Most bytes held for one input.
    held: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seconds: 10, seed: fastrand::u64(..), target: None, keep: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value} is no number"));
        match word.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--seed" => parsed.seed = number()?,
            "--target" => parsed.target = Some(value),
            "--keep" => parsed.keep = Some(value),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("fuzz: {reason}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    let mut targets = targets::all();
    targets.extend(requests::all());
    targets.extend(coordinator::all());
    targets.extend(files::all());
    targets.retain(|target| arguments.target.as_ref().is_none_or(|name| target.name == *name));
    let share = Duration::from_secs(arguments.seconds) / targets.len().max(1) as u32;
    println!("fuzz: seed {}, {} targets", arguments.seed, targets.len());
    let (mut failed, mut kept, mut rounds, mut held) = (0, String::new(), 0, 0);
    for target in &targets {
        // A seed of its own for each, so that --target repeats what a whole run did.
        match run(target, Rng::with_seed(arguments.seed), share) {
            Ok(run) => {
                let new = run.found.len();
                println!("{:<28} {:>9} rounds, {new:>3} ways", target.name, run.rounds);
                rounds += run.rounds;
                held = held.max(run.held);
                let short = run.found.iter().filter(|input| input.len() <= KEPT_LEN_MAX);
                for input in short.take(KEPT_MAX) {
                    let _ = writeln!(kept, "{} {}", target.name, hex(input));
                }
            }
            Err(failure) => {
                failed += 1;
                println!("{:<28} FAILED, seed {}: {failure}", target.name, arguments.seed);
            }
        }
    }
    let per_second = rounds / arguments.seconds.max(1);
    println!("fuzz: {rounds} rounds, {per_second} a second, at most {held} bytes held for one");
    if let Some(path) = &arguments.keep
        && let Err(error) = std::fs::write(path, &kept)
    {
        eprintln!("fuzz: {path}: {error}");
        return ExitCode::FAILURE;
    }
    println!("fuzz: {} passed, {failed} failed", targets.len() - failed);
    if failed == 0 && !targets.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The inputs that are kept for a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let lines = CORPUS.lines().filter_map(|line| line.split_once(' '));
    let bytes = |hex: &str| {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(digits).collect()
    };
    lines.filter(|(name, _)| *name == target).map(|(_, hex)| bytes(hex)).collect()
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Decodes damaged inputs for as long as `share` of processor time.
fn run(target: &Target, mut rng: Rng, share: Duration) -> Result<Run, String> {
    for input in &target.inputs {
        if !(target.decode)(input) {
            return Err(format!("refuses a sound input: {}", hex(input)));
        }
    }
    let start = processor_time();
    let (mut run, mut ways) = (Run::default(), BTreeSet::new());
    let mut pool = target.inputs.clone();
    pool.extend(corpus(&target.name));
    pool.extend(golden::of_target(&target.name));
    for input in &pool {
        ways.insert(attempt(target, input, &mut run)?);
    }
    while run.rounds == 0 || processor_time() < start + share {
        for _ in 0..64 {
            run.rounds += 1;
            let mut input = pool[rng.usize(..pool.len())].clone();
            if rng.u8(..) < 16 {
                mutate::join(&mut input, &pool[rng.usize(..pool.len())], &mut rng);
            }
            mutate::mutate(&mut input, &mut rng);
            (target.mend)(&mut input);
            if ways.insert(attempt(target, &input, &mut run)?) && run.found.len() < POOL_MAX {
                run.found.push(input.clone());
                pool.push(input);
            }
        }
    }
    Ok(run)
}

/// How a decoder behaved, as far as it can be seen.
type Way = (bool, u32, u32);

fn attempt(target: &Target, input: &[u8], run: &mut Run) -> Result<Way, String> {
    let mut outcome = Ok(false);
    let took = meter::measure(|| outcome = catch_unwind(|| (target.decode)(input)));
    let whole = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("panics with {:?} on {}", text.unwrap_or_default(), hex(input))
    })?;
    let limit = target.fixed + input.len() * target.times;
    if took.held > limit {
        return Err(format!("held {} bytes, more than {limit}, for {}", took.held, hex(input)));
    }
    // Where there is no limit, what was asked for says nothing of what was touched.
    if target.times > 0 {
        run.held = run.held.max(took.held);
    }
    // Quarters of powers of two, of the number of allocations.
    let allocations = (took.allocations as f64 + 1.0).log2() * 4.0;
    Ok((whole, took.held.checked_ilog2().unwrap_or(0), allocations as u32))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
