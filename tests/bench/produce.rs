//! Batches produced over one connection, one request at a time: processor time for a GiB that goes
//! over the wire. Ottla runs twice, once in each mode of `ottla.produce.validation`; Apache Kafka
//! and the floor have one way each, which stands beside both.
//!
//! Every pass has a topic of its own, and memory that was touched right before.

use bytes::Bytes;
use ottla_protocol::compression::Codec;

use crate::Failure;
use crate::client::produce_all_frame;
use crate::closed::{Closed, Done, Expect, Frame, Until};
use crate::figure::Condition::{self, AboveRelaxed, OfFloor, OfKafka};
use crate::figure::Figure;
use crate::machine::{GIB, warm_memory};
use crate::payload::{RECORD, batch_of, compressed_batch_of};
use crate::program::Program;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, note_calls, note_requests, start, stop};

const RELAXED: Configs = &[("ottla.produce.validation", "relaxed")];
const MIB: usize = 1 << 20;
/// Requests of a pass in which system calls are counted.
const CALLS: usize = 1000;
/// A GiB of records of 1 KiB, at 8 ns each.
const STRICT: &[Condition] = &[AboveRelaxed(8e-9 * (1 << 20) as f64)];
/// Of compressed batches in strict mode.
const COMPRESSED: &[Condition] = &[OfKafka(0.8)];

const MEMORY: Figure = Figure::new("produce-memory", "VmRSS behind these, MiB");
const CODECS_MEMORY: Figure = Figure::new("codecs-memory", "VmRSS behind these, MiB");

/// One kind of requests.
struct Workload {
    relaxed: Figure,
    strict: Figure,
    /// Bytes of a batch before it is compressed.
    batch: usize,
    codec: Codec,
    partitions: i32,
    /// In each request; the others take turns.
    together: i32,
    /// MiB of a pass, as they go over the wire.
    mib: usize,
}

const PLAIN: Workload = Workload {
    relaxed: Figure::new("", ""),
    strict: Figure::new("", ""),
    batch: MIB,
    codec: Codec::None,
    partitions: 1,
    together: 1,
    mib: 256,
};

const BULK: &[Workload] = &[
    Workload {
        relaxed: Figure::new("produce-1m-relaxed", "batches of 1 MiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.25)]),
        strict: Figure::new("produce-1m-strict", "the same, strict").to_be(STRICT),
        mib: 512,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new("produce-64k-relaxed", "batches of 64 KiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.4)]),
        strict: Figure::new("produce-64k-strict", "the same, strict").to_be(STRICT),
        batch: 64 << 10,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new("produce-16k-relaxed", "batches of 16 KiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.5)]),
        strict: Figure::new("produce-16k-strict", "the same, strict").to_be(STRICT),
        batch: 16 << 10,
        mib: 128,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new(
            "produce-64x1m-relaxed",
            "64 partitions in turn, batches of 1 MiB, relaxed: CPU s/GiB",
        )
        .to_be(&[OfFloor(1.25)]),
        strict: Figure::new("produce-64x1m-strict", "the same, strict").to_be(STRICT),
        partitions: 64,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new(
            "produce-64x64k-relaxed",
            "64 partitions in turn, batches of 64 KiB, relaxed: CPU s/GiB",
        )
        .to_be(&[OfFloor(1.4)]),
        strict: Figure::new("produce-64x64k-strict", "the same, strict").to_be(STRICT),
        batch: 64 << 10,
        partitions: 64,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new(
            "produce-64x16k-relaxed",
            "64 partitions in turn, batches of 16 KiB, relaxed: CPU s/GiB",
        )
        .to_be(&[OfFloor(1.5)]),
        strict: Figure::new("produce-64x16k-strict", "the same, strict").to_be(STRICT),
        batch: 16 << 10,
        partitions: 64,
        mib: 128,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new(
            "produce-16in1-relaxed",
            "16 batches of 16 KiB for 16 partitions in each request, relaxed: CPU s/GiB",
        ),
        strict: Figure::new("produce-16in1-strict", "the same, strict").to_be(STRICT),
        batch: 16 << 10,
        partitions: 16,
        together: 16,
        ..PLAIN
    },
];

const CODECS: &[Workload] = &[
    Workload {
        relaxed: Figure::new("lz4-1m-relaxed", "lz4, batches of 1 MiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.25)]),
        strict: Figure::new("lz4-1m-strict", "the same, strict").to_be(COMPRESSED),
        codec: Codec::Lz4,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new("lz4-16k-relaxed", "lz4, batches of 16 KiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.6)]),
        strict: Figure::new("lz4-16k-strict", "the same, strict").to_be(COMPRESSED),
        codec: Codec::Lz4,
        batch: 16 << 10,
        mib: 64,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new("zstd-1m-relaxed", "zstd, batches of 1 MiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.25)]),
        strict: Figure::new("zstd-1m-strict", "the same, strict").to_be(COMPRESSED),
        codec: Codec::Zstd(3),
        mib: 128,
        ..PLAIN
    },
    Workload {
        relaxed: Figure::new("zstd-16k-relaxed", "zstd, batches of 16 KiB, relaxed: CPU s/GiB")
            .to_be(&[OfFloor(1.6)]),
        strict: Figure::new("zstd-16k-strict", "the same, strict").to_be(COMPRESSED),
        codec: Codec::Zstd(3),
        batch: 16 << 10,
        mib: 32,
        ..PLAIN
    },
];

/// Uncompressed batches.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    measure_all(context, BULK, &MEMORY, report)
}

/// Compressed batches.
pub(crate) fn measure_codecs(context: &Context, report: &mut Report) -> Result<(), Failure> {
    measure_all(context, CODECS, &CODECS_MEMORY, report)
}

fn measure_all(
    context: &Context,
    workloads: &[Workload],
    memory: &Figure,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut programs: Vec<(Program, Configs)> =
        context.with_floor().into_iter().map(|program| (program, Configs::default())).collect();
    // Behind the strict one.
    programs.insert(2, (context.brokers[0].clone(), RELAXED));
    let mut servers = start(&context.place, &programs)?;
    for workload in workloads {
        let batch = workload.batch();
        if !matches!(workload.codec, Codec::None) {
            let (key, bytes) = (workload.relaxed.key, batch.len());
            report.note(format!("`{key}`: {bytes} bytes go over the wire for a batch"));
        }
        for pass in 0..=context.settings.passes {
            for server in &mut servers {
                let bytes = workload.mib * MIB;
                warm_memory(&context.place.scratch, bytes)?;
                let done = pass_of(server, workload, &batch, bytes)?;
                let figures = if pass > 0 { workload.figures_of(server) } else { Vec::new() };
                for figure in figures {
                    report.add(figure, &server.program, done.cpu_per_gib);
                    note_requests(figure, &server.program, &done.done, report);
                }
            }
        }
        for server in &mut servers {
            count_calls(server, context, workload, &batch, report)?;
        }
    }
    for server in &servers {
        if server.configs.is_empty() {
            server.note_memory(memory, report)?;
        }
    }
    stop(servers)
}

struct Pass {
    cpu_per_gib: f64,
    done: Done,
}

impl Workload {
    fn batch(&self) -> Bytes {
        match self.codec {
            Codec::None => batch_of(self.batch, RECORD),
            codec => compressed_batch_of(self.batch, codec),
        }
    }

    /// Where a server's values belong.
    fn figures_of(&self, server: &Server) -> Vec<&Figure> {
        match (&server.program, server.configs.is_empty()) {
            (Program::Ottla(_), false) => vec![&self.relaxed],
            (Program::Ottla(_), true) => vec![&self.strict],
            _ => vec![&self.relaxed, &self.strict],
        }
    }

    fn frame(&self, batch: &Bytes) -> Result<Frame, Failure> {
        let to = |first: i32| produce_all_frame("produce", first..first + self.together, batch);
        let bytes = to(0)?.to_vec();
        if self.together == self.partitions {
            return Ok(Frame::fixed(&bytes));
        }
        // Frames for two partitions differ in the last byte of the index.
        let other = to(1)?;
        let last = bytes.iter().zip(&other).position(|(one, other)| one != other);
        let partition_at = last.ok_or("partitions make no difference")?.checked_sub(3);
        Ok(Frame { bytes, partition_at, partitions: 0..self.partitions })
    }

    fn load(&self, server: &mut Server, batch: &Bytes) -> Result<Closed, Failure> {
        let expect = if server.is_broker() {
            Expect::Acks(usize::try_from(self.together)?)
        } else {
            Expect::Any
        };
        Ok(Closed::new(vec![(server.process.connect()?, self.frame(batch)?, expect)], 1)?)
    }
}

/// Produces as many bytes to a topic of its own.
fn pass_of(
    server: &mut Server,
    workload: &Workload,
    batch: &Bytes,
    bytes: usize,
) -> Result<Pass, Failure> {
    let in_request = batch.len() * usize::try_from(workload.together)?;
    let requests = bytes / in_request;
    server.create("produce", workload.partitions, &[])?;
    let mut load = workload.load(server, batch)?;
    let spent = server.spend(|| load.run(Until::Requests(requests)))?;
    drop(load);
    server.delete("produce")?;
    let produced = (spent.done.requests * in_request) as f64;
    Ok(Pass { cpu_per_gib: spent.cpu * GIB / produced, done: spent.done })
}

fn count_calls(
    server: &mut Server,
    context: &Context,
    workload: &Workload,
    batch: &Bytes,
    report: &mut Report,
) -> Result<(), Failure> {
    let in_request = batch.len() * usize::try_from(workload.together)?;
    let requests = CALLS.min(workload.mib * MIB / in_request);
    server.create("produce", workload.partitions, &[])?;
    let mut load = workload.load(server, batch)?;
    let scratch = &context.place.scratch;
    let (done, calls) = server.calls(scratch, || load.run(Until::Requests(requests)))?;
    drop(load);
    server.delete("produce")?;
    for figure in workload.figures_of(server) {
        note_calls(figure, &server.program, calls, done.requests, report);
    }
    Ok(())
}
