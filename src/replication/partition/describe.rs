//! What an operator is told of a partition's log.

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
}
