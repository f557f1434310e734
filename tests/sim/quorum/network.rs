//! The network between voters: messages are late, lost, or cut off for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_protocol::control::VoterEndpoint;
use ottla_raft::core::{
    FetchOutcome, FetchReply, Fetched, Peer, Reply, ReplyBody, Request, Response, Served,
};
use ottla_raft::driver::{Answered, QuorumHandle, Replies, Transport};
use ottla_raft::records::read_fetched;
use ottla_runtime::{Plane, Runtime};
use ottla_types::NodeId;

use crate::dice::Dice;

/// Id of the simulated cluster.
pub const CLUSTER: &str = "simulated-quorum-clust";
/// Bytes that a Fetch asks for.
const FETCH_BYTES_MAX: u64 = 2_000;
/// Bytes of a piece of a snapshot.
const SNAPSHOT_BYTES_MAX: u64 = 700;

/// All voters that can be reached. Copies share them.
#[derive(Clone)]
pub struct Network {
    dice: Dice,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    voters: BTreeMap<NodeId, QuorumHandle>,
    /// Pairs that do not reach each other, the smaller id first.
    cut: BTreeSet<(NodeId, NodeId)>,
    lost_percent: u64,
    delay_ms_max: u64,
}

impl Network {
    pub fn new(dice: Dice) -> Network {
        Network { dice, state: Arc::default() }
    }

    /// A voter's process can be reached from now on.
    pub fn join(&self, id: NodeId, handle: QuorumHandle) {
        self.lock().voters.insert(id, handle);
    }

    /// Changes how bad it is.
    pub fn set(&self, lost_percent: u64, delay_ms_max: u64, cut: &[(NodeId, NodeId)]) {
        let mut state = self.lock();
        state.lost_percent = lost_percent;
        state.delay_ms_max = delay_ms_max;
        state.cut = cut.iter().copied().collect();
    }

    /// Where a message arrives after some time; `None` when it is lost.
    fn route(&self, from: NodeId, to: NodeId) -> (Duration, Option<QuorumHandle>) {
        let state = self.lock();
        let delay = Duration::from_millis(self.dice.below(state.delay_ms_max + 1));
        let pair = (from.min(to), from.max(to));
        let lost = state.cut.contains(&pair) || self.dice.chance(state.lost_percent);
        (delay, state.voters.get(&to).cloned().filter(|_| !lost))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the network does not panic")
    }
}

/// A voter's way to the others.
pub struct Link {
    pub me: NodeId,
    pub runtime: Runtime,
    pub network: Network,
    pub request_timeout: Duration,
}

impl Transport for Link {
    fn send(&mut self, to: Peer, _: &[VoterEndpoint], request: Request, replies: Replies) {
        let Peer::Node(to) = to else { return replies.tell(Response::Failed) };
        let (me, network, runtime) = (self.me, self.network.clone(), self.runtime.clone());
        let timeout = self.request_timeout;
        let bytes_max = match request {
            Request::FetchSnapshot(_) => SNAPSHOT_BYTES_MAX,
            _ => FETCH_BYTES_MAX,
        };
        let call = async move {
            let clock = runtime.clock().clone();
            let exchange = async {
                let (delay, receiver) = network.route(me, to);
                clock.sleep(delay).await;
                let cluster = Some(CLUSTER.to_owned());
                let answered = match receiver {
                    Some(receiver) => receiver.request(cluster, request, bytes_max).await,
                    None => std::future::pending().await,
                };
                let (delay, way_back) = network.route(to, me);
                clock.sleep(delay).await;
                if way_back.is_none() {
                    std::future::pending::<()>().await;
                }
                answered.ok()
            };
            let answered = clock.timeout(timeout, exchange).await.flatten();
            replies.tell(answered.map_or(Response::Failed, on_the_wire));
        };
        self.runtime.spawn(Plane::Control, "call", call);
    }
}

/// What an answer is once it has arrived: with the records that it only named.
fn on_the_wire(answered: Answered) -> Response {
    let Answered { reply: Reply { error, current, body }, records, leader_endpoints } = answered;
    let read = |fetch: FetchReply<Served>| {
        let outcome = match fetch.outcome {
            FetchOutcome::Records(_) => {
                FetchOutcome::Records(read_fetched(&records).unwrap_or_else(|_| Fetched::default()))
            }
            FetchOutcome::Diverging(end) => FetchOutcome::Diverging(end),
            FetchOutcome::Snapshot(id) => FetchOutcome::Snapshot(id),
        };
        FetchReply { high_watermark: fetch.high_watermark, log_start: fetch.log_start, outcome }
    };
    let body = match body {
        ReplyBody::Vote { granted } => ReplyBody::Vote { granted },
        ReplyBody::BeginQuorumEpoch => ReplyBody::BeginQuorumEpoch,
        ReplyBody::EndQuorumEpoch => ReplyBody::EndQuorumEpoch,
        ReplyBody::Fetch(fetch) => ReplyBody::Fetch(read(fetch)),
        ReplyBody::FetchSnapshot(chunk) => ReplyBody::FetchSnapshot(chunk),
    };
    Response::Replied { reply: Reply { error, current, body }, leader_endpoints }
}
