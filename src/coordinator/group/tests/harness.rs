//! A shard over a log in memory, whose appends can be held back and be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_config::{GroupsConfig, NodeConfig};
use ottla_types::{ErrorCode, MonoTime, Offset, ProducerId, Timestamp};

use super::cluster::TestCluster;
use super::render;
use crate::group::consumer::{ChangedTopics, Resolve};
use crate::group::{
    Effects, GroupShard, LoadedRecord, Now, Part, RecordBytes, Then, Ticket, Told, Write,
};

/// When a script begins, by the wall clock.
const BEGIN_MS: i64 = 1_000_000;

/// What a log holds.
pub(super) enum Logged {
    /// A record, maybe of a transaction.
    Record(RecordBytes, Option<ProducerId>),
    /// The end of a transaction, and whether it counts.
    Marker(ProducerId, bool),
}

pub(super) struct Harness {
    pub(super) config: Arc<GroupsConfig>,
    pub(super) shard: GroupShard,
    /// What the shard is told of the cluster.
    pub(super) cluster: Arc<TestCluster>,
    pub(super) now: Duration,
    /// How far the wall clock was set since the beginning, ms.
    pub(super) clock_set_ms: i64,
    /// What was committed.
    pub(super) log: Vec<Logged>,
    /// Whether writes wait.
    pub(super) holds: bool,
    held: Vec<Write>,
    /// Whether only the last record of each key is loaded.
    pub(super) compacts: bool,
    /// Whether patterns are not looked up yet.
    pub(super) holds_look_ups: bool,
    look_ups: Vec<Resolve>,
    /// Topics that who looks patterns up may not see.
    pub(super) hidden: BTreeSet<String>,
    tickets: u64,
    labels: BTreeMap<Ticket, String>,
    /// What happened since it was asked last.
    pub(super) told: Vec<String>,
    /// What was answered since it was asked last.
    pub(super) answers: Vec<(Ticket, Told)>,
}

impl Harness {
    pub(super) fn new(keys: &[(String, String)]) -> Harness {
        let config = NodeConfig::new(None, keys);
        let config = Arc::new(config.expect("the keys are good").groups);
        let shard = GroupShard::new(config.clone());
        let mut harness = Harness {
            config,
            shard,
            cluster: Arc::default(),
            now: Duration::ZERO,
            clock_set_ms: 0,
            log: Vec::new(),
            holds: false,
            held: Vec::new(),
            compacts: false,
            holds_look_ups: false,
            look_ups: Vec::new(),
            hidden: BTreeSet::new(),
            tickets: 0,
            labels: BTreeMap::new(),
            told: Vec::new(),
            answers: Vec::new(),
        };
        harness.step(|shard, now, out| shard.loaded(now, Offset::ZERO, out));
        harness
    }

    pub(super) fn now(&self) -> Now {
        let ms = i64::try_from(self.now.as_millis()).expect("scripts are short");
        let wall = Timestamp(BEGIN_MS + self.clock_set_ms + ms);
        Now { mono: MonoTime::from_start(self.now), wall }
    }

    /// Somebody who waits.
    pub(super) fn ticket(&mut self, label: &str) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.labels.insert(ticket, label.to_owned());
        ticket
    }

    pub(super) fn step(&mut self, step: impl FnOnce(&mut GroupShard, Now, &mut Effects)) {
        let mut out = Effects::default();
        let now = self.now();
        step(&mut self.shard, now, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Effects) {
        self.shard.check();
        for (ticket, told) in out.answers {
            let label = self.labels.remove(&ticket).expect("whoever waits is answered once");
            self.told.push(format!("{label} < {}", render::told(&told)));
            self.answers.push((ticket, told));
        }
        for write in out.writes {
            self.told.extend(write.records.iter().map(|record| logged(write.part, record)));
            self.held.push(write);
        }
        self.look_ups.extend(out.errands);
        if !self.holds {
            self.commit();
        }
        if !self.holds_look_ups {
            self.look_up();
        }
    }

    /// Patterns that wait are looked up.
    pub(super) fn look_up(&mut self) {
        while let Some(next) = self.look_ups.pop() {
            let found =
                next.look_up(self.now().wall, &*self.cluster, &|it| !self.hidden.contains(it));
            self.step(|shard, _, out| shard.regexes_found(found, out));
        }
    }

    /// What waits is committed.
    pub(super) fn commit(&mut self) {
        while !self.held.is_empty() {
            let Write { at, records, part, then } = self.held.remove(0);
            let end = at.plus(records.len() as i64);
            assert_eq!(at, Offset(self.log.len() as i64), "writes are in order");
            let logged = |record| match part {
                Part::None => Logged::Record(record, None),
                Part::Of(of) => Logged::Record(record, Some(of.producer_id)),
                Part::End(end) => Logged::Marker(end.producer_id, end.commit),
            };
            self.log.extend(records.into_iter().map(logged));
            self.step(|shard, now, out| {
                shard.commit(end, out);
                shard.finish(now, then, Ok(()), out);
            });
        }
    }

    /// What waits is refused.
    pub(super) fn refuse(&mut self, error: ErrorCode) {
        let held = std::mem::take(&mut self.held);
        let Some(first) = held.first().map(|write| write.at) else { return };
        let thens: Vec<Then> = held.into_iter().map(|write| write.then).collect();
        self.step(|shard, now, out| {
            shard.revert(now, first, error, out);
            for then in thens {
                shard.finish(now, then, Err(error), out);
            }
        });
    }

    /// Time passes.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.shard.next_deadline().filter(|at| at.since_start() <= end) {
            self.now = self.now.max(next.since_start());
            let at = self.now.as_millis();
            let before = self.told.len();
            self.step(GroupShard::tick);
            if self.told.len() > before {
                self.told.insert(before, format!("at {at} ms:"));
            }
        }
        self.now = end;
    }

    /// Where the last record of each key is.
    fn last_of_keys(&self) -> BTreeMap<Bytes, Offset> {
        let record = |(offset, logged): (Offset, &Logged)| match logged {
            Logged::Record(record, _) => Some((record.key.clone(), offset)),
            Logged::Marker(..) => None,
        };
        (0..).map(Offset).zip(&self.log).filter_map(record).collect()
    }

    /// Another coordinator takes over, with other keys if there are any: all that it knows is in
    /// the log.
    pub(super) fn load(&mut self, keys: &[(String, String)]) {
        if !keys.is_empty() {
            let config = NodeConfig::new(None, keys);
            self.config = Arc::new(config.expect("the keys are good").groups);
        }
        self.held.clear();
        self.look_ups.clear();
        let gone = ErrorCode::NotCoordinator;
        self.step(|shard, _, out| shard.resign(gone, out));
        // Whoever waits for a record hears the same.
        for (ticket, label) in std::mem::take(&mut self.labels) {
            self.told.push(format!("{label} < {}", render::told(&Err(gone))));
            self.answers.push((ticket, Err(gone)));
        }
        self.shard = GroupShard::new(self.config.clone());
        self.shard.cluster_changed(self.cluster.clone(), &ChangedTopics::default());
        let last = self.last_of_keys();
        for (offset, logged) in (0..).map(Offset).zip(&self.log) {
            if let Logged::Record(record, None) = logged
                && self.compacts
                && last.get(&record.key) != Some(&offset)
            {
                continue;
            }
            match logged {
                Logged::Record(record, producer) => {
                    let (key, value) = (&record.key, record.value.as_deref());
                    let record = LoadedRecord { offset, producer: *producer, key, value };
                    self.shard.load(record).expect("it is as Kafka writes it");
                }
                Logged::Marker(producer, counts) => {
                    self.shard.load_marker(offset, *producer, *counts);
                }
            }
        }
        let end = Offset(self.log.len() as i64);
        self.step(|shard, now, out| shard.loaded(now, end, out));
    }
}

/// A record as scripts show it.
fn logged(part: Part, record: &RecordBytes) -> String {
    match part {
        Part::None => format!("log: {}", render::record(record)),
        Part::Of(of) => format!("log: of {}: {}", of.producer_id, render::record(record)),
        Part::End(end) if end.commit => format!("log: {} commits", end.producer_id),
        Part::End(end) => format!("log: {} aborts", end.producer_id),
    }
}
