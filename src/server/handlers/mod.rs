//! One file for each API, headed by its versions, its behaviour and its errors.

pub mod allocate_producer_ids;
pub mod alter_replica_log_dirs;
pub mod api_versions;
mod appending;
pub mod assign_replicas;
pub mod configs;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod envelope;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod internal_topic;
mod leaders;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
mod produced;
pub mod quorum;
pub mod reassignments;
pub mod transactions;
pub mod unregister_broker;
pub mod update_features;
mod verifying;
pub mod write_txn_markers;

use std::time::Duration;

use ottla_metadata::ControllerError;
use ottla_metadata::image::{Image, Partition};
use ottla_protocol::produce::TopicRef;
use ottla_security::{Action, Authorizer, Operation, Resource, ResourceKind};
use ottla_types::{NodeId, TopicName, Uuid};

use crate::connection::Peer;

/// Longest wait for the controller when it has nothing to do.
const NO_WORK_MAX: Duration = Duration::from_secs(30);

/// Asks the authorizer for the sender of a request.
pub struct Permissions<'a> {
    /// Who decides.
    pub authorizer: &'a dyn Authorizer,
    /// Who asks.
    pub peer: &'a Peer,
}

impl Permissions<'_> {
    /// Whether the sender may do `operation` to a topic.
    #[must_use]
    pub fn topic(&self, operation: Operation, name: &str) -> bool {
        self.allows(Action { operation, resource: Resource::topic(name) })
    }

    /// Whether the sender may do `operation` to the cluster.
    #[must_use]
    pub fn cluster(&self, operation: Operation) -> bool {
        self.allows(Action { operation, resource: Resource::CLUSTER })
    }

    /// Whether the sender may do `operation` to at least one topic.
    #[must_use]
    pub fn any_topic(&self, operation: Operation) -> bool {
        let (principal, host) = (&self.peer.principal, self.peer.address.ip());
        self.authorizer.allows_any(principal, host, operation, ResourceKind::Topic)
    }

    /// Whether the sender may do `operation` to every topic that there is or may be.
    #[must_use]
    pub fn every_topic(&self, operation: Operation) -> bool {
        let (principal, host) = (&self.peer.principal, self.peer.address.ip());
        self.authorizer.allows_every(principal, host, operation, ResourceKind::Topic)
    }

    /// Whether the sender may do this.
    #[must_use]
    pub fn allows(&self, action: Action<'_>) -> bool {
        self.authorizer.allows(&self.peer.principal, self.peer.address.ip(), action)
    }
}

/// How long a client wants to wait for the controller; `None` is not at all: nothing is begun then.
#[must_use]
pub fn wait_of(timeout_ms: i32) -> Option<Duration> {
    let wait = u64::try_from(timeout_ms).ok().filter(|wait| *wait > 0);
    wait.map(Duration::from_millis)
}

/// As [`wait_of`], but where the controller finds nothing to do: that is answered without waiting.
#[must_use]
pub fn wait_if_work(timeout_ms: i32, is_work: bool) -> Option<Duration> {
    wait_of(timeout_ms).or((!is_work).then_some(NO_WORK_MAX))
}

/// What a client is told in words of a request that the controller did not decide; of the time that
/// is over, nothing.
#[must_use]
pub fn told(error: &ControllerError) -> Option<String> {
    (*error != ControllerError::TimedOut).then(|| error.to_string())
}

/// Whether there is such an isolation level: 0 is `read_uncommitted`, 1 `read_committed`.
#[must_use]
pub fn is_isolation(level: i8) -> bool {
    matches!(level, 0 | 1)
}

/// Topics that clients may not write to by themselves.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// The replicas of a partition that clients of this listener cannot reach.
#[must_use]
pub fn offline_replicas(image: &Image, partition: &Partition, listener: &str) -> Vec<NodeId> {
    let is_online = |id: &NodeId| {
        let directory = partition.directory(*id).unwrap_or(Uuid::DIR_UNASSIGNED);
        image.cluster().broker(*id).is_some_and(|broker| {
            !broker.fenced
                && broker.endpoint(listener).is_some()
                && broker.has_online_directory(directory)
        })
    };
    partition.replicas.iter().copied().filter(|id| !is_online(id)).collect()
}

/// A topic of a request, found in the image.
#[derive(Clone, Debug)]
pub struct FoundTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: Uuid,
}

/// Looks a topic up as a request names it.
#[must_use]
pub fn find_topic(image: &Image, topic: &TopicRef) -> Option<FoundTopic> {
    let found = match topic {
        TopicRef::Name(name) => image.topics().by_name(name),
        TopicRef::Id(id) => image.topics().by_id(*id),
    };
    found.map(|topic| FoundTopic { name: topic.name.clone(), id: topic.id })
}

/// The bits of the operations that the sender may do to a resource (KIP-430).
#[must_use]
pub fn authorized_operations(permissions: &Permissions<'_>, kind: ResourceKind, name: &str) -> i32 {
    // The bit of an operation is Kafka's number of it.
    let operations: &[(Operation, u32)] = match kind {
        ResourceKind::Topic => &[
            (Operation::Read, 3),
            (Operation::Write, 4),
            (Operation::Create, 5),
            (Operation::Delete, 6),
            (Operation::Alter, 7),
            (Operation::Describe, 8),
            (Operation::DescribeConfigs, 10),
            (Operation::AlterConfigs, 11),
        ],
        ResourceKind::Cluster => &[
            (Operation::Create, 5),
            (Operation::Alter, 7),
            (Operation::Describe, 8),
            (Operation::ClusterAction, 9),
            (Operation::DescribeConfigs, 10),
            (Operation::AlterConfigs, 11),
            (Operation::IdempotentWrite, 12),
        ],
        ResourceKind::Group => &[
            (Operation::Read, 3),
            (Operation::Delete, 6),
            (Operation::Describe, 8),
            (Operation::DescribeConfigs, 10),
            (Operation::AlterConfigs, 11),
        ],
        ResourceKind::TransactionalId => &[(Operation::Write, 4), (Operation::Describe, 8)],
    };
    let resource = Resource { kind, name };
    let allowed = operations
        .iter()
        .filter(|(operation, _)| permissions.allows(Action { operation: *operation, resource }));
    allowed.fold(0, |bits, (_, bit)| bits | 1 << bit)
}
