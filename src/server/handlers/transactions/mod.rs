//! Transactions. Each handler asks the authorizer, then the shard of the transactional id.

pub mod add_offsets;
pub mod add_partitions;
pub mod describe;
pub mod end;
pub mod list;

use ottla_coordinator::txn::Producer;
use ottla_protocol::messages::{ProducerId as WireProducerId, StrBytes};
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::Permissions;

impl Permissions<'_> {
    /// Whether the sender may do `operation` to a transactional id.
    #[must_use]
    pub fn transactional_id(&self, operation: Operation, name: &str) -> bool {
        let resource = Resource { kind: ResourceKind::TransactionalId, name };
        self.allows(Action { operation, resource })
    }
}

/// A producer, as a request names it.
#[must_use]
pub fn producer(id: WireProducerId, epoch: i16) -> Producer {
    Producer { id: ProducerId(id.0), epoch: ProducerEpoch(epoch) }
}

/// What a client that does not know `PRODUCER_FENCED` yet is told instead of it.
#[must_use]
pub fn told(error: ErrorCode, knows_fencing: bool) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if !knows_fencing => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
