//! Every refusal with its code and text, as one reviewed list. `UPDATE=1` rewrites it.

use std::path::Path;

use ottla_types::{BrokerEpoch, ErrorCode, NodeId, PartitionId, TopicName, Uuid};

use crate::controller::error::{AssignmentError, PlacementError};
use crate::controller::{BrokerError, TopicError};

fn broker_errors() -> Vec<BrokerError> {
    let (expected, found) = ("a".to_owned(), "b".to_owned());
    vec![
        BrokerError::InconsistentClusterId { expected, found },
        BrokerError::DuplicateRegistration,
        BrokerError::ZkBroker,
        BrokerError::NoDirectories,
        BrokerError::ReservedDirectory,
        BrokerError::DuplicateDirectory,
        BrokerError::DirectoryOfAnother { owner: NodeId(2), directory: Uuid([1; 16]) },
        BrokerError::NoMetadataVersion,
        BrokerError::UnsupportedFeature {
            name: "metadata.version".into(),
            finalized: 30,
            min: 7,
            max: 29,
        },
        BrokerError::NoControllerRegistration,
        BrokerError::NotRegistered(NodeId(2)),
        BrokerError::Unknown(NodeId(2)),
        BrokerError::StaleEpoch { expected: BrokerEpoch(7), found: BrokerEpoch(5) },
        BrokerError::ProducerIdsExhausted,
    ]
}

fn topic_errors() -> Vec<TopicError> {
    let cannot = |reason| TopicError::CannotReplicate { times: 3, reason };
    let invalid = TopicName::validate("a/b").expect_err("'/' is not allowed");
    let mut errors = vec![
        TopicError::Exists("t".into()),
        TopicError::InvalidName(invalid),
        TopicError::Collides { name: "a_b".into(), with: "a.b".into() },
        TopicError::MetadataTopic,
        TopicError::DuplicateName,
        TopicError::DuplicateId,
        TopicError::NameOfDuplicateId,
        TopicError::NeitherNameNorId,
        TopicError::BothNameAndId,
        TopicError::Unknown,
        TopicError::UnknownId,
        TopicError::DeletionDisabled,
        TopicError::BadPartitionCount,
        TopicError::BadReplicationFactor,
        cannot(PlacementError::AllFenced),
        cannot(PlacementError::AllInactive),
        cannot(PlacementError::TooFewBrokers { wanted: 3, usable: 1 }),
        TopicError::AssignedAndReplicationFactor,
        TopicError::AssignedAndPartitionCount,
        TopicError::NullConfigs(vec!["x".into(), "y".into()]),
        TopicError::InvalidConfig("Unknown topic config name: x".into()),
        TopicError::TooManyPartitions,
        TopicError::TooManyRecords,
    ];
    let assignments = [
        AssignmentError::DuplicatePartition(PartitionId(0)),
        AssignmentError::Gap,
        AssignmentError::NoReplicas,
        AssignmentError::OtherReplicationFactor { found: 1, expected: 2 },
        AssignmentError::UnknownBroker(NodeId(7)),
        AssignmentError::DuplicateBroker(NodeId(1)),
        AssignmentError::AllInactive(PartitionId(0)),
    ];
    errors.extend(assignments.map(TopicError::BadAssignment));
    errors
}

#[test]
fn codes_and_texts_are_kafkas() {
    let line = |code: ErrorCode, text: Option<String>| {
        format!("{code:?}: {}\n", text.unwrap_or_else(|| "(no text)".into()))
    };
    let brokers = broker_errors().into_iter().map(|it| line(it.code(), Some(it.to_string())));
    let topics = topic_errors().into_iter().map(|it| line(it.code(), it.message()));
    let list: String = brokers.chain(topics).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("controller/errors.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, list).expect("writable");
    } else {
        assert_eq!(list, std::fs::read_to_string(path).expect("readable"));
    }
}
