//! Records of each coordinator. That every type and version is Kafka's is held against Kafka's own
//! classes by the client tests.

use ottla_types::{LeaderEpoch, Offset, PartitionId, ProducerId, Timestamp, TopicName, Uuid};

use super::group::GroupRecord;
use super::group::consumer::{ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue};
use super::group::offsets::{OffsetCommitKey, OffsetCommitValue};
use super::share::{ShareRecord, ShareUpdateKey, ShareUpdateValue, StateBatch};
use super::transaction::{TransactionLogKey, TransactionLogValue, TransactionRecord};
use super::*;

fn key() -> OffsetCommitKey {
    OffsetCommitKey { group: "g".into(), topic: TopicName::from("t"), partition: PartitionId(2) }
}

fn committed() -> OffsetCommitValue {
    OffsetCommitValue {
        offset: Offset(7),
        leader_epoch: LeaderEpoch(3),
        metadata: "m".into(),
        commit_timestamp: Timestamp(5),
        ..OffsetCommitValue::default()
    }
}

#[test]
fn offsets_have_the_bytes_that_kafka_writes() {
    let record = GroupRecord::OffsetCommit(key(), Some(committed()));
    let (key, value) = record.encode(3);
    assert_eq!(key, [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
    let mut expected = vec![0, 3];
    expected.extend(7i64.to_be_bytes());
    expected.extend([0, 0, 0, 3, 0, 1, b'm']);
    expected.extend(5i64.to_be_bytes());
    assert_eq!(value, Some(expected));
}

#[test]
fn each_version_is_read_as_it_was_written() {
    let record = GroupRecord::OffsetCommit(key(), Some(committed()));
    assert_eq!(record.value_versions(), 0..=4);
    for version in record.value_versions() {
        let (key, value) = record.encode(version);
        let (read, found) = GroupRecord::decode(&key, value.as_deref()).expect("sound");
        assert_eq!(found, Some(version));
        assert_eq!(read.encode(version), (key, value));
        assert_eq!(read == record, version >= 3, "the epoch is lost below version 3");
    }
    let value = TransactionLogValue {
        producer_id: ProducerId(4000),
        next_producer_id: ProducerId(4001),
        client_transaction_version: 2,
        transaction_partitions: None,
        ..TransactionLogValue::default()
    };
    let key = TransactionLogKey { transactional_id: "x".into() };
    let record = TransactionRecord::TransactionLog(key, Some(value));
    let (key, value) = record.encode(1);
    assert_eq!(TransactionRecord::decode(&key, value.as_deref()), Ok((record, Some(1))));
}

#[test]
fn a_null_value_deletes() {
    let record = GroupRecord::OffsetCommit(key(), None);
    let (bytes, value) = record.encode(0);
    assert_eq!(value, None);
    assert_eq!(GroupRecord::decode(&bytes, None), Ok((record, None)));
}

#[test]
fn json_is_kafkas() {
    let record = GroupRecord::OffsetCommit(key(), Some(committed()));
    let json = record.json(3);
    assert_eq!(json.key.to_string(), r#"{"group":"g","topic":"t","partition":2}"#);
    let value = r#"{"offset":7,"leaderEpoch":3,"metadata":"m","commitTimestamp":5}"#;
    assert_eq!(json.value.expect("a value").to_string(), value);

    let key = ShareUpdateKey { topic_id: Uuid([1; 16]), ..ShareUpdateKey::default() };
    let batches = vec![StateBatch { last_offset: Offset(9), ..StateBatch::default() }];
    let value = ShareUpdateValue { state_batches: batches, ..ShareUpdateValue::default() };
    let json = ShareRecord::ShareUpdate(key, Some(value)).json(0);
    assert_eq!(
        json.value.expect("a value").to_string(),
        r#"{"snapshotEpoch":0,"leaderEpoch":0,"startOffset":0,"stateBatches":[{"firstOffset":0,"lastOffset":9,"deliveryState":0,"deliveryCount":0}]}"#
    );
}

#[test]
fn what_is_not_known_is_told_apart() {
    let unknown = GroupRecord::decode(&[0, 9, 1], None);
    assert_eq!(unknown, Err(RecordError::UnknownType(9)));
    let (key, _) = GroupRecord::OffsetCommit(key(), None).encode(0);
    let error = GroupRecord::decode(&key, Some(&[0, 5, 0])).expect_err("no version 5");
    let text = "Could not read record with version 5 from value's buffer due to: Can't read \
                version 5 of OffsetCommitValue.";
    assert_eq!(error.to_string(), text);
    let error = GroupRecord::decode(&[1], None).expect_err("too short");
    assert_eq!(error.to_string(), "Could not read version from key's buffer.");
    let error = GroupRecord::decode(&key, Some(&[0, 0, 1])).expect_err("too short");
    assert!(matches!(error, RecordError::Bad { version: Some(0), part: Part::Value, .. }));
}

#[test]
fn tags_of_a_later_version_are_kept() {
    let member = ConsumerGroupMemberMetadataKey { group_id: "g".into(), member_id: "m".into() };
    let value = ConsumerGroupMemberMetadataValue {
        client_id: "c".into(),
        classic_member_metadata: None,
        ..ConsumerGroupMemberMetadataValue::default()
    };
    let record = GroupRecord::ConsumerGroupMemberMetadata(member, Some(value));
    let (key, value) = record.encode(0);
    let mut value = value.expect("a value");
    let tags = value.len() - 4;
    assert_eq!(value[tags..], [1, 0, 1, 0], "one tag: 0, one byte, null");
    value[tags] = 2;
    value.extend([40, 3, 1, 2, 3]);
    let (read, _) = GroupRecord::decode(&key, Some(&value)).expect("sound");
    assert_ne!(read, record);
    assert_eq!(read.encode(0), (key, Some(value)));
}

#[test]
fn all_types_of_kafka_are_known() {
    assert_eq!(GroupRecord::TYPES.len(), 22);
    assert_eq!(TransactionRecord::TYPES, [0]);
    assert_eq!(ShareRecord::TYPES, [0, 1]);
}
