//! OffsetCommit and OffsetFetch, whose version 10, and TxnOffsetCommit, whose version 6 (topic ids)
//! the `kafka-protocol` crate does not read.

use ottla_types::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicName, Uuid};

use crate::message::messages;

messages! {
    /// A request to commit offsets.
    pub struct OffsetCommitRequest { versions: 2..=10, flexible: 8;
        /// The group.
        group_id: String => 0+,
        /// The generation that the member is in; -1 for none.
        generation: i32 = -1 => 1+,
        /// Who commits.
        member_id: String => 1+,
        /// Its instance id when it is a static member.
        group_instance_id: Option<String> => 7+,
        /// How long the offsets are to be kept, ms; -1 leaves that to the broker.
        retention_time_ms: i64 = -1 => 2+ ..= 4,
        /// The topics.
        topics: Vec<OffsetCommitTopic> => 0+,
    }

    /// A topic.
    pub struct OffsetCommitTopic { versions: 2..=10, flexible: 8;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 9,
        /// Its id.
        topic_id: Uuid => 10+,
        /// Its partitions.
        partitions: Vec<OffsetCommitPartition> => 0+,
    }

    /// A partition.
    pub struct OffsetCommitPartition { versions: 2..=10, flexible: 8;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// The offset that is to be read next.
        committed_offset: Offset => 0+,
        /// Epoch of the last record that was read; -1 when it is not known.
        committed_leader_epoch: LeaderEpoch = LeaderEpoch(-1) => 6+,
        /// What is to be kept with it.
        committed_metadata: Option<String> => 0+,
    }

    /// The answer to a request to commit offsets.
    pub struct OffsetCommitResponse { versions: 2..=10, flexible: 8;
        /// How long the client is to wait, ms.
        throttle_time_ms: i32 => 3+,
        /// The topics.
        topics: Vec<OffsetCommitOutcome> => 0+,
    }

    /// What became of a topic's offsets.
    pub struct OffsetCommitOutcome { versions: 2..=10, flexible: 8;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 9,
        /// Its id.
        topic_id: Uuid => 10+,
        /// Its partitions.
        partitions: Vec<OffsetCommitPartitionOutcome> => 0+,
    }

    /// What became of a partition's offset.
    pub struct OffsetCommitPartitionOutcome { versions: 2..=10, flexible: 8;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// Why it was not committed.
        error_code: i16 => 0+,
    }

    /// A request to commit offsets with a transaction.
    pub struct TxnOffsetCommitRequest { versions: 0..=6, flexible: 3;
        /// The transaction.
        transactional_id: String => 0+,
        /// The group.
        group_id: String => 0+,
        /// Its producer.
        producer_id: ProducerId => 0+,
        /// The producer's epoch.
        producer_epoch: ProducerEpoch => 0+,
        /// The generation, or epoch, that the member is in; -1 for none.
        generation: i32 = -1 => 3+,
        /// Who commits.
        member_id: String => 3+,
        /// Its instance id when it is a static member.
        group_instance_id: Option<String> => 3+,
        /// The topics.
        topics: Vec<TxnOffsetCommitTopic> => 0+,
    }

    /// A topic.
    pub struct TxnOffsetCommitTopic { versions: 0..=6, flexible: 3;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 5,
        /// Its id.
        topic_id: Uuid => 6+,
        /// Its partitions.
        partitions: Vec<TxnOffsetCommitPartition> => 0+,
    }

    /// A partition.
    pub struct TxnOffsetCommitPartition { versions: 0..=6, flexible: 3;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// The offset that is to be read next.
        committed_offset: Offset => 0+,
        /// Epoch of the last record that was read; -1 when it is not known.
        committed_leader_epoch: LeaderEpoch = LeaderEpoch(-1) => 2+,
        /// What is to be kept with it.
        committed_metadata: Option<String> => 0+,
    }

    /// The answer to a request to commit offsets with a transaction.
    pub struct TxnOffsetCommitResponse { versions: 0..=6, flexible: 3;
        /// How long the client is to wait, ms.
        throttle_time_ms: i32 => 0+,
        /// The topics.
        topics: Vec<TxnOffsetCommitOutcome> => 0+,
    }

    /// What became of a topic's offsets.
    pub struct TxnOffsetCommitOutcome { versions: 0..=6, flexible: 3;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 5,
        /// Its id.
        topic_id: Uuid => 6+,
        /// Its partitions.
        partitions: Vec<TxnOffsetCommitPartitionOutcome> => 0+,
    }

    /// What became of a partition's offset.
    pub struct TxnOffsetCommitPartitionOutcome { versions: 0..=6, flexible: 3;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// Why it was not committed.
        error_code: i16 => 0+,
    }

    /// A request for committed offsets.
    pub struct OffsetFetchRequest { versions: 1..=10, flexible: 6;
        /// The group.
        group_id: String => 0+ ..= 7,
        /// The topics; null for all.
        topics: Option<Vec<OffsetFetchTopic>> = Some(Vec::new()) => 0+ ..= 7,
        /// The groups (KIP-709).
        groups: Vec<OffsetFetchGroup> => 8+,
        /// Whether to wait for transactions (KIP-447).
        require_stable: bool => 7+,
    }

    /// A group.
    pub struct OffsetFetchGroup { versions: 1..=10, flexible: 6;
        /// Its id.
        group_id: String => 8+,
        /// Who asks.
        member_id: Option<String> => 9+,
        /// The epoch that it is in.
        member_epoch: i32 = -1 => 9+,
        /// The topics; null for all.
        topics: Option<Vec<OffsetFetchTopic>> = Some(Vec::new()) => 8+,
    }

    /// A topic.
    pub struct OffsetFetchTopic { versions: 1..=10, flexible: 6;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 9,
        /// Its id.
        topic_id: Uuid => 10+,
        /// Its partitions.
        partition_indexes: Vec<PartitionId> => 0+,
    }

    /// The answer to a request for committed offsets.
    pub struct OffsetFetchResponse { versions: 1..=10, flexible: 6;
        /// How long the client is to wait, ms.
        throttle_time_ms: i32 => 3+,
        /// The topics.
        topics: Vec<FetchedTopic> => 0+ ..= 7,
        /// Why there are none.
        error_code: i16 => 2+ ..= 7,
        /// The groups.
        groups: Vec<FetchedGroup> => 8+,
    }

    /// A group.
    pub struct FetchedGroup { versions: 1..=10, flexible: 6;
        /// Its id.
        group_id: String => 8+,
        /// The topics.
        topics: Vec<FetchedTopic> => 8+,
        /// Why there are none.
        error_code: i16 => 8+,
    }

    /// A topic.
    pub struct FetchedTopic { versions: 1..=10, flexible: 6;
        /// Its name.
        name: TopicName = TopicName::from("") => 0+ ..= 9,
        /// Its id.
        topic_id: Uuid => 10+,
        /// Its partitions.
        partitions: Vec<FetchedPartition> => 0+,
    }

    /// A partition.
    pub struct FetchedPartition { versions: 1..=10, flexible: 6;
        /// Its index.
        partition_index: PartitionId => 0+,
        /// The offset that is to be read next; -1 for none.
        committed_offset: Offset => 0+,
        /// Epoch of the last record that was read; -1 when it is not known.
        committed_leader_epoch: LeaderEpoch = LeaderEpoch(-1) => 5+,
        /// What was kept with it.
        metadata: Option<String> => 0+,
        /// Why it is not told.
        error_code: i16 => 0+,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        OffsetCommitRequest as KnownCommit, OffsetCommitResponse as KnownCommitted,
        OffsetFetchRequest as KnownFetch, OffsetFetchResponse as KnownFetched,
    };
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;
    use crate::codec::{Reader, Writer};
    use crate::message::Message;

    /// The crate reads what is written here, and writes what was read.
    fn check<M: Message + PartialEq + std::fmt::Debug, K: Decodable + Encodable>(
        message: impl Fn(i16) -> M,
        versions: std::ops::RangeInclusive<i16>,
    ) {
        for version in versions {
            let message = message(version);
            let mut writer = Writer::new();
            message.encode(&mut writer, version);
            let ours = writer.into_bytes();
            let mut bytes = bytes::Bytes::from(ours.clone());
            let known = K::decode(&mut bytes, version).expect("a version it knows");
            assert!(bytes.is_empty(), "v{version}: {message:?}");
            let mut theirs = bytes::BytesMut::new();
            known.encode(&mut theirs, version).expect("what it read");
            assert_eq!(ours, theirs, "v{version}: {message:?}");
            assert_eq!(M::decode(&mut Reader::new(&ours), version), Ok(message));
        }
    }

    #[test]
    fn the_crate_agrees_on_commits() {
        let commit = |version: i16| OffsetCommitRequest {
            group_id: "g".to_owned(),
            generation: 3,
            member_id: "m".to_owned(),
            group_instance_id: (version >= 7).then(|| "i".to_owned()),
            retention_time_ms: if version <= 4 { 77 } else { -1 },
            topics: vec![OffsetCommitTopic {
                name: TopicName::from("t"),
                topic_id: Uuid::ZERO,
                partitions: vec![OffsetCommitPartition {
                    partition_index: PartitionId(2),
                    committed_offset: Offset(9),
                    committed_leader_epoch: LeaderEpoch(if version >= 6 { 4 } else { -1 }),
                    committed_metadata: None,
                }],
            }],
        };
        check::<_, KnownCommit>(commit, 2..=9);
        let partitions =
            vec![OffsetCommitPartitionOutcome { partition_index: PartitionId(2), error_code: 12 }];
        let outcome = |version: i16| OffsetCommitResponse {
            throttle_time_ms: if version >= 3 { 5 } else { 0 },
            topics: vec![OffsetCommitOutcome {
                name: TopicName::from("t"),
                topic_id: Uuid::ZERO,
                partitions: partitions.clone(),
            }],
        };
        check::<_, KnownCommitted>(outcome, 2..=9);
    }

    #[test]
    fn the_crate_agrees_on_fetches() {
        let topics = Some(vec![OffsetFetchTopic {
            name: TopicName::from("t"),
            topic_id: Uuid::ZERO,
            partition_indexes: vec![PartitionId(2)],
        }]);
        let group = |version: i16| OffsetFetchGroup {
            group_id: "g".to_owned(),
            member_id: (version >= 9).then(|| "m".to_owned()),
            member_epoch: if version >= 9 { 3 } else { -1 },
            topics: topics.clone(),
        };
        let fetch = |version: i16| match version {
            ..8 => OffsetFetchRequest {
                group_id: "g".to_owned(),
                topics: if version == 1 { topics.clone() } else { None },
                groups: Vec::new(),
                require_stable: version >= 7,
            },
            _ => OffsetFetchRequest {
                groups: vec![group(version), OffsetFetchGroup { topics: None, ..group(version) }],
                require_stable: true,
                ..OffsetFetchRequest::default()
            },
        };
        check::<_, KnownFetch>(fetch, 1..=9);
        let told = |version: i16| FetchedTopic {
            name: TopicName::from("t"),
            topic_id: Uuid::ZERO,
            partitions: vec![FetchedPartition {
                partition_index: PartitionId(2),
                committed_offset: Offset(9),
                committed_leader_epoch: LeaderEpoch(if version >= 5 { 4 } else { -1 }),
                metadata: Some("m".to_owned()),
                error_code: 3,
            }],
        };
        let answer = |version: i16| match version {
            ..8 => OffsetFetchResponse {
                throttle_time_ms: if version >= 3 { 5 } else { 0 },
                topics: vec![told(version)],
                error_code: if version >= 2 { 7 } else { 0 },
                groups: Vec::new(),
            },
            _ => OffsetFetchResponse {
                groups: vec![FetchedGroup {
                    group_id: "g".to_owned(),
                    topics: vec![told(version)],
                    error_code: 7,
                }],
                ..OffsetFetchResponse::default()
            },
        };
        check::<_, KnownFetched>(answer, 1..=9);
    }

    #[test]
    fn version_10_names_topics_by_id() {
        let id = Uuid([7; 16]);
        let topic = OffsetFetchTopic {
            name: TopicName::from(""),
            topic_id: id,
            partition_indexes: vec![PartitionId(1)],
        };
        let group = OffsetFetchGroup { topics: Some(vec![topic]), ..OffsetFetchGroup::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let mut writer = Writer::new();
        request.encode(&mut writer, 10);
        let bytes = writer.into_bytes();
        assert!(bytes.windows(16).any(|window| window == id.0));
        assert_eq!(OffsetFetchRequest::decode(&mut Reader::new(&bytes), 10), Ok(request));
    }
}
