//! Records of the share coordinator (`__share_group_state`; KIP-932): how far a share group is with
//! a partition. A snapshot is whole, an update says what changed since.
//!
//! Source: `share-coordinator/src/main/resources/common/message/*.json` of Kafka 4.4.

use ottla_types::{LeaderEpoch, Offset, PartitionId, Timestamp, Uuid};

use super::coordinator_records;
use crate::message::messages;

messages! {
    /// A partition of a share group.
    pub struct ShareSnapshotKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// The partition.
        partition: PartitionId => 0+,
    }

    /// Records that are in one state.
    pub struct StateBatch { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// The first.
        first_offset: Offset => 0+,
        /// The last, which belongs to it.
        last_offset: Offset => 0+,
        /// 0 available, 2 acknowledged, 4 archived.
        delivery_state: i8 => 0+,
        /// How often they were delivered.
        delivery_count: i16 => 0+,
    }

    /// The state of a partition.
    pub struct ShareSnapshotValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Counts the snapshots.
        snapshot_epoch: i32 => 0+,
        /// Rises when the state is made anew.
        state_epoch: i32 => 0+,
        /// Epoch of the leader of the partition.
        leader_epoch: LeaderEpoch => 0+,
        /// First offset that is not done; -1 when it is not known.
        start_offset: Offset => 0+,
        /// How many records from there on are done; -1 when that is not known.
        delivery_complete_count: i32 = -1 => 0+ tag 0,
        /// When the state was made.
        create_timestamp: Timestamp => 0+,
        /// When it was written.
        write_timestamp: Timestamp => 0+,
        /// Records from there on.
        state_batches: Vec<StateBatch> => 0+,
    }

    /// A partition of a share group.
    pub struct ShareUpdateKey { versions: 0..=0, flexible: none;
        /// Id of the group.
        group_id: String => 0+,
        /// Id of the topic.
        topic_id: Uuid => 0+,
        /// The partition.
        partition: PartitionId => 0+,
    }

    /// What changed in the state of a partition.
    pub struct ShareUpdateValue { versions: 0..=0, flexible: 0, keeps: unknown_tags;
        /// Snapshot that it follows.
        snapshot_epoch: i32 => 0+,
        /// Epoch of the leader of the partition.
        leader_epoch: LeaderEpoch => 0+,
        /// First offset that is not done; -1 leaves it.
        start_offset: Offset => 0+,
        /// How many records from there on are done; -1 when that is not known.
        delivery_complete_count: i32 = -1 => 0+ tag 0,
        /// Records whose state changed.
        state_batches: Vec<StateBatch> => 0+,
    }
}

coordinator_records! {
    /// A record of the share coordinator.
    ShareRecord {
        0 => ShareSnapshot(ShareSnapshotKey, ShareSnapshotValue),
        1 => ShareUpdate(ShareUpdateKey, ShareUpdateValue),
    }
}
