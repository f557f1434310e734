//! Servers that run at the same time on one processor and are measured in turn: one round of each,
//! then the next round.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ottla_test_client::record_batch;

use crate::Failure;
use crate::client::{Client, produce_all_frame};
use crate::closed::{Closed, Done, Expect, Frame, Until};
use crate::counters::{Calls, count};
use crate::figure::Figure;
use crate::floor::delete_frame;
use crate::machine::{CLIENT_CPU, on_cpu, record_time};
use crate::process::Process;
use crate::program::{Place, Program};
use crate::results::Report;

/// For the removal of what the last pass wrote.
const PAUSE: Duration = Duration::from_millis(200);
/// Configs of a server, by key.
pub(crate) type Configs = &'static [(&'static str, &'static str)];

/// A running server.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) configs: Configs,
    pub(crate) process: Process,
}

/// What a piece of work took of the server.
pub(crate) struct Spent<T> {
    pub(crate) done: T,
    /// Seconds of its threads.
    pub(crate) cpu: f64,
}

/// Requests that a JVM answers before anything is counted, so that its code is compiled.
const WARM_UP: usize = 60_000;
/// For what it compiles behind them.
const SETTLE: Duration = Duration::from_secs(1);

/// Starts servers, each with configs of its own, and warms up those that need it.
pub(crate) fn start(place: &Place, of: &[(Program, Configs)]) -> Result<Vec<Server>, Failure> {
    let mut servers = Vec::new();
    for (slot, (program, configs)) in (0..).zip(of) {
        let mut process = program.install(place, slot)?.with(configs).spawn_pinned()?;
        process.connect()?;
        let mut server = Server { program: program.clone(), configs, process };
        if program.is_slow() {
            server.warm_up()?;
        }
        servers.push(server);
    }
    Ok(servers)
}

/// Stops them.
pub(crate) fn stop(servers: Vec<Server>) -> Result<(), Failure> {
    servers.into_iter().try_for_each(|server| Ok(server.process.stop()?))
}

impl Server {
    pub(crate) fn is_broker(&self) -> bool {
        !self.program.is_floor()
    }

    fn warm_up(&mut self) -> Result<(), Failure> {
        self.create("warm-up", 1, &[])?;
        let frame = Frame::fixed(&produce_all_frame("warm-up", 0..1, &first_record())?);
        let connection = (self.process.connect()?, frame, Expect::Acks(1));
        let mut load = Closed::new(vec![connection], 5)?;
        on_cpu(CLIENT_CPU, || load.run(Until::Requests(WARM_UP)))??;
        std::thread::sleep(SETTLE);
        self.delete("warm-up")
    }

    /// A topic with configs whose partitions have taken a record; nothing at the floor.
    pub(crate) fn create(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: Configs,
    ) -> Result<(), Failure> {
        if self.is_broker() {
            let mut client = self.process.connect()?;
            client.create_topic_with(topic, partitions, configs)?;
            client.produce_first(&produce_all_frame(topic, 0..partitions, &first_record())?)?;
        }
        Ok(())
    }

    /// Deletes a topic; empties the floor's file.
    pub(crate) fn delete(&mut self, topic: &str) -> Result<(), Failure> {
        let mut client = self.process.connect()?;
        if self.is_broker() {
            client.delete_topic(topic)?;
        } else {
            client.send(&delete_frame())?;
            client.receive()?;
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    /// Does work on the client's processor, and tells what it took.
    pub(crate) fn spend<T>(
        &self,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<Spent<T>, Failure> {
        let before = self.process.cpu_time()?;
        let done = on_cpu(CLIENT_CPU, work)??;
        Ok(Spent { done, cpu: self.process.cpu_time()?.seconds_since(&before) })
    }

    /// The same with the system calls that it took, where they can be counted.
    pub(crate) fn calls<T>(
        &self,
        scratch: &Path,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, Option<Calls>), Failure> {
        let (done, calls) = count(self.process.id(), scratch, || on_cpu(CLIENT_CPU, work))?;
        Ok((done??, calls))
    }

    /// Notes the resident memory of all of its pages.
    pub(crate) fn note_memory(&self, figure: &Figure, report: &mut Report) -> Result<(), Failure> {
        report.add(figure, &self.program, self.process.resident_kib()? as f64 / 1024.0);
        Ok(())
    }
}

/// Keeps what else is known of requests that were answered.
pub(crate) fn note_requests(figure: &Figure, program: &Program, done: &Done, report: &mut Report) {
    report.beside(figure, "requests/s", program, done.requests as f64 / done.seconds);
    for (what, part) in [("p50, us", 0.5), ("p99, us", 0.99)] {
        let micros = done.latency.value_at_quantile(part) as f64 / 1e3;
        report.beside(figure, what, program, micros);
    }
}

/// Keeps how many system calls a request took.
pub(crate) fn note_calls(
    figure: &Figure,
    program: &Program,
    calls: Option<Calls>,
    requests: usize,
    report: &mut Report,
) {
    if let Some(calls) = calls {
        report.beside(figure, "system calls", program, calls.all / requests as f64);
        if calls.syncs > 0.0 {
            report.beside(figure, "syncs", program, calls.syncs / requests as f64);
        }
    }
}

/// A connection that took a record.
pub(crate) fn first_record() -> Bytes {
    record_batch(record_time(), None, &[b"first".to_vec()])
}

/// Connections, as many as asked for.
pub(crate) fn connect(process: &mut Process, count: usize) -> Result<Vec<Client>, Failure> {
    (0..count).map(|_| Ok(process.connect()?)).collect()
}
