//! What members ask, and what they are told.

use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::member::Assignment;
use crate::group::{GroupId, MemberId};

/// A heartbeat: what a member says about itself, and what it has. What it leaves out is as before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// Who sends it; never empty for one that joins.
    pub member: MemberId,
    /// Its epoch: 0 joins, -1 leaves, -2 leaves for a while.
    pub epoch: i32,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// How long it may take to give partitions back, ms.
    pub rebalance_timeout_ms: Option<i32>,
    /// Topics that it wants, by name.
    pub topics: Option<Vec<TopicName>>,
    /// Topics that it wants, by pattern; empty for none.
    pub regex: Option<String>,
    /// The assignor that it asks for, one of those that there are.
    pub assignor: Option<String>,
    /// What it has.
    pub owned: Option<Vec<(Uuid, Vec<PartitionId>)>>,
    /// Its client id.
    pub client_id: String,
    /// Where it connected from, as Java prints it.
    pub client_host: String,
}

impl ConsumerHeartbeat {
    /// Whether all is said that a member says after an error: it wants to hear all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout_ms.is_some() && subscribes && self.owned.is_some()
    }
}

/// The answer to a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerBeat {
    /// The member.
    pub member: MemberId,
    /// The epoch that it is in now.
    pub epoch: i32,
    /// When it is to be heard of again, ms; 0 for one that left.
    pub interval_ms: i32,
    /// What it may read; none when that is as before.
    pub assignment: Option<Assignment>,
}

/// Why a heartbeat is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error.
    pub error: ErrorCode,
    /// For whoever reads the client's log.
    pub text: String,
}

impl Refusal {
    pub(super) fn new(error: ErrorCode, text: impl Into<String>) -> Refusal {
        Refusal { error, text: text.into() }
    }
}

/// A consumer group in detail, as it is committed.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumerGroup {
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of its target.
    pub assignment_epoch: i32,
    /// Name of the assignor that most members ask for.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// A member in detail.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumer {
    /// The member.
    pub member: std::sync::Arc<super::ConsumerMember>,
    /// What it has, what it is about to give back included.
    pub assigned: Assignment,
    /// What it is to have.
    pub target: Assignment,
}
