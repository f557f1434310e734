//! A log of transactions read from its front, by readers of all records and of committed ones.
//!
//! Transactions of four batches of 64 KiB and of one partition; every fourth is aborted.

use crate::Failure;
use crate::fetch::Reader;
use crate::figure::Condition::AtMost;
use crate::figure::Figure;
use crate::machine::{GIB, warm_memory};
use crate::payload::RECORD;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, start, stop};

use super::SETTINGS;
use super::producer::{Protocol, TransactionalProducer};

const UNCOMMITTED: Figure =
    Figure::new("read-uncommitted", "transactions of 256 KiB, all records: CPU s/GiB");
const COMMITTED: Figure = Figure::new("read-committed", "the same, committed records: CPU s/GiB");
const TIMES: Figure = Figure::new("read-committed-times", "committed over all, of the same round")
    .to_be(&[AtMost(1.1)]);
const TOPIC: &str = "read";
const BATCHES: usize = 4;
const TRANSACTIONS: usize = 1_500;
const PIECE: i32 = 1 << 20;

/// Measures both readers in turn.
pub(super) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let programs = context.brokers.iter().map(|it| (it.clone(), SETTINGS as Configs));
    let mut servers = start(&context.place, &programs.collect::<Vec<_>>())?;
    for server in &mut servers {
        warm_memory(&context.place.scratch, 2 * TRANSACTIONS * BATCHES * (64 << 10))?;
        let total = fill(server)?;
        let mut readers =
            [0, 1].map(|isolation| Reader::of(server, TOPIC, isolation, total, PIECE));
        for pass in 0..=context.settings.passes {
            let mut costs = [0.0; 2];
            for (reader, cost) in readers.iter_mut().zip(&mut costs) {
                let reader = reader.as_mut().map_err(|error| error.to_string())?;
                let spent = server.spend(|| reader.read_all())?;
                *cost = spent.cpu * GIB / total as f64;
            }
            if pass > 0 {
                report.add(&UNCOMMITTED, &server.program, costs[0]);
                report.add(&COMMITTED, &server.program, costs[1]);
                report.add(&TIMES, &server.program, costs[1] / costs[0]);
            }
        }
    }
    stop(servers)
}

/// Fills the topic; tells the bytes of batches in it, without the markers.
fn fill(server: &mut Server) -> Result<usize, Failure> {
    let mut client = server.process.connect()?;
    client.create_topic(TOPIC, 1)?;
    let mut producer = TransactionalProducer::begin(client, TOPIC, Protocol::Kip890)?;
    let (value, mut total) = (vec![b'x'; RECORD], 0);
    for number in 0..TRANSACTIONS {
        for _ in 0..BATCHES {
            let batch = producer.batch(62, &value);
            producer.write(0..1, &batch, 62)?;
            total += batch.len();
        }
        producer.end(number % 4 != 0)?;
    }
    Ok(total)
}
