//! Connections that say nothing, and consumers that wait for what does not come. One life of each
//! server: looked at before there are any, with them, and while they wait.

use std::io::Write;
use std::time::Duration;

use crate::Failure;
use crate::client::Client;
use crate::fetching::Fetch;
use crate::figure::Condition::AtMost;
use crate::figure::Figure;
use crate::floor::wait_frame;
use crate::machine::{CLIENT_CPU, now, on_cpu};
use crate::results::Report;
use crate::run::Context;
use crate::servers::{Server, connect, start, stop};

const TOPIC: &str = "idle";
const CONNECTIONS: usize = 5_000;
/// Connections that ask first: what the first ones take is not the connections'.
const FIRST: usize = 200;
const POLLS: usize = 1_000;
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(8);

const CONNECT: Figure =
    Figure::new("connect", "5,000 connections, a request on each: CPU us for one");
const MEMORY: Figure =
    Figure::new("connection-memory", "idle connections: VmRSS of each, KiB").to_be(&[AtMost(3.0)]);
const CPU: Figure = Figure::new("connection-cpu", "5,000 idle connections: processor, %");
const POLL_CPU: Figure =
    Figure::new("poll-cpu", "1,000 consumers, fetches that wait 500 ms: processor, %");

/// Measures one life of each server.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    for program in context.with_floor() {
        let mut servers = start(&context.place, &[(program, &[])])?;
        for server in &mut servers {
            server.create(TOPIC, 1, &[])?;
            on_cpu(CLIENT_CPU, || measure_one(server, report))??;
        }
        stop(servers)?;
    }
    Ok(())
}

fn measure_one(server: &mut Server, report: &mut Report) -> Result<(), Failure> {
    let program = server.program.clone();
    let mut clients = connect(&mut server.process, FIRST)?;
    ask_all(&mut clients)?;
    std::thread::sleep(SETTLE);
    let (kib, cpu) = (server.process.resident_kib()?, server.process.cpu_time()?);
    let mut more = connect(&mut server.process, CONNECTIONS - FIRST)?;
    ask_all(&mut more)?;
    let spent = server.process.cpu_time()?.seconds_since(&cpu);
    report.add(&CONNECT, &program, spent * 1e6 / more.len() as f64);
    std::thread::sleep(SETTLE);
    let grown = server.process.resident_kib()?.saturating_sub(kib);
    report.add(&MEMORY, &program, grown as f64 / more.len() as f64);
    let cpu = server.process.cpu_time()?;
    std::thread::sleep(IDLE);
    let percent = |seconds: f64| seconds / IDLE.as_secs_f64() * 100.0;
    report.add(&CPU, &program, percent(server.process.cpu_time()?.seconds_since(&cpu)));
    drop(more);
    clients.extend(connect(&mut server.process, POLLS - FIRST)?);
    std::thread::sleep(SETTLE);
    let frame = if server.is_broker() {
        let mut fetch = Fetch::new(TOPIC, 0..1, 1 << 20)?;
        // Behind the record with which the topic began.
        fetch.begin_at(1);
        fetch.frame
    } else {
        wait_frame()
    };
    let cpu = server.process.cpu_time()?;
    poll_all(&mut clients, &frame)?;
    report.add(&POLL_CPU, &program, percent(server.process.cpu_time()?.seconds_since(&cpu)));
    Ok(())
}

fn ask_all(clients: &mut [Client]) -> Result<(), Failure> {
    let frame = crate::requests::api_versions()?;
    for client in clients {
        client.send(&frame)?;
        client.receive()?;
    }
    Ok(())
}

/// Each connection has a fetch under way all the time, and they are evenly spread.
fn poll_all(clients: &mut [Client], frame: &[u8]) -> Result<(), Failure> {
    let begin = now();
    let step = Duration::from_millis(500) / u32::try_from(clients.len())?;
    for (number, client) in (0..).zip(&*clients) {
        std::thread::sleep((step * number).saturating_sub(begin.elapsed()));
        client.stream().write_all(frame)?;
    }
    while begin.elapsed() < IDLE {
        for client in &mut *clients {
            client.receive()?;
            client.send(frame)?;
        }
    }
    for client in clients {
        client.receive()?;
    }
    Ok(())
}
