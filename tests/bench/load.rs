//! Processor time of servers under load, in turn: one pass of each server, then the next pass.
//!
//! Every pass has a topic of its own, and large ones memory that was touched right before. Requests
//! that are not counted come first: a JVM compiles its code while it runs.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use ottla_test_client::record_batch;
use ottla_types::Offset;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::floor::PIECE;
use crate::machine::{CLIENT_CPU, GIB, on_cpu, record_time, warm_memory};
use crate::process::Process;
use crate::program::{Place, Program};
use crate::report::{Report, Row};

const BATCH_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = 1024;
const SMALL_RECORD_BYTES: usize = 100;
const SMALL_REQUESTS: usize = 50_000;
const PIPELINED: usize = 5;
const WARM_UP_PASSES: usize = 4;
/// Length, key, version, correlation id: the floor looks at no more.
const FLOOR_FETCH: [u8; 12] = [0, 0, 0, 8, 0, 1, 0, 11, 0, 0, 0, 1];
const FLOOR_DELETE: [u8; 12] = [0, 0, 0, 8, 0, 20, 0, 6, 0, 0, 0, 1];
/// For the removal of what the last pass wrote.
const PAUSE: Duration = Duration::from_millis(300);

/// How much load.
#[derive(Clone, Copy)]
pub(crate) struct LoadSettings {
    /// Counted passes.
    pub(crate) passes: usize,
    /// Bytes of a pass.
    pub(crate) bytes: usize,
}

/// Servers that run on one processor and are measured in turn.
pub(crate) struct Loaded<'a> {
    servers: Vec<Server<'a>>,
    place: &'a Place,
    settings: LoadSettings,
}

struct Server<'a> {
    program: &'a Program,
    process: Process,
}

impl Server<'_> {
    fn is_broker(&self) -> bool {
        !self.program.is_floor()
    }
}

impl<'a> Loaded<'a> {
    /// Starts the servers and warms them up.
    pub(crate) fn start(
        programs: &'a [Program],
        place: &'a Place,
        settings: LoadSettings,
    ) -> Result<Loaded<'a>, Failure> {
        let mut servers = Vec::new();
        for (slot, program) in (0..).zip(programs) {
            let mut process = program.install(place, slot)?.spawn_pinned()?;
            process.connect()?;
            servers.push(Server { program, process });
        }
        let mut loaded = Loaded { servers, place, settings };
        for pass in 0..WARM_UP_PASSES {
            loaded.small_passes(&format!("warm-{pass}"), PIPELINED, |_, _| {})?;
        }
        Ok(loaded)
    }

    /// Produces batches of 1 MiB to one partition over one connection, one request at a time, and
    /// fetches them again.
    pub(crate) fn measure_bulk(&mut self, report: &mut Report) -> Result<(), Failure> {
        let batch = batch_of(BATCH_BYTES, RECORD_BYTES);
        let bytes = self.settings.bytes;
        for pass in 0..=self.settings.passes {
            for server in &mut self.servers {
                warm_memory(&self.place.scratch, bytes)?;
                let spent = on_cpu(CLIENT_CPU, || bulk_pass(server, &batch, pass, bytes))??;
                if pass > 0 {
                    report.add(Row::Produce, server.program, spent.produce);
                    report.add(Row::Fetch, server.program, spent.fetch);
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Produces one record in a request: one request at a time, then several under way.
    pub(crate) fn measure_small(&mut self, report: &mut Report) -> Result<(), Failure> {
        for pass in 0..self.settings.passes {
            for (row, pipelined) in [(Row::SmallAlone, 1), (Row::SmallPipelined, PIPELINED)] {
                let topic = format!("small-{pass}-{pipelined}");
                self.small_passes(&topic, pipelined, |program, cost| {
                    report.add(row, program, cost);
                })?;
            }
        }
        Ok(())
    }

    fn small_passes(
        &mut self,
        topic: &str,
        pipelined: usize,
        mut note: impl FnMut(&Program, f64),
    ) -> Result<(), Failure> {
        let batch = batch_of(0, SMALL_RECORD_BYTES);
        for server in &mut self.servers {
            let cost = on_cpu(CLIENT_CPU, || small_pass(server, &batch, topic, pipelined))??;
            note(server.program, cost);
        }
        Ok(())
    }

    /// Stops the servers.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        for server in self.servers {
            server.process.stop()?;
        }
        Ok(())
    }
}

/// Seconds for a GiB.
struct BulkCost {
    produce: f64,
    fetch: f64,
}

fn bulk_pass(
    server: &mut Server<'_>,
    batch: &Bytes,
    pass: usize,
    bytes: usize,
) -> Result<BulkCost, Failure> {
    let topic = format!("bulk-{pass}");
    let count = bytes / batch.len();
    let mut client = server.process.connect()?;
    let frame = produce_frame(&topic, batch.clone())?;
    if server.is_broker() {
        client.create_topic(&topic, 1)?;
        client.produce_first(&frame)?;
    }
    let before = server.process.cpu_time()?;
    for _ in 0..count {
        produce_one(server, &mut client, &frame)?;
    }
    let produced = server.process.cpu_time()?.seconds_since(&before);
    let before = server.process.cpu_time()?;
    let fetched_bytes = fetch_all(server, &mut client, &topic, batch.len(), count)?;
    let fetched = server.process.cpu_time()?.seconds_since(&before);
    delete(server, &mut client, &topic)?;
    Ok(BulkCost {
        produce: produced * GIB / (count * batch.len()) as f64,
        fetch: fetched * GIB / fetched_bytes as f64,
    })
}

fn produce_one(server: &Server<'_>, client: &mut Client, frame: &[u8]) -> Result<(), Failure> {
    client.send(frame)?;
    if server.is_broker() {
        client.acknowledged()?;
    } else {
        client.receive()?;
    }
    Ok(())
}

fn delete(server: &Server<'_>, client: &mut Client, topic: &str) -> Result<(), Failure> {
    if server.is_broker() {
        client.delete_topic(topic)?;
    } else {
        client.send(&FLOOR_DELETE)?;
        client.receive()?;
    }
    Ok(())
}

/// Fetches all that was produced, a batch at a time; tells how many bytes that were.
fn fetch_all(
    server: &Server<'_>,
    client: &mut Client,
    topic: &str,
    batch_len: usize,
    count: usize,
) -> Result<usize, Failure> {
    if !server.is_broker() {
        for _ in 0..count {
            client.send(&FLOOR_FETCH)?;
            // As much work for the client as with a broker: its pace is part of a server's cost.
            drop(black_box(Bytes::copy_from_slice(client.receive()?)));
        }
        return Ok(count * PIECE);
    }
    let bytes_max = i32::try_from(batch_len)?;
    let (mut offset, mut total) = (Offset(0), 0);
    while total < batch_len * count {
        let (bytes, next) = client.fetch(topic, offset, bytes_max)?;
        if next == offset {
            return Err("a fetch came back empty".into());
        }
        (offset, total) = (next, total + bytes);
    }
    Ok(total)
}

/// Microseconds for a request.
fn small_pass(
    server: &mut Server<'_>,
    batch: &Bytes,
    topic: &str,
    pipelined: usize,
) -> Result<f64, Failure> {
    let mut client = server.process.connect()?;
    let frame = produce_frame(topic, batch.clone())?;
    if server.is_broker() {
        client.create_topic(topic, 1)?;
        client.produce_first(&frame)?;
    }
    let before = server.process.cpu_time()?;
    for _ in 1..pipelined {
        client.send(&frame)?;
    }
    for _ in 0..SMALL_REQUESTS {
        produce_one(server, &mut client, &frame)?;
    }
    for _ in 1..pipelined {
        client.receive()?;
    }
    let requests = SMALL_REQUESTS + pipelined - 1;
    let spent = server.process.cpu_time()?.seconds_since(&before);
    delete(server, &mut client, topic)?;
    Ok(spent * 1e6 / requests as f64)
}

/// A batch of at most `bytes`, and at least one record.
pub(crate) fn batch_of(bytes: usize, record_bytes: usize) -> Bytes {
    // A record costs at most a dozen bytes beside its value, and a batch 61.
    let count = (bytes.saturating_sub(61) / (record_bytes + 12)).max(1);
    record_batch(record_time(), None, &vec![vec![b'x'; record_bytes]; count])
}
