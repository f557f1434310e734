//! A controller with its log: appends what it decides, commits it, keeps the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use ottla_protocol::metadata::{
    BeginTransactionRecord, ConfigRecord, Endpoint, FeatureRange, MetadataRecord, TopicRecord,
};
use ottla_types::{BrokerEpoch, LeaderEpoch, MonoTime, NodeId, Offset, Timestamp, Uuid};

use super::mistakes::Mistake;
use crate::controller::members::{AfterMove, Move};
use crate::controller::partition_change::PartitionChange;
use crate::controller::{
    BrokerHeartbeat, BrokerRegistration, ConfigSource, Controller, Decision, Moment, Settings,
    TopicDefault,
};
use crate::image::{Image, LeaderRecovery};
use crate::testdata::{batches, log_batch};
use crate::{
    FEATURES, FormatLevels, KRAFT_VERSION, Loader, LogBatch, METADATA_VERSION, MetadataVersion,
    VersionedRecord,
};

/// Records that were appended together.
#[derive(Clone, Debug)]
pub(super) struct Append {
    pub(super) base_offset: Offset,
    pub(super) records: Vec<VersionedRecord>,
}

/// A controller and the world around it.
pub(super) struct Harness {
    pub(super) controller: Controller,
    /// Follows what is committed.
    pub(super) loader: Loader,
    pub(super) next_offset: Offset,
    pub(super) now: MonoTime,
    /// Whether appends wait to be committed.
    pub(super) holds: bool,
    pub(super) held: Vec<Append>,
    /// Everything that was ever appended.
    pub(super) log: Vec<Append>,
    /// Names of topics by id, also of those deleted.
    pub(super) names: BTreeMap<Uuid, String>,
    /// A mistake to be made, to see that tests find it.
    pub(super) planted: Option<Mistake>,
    /// Random numbers to be drawn before others.
    pub(super) queued: VecDeque<u64>,
    random: Rng,
}

/// What a test's controller is configured with, unless it says otherwise.
pub(super) fn settings() -> Settings {
    Settings {
        cluster_id: "cluster".into(),
        session_timeout: Duration::from_millis(9000),
        default_partitions: 1,
        default_replication_factor: 1,
        min_insync_replicas: 1,
        unclean_leader_election: false,
        delete_topics: true,
        kraft_version: 1,
        topic_defaults: vec![
            TopicDefault {
                name: "min.insync.replicas".into(),
                value: "1".into(),
                source: ConfigSource::Default,
            },
            TopicDefault {
                name: "segment.bytes".into(),
                value: "1073741824".into(),
                source: ConfigSource::StaticBroker,
            },
        ],
    }
}

/// What Kafka 4.4 can work with.
pub(super) fn features() -> Vec<FeatureRange> {
    let range = |name: &str, min_supported_version, max_supported_version| FeatureRange {
        name: name.to_owned(),
        min_supported_version,
        max_supported_version,
    };
    let others = FEATURES.iter().chain([&KRAFT_VERSION]);
    let mut features: Vec<FeatureRange> =
        others.map(|feature| range(feature.name, feature.min, feature.max)).collect();
    features.push(range(METADATA_VERSION, 7, 33));
    features
}

/// What Kafka 4.3 can work with.
pub(super) fn features_of_4_3() -> Vec<FeatureRange> {
    let mut features = features();
    for feature in &mut features {
        match feature.name.as_str() {
            METADATA_VERSION => feature.max_supported_version = 30,
            "share.version" => feature.max_supported_version = 1,
            _ => {}
        }
    }
    features
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (name, host) = ("PLAINTEXT".to_owned(), "localhost".to_owned());
    vec![Endpoint { name, host, port: 9092, security_protocol: 0 }]
}

/// An id by a short name, so that scripts can be read; a real id stands for itself.
pub(super) fn id(name: &str) -> Uuid {
    name.parse().unwrap_or_else(|_| {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Uuid(bytes)
    })
}

impl Harness {
    /// A controller over an empty log, not active yet.
    pub(super) fn new(settings: Settings) -> Harness {
        Harness {
            controller: Controller::new(settings, Image::default()),
            loader: Loader::new(),
            next_offset: Offset(0),
            now: MonoTime::START,
            holds: false,
            held: Vec::new(),
            log: Vec::new(),
            names: BTreeMap::new(),
            planted: None,
            queued: VecDeque::new(),
            random: Rng::with_seed(1),
        }
    }

    /// Activates the controller over what is committed.
    pub(super) fn activate(&mut self, version: MetadataVersion) -> Append {
        let bootstrap = FormatLevels::new(version).records();
        let open = self.loader.open_transaction();
        let decision = self.controller.activate(self.now, &bootstrap, open);
        self.append(decision).0
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, next_offset: self.next_offset }
    }

    /// Appends what was decided, and commits it unless appends are held.
    pub(super) fn append<R>(&mut self, mut decision: Decision<R>) -> (Append, R) {
        if let Some(mistake) = self.planted {
            mistake.corrupt(&mut decision.records);
        }
        let append = Append { base_offset: self.next_offset, records: decision.records };
        self.controller
            .replay_appended(append.base_offset, &append.records)
            .expect("the controller writes what fits");
        self.controller.check();
        self.next_offset = append.base_offset.plus(append.records.len() as i64);
        for record in &append.records {
            if let MetadataRecord::Topic(TopicRecord { name, topic_id }) = &record.record {
                self.names.insert(*topic_id, name.to_string());
            }
        }
        self.log.push(append.clone());
        self.held.push(append.clone());
        if !self.holds {
            self.commit();
        }
        (append, decision.reply)
    }

    /// Commits everything that is held.
    pub(super) fn commit(&mut self) {
        for append in std::mem::take(&mut self.held) {
            let records: Vec<MetadataRecord> =
                append.records.into_iter().map(|it| it.record).collect();
            if records.is_empty() {
                continue;
            }
            let batch = LogBatch {
                base_offset: append.base_offset,
                last_offset: Offset(append.base_offset.0 + records.len() as i64 - 1),
                epoch: LeaderEpoch(1),
                timestamp: Timestamp(0),
                records,
            };
            self.loader.load_batch(&batch).expect("the controller writes what fits");
        }
    }

    /// Loses what is held, as when another controller is elected.
    pub(super) fn renounce(&mut self) {
        if let Some(first) = self.held.first() {
            self.next_offset = first.base_offset;
        }
        self.held.clear();
        if self.planted == Some(Mistake::NothingReverted) {
            return;
        }
        self.controller.renounce(self.loader.image().clone());
        self.controller.check();
    }

    /// Appends a record that no operation of this controller makes.
    pub(super) fn append_record(&mut self, record: impl Into<MetadataRecord>) -> Append {
        let version = self.controller.image().metadata_version();
        let records = vec![VersionedRecord::new(record, version)];
        self.append(Decision { records, atomic: true, reply: () }).0
    }

    /// Takes over what Kafka wrote before `end_offset`.
    pub(super) fn load(&mut self, bytes: &[u8], end_offset: Offset) {
        self.loader = Loader::new();
        for (header, mut records) in batches(bytes) {
            records.truncate(end_offset.since(header.base_offset).max(0) as usize);
            for record in records.iter().map(|it| &it.record) {
                if let MetadataRecord::Topic(TopicRecord { name, topic_id }) = record {
                    self.names.insert(*topic_id, name.to_string());
                }
            }
            if header.base_offset < end_offset {
                let batch = log_batch(&header, records);
                self.loader.load_batch(&batch).expect("Kafka's log can be followed");
            }
        }
        self.next_offset = end_offset;
        self.controller.renounce(self.loader.image().clone());
    }

    /// A transaction that its controller could not end.
    pub(super) fn begin_transaction(&mut self) {
        self.append_record(BeginTransactionRecord { name: None });
        self.append_record(ConfigRecord {
            resource_type: 4,
            name: "num.io.threads".into(),
            value: Some("1".into()),
            ..Default::default()
        });
    }

    /// Makes these the replicas in sync, as the leader would ask for.
    pub(super) fn set_isr(&mut self, name: &str, index: i32, isr: Vec<NodeId>) -> Option<Append> {
        let image = self.controller.image().clone();
        let topic = image.topic(name).expect("the topic is there");
        let (id, partition) = topic.partitions().nth(index as usize).expect("it is there");
        let key = ottla_types::TopicIdPartition { topic_id: topic.id, partition: id };
        let step = Move::Joins(partition.leader);
        let change = PartitionChange::new(partition, self.controller.rules(topic)).isr(isr);
        let mut record = change.build(key, &AfterMove { image: &image, step })?;
        if partition.recovery == LeaderRecovery::Recovering {
            record.leader_recovery_state = LeaderRecovery::Recovered.code();
        }
        Some(self.append_record(record))
    }

    /// A stream of random numbers that is the same in each run.
    pub(super) fn random(&mut self) -> impl FnMut() -> u64 + use<> {
        let (mut queued, mut random) = (std::mem::take(&mut self.queued), self.random.fork());
        move || queued.pop_front().unwrap_or_else(|| random.u64(..))
    }

    /// The registration of a broker whose ids follow from its number.
    pub(super) fn registration(&self, broker: i32) -> BrokerRegistration {
        BrokerRegistration {
            broker: NodeId(broker),
            cluster_id: "cluster".into(),
            incarnation_id: id(&format!("i{broker}")),
            endpoints: endpoints(),
            features: features(),
            rack: None,
            is_migrating_zk_broker: false,
            log_dirs: vec![id(&format!("d{broker}"))],
            previous_epoch: BrokerEpoch::UNKNOWN,
            previous_incarnation_is_dead: false,
        }
    }

    /// The heartbeat of a broker that has read everything and wants to serve.
    pub(super) fn heartbeat(&self, broker: i32) -> BrokerHeartbeat {
        let registered = self.controller.image().cluster().broker(NodeId(broker));
        BrokerHeartbeat {
            broker: NodeId(broker),
            epoch: registered.map_or(BrokerEpoch::UNKNOWN, |it| it.epoch),
            metadata_offset: Offset(self.next_offset.0 - 1),
            want_fence: false,
            want_shut_down: false,
            offline_directories: Vec::new(),
            cordoned_directories: None,
        }
    }
}
