//! Random runs of consumer groups: members that follow what they are told, are silent, leave, come
//! back, want other topics, and do not hear answers; in half of the runs some speak the classic
//! protocol, and groups become what their members speak; topics that come, grow and go; over a log
//! that is held back, refuses, and is loaded anew. After every step:
//!
//! - no partition has two owners: not in the coordinator's view, as it is committed and as it is
//!   not, and not among the members, until the coordinator has put one out;
//! - a member reads nothing but what the coordinator knows that it has;
//! - epochs of groups, targets and members do not go back, and none is above the next;
//! - each member has a session, and whoever has to give something back has a time to do so;
//! - a coordinator that takes over knows what was committed, no more and no less, also if the log
//!   was compacted.
//!
//! When nothing changes any more, everybody has what the target says: each partition of a topic
//! that somebody reads once, and further heartbeats write nothing.
//!
//! Deliberately absent: a copy of a heartbeat that comes after its sender has sent another one in
//! the same epoch. It says what is not true any more, and nothing in the protocol tells.

mod checks;
mod client;
mod spoken;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{ErrorCode, PartitionId, TopicName};

use super::cluster::{TestCluster, id_of_again};
use super::harness::Harness;
use super::random::Dice;
use crate::group::consumer::{
    Assignment, ChangedTopics, ConsumerHeartbeat, ConsumerMember, TopicView,
};
use crate::group::{Answer, GroupId, GroupShard, MemberId, Slot, Ticket};
use client::{Client, Life};
use spoken::{Spoken, Stage};

const TOPICS: [&str; 3] = ["a", "b", "c"];

/// What is committed of a group.
#[derive(Clone, PartialEq, Debug)]
struct Committed {
    /// Of the group, and of the target.
    epochs: (i32, i32),
    hash: i64,
    members: Vec<ConsumerMember>,
    targets: Vec<Option<Assignment>>,
}

struct Run {
    dice: Dice,
    harness: Harness,
    clients: Vec<Client>,
    groups: Vec<GroupId>,
    cluster: TestCluster,
    /// How often a topic was deleted.
    deleted: BTreeMap<&'static str, u8>,
    asked: BTreeMap<Ticket, usize>,
    /// Whether some speak the classic protocol.
    mixes: bool,
    /// Joins so far.
    joins: u64,
    /// Whether writes waited at the last look.
    was_held: bool,
    before: BTreeMap<GroupId, Committed>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut dice = Dice(seed.wrapping_mul(7919).wrapping_add(1));
        let interval = [0, 1_000, 1_000, 5_000][dice.below(4) as usize];
        let keys = [("group.consumer.assignment.interval.ms", interval.to_string())];
        let keys = keys.map(|(key, value)| (key.to_owned(), value));
        let names = if dice.chance(40) { vec!["g", "h"] } else { vec!["g"] };
        let groups: Vec<GroupId> = names.into_iter().map(GroupId::from).collect();
        let count = 2 + dice.below(5) as usize;
        let client = |number: usize| {
            let instance = (number % 3 == 2).then(|| format!("static{number}"));
            Client::new(number, groups[number % groups.len()].clone(), instance)
        };
        let clients: Vec<Client> = (0..count).map(client).collect();
        let mut run = Run {
            dice,
            harness: Harness::new(&keys),
            clients,
            groups,
            cluster: TestCluster::default(),
            deleted: BTreeMap::new(),
            asked: BTreeMap::new(),
            mixes: seed % 2 == 1,
            joins: 0,
            was_held: false,
            before: BTreeMap::new(),
        };
        run.change_topic();
        (0..count).for_each(|at| run.subscribe(at));
        run
    }

    fn step(&mut self) {
        let at = self.dice.below(self.clients.len() as u64) as usize;
        match self.dice.below(200) {
            0..110 => self.act(at),
            110..126 => self.wait(&[10, 500, 1_000, 5_000]),
            126..129 => self.wait(&[20_000, 46_000]),
            129..134 => self.leave(at),
            134..137 => self.clients[at].stop(),
            137..144 => self.freeze(at),
            144..150 => self.subscribe(at),
            150..157 => self.change_topic(),
            157..164 => self.harness.holds = true,
            164..174 => self.release(),
            174..178 => {
                self.harness.holds = false;
                self.harness.refuse(ErrorCode::CoordinatorNotAvailable);
            }
            178..183 => self.load(),
            183..190 => self.clients[at].gives_up(),
            190..194 => self.repeat_last(at),
            194..198 => self.repeat_old(at),
            _ => self.delete_group(),
        }
        self.hear();
        self.check();
    }

    /// A client does what is next for it.
    fn act(&mut self, at: usize) {
        match self.clients[at].life {
            Life::Frozen => return,
            Life::Out => {
                let is_static = self.clients[at].instance.is_some();
                let keeps_id = is_static && self.dice.chance(30);
                let speaks = self.mixes && self.dice.chance(50);
                let is_cooperative = self.dice.chance(70);
                self.clients[at].spoken =
                    speaks.then_some(Spoken { stage: Stage::Out, is_cooperative, seen: 0 });
                self.clients[at].start(keeps_id && !self.mixes);
                if speaks {
                    self.clients[at].id = MemberId::from("");
                }
                self.clients[at].rebalance_ms = [5_000, 60_000][self.dice.below(2) as usize];
                let assignors = [None, Some("uniform"), Some("range")];
                let assignor = assignors[self.dice.below(3) as usize];
                self.clients[at].assignor = assignor.map(str::to_owned);
            }
            Life::In => {}
        }
        if self.clients[at].spoken.is_some() {
            return self.speak(at);
        }
        if self.clients[at].has_to_revoke() && self.dice.chance(40) {
            self.clients[at].follow();
        }
        let is_lost = self.dice.chance(10);
        self.beat(at, is_lost);
    }

    /// A client sends a heartbeat, whose answer may be lost.
    fn beat(&mut self, at: usize, is_lost: bool) {
        if self.clients[at].waits.is_some() {
            return;
        }
        let request = self.clients[at].beat();
        let ticket = self.send(&request);
        if is_lost {
            return self.clients[at].gives_up();
        }
        self.clients[at].waits = Some(ticket);
        self.asked.insert(ticket, at);
    }

    /// A client that speaks the classic protocol does what is next for it.
    fn speak(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let spoken = client.spoken.as_ref().expect("it speaks the classic protocol");
        if client.waits.is_some() {
            return;
        }
        let ticket = match &spoken.stage {
            Stage::Out => {
                self.joins += 1;
                client.is_void |= !is_known(client, &self.harness.shard);
                let request = client.join(self.joins, &self.cluster);
                let ticket = self.harness.ticket("member");
                self.harness.step(|shard, now, out| shard.join(now, request, ticket, out));
                ticket
            }
            Stage::Joined { .. } => {
                let request = client.sync(&mut self.dice, &self.cluster);
                let ticket = self.harness.ticket("member");
                self.harness.step(|shard, now, out| shard.sync(now, request, ticket, out));
                ticket
            }
            Stage::In if client.has_to_revoke() || spoken.seen != self.cluster.version => {
                client.follow();
                return client.set_stage(Stage::Out);
            }
            Stage::In => {
                let now = self.harness.now();
                let (id, instance) = (client.id.clone(), client.instance.clone());
                let asks = (&id, instance.as_deref());
                let told = self.harness.shard.heartbeat(now, &client.group, asks, client.epoch);
                return told.err().into_iter().for_each(|error| client.refused(error));
            }
        };
        self.clients[at].waits = Some(ticket);
        self.asked.insert(ticket, at);
    }

    fn send(&mut self, request: &ConsumerHeartbeat) -> Ticket {
        let ticket = self.harness.ticket("member");
        self.harness.step(|shard, now, out| shard.consumer_heartbeat(now, request, ticket, out));
        ticket
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.life != Life::In || client.epoch == 0 {
            return;
        }
        if client.spoken.is_some() {
            let request = client.leave_request();
            client.stop();
            let ticket = self.harness.ticket("member");
            return self.harness.step(|shard, now, out| shard.leave(now, &request, ticket, out));
        }
        let for_a_while = client.instance.is_some() && self.dice.chance(70);
        let request = client.leaves(if for_a_while { -2 } else { -1 });
        self.send(&request);
    }

    fn freeze(&mut self, at: usize) {
        let life = &mut self.clients[at].life;
        *life = match life {
            Life::Out => Life::Out,
            Life::In => Life::Frozen,
            Life::Frozen => Life::In,
        };
    }

    fn subscribe(&mut self, at: usize) {
        let dice = &mut self.dice;
        let topics = TOPICS.iter().filter(|_| dice.chance(60)).map(|name| TopicName::from(*name));
        self.clients[at].topics = topics.collect();
    }

    fn change_topic(&mut self) {
        let name = TOPICS[self.dice.below(3) as usize];
        let times = self.deleted.entry(name).or_default();
        let known = self.cluster.topics.get(name).copied();
        match known {
            Some(_) if self.dice.chance(40) => {
                *times += 1;
                self.cluster.topics.remove(name);
            }
            _ => {
                let id = id_of_again(name, *times);
                let partitions = known.map_or(0, |it| it.partitions);
                let partitions = partitions + 1 + self.dice.below(4) as i32;
                self.cluster.topics.insert(name.to_owned(), TopicView { id, partitions });
            }
        }
        self.cluster.version += 1;
        let cluster = Arc::new(self.cluster.clone());
        self.harness.cluster = cluster.clone();
        let changed = ChangedTopics { names: [TopicName::from(name)].into(), has_new: true };
        self.harness.step(|shard, _, _| shard.cluster_changed(cluster, &changed));
    }

    fn wait(&mut self, times: &[u64]) {
        let ms = times[self.dice.below(times.len() as u64) as usize];
        self.harness.wait(Duration::from_millis(ms));
    }

    fn release(&mut self) {
        self.harness.holds = false;
        self.harness.commit();
    }

    /// Another coordinator takes over.
    fn load(&mut self) {
        let before = self.committed();
        self.harness.compacts = self.dice.below(2) == 0;
        self.harness.load(&[]);
        assert_eq!(self.committed(), before, "what was committed is loaded");
        for id in before.keys() {
            let members = self.harness.shard.consumers.members(id).map(|it| (**it).clone());
            let expected = before.get(id).map_or(Vec::new(), |group| group.members.clone());
            assert_eq!(members.collect::<Vec<_>>(), expected);
        }
    }

    /// A heartbeat comes twice.
    fn repeat_last(&mut self, at: usize) {
        let client = &self.clients[at];
        // A copy that joins would hide that the member was put out meanwhile.
        if self.harness.holds || client.life == Life::Out || client.is_void {
            return;
        }
        // What it reads since then it has not said; it says all of it the next time.
        let Some(last) = client.sent.last().cloned() else { return };
        if client.has_to_revoke()
            || last.owned.as_ref().is_some_and(|it| size(it) < client.owns.len())
        {
            return;
        }
        self.send(&last);
        // What was told to the copy nobody heard.
        self.clients[at].is_full = true;
    }

    /// A heartbeat comes again long after it was sent.
    fn repeat_old(&mut self, at: usize) {
        let client = &self.clients[at];
        let known = self.harness.shard.consumers.member(&client.group, &client.id).cloned();
        let Some(known) = known else { return };
        let is_old = |it: &&ConsumerHeartbeat| {
            it.epoch > 0 && it.epoch < client.epoch && it.epoch != known.previous_epoch
        };
        if let Some(old) = client.sent.iter().find(is_old).cloned() {
            let before = self.harness.shard.end();
            self.send(&old);
            assert_eq!(self.harness.shard.end(), before, "a fenced heartbeat changes nothing");
        }
    }

    fn delete_group(&mut self) {
        let id = self.groups[self.dice.below(self.groups.len() as u64) as usize].clone();
        if self.harness.holds {
            return;
        }
        let ticket = self.harness.ticket("operator");
        self.harness.step(|shard, _, out| shard.delete_group(&id, ticket, out));
    }

    /// Clients take in what they are told.
    fn hear(&mut self) {
        self.harness.told.clear();
        for (ticket, told) in std::mem::take(&mut self.harness.answers) {
            let Some(at) = self.asked.remove(&ticket) else { continue };
            let client = &mut self.clients[at];
            if client.waits != Some(ticket) {
                continue;
            }
            match told {
                Ok(Answer::Beat(told)) => client.hears(told),
                Ok(Answer::Joined(joined)) => client.joined(joined),
                Ok(Answer::Synced(synced)) => client.synced(&synced.assignment, &self.cluster),
                Ok(other) => panic!("a member is answered with {other:?}"),
                Err(error) if client.spoken.is_some() => client.refused(error),
                Err(_) => client.gives_up(),
            }
        }
    }

    fn committed(&self) -> BTreeMap<GroupId, Committed> {
        let shard = &self.harness.shard;
        let exists = |id: &&GroupId| matches!(shard.slots.committed(id), Some(Slot::Consumer));
        let group = |id: &GroupId| {
            let head = shard.consumers.committed_head(id);
            let members = shard.consumers.committed_members(id).map(|member| (**member).clone());
            let mut members: Vec<ConsumerMember> = members.collect();
            members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            let target = |member: &ConsumerMember| {
                shard.consumers.committed_target(id, &member.id).map(|target| (**target).clone())
            };
            let targets = members.iter().map(target).collect();
            let epochs = (head.epoch, head.assignment_epoch);
            (id.clone(), Committed { epochs, hash: head.metadata_hash, members, targets })
        };
        self.groups.iter().filter(exists).map(group).collect()
    }

    /// Nothing changes from now on, and everybody is heard of.
    fn settle(&mut self) {
        self.release();
        for client in self.clients.iter_mut().filter(|client| client.life == Life::Frozen) {
            client.life = Life::In;
        }
        // Who wants other topics since it joined joins again to say so.
        self.clients
            .iter_mut()
            .filter_map(|client| client.spoken.as_mut())
            .for_each(|spoken| spoken.seen = -1);
        self.hear();
        for _ in 0..600 {
            self.round();
            if self.groups.iter().all(|id| self.disorder(id).is_none()) {
                let before = self.harness.shard.end();
                self.round();
                assert_eq!(self.harness.shard.end(), before, "nothing is left to be said");
                return;
            }
        }
        let disorder: Vec<_> = self.groups.iter().map(|id| self.disorder(id)).collect();
        panic!("never: {disorder:?}");
    }

    fn round(&mut self) {
        for at in 0..self.clients.len() {
            if self.clients[at].life == Life::In {
                match self.clients[at].spoken {
                    Some(_) => self.speak(at),
                    None => {
                        self.clients[at].follow();
                        self.beat(at, false);
                    }
                }
                self.hear();
                self.check();
            }
        }
        self.wait(&[500]);
        self.hear();
        self.check();
    }
}

/// Whether a group has a member of a client's id, whatever is committed of that.
fn is_known(client: &Client, shard: &GroupShard) -> bool {
    let classic = shard.classic(&client.group);
    classic.is_some_and(|group| group.members().get(&client.id).is_some())
        || shard.consumers.member(&client.group, &client.id).is_some()
}

fn size(owned: &[(ottla_types::Uuid, Vec<PartitionId>)]) -> usize {
    owned.iter().map(|(_, partitions)| partitions.len()).sum()
}

#[test]
fn random_runs_of_consumers_keep_the_invariants() {
    for seed in 0..400 {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..300 {
                run.step();
            }
            run.settle();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
