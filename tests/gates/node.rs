//! A node in a simulated world with real files, and a client of it.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::Request;
use ottla_config::NodeConfig;
use ottla_node::{NodeParts, run};
use ottla_runtime::sim::SimWorld;
use ottla_runtime::{Plane, Runtime};
use ottla_test_client::{Connection, decode_response};

use crate::Failure;
use crate::mark::mark;
use crate::requests::frame;

/// Virtual time within which a node must be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Repetitions before counting: what is taken once is taken then.
const WARM: usize = 4;

/// A node that serves, and a connection to it.
pub struct Node {
    /// The connection, for what is not counted.
    pub client: Connection,
    /// The client's world.
    pub clients: Runtime,
}

impl Node {
    /// Starts a node whose files are in `dir`, below the current directory.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start(world: &SimWorld, dir: &str, validation: &str) -> Result<Node, Failure> {
        let set = [
            ("log.dirs", dir),
            ("num.partitions", "1"),
            ("ottla.produce.validation", validation),
            ("group.initial.rebalance.delay.ms", "0"),
            // Nothing of its own is to come between the operations.
            ("log.retention.check.interval.ms", "86400000"),
        ];
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = NodeConfig::new(None, &set)?;
        let machine = world.node(dir);
        let runtime = Runtime::simulated(&machine).with_real_disk();
        let node = run(runtime.clone(), NodeParts::new(config));
        runtime.spawn(Plane::Control, "node", async move {
            if let Err(error) = node.await {
                eprintln!("gates: the node ended: {error}");
            }
        });
        let clients = Runtime::simulated(&world.node("clients"));
        let address = SocketAddr::new(machine.address(), 9092);
        let client = Connection::connect_within(&clients, address, PATIENCE).await?;
        Ok(Node { client, clients })
    }

    /// Counts a request that is made again and again, and is answered as `is_good` says.
    ///
    /// # Errors
    /// Those of the connection, and any other answer.
    pub async fn count<R: Request>(
        &mut self,
        (name, repeats): (&str, usize),
        (version, request): (i16, &R),
        is_good: impl Fn(&R::Response) -> bool,
    ) -> Result<(), Failure>
    where
        R::Response: Debug,
    {
        let frame = frame(version, request)?;
        for _ in 0..WARM {
            let answer = self.ask(&frame).await?;
            let (_, answer) = decode_response::<R>(version, answer)?;
            if !is_good(&answer) {
                return Err(format!("{name}: {answer:?}").into());
            }
        }
        between();
        for _ in 0..repeats {
            self.ask(&frame).await?;
        }
        count_until_here(name, repeats);
        Ok(())
    }

    /// Sends a frame and waits for the answer.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn ask(&mut self, frame: &[u8]) -> io::Result<Bytes> {
        self.client.send_raw(frame).await?;
        self.client.receive_frame().await
    }
}

/// What was counted since the last mark belongs to no operation.
pub fn between() {
    mark();
    println!("-");
}

/// What was counted since the last mark is `repeats` times this operation.
pub fn count_until_here(name: &str, repeats: usize) {
    mark();
    println!("{name}\t{repeats}");
}
