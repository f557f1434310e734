//! Committed offsets (types 0 and 1).

use ottla_types::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName, Uuid};

use crate::message::messages;

messages! {
    /// A partition that a group committed an offset for.
    pub struct OffsetCommitKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group: String => 0+,
        /// Name of the topic.
        topic: TopicName => 0+,
        /// The partition.
        partition: PartitionId => 0+,
    }

    /// What the group committed.
    pub struct OffsetCommitValue { versions: 0..=4, flexible: 4, keeps: unknown_tags;
        /// The offset that is to be read next.
        offset: Offset => 0+,
        /// Epoch of the last record that was read; -1 when it is not known.
        leader_epoch: LeaderEpoch = LeaderEpoch(-1) => 3+,
        /// What the client wanted to be kept with it.
        metadata: String => 0+,
        /// When it was committed.
        commit_timestamp: Timestamp => 0+,
        /// When it is to be forgotten; -1 leaves that to the broker's retention.
        expire_timestamp: Timestamp = Timestamp(-1) => 1+ ..= 1,
        /// Id of the topic; zero when it is not known (KIP-848).
        topic_id: Uuid => 4+ tag 0,
    }

    /// A partition that a group committed an offset for, as Kafka 0.8 wrote it.
    pub struct LegacyOffsetCommitKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group: String => 0+,
        /// Name of the topic.
        topic: TopicName => 0+,
        /// The partition.
        partition: PartitionId => 0+,
    }

    /// What the group committed, as Kafka 0.8 wrote it.
    pub struct LegacyOffsetCommitValue { versions: 0..=0, flexible: none;
        /// The offset that is to be read next.
        offset: Offset => 0+,
        /// What the client wanted to be kept with it.
        metadata: String => 0+,
        /// When it was committed.
        commit_timestamp: Timestamp => 0+,
    }
}
