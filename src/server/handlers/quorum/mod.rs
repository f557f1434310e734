//! The quorum's own APIs, on a controller's listener: Vote (52), BeginQuorumEpoch (53),
//! EndQuorumEpoch (54), FetchSnapshot (59), and Fetch (1) of the metadata log.
//!
//! Versions: Vote 0-2 (1 directory ids, 2 pre-votes, KIP-996), BeginQuorumEpoch and EndQuorumEpoch
//! 0-1 (1 directory ids and endpoints, KIP-853), FetchSnapshot 0-1 (the same), Fetch 4-18.
//! - Each is a question to the core of this replica; here it is only put into the core's words and
//!   back. A request names one partition of one topic, `__cluster_metadata-0`.
//! - The sender needs CLUSTER_ACTION on the cluster.
//!
//! Errors: `INVALID_REQUEST` for another topic or more than one partition,
//! `CLUSTER_AUTHORIZATION_FAILED`, `INCONSISTENT_CLUSTER_ID`; and what the core answers:
//! `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `NOT_LEADER_OR_FOLLOWER`, `INVALID_VOTER_KEY`,
//! `INCONSISTENT_VOTER_SET`, `INVALID_REQUEST`.

mod describe;
mod elections;
mod fetch;
mod snapshot;

pub use describe::describe;
pub use elections::{begin_epoch, end_epoch, vote};
pub use fetch::fetch;
pub use snapshot::fetch_snapshot;

use ottla_protocol::messages::from_wire_uuid;
use ottla_raft::core::{Request, Served};
use ottla_raft::driver::{Answered, QuorumHandle};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId, ReplicaKey, Uuid};

use super::Permissions;
use crate::apis::Incoming;
use crate::services::Services;

/// Name of the metadata log's topic.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether the sender may take part in the quorum.
pub fn check_sender(services: &Services, request: &Incoming<'_>) -> Result<(), ErrorCode> {
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    if permissions.cluster(Operation::ClusterAction) {
        Ok(())
    } else {
        Err(ErrorCode::ClusterAuthorizationFailed)
    }
}

/// Whether the sender means this cluster, if it names one: it is asked before all else.
fn check_cluster<T: std::ops::Deref<Target = str>>(
    services: &Services,
    cluster_id: Option<&T>,
) -> Result<(), ErrorCode> {
    match cluster_id {
        Some(id) if **id != *services.identity.cluster_id => Err(ErrorCode::InconsistentClusterId),
        _ => Ok(()),
    }
}

/// The only element, if there is exactly one.
fn only<T>(elements: &[T]) -> Option<&T> {
    match elements {
        [element] => Some(element),
        _ => None,
    }
}

fn replica(id: i32, directory_id: uuid::Uuid) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory_id: from_wire_uuid(directory_id) }
}

/// A replica that versions without this field do not name.
fn named_replica(id: i32, directory_id: uuid::Uuid) -> Option<ReplicaKey> {
    let key = replica(id, directory_id);
    (key.id >= NodeId(0) || key.directory_id != Uuid::ZERO).then_some(key)
}

/// What the core answered, or that this node is about to end.
async fn ask(
    quorum: &QuorumHandle,
    cluster_id: Option<String>,
    request: Request,
    bytes_max: u64,
) -> Result<Answered, ErrorCode> {
    let answered = quorum.request(cluster_id, request, bytes_max).await;
    answered.map_err(|_| ErrorCode::UnknownServerError)
}

/// Errors of the core that stand at the top of the wire's answer.
fn top_level(reply: &ottla_raft::core::Reply<Served>) -> Option<ErrorCode> {
    (reply.error == ErrorCode::InconsistentClusterId).then_some(reply.error)
}
