//! Replicas, the messages between them, and what each effect does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset};

use super::super::{
    CallId, Effect, ElectionState, Input, OffsetAndEpoch, Payload, Peer, Proposal, Reply,
    ReplyBody, Request, RequestId, Response, RoleName, Served, SnapshotRange, Token, VoteRequest,
};
use super::disk::Batch;
use super::ledger::{Ledger, check_match};
use super::node::{Asked, Node, Plan};
use super::show;
use super::wire::{self, Body, Message};

/// A bug of the driver, not of the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DriverBug {
    /// The vote is not written, only the epoch.
    ForgetsVote,
    /// A flush is reported before it has happened.
    ReportsFlushEarly,
}

/// Where a replica stops in the middle of what it was doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrashPoint {
    pub(super) node: NodeId,
    /// Effects that it still performs.
    pub(super) effects: usize,
    /// Unflushed writes that survive.
    pub(super) survivors: usize,
}

/// What awaits the next one that is elected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doom {
    /// Effects that it still performs after it has written down that it leads; with `None` it does
    /// not come to that.
    pub(super) effects: Option<usize>,
    pub(super) survivors: usize,
}

pub(super) struct Cluster {
    pub(super) plan: Plan,
    pub(super) now: MonoTime,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// Messages under way, oldest first.
    pub(super) network: Vec<Message>,
    pub(super) ledger: Ledger,
    pub(super) crash_point: Option<CrashPoint>,
    pub(super) doom: Option<Doom>,
    pub(super) driver_bug: Option<DriverBug>,
    /// What happened, a line each, if somebody wants to read it.
    pub(super) trace: Vec<String>,
    pub(super) tracing: bool,
    /// How often what happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// Batches that go into a reply at most.
    pub(super) reply_batches: usize,
    batches: Vec<Batch>,
    requests: u64,
    tokens: u64,
}

impl Cluster {
    pub(super) fn new(plan: Plan, nodes: impl IntoIterator<Item = NodeId>) -> Cluster {
        Cluster {
            plan,
            now: MonoTime::START,
            nodes: nodes.into_iter().map(|id| (id, Node::new(id))).collect(),
            network: Vec::new(),
            ledger: Ledger::default(),
            crash_point: None,
            doom: None,
            driver_bug: None,
            trace: Vec::new(),
            tracing: false,
            counts: BTreeMap::new(),
            reply_batches: 3,
            batches: Vec::new(),
            requests: 0,
            tokens: 0,
        }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a replica of the test")
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    /// Starts a replica; its first step comes with its first input.
    pub(super) fn start(&mut self, id: NodeId, seed: u64) {
        let (plan, now) = (self.plan.clone(), self.now);
        if self.node(id).disk.election.is_some_and(|election| election.leader == Some(id)) {
            self.count("restore a leader");
        }
        self.note(|| format!("n{id} starts"));
        self.node_mut(id).start(&plan, seed, now);
    }

    pub(super) fn crash(&mut self, id: NodeId, survivors: usize) {
        self.note(|| format!("n{id} crashes"));
        self.count("crash");
        // Its connections break.
        for asked in std::mem::take(&mut self.node_mut(id).asked).into_values() {
            self.refuse(id, asked.by, asked.life, asked.call, Response::Failed);
        }
        self.node_mut(id).crash(survivors);
    }

    /// Gives an input to a replica and performs what comes of it.
    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(core) = &mut self.node_mut(id).core else { return };
        let was = core.role();
        let mut effects = Vec::new();
        core.step(now, input, &mut effects);
        if self.plan.mutant.is_none() {
            self.node(id).core().check();
        }
        assert!(self.node(id).core().deadline().is_none_or(|at| at > now), "n{id} would spin");
        for effect in effects {
            self.meet_doom(id, &effect);
            if self.crashes_now(id) {
                return;
            }
            self.perform(id, was, effect);
        }
    }

    /// Counts down to a crash between two effects.
    fn crashes_now(&mut self, id: NodeId) -> bool {
        let Some(point) = self.crash_point.as_mut().filter(|point| point.node == id) else {
            return false;
        };
        let due = point.effects == 0;
        point.effects = point.effects.saturating_sub(1);
        if due {
            let survivors = point.survivors;
            self.crash_point = None;
            self.crash(id, survivors);
        }
        due
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if !self.tracing {
            return;
        }
        // Long enough for any script, short enough for any seed.
        if self.trace.len() >= 4_000 {
            self.trace.drain(..2_000);
        }
        self.trace.push(line());
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn perform(&mut self, id: NodeId, was: RoleName, effect: Effect) {
        self.note(|| format!("n{id} {}", show::effect(&effect)));
        match effect {
            Effect::PersistQuorumState(election) => self.persist(id, was, election),
            Effect::TruncateTo(offset) => {
                self.count("truncate");
                self.node_mut(id).disk.truncate_to(offset);
            }
            Effect::Append { base_offset, epoch, payload } => {
                self.append(id, base_offset, epoch, payload);
            }
            Effect::AppendFetched { bytes, .. } => self.append_fetched(id, &bytes),
            Effect::Flush(mark) => {
                let node = self.node_mut(id);
                let flush = node.disk.begin_flush(mark);
                node.flushes.push(flush);
            }
            Effect::SendRequest { to, call, request } => self.send(id, to, call, request),
            Effect::Answer { id: request, reply } => self.answer(id, request, reply),
            Effect::HighWatermark(offset) => self.commit(id, offset),
            Effect::BecameLeader { epoch, .. } => {
                self.count("leader");
                self.ledger.leads(id, epoch, &self.nodes[&id].disk.log);
            }
            Effect::InstallSnapshot(snapshot) => {
                self.count("install");
                self.node_mut(id).disk.install(snapshot);
                let control = self.plan.snapshot_records();
                self.input(id, Input::SnapshotInstalled { snapshot, control });
            }
            Effect::LostLeadership { .. } => self.count("resign"),
            Effect::LeaderChanged(_)
            | Effect::ProposalAccepted { .. }
            | Effect::ProposalRejected { .. }
            | Effect::WriteSnapshot(_)
            | Effect::ShutdownComplete => {}
        }
    }

    fn persist(&mut self, id: NodeId, was: RoleName, election: ElectionState) {
        let majority = self.plan.voters.len() / 2 + 1;
        let old = self.node(id).disk.election;
        self.ledger.persists(id, (old, election), Some(was), majority);
        let forgets = self.driver_bug == Some(DriverBug::ForgetsVote);
        let voted = election.voted.filter(|_| !forgets);
        self.node_mut(id).disk.election = Some(ElectionState { voted, ..election });
    }

    /// Sets the crash of one that is elected.
    fn meet_doom(&mut self, node: NodeId, effect: &Effect) {
        let elected = match effect {
            Effect::PersistQuorumState(election) => election.leader == Some(node),
            _ => false,
        };
        if let Some(Doom { effects, survivors }) = self.doom.take_if(|_| elected) {
            let effects = effects.map_or(0, |effects| effects + 1);
            self.crash_point = Some(CrashPoint { node, effects, survivors });
        }
    }

    fn append(&mut self, id: NodeId, base: Offset, epoch: LeaderEpoch, payload: Payload) {
        let (records, control) = match payload {
            Payload::Control(records) => (records.len() as u32, records),
            Payload::Proposal(token) => {
                let records = self.node_mut(id).proposals.remove(&token);
                (records.expect("proposed"), Vec::new())
            }
        };
        let offsets = (base.0..).map(Offset);
        let batch = Batch {
            number: self.batches.len() as u64,
            base,
            end: base.plus(i64::from(records)),
            epoch,
            control: offsets.zip(control).collect(),
        };
        self.ledger.appends(&batch);
        self.batches.push(batch.clone());
        self.node_mut(id).disk.append(batch);
    }

    fn append_fetched(&mut self, id: NodeId, bytes: &Bytes) {
        for number in wire::decode(bytes) {
            let batch = self.batches[number as usize].clone();
            self.node_mut(id).disk.append(batch);
        }
    }

    fn commit(&mut self, id: NodeId, offset: Offset) {
        let node = &self.nodes[&id];
        assert!(Some(offset) > node.committed, "n{id}: the high watermark only grows");
        self.ledger.commits(id, node.core().epoch(), offset, &node.disk.log);
        self.node_mut(id).committed = Some(offset);
    }

    fn send(&mut self, from: NodeId, to: Peer, call: CallId, request: Request) {
        let Peer::Node(to) = to else { unreachable!("tests know their replicas") };
        if self.driver_bug.is_none() && self.plan.mutant.is_none() {
            let told = self.node(from).disk.election.map(|election| election.epoch);
            assert_eq!(told, Some(show::epoch_of(&request)), "what is told is on disk");
        }
        let life = self.node(from).life;
        self.network.push(Message { from, to, life, call, body: Body::Request(request) });
    }

    fn answer(&mut self, id: NodeId, request: RequestId, reply: Reply<Served>) {
        let asked = self.node_mut(id).asked.remove(&request).expect("each request has one answer");
        if let (Request::Vote(vote), ReplyBody::Vote { granted: true }) =
            (&asked.request, &reply.body)
            && !vote.pre_vote
        {
            self.ledger.votes(id, vote.epoch, vote.replica.id);
            self.check_vote_is_on_disk(id, vote);
        }
        let response = wire::on_the_wire(reply, &self.nodes[&id].disk.log, self.reply_batches);
        let Asked { by, life, call, .. } = asked;
        let body = Body::Response(response);
        self.network.push(Message { from: id, to: by, life, call, body });
    }

    fn check_vote_is_on_disk(&self, id: NodeId, vote: &VoteRequest) {
        if self.driver_bug.is_none() && self.plan.mutant.is_none() {
            let election = self.node(id).disk.election.expect("written before it is told");
            assert_eq!(election.epoch, vote.epoch, "the vote is on disk before it is told");
            assert_eq!(election.voted, Some(vote.replica), "the vote is on disk, too");
        }
    }

    /// Brings a message to where it goes.
    pub(super) fn deliver(&mut self, message: Message) {
        let Message { from, to, life, call, body } = message;
        match body {
            Body::Request(request) if self.node(to).core.is_none() => {
                drop(request);
                self.refuse(to, from, life, call, Response::Failed);
            }
            Body::Request(Request::Vote(vote)) if vote.pre_vote && self.node(to).old_votes => {
                self.refuse(to, from, life, call, Response::Unsupported);
            }
            Body::Request(request) => {
                self.requests += 1;
                let id = RequestId(self.requests);
                let asked = Asked { by: from, life, call, request: request.clone() };
                self.node_mut(to).asked.insert(id, asked);
                let cluster_id = Some("cluster".to_owned());
                self.input(to, Input::Request { id, cluster_id, request });
            }
            Body::Response(response) => {
                // A connection does not survive its process.
                if self.node(to).core.is_some() && self.node(to).life == life {
                    self.note_encouragement(from, to, &response);
                    self.input(to, Input::Response { call, response });
                }
            }
        }
    }

    fn refuse(&mut self, from: NodeId, to: NodeId, life: u32, call: CallId, response: Response) {
        let body = Body::Response(response);
        self.network.push(Message { from, to, life, call, body });
    }

    fn note_encouragement(&mut self, from: NodeId, to: NodeId, response: &Response) {
        let core = self.nodes[&to].core();
        let (role, epoch) = (core.role(), core.epoch());
        let majority = self.plan.voters.len();
        match response {
            Response::Replied { reply, .. }
                if reply.body == (ReplyBody::Vote { granted: true })
                    && role == RoleName::Prospective =>
            {
                self.ledger.encourages(from, to, epoch);
            }
            // One that cannot be asked may be for it: that is as good as everybody.
            Response::Unsupported => {
                for voter in 0..majority {
                    self.ledger.encourages(NodeId(-1 - voter as i32), to, epoch);
                }
            }
            Response::Replied { .. } | Response::Failed => {}
        }
    }

    /// Completes the oldest flush under way; false when there is none.
    pub(super) fn flush(&mut self, id: NodeId) -> bool {
        let early = self.driver_bug == Some(DriverBug::ReportsFlushEarly);
        let node = self.node_mut(id);
        if node.core.is_none() || node.flushes.is_empty() {
            return false;
        }
        let flush = node.flushes.remove(0);
        if !early {
            node.disk.end_flush(flush);
        }
        self.input(id, Input::Flushed(flush.mark));
        true
    }

    /// Proposes a batch to a replica, in the epoch that it is in.
    pub(super) fn propose(&mut self, id: NodeId, records: u32) {
        self.tokens += 1;
        let token = Token(self.tokens);
        let epoch = self.node(id).core().epoch();
        self.node_mut(id).proposals.insert(token, records);
        self.input(id, Input::Propose(Proposal { token, epoch, records }));
    }

    /// Has a replica make a snapshot at `id` and trim its log to there.
    pub(super) fn snapshot(&mut self, node: NodeId, id: OffsetAndEpoch) {
        let range = SnapshotRange { log_start: id.offset, earliest: id, latest: id };
        self.node_mut(node).disk.set_snapshots(range);
        self.input(node, Input::Snapshots(range));
    }

    /// Compares every log with every other.
    pub(super) fn check_logs(&self) {
        let logs: Vec<_> = self.nodes.values().map(|node| &node.disk.log).collect();
        for (index, a) in logs.iter().enumerate() {
            logs[index + 1..].iter().for_each(|b| check_match(a, b));
        }
    }
}
