//! Processor time of servers for requests of groups: heartbeats and commits over eight
//! connections, one request under way on each, servers in turn.

use bytes::Bytes;

use crate::Failure;
use crate::client::Client;
use crate::groups::{self, Member};
use crate::machine::{CLIENT_CPU, on_cpu};
use crate::process::Process;
use crate::program::{Place, Program};
use crate::report::{Report, Row};

const TOPIC: &str = "groups";
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 100_000;
const WARM_UP_PASSES: usize = 2;

/// Servers that run on one processor, each with a group for every connection.
pub(crate) struct GroupLoad<'a> {
    servers: Vec<Server<'a>>,
    rows: Vec<Row>,
}

struct Server<'a> {
    program: &'a Program,
    process: Process,
    clients: Vec<Client>,
    heartbeats: Vec<Bytes>,
    commits: Vec<Bytes>,
}

impl<'a> GroupLoad<'a> {
    /// Starts the servers and warms them up.
    pub(crate) fn start(
        programs: &'a [Program],
        place: &'a Place,
        rows: Vec<Row>,
    ) -> Result<Self, Failure> {
        let mut servers = Vec::new();
        for (slot, program) in (0..).zip(programs) {
            let process = program.install(place, slot)?.spawn_pinned()?;
            servers.push(Server::prepare(program, process)?);
        }
        let mut load = GroupLoad { servers, rows };
        for _ in 0..WARM_UP_PASSES {
            load.pass(|_, _, _| {})?;
        }
        Ok(load)
    }

    /// Measures as many passes.
    pub(crate) fn measure(&mut self, passes: usize, report: &mut Report) -> Result<(), Failure> {
        for _ in 0..passes {
            self.pass(|row, program, cost| report.add(row, program, cost))?;
        }
        Ok(())
    }

    /// Stops the servers.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        for server in self.servers {
            drop(server.clients);
            server.process.stop()?;
        }
        Ok(())
    }

    fn pass(&mut self, mut note: impl FnMut(Row, &Program, f64)) -> Result<(), Failure> {
        for &row in &self.rows {
            for server in &mut self.servers {
                let cost = on_cpu(CLIENT_CPU, || server.pass(row))??;
                note(row, server.program, cost);
            }
        }
        Ok(())
    }
}

impl<'a> Server<'a> {
    fn prepare(program: &'a Program, mut process: Process) -> Result<Server<'a>, Failure> {
        let mut client = process.connect()?;
        let members = if program.is_floor() {
            (0..CONNECTIONS).map(Member::made_up).collect()
        } else {
            client.create_topic(TOPIC, 1)?;
            groups::prepare(&mut client)?;
            let members = groups::join(&mut client, TOPIC, CONNECTIONS)?;
            for member in &members {
                member.check(&mut client, TOPIC)?;
            }
            members
        };
        let clients: Result<Vec<_>, _> = members.iter().map(|_| process.connect()).collect();
        let heartbeats: Result<Vec<_>, _> = members.iter().map(Member::heartbeat).collect();
        let commits: Result<_, _> = members.iter().map(|member| member.commit(TOPIC)).collect();
        let (clients, heartbeats, commits) = (clients?, heartbeats?, commits?);
        Ok(Server { program, process, clients, heartbeats, commits })
    }

    /// Microseconds for a request.
    fn pass(&mut self, row: Row) -> Result<f64, Failure> {
        let frames = if row == Row::Heartbeat { &self.heartbeats } else { &self.commits };
        // The first answer of a pass is looked at, and all others must be like it.
        for (client, frame) in self.clients.iter_mut().zip(frames) {
            client.send(frame)?;
            client.expect_repeated()?;
        }
        let before = self.process.cpu_time()?;
        for (client, frame) in self.clients.iter_mut().zip(frames) {
            client.send(frame)?;
        }
        for _ in 1..REQUESTS / CONNECTIONS {
            for (client, frame) in self.clients.iter_mut().zip(frames) {
                client.receive_repeated()?;
                client.send(frame)?;
            }
        }
        for client in &mut self.clients {
            client.receive_repeated()?;
        }
        let spent = self.process.cpu_time()?.seconds_since(&before);
        Ok(spent * 1e6 / REQUESTS as f64)
    }
}
