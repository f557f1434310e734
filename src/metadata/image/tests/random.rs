//! A source of random records, each of which fits the image before it.

use bytes::Bytes;
use fastrand::Rng;
use ottla_protocol::metadata::{
    AbortTransactionRecord, AccessControlEntryRecord, BeginTransactionRecord,
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord,
    DelegationTokenRecord, EndTransactionRecord, Endpoint, EntityData, FeatureLevelRecord,
    FeatureRange, FenceBrokerRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord,
    PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord,
    RemoveAccessControlEntryRecord, RemoveDelegationTokenRecord, RemoveTopicRecord,
    RemoveUserScramCredentialRecord, TopicRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
    UnregisterControllerRecord, UserScramCredentialRecord, ZkMigrationStateRecord,
};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionId, ProducerId, TopicName, Uuid,
};

use crate::image::{Broker, Image, Topic};

/// Draws records. Names and ids come from small sets, so that records meet.
pub(super) struct RandomRecords(pub(super) Rng);

impl RandomRecords {
    /// A record of this type that fits the image; `None` when there is nothing for it to be about.
    pub(super) fn draw(&mut self, type_number: u32, image: &Image) -> Option<MetadataRecord> {
        Some(match type_number {
            0 => self.register_broker().into(),
            1 => {
                let Broker { id, epoch, .. } = *self.broker(image)?;
                UnregisterBrokerRecord { broker_id: id, broker_epoch: epoch }.into()
            }
            2 => self.topic(image)?.into(),
            3 => self.partition(image)?.into(),
            4 => self.config().into(),
            5 => self.partition_change(image)?.into(),
            7 => {
                let Broker { id, epoch, .. } = *self.broker(image)?;
                FenceBrokerRecord { id, epoch }.into()
            }
            8 => {
                let Broker { id, epoch, .. } = *self.broker(image)?;
                UnfenceBrokerRecord { id, epoch }.into()
            }
            9 => RemoveTopicRecord { topic_id: self.some_topic(image)?.id }.into(),
            12 => self.feature().into(),
            15 => self.producer_ids(image).into(),
            17 => self.registration_change(image)?.into(),
            20 => NoOpRecord {}.into(),
            21 => ZkMigrationStateRecord { zk_migration_state: self.0.i8(0..4) }.into(),
            23 => BeginTransactionRecord { name: None }.into(),
            24 => EndTransactionRecord {}.into(),
            25 => AbortTransactionRecord { reason: None }.into(),
            27 => self.register_controller().into(),
            28 => ClearElrRecord { topic_name: self.topic_or_all(image) }.into(),
            29 => UnregisterControllerRecord { controller_id: self.node() }.into(),
            other => return self.draw_security(other, image),
        })
    }

    fn draw_security(&mut self, type_number: u32, image: &Image) -> Option<MetadataRecord> {
        Some(match type_number {
            10 => self.token().into(),
            11 => self.credential().into(),
            14 => self.quota().into(),
            18 => self.acl(image)?.into(),
            19 => {
                let ids: Vec<Uuid> = image.acls().iter().map(|acl| acl.id).collect();
                RemoveAccessControlEntryRecord { id: *self.0.choice(&ids)? }.into()
            }
            22 => {
                let keys: Vec<(String, i8)> =
                    image.scram().iter().map(|it| (it.name.clone(), it.mechanism)).collect();
                let (name, mechanism) = self.0.choice(&keys)?.clone();
                RemoveUserScramCredentialRecord { name, mechanism }.into()
            }
            26 => RemoveDelegationTokenRecord { token_id: self.name("token") }.into(),
            other => unreachable!("there is no record type {other}"),
        })
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.0.i32(1..6))
    }

    fn nodes(&mut self) -> Vec<NodeId> {
        let count = self.0.usize(0..4);
        (0..count).map(|_| self.node()).collect()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid([self.0.u8(100..110); 16])
    }

    fn uuids(&mut self, count: usize) -> Vec<Uuid> {
        (0..count).map(|_| self.uuid()).collect()
    }

    fn name(&mut self, kind: &str) -> String {
        format!("{kind}-{}", self.0.u8(0..6))
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut RandomRecords) -> T) -> Option<T> {
        self.0.bool().then(|| draw(self))
    }

    fn broker<'a>(&mut self, image: &'a Image) -> Option<&'a Broker> {
        let brokers: Vec<&Broker> = image.cluster().brokers().collect();
        self.0.choice(brokers)
    }

    fn some_topic<'a>(&mut self, image: &'a Image) -> Option<&'a Topic> {
        let topics: Vec<&Topic> = image.topics().iter().collect();
        self.0.choice(topics)
    }

    fn topic_or_all(&mut self, image: &Image) -> TopicName {
        self.some_topic(image)
            .filter(|_| self.0.bool())
            .map_or(TopicName::default(), |topic| topic.name.clone())
    }

    fn endpoints(&mut self) -> Vec<Endpoint> {
        let (name, host) = (self.name("LISTENER"), self.name("host"));
        let (port, security_protocol) = (self.0.u16(..), self.0.i16(0..4));
        vec![Endpoint { name, host, port, security_protocol }]
    }

    fn features(&mut self) -> Vec<FeatureRange> {
        let max_supported_version = self.0.i16(0..40);
        vec![FeatureRange {
            name: self.name("feature"),
            min_supported_version: 0,
            max_supported_version,
        }]
    }

    fn register_broker(&mut self) -> RegisterBrokerRecord {
        let directories = self.0.usize(0..3);
        RegisterBrokerRecord {
            broker_id: self.node(),
            is_migrating_zk_broker: self.0.u8(0..10) == 0,
            incarnation_id: self.uuid(),
            broker_epoch: BrokerEpoch(self.0.i64(0..100)),
            end_points: self.endpoints(),
            features: self.features(),
            rack: self.maybe(|it| it.name("rack")),
            fenced: self.0.bool(),
            in_controlled_shutdown: self.0.bool(),
            log_dirs: self.uuids(directories),
            cordoned_log_dirs: self.maybe(|it| it.uuids(directories)),
        }
    }

    fn registration_change(&mut self, image: &Image) -> Option<BrokerRegistrationChangeRecord> {
        let Broker { id, epoch, .. } = *self.broker(image)?;
        let directories = self.0.usize(0..3);
        Some(BrokerRegistrationChangeRecord {
            broker_id: id,
            broker_epoch: epoch,
            fenced: self.0.i8(-1..2),
            in_controlled_shutdown: self.0.i8(0..2),
            log_dirs: self.uuids(directories),
            cordoned_log_dirs: self.maybe(|it| it.uuids(directories)),
        })
    }

    fn register_controller(&mut self) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id: self.node(),
            incarnation_id: self.uuid(),
            zk_migration_ready: self.0.bool(),
            end_points: self.endpoints(),
            features: self.features(),
        }
    }

    fn topic(&mut self, image: &Image) -> Option<TopicRecord> {
        let (name, topic_id) = (TopicName::from(self.name("topic").as_str()), self.uuid());
        let is_free = image.topic(&name).is_none() && image.topics().by_id(topic_id).is_none();
        is_free.then_some(TopicRecord { name, topic_id })
    }

    fn partition(&mut self, image: &Image) -> Option<PartitionRecord> {
        let replicas = self.nodes();
        let directories = if self.0.bool() { replicas.len() } else { 0 };
        Some(PartitionRecord {
            partition_id: PartitionId(self.0.i32(0..4)),
            topic_id: self.some_topic(image)?.id,
            isr: self.nodes(),
            removing_replicas: self.nodes(),
            adding_replicas: self.nodes(),
            leader: NodeId(self.0.i32(-1..6)),
            leader_recovery_state: self.0.i8(0..2),
            leader_epoch: LeaderEpoch(self.0.i32(0..9)),
            partition_epoch: PartitionEpoch(self.0.i32(0..9)),
            directories: self.uuids(directories),
            eligible_leader_replicas: self.maybe(RandomRecords::nodes),
            last_known_elr: self.maybe(RandomRecords::nodes),
            replicas,
        })
    }

    fn partition_change(&mut self, image: &Image) -> Option<PartitionChangeRecord> {
        let topic = self.some_topic(image)?;
        let ids: Vec<PartitionId> = topic.partitions().map(|(id, _)| id).collect();
        let partition_id = *self.0.choice(&ids)?;
        // Directories follow the replicas, or the change would not fit.
        let replicas = self.maybe(RandomRecords::nodes);
        let directories = replicas.as_ref().map(|it| self.uuids(it.len()));
        Some(PartitionChangeRecord {
            partition_id,
            topic_id: topic.id,
            isr: self.maybe(RandomRecords::nodes),
            leader: NodeId(self.0.i32(-2..6)),
            replicas,
            removing_replicas: self.maybe(RandomRecords::nodes),
            adding_replicas: self.maybe(RandomRecords::nodes),
            leader_recovery_state: self.0.i8(-1..2),
            directories,
            eligible_leader_replicas: self.maybe(RandomRecords::nodes),
            last_known_elr: self.maybe(RandomRecords::nodes),
        })
    }

    fn config(&mut self) -> ConfigRecord {
        let resource_type = *self.0.choice(&[2, 4, 16, 32, 99]).expect("not empty");
        ConfigRecord {
            resource_type,
            resource_name: if self.0.bool() { self.name("topic") } else { String::new() },
            name: self.name("config"),
            value: self.maybe(|it| it.name("value")),
        }
    }

    fn feature(&mut self) -> FeatureLevelRecord {
        if self.0.bool() {
            let feature_level = self.0.i16(7..34);
            return FeatureLevelRecord { name: "metadata.version".into(), feature_level };
        }
        FeatureLevelRecord { name: self.name("feature"), feature_level: self.0.i16(0..3) }
    }

    fn quota(&mut self) -> ClientQuotaRecord {
        let part = |entity_type: &str, entity_name| EntityData {
            entity_type: entity_type.to_owned(),
            entity_name,
        };
        let mut entity = vec![part("user", self.maybe(|it| it.name("user")))];
        if self.0.bool() {
            entity.insert(0, part("client-id", self.maybe(|it| it.name("client"))));
        }
        let (key, remove) = (self.name("quota"), self.0.u8(0..3) == 0);
        ClientQuotaRecord { entity, key, value: self.0.f64(), remove }
    }

    fn producer_ids(&mut self, image: &Image) -> ProducerIdsRecord {
        let next = image.producer_ids().next().0 + self.0.i64(1..2000);
        ProducerIdsRecord {
            broker_id: self.node(),
            broker_epoch: BrokerEpoch(1),
            next_producer_id: ProducerId(next),
        }
    }

    fn acl(&mut self, image: &Image) -> Option<AccessControlEntryRecord> {
        let id = self.uuid();
        let (resource_name, principal) = (self.name("topic"), self.name("User:user"));
        image.acls().get(id).is_none().then(|| AccessControlEntryRecord {
            id,
            resource_type: 2,
            resource_name,
            pattern_type: 3,
            principal,
            host: "*".into(),
            operation: 3,
            permission_type: 3,
        })
    }

    fn credential(&mut self) -> UserScramCredentialRecord {
        UserScramCredentialRecord {
            name: self.name("user"),
            mechanism: self.0.i8(1..3),
            salt: Bytes::from(vec![self.0.u8(..)]),
            stored_key: Bytes::from(vec![self.0.u8(..)]),
            server_key: Bytes::from(vec![self.0.u8(..)]),
            iterations: self.0.i32(4096..9000),
        }
    }

    fn token(&mut self) -> DelegationTokenRecord {
        DelegationTokenRecord {
            owner: self.name("User:user"),
            requester: self.name("User:user"),
            renewers: vec![self.name("User:user")],
            issue_timestamp: self.0.i64(0..9),
            max_timestamp: 99,
            expiration_timestamp: self.0.i64(9..99),
            token_id: self.name("token"),
        }
    }
}
