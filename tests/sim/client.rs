//! What all simulated clients have in common. `M` is the model of what they were promised.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_runtime::Runtime;
use ottla_test_client::Connection;
use tokio::sync::watch;

use crate::dice::Dice;
use crate::findings::Findings;

/// Time after which a client gives an answer up. Nothing in the workload takes as long.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// What the clients of a world are to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Use the broker.
    Load,
    /// Finish what was begun, then end.
    Finish,
    /// End.
    End,
}

/// What a client knows and tells. Copies share everything.
pub struct Client<M> {
    pub runtime: Runtime,
    pub broker: SocketAddr,
    pub dice: Dice,
    pub findings: Findings,
    pub phase: watch::Receiver<Phase>,
    model: Arc<Mutex<M>>,
}

impl<M> Clone for Client<M> {
    fn clone(&self) -> Client<M> {
        Client {
            runtime: self.runtime.clone(),
            broker: self.broker,
            dice: self.dice.clone(),
            findings: self.findings.clone(),
            phase: self.phase.clone(),
            model: self.model.clone(),
        }
    }
}

impl<M: Default> Client<M> {
    pub fn new(
        runtime: Runtime,
        broker: SocketAddr,
        dice: Dice,
        findings: Findings,
        phase: watch::Receiver<Phase>,
    ) -> Client<M> {
        Client { runtime, broker, dice, findings, phase, model: Arc::default() }
    }
}

impl<M> Client<M> {
    /// The promises. Never held over an `await`.
    pub fn model(&self) -> MutexGuard<'_, M> {
        self.model.lock().expect("the model does not panic")
    }

    /// Notes what contradicts the model.
    pub fn check(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.findings.violated(what);
        }
    }

    pub fn is_over(&self) -> bool {
        *self.phase.borrow() == Phase::End || self.findings.any()
    }

    /// A connection; `None` when the world ends before the broker can be reached.
    pub async fn connect(&self) -> Option<Connection> {
        while !self.is_over() {
            if let Ok(connection) = Connection::connect(&self.runtime, self.broker).await {
                return Some(connection);
            }
            self.pause(5, 40).await;
        }
        None
    }

    /// Waits for an answer; an error ends the connection's use.
    pub async fn answer<T>(&self, call: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match self.runtime.clock().timeout(ANSWER_WAIT_MAX, call).await {
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.findings.violated(format!("an answer that is none: {error}"));
                Err(error)
            }
            Some(result) => result,
            None => {
                self.findings.violated("an answer that never came");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Waits between `low` and `high` milliseconds.
    pub async fn pause(&self, low: u64, high: u64) {
        let wait = Duration::from_millis(self.dice.between(low, high));
        self.runtime.clock().sleep(wait).await;
    }
}
