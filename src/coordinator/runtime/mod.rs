//! Coordinators at work: the shards of a node ([`shards`]), and what handlers ask of them.
//!
//! Groups are asked for in `calls.rs`. The thread of groups serves connections that ask for groups,
//! and runs the timers of all coordinators.

mod calls;
mod figures;
mod groups;
mod load;
mod port;
mod resolving;
mod shard;
mod shards;
#[cfg(test)]
mod tests;
mod transactions;
mod writer;

use ottla_types::{ErrorCode, PartitionId, java_string_hash};

pub use self::figures::GroupOffset;
pub use self::groups::{GROUPS_TOPIC, Groups};
pub use self::port::{Appended, Committed, LogPort};
pub use self::resolving::MaySee;
pub use self::transactions::{TRANSACTIONS_TOPIC, Transactions};

/// The partition of a coordinator's topic that keeps a group, or a transactional id.
#[must_use]
pub fn partition_of(key: &str, partitions: i32) -> PartitionId {
    // As Kafka's `Utils.abs`, which has no value for the smallest number.
    let hash = java_string_hash(key).checked_abs().unwrap_or(0);
    PartitionId(hash % partitions.max(1))
}

/// What clients are told of a record that could not be kept.
fn told_of_append(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        other => other,
    }
}
