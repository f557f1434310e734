//! Where a leader's epoch ends (KIP-101, KIP-320).

use ottla_types::{LeaderEpoch, Offset};

use super::Partition;
use crate::request::PartitionError;

impl Partition {
    /// Epoch of the record at `offset`; none for an offset that the log does not have.
    ///
    /// # Errors
    /// `Offline`.
    pub fn epoch_at(&self, offset: Offset) -> Result<LeaderEpoch, PartitionError> {
        let state = self.lock()?;
        Ok(state.log.epochs().epoch_at(offset).unwrap_or(LeaderEpoch::NONE))
    }

    /// The largest epoch at most `asked` and its end, for a client that knows `leader_epoch`;
    /// `None` when nothing is known of it.
    ///
    /// # Errors
    /// When the client's epoch is not the leader's; `Offline`.
    pub fn end_of_epoch(
        &self,
        leader_epoch: Option<LeaderEpoch>,
        asked: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, PartitionError> {
        let state = self.lock()?;
        state.check_epoch(leader_epoch)?;
        if asked < LeaderEpoch(0) {
            return Ok(None);
        }
        Ok(state.log.epochs().end_of(asked, state.log.end()))
    }
}
