//! Why the controller refuses an operation. The texts are those of Kafka 4.3.1.

use std::fmt;

use ottla_types::{BrokerEpoch, ErrorCode, InvalidTopicName, NodeId, PartitionId, TopicName, Uuid};

/// Why a request of a broker or a controller is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerError {
    /// It belongs to another cluster.
    InconsistentClusterId {
        /// Id of this cluster.
        expected: String,
        /// Id in the request.
        found: String,
    },
    /// Another process with this id has a live session.
    DuplicateRegistration,
    /// It comes from a ZooKeeper cluster.
    ZkBroker,
    /// It names no log directory.
    NoDirectories,
    /// It names a directory by an id that Kafka never generates.
    ReservedDirectory,
    /// It names a directory twice.
    DuplicateDirectory,
    /// A directory belongs to another broker.
    DirectoryOfAnother {
        /// The other broker.
        owner: NodeId,
        /// The directory.
        directory: Uuid,
    },
    /// It does not say which levels of `metadata.version` it can work with.
    NoMetadataVersion,
    /// It cannot work with a finalized level.
    UnsupportedFeature {
        /// The feature.
        name: String,
        /// The finalized level.
        finalized: i16,
        /// Lowest level it can work with.
        min: i16,
        /// Highest level it can work with.
        max: i16,
    },
    /// `metadata.version` does not have registrations of controllers.
    NoControllerRegistration,
    /// `metadata.version` does not know in which directories replicas are.
    NoDirectoryAssignment,
    /// No such broker is registered, and so it cannot ask.
    NotRegistered(NodeId),
    /// No such broker is registered.
    Unknown(NodeId),
    /// Another incarnation of the broker is registered.
    StaleEpoch {
        /// Epoch of the registration.
        expected: BrokerEpoch,
        /// Epoch in the request.
        found: BrokerEpoch,
    },
    /// There are no more producer ids.
    ProducerIdsExhausted,
}

impl BrokerError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            BrokerError::InconsistentClusterId { .. } => ErrorCode::InconsistentClusterId,
            BrokerError::DuplicateRegistration => ErrorCode::DuplicateBrokerRegistration,
            BrokerError::ZkBroker | BrokerError::Unknown(_) => ErrorCode::BrokerIdNotRegistered,
            BrokerError::NoDirectories
            | BrokerError::ReservedDirectory
            | BrokerError::DuplicateDirectory
            | BrokerError::DirectoryOfAnother { .. }
            | BrokerError::NoMetadataVersion => ErrorCode::InvalidRegistration,
            BrokerError::UnsupportedFeature { .. }
            | BrokerError::NoControllerRegistration
            | BrokerError::NoDirectoryAssignment => ErrorCode::UnsupportedVersion,
            BrokerError::NotRegistered(_) | BrokerError::StaleEpoch { .. } => {
                ErrorCode::StaleBrokerEpoch
            }
            BrokerError::ProducerIdsExhausted => ErrorCode::UnknownServerError,
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokerError::InconsistentClusterId { expected, found } => {
                write!(f, "Expected cluster ID {expected}, but got cluster ID {found}")
            }
            BrokerError::DuplicateRegistration => f.write_str(
                "Another broker is registered with that broker id. If the broker was recently \
                 restarted this should self-resolve once the heartbeat manager expires the \
                 broker's session.",
            ),
            BrokerError::ZkBroker => {
                f.write_str("Controller does not support registering ZK brokers.")
            }
            BrokerError::NoDirectories => f.write_str("No directories specified in request"),
            BrokerError::ReservedDirectory => f.write_str("Reserved directory ID in request"),
            BrokerError::DuplicateDirectory => f.write_str("Duplicate directory ID in request"),
            BrokerError::DirectoryOfAnother { owner, directory } => {
                write!(f, "Broker {owner} is already registered with directory {directory}")
            }
            BrokerError::NoMetadataVersion => {
                f.write_str("Request features do not contain 'metadata.version'")
            }
            BrokerError::UnsupportedFeature { name, finalized, min, max } => write!(
                f,
                "Unable to register because the broker does not support finalized version \
                 {finalized} of {name}. The broker wants a version between {min} and {max}, \
                 inclusive."
            ),
            BrokerError::NoControllerRegistration => f.write_str(
                "The current MetadataVersion is too old to support controller registrations.",
            ),
            BrokerError::NoDirectoryAssignment => {
                f.write_str("Directory assignment is not supported yet.")
            }
            BrokerError::NotRegistered(id) => {
                write!(f, "No broker registration found for broker id {id}")
            }
            BrokerError::Unknown(id) => {
                write!(f, "Broker ID {id} is not currently registered")
            }
            BrokerError::StaleEpoch { expected, found } => {
                write!(f, "Expected broker epoch {expected}, but got broker epoch {found}")
            }
            BrokerError::ProducerIdsExhausted => f.write_str(
                "Exhausted all producerIds as the next block's end producerId has exceeded the \
                 int64 type limit",
            ),
        }
    }
}

impl std::error::Error for BrokerError {}

/// Why a topic is not created or not deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// A topic has this name.
    Exists(TopicName),
    /// The name is not legal.
    InvalidName(InvalidTopicName),
    /// In metrics, the name is that of another topic.
    Collides {
        /// The name asked for.
        name: String,
        /// The topic that has it.
        with: TopicName,
    },
    /// The topic of the metadata log is not for clients.
    MetadataTopic,
    /// The request names a topic twice.
    DuplicateName,
    /// The request names a topic's id twice.
    DuplicateId,
    /// The request names a topic by its name, and again by its id.
    NameOfDuplicateId,
    /// The request names a topic by nothing.
    NeitherNameNorId,
    /// The request names a topic by both, which may disagree.
    BothNameAndId,
    /// No topic has this name.
    Unknown,
    /// No topic has this id.
    UnknownId,
    /// `delete.topic.enable` is off.
    DeletionDisabled,
    /// A topic needs a partition at least.
    BadPartitionCount,
    /// A partition needs a replica at least.
    BadReplicationFactor,
    /// The replicas cannot be placed.
    CannotReplicate {
        /// The replication factor.
        times: i16,
        /// Why.
        reason: PlacementError,
    },
    /// Replicas are assigned by hand, and counted too.
    AssignedAndReplicationFactor,
    /// Partitions are assigned by hand, and counted too.
    AssignedAndPartitionCount,
    /// An assignment is not possible.
    BadAssignment(AssignmentError),
    /// Configs without a value, by name.
    NullConfigs(Vec<String>),
    /// A config is not known, or its value is not allowed.
    InvalidConfig(String),
    /// The request creates more partitions than one may.
    TooManyPartitions,
    /// The request would write more records than one may.
    TooManyRecords,
}

/// Why replicas cannot be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlacementError {
    /// No broker is there to lead.
    AllFenced,
    /// No broker is there to lead: those that are not fenced are about to stop.
    AllInactive,
    /// There are not enough brokers.
    TooFewBrokers {
        /// The replication factor.
        wanted: usize,
        /// Brokers that can take a replica.
        usable: usize,
    },
}

/// Why an assignment by hand is not possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssignmentError {
    /// A partition is assigned twice.
    DuplicatePartition(PartitionId),
    /// The partitions are not 0, 1, 2 and so on.
    Gap,
    /// A partition has no replica.
    NoReplicas,
    /// A partition has another number of replicas than those before.
    OtherReplicationFactor {
        /// Its number.
        found: usize,
        /// Theirs.
        expected: usize,
    },
    /// No such broker is registered.
    UnknownBroker(NodeId),
    /// A partition names a broker twice.
    DuplicateBroker(NodeId),
    /// No replica of the partition could be in sync.
    AllInactive(PartitionId),
}

impl TopicError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            TopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
            TopicError::InvalidName(_) | TopicError::Collides { .. } => {
                ErrorCode::InvalidTopicException
            }
            TopicError::MetadataTopic
            | TopicError::DuplicateName
            | TopicError::DuplicateId
            | TopicError::NameOfDuplicateId
            | TopicError::NeitherNameNorId
            | TopicError::BothNameAndId
            | TopicError::AssignedAndReplicationFactor
            | TopicError::AssignedAndPartitionCount => ErrorCode::InvalidRequest,
            TopicError::Unknown => ErrorCode::UnknownTopicOrPartition,
            TopicError::UnknownId => ErrorCode::UnknownTopicId,
            TopicError::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
            TopicError::BadPartitionCount => ErrorCode::InvalidPartitions,
            TopicError::BadReplicationFactor | TopicError::CannotReplicate { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            TopicError::BadAssignment(_) => ErrorCode::InvalidReplicaAssignment,
            TopicError::NullConfigs(_) | TopicError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            TopicError::TooManyPartitions | TopicError::TooManyRecords => {
                ErrorCode::PolicyViolation
            }
        }
    }

    /// The text beside the code, where Kafka sends one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        (*self != TopicError::DeletionDisabled).then(|| self.to_string())
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicError::Exists(name) => write!(f, "Topic '{name}' already exists."),
            TopicError::InvalidName(error) => error.fmt(f),
            TopicError::Collides { name, with } => {
                write!(f, "Topic '{name}' collides with existing topic: {with}")
            }
            TopicError::CannotReplicate { times, reason } => {
                write!(f, "Unable to replicate the partition {times} time(s): {reason}")
            }
            TopicError::BadAssignment(error) => error.fmt(f),
            TopicError::NullConfigs(names) => {
                write!(f, "Null value not supported for topic configs: {}", names.join(","))
            }
            TopicError::InvalidConfig(text) => f.write_str(text),
            plain => f.write_str(plain.plain_text()),
        }
    }
}

impl TopicError {
    /// The text of the errors that say nothing about the request.
    fn plain_text(&self) -> &'static str {
        match self {
            TopicError::MetadataTopic => {
                "Creation of internal topic __cluster_metadata is prohibited."
            }
            TopicError::DuplicateName => "Duplicate topic name.",
            TopicError::DuplicateId => "Duplicate topic id.",
            TopicError::NameOfDuplicateId => {
                "The provided topic name maps to an ID that was already supplied."
            }
            TopicError::NeitherNameNorId => "Neither topic name nor id were specified.",
            TopicError::BothNameAndId => "You may not specify both topic name and topic id.",
            TopicError::Unknown => "This server does not host this topic-partition.",
            TopicError::UnknownId => "This server does not host this topic ID.",
            TopicError::DeletionDisabled => "Topic deletion is disabled.",
            TopicError::BadPartitionCount => {
                "Number of partitions was set to an invalid non-positive value."
            }
            TopicError::BadReplicationFactor => {
                "Replication factor must be larger than 0, or -1 to use the default value."
            }
            TopicError::AssignedAndReplicationFactor => {
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1."
            }
            TopicError::AssignedAndPartitionCount => {
                "A manual partition assignment was specified, but numPartitions was not set to -1."
            }
            TopicError::TooManyPartitions => "Excessively large number of partitions per request.",
            TopicError::TooManyRecords => "Unable to perform excessively large batch operation.",
            other => unreachable!("{:?} has a text of its own", other.code()),
        }
    }
}

impl std::error::Error for TopicError {}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::AllFenced => f.write_str(
                "All brokers are currently fenced, or have all their log directories cordoned.",
            ),
            PlacementError::AllInactive => {
                f.write_str("All brokers are currently fenced or in controlled shutdown.")
            }
            PlacementError::TooFewBrokers { wanted, usable } => write!(
                f,
                "The target replication factor of {wanted} cannot be reached because only \
                 {usable} broker(s) are registered or some brokers have all their log directories \
                 cordoned."
            ),
        }
    }
}

impl fmt::Display for AssignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssignmentError::DuplicatePartition(id) => {
                write!(f, "Found multiple manual partition assignments for partition {id}")
            }
            AssignmentError::Gap => {
                f.write_str("partitions should be a consecutive 0-based integer sequence")
            }
            AssignmentError::NoReplicas => {
                f.write_str("The manual partition assignment includes an empty replica list.")
            }
            AssignmentError::OtherReplicationFactor { found, expected } => write!(
                f,
                "The manual partition assignment includes a partition with {found} replica(s), \
                 but this is not consistent with previous partitions, which have {expected} \
                 replica(s)."
            ),
            AssignmentError::UnknownBroker(id) => write!(
                f,
                "The manual partition assignment includes broker {id}, but no such broker is \
                 registered."
            ),
            AssignmentError::DuplicateBroker(id) => write!(
                f,
                "The manual partition assignment includes the broker {id} more than once."
            ),
            AssignmentError::AllInactive(id) => write!(
                f,
                "All brokers specified in the manual partition assignment for partition {id} are \
                 fenced or in controlled shutdown."
            ),
        }
    }
}
