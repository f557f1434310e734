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
use crate::machine::{now, record_time};
use crate::process::Process;
use crate::program::{Place, Program};
use crate::report::{Report, Row};

const TOPIC: &str = "many";
/// Partitions in one request to produce, or to create topics.
const IN_ONE_REQUEST: i32 = 1_000;
/// For what a JVM does behind a start, and for files to be closed that nobody uses.
const SETTLE: Duration = Duration::from_secs(20);
/// A minute: every periodic task but the rarest gets its turn.
const IDLE: Duration = Duration::from_secs(60);
const METADATA_CALLS: usize = 5;

/// Measures one life with `partitions` partitions.
pub(crate) fn measure_many(
    program: &Program,
    place: &Place,
    partitions: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    let installed = program.install(place, 0)?;
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
    report.add(Row::ManyCreate, program, begin.elapsed().as_secs_f64());
    std::thread::sleep(SETTLE);
    report.add(Row::ManyMemory, program, each(process.resident_kib()?));

    produce_to_all(&mut client, partitions)?;
    report.add(Row::ManyFiles, program, process.open_files()? as f64);
    report.add(Row::ManyMemoryServed, program, each(process.resident_kib()?));
    measure_readers(program, &mut client, partitions, report)?;
    drop(client);
    std::thread::sleep(SETTLE);
    let spent = process.cpu_time()?;
    std::thread::sleep(IDLE);
    let spent = process.cpu_time()?.seconds_since(&spent);
    report.add(Row::ManyIdleCpu, program, spent / IDLE.as_secs_f64() * 60.0);

    let begin = now();
    process.stop()?;
    report.add(Row::ManyStop, program, begin.elapsed().as_secs_f64() * 1e3);
    let begin = now();
    let mut process = installed.spawn()?;
    serve_one(&mut process, TOPIC, partitions - 1)?;
    report.add(Row::ManyRestart, program, millis(begin));
    process.stop()?;
    Ok(())
}

/// Creates `topics` topics with ten partitions each, on a broker of its own.
pub(crate) fn measure_topics(
    program: &Program,
    place: &Place,
    topics: i32,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn()?;
    let mut client = process.connect()?;
    client.create_topic("first", 1)?;
    let begin = now();
    for topic in 0..topics {
        client.create_topic(&format!("topic-{topic}"), 10)?;
    }
    report.add(Row::ManyTopics, program, begin.elapsed().as_secs_f64());
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
        report.add(Row::ManyMetadata, program, millis(begin));
    }
    let mut read = 0;
    let begin = now();
    while read < partitions {
        read += client.fetch_all(TOPIC, read..partitions)?;
    }
    report.add(Row::ManyFetch, program, millis(begin));
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
