//! Why a committed record cannot be replayed.

use std::fmt;

use ottla_types::{BrokerEpoch, NodeId, ProducerId, TopicIdPartition, TopicName, Uuid};

/// A record that does not fit the image before it.
///
/// Nothing that a controller writes is so; a replica that meets one stops, as what it would serve
/// from then on is not what the others serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// The broker is not registered.
    UnknownBroker(NodeId),
    /// The record speaks of another incarnation of the broker.
    BrokerEpochMismatch {
        /// The broker.
        broker: NodeId,
        /// Epoch of its registration.
        registered: BrokerEpoch,
        /// Epoch in the record.
        found: BrokerEpoch,
    },
    /// No topic has this id.
    UnknownTopicId(Uuid),
    /// No topic has this name.
    UnknownTopic(TopicName),
    /// A topic has this name or this id already.
    DuplicateTopic(TopicName),
    /// The topic has no such partition.
    UnknownPartition(TopicIdPartition),
    /// The partition does not name one directory for each replica.
    BadDirectories(TopicIdPartition),
    /// The partition's leaders or changes cannot be counted any further.
    EpochsExhausted(TopicIdPartition),
    /// No ACL has this id.
    UnknownAcl(Uuid),
    /// An ACL has this id already.
    DuplicateAcl(Uuid),
    /// The user has no credential of this mechanism.
    UnknownCredential {
        /// Name of the user.
        user: String,
        /// Number of the mechanism.
        mechanism: i8,
    },
    /// The next producer id would not be above the last one.
    ProducerIdsWentBack {
        /// Next id before the record.
        next: ProducerId,
        /// Next id of the record.
        found: ProducerId,
    },
    /// `metadata.version` is finalized at a level that this version does not know.
    UnknownMetadataVersion(i16),
    /// A field has a value without a meaning.
    BadValue {
        /// Name of the field.
        field: &'static str,
        /// The value.
        value: i8,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::UnknownBroker(id) => write!(f, "broker {id} is not registered"),
            ReplayError::BrokerEpochMismatch { broker, registered, found } => {
                write!(f, "broker {broker} has epoch {registered}, not {found}")
            }
            ReplayError::UnknownTopicId(id) => write!(f, "no topic has the id {id}"),
            ReplayError::UnknownTopic(name) => write!(f, "no topic has the name {name}"),
            ReplayError::DuplicateTopic(name) => {
                write!(f, "topic {name} has the name or the id of another")
            }
            ReplayError::UnknownPartition(partition) => {
                write!(f, "partition {partition} does not exist")
            }
            ReplayError::BadDirectories(partition) => {
                write!(f, "partition {partition} has not as many directories as replicas")
            }
            ReplayError::EpochsExhausted(partition) => {
                write!(f, "partition {partition} has the last epoch that there is")
            }
            ReplayError::UnknownAcl(id) => write!(f, "no ACL has the id {id}"),
            ReplayError::DuplicateAcl(id) => write!(f, "an ACL has the id {id} already"),
            ReplayError::UnknownCredential { user, mechanism } => {
                write!(f, "user {user} has no credential of mechanism {mechanism}")
            }
            ReplayError::ProducerIdsWentBack { next, found } => {
                write!(f, "the next producer id is {next}, and {found} is not above it")
            }
            ReplayError::UnknownMetadataVersion(level) => {
                write!(f, "metadata.version {level} is not known to this version")
            }
            ReplayError::BadValue { field, value } => write!(f, "{field} cannot be {value}"),
        }
    }
}

impl std::error::Error for ReplayError {}
