//! From exec to an open port and to the first acknowledged record; and what an idle node takes.

use std::time::Duration;

use bytes::Bytes;
use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::figure::{Condition, Figure};
use crate::machine::{now, record_time};
use crate::program::{Place, Program};
use crate::results::Report;
use crate::run::Context;

const START_FRESH: Figure =
    Figure::new("start-fresh", "start, fresh directory: exec to open port, ms")
        .to_be(&[Condition::AtMost(15.0)]);
const START_AGAIN: Figure =
    Figure::new("start-again", "start, existing directory: exec to open port, ms")
        .to_be(&[Condition::AtMost(15.0)]);
const FIRST_ACK: Figure = Figure::new("first-ack", "exec to first acknowledged produce, ms")
    .to_be(&[Condition::AtMost(30.0)]);
const IDLE_MEMORY: Figure =
    Figure::new("idle-memory", "VmRSS after 10 s idle, MiB").to_be(&[Condition::AtMost(10.0)]);
const IDLE_CPU: Figure = Figure::new("idle-cpu", "processor while idle, %");

const TOPIC: &str = "first";
const IDLE: Duration = Duration::from_secs(10);
/// Starts of an idle node.
const IDLE_RUNS: usize = 2;
/// Starts of Ottla for each that is timed of Apache Kafka, which takes two hundred times as long.
const STARTS_FOR_ONE: usize = 5;

/// Measures starts, and then a node at rest.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let passes = context.settings.passes.div_ceil(2);
    for broker in &context.brokers {
        measure_starts(broker, &context.place, passes, report)?;
    }
    for broker in &context.brokers {
        measure_idle(broker, &context.place, report)?;
    }
    Ok(())
}

/// Starts a broker again and again, each time on a fresh directory and then on the same one.
fn measure_starts(
    program: &Program,
    place: &Place,
    starts: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let starts = if program.is_slow() { starts } else { STARTS_FOR_ONE * starts };
    let first_record = first_record()?;
    for _ in 0..starts {
        let installed = program.install(place, 0)?;
        let begin = now();
        let mut process = installed.spawn()?;
        let mut client = process.connect()?;
        report.add(&START_FRESH, program, millis(begin.elapsed()));
        client.create_topic(TOPIC, 1)?;
        client.produce_first(&first_record)?;
        report.add(&FIRST_ACK, program, millis(begin.elapsed()));
        drop(client);
        process.stop()?;
        let begin = now();
        let mut process = installed.spawn()?;
        process.connect()?;
        report.add(&START_AGAIN, program, millis(begin.elapsed()));
        process.stop()?;
    }
    Ok(())
}

/// Starts a broker, lets it take one record, and looks at it after a while of doing nothing.
fn measure_idle(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let first_record = first_record()?;
    for _ in 0..IDLE_RUNS {
        let installed = program.install(place, 0)?;
        let mut process = installed.spawn()?;
        take_one(process.connect()?, &first_record)?;
        let before = process.cpu_time()?;
        std::thread::sleep(IDLE);
        let spent = process.cpu_time()?.seconds_since(&before);
        report.add(&IDLE_MEMORY, program, process.resident_kib()? as f64 / 1024.0);
        report.add(&IDLE_CPU, program, spent / IDLE.as_secs_f64() * 100.0);
        process.stop()?;
    }
    Ok(())
}

fn take_one(mut client: Client, record: &[u8]) -> Result<(), Failure> {
    client.create_topic(TOPIC, 1)?;
    client.produce_first(record)?;
    Ok(())
}

fn first_record() -> Result<Bytes, Failure> {
    let batch = record_batch(record_time(), None, &[b"first".to_vec()]);
    Ok(produce_frame(TOPIC, batch)?)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
