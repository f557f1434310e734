//! The keys of Kafka's protocol and the versions from which their headers are flexible.
//!
//! Source: the JSON schemas of Kafka 4.4 (`apiKey`, `flexibleVersions`). Which keys and versions a
//! listener answers is the server's table, not this one.

use std::fmt;

/// Declares the enum with its first flexible versions.
macro_rules! api_keys {
    ($($variant:ident = $key:literal, $form:ident $($flexible:literal)?;)*) => {
        /// A kind of request.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("Key ", stringify!($key), ".")] $variant = $key,)*
        }

        impl ApiKey {
            /// Every key, ascending.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$variant,)*];

            /// The key with this number.
            #[must_use]
            pub fn from_code(code: i16) -> Option<ApiKey> {
                match code { $($key => Some(ApiKey::$variant),)* _ => None }
            }

            /// Kafka's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(ApiKey::$variant => stringify!($variant),)* }
            }

            /// Whether requests and answers of this version have compact lengths and tags.
            #[must_use]
            pub fn is_flexible(self, version: i16) -> bool {
                match self { $(ApiKey::$variant => api_keys!(@ version $($flexible)?),)* }
            }
        }
    };
    (@ $version:ident $flexible:literal) => { $version >= $flexible };
    (@ $version:ident) => { false };
}

api_keys! {
    Produce = 0, from 9;
    Fetch = 1, from 12;
    ListOffsets = 2, from 6;
    Metadata = 3, from 9;
    OffsetCommit = 8, from 8;
    OffsetFetch = 9, from 6;
    FindCoordinator = 10, from 3;
    JoinGroup = 11, from 6;
    Heartbeat = 12, from 4;
    LeaveGroup = 13, from 4;
    SyncGroup = 14, from 4;
    DescribeGroups = 15, from 5;
    ListGroups = 16, from 3;
    SaslHandshake = 17, never;
    ApiVersions = 18, from 3;
    CreateTopics = 19, from 5;
    DeleteTopics = 20, from 4;
    DeleteRecords = 21, from 2;
    InitProducerId = 22, from 2;
    OffsetForLeaderEpoch = 23, from 4;
    AddPartitionsToTxn = 24, from 3;
    AddOffsetsToTxn = 25, from 3;
    EndTxn = 26, from 3;
    WriteTxnMarkers = 27, from 1;
    TxnOffsetCommit = 28, from 3;
    DescribeAcls = 29, from 2;
    CreateAcls = 30, from 2;
    DeleteAcls = 31, from 2;
    DescribeConfigs = 32, from 4;
    AlterConfigs = 33, from 2;
    AlterReplicaLogDirs = 34, from 2;
    DescribeLogDirs = 35, from 2;
    SaslAuthenticate = 36, from 2;
    CreatePartitions = 37, from 2;
    CreateDelegationToken = 38, from 2;
    RenewDelegationToken = 39, from 2;
    ExpireDelegationToken = 40, from 2;
    DescribeDelegationToken = 41, from 2;
    DeleteGroups = 42, from 2;
    ElectLeaders = 43, from 2;
    IncrementalAlterConfigs = 44, from 1;
    AlterPartitionReassignments = 45, from 0;
    ListPartitionReassignments = 46, from 0;
    OffsetDelete = 47, never;
    DescribeClientQuotas = 48, from 1;
    AlterClientQuotas = 49, from 1;
    DescribeUserScramCredentials = 50, from 0;
    AlterUserScramCredentials = 51, from 0;
    Vote = 52, from 0;
    BeginQuorumEpoch = 53, from 1;
    EndQuorumEpoch = 54, from 1;
    DescribeQuorum = 55, from 0;
    AlterPartition = 56, from 0;
    UpdateFeatures = 57, from 0;
    Envelope = 58, from 0;
    FetchSnapshot = 59, from 0;
    DescribeCluster = 60, from 0;
    DescribeProducers = 61, from 0;
    BrokerRegistration = 62, from 0;
    BrokerHeartbeat = 63, from 0;
    UnregisterBroker = 64, from 0;
    DescribeTransactions = 65, from 0;
    ListTransactions = 66, from 0;
    AllocateProducerIds = 67, from 0;
    ConsumerGroupHeartbeat = 68, from 0;
    ConsumerGroupDescribe = 69, from 0;
    ControllerRegistration = 70, from 0;
    GetTelemetrySubscriptions = 71, from 0;
    PushTelemetry = 72, from 0;
    AssignReplicasToDirs = 73, from 0;
    ListConfigResources = 74, from 0;
    DescribeTopicPartitions = 75, from 0;
    ShareGroupHeartbeat = 76, from 0;
    ShareGroupDescribe = 77, from 0;
    ShareFetch = 78, from 0;
    ShareAcknowledge = 79, from 0;
    AddRaftVoter = 80, from 0;
    RemoveRaftVoter = 81, from 0;
    UpdateRaftVoter = 82, from 0;
    InitializeShareGroupState = 83, from 0;
    ReadShareGroupState = 84, from 0;
    WriteShareGroupState = 85, from 0;
    DeleteShareGroupState = 86, from 0;
    ReadShareGroupStateSummary = 87, from 0;
    StreamsGroupHeartbeat = 88, from 0;
    StreamsGroupDescribe = 89, from 0;
    DescribeShareGroupOffsets = 90, from 0;
    AlterShareGroupOffsets = 91, from 0;
    DeleteShareGroupOffsets = 92, from 0;
    StreamsGroupTopologyDescriptionUpdate = 93, from 0;
    UnregisterController = 94, from 0;
}

impl ApiKey {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether a broker sends a client's request of this kind on to the controller (KIP-590).
    #[must_use]
    pub fn is_forwardable(self) -> bool {
        matches!(
            self,
            ApiKey::CreateTopics
                | ApiKey::DeleteTopics
                | ApiKey::CreateAcls
                | ApiKey::DeleteAcls
                | ApiKey::AlterConfigs
                | ApiKey::CreatePartitions
                | ApiKey::CreateDelegationToken
                | ApiKey::RenewDelegationToken
                | ApiKey::ExpireDelegationToken
                | ApiKey::ElectLeaders
                | ApiKey::IncrementalAlterConfigs
                | ApiKey::AlterPartitionReassignments
                | ApiKey::ListPartitionReassignments
                | ApiKey::AlterClientQuotas
                | ApiKey::AlterUserScramCredentials
                | ApiKey::DescribeQuorum
                | ApiKey::UpdateFeatures
                | ApiKey::UnregisterBroker
                | ApiKey::AddRaftVoter
                | ApiKey::RemoveRaftVoter
        )
    }

    /// Whether the header of an answer of this version has a section of tags. ApiVersions never
    /// has one, so that a client that guessed a too new version can still read the answer.
    #[must_use]
    pub fn has_flexible_response_header(self, version: i16) -> bool {
        self != ApiKey::ApiVersions && self.is_flexible(version)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
