//! Random runs of a cluster around the controller, with a model of what its brokers hold.
//!
//! Brokers register, serve, stop, crash and come back; topics come and go; records are produced
//! while enough replicas are in sync; time passes; now and then the controller loses what it had
//! not committed. After each step the invariants are asserted, the last of them what it is all
//! for: a leader that serves holds every record that was acknowledged, unless its election said
//! that it may not.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use ottla_types::{BrokerEpoch, NodeId, Offset, PartitionId, TopicIdPartition, Uuid};

use super::harness::{Harness, id, settings};
use super::mistakes::Mistake;
use crate::controller::{BrokerError, CreateTopics, NewTopic, TopicSelector};
use crate::image::{Image, LeaderRecovery, Partition, Topic, Touched};
use crate::{MetadataVersion, VersionedRecord};

const BROKERS: i32 = 4;

/// The process behind a broker's id.
#[derive(Clone, Copy, Default)]
struct Process {
    running: bool,
    incarnation: u32,
    /// The epoch it noted when it stopped cleanly.
    stopped_at: Option<BrokerEpoch>,
}

/// Records acknowledged, and held by each replica.
#[derive(Clone, Default)]
struct Log {
    acknowledged: u64,
    held: BTreeMap<NodeId, u64>,
}

struct Model {
    harness: Harness,
    random: Rng,
    processes: BTreeMap<NodeId, Process>,
    logs: BTreeMap<TopicIdPartition, Log>,
    before: Image,
    /// First ids of the blocks of producer ids that brokers were told.
    blocks: BTreeSet<i64>,
}

impl Model {
    fn new(seed: u64, planted: Option<Mistake>) -> Model {
        let mut harness = Harness::new(settings());
        harness.activate(MetadataVersion::V4_3);
        harness.planted = planted;
        Model {
            before: harness.controller.image().clone(),
            harness,
            random: Rng::with_seed(seed),
            processes: (1..=BROKERS).map(|id| (NodeId(id), Process::default())).collect(),
            logs: BTreeMap::new(),
            blocks: BTreeSet::new(),
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
            self.check();
        }
    }

    fn step(&mut self) {
        let broker = NodeId(self.random.i32(1..=BROKERS));
        match self.random.u8(0..100) {
            0..25 => self.pass_time(),
            25..40 => self.start(broker),
            40..60 => self.heartbeat(broker),
            60..65 => self.stop(broker),
            65..71 => self.crash(broker),
            71..76 => self.create(),
            76..78 => self.delete(),
            78..90 => self.produce(),
            90..96 => self.catch_up(),
            96..98 => self.producer_ids(broker),
            _ => self.lose_leadership(),
        }
    }

    fn image(&self) -> &Image {
        self.harness.controller.image()
    }

    fn incarnation(&self, broker: NodeId) -> Uuid {
        id(&format!("{broker}-{}", self.processes[&broker].incarnation))
    }

    /// Whether the broker's process runs and the controller knows this incarnation of it.
    fn is_registered(&self, broker: NodeId) -> bool {
        let Some(registered) = self.image().cluster().broker(broker) else { return false };
        self.processes[&broker].running && registered.incarnation_id == self.incarnation(broker)
    }

    fn serves(&self, broker: NodeId) -> bool {
        self.is_registered(broker)
            && self.image().cluster().broker(broker).is_some_and(|it| !it.fenced)
    }

    fn pass_time(&mut self) {
        let pause = Duration::from_millis(self.random.u64(0..6000));
        self.harness.now = self.harness.now.after(pause);
        while let Some(decision) = self.harness.controller.fence_stale(self.harness.now) {
            self.harness.append(decision);
        }
        let deadline = self.harness.controller.next_deadline();
        assert!(
            deadline.is_none_or(|deadline| deadline > self.harness.now),
            "all stale are fenced"
        );
    }

    fn start(&mut self, broker: NodeId) {
        let process = self.processes.get_mut(&broker).expect("a known broker");
        if !process.running {
            process.running = true;
            process.incarnation += 1;
        }
        let stopped_at = process.stopped_at;
        let mut request = self.harness.registration(broker.0);
        request.incarnation_id = self.incarnation(broker);
        request.previous_epoch = stopped_at.unwrap_or(BrokerEpoch::UNKNOWN);
        request.previous_incarnation_is_dead = self.random.bool();
        request.rack = self.random.bool().then(|| format!("r{}", broker.0 % 2));
        match self.harness.controller.register_broker(request, self.harness.moment()) {
            Ok(decision) => {
                self.harness.append(decision);
            }
            Err(error) => assert_eq!(error, BrokerError::DuplicateRegistration),
        }
    }

    fn heartbeat(&mut self, broker: NodeId) {
        if self.is_registered(broker) {
            let mut request = self.harness.heartbeat(broker.0);
            request.want_fence = self.random.u8(0..10) == 0;
            request.metadata_offset = Offset(request.metadata_offset.0 - self.random.i64(0..3));
            self.send(&request);
        }
    }

    /// Asks to stop until it may.
    fn stop(&mut self, broker: NodeId) {
        if !self.is_registered(broker) {
            return;
        }
        for _ in 0..3 {
            let mut request = self.harness.heartbeat(broker.0);
            request.want_shut_down = true;
            let epoch = request.epoch;
            if self.send(&request) {
                let process = self.processes.get_mut(&broker).expect("a known broker");
                process.running = false;
                process.stopped_at = Some(epoch);
                return;
            }
        }
    }

    fn send(&mut self, request: &crate::controller::BrokerHeartbeat) -> bool {
        let moment = self.harness.moment();
        let decision = self.harness.controller.broker_heartbeat(request, moment);
        self.harness.append(decision.expect("the broker is registered")).1.should_shut_down
    }

    /// The process dies, and with it what it had not flushed.
    fn crash(&mut self, broker: NodeId) {
        let process = self.processes.get_mut(&broker).expect("a known broker");
        if process.running {
            process.running = false;
            process.stopped_at = None;
            for held in self.logs.values_mut().filter_map(|log| log.held.get_mut(&broker)) {
                *held = self.random.u64(0..=*held);
            }
        }
    }

    fn create(&mut self) {
        let name = format!("t{}", self.random.u8(0..8));
        let min_isr = self.random.u8(1..=2).to_string();
        let topic = NewTopic {
            name,
            partitions: self.random.i32(1..4),
            replication_factor: self.random.i16(1..=3),
            assignments: Vec::new(),
            configs: vec![("min.insync.replicas".into(), Some(min_isr))],
        };
        let request = CreateTopics { topics: vec![topic], validate_only: false };
        let mut random = self.harness.random();
        let decision = self.harness.controller.create_topics(&request, &mut random);
        self.harness.append(decision.expect("few partitions"));
    }

    fn delete(&mut self) {
        if let Some(topic_id) = self.some_topic().map(|topic| topic.id) {
            let by_id = [TopicSelector { name: None, topic_id }];
            let decision =
                self.harness.controller.delete_topics(&by_id).expect("it can be deleted");
            self.harness.append(decision);
        }
    }

    fn some_topic(&mut self) -> Option<Topic> {
        let topics: Vec<Topic> = self.image().topics().iter().cloned().collect();
        self.random.choice(topics)
    }

    fn some_partition(&mut self) -> Option<(Topic, PartitionId, Partition)> {
        let topic = self.some_topic()?;
        let partitions: Vec<(PartitionId, Partition)> =
            topic.partitions().map(|(id, it)| (id, it.clone())).collect();
        let (id, partition) = self.random.choice(partitions)?;
        Some((topic, id, partition))
    }

    /// A record is acknowledged when all replicas in sync have it, and they are enough.
    fn produce(&mut self) {
        let Some((topic, id, partition)) = self.some_partition() else { return };
        let enough = partition.isr.len() >= self.harness.controller.rules(&topic).min_isr;
        if enough && partition.isr.iter().all(|broker| self.serves(*broker)) {
            let key = TopicIdPartition { topic_id: topic.id, partition: id };
            let log = self.logs.entry(key).or_default();
            log.acknowledged += self.random.u64(1..9);
            for broker in partition.isr {
                log.held.insert(broker, log.acknowledged);
            }
        }
    }

    /// A replica that has everything the leader has is taken into the ISR.
    fn catch_up(&mut self) {
        let Some((topic, id, partition)) = self.some_partition() else { return };
        let is_active = |broker: &NodeId| {
            self.image().cluster().broker(*broker).is_some_and(crate::image::Broker::is_active)
        };
        let wanting = partition.replicas.iter().find(|broker| {
            !partition.isr.contains(broker) && self.serves(**broker) && is_active(broker)
        });
        if let Some(broker) = wanting.filter(|_| self.serves(partition.leader)) {
            let key = TopicIdPartition { topic_id: topic.id, partition: id };
            let log = self.logs.entry(key).or_default();
            let led = log.held.get(&partition.leader).copied().unwrap_or(0);
            log.held.insert(*broker, led);
            let mut isr = partition.isr.clone();
            isr.push(*broker);
            self.harness.set_isr(&topic.name, id.0, isr);
        }
    }

    fn producer_ids(&mut self, broker: NodeId) {
        if self.is_registered(broker) {
            let epoch = self.harness.heartbeat(broker.0).epoch;
            let decision = self.harness.controller.allocate_producer_ids(broker, epoch);
            let (_, block) = self.harness.append(decision.expect("the broker is registered"));
            assert!(self.blocks.insert(block.first.0), "block {} was given before", block.first);
        }
    }

    /// Some operations are appended, and lost before they are committed.
    fn lose_leadership(&mut self) {
        let committed = self.image().clone();
        self.harness.holds = true;
        for _ in 0..self.random.u8(1..4) {
            match self.random.u8(0..3) {
                0 => self.create(),
                1 => self.delete(),
                _ => {
                    let broker = NodeId(self.random.i32(1..=BROKERS));
                    self.start(broker);
                }
            }
        }
        self.harness.renounce();
        self.harness.holds = false;
        let mut reverted = self.image().clone();
        reverted.set_provenance(committed.provenance());
        assert!(reverted == committed, "what was not committed never happened");
        self.harness.activate(MetadataVersion::V4_3);
    }

    fn check(&mut self) {
        let image = self.image().clone();
        image.check();
        self.check_brokers(&image);
        for topic in image.topics().iter() {
            let min_isr = self.harness.controller.rules(topic).min_isr;
            for (id, partition) in topic.partitions() {
                let key = TopicIdPartition { topic_id: topic.id, partition: id };
                check_partition(&image, partition, min_isr);
                check_progress(self.before.partition_by_id(key), partition);
                self.check_log(key, partition);
            }
        }
        let mut committed = self.harness.loader.image().clone();
        committed.set_provenance(image.provenance());
        assert!(committed == image, "the controller replays what it writes");
        if self.random.u8(0..20) == 0 {
            check_snapshot(&image);
        }
        self.before = image;
    }

    fn check_brokers(&self, image: &Image) {
        for broker in image.cluster().brokers() {
            let Some(before) = self.before.cluster().broker(broker.id) else { continue };
            let is_new = before.incarnation_id != broker.incarnation_id;
            assert!(
                if is_new { broker.epoch > before.epoch } else { broker.epoch == before.epoch },
                "broker {} had epoch {}, now {}",
                broker.id,
                before.epoch,
                broker.epoch
            );
        }
    }

    /// Follows an election that may lose records, and asserts that no other does.
    fn check_log(&mut self, key: TopicIdPartition, partition: &Partition) {
        let before = self.before.partition_by_id(key);
        let elected = before.is_some_and(|it| it.leader_epoch != partition.leader_epoch);
        let serves = partition.leader().is_some_and(|leader| self.serves(leader));
        let log = self.logs.entry(key).or_default();
        let led = log.held.get(&partition.leader).copied().unwrap_or(0);
        if elected
            && partition.recovery == LeaderRecovery::Recovering
            && partition.leader().is_some()
        {
            log.acknowledged = log.acknowledged.min(led);
            log.held.values_mut().for_each(|held| *held = (*held).min(led));
        }
        assert!(
            !serves || led >= log.acknowledged,
            "{key}: leader {} holds {led} of {} records",
            partition.leader,
            log.acknowledged
        );
    }
}

fn check_partition(image: &Image, it: &Partition, min_isr: usize) {
    let distinct = |list: &[NodeId]| list.iter().collect::<BTreeSet<_>>().len() == list.len();
    let active =
        |id: &NodeId| image.cluster().broker(*id).is_some_and(crate::image::Broker::is_active);
    assert!(distinct(&it.replicas) && distinct(&it.isr) && distinct(&it.elr), "{it:?}");
    assert!(it.isr.iter().chain(&it.elr).all(|id| it.replicas.contains(id)), "{it:?}");
    assert!(it.elr.iter().all(|id| !it.isr.contains(id)), "ELR and ISR meet: {it:?}");
    assert!(it.isr.iter().all(active), "a broker in sync is not active: {it:?}");
    assert!(it.elr.is_empty() || it.isr.len() < min_isr, "nobody needs the ELR: {it:?}");
    assert!(it.last_known_elr.len() <= 1, "{it:?}");
    assert_eq!(it.directories.len(), it.replicas.len());
    match it.leader() {
        Some(leader) => {
            assert!(it.isr.contains(&leader), "the leader is not in sync: {it:?}");
            assert!(it.last_known_elr.is_empty(), "the leader is known: {it:?}");
        }
        None => {
            assert!(it.isr.is_empty(), "nobody leads those in sync: {it:?}");
            assert!(!it.elr.iter().any(active), "an eligible replica could lead: {it:?}");
        }
    }
}

/// Epochs never go back, and count each leader and each change.
fn check_progress(before: Option<&Partition>, now: &Partition) {
    let Some(before) = before else { return };
    assert!(now.leader_epoch >= before.leader_epoch, "{before:?} became {now:?}");
    assert!(now.partition_epoch >= before.partition_epoch, "{before:?} became {now:?}");
    let new_leader = now.leader != before.leader;
    assert!(!new_leader || now.leader_epoch > before.leader_epoch, "{before:?} became {now:?}");
    let same = now == before;
    assert!(same || now.partition_epoch > before.partition_epoch, "{before:?} became {now:?}");
}

fn check_snapshot(image: &Image) {
    let mut again = Image::default();
    for VersionedRecord { record, .. } in image.to_records() {
        again.replay(&record, &mut Touched::default()).expect("the records fit");
    }
    again.set_provenance(image.provenance());
    assert_eq!(&again, image);
}

#[test]
fn random_runs_keep_the_invariants() {
    for seed in 0..1000 {
        let mut model = Model::new(seed, None);
        let run = catch_unwind(AssertUnwindSafe(|| model.run(300)));
        assert!(run.is_ok(), "seed {seed}");
    }
}

/// Random runs that never meet a situation prove nothing about it.
#[test]
fn random_runs_meet_what_they_are_about() {
    let (mut elected_from_elr, mut recovering, mut acknowledged) = (0, 0, 0);
    for seed in 0..50 {
        let mut model = Model::new(seed, None);
        for _ in 0..200 {
            let before = model.image().clone();
            model.step();
            model.check();
            for (key, log) in &model.logs {
                let (Some(old), Some(new)) =
                    (before.partition_by_id(*key), model.image().partition_by_id(*key))
                else {
                    continue;
                };
                let elected = new.leader().is_some() && new.leader_epoch > old.leader_epoch;
                elected_from_elr += usize::from(elected && old.elr.contains(&new.leader));
                recovering += usize::from(elected && new.recovery == LeaderRecovery::Recovering);
                acknowledged = acknowledged.max(log.acknowledged);
            }
        }
    }
    println!("elections from ELR {elected_from_elr}, unclean {recovering}; {acknowledged} records");
    assert!(elected_from_elr > 100 && recovering > 50 && acknowledged > 20);
}

#[test]
fn planted_mistakes_are_found() {
    for mistake in Mistake::ALL {
        let found = (0..150).find(|seed| {
            let mut model = Model::new(*seed, Some(mistake));
            catch_unwind(AssertUnwindSafe(|| model.run(200))).is_err()
        });
        println!("{mistake:?} is found with seed {found:?}");
        assert!(found.is_some(), "{mistake:?} is not found");
    }
}
