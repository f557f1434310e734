//! Ids, offsets and epochs.
//!
//! End offsets are exclusive everywhere: a log with end offset 3 holds the offsets 0, 1 and 2.

use std::fmt;

use crate::{TopicName, Uuid};

/// Declares newtypes over signed integers that compare, print and convert alike.
macro_rules! integer_newtypes {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

integer_newtypes! {
    /// A broker's or controller's `node.id`; -1 where Kafka says "none".
    NodeId(i32);
    /// Index of a partition within its topic, from 0.
    PartitionId(i32);
    /// A position in a partition's log.
    Offset(i64);
    /// Counts the leaders of a partition, or of the metadata quorum; -1 is "none".
    LeaderEpoch(i32);
    /// Counts every change of a partition's registration in the metadata log.
    PartitionEpoch(i32);
    /// Offset of the registration record of one incarnation of a broker; -1 is "unknown".
    BrokerEpoch(i64);
    /// Id of an idempotent or transactional producer; -1 is "none".
    ProducerId(i64);
    /// Generation of a producer id; -1 is "none".
    ProducerEpoch(i16);
}

/// Kafka's "no node".
pub const NO_NODE: NodeId = NodeId(-1);

impl Offset {
    /// The first offset of any log.
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records later.
    ///
    /// Panics when the sum leaves the range of `i64`, which no log can reach.
    #[must_use]
    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0.checked_add(count).expect("offsets stay far below i64::MAX"))
    }

    /// Number of offsets from `earlier` up to this one; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Offset) -> i64 {
        self.0 - earlier.0
    }
}

impl LeaderEpoch {
    /// Kafka's "no epoch".
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// The next epoch; `None` behind the last one that can be counted.
    #[must_use]
    pub fn next(self) -> Option<LeaderEpoch> {
        self.0.checked_add(1).map(LeaderEpoch)
    }
}

impl PartitionEpoch {
    /// The next epoch; `None` behind the last one that can be counted.
    #[must_use]
    pub fn next(self) -> Option<PartitionEpoch> {
        self.0.checked_add(1).map(PartitionEpoch)
    }
}

impl BrokerEpoch {
    /// Sent by a broker that does not know its last epoch (first start, or no clean shutdown).
    pub const UNKNOWN: BrokerEpoch = BrokerEpoch(-1);
}

impl ProducerId {
    /// Kafka's "no producer id".
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// Kafka's "no epoch".
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

/// A member of the metadata quorum: KIP-853 tells a voter that lost its disk by the directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplicaKey {
    /// `node.id` of the replica.
    pub id: NodeId,
    /// `directory.id` of its metadata directory; [`Uuid::ZERO`] when unknown.
    pub directory_id: Uuid,
}

/// A partition by its topic's name, as clients name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: TopicName,
    /// Index within the topic.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition by its topic's id, which a deleted and recreated topic does not share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    /// Id of the topic.
    pub topic_id: Uuid,
    /// Index within the topic.
    pub partition: PartitionId,
}

impl fmt::Display for TopicIdPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}
