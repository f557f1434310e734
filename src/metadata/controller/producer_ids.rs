//! Blocks of producer ids for brokers to give out (KIP-730).

use ottla_protocol::metadata::ProducerIdsRecord;
use ottla_types::{BrokerEpoch, NodeId, ProducerId};

use super::{BrokerError, Controller, Decision};

/// How many ids a broker gets at once.
const BLOCK_SIZE: i32 = 1000;

/// Producer ids that one broker may give out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    /// The first of them.
    pub first: ProducerId,
    /// How many they are.
    pub count: i32,
}

impl Controller {
    /// Gives a broker the next block. The record holds where the block after it begins, so that
    /// ids of a block that was lost are never given out again.
    ///
    /// # Errors
    /// When this incarnation of the broker is not registered, or no ids are left.
    pub fn allocate_producer_ids(
        &self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<Decision<ProducerIdBlock>, BrokerError> {
        self.check_epoch(broker, epoch)?;
        let first = self.image.producer_ids().next();
        let next = first.0.checked_add(i64::from(BLOCK_SIZE));
        let record = ProducerIdsRecord {
            broker_id: broker,
            broker_epoch: epoch,
            next_producer_id: ProducerId(next.ok_or(BrokerError::ProducerIdsExhausted)?),
        };
        let block = ProducerIdBlock { first, count: BLOCK_SIZE };
        Ok(Decision::divisible(vec![self.record(record)], block))
    }
}
