//! What an operator is told of a partition's log.

use ottla_storage::ActiveProducer;
use ottla_types::Offset;

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

    /// Offset of the next record, replicated or not.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub(crate) fn end(&self) -> Result<Offset, PartitionError> {
        Ok(self.lock()?.log.end())
    }

    /// The producers that the log knows, by id.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub fn producers(&self) -> Result<Vec<ActiveProducer>, PartitionError> {
        Ok(self.lock()?.log.producers().active())
    }
}
