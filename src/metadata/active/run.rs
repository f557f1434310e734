//! The loop of the task.

use std::collections::VecDeque;

use ottla_protocol::Writer;
use ottla_protocol::control::ControlRecord;
use ottla_raft::core::OffsetAndEpoch;
use ottla_raft::driver::{CommittedBatch, QuorumEvent, QuorumHandle, SnapshotRequest};
use ottla_raft::snapshot::{SnapshotBatch, SnapshotReader};
use ottla_runtime::{Plane, Runtime};
use ottla_types::{LeaderEpoch, Offset, Timestamp};
use tokio::sync::{mpsc, watch};

use super::handle::{COMMANDS_MAX, Command, ControllerError, ControllerHandle, ReplyTo};
use super::snapshots::{SnapshotClock, SnapshotPolicy};
use crate::controller::{BrokerError, Controller, Decision, Moment, Settings, TopicError};
use crate::image::{Delta, Provenance};
use crate::loader::{LoadError, Loader, LogBatch};
use crate::versions::VersionedRecord;
use ottla_protocol::metadata::MetadataRecord;

/// Batches of the metadata log are at most this long (Kafka's limit is 8 MiB).
const BATCH_BYTES_MAX: usize = 7 << 20;

/// What the task is started with.
pub struct MetadataSetup {
    /// What the node's configuration says to its controller.
    pub settings: Settings,
    /// The records that the cluster was formatted with.
    pub bootstrap: Vec<VersionedRecord>,
    /// What the quorum tells.
    pub events: mpsc::UnboundedReceiver<QuorumEvent>,
    /// Where new images go, in order.
    pub deltas: mpsc::UnboundedSender<Delta>,
    /// Up to where the node has published images.
    pub published: watch::Receiver<Published>,
    /// When snapshots are taken.
    pub snapshots: SnapshotPolicy,
}

/// End of what the node has published: every record below is visible to its handlers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Published(pub Offset);

/// Starts the task on the control plane.
#[must_use]
pub fn start(runtime: &Runtime, quorum: &QuorumHandle, setup: MetadataSetup) -> ControllerHandle {
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let task = MetadataTask {
        runtime: runtime.clone(),
        quorum: quorum.clone(),
        settings: setup.settings,
        bootstrap: setup.bootstrap,
        loader: Loader::new(),
        active: None,
        commands: commands_in,
        events: setup.events,
        deltas: setup.deltas,
        published: setup.published,
        snapshots: SnapshotClock::new(setup.snapshots, runtime.clock().now()),
        committed: Offset::ZERO,
    };
    runtime.spawn_vital(Plane::Control, "metadata", task.run());
    ControllerHandle { commands }
}

struct MetadataTask {
    runtime: Runtime,
    quorum: QuorumHandle,
    settings: Settings,
    bootstrap: Vec<VersionedRecord>,
    loader: Loader,
    active: Option<Active>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::UnboundedReceiver<QuorumEvent>,
    deltas: mpsc::UnboundedSender<Delta>,
    published: watch::Receiver<Published>,
    snapshots: SnapshotClock,
    /// End of what is committed.
    committed: Offset,
}

/// What exists while this node leads the quorum.
struct Active {
    epoch: LeaderEpoch,
    controller: Controller,
    next_offset: Offset,
    /// Replies in the order of the offsets they wait for.
    for_commit: VecDeque<Waiting>,
    for_publication: VecDeque<Waiting>,
}

/// A reply that waits until everything below `end` is there.
struct Waiting {
    end: Offset,
    reply: Box<dyn FnOnce(Result<(), ControllerError>) + Send>,
}

/// What a reply waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Committed,
    Published,
}

impl MetadataTask {
    async fn run(mut self) {
        let (mut events, mut commands) = (Vec::new(), Vec::new());
        loop {
            self.wait(&mut events, &mut commands).await;
            for event in events.drain(..) {
                self.take_event(event);
            }
            for command in commands.drain(..) {
                self.take_command(command);
            }
            self.fence_stale_brokers();
            self.answer_waiting();
            self.snapshot_if_due();
        }
    }

    /// Waits until something is there, and takes what is there. Cancel safe branches: receiving
    /// takes nothing unless it completes.
    async fn wait(&mut self, events: &mut Vec<QuorumEvent>, commands: &mut Vec<Command>) {
        const TURN_MAX: usize = 256;
        let clock = self.runtime.clock();
        let session = self.active.as_ref().and_then(|active| active.controller.next_deadline());
        let snapshot = self.snapshots.deadline().filter(|_| self.is_between_transactions());
        let deadline = session.into_iter().chain(snapshot).min();
        let something_due = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = self.events.recv_many(events, TURN_MAX) => {
                if count == 0 {
                    // The quorum has ended, and the process is about to.
                    std::future::pending::<()>().await;
                }
            }
            count = self.commands.recv_many(commands, TURN_MAX) => {
                if count == 0 {
                    std::future::pending::<()>().await;
                }
            }
            changed = self.published.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = something_due => {}
        }
    }

    fn take_event(&mut self, event: QuorumEvent) {
        match event {
            QuorumEvent::Snapshot { id, bytes } => self.load_snapshot(id, &bytes),
            QuorumEvent::SnapshotDone => self.snapshots.done(),
            QuorumEvent::Committed(batches) => {
                for batch in &batches {
                    self.load(batch);
                }
            }
            QuorumEvent::Leader { epoch, next_offset } => self.activate(epoch, next_offset),
            QuorumEvent::LostLeadership { epoch } => {
                if self.active.as_ref().is_some_and(|active| active.epoch == epoch) {
                    self.resign();
                }
            }
        }
    }

    /// # Panics
    /// A record that cannot be read or does not fit may mean anything: the node must stop.
    fn load(&mut self, batch: &CommittedBatch) {
        let header = &batch.header;
        let values = batch.values().unwrap_or_else(|error| {
            panic!("the metadata batch at offset {} cannot be read: {error}", header.base_offset)
        });
        let (epoch, time) = (header.leader_epoch, header.max_timestamp);
        let decoded = LogBatch::decode(header.base_offset, epoch, time, values);
        let loaded = decoded.and_then(|mut decoded| {
            decoded.last_offset = header.last_offset();
            self.loader.load_batch(&decoded)
        });
        self.committed = header.next_offset();
        self.snapshots.committed(header.size() as u64);
        self.publish(loaded);
    }

    fn load_snapshot(&mut self, id: OffsetAndEpoch, bytes: &[u8]) {
        let mut timestamp = Timestamp::NONE;
        let mut records = Vec::new();
        for batch in SnapshotReader::new(bytes) {
            match batch.expect("the driver has checked the snapshot") {
                SnapshotBatch::Control(control) => timestamp = last_timestamp(&control, timestamp),
                SnapshotBatch::Data(values) => records.extend(values.into_iter().map(|value| {
                    let decoded = MetadataRecord::decode(value);
                    decoded.map(|(record, _)| record).unwrap_or_else(|error| {
                        panic!("a record of snapshot {id:?} cannot be read: {error}")
                    })
                })),
            }
        }
        let offset = Offset(id.offset.0 - 1);
        let provenance = Provenance { offset, epoch: id.epoch, timestamp };
        self.snapshots.loaded(self.runtime.clock().now());
        self.committed = id.offset;
        // The snapshot at 0 holds no records: it names the voters.
        if id.offset > Offset::ZERO {
            let loaded = self.loader.load_snapshot(provenance, records);
            self.publish(loaded.map(|delta| vec![delta]));
        }
    }

    fn publish(&mut self, loaded: Result<Vec<Delta>, LoadError>) {
        match loaded {
            Ok(deltas) => {
                for delta in deltas {
                    // The publisher is a vital task.
                    let _ = self.deltas.send(delta);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn activate(&mut self, epoch: LeaderEpoch, next_offset: Offset) {
        let mut controller = Controller::new(self.settings.clone(), self.loader.image().clone());
        controller.set_kraft_version(self.quorum.kraft_version());
        let now = self.runtime.clock().now();
        let open = self.loader.open_transaction();
        let decision = controller.activate(now, &self.bootstrap, open);
        let mut active = Active {
            epoch,
            controller,
            next_offset,
            for_commit: VecDeque::new(),
            for_publication: VecDeque::new(),
        };
        tracing::info!(epoch = epoch.0, offset = next_offset.0, "controller is active");
        active.append(&self.quorum, &decision.records, decision.atomic);
        self.active = Some(active);
    }

    fn resign(&mut self) {
        tracing::info!("controller resigned");
        // Dropping what waits answers it: whether it was done is not known.
        self.active = None;
    }

    fn take_command(&mut self, command: Command) {
        let now = self.runtime.clock().now();
        let entropy = self.runtime.entropy().clone();
        let quorum = self.quorum.clone();
        // Without a controller the reply is dropped, which its receiver understands.
        let Some(active) = &mut self.active else { return };
        let moment = Moment { now, next_offset: active.next_offset };
        let controller = &mut active.controller;
        let topic = ControllerError::Topic as fn(TopicError) -> ControllerError;
        let broker = ControllerError::Broker as fn(BrokerError) -> ControllerError;
        match command {
            Command::CreateTopics(request, reply) => {
                let decision = controller.create_topics(&request, &mut || entropy.bits());
                active.carry_out(&quorum, decision.map_err(topic), Until::Published, reply);
            }
            Command::CreatePartitions(request, reply) => {
                let decision = controller.create_partitions(&request, &mut || entropy.bits());
                active.carry_out(&quorum, Ok(decision), Until::Published, reply);
            }
            Command::DeleteTopics(selectors, reply) => {
                let decision = controller.delete_topics(&selectors);
                active.carry_out(&quorum, decision.map_err(topic), Until::Published, reply);
            }
            Command::AlterConfigs(request, reply) => {
                let decision = controller.alter_configs(&request);
                active.carry_out(&quorum, decision.map_err(topic), Until::Published, reply);
            }
            Command::ElectLeaders(request, reply) => {
                let decision = controller.elect_leaders(&request);
                active.carry_out(&quorum, decision.map_err(topic), Until::Published, reply);
            }
            Command::Reassign(request, reply) => {
                let decision = controller.reassign(&request);
                active.carry_out(&quorum, decision.map_err(topic), Until::Published, reply);
            }
            Command::UnregisterBroker(id, reply) => {
                let decision = controller.unregister_broker(id);
                active.carry_out(&quorum, decision.map_err(broker), Until::Published, reply);
            }
            Command::UpdateFeatures(node, request, reply) => {
                let decision = controller.update_features(node, &request);
                let decision = decision.map_err(ControllerError::Feature);
                active.carry_out(&quorum, decision, Until::Published, reply);
            }
            Command::AllocateProducerIds(id, epoch, reply) => {
                let decision = controller.allocate_producer_ids(id, epoch);
                active.carry_out(&quorum, decision.map_err(broker), Until::Committed, reply);
            }
            Command::RegisterController(request, reply) => {
                let decision = controller.register_controller(request);
                active.carry_out(&quorum, decision.map_err(broker), Until::Committed, reply);
            }
            Command::RegisterBroker(request, reply) => {
                let decision = controller.register_broker(request, moment);
                active.carry_out(&quorum, decision.map_err(broker), Until::Committed, reply);
            }
            Command::Heartbeat(request, reply) => {
                let decision = controller.broker_heartbeat(&request, moment);
                active.carry_out(&quorum, decision.map_err(broker), Until::Committed, reply);
            }
            Command::AssignReplicas(request, reply) => {
                let decision = controller.assign_replicas(&request);
                active.carry_out(&quorum, decision.map_err(broker), Until::Committed, reply);
            }
        }
    }

    /// Asks for a snapshot of what is committed. The records are made beside, from this image.
    fn snapshot_if_due(&mut self) {
        let now = self.runtime.clock().now();
        if !self.snapshots.is_due(now) || !self.is_between_transactions() {
            return;
        }
        let image = self.loader.image().clone();
        let Provenance { offset, epoch, timestamp } = image.provenance();
        self.snapshots.begun(now);
        self.quorum.snapshot(SnapshotRequest {
            id: OffsetAndEpoch { offset: offset.plus(1), epoch },
            timestamp,
            records: Box::new(move |out| {
                image.for_each_record(&mut |record| out(&encode(&record)));
            }),
        });
    }

    /// Whether the image ends where a batch does, as a snapshot must.
    fn is_between_transactions(&self) -> bool {
        self.loader.open_transaction().is_none()
    }

    fn fence_stale_brokers(&mut self) {
        let now = self.runtime.clock().now();
        let Some(active) = &mut self.active else { return };
        while let Some(decision) = active.controller.fence_stale(now) {
            tracing::warn!(broker = decision.reply.0, "fencing a broker that has been silent");
            active.append(&self.quorum, &decision.records, decision.atomic);
        }
    }

    fn answer_waiting(&mut self) {
        let Published(published) = *self.published.borrow_and_update();
        let Some(active) = &mut self.active else { return };
        answer_up_to(&mut active.for_commit, self.committed);
        answer_up_to(&mut active.for_publication, published.min(self.committed));
    }
}

fn answer_up_to(waiting: &mut VecDeque<Waiting>, end: Offset) {
    while waiting.front().is_some_and(|waiting| waiting.end <= end) {
        if let Some(waiting) = waiting.pop_front() {
            (waiting.reply)(Ok(()));
        }
    }
}

impl Active {
    /// Appends what was decided and lets the reply wait for it, and for all before it.
    fn carry_out<R: Send + 'static>(
        &mut self,
        quorum: &QuorumHandle,
        decision: Result<Decision<R>, ControllerError>,
        until: Until,
        reply: ReplyTo<R>,
    ) {
        let result = match decision {
            Ok(decision) => {
                self.append(quorum, &decision.records, decision.atomic);
                Ok(decision.reply)
            }
            Err(error) => Err(error),
        };
        let waiting = Waiting {
            end: self.next_offset,
            // Whoever asked may be gone.
            reply: Box::new(move |done| drop(reply.send(done.and(result)))),
        };
        match until {
            Until::Committed => self.for_commit.push_back(waiting),
            Until::Published => self.for_publication.push_back(waiting),
        }
    }

    fn append(&mut self, quorum: &QuorumHandle, records: &[VersionedRecord], atomic: bool) {
        if records.is_empty() {
            return;
        }
        let replayed = self.controller.replay_appended(self.next_offset, records);
        if let Err(error) = replayed {
            panic!("a decision of the controller does not fit its own image: {error}");
        }
        let values: Vec<Vec<u8>> = records.iter().map(encode).collect();
        self.next_offset = self.next_offset.plus(values.len() as i64);
        for batch in split(values, atomic) {
            quorum.propose(self.epoch, batch);
        }
    }
}

fn last_timestamp(control: &[ControlRecord], known: Timestamp) -> Timestamp {
    let header = control.iter().find_map(|record| match record {
        ControlRecord::SnapshotHeader(header) => Some(header.last_contained_log_timestamp),
        _ => None,
    });
    header.unwrap_or(known)
}

fn encode(record: &VersionedRecord) -> Vec<u8> {
    let mut writer = Writer::new();
    record.record.encode(record.version, &mut writer);
    writer.into_bytes()
}

/// Splits records that need not stand in one batch.
fn split(values: Vec<Vec<u8>>, atomic: bool) -> Vec<Vec<Vec<u8>>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for value in values {
        if !atomic && bytes + value.len() > BATCH_BYTES_MAX {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += value.len();
        batches.last_mut().expect("never empty").push(value);
    }
    batches
}
