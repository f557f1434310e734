//! Records that are on disk before they are acknowledged (`flush.messages=1`): requests in a second
//! and what they take of the processor. The floor has one log for all partitions, which is there
//! already, and one sync for all that came in one wake-up.

use std::time::Duration;

use crate::Failure;
use crate::client::produce_all_frame;
use crate::closed::{Closed, Expect, Frame, Until};
use crate::figure::Condition::{AtLeastOfKafka, OfKafka};
use crate::figure::Figure;
use crate::payload::{RECORD, batch_of};
use crate::program::Program;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, connect, note_calls, note_requests, start, stop};

const TOPIC: &str = "durable";
const FLUSH: Configs = &[("flush.messages", "1")];
const BATCH: usize = 4 << 10;
const CONNECTIONS: usize = 16;
const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(4);

struct Workload {
    rate: Figure,
    cpu: Figure,
    partitions: i32,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        rate: Figure::new("durable-64", "64 partitions, 16 connections, 4 KiB: requests/s")
            .to_be(&[AtLeastOfKafka(3.0)]),
        cpu: Figure::new("durable-64-cpu", "the same: CPU us for a request")
            .to_be(&[OfKafka(0.25)]),
        partitions: 64,
    },
    Workload {
        rate: Figure::new("durable-1", "1 partition, 16 connections, 4 KiB: requests/s"),
        cpu: Figure::new("durable-1-cpu", "the same: CPU us for a request"),
        partitions: 1,
    },
];

/// Measures many partitions, and one.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let programs = [vec![Program::DurableFloor], context.brokers.clone()].concat();
    let programs: Vec<_> = programs.into_iter().map(|it| (it, Configs::default())).collect();
    for workload in WORKLOADS {
        let mut servers = start(&context.place, &programs)?;
        let mut loads = Vec::new();
        for server in &mut servers {
            server.create(TOPIC, workload.partitions, FLUSH)?;
            loads.push(workload.load(server)?);
        }
        for pass in 0..=context.settings.passes {
            let time = if pass == 0 { WARM_UP } else { ROUND };
            for (server, load) in servers.iter().zip(&mut loads) {
                let spent = server.spend(|| load.run(Until::Time(time)))?;
                let (program, done) = (&server.program, &spent.done);
                if pass > 0 {
                    let requests = done.requests as f64;
                    report.add(&workload.rate, program, requests / done.seconds);
                    report.add(&workload.cpu, program, spent.cpu * 1e6 / requests);
                    note_requests(&workload.cpu, program, done, report);
                }
            }
        }
        for (server, load) in servers.iter().zip(&mut loads) {
            let scratch = &context.place.scratch;
            let (done, calls) = server.calls(scratch, || load.run(Until::Time(ROUND)))?;
            note_calls(&workload.cpu, &server.program, calls, done.requests, report);
        }
        drop(loads);
        stop(servers)?;
    }
    Ok(())
}

impl Workload {
    /// Each connection has as many partitions as the others, and takes them in turn.
    fn load(&self, server: &mut Server) -> Result<Closed, Failure> {
        let batch = batch_of(BATCH, RECORD);
        let clients = connect(&mut server.process, CONNECTIONS)?;
        let expect = if server.is_broker() { Expect::Acks(1) } else { Expect::Any };
        let mut connections = Vec::new();
        for (number, client) in (0..).zip(clients) {
            let each = self.partitions / i32::try_from(CONNECTIONS)?;
            let first = number * each;
            let bytes = produce_all_frame(TOPIC, first..first + 1, &batch)?.to_vec();
            let other = produce_all_frame(TOPIC, first + 1..first + 2, &batch)?;
            let last = bytes.iter().zip(&other).position(|(one, other)| one != other);
            let last = last.ok_or("partitions make no difference")?;
            let partition_at = (each > 1).then(|| last - 3);
            let frame = Frame { bytes, partition_at, partitions: first..first + each.max(1) };
            connections.push((client, frame, expect.clone()));
        }
        Ok(Closed::new(connections, 1)?)
    }
}
