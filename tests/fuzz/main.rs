//! Fuzzing of everything that reads bytes: `fuzz [--seconds N] [--seed N] [--target NAME]`.
//!
//! Each target has sound inputs of its own; a round damages one of them and decodes it. A panic,
//! or holding far more memory than the input is long, is a failure: the target, the seed and the
//! input are printed. Time and seed decide everything; there is one thread.

mod coordinator;
mod meter;
mod mutate;
mod requests;
mod targets;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fastrand::Rng;
use targets::Target;

#[global_allocator]
static METER: meter::Meter = meter::Meter;

struct Arguments {
    seconds: u64,
    seed: u64,
    target: Option<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seconds: 10, seed: fastrand::u64(..), target: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value} is no number"));
        match word.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--seed" => parsed.seed = number()?,
            "--target" => parsed.target = Some(value),
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
    targets.retain(|target| arguments.target.as_ref().is_none_or(|name| target.name == *name));
    let share = Duration::from_secs(arguments.seconds) / targets.len().max(1) as u32;
    println!("fuzz: seed {}, {} targets", arguments.seed, targets.len());
    let mut failed = 0;
    for target in &targets {
        // A seed of its own for each, so that --target repeats what a whole run did.
        match run(target, Rng::with_seed(arguments.seed), share) {
            Ok(rounds) => println!("{:<28} {rounds:>9} rounds", target.name),
            Err(failure) => {
                failed += 1;
                println!("{:<28} FAILED, seed {}: {failure}", target.name, arguments.seed);
            }
        }
    }
    println!("fuzz: {} passed, {failed} failed", targets.len() - failed);
    if failed == 0 && !targets.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Decodes damaged inputs for as long as `share`; gives the number of rounds.
#[expect(clippy::disallowed_methods, reason = "how long to fuzz is real time")]
fn run(target: &Target, mut rng: Rng, share: Duration) -> Result<u64, String> {
    for input in &target.inputs {
        if !(target.decode)(input) {
            return Err(format!("refuses a sound input: {}", hex(input)));
        }
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || start.elapsed() < share {
        for _ in 0..64 {
            rounds += 1;
            let mut input = target.inputs[rng.usize(..target.inputs.len())].clone();
            mutate::mutate(&mut input, &mut rng);
            (target.mend)(&mut input);
            attempt(target, &input)?;
        }
    }
    Ok(rounds)
}

fn attempt(target: &Target, input: &[u8]) -> Result<(), String> {
    let mut panic = None;
    let held = meter::most_held(|| {
        panic = catch_unwind(|| (target.decode)(input)).err();
    });
    if let Some(panic) = panic {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Err(format!("panics with {:?} on {}", text.unwrap_or_default(), hex(input)));
    }
    let limit = target.fixed + input.len() * target.times;
    if held > limit {
        return Err(format!("held {held} bytes, more than {limit}, for {}", hex(input)));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
