//! The schemas of the records, in the order of their numbers.
//!
//! Source: `metadata/src/main/resources/common/metadata/*.json` of Kafka 4.4.

use bytes::Bytes;
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionId, ProducerId, TopicName, Uuid,
};

use crate::message::messages;

messages! {
    /// Where a node listens.
    pub struct Endpoint { versions: 0..=4, flexible: 0;
        /// Name.
        name: String => 0+,
        /// Host.
        host: String => 0+,
        /// Port.
        port: u16 => 0+,
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16 => 0+,
    }

    /// The levels of a feature that a node can work with.
    pub struct FeatureRange { versions: 0..=4, flexible: 0;
        /// Name.
        name: String => 0+,
        /// Lowest level.
        min_supported_version: i16 => 0+,
        /// Highest level.
        max_supported_version: i16 => 0+,
    }

    /// One part of the entity that a client quota is for.
    pub struct EntityData { versions: 0..=0, flexible: 0;
        /// "user", "client-id" or "ip".
        entity_type: String => 0+,
        /// Its name; `None` is the default entity.
        entity_name: Option<String> => 0+,
    }

    /// A broker, or a new incarnation of one, joined. Its offset is the broker epoch.
    pub struct RegisterBrokerRecord { versions: 0..=4, flexible: 0;
        /// The broker.
        broker_id: NodeId => 0+,
        /// Whether it came from a ZooKeeper cluster.
        is_migrating_zk_broker: bool => 2+,
        /// Drawn anew by every process.
        incarnation_id: Uuid => 0+,
        /// Epoch of its registration.
        broker_epoch: BrokerEpoch => 0+,
        /// Where it listens.
        end_points: Vec<Endpoint> => 0+,
        /// What it can work with.
        features: Vec<FeatureRange> => 0+,
        /// Its rack.
        rack: Option<String> => 0+,
        /// Whether clients are kept away from it.
        fenced: bool = true => 0+,
        /// Whether it is about to stop.
        in_controlled_shutdown: bool => 1+,
        /// Ids of its log directories that are online.
        log_dirs: Vec<Uuid> => 3+ tag 0,
        /// Ids of log directories that get no new replicas.
        cordoned_log_dirs: Option<Vec<Uuid>> => 4+ tag 1,
    }

    /// A broker was removed for good.
    pub struct UnregisterBrokerRecord { versions: 0..=0, flexible: 0;
        /// The broker.
        broker_id: NodeId => 0+,
        /// Epoch of its registration.
        broker_epoch: BrokerEpoch => 0+,
    }

    /// A topic was created.
    pub struct TopicRecord { versions: 0..=0, flexible: 0;
        /// Name.
        name: TopicName => 0+,
        /// Id of the topic.
        topic_id: Uuid => 0+,
    }

    /// A partition was created.
    pub struct PartitionRecord { versions: 0..=2, flexible: 0;
        /// The partition.
        partition_id: PartitionId = PartitionId(-1) => 0+,
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// Brokers that hold it, the preferred leader first.
        replicas: Vec<NodeId> => 0+,
        /// Replicas in sync.
        isr: Vec<NodeId> => 0+,
        /// Replicas that a reassignment removes.
        removing_replicas: Vec<NodeId> => 0+,
        /// Replicas that a reassignment adds.
        adding_replicas: Vec<NodeId> => 0+,
        /// Its leader; -1 is none.
        leader: NodeId = NodeId(-1) => 0+,
        /// 0 recovered, 1 recovering from an unclean election.
        leader_recovery_state: i8 => 0+ tag 0,
        /// Epoch of the leader.
        leader_epoch: LeaderEpoch = LeaderEpoch(-1) => 0+,
        /// Counts the changes.
        partition_epoch: PartitionEpoch = PartitionEpoch(-1) => 0+,
        /// Log directory of each replica, in their order.
        directories: Vec<Uuid> => 1+,
        /// Replicas out of sync that still hold every committed record (KIP-966).
        eligible_leader_replicas: Option<Vec<NodeId>> => 2+ tag 1,
        /// Last members of the eligible replicas, or the last leader.
        last_known_elr: Option<Vec<NodeId>> => 2+ tag 2,
    }

    /// A config was set, or deleted.
    pub struct ConfigRecord { versions: 0..=0, flexible: 0;
        /// Type of the resource.
        resource_type: i8 => 0+,
        /// Name of the resource; empty for the cluster's default of all brokers.
        resource_name: String => 0+,
        /// Name.
        name: String => 0+,
        /// The value; `None` deletes the config.
        value: Option<String> => 0+,
    }

    /// Some of a partition's registration changed; what is absent stays.
    pub struct PartitionChangeRecord { versions: 0..=2, flexible: 0;
        /// The partition.
        partition_id: PartitionId = PartitionId(-1) => 0+,
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// `None` leaves it, as with all lists here.
        isr: Option<Vec<NodeId>> => 0+ tag 0,
        /// The new leader; -1 is none, -2 leaves it.
        leader: NodeId = NodeId(-2) => 0+ tag 1,
        /// Brokers that hold it, the preferred leader first.
        replicas: Option<Vec<NodeId>> => 0+ tag 2,
        /// Replicas that a reassignment removes.
        removing_replicas: Option<Vec<NodeId>> => 0+ tag 3,
        /// Replicas that a reassignment adds.
        adding_replicas: Option<Vec<NodeId>> => 0+ tag 4,
        /// 0 recovered, 1 recovering, -1 leaves it.
        leader_recovery_state: i8 = -1 => 0+ tag 5,
        /// Log directory of each replica, in their order.
        directories: Option<Vec<Uuid>> => 1+ tag 8,
        /// Replicas out of sync that still hold every committed record (KIP-966).
        eligible_leader_replicas: Option<Vec<NodeId>> => 2+ tag 6,
        /// Last members of the eligible replicas, or the last leader.
        last_known_elr: Option<Vec<NodeId>> => 2+ tag 7,
    }

    /// A broker was fenced (before metadata.version 3.3).
    pub struct FenceBrokerRecord { versions: 0..=0, flexible: 0;
        /// Id.
        id: NodeId => 0+,
        /// Epoch of the registration.
        epoch: BrokerEpoch => 0+,
    }

    /// A broker was unfenced (before metadata.version 3.3).
    pub struct UnfenceBrokerRecord { versions: 0..=0, flexible: 0;
        /// Id.
        id: NodeId => 0+,
        /// Epoch of the registration.
        epoch: BrokerEpoch => 0+,
    }

    /// A topic, its partitions and its configs were deleted.
    pub struct RemoveTopicRecord { versions: 0..=0, flexible: 0;
        /// Id of the topic.
        topic_id: Uuid => 0+,
    }

    /// A delegation token was created or renewed (KIP-900).
    pub struct DelegationTokenRecord { versions: 0..=0, flexible: 0;
        /// Principal that owns the token.
        owner: String => 0+,
        /// Principal that asked for the token.
        requester: String => 0+,
        /// Principals that may renew it.
        renewers: Vec<String> => 0+,
        /// When it was issued, ms.
        issue_timestamp: i64 => 0+,
        /// When it ends at the latest, ms.
        max_timestamp: i64 => 0+,
        /// When it ends unless renewed, ms.
        expiration_timestamp: i64 => 0+,
        /// Id of the token.
        token_id: String => 0+,
    }

    /// A user's SCRAM credential was set (KIP-900).
    pub struct UserScramCredentialRecord { versions: 0..=0, flexible: 0;
        /// Name.
        name: String => 0+,
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 => 0+,
        /// Salt.
        salt: Bytes => 0+,
        /// Stored key.
        stored_key: Bytes => 0+,
        /// Server key.
        server_key: Bytes => 0+,
        /// Iterations.
        iterations: i32 => 0+,
    }

    /// A feature was finalized at a level.
    pub struct FeatureLevelRecord { versions: 0..=0, flexible: 0;
        /// Name.
        name: String => 0+,
        /// The level; 0 removes the feature.
        feature_level: i16 => 0+,
    }

    /// A client quota was set or removed.
    pub struct ClientQuotaRecord { versions: 0..=0, flexible: 0;
        /// For whom it is.
        entity: Vec<EntityData> => 0+,
        /// Name of the quota.
        key: String => 0+,
        /// The value.
        value: f64 => 0+,
        /// Whether it is removed.
        remove: bool => 0+,
    }

    /// A block of producer ids was given to a broker (KIP-730).
    pub struct ProducerIdsRecord { versions: 0..=0, flexible: 0;
        /// The broker.
        broker_id: NodeId => 0+,
        /// Epoch of its registration.
        broker_epoch: BrokerEpoch = BrokerEpoch(-1) => 0+,
        /// First id of the next block.
        next_producer_id: ProducerId => 0+,
    }

    /// Some of a broker's registration changed.
    pub struct BrokerRegistrationChangeRecord { versions: 0..=3, flexible: 0;
        /// The broker.
        broker_id: NodeId => 0+,
        /// Epoch of its registration.
        broker_epoch: BrokerEpoch => 0+,
        /// 1 fences, -1 unfences, 0 leaves it.
        fenced: i8 => 0+ tag 0,
        /// 1 begins a controlled shutdown, 0 leaves it.
        in_controlled_shutdown: i8 => 1+ tag 1,
        /// The log directories now online; empty leaves them.
        log_dirs: Vec<Uuid> => 2+ tag 2,
        /// `None` leaves them.
        cordoned_log_dirs: Option<Vec<Uuid>> => 3+ tag 3,
    }

    /// An ACL was added.
    pub struct AccessControlEntryRecord { versions: 0..=0, flexible: 0;
        /// Id.
        id: Uuid => 0+,
        /// Type of the resource.
        resource_type: i8 => 0+,
        /// Name of the resource.
        resource_name: String => 0+,
        /// 3 literal, 4 prefixed.
        pattern_type: i8 => 0+,
        /// Who.
        principal: String => 0+,
        /// From where; "*" is anywhere.
        host: String => 0+,
        /// What.
        operation: i8 => 0+,
        /// 2 deny, 3 allow.
        permission_type: i8 => 0+,
    }

    /// An ACL was removed.
    pub struct RemoveAccessControlEntryRecord { versions: 0..=0, flexible: 0;
        /// Id.
        id: Uuid => 0+,
    }

    /// Nothing; shows that the quorum lives (KIP-835).
    pub struct NoOpRecord { versions: 0..=0, flexible: 0;
    }

    /// How far a migration from ZooKeeper has come.
    pub struct ZkMigrationStateRecord { versions: 0..=0, flexible: 0;
        /// 0 none, 1 premigration, 2 migration, 3 post-migration.
        zk_migration_state: i8 => 0+,
    }

    /// A user's SCRAM credential was deleted.
    pub struct RemoveUserScramCredentialRecord { versions: 0..=0, flexible: 0;
        /// Name.
        name: String => 0+,
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8 => 0+,
    }

    /// Records up to the end of the transaction count together or not at all (KIP-868).
    pub struct BeginTransactionRecord { versions: 0..=0, flexible: 0;
        /// What the transaction is for.
        name: Option<String> => 0+ tag 0,
    }

    /// The records since the beginning of the transaction count.
    pub struct EndTransactionRecord { versions: 0..=0, flexible: 0;
    }

    /// The records since the beginning of the transaction do not count.
    pub struct AbortTransactionRecord { versions: 0..=0, flexible: 0;
        /// Why.
        reason: Option<String> => 0+ tag 0,
    }

    /// A delegation token was deleted.
    pub struct RemoveDelegationTokenRecord { versions: 0..=0, flexible: 0;
        /// Id of the token.
        token_id: String => 0+,
    }

    /// A controller joined, or changed (KIP-919).
    pub struct RegisterControllerRecord { versions: 0..=0, flexible: 0;
        /// The controller.
        controller_id: NodeId => 0+,
        /// Drawn anew by every process.
        incarnation_id: Uuid => 0+,
        /// Whether it could migrate from ZooKeeper.
        zk_migration_ready: bool => 0+,
        /// Where it listens.
        end_points: Vec<Endpoint> => 0+,
        /// What it can work with.
        features: Vec<FeatureRange> => 0+,
    }

    /// The eligible leader replicas of a topic (all topics when empty) were cleared.
    pub struct ClearElrRecord { versions: 0..=0, flexible: 0;
        /// The topic; empty for all.
        topic_name: TopicName => 0+,
    }

    /// A controller was removed for good.
    pub struct UnregisterControllerRecord { versions: 0..=0, flexible: 0;
        /// The controller.
        controller_id: NodeId => 0+,
    }
}
