//! Every record schema there is: Kafka's name, and our type for it.

use ottla_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::control::{
    ControlRecord, KRaftVersion, LeaderChange, SnapshotFooter, SnapshotHeader, Voters,
};
use ottla_protocol::coordinator::group::classic::{GroupMetadataKey, GroupMetadataValue};
use ottla_protocol::coordinator::group::consumer::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use ottla_protocol::coordinator::group::offsets::{
    LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue,
};
use ottla_protocol::coordinator::group::share::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataKey,
    ShareGroupStatePartitionMetadataValue, ShareGroupTargetAssignmentMemberKey,
    ShareGroupTargetAssignmentMemberValue, ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMetadataValue,
};
use ottla_protocol::coordinator::group::streams::{
    StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue,
    StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue, StreamsGroupMetadataKey,
    StreamsGroupMetadataValue, StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyKey, StreamsGroupTopologyValue,
};
use ottla_protocol::coordinator::share::{
    ShareSnapshotKey, ShareSnapshotValue, ShareUpdateKey, ShareUpdateValue,
};
use ottla_protocol::coordinator::transaction::{TransactionLogKey, TransactionLogValue};
use ottla_protocol::metadata::{
    AbortTransactionRecord, AccessControlEntryRecord, BeginTransactionRecord,
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord,
    DelegationTokenRecord, EndTransactionRecord, FeatureLevelRecord, FenceBrokerRecord, NoOpRecord,
    PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RegisterControllerRecord, RemoveAccessControlEntryRecord, RemoveDelegationTokenRecord,
    RemoveTopicRecord, RemoveUserScramCredentialRecord, TopicRecord, UnfenceBrokerRecord,
    UnregisterBrokerRecord, UnregisterControllerRecord, UserScramCredentialRecord,
    ZkMigrationStateRecord,
};
use ottla_protocol::{Message, Reader, Writer};

/// A schema with its codec.
pub struct Schema {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Oldest version.
    pub low: i16,
    /// Newest version.
    pub high: i16,
    /// Reads bytes of the first version; gives them in the second one, and the JSON of that.
    pub recode: Recode,
}

/// See [`Schema::recode`].
pub type Recode = fn(&[u8], i16, i16) -> Result<(Vec<u8>, String), String>;

const fn schema<T: Message>(name: &'static str) -> Schema {
    Schema { name, low: T::VERSION_MIN, high: T::VERSION_MAX, recode: recode::<T> }
}

fn recode<T: Message>(bytes: &[u8], from: i16, to: i16) -> Result<(Vec<u8>, String), String> {
    let mut reader = Reader::new(bytes);
    let message = T::decode(&mut reader, from).map_err(|error| error.to_string())?;
    if reader.remaining() > 0 {
        return Err(format!("{} bytes are left", reader.remaining()));
    }
    let mut writer = Writer::new();
    message.encode(&mut writer, to);
    Ok((writer.into_bytes(), message.json(to).to_string()))
}

/// A transaction's marker stands behind its version, and has a codec of its own.
fn recode_marker(bytes: &[u8], _: i16, _: i16) -> Result<(Vec<u8>, String), String> {
    let value = [&[0, 0], bytes].concat();
    let record = ControlRecord::decode(Some(&[0, 0, 0, 1]), Some(&value));
    let record = record.map_err(|error| error.to_string())?;
    let ControlRecord::Commit(marker) = record else { return Err("no marker".to_owned()) };
    let (_, value) = ControlRecord::Commit(marker).encode();
    Ok((value[2..].to_vec(), format!("{{\"coordinatorEpoch\":{}}}", marker.coordinator_epoch)))
}

/// Those whose name is the type's.
macro_rules! schemas {
    ($($renamed:expr,)* ; $($ty:ident,)*) => {
        /// All of them.
        pub const SCHEMAS: &[Schema] = &[$($renamed,)* $(schema::<$ty>(<$ty as Message>::NAME),)*];
    };
}

schemas! {
    schema::<LeaderChange>("LeaderChangeMessage"),
    schema::<SnapshotHeader>("SnapshotHeaderRecord"),
    schema::<SnapshotFooter>("SnapshotFooterRecord"),
    schema::<KRaftVersion>("KRaftVersionRecord"),
    schema::<Voters>("VotersRecord"),
    Schema { name: "EndTxnMarker", low: 0, high: 0, recode: recode_marker },
    ;
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
    TopicRecord,
    PartitionRecord,
    ConfigRecord,
    PartitionChangeRecord,
    FenceBrokerRecord,
    UnfenceBrokerRecord,
    RemoveTopicRecord,
    DelegationTokenRecord,
    UserScramCredentialRecord,
    FeatureLevelRecord,
    ClientQuotaRecord,
    ProducerIdsRecord,
    BrokerRegistrationChangeRecord,
    AccessControlEntryRecord,
    RemoveAccessControlEntryRecord,
    NoOpRecord,
    ZkMigrationStateRecord,
    RemoveUserScramCredentialRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    AbortTransactionRecord,
    RemoveDelegationTokenRecord,
    RegisterControllerRecord,
    ClearElrRecord,
    UnregisterControllerRecord,
    GroupMetadataKey,
    GroupMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    OffsetCommitKey,
    OffsetCommitValue,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    ShareGroupMemberMetadataKey,
    ShareGroupMemberMetadataValue,
    ShareGroupMetadataKey,
    ShareGroupMetadataValue,
    ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMetadataValue,
    ShareGroupTargetAssignmentMemberKey,
    ShareGroupTargetAssignmentMemberValue,
    ShareGroupCurrentMemberAssignmentKey,
    ShareGroupCurrentMemberAssignmentValue,
    ShareGroupStatePartitionMetadataKey,
    ShareGroupStatePartitionMetadataValue,
    StreamsGroupMetadataKey,
    StreamsGroupMetadataValue,
    StreamsGroupMemberMetadataKey,
    StreamsGroupMemberMetadataValue,
    StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMetadataValue,
    StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupTargetAssignmentMemberValue,
    StreamsGroupCurrentMemberAssignmentKey,
    StreamsGroupCurrentMemberAssignmentValue,
    StreamsGroupTopologyKey,
    StreamsGroupTopologyValue,
    ShareSnapshotKey,
    ShareSnapshotValue,
    ShareUpdateKey,
    ShareUpdateValue,
    TransactionLogKey,
    TransactionLogValue,
}
