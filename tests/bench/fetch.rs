//! Catching up: a log that is in the page cache is fetched from its front to its end over one
//! connection, one request at a time. Processor time for a GiB.

use std::io::Read;

use bytes::Bytes;

use crate::Failure;
use crate::client::{Client, produce_all_frame};
use crate::closed::{Done, histogram, nanos};
use crate::fetching::Fetch;
use crate::figure::Condition::OfFloor;
use crate::figure::Figure;
use crate::floor::fetch_frame;
use crate::machine::{GIB, now, warm_memory};
use crate::payload::{RECORD, batch_of};
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, note_calls, note_requests, start, stop};

const BATCH: usize = 1 << 20;
/// Batches of a log.
const BATCHES: usize = 512;
const LEN: usize = 4;

struct Workload {
    figure: Figure,
    topic: &'static str,
    partitions: i32,
    /// Bytes of each partition in an answer.
    piece: i32,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        figure: Figure::new("fetch-1m", "1 MiB in an answer: CPU s/GiB").to_be(&[OfFloor(1.15)]),
        topic: "one",
        partitions: 1,
        piece: 1 << 20,
    },
    Workload {
        figure: Figure::new("fetch-16m", "16 MiB in an answer: CPU s/GiB").to_be(&[OfFloor(1.15)]),
        topic: "one",
        partitions: 1,
        piece: 16 << 20,
    },
    Workload {
        figure: Figure::new("fetch-16x1m", "16 partitions, 1 MiB of each: CPU s/GiB")
            .to_be(&[OfFloor(1.15)]),
        topic: "sixteen",
        partitions: 16,
        piece: 1 << 20,
    },
];

/// Measures fetches of all kinds.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let programs = context.with_floor().into_iter().map(|it| (it, Configs::default()));
    let mut servers = start(&context.place, &programs.collect::<Vec<_>>())?;
    let batch = batch_of(BATCH, RECORD);
    for server in &mut servers {
        warm_memory(&context.place.scratch, 2 * BATCHES * BATCH)?;
        fill(server, &batch)?;
    }
    for workload in WORKLOADS {
        let mut readers = Vec::new();
        for server in &mut servers {
            readers.push(Reader::new(server, workload)?);
        }
        for pass in 0..=context.settings.passes {
            for (server, reader) in servers.iter().zip(&mut readers) {
                let spent = server.spend(|| reader.read_all())?;
                if pass > 0 {
                    let cost = spent.cpu * GIB / reader.bytes as f64;
                    report.add(&workload.figure, &server.program, cost);
                    note_requests(&workload.figure, &server.program, &spent.done, report);
                }
            }
        }
        for (server, reader) in servers.iter().zip(&mut readers) {
            let (done, calls) = server.calls(&context.place.scratch, || reader.read_all())?;
            note_calls(&workload.figure, &server.program, calls, done.requests, report);
        }
    }
    stop(servers)
}

/// Two topics of the same size; the floor has one file.
fn fill(server: &mut Server, batch: &Bytes) -> Result<(), Failure> {
    let mut client = server.process.connect()?;
    if !server.is_broker() {
        let frame = produce_all_frame("one", 0..1, batch)?;
        for _ in 0..BATCHES {
            client.send(&frame)?;
            client.receive()?;
        }
        return Ok(());
    }
    for (topic, partitions) in [("one", 1), ("sixteen", 16)] {
        client.create_topic(topic, partitions)?;
        for number in 0..BATCHES {
            let partition = i32::try_from(number)? % partitions;
            let frame = produce_all_frame(topic, partition..partition + 1, batch)?;
            client.produce_first(&frame)?;
        }
    }
    Ok(())
}

/// A connection that reads a log again and again.
pub(crate) struct Reader {
    client: Client,
    fetch: Fetch,
    /// Of the floor, which knows no offsets.
    floor_frame: Option<Vec<u8>>,
    buffer: Vec<u8>,
    /// Bytes of batches in the log.
    total: usize,
    /// Bytes of the last pass.
    bytes: usize,
}

impl Reader {
    fn new(server: &mut Server, workload: &Workload) -> Result<Reader, Failure> {
        let pieces = u32::try_from(workload.partitions)?;
        let piece = u32::try_from(workload.piece)?;
        Ok(Reader {
            client: server.process.connect()?,
            fetch: Fetch::new(workload.topic, 0..workload.partitions, workload.piece)?,
            floor_frame: (!server.is_broker()).then(|| fetch_frame(pieces, piece)),
            buffer: Vec::new(),
            total: BATCHES * batch_of(BATCH, RECORD).len(),
            bytes: 0,
        })
    }

    /// Reads `total` bytes of batches of a topic's first partition, in an isolation level.
    pub(crate) fn of(
        server: &mut Server,
        topic: &str,
        isolation: i8,
        total: usize,
        piece: i32,
    ) -> Result<Reader, Failure> {
        Ok(Reader {
            client: server.process.connect()?,
            fetch: Fetch::isolated(topic, 0..1, piece, isolation)?,
            floor_frame: None,
            buffer: Vec::new(),
            total,
            bytes: 0,
        })
    }

    pub(crate) fn read_all(&mut self) -> Result<Done, Failure> {
        let begin = now();
        let mut done = Done { requests: 0, seconds: 0.0, latency: histogram() };
        self.fetch.rewind();
        self.bytes = 0;
        while self.bytes < self.total {
            let sent = now();
            self.client.send(self.floor_frame.as_ref().unwrap_or(&self.fetch.frame))?;
            let len = self.receive()?;
            done.latency.saturating_record(nanos(sent.elapsed()));
            let read = if self.floor_frame.is_some() {
                len
            } else {
                self.fetch.take(&self.buffer[..len], |_, _| Ok(()))?
            };
            if read == 0 {
                return Err("a fetch came back empty".into());
            }
            (self.bytes, done.requests) = (self.bytes + read, done.requests + 1);
        }
        done.seconds = begin.elapsed().as_secs_f64();
        Ok(done)
    }

    /// Reads an answer into the front of the buffer.
    fn receive(&mut self) -> Result<usize, Failure> {
        let mut stream = self.client.stream();
        let mut len = [0; LEN];
        stream.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        self.buffer.resize(self.buffer.len().max(len), 0);
        stream.read_exact(&mut self.buffer[..len])?;
        Ok(len)
    }
}
