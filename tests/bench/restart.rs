//! Starts on a directory full of logs: after a clean stop, after kill -9 with much that was not
//! flushed, and with everything to be checked.
//!
//! All that is read at such a start is in the page cache: the disk is not what is measured.

use std::time::Duration;

use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::produce_all_frame;
use crate::figure::{Condition, Figure};
use crate::machine::{GIB, now, record_time};
use crate::many::{millis, serve_one, wait_for_leaders};
use crate::payload::batch_of;
use crate::process::Process;
use crate::program::{Installed, Place, Program};
use crate::results::Report;
use crate::run::Context;

const SCAN: Figure =
    Figure::new("scan", "recovery: GiB of page-cached log checked in a second, one processor")
        .to_be(&[Condition::AtLeast(1.0)]);
const RESTART_CRASH: Figure = Figure::new(
    "restart-crash",
    "1,000 partitions, 4 GiB unflushed: restart after kill -9 to produce and fetch, ms",
)
.to_be(&[Condition::AtMost(1000.0)]);
const RESTART_CLEAN: Figure = Figure::new(
    "restart-clean",
    "1,000 partitions, 4 GiB: restart after a clean stop to produce and fetch, ms",
)
.to_be(&[Condition::AtMost(200.0)]);

const TOPIC: &str = "restart";
const PARTITIONS: i32 = 1_000;
const BATCH_BYTES: usize = 64 << 10;
/// Uncompressed records of a size that clients send.
const RECORD_BYTES: usize = 1024;
/// Batches in one request.
const IN_ONE_REQUEST: i32 = 50;
/// Restarts after each kind of end.
const RUNS: usize = 3;
/// Of a broker that takes ten seconds for each.
const SLOW_RUNS: usize = 2;

/// Measures recovery, and then restarts.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let gib = context.settings.gib;
    for broker in &context.brokers {
        measure_scan(broker, &context.place, gib << 29, report)?;
        measure_restarts(broker, &context.place, gib << 30, report)?;
    }
    Ok(())
}

fn runs(program: &Program) -> usize {
    if program.is_slow() { SLOW_RUNS } else { RUNS }
}

/// With 1,000 partitions: starts after a clean stop, and after kill -9 with `bytes` that were not
/// flushed.
fn measure_restarts(
    program: &Program,
    place: &Place,
    bytes: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    for _ in 0..runs(program) {
        let installed = program.install(place, 0)?;
        let mut process = installed.spawn()?;
        fill(&mut process, PARTITIONS, bytes)?;
        process.kill()?;
        let begin = now();
        let mut process = installed.spawn()?;
        serve_one(&mut process, TOPIC, PARTITIONS / 2)?;
        report.add(&RESTART_CRASH, program, millis(begin));
        process.stop()?;
        let begin = now();
        let mut process = installed.spawn()?;
        serve_one(&mut process, TOPIC, PARTITIONS / 2)?;
        report.add(&RESTART_CLEAN, program, millis(begin));
        process.stop()?;
    }
    Ok(())
}

/// One partition of `bytes`, all of which has to be checked at the start: neither the mark of a
/// clean stop nor recovery points are there, nor what tells that the machine was not restarted.
fn measure_scan(
    program: &Program,
    place: &Place,
    bytes: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let installed = program.install(place, 0)?;
    let mut process = installed.spawn_pinned()?;
    fill(&mut process, 1, bytes)?;
    process.stop()?;
    // The fastest: a start may wait for what is over by the next one.
    let mut clean = Duration::MAX;
    for _ in 0..runs(program) {
        let begin = now();
        let mut process = installed.spawn_pinned()?;
        serve_one(&mut process, TOPIC, 0)?;
        clean = clean.min(begin.elapsed());
        process.stop()?;
    }
    for _ in 0..runs(program) {
        installed.forget_recovery()?;
        read_all(&installed)?;
        let begin = now();
        let mut process = installed.spawn_pinned()?;
        serve_one(&mut process, TOPIC, 0)?;
        let scan = begin.elapsed().saturating_sub(clean).max(Duration::from_millis(1));
        report.add(&SCAN, program, bytes as f64 / GIB / scan.as_secs_f64());
        process.stop()?;
    }
    Ok(())
}

/// Produces `bytes` in batches of uncompressed records, the same to all partitions.
fn fill(process: &mut Process, partitions: i32, bytes: usize) -> Result<(), Failure> {
    let mut client = process.connect()?;
    client.create_topic(TOPIC, partitions)?;
    wait_for_leaders(&mut client, TOPIC, partitions)?;
    let batch = batch_of(BATCH_BYTES, RECORD_BYTES);
    let first = record_batch(record_time(), None, &[b"first".to_vec()]);
    client.produce_first(&produce_all_frame(TOPIC, 0..partitions, &first)?)?;
    let rounds = bytes.div_ceil(batch.len() * partitions as usize);
    for start in (0..partitions).step_by(IN_ONE_REQUEST as usize) {
        let end = partitions.min(start + IN_ONE_REQUEST);
        let frame = produce_all_frame(TOPIC, start..end, &batch)?;
        for _ in 0..rounds {
            client.produce_first(&frame)?;
        }
    }
    Ok(())
}

/// Brings all segments into the page cache.
fn read_all(installed: &Installed<'_>) -> Result<(), Failure> {
    let partition = installed.data().join(format!("{TOPIC}-0"));
    for entry in std::fs::read_dir(partition)? {
        let mut file = std::fs::File::open(entry?.path())?;
        std::io::copy(&mut file, &mut std::io::sink())?;
    }
    Ok(())
}
