//! Transactions: what a small one costs in both protocols, what readers of committed records pay,
//! and a partition that many producers have written to.

mod producer;
mod producers;
mod reading;

use std::time::Duration;

use crate::Failure;
use crate::closed::{histogram, nanos};
use crate::figure::Condition::OfKafka;
use crate::figure::Figure;
use crate::machine::now;
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Configs, Server, note_calls, start, stop};

use producer::{PARTITIONS, Protocol, TransactionalProducer};

/// Of a round.
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(5);
const TOPIC: &str = "transactions";
/// Both brokers keep few partitions of transactions.
const SETTINGS: &[(&str, &str)] = &[
    ("transaction.state.log.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
];

struct Workload {
    protocol: Protocol,
    cpu: Figure,
    p50: Figure,
    p99: Figure,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        protocol: Protocol::Kip890,
        cpu: Figure::new("txn-cpu", "10 records over 5 partitions, KIP-890: CPU us")
            .to_be(&[OfKafka(0.5)]),
        p50: Figure::new("txn-p50", "the same: p50, us").to_be(&[OfKafka(0.5)]),
        p99: Figure::new("txn-p99", "the same: p99, us"),
    },
    Workload {
        protocol: Protocol::Classic,
        cpu: Figure::new("txn-classic-cpu", "the same in the classic protocol: CPU us")
            .to_be(&[OfKafka(0.5)]),
        p50: Figure::new("txn-classic-p50", "the same: p50, us").to_be(&[OfKafka(0.5)]),
        p99: Figure::new("txn-classic-p99", "the same: p99, us"),
    },
];

/// Measures all of it.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    measure_small(context, report)?;
    reading::measure(context, report)?;
    producers::measure(context, report)
}

/// One transaction after the other, from its first request to the answer that it has ended.
fn measure_small(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let programs = context.brokers.iter().map(|it| (it.clone(), SETTINGS as Configs));
    let mut servers = start(&context.place, &programs.collect::<Vec<_>>())?;
    for server in &mut servers {
        server.process.connect()?.create_topic(TOPIC, PARTITIONS)?;
    }
    for workload in WORKLOADS {
        let mut producers = Vec::new();
        for server in &mut servers {
            let client = server.process.connect()?;
            producers.push(TransactionalProducer::begin(client, TOPIC, workload.protocol)?);
        }
        for pass in 0..=context.settings.passes {
            for (server, producer) in servers.iter().zip(&mut producers) {
                let time = if pass == 0 { WARM_UP } else { ROUND };
                round(server, producer, time, (pass > 0).then_some(workload), report)?;
            }
        }
        for (server, producer) in servers.iter().zip(&mut producers) {
            let scratch = &context.place.scratch;
            let (done, calls) = server.calls(scratch, || run(producer, ROUND))?;
            note_calls(&workload.cpu, &server.program, calls, done.len() as usize, report);
        }
    }
    stop(servers)
}

fn round(
    server: &Server,
    producer: &mut TransactionalProducer,
    time: Duration,
    workload: Option<&Workload>,
    report: &mut Report,
) -> Result<(), Failure> {
    let spent = server.spend(|| run(producer, time))?;
    let Some(workload) = workload else { return Ok(()) };
    let (program, latency) = (&server.program, spent.done);
    report.add(&workload.cpu, program, spent.cpu * 1e6 / latency.len() as f64);
    for (figure, part) in [(&workload.p50, 0.5), (&workload.p99, 0.99)] {
        report.add(figure, program, latency.value_at_quantile(part) as f64 / 1e3);
    }
    let rate = latency.len() as f64 / time.as_secs_f64();
    report.beside(&workload.cpu, "transactions/s", program, rate);
    Ok(())
}

fn run(
    producer: &mut TransactionalProducer,
    time: Duration,
) -> Result<hdrhistogram::Histogram<u64>, Failure> {
    let (begin, mut latency) = (now(), histogram());
    while begin.elapsed() < time {
        let sent = now();
        producer.transaction()?;
        latency.saturating_record(nanos(sent.elapsed()));
    }
    Ok(latency)
}
