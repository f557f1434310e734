//! Who is asked before an API acts, and what clients hear when the answer is no.
//!
//! The binary has no authorizer yet, so the node runs inside the test with one that records.

mod denials;
mod patterns;
mod questions;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ottla_config::NodeConfig;
use ottla_node::NodeParts;
use ottla_runtime::Runtime;
use ottla_security::{Action, Authorizer, Operation, Principal, ResourceKind};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::node::{Setup, wait_until};

type Policy = fn(Operation, ResourceKind) -> bool;

/// Notes every question, and answers as it is told.
struct Recorder {
    asked: Mutex<BTreeSet<String>>,
    policy: Mutex<Policy>,
    /// Topics of which nobody may know.
    hidden: Mutex<BTreeSet<&'static str>>,
}

impl Recorder {
    fn set_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap() = policy;
    }

    /// From now on nobody may know of these topics.
    fn hide(&self, topics: &[&'static str]) {
        *self.hidden.lock().unwrap() = topics.iter().copied().collect();
    }

    /// The questions since the last time, sorted.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().collect()
    }
}

impl Authorizer for Recorder {
    fn allows(&self, principal: &Principal, host: IpAddr, action: Action<'_>) -> bool {
        assert_eq!(*principal, Principal::anonymous());
        assert!(host.is_loopback());
        let Action { operation, resource } = action;
        let question = format!("{operation:?} {:?} {}", resource.kind, resource.name);
        self.asked.lock().unwrap().insert(question);
        let is_topic = resource.kind == ResourceKind::Topic;
        let is_hidden = is_topic && self.hidden.lock().unwrap().contains(resource.name);
        !is_hidden && (self.policy.lock().unwrap())(operation, resource.kind)
    }

    fn allows_any(
        &self,
        _: &Principal,
        _: IpAddr,
        operation: Operation,
        kind: ResourceKind,
    ) -> bool {
        self.asked.lock().unwrap().insert(format!("{operation:?} {kind:?} (any)"));
        (self.policy.lock().unwrap())(operation, kind)
    }

    /// Never sure: each is asked for.
    fn allows_every(&self, _: &Principal, _: IpAddr, _: Operation, _: ResourceKind) -> bool {
        false
    }
}

/// A node inside this process.
struct Embedded {
    setup: Setup,
    recorder: Arc<Recorder>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    fn start() -> Embedded {
        let setup = Setup::new();
        let config = NodeConfig::new(None, &setup.overrides()).unwrap();
        let recorder = Arc::new(Recorder {
            asked: Mutex::default(),
            policy: Mutex::new(|_, _| true),
            hidden: Mutex::default(),
        });
        let authorizer = recorder.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let parts = NodeParts { authorizer, ..NodeParts::new(config) };
            let run = |runtime: Runtime| async {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    ended = ottla_node::run(runtime, parts) => panic!("{ended:?}"),
                }
            };
            Runtime::run(1, run).unwrap();
        });
        let node = Embedded { setup, recorder, stop: Some(stop), thread: Some(thread) };
        wait_until("the node starts", || TcpStream::connect(node.address(0)).is_ok());
        node
    }

    fn address(&self, listener: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.setup.ports[listener]))
    }

    fn connect(&self) -> Client {
        Client::connect(self.address(0))
    }

    fn connect_to_controller(&self) -> Client {
        Client::connect(self.address(1))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The node may have ended by itself, which the test has noticed then.
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}
