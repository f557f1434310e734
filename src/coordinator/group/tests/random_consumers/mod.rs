//! Random runs of consumer groups: members that follow what they are told, are silent, leave, come
//! back, want other topics, and do not hear answers; topics that come, grow and go; over a log
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

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{ErrorCode, PartitionId, TopicName};

use super::cluster::{TestCluster, id_of_again};
use super::harness::Harness;
use super::random::Dice;
use crate::group::consumer::{
    Assignment, ChangedTopics, ConsumerHeartbeat, ConsumerMember, MemberState, TopicView,
};
use crate::group::timers::TimerKey;
use crate::group::{Answer, GroupId, MemberId, Slot, Ticket};
use client::{Client, Life, Partitions, all_of};

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
                self.clients[at].start(keeps_id);
                self.clients[at].rebalance_ms = [5_000, 60_000][self.dice.below(2) as usize];
                let assignors = [None, Some("uniform"), Some("range")];
                let assignor = assignors[self.dice.below(3) as usize];
                self.clients[at].assignor = assignor.map(str::to_owned);
            }
            Life::In => {}
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
        for id in &self.groups {
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
                Ok(other) => panic!("a heartbeat is answered with {other:?}"),
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

    fn check(&mut self) {
        let committed = self.committed();
        for (id, group) in &committed {
            self.check_epochs(id, group);
            let mut owners = Partitions::new();
            for member in &group.members {
                for partition in all_of(&member.assigned).union(&all_of(&member.revoking)) {
                    assert!(owners.insert(*partition), "{id}: two have {partition:?}");
                }
            }
        }
        self.check_timers();
        self.check_clients(&committed);
        self.before = committed;
    }

    fn check_epochs(&self, id: &GroupId, group: &Committed) {
        let (epoch, target_epoch) = group.epochs;
        assert!(target_epoch <= epoch, "{id}: a target of an epoch that is to come");
        for member in &group.members {
            assert!(member.epoch <= target_epoch, "{id}: {member:?} is ahead of {target_epoch}");
        }
        let Some(before) = self.before.get(id) else { return };
        assert!(before.epochs.0 <= epoch && before.epochs.1 <= target_epoch, "{id}: epochs");
        for old in &before.members {
            let new = group.members.iter().find(|new| new.id == old.id);
            let goes_back = new.is_some_and(|new| new.epoch >= 0 && new.epoch < old.epoch);
            assert!(!goes_back, "{id}: {new:?} was in {}", old.epoch);
        }
    }

    fn check_timers(&self) {
        let shard = &self.harness.shard;
        for id in &self.groups {
            let mut members = BTreeSet::new();
            for member in shard.consumers.members(id) {
                members.insert(member.id.clone());
                let key = TimerKey::Session(id.clone(), member.id.clone());
                assert!(shard.timers.is_set(&key), "{member:?} has no session");
                let key = TimerKey::Revocation(id.clone(), member.id.clone());
                let is_due = member.state == MemberState::Unrevoked && member.epoch >= 0;
                assert!(!is_due || shard.timers.is_set(&key), "{member:?} may take for ever");
            }
            let mut targets = shard.consumers.targets(id).map(|(member, _)| member);
            assert!(targets.all(|it| members.contains(it)), "{id}: a target of nobody");
        }
    }

    fn check_clients(&mut self, committed: &BTreeMap<GroupId, Committed>) {
        let mut owners: BTreeMap<(GroupId, (_, PartitionId)), MemberId> = BTreeMap::new();
        for client in &mut self.clients {
            if client.owns.is_empty() {
                continue;
            }
            let group = committed.get(&client.group);
            let member = group.and_then(|it| it.members.iter().find(|it| it.id == client.id));
            client.is_void |= member.is_none();
            let (false, Some(member)) = (client.is_void, member) else { continue };
            let mut known = all_of(&member.assigned);
            known.append(&mut all_of(&member.revoking));
            let unknown = client.owns.difference(&known).next();
            assert_eq!(unknown, None, "{client:?} reads it, and is {member:?}");
            for partition in &client.owns {
                let old = owners.insert((client.group.clone(), *partition), client.id.clone());
                assert_eq!(old, None, "{} reads {partition:?} too", client.id);
            }
        }
    }

    /// Nothing changes from now on, and everybody is heard of.
    fn settle(&mut self) {
        self.release();
        for client in self.clients.iter_mut().filter(|client| client.life == Life::Frozen) {
            client.life = Life::In;
        }
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
                self.clients[at].follow();
                self.beat(at, false);
                self.hear();
            }
        }
        self.wait(&[500]);
        self.hear();
        self.check();
    }

    /// What a quiet group is not to be.
    fn disorder(&self, id: &GroupId) -> Option<String> {
        let live: Vec<&Client> =
            self.clients.iter().filter(|it| it.life == Life::In && it.group == *id).collect();
        let group = self.committed().remove(id);
        let members = group.as_ref().map_or(&[][..], |group| &group.members);
        if members.len() != live.len() {
            return Some(format!("{} members of {}: {members:?}", members.len(), live.len()));
        }
        let mut expected = Partitions::new();
        for name in live.iter().flat_map(|client| &client.topics) {
            let Some(view) = self.cluster.topics.get(&**name) else { continue };
            expected.extend((0..view.partitions).map(|at| (view.id, PartitionId(at))));
        }
        let mut owned = Partitions::new();
        for client in live {
            let Some(member) = members.iter().find(|member| member.id == client.id) else {
                return Some(format!("{} is no member", client.id));
            };
            let epochs = group.as_ref().map_or((0, 0), |group| group.epochs);
            let is_there = member.is_reconciled_to(epochs.0) && epochs.0 == epochs.1;
            if !is_there || all_of(&member.assigned) != client.owns {
                return Some(format!("{epochs:?} {member:?} {client:?}"));
            }
            let name = |id: &ottla_types::Uuid| TopicName::from(super::cluster::said(*id).as_str());
            let wants = |(topic, _): &(_, _)| client.topics.contains(&name(topic));
            assert!(client.owns.iter().all(wants), "{client:?} has what it does not want");
            owned.extend(&client.owns);
        }
        (owned != expected).then(|| format!("{owned:?} of {expected:?}"))
    }
}

fn size(owned: &[(ottla_types::Uuid, Vec<PartitionId>)]) -> usize {
    owned.iter().map(|(_, partitions)| partitions.len()).sum()
}

#[test]
fn random_runs_of_consumers_keep_the_invariants() {
    for seed in 0..500 {
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
