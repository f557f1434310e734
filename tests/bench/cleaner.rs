//! Compaction: how fast a log is compacted by one thread, what producers feel of it, and how much
//! memory many keys want.
//!
//! A topic is filled while its policy says that nothing is worth it; then that is changed, and the
//! time counts until `cleaner-offset-checkpoint` says that all closed segments are clean. Both
//! brokers look for work every 100 ms.

use std::fs;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_types::{LeaderEpoch, Offset};

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::figure::{Condition, Figure};
use crate::machine::{CLIENT_CPU, GIB, now, on_cpu, record_time};
use crate::open_loop::{OpenLoop, percentile};
use crate::payload::batch_of;
use crate::process::Process;
use crate::program::{Installed, Place, Program};
use crate::results::Report;
use crate::run::Context;

const CLEAN: Figure = Figure::new("clean", "compaction of records of 1 KiB, one thread: MB/s")
    .to_be(&[Condition::AtLeast(150.0)]);
const CLEAN_CPU: Figure = Figure::new("clean-cpu", "processor for that, s/GiB");
const CLEAN_QUIET_P50: Figure =
    Figure::new("clean-quiet-p50", "400 records of 1 KiB a second, quiet: p50, ms");
const CLEAN_QUIET_P99: Figure = Figure::new("clean-quiet-p99", "the same: p99, ms");
const CLEAN_BUSY_P50: Figure =
    Figure::new("clean-busy-p50", "the same beside a compaction: p50, ms");
const CLEAN_BUSY_P99: Figure =
    Figure::new("clean-busy-p99", "the same beside a compaction: p99, ms");
const MANY_KEYS: Figure =
    Figure::new("many-keys", "compaction of 10 M distinct keys in a table of 256 MiB: s");
const MANY_KEYS_MEMORY: Figure = Figure::new("many-keys-memory", "VmRSS behind it, MiB");

const SETTINGS: &[(&str, &str)] =
    &[("log.cleaner.backoff.ms", "100"), ("log.cleaner.dedupe.buffer.size", "268435456")];
const DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
const TOPIC: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.bytes", "134217728"), (DIRTY_RATIO, "1")];
/// The first is not counted: a JVM compiles its code while it runs.
const PASSES: usize = 3;
/// Records of each key.
const VERSIONS: usize = 10;
const CONNECTIONS: usize = 4;
/// Of each connection.
const INTERVAL: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_secs(5);
const CLEAN_MAX: Duration = Duration::from_secs(300);
const DISTINCT: usize = 10_000_000;

/// What a log is filled with: as many records, the keys in turn, in batches of about 64 KiB.
struct Fill {
    records: usize,
    keys: usize,
    value_len: usize,
}

/// Measures how fast a log is compacted, and one of many keys.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    for broker in &context.brokers {
        measure_rate(broker, &context.place, context.settings.gib << 28, report)?;
        measure_many_keys(broker, &context.place, report)?;
    }
    Ok(())
}

/// With `bytes` in a log: how fast it is compacted when nothing else is to be done, and then how
/// long producers wait beside it.
fn measure_rate(
    program: &Program,
    place: &Place,
    bytes: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let installed = program.install(place, 0)?.with(SETTINGS);
    let mut process = installed.spawn_pinned()?;
    let mut client = process.connect()?;
    let records = bytes / 1024;
    let fill = Fill { records, keys: records / VERSIONS, value_len: 1000 };
    let mut producers = producers(&mut process)?;
    for pass in 0..PASSES {
        let topic = format!("alone-{pass}");
        let dirty = on_cpu(CLIENT_CPU, || fill.run(&mut client, &installed, &topic))??;
        let (begin, before) = (now(), process.cpu_time()?);
        client.set_config(&topic, DIRTY_RATIO, "0")?;
        while !dirty.is_clean(&installed)? {
            std::thread::sleep(Duration::from_millis(2));
        }
        let (time, cpu) = (begin.elapsed(), process.cpu_time()?.seconds_since(&before));
        client.delete_topic(&topic)?;
        if pass > 0 {
            report.add(&CLEAN, program, dirty.bytes as f64 / 1e6 / time.as_secs_f64());
            report.add(&CLEAN_CPU, program, cpu * GIB / dirty.bytes as f64);
        }
        let topic = format!("beside-{pass}");
        let dirty = on_cpu(CLIENT_CPU, || fill.run(&mut client, &installed, &topic))??;
        let quiet = on_cpu(CLIENT_CPU, || producers.run(INTERVAL, QUIET, || false))??;
        client.set_config(&topic, DIRTY_RATIO, "0")?;
        let is_over = || dirty.is_clean(&installed).unwrap_or(true);
        let busy = on_cpu(CLIENT_CPU, || producers.run(INTERVAL, CLEAN_MAX, is_over))??;
        client.delete_topic(&topic)?;
        if pass > 0 {
            add_latencies(report, program, quiet, [&CLEAN_QUIET_P50, &CLEAN_QUIET_P99]);
            add_latencies(report, program, busy, [&CLEAN_BUSY_P50, &CLEAN_BUSY_P99]);
        }
    }
    drop((client, producers));
    process.stop()?;
    Ok(())
}

/// Ten million keys, once each.
fn measure_many_keys(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let installed = program.install(place, 0)?.with(SETTINGS);
    let mut process = installed.spawn_pinned()?;
    let mut client = process.connect()?;
    let fill = Fill { records: DISTINCT, keys: DISTINCT, value_len: 20 };
    let dirty = on_cpu(CLIENT_CPU, || fill.run(&mut client, &installed, "keys"))??;
    let begin = now();
    client.set_config("keys", DIRTY_RATIO, "0")?;
    let mut most = 0;
    while !dirty.is_clean(&installed)? {
        most = most.max(process.resident_kib()?);
        std::thread::sleep(Duration::from_millis(20));
    }
    report.add(&MANY_KEYS, program, begin.elapsed().as_secs_f64());
    report.add(&MANY_KEYS_MEMORY, program, most as f64 / 1024.0);
    drop(client);
    process.stop()?;
    Ok(())
}

/// Connections that produce one record of 1 KiB each time.
fn producers(process: &mut Process) -> Result<OpenLoop, Failure> {
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        let topic = format!("produced-{number}");
        let frame = produce_frame(&topic, batch_of(0, 1024))?;
        let mut client = process.connect()?;
        client.create_topic(&topic, 1)?;
        client.produce_first(&frame)?;
        clients.push((client, frame));
    }
    Ok(OpenLoop::new(clients)?)
}

fn add_latencies(report: &mut Report, program: &Program, mut all: Vec<f64>, figures: [&Figure; 2]) {
    for (figure, part) in figures.into_iter().zip([0.5, 0.99]) {
        report.add(figure, program, percentile(&mut all, part));
    }
}

impl Fill {
    /// Fills a new topic.
    fn run(
        &self,
        client: &mut Client,
        installed: &Installed<'_>,
        topic: &str,
    ) -> Result<Dirty, Failure> {
        client.create_topic_with(topic, 1, TOPIC)?;
        let in_batch = (65_536 / (self.value_len + 30)).max(1);
        let mut number = 0;
        while number < self.records {
            let next = (number + in_batch).min(self.records);
            client.produce_first(&produce_frame(topic, self.batch(number..next))?)?;
            number = next;
        }
        Ok(Dirty::look(installed, topic)?)
    }

    fn batch(&self, numbers: std::ops::Range<usize>) -> Bytes {
        let mut batch =
            BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), record_time());
        let mut value = vec![b'x'; self.value_len];
        for number in numbers {
            let key = format!("key-{:012}", number % self.keys);
            value[..8].copy_from_slice(&(number as u64).to_be_bytes());
            batch.push(Some(key.as_bytes()), Some(&value));
        }
        Bytes::from(batch.build())
    }
}

/// What there is to be compacted of a topic.
struct Dirty {
    /// Topic and partition, as the checkpoint has them.
    name: String,
    /// Bytes of closed segments.
    bytes: u64,
    /// Where the segment begins that is written to.
    end: u64,
}

impl Dirty {
    fn look(installed: &Installed<'_>, topic: &str) -> io::Result<Dirty> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(installed.data().join(format!("{topic}-0")))? {
            let entry = entry?;
            let name = entry.file_name();
            let base = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
            segments.extend(base.map(|base: u64| (base, entry.metadata())));
        }
        segments.sort_by_key(|(base, _)| *base);
        let Some((end, _)) = segments.pop() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut bytes = 0;
        for (_, metadata) in segments {
            bytes += metadata?.len();
        }
        Ok(Dirty { name: format!("{topic} 0 "), bytes, end })
    }

    /// Whether all of it is clean.
    fn is_clean(&self, installed: &Installed<'_>) -> io::Result<bool> {
        match fs::read_to_string(installed.data().join("cleaner-offset-checkpoint")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            text => {
                let text = text?;
                let offset = text.lines().find_map(|line| line.strip_prefix(&self.name));
                Ok(offset.is_some_and(|it| it.parse().is_ok_and(|it: u64| it >= self.end)))
            }
        }
    }
}
