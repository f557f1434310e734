//! A broker with ten thousand partitions: what creating, holding, reading and restarting them
//! takes.
//!
//! One life: as many partitions as asked for in one topic, looked at while nothing was written;
//! then a record to each; then a client that asks for all of them; then a stop and another start.
//! Memory is the resident set beside that of the same process before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::{Client, produce_all_frame};
use crate::figure::{Condition, Figure};
use crate::machine::{now, record_time};
use crate::process::Process;
use crate::program::{Installed, Place, Program};
use crate::results::Report;
use crate::run::Context;

const MANY_RESTART: Figure =
    Figure::new("many-restart", "10,000 partitions: clean restart to produce and fetch, ms")
        .to_be(&[Condition::AtMost(2000.0)]);
const MANY_STOP: Figure = Figure::new("many-stop", "10,000 partitions: stop, ms");
const MANY_CREATE: Figure =
    Figure::new("many-create", "10,000 partitions: create them in one topic, s");
const MANY_USABLE: Figure =
    Figure::new("many-usable", "10,000 partitions: create them and have a record taken by each, s")
        .to_be(&[Condition::AtMost(1.5)]);
const MANY_TOPICS: Figure =
    Figure::new("many-topics", "10,000 partitions: create 1,000 topics one by one, s");
const MANY_MEMORY: Figure =
    Figure::new("many-memory", "10,000 partitions: memory of each, new, KiB")
        .to_be(&[Condition::AtMost(3.0)]);
const MANY_MEMORY_SERVED: Figure =
    Figure::new("many-memory-served", "10,000 partitions: memory of each after a record, KiB")
        .to_be(&[Condition::AtMost(3.0)]);
const MANY_FILES: Figure =
    Figure::new("many-files", "10,000 partitions, a record to each: open files")
        .to_be(&[Condition::AtMost(2000.0)]);
const MANY_IDLE_CPU: Figure =
    Figure::new("many-idle-cpu", "10,000 partitions, idle: CPU s in a minute");
const MANY_METADATA: Figure =
    Figure::new("many-metadata", "10,000 partitions: Metadata of all, ms");
const MANY_FETCH: Figure =
    Figure::new("many-fetch", "10,000 partitions: a record of each by Fetch, ms");

const TOPIC: &str = "many";
/// Partitions in one request to produce, or to create topics.
const IN_ONE_REQUEST: i32 = 1_000;
/// For what a JVM does behind a start, and for files to be closed that nobody uses.
const SETTLE: Duration = Duration::from_secs(12);
/// Every periodic task but the rarest gets its turn.
const IDLE: Duration = Duration::from_secs(20);
const METADATA_CALLS: usize = 5;
const USABLE_RUNS: usize = 3;

/// Measures topics one by one, and then many partitions in one.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let partitions = context.settings.partitions;
    let mut places = Places { place: &context.place, next: 0 };
    for broker in &context.brokers {
        measure_topics(broker, &mut places, partitions / 10, report)?;
        measure_usable(broker, &mut places, partitions, report)?;
        measure_many(broker, &mut places, partitions, report)?;
    }
    Ok(())
}

/// A directory for each life, all of which stay until the end: ext4 looks at every inode that was
/// freed in the last minutes before it takes a new one, so that who creates many files right behind
/// a removal pays for that.
struct Places<'a> {
    place: &'a Place,
    next: u16,
}

impl Places<'_> {
    fn install<'p>(&mut self, program: &'p Program) -> std::io::Result<Installed<'p>> {
        self.next += 1;
        program.install(self.place, self.next)
    }
}

/// From the request that creates partitions to the last acknowledgement of a record of each.
fn measure_usable(
    program: &Program,
    places: &mut Places<'_>,
    partitions: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    let runs = if program.is_slow() { 1 } else { USABLE_RUNS };
    for _ in 0..runs {
        let mut process = places.install(program)?.spawn()?;
        let mut client = process.connect()?;
        let begin = now();
        client.create_topic(TOPIC, partitions - 1)?;
        produce_to_all(&mut client, partitions - 1)?;
        report.add(&MANY_USABLE, program, begin.elapsed().as_secs_f64());
        process.kill()?;
    }
    Ok(())
}

/// Measures one life with `partitions` partitions.
fn measure_many(
    program: &Program,
    places: &mut Places<'_>,
    partitions: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    let installed = places.install(program)?;
    let mut process = installed.spawn()?;
    let mut client = process.connect()?;
    // What the first topic and record of a process take is not the partitions'. It is one of them:
    // a request that leads to more than 10,000 metadata records is refused by both.
    client.create_topic("first", 1)?;
    let partitions = partitions - 1;
    client.produce_first(&frame("first", 0..1)?)?;
    std::thread::sleep(SETTLE);
    let before = process.resident_kib()?;
    let each = |kib: u64| kib.saturating_sub(before) as f64 / f64::from(partitions);

    let begin = now();
    client.create_topic(TOPIC, partitions)?;
    wait_for_leaders(&mut client, TOPIC, partitions)?;
    report.add(&MANY_CREATE, program, begin.elapsed().as_secs_f64());
    std::thread::sleep(SETTLE);
    report.add(&MANY_MEMORY, program, each(process.resident_kib()?));

    produce_to_all(&mut client, partitions)?;
    report.add(&MANY_FILES, program, process.open_files()? as f64);
    report.add(&MANY_MEMORY_SERVED, program, each(process.resident_kib()?));
    measure_readers(program, &mut client, partitions, report)?;
    drop(client);
    std::thread::sleep(SETTLE);
    let spent = process.cpu_time()?;
    std::thread::sleep(IDLE);
    let spent = process.cpu_time()?.seconds_since(&spent);
    report.add(&MANY_IDLE_CPU, program, spent / IDLE.as_secs_f64() * 60.0);

    let begin = now();
    process.stop()?;
    report.add(&MANY_STOP, program, begin.elapsed().as_secs_f64() * 1e3);
    let begin = now();
    let mut process = installed.spawn()?;
    serve_one(&mut process, TOPIC, partitions - 1)?;
    report.add(&MANY_RESTART, program, millis(begin));
    process.stop()?;
    Ok(())
}

/// Creates `topics` topics with ten partitions each, on a broker of its own.
fn measure_topics(
    program: &Program,
    places: &mut Places<'_>,
    topics: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut process = places.install(program)?.spawn()?;
    let mut client = process.connect()?;
    client.create_topic("first", 1)?;
    let begin = now();
    for topic in 0..topics {
        client.create_topic(&format!("topic-{topic}"), 10)?;
    }
    report.add(&MANY_TOPICS, program, begin.elapsed().as_secs_f64());
    process.stop()?;
    Ok(())
}

/// What a client pays that wants to know of all partitions, and to read all.
fn measure_readers(
    program: &Program,
    client: &mut Client,
    partitions: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    for _ in 0..METADATA_CALLS {
        let begin = now();
        client.partitions_with_leader(None)?;
        report.add(&MANY_METADATA, program, millis(begin));
    }
    let mut read = 0;
    let begin = now();
    while read < partitions {
        read += client.fetch_all(TOPIC, read..partitions)?;
    }
    report.add(&MANY_FETCH, program, millis(begin));
    Ok(())
}

/// Waits until every partition has a leader that takes a record.
pub(crate) fn wait_for_leaders(
    client: &mut Client,
    topic: &str,
    partitions: i32,
) -> Result<(), Failure> {
    while client.partitions_with_leader(Some(topic))? < partitions as usize {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until as many partitions of all topics have a leader.
pub(crate) fn wait_for_all_leaders(client: &mut Client, partitions: usize) -> Result<(), Failure> {
    while client.partitions_with_leader(None)? < partitions {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn produce_to_all(client: &mut Client, partitions: i32) -> Result<(), Failure> {
    for first in (0..partitions).step_by(IN_ONE_REQUEST as usize) {
        let end = partitions.min(first + IN_ONE_REQUEST);
        client.produce_first(&frame(TOPIC, first..end)?)?;
    }
    Ok(())
}

/// Waits until a partition takes a record and gives it back.
pub(crate) fn serve_one(process: &mut Process, topic: &str, partition: i32) -> Result<(), Failure> {
    let mut client = process.connect()?;
    client.produce_first(&frame(topic, partition..partition + 1)?)?;
    let read = client.fetch_all(topic, partition..partition + 1)?;
    if read == 1 { Ok(()) } else { Err("a fetch came back empty".into()) }
}

fn frame(topic: &str, partitions: std::ops::Range<i32>) -> Result<Bytes, Failure> {
    let batch = record_batch(record_time(), None, &[b"record".to_vec()]);
    Ok(produce_all_frame(topic, partitions, &batch)?)
}

pub(crate) fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
