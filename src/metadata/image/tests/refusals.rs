//! Records that do not fit, batches that cannot be read, and marks out of place.

use ottla_protocol::DecodeError;
use ottla_protocol::metadata::{
    BeginTransactionRecord, BrokerRegistrationChangeRecord, ClearElrRecord, EndTransactionRecord,
    FeatureLevelRecord, FenceBrokerRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    ProducerIdsRecord, RegisterBrokerRecord, RemoveAccessControlEntryRecord, RemoveTopicRecord,
    RemoveUserScramCredentialRecord, TopicRecord, UnregisterBrokerRecord,
};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, ProducerId, Timestamp,
    TopicIdPartition, Uuid,
};

use crate::image::{Image, Provenance, ReplayError, Touched};
use crate::{LoadError, Loader, LogBatch};

const TOPIC: Uuid = Uuid([7; 16]);
const OTHER: Uuid = Uuid([8; 16]);

/// Broker 1 with epoch 5, topic "t" with one partition on it, and ids up to 1000 given out.
fn image() -> Image {
    let mut image = Image::default();
    let records: [MetadataRecord; 4] = [
        RegisterBrokerRecord {
            broker_id: NodeId(1),
            broker_epoch: BrokerEpoch(5),
            ..Default::default()
        }
        .into(),
        TopicRecord { name: "t".into(), topic_id: TOPIC }.into(),
        PartitionRecord {
            partition_id: PartitionId(0),
            topic_id: TOPIC,
            replicas: vec![NodeId(1)],
            ..Default::default()
        }
        .into(),
        ProducerIdsRecord { next_producer_id: ProducerId(1000), ..Default::default() }.into(),
    ];
    for record in records {
        image.replay(&record, &mut Touched::default()).expect("the records fit");
    }
    image
}

fn refused(record: impl Into<MetadataRecord>) -> ReplayError {
    let record = record.into();
    image().replay(&record, &mut Touched::default()).expect_err("the record does not fit")
}

#[test]
fn changes_of_what_is_not_there() {
    let (broker, mismatch) = (
        ReplayError::UnknownBroker(NodeId(9)),
        ReplayError::BrokerEpochMismatch {
            broker: NodeId(1),
            registered: BrokerEpoch(5),
            found: BrokerEpoch(4),
        },
    );
    let fence = |id, epoch| FenceBrokerRecord { id: NodeId(id), epoch: BrokerEpoch(epoch) };
    assert_eq!(refused(fence(9, 5)), broker);
    assert_eq!(refused(fence(1, 4)), mismatch);
    let (broker_id, broker_epoch) = (NodeId(1), BrokerEpoch(4));
    assert_eq!(refused(UnregisterBrokerRecord { broker_id, broker_epoch }), mismatch);

    let partition =
        |topic_id, partition| TopicIdPartition { topic_id, partition: PartitionId(partition) };
    let change = |topic_id, id| PartitionChangeRecord {
        topic_id,
        partition_id: PartitionId(id),
        ..Default::default()
    };
    assert_eq!(refused(change(OTHER, 0)), ReplayError::UnknownTopicId(OTHER));
    assert_eq!(refused(change(TOPIC, 1)), ReplayError::UnknownPartition(partition(TOPIC, 1)));
    let created = PartitionRecord { topic_id: OTHER, ..Default::default() };
    assert_eq!(refused(created), ReplayError::UnknownTopicId(OTHER));
    let removed = RemoveTopicRecord { topic_id: OTHER };
    assert_eq!(refused(removed), ReplayError::UnknownTopicId(OTHER));
    let cleared = ClearElrRecord { topic_name: "u".into() };
    assert_eq!(refused(cleared), ReplayError::UnknownTopic("u".into()));

    let acl = RemoveAccessControlEntryRecord { id: OTHER };
    assert_eq!(refused(acl), ReplayError::UnknownAcl(OTHER));
    let user = RemoveUserScramCredentialRecord { name: "u".into(), mechanism: 1 };
    let unknown = ReplayError::UnknownCredential { user: "u".into(), mechanism: 1 };
    assert_eq!(refused(user), unknown);
}

#[test]
fn values_without_a_meaning() {
    for (name, topic_id) in [("t", OTHER), ("u", TOPIC)] {
        let twice = TopicRecord { name: name.into(), topic_id };
        assert_eq!(refused(twice), ReplayError::DuplicateTopic(name.into()));
    }
    let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 34 };
    assert_eq!(refused(level), ReplayError::UnknownMetadataVersion(34));
    let change = BrokerRegistrationChangeRecord {
        broker_id: NodeId(1),
        broker_epoch: BrokerEpoch(5),
        fenced: 2,
        ..Default::default()
    };
    assert_eq!(refused(change), ReplayError::BadValue { field: "fenced", value: 2 });
    let directories = PartitionChangeRecord {
        topic_id: TOPIC,
        partition_id: PartitionId(0),
        directories: Some(vec![TOPIC; 2]),
        ..Default::default()
    };
    assert!(matches!(refused(directories), ReplayError::BadDirectories(_)));
    let ids = ProducerIdsRecord { next_producer_id: ProducerId(1000), ..Default::default() };
    let (next, found) = (ProducerId(1000), ProducerId(1000));
    assert_eq!(refused(ids), ReplayError::ProducerIdsWentBack { next, found });
}

#[test]
fn epochs_that_leave_none_behind_them() {
    let mut image = image();
    let partition = PartitionRecord {
        partition_id: PartitionId(1),
        topic_id: TOPIC,
        replicas: vec![NodeId(1)],
        leader_epoch: LeaderEpoch(i32::MAX),
        partition_epoch: PartitionEpoch(7),
        ..Default::default()
    };
    let touched = &mut Touched::default();
    image.replay(&partition.clone().into(), touched).expect("it can be read");
    let change = |leader| PartitionChangeRecord {
        topic_id: TOPIC,
        partition_id: PartitionId(1),
        leader: NodeId(leader),
        ..Default::default()
    };
    // The leader stays.
    image.replay(&change(-2).into(), touched).expect("only the changes are counted");
    let id = TopicIdPartition { topic_id: TOPIC, partition: PartitionId(1) };
    let replayed = image.replay(&change(1).into(), touched);
    assert_eq!(replayed, Err(ReplayError::EpochsExhausted(id)));
    let partition = PartitionRecord {
        leader_epoch: LeaderEpoch(3),
        partition_epoch: PartitionEpoch(i32::MAX),
        ..partition
    };
    image.replay(&partition.into(), touched).expect("it can be read");
    let replayed = image.replay(&change(-2).into(), touched);
    assert_eq!(replayed, Err(ReplayError::EpochsExhausted(id)));
}

fn batch(records: Vec<MetadataRecord>) -> LogBatch {
    let last_offset = Offset(10 + records.len() as i64 - 1);
    let (epoch, timestamp) = (LeaderEpoch(1), Timestamp(1));
    LogBatch { base_offset: Offset(10), last_offset, epoch, timestamp, records }
}

#[test]
fn marks_out_of_place() {
    let begin = || MetadataRecord::from(BeginTransactionRecord { name: None });
    let end = || MetadataRecord::from(EndTransactionRecord {});
    let at = |offset| Err(LoadError::Transaction { offset: Offset(offset) });
    assert_eq!(Loader::new().load_batch(&batch(vec![end()])).map(|_| ()), at(10));
    assert_eq!(Loader::new().load_batch(&batch(vec![begin(), begin()])).map(|_| ()), at(11));
}

#[test]
fn records_of_a_later_version_are_fatal() {
    let decode = |value: &[u8]| {
        let values = [&[1, 20, 0, 0][..], value];
        LogBatch::decode(Offset(10), LeaderEpoch(1), Timestamp(1), values)
    };
    let error = |error| Err(LoadError::Decode { offset: Offset(11), error });
    assert_eq!(decode(&[1, 30, 0, 0]), error(DecodeError::UnknownValue));
    assert_eq!(decode(&[1, 20, 1, 0]), error(DecodeError::UnsupportedVersion));
    assert_eq!(decode(&[1, 20, 0, 0, 0]), error(DecodeError::TrailingBytes));
    assert_eq!(decode(&[1, 20, 0, 0]).map(|batch| batch.last_offset), Ok(Offset(11)));
}

#[test]
fn errors_name_the_offset_of_the_record() {
    let good = TopicRecord { name: "t".into(), topic_id: TOPIC };
    let bad = RemoveTopicRecord { topic_id: OTHER };
    let error = Loader::new().load_batch(&batch(vec![good.into(), bad.into()])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the metadata record at offset 11 does not fit: no topic has the id \
         CAgICAgICAgICAgICAgICA"
    );
}

#[test]
#[should_panic(expected = "a replica stops at the first record")]
fn nothing_is_loaded_after_an_error() {
    let mut loader = Loader::new();
    let end = batch(vec![EndTransactionRecord {}.into()]);
    assert!(loader.load_batch(&end).is_err());
    let _ = loader.load_snapshot(Provenance::NOTHING, []);
}
