//! The words that every room speaks: ids, offsets, epochs, error codes, time values, names.
//!
//! Nothing here does I/O, allocates much or knows a format beyond a value's text form. Every id,
//! epoch and offset is a newtype, so that two of them cannot be swapped in a call.

mod error_code;
mod ids;
mod java_hash;
mod time;
mod topic_name;
mod uuid;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, LeaderEpoch, NO_NODE, NodeId, Offset, PartitionEpoch, PartitionId, ProducerEpoch,
    ProducerId, ReplicaKey, TopicIdPartition, TopicPartition,
};
pub use java_hash::java_string_hash;
pub use time::{MonoTime, Timestamp};
pub use topic_name::{InvalidTopicName, TopicName, has_collision_chars, names_collide};
pub use uuid::{InvalidUuid, Uuid};
