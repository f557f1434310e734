//! UnregisterBroker: forgets a broker, whatever its state; its replicas stay assigned to it.

use ottla_protocol::metadata::UnregisterBrokerRecord;
use ottla_types::NodeId;

use super::members::Move;
use super::{BrokerError, Controller, Decision};

impl Controller {
    /// Takes a broker's leaderships away, then its registration.
    ///
    /// # Errors
    /// When no such broker is registered.
    pub fn unregister_broker(&self, id: NodeId) -> Result<Decision<()>, BrokerError> {
        let broker = self.image.cluster().broker(id).ok_or(BrokerError::Unknown(id))?;
        let mut records = self.moved(Move::Leaves(id), self.index.in_sync(id));
        records.push(
            self.record(UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch }),
        );
        Ok(Decision::divisible(records, ()))
    }
}
