//! A shard over a log in memory, whose appends can be held back and be refused, and partitions that
//! take markers, now or later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::{NodeConfig, TransactionsConfig};
use ottla_types::{
    ErrorCode, LeaderEpoch, MonoTime, Offset, ProducerId, Timestamp, TopicPartition,
};

use super::render;
use crate::shard_core::{LoadedRecord, Now, RecordBytes, ShardCore, Ticket, Write};
use crate::txn::{
    Answer, Effects, EndTransaction, Errand, InitProducerId, Then, TransactionalId, TxnShard,
};

/// When a script begins, by the wall clock.
const BEGIN_MS: i64 = 1_000_000;

/// A request that may have to be made again, with a fresh producer id.
#[derive(Clone)]
pub(super) enum Ask {
    Init(InitProducerId),
    End(EndTransaction),
}

/// Markers that partitions have not answered.
struct Sent {
    id: TransactionalId,
    record: Offset,
    partitions: Vec<TopicPartition>,
}

pub(super) struct Harness {
    config: Arc<TransactionsConfig>,
    pub(super) shard: TxnShard,
    /// `transaction.version` of the cluster.
    pub(super) version: i16,
    epoch: i32,
    now: Duration,
    /// What was committed.
    log: Vec<RecordBytes>,
    /// Whether writes wait.
    pub(super) holds: bool,
    held: Vec<Write<Then>>,
    /// Whether partitions leave markers unanswered.
    pub(super) holds_markers: bool,
    sent: Vec<Sent>,
    /// The producer id that is given next.
    pub(super) next_id: i64,
    tickets: u64,
    waiting: BTreeMap<Ticket, (String, Option<Ask>)>,
    /// What happened since it was asked last.
    pub(super) told: Vec<String>,
}

impl Harness {
    pub(super) fn new(keys: &[(String, String)], version: i16) -> Harness {
        let config = NodeConfig::new(None, keys);
        let config = Arc::new(config.expect("the keys are good").transactions);
        let mut harness = Harness {
            shard: TxnShard::new(config.clone()),
            config,
            version,
            epoch: 0,
            now: Duration::ZERO,
            log: Vec::new(),
            holds: false,
            held: Vec::new(),
            holds_markers: false,
            sent: Vec::new(),
            next_id: 1,
            tickets: 0,
            waiting: BTreeMap::new(),
            told: Vec::new(),
        };
        harness.begin();
        harness
    }

    pub(super) fn now(&self) -> Now {
        let ms = i64::try_from(self.now.as_millis()).expect("scripts are short");
        Now { mono: MonoTime::from_start(self.now), wall: Timestamp(BEGIN_MS + ms) }
    }

    /// Somebody who waits.
    pub(super) fn ticket(&mut self, label: &str, ask: Option<Ask>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, (label.to_owned(), ask));
        ticket
    }

    pub(super) fn ask(&mut self, label: &str, ask: Ask) {
        let ticket = self.ticket(label, Some(ask.clone()));
        self.step(|shard, now, out| match ask {
            Ask::Init(request) => shard.init_producer_id(now, &request, ticket, out),
            Ask::End(request) => shard.end_transaction(now, &request, ticket, out),
        });
    }

    pub(super) fn step(&mut self, step: impl FnOnce(&mut TxnShard, Now, &mut Effects)) {
        let mut out = Effects::default();
        let now = self.now();
        step(&mut self.shard, now, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Effects) {
        self.shard.check();
        let mut again = Vec::new();
        for (ticket, told) in out.answers {
            let (label, ask) = self.waiting.remove(&ticket).expect("who waits is answered once");
            match (told, ask) {
                (Ok(Answer::NeedsProducerId), Some(ask)) => again.push((label, ask)),
                (told, _) => self.told.push(format!("{label} < {}", render::told(&told))),
            }
        }
        for write in out.writes {
            for record in &write.records {
                self.told.push(format!("log: {}", render::record(record)));
            }
            self.held.push(write);
        }
        for errand in out.errands {
            self.run(errand);
        }
        for (label, mut ask) in again {
            let fresh = Some(self.fresh_id());
            match &mut ask {
                Ask::Init(request) => request.fresh = fresh,
                Ask::End(request) => request.fresh = fresh,
            }
            self.ask(&label, ask);
        }
        if !self.holds {
            self.commit();
        }
        if !self.holds_markers {
            self.answer_markers(&BTreeMap::new());
        }
    }

    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Markers { id, record, markers } => {
                self.told.push(format!("markers: {}", render::markers(&markers)));
                let partitions = markers.into_iter().map(|it| it.partition).collect();
                self.sent.push(Sent { id, record, partitions });
            }
            Errand::FreshId { id, record } => {
                let fresh = Some(self.fresh_id());
                self.step(|shard, now, out| shard.abort_with(now, &id, record, fresh, out));
            }
        }
    }

    fn fresh_id(&mut self) -> ProducerId {
        self.next_id += 1;
        ProducerId(self.next_id - 1)
    }

    /// Partitions answer all markers that they were sent: these with an error.
    pub(super) fn answer_markers(&mut self, errors: &BTreeMap<TopicPartition, ErrorCode>) {
        for Sent { id, record, partitions } in std::mem::take(&mut self.sent) {
            let outcome = |it: TopicPartition| {
                let outcome = errors.get(&it).map_or(Ok(()), |error| Err(*error));
                (it, outcome)
            };
            let outcomes: Vec<_> = partitions.into_iter().map(outcome).collect();
            self.step(|shard, now, out| shard.markers_told(now, &id, record, &outcomes, out));
        }
    }

    /// What waits is committed.
    pub(super) fn commit(&mut self) {
        while !self.held.is_empty() {
            let Write { at, records, then, .. } = self.held.remove(0);
            let end = at.plus(records.len() as i64);
            assert_eq!(at, Offset(self.log.len() as i64), "writes are in order");
            self.log.extend(records);
            self.step(|shard, now, out| {
                shard.commit(now, end, out);
                shard.finish(now, then, Ok(()), out);
            });
        }
    }

    /// What waits is refused.
    pub(super) fn refuse(&mut self, error: ErrorCode) {
        let held = std::mem::take(&mut self.held);
        let Some(first) = held.first().map(|write| write.at) else { return };
        self.step(|shard, now, out| {
            shard.revert(now, first, error, out);
            for write in held {
                shard.finish(now, write.then, Err(error), out);
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
            self.step(TxnShard::tick);
            if self.told.len() > before {
                self.told.insert(before, format!("at {at} ms:"));
            }
        }
        self.now = end;
    }

    /// Another coordinator takes over: all that it knows is in the log.
    pub(super) fn load(&mut self) {
        self.held.clear();
        self.sent.clear();
        for (label, _) in std::mem::take(&mut self.waiting).into_values() {
            self.told.push(format!("{label} < {}", render::told(&Err(ErrorCode::NotCoordinator))));
        }
        self.epoch += 1;
        self.shard = TxnShard::new(self.config.clone());
        for (offset, record) in (0..).map(Offset).zip(&self.log) {
            let (key, value) = (&record.key, record.value.as_deref());
            let record = LoadedRecord { offset, producer: None, key, value };
            self.shard.load(record).expect("it is as Kafka writes it");
        }
        self.begin();
    }

    fn begin(&mut self) {
        let (end, epoch) = (Offset(self.log.len() as i64), LeaderEpoch(self.epoch));
        self.shard.led_in(epoch);
        self.shard.version_changed(self.version);
        self.step(|shard, now, out| shard.loaded(now, end, out));
    }

    /// The cluster has another `transaction.version`.
    pub(super) fn set_version(&mut self, version: i16) {
        self.version = version;
        self.shard.version_changed(version);
    }

    /// A record that somebody else wrote is in the log.
    pub(super) fn log_as_is(&mut self, record: RecordBytes) {
        self.log.push(record);
    }
}
