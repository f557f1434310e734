//! The records of coordinators. What can be read is written and read again, the same.

use ottla_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode,
};
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::classic::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata,
};
use ottla_protocol::coordinator::group::consumer::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, CurrentPartitions,
};
use ottla_protocol::coordinator::group::offsets::{OffsetCommitKey, OffsetCommitValue};
use ottla_protocol::coordinator::group::streams::{
    CopartitionGroup, StreamsGroupTopologyKey, StreamsGroupTopologyValue, Subtopology, TopicConfig,
    TopicInfo,
};
use ottla_protocol::coordinator::share::{
    ShareRecord, ShareSnapshotKey, ShareSnapshotValue, StateBatch,
};
use ottla_protocol::coordinator::transaction::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord,
};
use ottla_types::{PartitionId, TopicName, Uuid};

use crate::targets::Target;

type Pair = (Vec<u8>, Option<Vec<u8>>);

/// One target for each coordinator, and one for the bytes inside classic groups.
pub fn all() -> Vec<Target> {
    let group: Vec<Pair> = groups()
        .iter()
        .flat_map(|record| {
            record.value_versions().map(|version| record.encode(version)).collect::<Vec<_>>()
        })
        .collect();
    let transaction = transaction();
    let share = share();
    let subscription = [
        0, 3, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0,
        0, 7, 0, 0, 0, 1, 0, 1, b'r',
    ];
    let all = [
        coordinator("group-record", &group, |key, value| {
            let (record, version) = GroupRecord::decode(key, value).ok()?;
            std::hint::black_box(record.json(version.unwrap_or(0)).key.to_string());
            let (key, value) = record.encode(version.unwrap_or(0));
            Some(GroupRecord::decode(&key, value.as_deref()) == Ok((record, version)))
        }),
        coordinator("transaction-record", &transaction, |key, value| {
            let (record, version) = TransactionRecord::decode(key, value).ok()?;
            let (key, value) = record.encode(version.unwrap_or(0));
            Some(TransactionRecord::decode(&key, value.as_deref()) == Ok((record, version)))
        }),
        coordinator("share-record", &share, |key, value| {
            let (record, version) = ShareRecord::decode(key, value).ok()?;
            let (key, value) = record.encode(version.unwrap_or(0));
            Some(ShareRecord::decode(&key, value.as_deref()) == Ok((record, version)))
        }),
        Target::new("consumer-protocol", &[&subscription], |bytes| {
            std::hint::black_box(decode::<ConsumerProtocolAssignment>(bytes).is_ok());
            decode::<ConsumerProtocolSubscription>(bytes).is_ok()
        }),
    ];
    all.into()
}

/// A record's bytes: the length of its key in one byte, key, value.
fn coordinator(
    name: &str,
    records: &[Pair],
    read: impl Fn(&[u8], Option<&[u8]>) -> Option<bool> + std::panic::RefUnwindSafe + 'static,
) -> Target {
    let inputs: Vec<Vec<u8>> = records
        .iter()
        .map(|(key, value)| {
            let value = value.clone().unwrap_or_default();
            [vec![key.len() as u8], key.clone(), value].concat()
        })
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut target = Target::new(name, &inputs, move |bytes| {
        let Some((len, rest)) = bytes.split_first() else { return false };
        let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return false };
        let same = read(key, Some(value));
        assert_ne!(same, Some(false), "is read otherwise than it was written");
        same.is_some()
    });
    // A struct in an array takes three bytes, and some ninety in memory; twice for the JSON and
    // what is written again.
    target.times = 400;
    target
}

fn groups() -> Vec<GroupRecord> {
    let partitions = || vec![PartitionId(0), PartitionId(3)];
    let offset = OffsetCommitValue { topic_id: Uuid([7; 16]), ..OffsetCommitValue::default() };
    let member = MemberMetadata {
        member_id: "m".into(),
        subscription: vec![0, 1].into(),
        ..MemberMetadata::default()
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer".into(),
        leader: Some("m".into()),
        members: vec![member],
        ..GroupMetadataValue::default()
    };
    let protocol = ClassicProtocol { name: "range".into(), ..ClassicProtocol::default() };
    let classic = ClassicMemberMetadata {
        supported_protocols: vec![protocol],
        ..ClassicMemberMetadata::default()
    };
    let consumer = ConsumerGroupMemberMetadataValue {
        subscribed_topic_names: vec![TopicName::from("t")],
        classic_member_metadata: Some(classic),
        ..ConsumerGroupMemberMetadataValue::default()
    };
    let current = CurrentPartitions {
        partitions: partitions(),
        assignment_epochs: None,
        ..CurrentPartitions::default()
    };
    let assignment = ConsumerGroupCurrentMemberAssignmentValue {
        assigned_partitions: vec![current],
        ..ConsumerGroupCurrentMemberAssignmentValue::default()
    };
    vec![
        GroupRecord::OffsetCommit(OffsetCommitKey::default(), Some(offset)),
        GroupRecord::GroupMetadata(GroupMetadataKey::default(), Some(group)),
        GroupRecord::ConsumerGroupMemberMetadata(
            ConsumerGroupMemberMetadataKey::default(),
            Some(consumer),
        ),
        GroupRecord::ConsumerGroupCurrentMemberAssignment(
            ConsumerGroupCurrentMemberAssignmentKey::default(),
            Some(assignment),
        ),
        GroupRecord::StreamsGroupTopology(StreamsGroupTopologyKey::default(), Some(topology())),
    ]
}

fn topology() -> StreamsGroupTopologyValue {
    let config = TopicConfig { key: "k".into(), value: "v".into(), ..TopicConfig::default() };
    let topic = TopicInfo { topic_configs: vec![config], ..TopicInfo::default() };
    let copartitioned =
        CopartitionGroup { source_topics: vec![0, 1], ..CopartitionGroup::default() };
    let subtopology = Subtopology {
        state_changelog_topics: vec![topic],
        copartition_groups: vec![copartitioned],
        ..Subtopology::default()
    };
    StreamsGroupTopologyValue {
        subtopologies: vec![subtopology],
        ..StreamsGroupTopologyValue::default()
    }
}

fn transaction() -> Vec<Pair> {
    let partitions = PartitionsSchema {
        topic: TopicName::from("t"),
        partition_ids: vec![PartitionId(1)],
        ..PartitionsSchema::default()
    };
    let value = TransactionLogValue {
        next_producer_epoch: ottla_types::ProducerEpoch(3),
        transaction_partitions: Some(vec![partitions]),
        ..TransactionLogValue::default()
    };
    let key = TransactionLogKey { transactional_id: "x".into() };
    let record = TransactionRecord::TransactionLog(key, Some(value));
    (0..=1).map(|version| record.encode(version)).collect()
}

fn share() -> Vec<Pair> {
    let value = ShareSnapshotValue {
        delivery_complete_count: 4,
        state_batches: vec![StateBatch::default(); 2],
        ..ShareSnapshotValue::default()
    };
    vec![ShareRecord::ShareSnapshot(ShareSnapshotKey::default(), Some(value)).encode(0)]
}
