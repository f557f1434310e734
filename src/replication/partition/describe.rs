//! What an operator is told of a partition's log.

use ottla_storage::ActiveProducer;

use super::Partition;
use crate::request::PartitionError;

impl Partition {
    /// Bytes in all segments of the log.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub fn size(&self) -> Result<u64, PartitionError> {
        Ok(self.lock()?.log.size())
    }

    /// The producers that the log knows, by id.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub fn producers(&self) -> Result<Vec<ActiveProducer>, PartitionError> {
        Ok(self.lock()?.log.producers().active())
    }
}
