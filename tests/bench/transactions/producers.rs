//! A partition that 100,000 idempotent producers have written to: what it keeps of each in memory,
//! and how long producers wait while it writes a snapshot of them all, which it does when a segment
//! begins.

use std::time::Duration;

use bytes::Bytes;
use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::figure::Condition::AtMost;
use crate::figure::Figure;
use crate::machine::{CLIENT_CPU, now, on_cpu, record_time};
use crate::open_loop::percentile;
use crate::payload::batch_of;
use crate::program::{Place, Program};
use crate::results::Report;
use crate::run::Context;

const MEMORY: Figure = Figure::new(
    "producer-memory",
    "100,000 producers in one partition: growth of VmRSS for each, B",
)
.to_be(&[AtMost(200.0)]);
const APPEND: Figure =
    Figure::new("producer-append", "appends of 16 KiB to it, no segment begins: longest, ms");
const SNAPSHOT: Figure =
    Figure::new("producer-snapshot", "the same while segments begin, with snapshots: longest, ms")
        .to_be(&[AtMost(10.0)]);
const PRODUCERS: i64 = 100_000;
/// Producers that write before memory is looked at for the first time.
const FIRST: i64 = 2_000;
const PIPELINE: usize = 50;
const APPENDS: usize = 400;
const TOPIC: &str = "producers";
/// So many appends make a segment.
const SEGMENT_BYTES: &str = "1048576";
const SETTLE: Duration = Duration::from_secs(2);

/// Measures one life of each broker.
pub(super) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    for program in &context.brokers {
        measure_one(program, &context.place, report)?;
    }
    Ok(())
}

fn measure_one(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn_pinned()?;
    let mut client = process.connect()?;
    client.create_topic(TOPIC, 1)?;
    client.produce_first(&frame(0)?)?;
    on_cpu(CLIENT_CPU, || write(&mut client, 1..FIRST))??;
    std::thread::sleep(SETTLE);
    let before = process.resident_kib()?;
    on_cpu(CLIENT_CPU, || write(&mut client, FIRST..PRODUCERS))??;
    std::thread::sleep(SETTLE);
    let grown = process.resident_kib()?.saturating_sub(before) as f64 * 1024.0;
    report.add(&MEMORY, program, grown / (PRODUCERS - FIRST) as f64);
    let batch = produce_frame(TOPIC, batch_of(16 << 10, 1024))?;
    let quiet = on_cpu(CLIENT_CPU, || appends(&mut client, &batch))??;
    report.add(&APPEND, program, quiet);
    client.set_config(TOPIC, "segment.bytes", SEGMENT_BYTES)?;
    let rolling = on_cpu(CLIENT_CPU, || appends(&mut client, &batch))??;
    report.add(&SNAPSHOT, program, rolling);
    drop(client);
    process.stop()?;
    Ok(())
}

/// The first batch of a producer of its own.
fn frame(number: i64) -> Result<Bytes, Failure> {
    // Behind all that a broker gives out meanwhile.
    let producer = (1 << 40) + number;
    let batch = record_batch(record_time(), Some((producer, 0, 0)), &[b"first".to_vec()]);
    Ok(produce_frame(TOPIC, batch)?)
}

fn write(client: &mut Client, numbers: std::ops::Range<i64>) -> Result<(), Failure> {
    let numbers: Vec<i64> = numbers.collect();
    for some in numbers.chunks(PIPELINE) {
        for number in some {
            client.send(&frame(*number)?)?;
        }
        for _ in some {
            client.acknowledged()?;
        }
    }
    Ok(())
}

/// One after the other; the longest, in milliseconds.
fn appends(client: &mut Client, frame: &Bytes) -> Result<f64, Failure> {
    let mut took = Vec::new();
    for _ in 0..APPENDS {
        let sent = now();
        client.send(frame)?;
        client.acknowledged()?;
        took.push(sent.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(percentile(&mut took, 1.0))
}
