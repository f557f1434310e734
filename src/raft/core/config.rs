//! What a core is given at its start.

use std::time::Duration;

use ottla_protocol::control::{KRaftVersionRange, VoterEndpoint};
use ottla_types::ReplicaKey;

use super::log_shape::LogShape;
use super::messages::{ElectionState, Peer};
use super::voters::VoterHistory;

/// What does not change while the node runs.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This replica: `node.id`, and `directory.id` of its metadata directory.
    pub me: ReplicaKey,
    /// The cluster that requests must name, if they name one.
    pub cluster_id: String,
    /// Where this replica listens for the quorum. A leader writes it to the log (KIP-853).
    pub listeners: Vec<VoterEndpoint>,
    /// What this replica can speak of `kraft.version`.
    pub kraft_versions: KRaftVersionRange,
    /// Controllers may become voters; they flush what they fetch even while they are observers.
    pub can_become_voter: bool,
    /// Whom to ask for the leader when it is not known. Without this replica.
    pub bootstrap: Vec<Peer>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Seed of the core's own randomness: two replicas must not have the same.
    pub seed: u64,
    /// A bug that the model test wants to find.
    #[cfg(test)]
    pub(crate) mutant: Option<super::mutant::Mutant>,
}

/// How long to wait for what. The defaults are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// `controller.quorum.election.timeout.ms`; each wait is random between once and twice this.
    pub election: Duration,
    /// `controller.quorum.fetch.timeout.ms`; a leader resigns after one and a half times this.
    pub fetch: Duration,
    /// `controller.quorum.election.backoff.max.ms`: the longest delay of a resigned leader's
    /// successors.
    pub election_backoff_max: Duration,
    /// `controller.quorum.request.timeout.ms`.
    pub request: Duration,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// How long a leader may keep a Fetch of ours that finds nothing.
    pub fetch_wait_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            election: Duration::from_secs(1),
            fetch: Duration::from_secs(2),
            election_backoff_max: Duration::from_secs(1),
            request: Duration::from_secs(2),
            retry_backoff: Duration::from_millis(20),
            fetch_wait_max: Duration::from_millis(500),
        }
    }
}

/// What was found on disk.
#[derive(Clone, Debug)]
pub struct Restored {
    /// `quorum-state`; `None` when there is no such file.
    pub election: Option<ElectionState>,
    /// The log, all of it flushed.
    pub log: LogShape,
    /// Voters by configuration, and those that the newest snapshot and the log name.
    pub voters: VoterHistory,
}
