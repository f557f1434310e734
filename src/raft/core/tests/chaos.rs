//! A cluster in a world that a seed makes: messages are late, lost, doubled and out of order,
//! links break, replicas crash between two effects and forget what was not flushed.
//!
//! After a while the faults stop. Then the cluster must elect a leader and commit, everywhere and
//! in bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use ottla_types::{MonoTime, NodeId, Offset};

use super::super::mutant::Mutant;
use super::super::{Input, RoleName};
use super::cluster::{Cluster, CrashPoint, Doom, DriverBug};
use super::node::{Plan, VotersFrom};
use super::wire::Message;

/// What the seed decides at first.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) voters: usize,
    observers: usize,
    voters_from: VotersFrom,
    /// Of a hundred messages, how many get lost.
    loss: u32,
    /// Of a hundred messages, how many come twice.
    doubled: u32,
    /// Of a hundred messages, how many take seconds.
    stuck: u32,
    /// Mean time between two disturbances.
    peace: Duration,
    chaos: Duration,
    /// Whether one voter is too old for pre-votes.
    old_voter: bool,
    /// Of a hundred flushes, how many take seconds.
    slow_disks: u32,
    /// Batches that go into a reply.
    reply_batches: u32,
    /// Longest time between two proposals.
    silence: Duration,
    /// Whether all draw the same random numbers, so that they stand for election together.
    in_step: bool,
}

impl World {
    fn of(rng: &mut Rng) -> World {
        let one_of = |rng: &mut Rng, choices: &[u32]| choices[rng.usize(..choices.len())];
        World {
            voters: one_of(rng, &[1, 3, 3, 4, 5, 5]) as usize,
            observers: rng.usize(..3),
            voters_from: if rng.bool() { VotersFrom::Config } else { VotersFrom::Snapshot },
            loss: one_of(rng, &[0, 2, 10, 25]),
            doubled: one_of(rng, &[0, 5, 20]),
            stuck: one_of(rng, &[0, 1, 5]),
            peace: Duration::from_millis(u64::from(one_of(rng, &[100, 300, 1_000]))),
            chaos: Duration::from_secs(rng.u64(10..60)),
            old_voter: rng.u8(..10) == 0,
            slow_disks: one_of(rng, &[0, 5, 50]),
            reply_batches: one_of(rng, &[1, 1, 3]),
            silence: Duration::from_millis(u64::from(one_of(rng, &[400, 400, 4_000]))),
            in_step: rng.u8(..5) == 0,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Event {
    Deliver(Message),
    Flush(NodeId),
    Start(NodeId),
    Disturb,
    Mend,
    Propose,
}

pub(super) struct Chaos {
    pub(super) cluster: Cluster,
    pub(super) world: World,
    rng: Rng,
    /// What is to come, by time and then in the order it was decided.
    queue: BTreeMap<(MonoTime, u64), Event>,
    decided: u64,
    flushing: BTreeSet<NodeId>,
    /// Links that carry nothing, by direction.
    cut: BTreeSet<(NodeId, NodeId)>,
    calm: bool,
    pub(super) steps: u64,
}

impl Chaos {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>, driver_bug: Option<DriverBug>) -> Chaos {
        let mut rng = Rng::with_seed(seed);
        let world = World::of(&mut rng);
        let ids = |range: std::ops::Range<usize>| range.map(|id| NodeId(id as i32 + 1));
        let voters = ids(0..world.voters).collect();
        let plan = Plan { voters, voters_from: world.voters_from, mutant };
        let mut cluster = Cluster::new(plan, ids(0..world.voters + world.observers));
        cluster.driver_bug = driver_bug;
        cluster.reply_batches = world.reply_batches as usize;
        if world.old_voter {
            cluster.node_mut(NodeId(1)).old_votes = true;
        }
        let mut chaos = Chaos {
            cluster,
            world,
            rng,
            queue: BTreeMap::new(),
            decided: 0,
            flushing: BTreeSet::new(),
            cut: BTreeSet::new(),
            calm: false,
            steps: 0,
        };
        for id in chaos.ids() {
            let spread = if chaos.world.in_step { 1 } else { 500 };
            let wait = chaos.millis(0..spread);
            chaos.schedule(wait, Event::Start(id));
        }
        chaos.schedule(Duration::ZERO, Event::Disturb);
        chaos.schedule(Duration::ZERO, Event::Propose);
        chaos
    }

    fn ids(&self) -> Vec<NodeId> {
        self.cluster.nodes.keys().copied().collect()
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }

    fn percent(&mut self, percent: u32) -> bool {
        !self.calm && self.rng.u32(..100) < percent
    }

    fn schedule(&mut self, wait: Duration, event: Event) {
        self.decided += 1;
        self.queue.insert((self.cluster.now.after(wait), self.decided), event);
    }

    /// Chaos, then calm, then the proof that the cluster works.
    pub(super) fn run(&mut self) {
        self.run_until(MonoTime::START.after(self.world.chaos));
        self.calm_down();
        self.run_until(self.cluster.now.after(Duration::from_secs(20)));
        let leader = self.leader().expect("without faults there is a leader within 20 s");
        self.cluster.propose(leader, 2);
        let end = self.cluster.node(leader).disk.log.end();
        self.settle();
        self.run_until(self.cluster.now.after(Duration::from_secs(5)));
        for node in self.cluster.nodes.values() {
            assert!(node.committed >= Some(end), "n{} does not commit to {end}", node.id);
        }
        self.cluster.check_logs();
    }

    /// The leader of the highest epoch.
    fn leader(&self) -> Option<NodeId> {
        let leads = |id: &NodeId| {
            let core = self.cluster.node(*id).core.as_ref()?;
            (core.role() == RoleName::Leader).then_some((core.epoch(), *id))
        };
        self.ids().iter().filter_map(leads).max().map(|(_, id)| id)
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.cut.clear();
        self.cluster.crash_point = None;
        self.cluster.doom = None;
        for id in self.ids() {
            self.start(id);
        }
    }

    fn run_until(&mut self, end: MonoTime) {
        loop {
            let event = self.queue.keys().next().map(|(at, _)| *at);
            let tick = self.next_tick();
            let next = [event, tick.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.cluster.now = self.cluster.now.max(at);
            match tick {
                Some((due, id)) if due <= at => self.cluster.input(id, Input::Tick),
                _ => self.next_event(),
            }
            self.settle();
            self.steps += 1;
            if self.steps.is_multiple_of(64) {
                self.cluster.check_logs();
            }
        }
        self.cluster.now = end;
    }

    fn next_tick(&self) -> Option<(MonoTime, NodeId)> {
        let deadline = |id: &NodeId| Some((self.cluster.node(*id).core.as_ref()?.deadline()?, *id));
        self.cluster.nodes.keys().filter_map(deadline).min()
    }

    fn next_event(&mut self) {
        let (_, event) = self.queue.pop_first().expect("it was seen");
        match event {
            Event::Deliver(message) => {
                if !self.cut.contains(&(message.from, message.to)) {
                    self.cluster.deliver(message);
                }
            }
            Event::Flush(id) => {
                self.flushing.remove(&id);
                self.cluster.flush(id);
            }
            Event::Start(id) => self.start(id),
            Event::Mend => self.cut.clear(),
            Event::Disturb => {
                if !self.calm {
                    self.disturb();
                    let wait = self.millis(0..2 * self.world.peace.as_millis() as u64);
                    self.schedule(wait, Event::Disturb);
                }
            }
            Event::Propose => {
                self.propose();
                let wait = self.millis(20..self.world.silence.as_millis() as u64);
                self.schedule(wait, Event::Propose);
            }
        }
    }

    fn start(&mut self, id: NodeId) {
        if self.cluster.node(id).core.is_none() {
            let seed = if self.world.in_step { 0 } else { self.rng.u64(..) };
            self.cluster.start(id, seed);
        }
    }

    /// Whoever believes to lead gets something to append.
    fn propose(&mut self) {
        for id in self.ids() {
            let core = self.cluster.node(id).core.as_ref();
            if core.is_some_and(|core| core.role() == RoleName::Leader) {
                let records = self.rng.u32(1..4);
                self.cluster.propose(id, records);
            }
        }
    }

    /// Sends what is to be sent on its way, and has flushed what is to be flushed.
    fn settle(&mut self) {
        for message in std::mem::take(&mut self.cluster.network) {
            if self.percent(self.world.doubled) {
                let wait = self.travel(self.world.stuck);
                self.schedule(wait, Event::Deliver(message.clone()));
            }
            if !self.percent(self.world.loss) {
                let wait = self.travel(self.world.stuck);
                self.schedule(wait, Event::Deliver(message));
            }
        }
        for id in self.ids() {
            let idle = self.cluster.node(id).flushes.is_empty();
            if !idle && self.flushing.insert(id) {
                let wait = self.travel(self.world.slow_disks);
                self.schedule(wait, Event::Flush(id));
            }
            // One that has crashed comes back.
            if self.cluster.node(id).core.is_none() && !self.is_starting(id) {
                let longest = if self.rng.bool() { 100 } else { 3_000 };
                let wait = self.millis(0..longest);
                self.schedule(wait, Event::Start(id));
            }
        }
    }

    fn is_starting(&self, id: NodeId) -> bool {
        self.queue.values().any(|event| *event == Event::Start(id))
    }

    /// A short time, or sometimes a long one.
    fn travel(&mut self, stuck: u32) -> Duration {
        if self.percent(stuck) { self.millis(0..4_000) } else { self.millis(0..15) }
    }

    fn disturb(&mut self) {
        let ids = self.ids();
        let id = ids[self.rng.usize(..ids.len())];
        match self.rng.u8(..14) {
            0..4 => {
                let effects = self.rng.bool().then(|| self.rng.usize(..8));
                let survivors = self.rng.usize(..2);
                self.cluster.doom = Some(Doom { effects, survivors });
            }
            4..8 => {
                let effects = self.rng.usize(..6);
                let survivors = self.rng.usize(..3);
                self.cluster.crash_point = Some(CrashPoint { node: id, effects, survivors });
            }
            8..11 => self.break_links(id),
            11..13 => self.snapshot(id),
            _ => {
                if let Some(core) = &self.cluster.node(id).core {
                    let epoch = core.epoch();
                    self.cluster.input(id, Input::Resign(epoch));
                }
            }
        }
    }

    /// Cuts a replica off, or one link in one direction, for a while.
    fn break_links(&mut self, id: NodeId) {
        let whole = self.rng.bool();
        for other in self.ids().into_iter().filter(|other| *other != id) {
            if whole || self.rng.bool() {
                self.cut.insert((id, other));
            }
            if whole || self.rng.bool() {
                self.cut.insert((other, id));
            }
        }
        let wait = self.millis(100..6_000);
        self.schedule(wait, Event::Mend);
    }

    /// Has a replica make a snapshot of what it has committed and flushed.
    fn snapshot(&mut self, id: NodeId) {
        let node = self.cluster.node(id);
        let Some(core) = &node.core else { return };
        let latest = node.disk.log.snapshots.map_or(Offset::ZERO, |range| range.latest.offset);
        let on_disk = core.log().flushed().min(node.disk.durable_end());
        let known = core.high_watermark().unwrap_or_default().min(on_disk);
        let at = node.disk.log.end_at(known).filter(|at| at.offset > latest);
        if let Some(at) = at {
            self.cluster.snapshot(id, at);
        }
    }
}
