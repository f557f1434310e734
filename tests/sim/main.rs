//! Runs simulated worlds: `scripts/sim --seed N [--count K]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use ottla_sim::{Mutant, Outcome, Settings, Stats, Workload, run_seed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real time after which a seed is called hanging: it loops without letting virtual time go on.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// Simulates brokers, their clients and what befalls them.
#[derive(Parser)]
struct Args {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// What to simulate: node, quorum, groups, mixed, transactions or all.
    #[arg(long, default_value = "all")]
    workload: String,
    /// Switches the sync of this name off, or plants another mutant of that name.
    #[arg(long)]
    mutant: Option<String>,
    /// Plants each mutant in turn and tells which seed notices.
    #[arg(long)]
    mutants: bool,
    /// The same of those that stand for bugs of the coordinators and the cleaner.
    #[arg(long)]
    bugs: bool,
    /// Prints every event.
    #[arg(long)]
    trace: bool,
    /// Writes the broker's directories of each seed, as a clean stop leaves them, into this folder.
    #[arg(long)]
    export: Option<PathBuf>,
    /// Worlds at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let workloads: Vec<Workload> = Workload::ALL
        .iter()
        .copied()
        .filter(|workload| args.workload == "all" || args.workload == workload.name())
        .collect();
    if workloads.is_empty() {
        eprintln!("there is no workload {}", args.workload);
        return ExitCode::from(2);
    }
    if args.mutants || args.bugs {
        let mutants = if args.mutants { Mutant::all() } else { Mutant::bugs().collect() };
        return find_mutants(&args, &workloads, &mutants);
    }
    let mutant = match args.mutant.as_deref().map(|name| (name, Mutant::from_name(name))) {
        None => None,
        Some((_, Some(point))) => Some(point),
        Some((name, None)) => {
            eprintln!("there is no mutant {name}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    let concerned = |it: &Workload| mutant.is_none_or(|mutant| mutant.concerns(*it));
    for workload in workloads.into_iter().filter(concerned) {
        let settings = Settings { workload, mutant, print: args.trace, export: None };
        let twice = !args.trace && args.export.is_none();
        failed |= !sweep(&args, &settings, twice).is_clean(&settings);
    }
    ExitCode::from(u8::from(failed))
}

/// The seed that a thread runs, and since when.
type Job = Option<(u64, Instant)>;

/// What came of many seeds.
#[derive(Default)]
struct Sweep {
    first_failure: Option<(u64, Outcome)>,
    stats: Stats,
    seeds: u64,
    events: u64,
}

/// Runs seeds until one fails, each twice when `twice`.
#[expect(clippy::disallowed_methods, reason = "real threads and real time around the worlds")]
fn sweep(args: &Args, settings: &Settings, twice: bool) -> Sweep {
    let next = Arc::new(AtomicU64::new(args.seed));
    let end = args.seed + args.count;
    let result = Arc::new(Mutex::new(Sweep::default()));
    let jobs: Vec<Arc<Mutex<Job>>> = (0..args.jobs.max(1)).map(|_| Arc::default()).collect();
    let threads: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (next, result, job) = (next.clone(), result.clone(), job.clone());
            let (settings, export) = (settings.clone(), args.export.clone());
            std::thread::spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || result.lock().expect("a result").failed_before(seed) {
                        return;
                    }
                    *job.lock().expect("a job") = Some((seed, Instant::now()));
                    let export = export.as_ref().map(|dir| dir.join(format!("seed-{seed}")));
                    let settings = Settings { export, ..settings.clone() };
                    let outcome = run(seed, &settings, twice);
                    *job.lock().expect("a job") = None;
                    result.lock().expect("a result").add(seed, outcome);
                }
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(20));
        for job in &jobs {
            if let Some((seed, since)) = *job.lock().expect("a job")
                && since.elapsed() > HANGS_AFTER
            {
                eprintln!("{}: seed {seed} hangs", settings.workload.name());
                std::process::exit(1);
            }
        }
    }
    for thread in threads {
        thread.join().expect("worlds catch their panics");
    }
    std::mem::take(&mut result.lock().expect("a result"))
}

/// Runs a seed; the second time, everything must happen again.
fn run(seed: u64, settings: &Settings, twice: bool) -> Outcome {
    let mut outcome = run_seed(seed, settings);
    if twice {
        let again = run_seed(seed, settings).fingerprint;
        if again != outcome.fingerprint {
            let what = format!("two runs differ: {:?} and {again:?}", outcome.fingerprint);
            outcome.violations.push(what);
        }
    }
    outcome
}

impl Sweep {
    /// Later seeds need not be run when an earlier one has failed.
    fn failed_before(&self, seed: u64) -> bool {
        self.first_failure.as_ref().is_some_and(|(failed, _)| *failed < seed)
    }

    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.fingerprint.1;
        self.stats += outcome.stats;
        if !outcome.violations.is_empty() && !self.failed_before(seed) {
            self.first_failure = Some((seed, outcome));
        }
    }

    /// Tells what happened.
    fn is_clean(&self, settings: &Settings) -> bool {
        let name = settings.workload.name();
        println!("{name}: {} seeds, {} events, {:?}", self.seeds, self.events, self.stats);
        let Some((seed, outcome)) = &self.first_failure else { return true };
        if !settings.print {
            outcome.tail.iter().for_each(|line| println!("{line}"));
        }
        outcome.violations.iter().for_each(|what| println!("{name}: seed {seed}: {what}"));
        println!("again: scripts/sim --workload {name} --seed {seed} --trace");
        false
    }
}

/// Each mutant is planted in turn: some seed must notice.
fn find_mutants(args: &Args, workloads: &[Workload], mutants: &[Mutant]) -> ExitCode {
    let mut all_found = true;
    println!("| mutant | found by | seed | first violation |\n|---|---|---|---|");
    for mutant in mutants.iter().copied() {
        let found = workloads
            .iter()
            .filter(|workload| mutant.concerns(**workload))
            .filter_map(|workload| {
                let settings = Settings {
                    workload: *workload,
                    mutant: Some(mutant),
                    print: false,
                    export: None,
                };
                let (seed, outcome) = sweep(args, &settings, false).first_failure?;
                Some((seed, workload.name(), outcome.violations[0].clone()))
            })
            .min();
        match found {
            Some((seed, name, what)) => {
                println!("| {} | {name} | {seed} | {what} |", mutant.name());
            }
            None => {
                all_found = false;
                println!("| {} | nothing | - | - |", mutant.name());
            }
        }
    }
    ExitCode::from(u8::from(!all_found))
}
