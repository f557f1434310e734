//! Runs the scripts of `scripts/`: each teaches one behaviour, step by step.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p ottla-raft --profile ci scripts` writes what happens into
//! them; read the difference. A line `n1 …` is an effect of replica 1, in the order performed;
//! `n1→n2 …` is a message as it arrives. Unless a script says otherwise, a flush is complete at the
//! end of the command that asked for it.

use std::error::Error;
use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use ottla_types::{LeaderEpoch, NodeId, Offset, Uuid};

use super::super::{
    BeginQuorumEpoch, CallId, EndQuorumEpoch, FetchRequest, Input, OffsetAndEpoch, Request,
    VoteRequest,
};
use super::cluster::{Cluster, CrashPoint};
use super::node::{Node, Plan, VotersFrom, key};
use super::show;
use super::wire::{Body, Message};

/// Seeds of the replicas, so chosen that a lower id loses patience earlier: after 1053, 1110, 1465,
/// 1592, 1618 and 1978 ms.
const SEEDS: [u64; 7] = [0, 3, 2, 1, 6, 5, 4];

#[derive(Command)]
enum Step {
    /// Makes a cluster, all of it down: `cluster 1 2 3 observers=4,5`.
    Cluster {
        voters: Vec<i32>,
        #[arg(key, optional)]
        observers: Ids,
        /// Voters come from the log: `kraft.version` 1.
        #[arg(key, optional)]
        dynamic: bool,
        /// Flushes are completed by `flush` only.
        #[arg(key, optional)]
        slow_disk: bool,
    },
    /// Starts replicas from their disks and gives each a first tick.
    Start(Vec<i32>),
    /// Lets time pass, then has a replica look at the clock: `tick 2 1500ms`. Without a time, as
    /// much as it takes to reach the replica's deadline.
    Tick {
        node: i32,
        time: Option<Time>,
    },
    /// Delivers the messages that are under way: all, or those of one link.
    Deliver {
        from: Option<i32>,
        to: Option<i32>,
    },
    /// Loses them instead.
    Lose {
        from: Option<i32>,
        to: Option<i32>,
    },
    /// Delivers and flushes until nothing is under way; shows only what became of it.
    Settle,
    /// Lets the cluster live on by itself for a while, with some replicas cut off; shows only what
    /// became of it: `live 4000ms cut=3`.
    Live {
        time: Time,
        #[arg(key, optional)]
        cut: Ids,
    },
    /// Completes the oldest flush of a replica.
    Flush(i32),
    /// Proposes a batch of so many records, one by default.
    Propose {
        node: i32,
        records: Option<u32>,
    },
    /// Has a replica lose all that was not flushed.
    Crash(i32),
    /// Has it crash after so many more effects.
    CrashAfter {
        node: i32,
        effects: usize,
    },
    Resign(i32),
    Shutdown(i32),
    /// Makes a snapshot at an offset and trims the log to there.
    Snapshot {
        node: i32,
        offset: i64,
    },
    /// Deletes the `quorum-state` of a replica that is down.
    LoseQuorumState(i32),
    /// From now on a replica knows Vote only without pre-votes.
    NoPreVote(i32),
    /// Shows replicas, all by default.
    State {
        #[arg(optional)]
        nodes: Vec<i32>,
    },
    /// Delivers a Vote made by hand: `vote 2 from=3 epoch=1 log=0@0 pre`.
    Vote {
        to: i32,
        #[arg(key)]
        from: i32,
        #[arg(key)]
        epoch: i32,
        #[arg(key)]
        log: End,
        #[arg(key, optional)]
        pre: bool,
        /// Asks for the vote of a former directory of the receiver.
        #[arg(key, optional)]
        stranger: bool,
    },
    /// Delivers a BeginQuorumEpoch made by hand.
    Begin {
        to: i32,
        #[arg(key)]
        leader: i32,
        #[arg(key)]
        epoch: i32,
    },
    /// Delivers an EndQuorumEpoch made by hand.
    End {
        to: i32,
        #[arg(key)]
        leader: i32,
        #[arg(key)]
        epoch: i32,
        #[arg(key, optional)]
        successors: Ids,
    },
    /// Delivers a Fetch made by hand.
    Fetch {
        to: i32,
        #[arg(key)]
        from: i32,
        #[arg(key)]
        epoch: i32,
        #[arg(key)]
        log: End,
    },
}

/// `1,2,3`
#[derive(Default)]
struct Ids(Vec<i32>);

impl FromStr for Ids {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Ids, Self::Err> {
        Ok(Ids(text.split(',').map(str::parse).collect::<Result<_, _>>()?))
    }
}

/// `1500ms`
struct Time(Duration);

impl FromStr for Time {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Time, Self::Err> {
        let millis = text.strip_suffix("ms").ok_or("a time is written 1500ms")?;
        Ok(Time(Duration::from_millis(millis.parse()?)))
    }
}

/// `offset@epoch`
struct End(OffsetAndEpoch);

impl FromStr for End {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<End, Self::Err> {
        let (offset, epoch) = text.split_once('@').ok_or("an end is written offset@epoch")?;
        let (offset, epoch) = (Offset(offset.parse()?), LeaderEpoch(epoch.parse()?));
        Ok(End(OffsetAndEpoch { offset, epoch }))
    }
}

#[derive(Default)]
struct Script {
    cluster: Option<Cluster>,
    slow_disk: bool,
    /// Requests made by hand so far.
    calls: u64,
}

/// Whether a message is on the link that a command names.
fn is_on(message: &Message, from: Option<i32>, to: Option<i32>) -> bool {
    from.is_none_or(|id| message.from == NodeId(id)) && to.is_none_or(|id| message.to == NodeId(id))
}

impl Script {
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("a script begins with `cluster`")
    }

    fn make(&mut self, voters: &[i32], observers: &[i32], dynamic: bool, slow_disk: bool) {
        let ids = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let voters_from = if dynamic { VotersFrom::Snapshot } else { VotersFrom::Config };
        let plan = Plan { voters: ids(voters), voters_from, mutant: None };
        let all = [ids(voters), ids(observers)].concat();
        let mut cluster = Cluster::new(plan, all);
        cluster.tracing = true;
        cluster.reply_batches = 1;
        self.cluster = Some(cluster);
        self.slow_disk = slow_disk;
    }

    fn start(&mut self, ids: &[i32]) {
        for id in ids {
            self.cluster().start(NodeId(*id), SEEDS[id.unsigned_abs() as usize]);
            self.input(*id, Input::Tick);
        }
    }

    fn input(&mut self, id: i32, input: Input) {
        self.cluster().input(NodeId(id), input);
        self.finish_flushes();
    }

    fn finish_flushes(&mut self) {
        if !self.slow_disk {
            let ids: Vec<_> = self.cluster().nodes.keys().copied().collect();
            for id in ids {
                while self.cluster().flush(id) {}
            }
        }
    }

    fn tick(&mut self, id: i32, time: Option<&Time>) {
        let cluster = self.cluster();
        let deadline = cluster.node(NodeId(id)).core().deadline();
        let wait = match time {
            Some(Time(wait)) => *wait,
            None => deadline.expect("it waits for something").since(cluster.now),
        };
        cluster.advance(wait);
        self.input(id, Input::Tick);
    }

    fn deliver(&mut self, from: Option<i32>, to: Option<i32>) {
        let network = std::mem::take(&mut self.cluster().network);
        let (arrive, stay) = network.into_iter().partition(|message| is_on(message, from, to));
        self.cluster().network = stay;
        let arrive: Vec<Message> = arrive;
        for message in arrive {
            self.arrive(message);
        }
    }

    fn arrive(&mut self, message: Message) {
        let line = show::message(&message);
        self.cluster().trace.push(line);
        self.cluster().deliver(message);
        self.finish_flushes();
    }

    fn live(&mut self, time: Duration, cut: &[i32]) {
        let end = self.cluster().now.after(time);
        loop {
            for id in self.cluster().nodes.keys().copied().collect::<Vec<_>>() {
                while self.cluster().flush(id) {}
            }
            let is_cut = |id: NodeId| cut.contains(&id.0);
            self.cluster().network.retain(|message| !is_cut(message.from) && !is_cut(message.to));
            if !self.cluster().network.is_empty() {
                self.deliver(None, None);
                continue;
            }
            let nodes = self.cluster().nodes.values();
            let due = |node: &Node| Some((node.core.as_ref()?.deadline()?, node.id));
            let Some((at, id)) = nodes.filter_map(due).min().filter(|(at, _)| *at <= end) else {
                break;
            };
            let now = self.cluster().now;
            self.cluster().now = now.max(at);
            self.input(id.0, Input::Tick);
        }
        self.cluster().now = end;
        self.cluster().trace.clear();
        self.state(&[]);
    }

    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..200 {
            let ids: Vec<_> = self.cluster().nodes.keys().copied().collect();
            let flushed = ids.into_iter().any(|id| self.cluster().flush(id));
            if !flushed && self.cluster().network.is_empty() {
                self.cluster().trace.clear();
                self.state(&[]);
                return Ok(());
            }
            self.deliver(None, None);
        }
        Err("it does not settle".into())
    }

    fn state(&mut self, ids: &[i32]) {
        let cluster = self.cluster();
        let shown = |id: &NodeId| ids.is_empty() || ids.contains(&id.0);
        let lines = cluster.nodes.values().filter(|node| shown(&node.id)).map(show::state);
        let lines: Vec<_> = lines.collect();
        cluster.trace.extend(lines);
    }

    fn snapshot(&mut self, id: i32, offset: i64) -> Result<(), Box<dyn Error>> {
        let cluster = self.cluster();
        let log = &cluster.node(NodeId(id)).disk.log;
        let end = log.end_at(Offset(offset)).filter(|end| end.offset.0 == offset);
        cluster.snapshot(NodeId(id), end.ok_or("no batch ends there")?);
        Ok(())
    }

    /// Delivers a request made by hand; the answer goes to a replica that does not wait for it.
    fn by_hand(&mut self, from: i32, to: i32, request: Request) {
        self.calls += 1;
        let call = CallId(u64::MAX - self.calls);
        let (from, to) = (NodeId(from), NodeId(to));
        self.cluster().ledger.hears_of(show::epoch_of(&request));
        let body = Body::Request(request);
        self.arrive(Message { from, to, life: 0, call, body });
        self.cluster().network.retain(|message| message.life > 0);
    }

    fn vote(&mut self, to: i32, from: i32, vote: VoteRequest, stranger: bool) {
        let mut voter = key(NodeId(to));
        if stranger {
            voter.directory_id = Uuid([7; 16]);
        }
        self.by_hand(from, to, Request::Vote(VoteRequest { voter: Some(voter), ..vote }));
    }

    fn perform(&mut self, step: &Step) -> Result<(), Box<dyn Error>> {
        match step {
            Step::Cluster { voters, observers, dynamic, slow_disk } => {
                self.make(voters, &observers.0, *dynamic, *slow_disk);
            }
            Step::Start(ids) => self.start(ids),
            Step::Tick { node, time } => self.tick(*node, time.as_ref()),
            Step::Deliver { from, to } => self.deliver(*from, *to),
            Step::Lose { from, to } => {
                self.cluster().network.retain(|message| !is_on(message, *from, *to));
            }
            Step::Settle => self.settle()?,
            Step::Live { time, cut } => self.live(time.0, &cut.0),
            Step::Flush(id) => {
                self.cluster().flush(NodeId(*id));
            }
            Step::Propose { node, records } => {
                self.cluster().propose(NodeId(*node), records.unwrap_or(1));
                self.finish_flushes();
            }
            Step::Crash(id) => self.cluster().crash(NodeId(*id), 0),
            Step::CrashAfter { node, effects } => {
                let (node, effects) = (NodeId(*node), *effects);
                self.cluster().crash_point = Some(CrashPoint { node, effects, survivors: 0 });
            }
            Step::Resign(id) => {
                let epoch = self.cluster().node(NodeId(*id)).core().epoch();
                self.input(*id, Input::Resign(epoch));
            }
            Step::Shutdown(id) => self.input(*id, Input::Shutdown),
            Step::Snapshot { node, offset } => self.snapshot(*node, *offset)?,
            Step::LoseQuorumState(id) => {
                self.cluster().node_mut(NodeId(*id)).disk.election = None;
            }
            Step::NoPreVote(id) => self.cluster().node_mut(NodeId(*id)).old_votes = true,
            Step::State { nodes } => self.state(nodes),
            _ => self.perform_by_hand(step),
        }
        Ok(())
    }

    fn perform_by_hand(&mut self, step: &Step) {
        match step {
            Step::Vote { to, from, epoch, log, pre, stranger } => {
                let vote = VoteRequest {
                    voter: None,
                    replica: key(NodeId(*from)),
                    epoch: LeaderEpoch(*epoch),
                    log_end: log.0,
                    pre_vote: *pre,
                };
                self.vote(*to, *from, vote, *stranger);
            }
            Step::Begin { to, leader, epoch } => {
                let begin = BeginQuorumEpoch {
                    voter: Some(key(NodeId(*to))),
                    leader: NodeId(*leader),
                    epoch: LeaderEpoch(*epoch),
                    endpoints: Vec::new(),
                };
                self.by_hand(*leader, *to, Request::BeginQuorumEpoch(begin));
            }
            Step::End { to, leader, epoch, successors } => {
                let end = EndQuorumEpoch {
                    leader: NodeId(*leader),
                    epoch: LeaderEpoch(*epoch),
                    successors: successors.0.iter().map(|id| key(NodeId(*id))).collect(),
                    endpoints: Vec::new(),
                };
                self.by_hand(*leader, *to, Request::EndQuorumEpoch(end));
            }
            Step::Fetch { to, from, epoch, log } => {
                let fetch = FetchRequest {
                    replica: key(NodeId(*from)),
                    epoch: LeaderEpoch(*epoch),
                    log_end: log.0,
                    high_watermark: Offset(i64::MAX),
                    wait_max: Duration::ZERO,
                };
                self.by_hand(*from, *to, Request::Fetch(fetch));
            }
            _ => unreachable!("performed already"),
        }
    }
}

impl Runner for Script {
    type Command = Step;

    fn run(&mut self, step: &Step, _context: &Context) -> Result<String, Box<dyn Error>> {
        self.perform(step)?;
        let mut output = String::new();
        for line in self.cluster().trace.drain(..) {
            writeln!(output, "{line}")?;
        }
        Ok(output)
    }
}

#[test]
fn scripts() {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/core/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(scripts)
        .expect("the scripts are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the scripts are found");
    for path in paths {
        let lines = std::fs::read_to_string(&path).expect("readable").lines().count();
        assert!(lines < 80, "{}: {lines} lines", path.display());
        println!("{}", path.display());
        goldenscript::run(&mut Script::default(), &path).expect("readable");
    }
}
