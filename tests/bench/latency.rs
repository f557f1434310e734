//! How long a message of 1 KiB is under way from a producer to a consumer that waits for it, at
//! fixed rates; and one stream that ten consumers read.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Failure;
use crate::closed::histogram;
use crate::end_to_end::{EndToEnd, Seen, numbered_batch};
use crate::figure::Condition::{OfFloor, OfKafka};
use crate::figure::{Condition, Figure};
use crate::machine::{GIB, now};
use crate::payload::RECORD;
use crate::program::Program;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, start, stop};

/// Of a round.
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(5);
const WARM_UP_RATE: u32 = 3_000;
/// Of a run at the highest rate, one for each server.
const LONG: Duration = Duration::from_secs(30);
/// How often the file system is synced meanwhile: as often as the kernel looks for what is due.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Rates that are tried, in messages a second.
const RATES: &[u32] =
    &[6_000, 8_000, 10_000, 12_000, 14_000, 16_000, 20_000, 25_000, 30_000, 40_000];
const TRIAL: Duration = Duration::from_secs(3);
/// A rate is sustained when the last message comes as soon, and so do 99 in a hundred.
const SUSTAINED: Duration = Duration::from_millis(100);
const CONSUMERS: usize = 10;
/// Of 64 KiB, so that 50 MiB a second are produced.
const FAN_OUT_RATE: u32 = 800;
const FAN_OUT_RECORDS: usize = 62;
const P50: &[Condition] = &[OfFloor(1.5), OfKafka(0.5)];
const P99: &[Condition] = &[OfFloor(2.0), OfKafka(1.0)];

/// Figures of a rate.
struct Rate {
    p50: Figure,
    p99: Figure,
    most: Figure,
    cpu: Figure,
}

const SLOW: Rate = Rate {
    p50: Figure::new("latency-1000-p50", "1,000 messages/s: p50, us").to_be(P50),
    p99: Figure::new("latency-1000-p99", "the same: p99, us").to_be(P99),
    most: Figure::new("latency-1000-p999", "the same: p99.9, us"),
    cpu: Figure::new("latency-1000-cpu", "the same: CPU us for a message"),
};
const QUICK: Rate = Rate {
    p50: Figure::new("latency-10000-p50", "10,000 messages/s: p50, us").to_be(P50),
    p99: Figure::new("latency-10000-p99", "the same: p99, us").to_be(P99),
    most: Figure::new("latency-10000-p999", "the same: p99.9, us"),
    cpu: Figure::new("latency-10000-cpu", "the same: CPU us for a message"),
};
const HIGHEST: Rate = Rate {
    p50: Figure::new("latency-most-p50", "highest rate of both, write-back: p50, us").to_be(P50),
    p99: Figure::new("latency-most-p99", "the same: p99, us").to_be(P99),
    most: Figure::new("latency-most-p999", "the same: p99.9, us"),
    cpu: Figure::new("latency-most-cpu", "the same: CPU us for a message"),
};
const FAN_OUT: Figure =
    Figure::new("fan-out", "50 MiB/s to 10 consumers: CPU s for a GiB that is read");
const FAN_OUT_P99: Figure = Figure::new("fan-out-p99", "the same: p99, us");

/// A server with a producer and consumers; without them when it could not keep up.
struct Pair {
    server: Server,
    load: Option<EndToEnd>,
}

fn pairs(context: &Context) -> Result<Vec<Pair>, Failure> {
    let programs = context.with_floor().into_iter().map(|it| (it, Configs::default()));
    let servers = start(&context.place, &programs.collect::<Vec<_>>())?;
    let mut pairs: Vec<_> = servers.into_iter().map(|server| Pair { server, load: None }).collect();
    for pair in &mut pairs {
        pair.connect("warm", 1, 1)?;
        if let Err(error) = pair.round(WARM_UP_RATE, WARM_UP) {
            eprintln!("{}: while it warms up: {error}", pair.server.program.name());
        }
    }
    Ok(pairs)
}

fn stop_all(pairs: Vec<Pair>) -> Result<(), Failure> {
    stop(pairs.into_iter().map(|pair| pair.server).collect())
}

/// What a round has shown.
struct Round {
    seen: Seen,
    /// Seconds of the server.
    cpu: f64,
}

impl Pair {
    /// Begins anew with a topic of its own.
    fn connect(&mut self, topic: &str, consumers: usize, records: usize) -> Result<(), Failure> {
        self.server.create(topic, 1, &[])?;
        let batch = numbered_batch(records, RECORD);
        self.load = Some(EndToEnd::new(&mut self.server, topic, consumers, &batch)?);
        Ok(())
    }

    /// Who fails once is not asked again: messages of before would come among the later ones.
    fn round(&mut self, rate: u32, time: Duration) -> Result<Round, Failure> {
        let mut load = self.load.take().ok_or("it did not keep up before")?;
        let step = Duration::from_secs(1) / rate;
        let spent = self.server.spend(|| load.run(step, time))?;
        self.load = Some(load);
        Ok(Round { seen: spent.done, cpu: spent.cpu })
    }

    /// The same; who does not keep up is named in the report, and left out of what follows.
    fn round_if_it_can(&mut self, rate: u32, report: &mut Report) -> Option<Round> {
        self.load.as_ref()?;
        let round = self.round(rate, ROUND);
        round
            .inspect_err(|error| {
                let name = self.server.program.name();
                report.note(format!("{name} does not keep up with {rate} messages/s: {error}"));
            })
            .ok()
    }
}

/// Rates at which every server is mostly idle.
pub(crate) fn measure_fixed(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut pairs = pairs(context)?;
    for (rate, figures) in [(1_000, &SLOW), (10_000, &QUICK)] {
        let mut all: Vec<_> = pairs.iter().map(|_| histogram()).collect();
        for pair in &mut pairs {
            pair.connect(&format!("rate-{rate}"), 1, 1)?;
        }
        for pass in 0..=context.settings.passes {
            for (pair, all) in pairs.iter_mut().zip(&mut all) {
                let round = pair.round_if_it_can(rate, report);
                if let Some(round) = round.filter(|_| pass > 0) {
                    all.add(&round.seen.latency)?;
                    note(figures, &pair.server.program, &round, report);
                }
            }
        }
        for (pair, all) in pairs.iter().zip(&all).filter(|(_, all)| !all.is_empty()) {
            report.curve(&figures.p50, &pair.server.program, curve(all));
        }
    }
    stop_all(pairs)
}

/// The highest rate that both brokers sustain.
pub(crate) fn measure_highest(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut pairs = pairs(context)?;
    let mut rate = RATES[0];
    for tried in RATES {
        let mut sustained = true;
        for pair in pairs.iter_mut().filter(|pair| pair.server.is_broker()).rev() {
            pair.connect(&format!("trial-{tried}"), 1, 1)?;
            sustained &= sustained && is_sustained(&pair.round(*tried, TRIAL));
        }
        if !sustained {
            break;
        }
        rate = *tried;
    }
    report.note(format!("The highest rate that both sustain is {rate} messages a second."));
    for pair in &mut pairs {
        pair.connect("long", 1, 1)?;
        let round = with_write_back(&context.place.scratch, || pair.round(rate, LONG));
        match round {
            Ok(round) => {
                note(&HIGHEST, &pair.server.program, &round, report);
                let points = curve(&round.seen.latency);
                report.curve(&HIGHEST.p50, &pair.server.program, points);
            }
            Err(error) => {
                let name = pair.server.program.name();
                report.note(format!("{name} did not keep up with write-back: {error}"));
            }
        }
    }
    stop_all(pairs)
}

/// Runs `work` while what was written is brought to the disk now and then.
fn with_write_back(
    scratch: &Path,
    work: impl FnOnce() -> Result<Round, Failure>,
) -> Result<Round, Failure> {
    let (scratch, over) = (File::open(scratch)?, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| sync_now_and_then(&scratch, &over));
        let round = work();
        over.store(true, Ordering::Relaxed);
        round
    })
}

fn is_sustained(round: &Result<Round, Failure>) -> bool {
    round.as_ref().is_ok_and(|round| {
        let p99 = Duration::from_nanos(round.seen.latency.value_at_quantile(0.99));
        round.seen.drained < SUSTAINED && p99 < SUSTAINED
    })
}

fn sync_now_and_then(of: &File, over: &AtomicBool) {
    let begin = now();
    let mut next = SYNC_EVERY;
    while !over.load(Ordering::Relaxed) {
        if begin.elapsed() >= next {
            next += SYNC_EVERY;
            if let Err(error) = rustix::fs::syncfs(of) {
                eprintln!("ottla-bench: nothing is written back: {error}");
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One stream, ten readers.
pub(crate) fn measure_fan_out(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut pairs = pairs(context)?;
    for pair in &mut pairs {
        pair.connect("fan-out", CONSUMERS, FAN_OUT_RECORDS)?;
    }
    for pass in 0..=context.settings.passes {
        for pair in &mut pairs {
            let round = pair.round_if_it_can(FAN_OUT_RATE, report);
            let Some(round) = round.filter(|_| pass > 0) else { continue };
            let program = &pair.server.program;
            let message = (FAN_OUT_RECORDS * RECORD * CONSUMERS) as f64;
            let gib = round.seen.messages as f64 * message / GIB;
            report.add(&FAN_OUT, program, round.cpu / gib);
            report.add(&FAN_OUT_P99, program, micros(&round.seen, 0.99));
            let client = round.seen.client_cpu / gib;
            report.beside(&FAN_OUT, "client's CPU, s/GiB", program, client);
        }
    }
    stop_all(pairs)
}

fn micros(seen: &Seen, part: f64) -> f64 {
    seen.latency.value_at_quantile(part) as f64 / 1e3
}

fn note(figures: &Rate, program: &Program, round: &Round, report: &mut Report) {
    report.add(&figures.p50, program, micros(&round.seen, 0.5));
    report.add(&figures.p99, program, micros(&round.seen, 0.99));
    report.add(&figures.most, program, micros(&round.seen, 0.999));
    let messages = round.seen.messages as f64;
    report.add(&figures.cpu, program, round.cpu * 1e6 / messages);
    report.beside(
        &figures.cpu,
        "client's CPU, us",
        program,
        round.seen.client_cpu * 1e6 / messages,
    );
}

/// Microseconds at parts that are evenly spread on a scale of nines.
fn curve(of: &hdrhistogram::Histogram<u64>) -> Vec<(f64, f64)> {
    let parts = (0..=32).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0));
    let enough = parts.filter(|part| (1.0 - part) * of.len() as f64 >= 1.0);
    enough.map(|part| (part, of.value_at_quantile(part) as f64 / 1e3)).collect()
}
