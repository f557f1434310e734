//! Random runs: clients that join, sync, are silent, leave and come back, over a log that is held
//! back, refuses, and is loaded anew. After every step the shard's invariants hold, and:
//!
//! - whoever asks is answered, once, in the end;
//! - in a generation one member leads, and everybody is told the assignment that the leader made
//!   for him in it;
//! - while the shard lives, generations only grow;
//! - when all are silent the group becomes empty.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_types::ErrorCode;

use super::harness::Harness;
use crate::group::classic::{Join, Joined, Leave, Leaving, Protocols, State, Sync};
use crate::group::{Answer, GroupId, MemberId, Ticket, Told};

/// A small generator: the runs of a seed are the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, count: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a client knows of its membership.
#[derive(Clone, Default)]
struct Client {
    id: Option<MemberId>,
    instance: Option<String>,
    joined: Option<Joined>,
    /// What it waits for.
    waits: bool,
}

struct Run {
    dice: Dice,
    harness: Harness,
    clients: Vec<Client>,
    asked: BTreeMap<Ticket, usize>,
    unique: u64,
    /// Leader of each generation of this shard's life.
    leaders: BTreeMap<i32, MemberId>,
}

fn group() -> GroupId {
    GroupId::from("g")
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut dice = Dice(seed.wrapping_add(1));
        let delay = [0, 3_000][dice.below(2) as usize];
        let keys = [
            ("group.initial.rebalance.delay.ms", delay.to_string()),
            ("group.max.size", (2 + dice.below(5)).to_string()),
        ];
        let keys = keys.map(|(key, value)| (key.to_owned(), value));
        let clients = (0..5).map(|number| Client {
            instance: (number >= 3).then(|| format!("static{number}")),
            ..Client::default()
        });
        let clients = clients.collect();
        let (asked, leaders) = (BTreeMap::new(), BTreeMap::new());
        let harness = Harness::new(&keys);
        Run { dice, harness, clients, asked, unique: 0, leaders }
    }

    fn step(&mut self) {
        let at = self.dice.below(self.clients.len() as u64) as usize;
        match self.dice.below(100) {
            0..45 if !self.clients[at].waits => self.act(at),
            0..55 => self.wait(),
            55..65 => self.heartbeat(at),
            65..70 => self.leave(at),
            70..73 => {
                self.clients[at] =
                    Client { instance: self.clients[at].instance.clone(), ..Client::default() }
            }
            73..80 => self.harness.holds = true,
            80..90 => {
                self.harness.holds = false;
                self.harness.commit();
            }
            90..94 => {
                self.harness.holds = false;
                self.harness.refuse(ErrorCode::CoordinatorNotAvailable);
            }
            94..96 => {
                self.leaders.clear();
                self.harness.load(&[]);
            }
            _ => self.wait(),
        }
        self.hear();
    }

    /// A client does what is next for it.
    fn act(&mut self, at: usize) {
        let client = self.clients[at].clone();
        match client.joined {
            Some(joined) if self.dice.chance(80) => self.sync(at, &joined),
            _ => self.join(at),
        }
    }

    fn ask(&mut self, at: usize) -> Ticket {
        let ticket = self.harness.ticket("client");
        self.asked.insert(ticket, at);
        self.clients[at].waits = true;
        ticket
    }

    fn join(&mut self, at: usize) {
        let ticket = self.ask(at);
        self.unique += 1;
        let protocols = ["range", "sticky", "range,sticky"][self.dice.below(3) as usize];
        let named = |name: &str| (name.to_owned(), Bytes::from_static(b"about me"));
        let request = Join {
            group: group(),
            member: self.clients[at].id.clone().unwrap_or(MemberId::from("")),
            instance: self.clients[at].instance.clone(),
            client_id: format!("client{at}"),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(1 + self.dice.below(20)),
            protocol_type: "consumer".to_owned(),
            protocols: Protocols(protocols.split(',').map(named).collect()),
            unique: self.unique.to_string(),
            consumer_id: self.unique.to_string(),
            must_know_id: self.dice.chance(70),
            can_skip_assignment: self.dice.chance(50),
        };
        self.harness.step(|shard, now, out| shard.join(now, request, ticket, out));
    }

    fn sync(&mut self, at: usize, joined: &Joined) {
        let ticket = self.ask(at);
        let generation = joined.generation;
        let assignment = |id: &MemberId| Bytes::from(format!("{generation} {id}"));
        let request = Sync {
            group: group(),
            member: joined.member.clone(),
            instance: self.clients[at].instance.clone(),
            generation,
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments: joined
                .members
                .iter()
                .map(|it| (it.id.clone(), assignment(&it.id)))
                .collect(),
        };
        self.harness.step(|shard, now, out| shard.sync(now, request, ticket, out));
    }

    fn heartbeat(&mut self, at: usize) {
        let Some(joined) = &self.clients[at].joined else { return };
        let instance = self.clients[at].instance.as_deref();
        let now = self.harness.now();
        let member = (&joined.member, instance);
        let beat = self.harness.shard.heartbeat(now, &group(), member, joined.generation);
        if beat.is_err() {
            self.clients[at].joined = None;
        }
    }

    fn leave(&mut self, at: usize) {
        let Some(id) = self.clients[at].id.clone() else { return };
        let ticket = self.harness.ticket("leave");
        let members = vec![Leaving { id, instance: None }];
        let request = Leave { group: group(), members };
        self.harness.step(|shard, now, out| shard.leave(now, &request, ticket, out));
        (self.clients[at].id, self.clients[at].joined) = (None, None);
    }

    fn wait(&mut self) {
        let ms = [10, 1_000, 5_000, 30_000][self.dice.below(4) as usize];
        self.harness.wait(Duration::from_millis(ms));
    }

    /// Takes in what clients were told.
    fn hear(&mut self) {
        if self.harness.shard.classic(&group()).is_none() {
            // One that comes back begins anew.
            self.leaders.clear();
        }
        for (ticket, told) in std::mem::take(&mut self.harness.answers) {
            let Some(at) = self.asked.remove(&ticket) else { continue };
            self.clients[at].waits = false;
            self.heard(at, told);
        }
    }

    fn heard(&mut self, at: usize, told: Told) {
        match told {
            Ok(Answer::Joined(joined)) => self.heard_of_join(at, joined),
            Ok(Answer::Synced(synced)) => {
                let joined = self.clients[at].joined.as_ref();
                let Some(joined) = joined else { return };
                let expected = format!("{} {}", joined.generation, joined.member);
                let told = String::from_utf8_lossy(&synced.assignment).into_owned();
                // A static member that took its own place has the assignment of its old id.
                let is_own = told == expected || self.clients[at].instance.is_some();
                assert!(told.is_empty() || is_own, "{told} was told to {expected}");
            }
            Ok(_) => {}
            Err(_) => self.clients[at].joined = None,
        }
    }

    fn heard_of_join(&mut self, at: usize, joined: Joined) {
        let client = &mut self.clients[at];
        match joined.error {
            ErrorCode::None => {
                client.id = Some(joined.member.clone());
                if !joined.members.is_empty() && !joined.skip_assignment {
                    let leader = joined.leader.clone().expect("who has members leads");
                    assert_eq!(leader, joined.member, "members are told to the leader");
                    let known = self.leaders.entry(joined.generation).or_insert(leader.clone());
                    // A static leader may have taken its own place.
                    let is_static = client.instance.is_some();
                    assert!(*known == leader || is_static, "two lead {}", joined.generation);
                    let last = self.leaders.keys().next_back().expect("just inserted");
                    assert_eq!(*last, joined.generation, "generations grow");
                }
                client.joined = Some(joined);
            }
            ErrorCode::MemberIdRequired => client.id = Some(joined.member),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                (client.id, client.joined) = (None, None);
            }
            _ => client.joined = None,
        }
    }

    /// Everybody is silent from now on.
    fn settle(&mut self) {
        self.harness.holds = false;
        self.harness.commit();
        for _ in 0..20 {
            self.harness.wait(Duration::from_mins(1));
            self.hear();
        }
        assert!(self.asked.is_empty(), "{} are never answered", self.asked.len());
        if let Some(group) = self.harness.shard.classic(&group()) {
            assert_eq!(group.state(), State::Empty, "{group:?}");
        }
    }
}

#[test]
fn random_runs_keep_the_invariants() {
    for seed in 0..2_000 {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..200 {
                run.step();
            }
            run.settle();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
