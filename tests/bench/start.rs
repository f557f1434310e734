//! From exec to an open port and to the first acknowledged record; and what an idle node takes.

use std::time::Duration;

use bytes::Bytes;
use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::machine::{now, record_time};
use crate::program::{Place, Program};
use crate::report::{Report, Row};

const TOPIC: &str = "first";
const IDLE: Duration = Duration::from_secs(10);
/// Starts of an idle node.
const IDLE_RUNS: usize = 3;

/// Starts a broker again and again, each time on a fresh directory and then on the same one.
pub(crate) fn measure_starts(
    program: &Program,
    place: &Place,
    starts: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let starts = if matches!(program, Program::Kafka(_)) { starts.div_ceil(3) } else { starts };
    let first_record = first_record()?;
    for _ in 0..starts {
        let installed = program.install(place, 0)?;
        let begin = now();
        let mut process = installed.spawn()?;
        let mut client = process.connect()?;
        report.add(Row::StartFresh, program, millis(begin.elapsed()));
        client.create_topic(TOPIC, 1)?;
        client.produce_first(&first_record)?;
        report.add(Row::FirstAck, program, millis(begin.elapsed()));
        drop(client);
        process.stop()?;
        let begin = now();
        let mut process = installed.spawn()?;
        process.connect()?;
        report.add(Row::StartAgain, program, millis(begin.elapsed()));
        process.stop()?;
    }
    Ok(())
}

/// Starts a broker, lets it take one record, and looks at it after a while of doing nothing.
pub(crate) fn measure_idle(
    program: &Program,
    place: &Place,
    report: &mut Report,
) -> Result<(), Failure> {
    let first_record = first_record()?;
    for _ in 0..IDLE_RUNS {
        let installed = program.install(place, 0)?;
        let mut process = installed.spawn()?;
        take_one(process.connect()?, &first_record)?;
        let before = process.cpu_time()?;
        std::thread::sleep(IDLE);
        let spent = process.cpu_time()?.seconds_since(&before);
        report.add(Row::IdleMemory, program, process.resident_kib()? as f64 / 1024.0);
        report.add(Row::IdleCpu, program, spent / IDLE.as_secs_f64() * 100.0);
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
