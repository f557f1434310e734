//! Appending: of clients, of coordinators of this node, and of the markers of transactions.
//!
//! What is wanted is planned under the lock, which changes nothing, and carried out with it.

use std::sync::MutexGuard;

use ottla_storage::{
    AppendPlan, AppendRejection, FirstBatch, IncomingBatch, LogError, Marker, Origin, Verification,
};
use ottla_types::Timestamp;

use super::{Partition, State};
use crate::request::{Acks, Appended, PartitionError, Transactional};

impl Partition {
    /// Appends a client's batch.
    ///
    /// # Errors
    /// Why it is refused; on a fault the directory is fenced.
    pub fn append(
        &self,
        batch: &IncomingBatch,
        acks: Acks,
        now: Timestamp,
    ) -> Result<Appended, PartitionError> {
        let state = self.lock_to_append(acks)?;
        let plan = state.log.plan_append(&batch.header, Origin::Client, now).map_err(rejected)?;
        self.carry_out(state, plan, batch, acks, now)
    }

    /// Appends a batch of a client's transaction.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_transactional(
        &self,
        batch: &IncomingBatch,
        by: Transactional,
        acks: Acks,
        now: Timestamp,
    ) -> Result<Appended, PartitionError> {
        let state = self.lock_to_append(acks)?;
        let origin = if by.is_coordinator { Origin::Coordinator } else { Origin::Client };
        let plan = if by.verified {
            state.log.plan_transactional(&batch.header, origin, by.guard, now)
        } else {
            state.log.plan_append(&batch.header, origin, now)
        };
        self.carry_out(state, plan.map_err(rejected)?, batch, acks, now)
    }

    /// Appends the end of a transaction, or finds that it was. To be waited for until it is
    /// committed.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_marker(
        &self,
        marker: &Marker,
        now: Timestamp,
    ) -> Result<Appended, PartitionError> {
        let batch = marker.batch(now);
        let state = self.lock_to_append(Acks::All)?;
        let plan = state.log.plan_marker(marker, &batch.header, now).map_err(rejected)?;
        self.carry_out(state, plan, &batch, Acks::All, now)
    }

    /// Whether a marker may be appended; `Some` when it was, to be waited for until it is
    /// committed.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn find_marker(
        &self,
        marker: &Marker,
        now: Timestamp,
    ) -> Result<Option<Appended>, PartitionError> {
        let batch = marker.batch(now);
        let state = self.lock_to_append(Acks::All)?;
        match state.log.plan_marker(marker, &batch.header, now).map_err(rejected)? {
            AppendPlan::Append { .. } => Ok(None),
            found @ AppendPlan::Duplicate(_) => {
                self.carry_out(state, found, &batch, Acks::All, now).map(Some)
            }
        }
    }

    /// What has to be done before a transactional batch is appended.
    ///
    /// # Errors
    /// `NotLeader`, `Offline`, and that a newer producer has written.
    pub fn begin_verification(
        &self,
        batch: FirstBatch,
        now: Timestamp,
    ) -> Result<Verification, PartitionError> {
        let mut state = self.lock()?;
        state.check_epoch(None)?;
        state.log.begin_verification(batch, now).map_err(rejected)
    }

    fn lock_to_append(&self, acks: Acks) -> Result<MutexGuard<'_, State>, PartitionError> {
        let state = self.lock()?;
        state.check_epoch(None)?;
        let min_in_sync = (state.log.config().min_insync_replicas as usize).min(state.replicas);
        if acks == Acks::All && state.in_sync < min_in_sync {
            return Err(PartitionError::NotEnoughReplicas);
        }
        Ok(state)
    }

    fn carry_out(
        &self,
        mut guard: MutexGuard<'_, State>,
        plan: AppendPlan,
        batch: &IncomingBatch,
        acks: Acks,
        now: Timestamp,
    ) -> Result<Appended, PartitionError> {
        let state = &mut *guard;
        let epoch = state.core.epoch();
        if matches!(plan, AppendPlan::Append { .. }) && state.dir.health().is_full() {
            return Err(PartitionError::Log(state.log.refuse_for_room(batch)));
        }
        let info = match state.log.append(plan, batch, epoch, now) {
            Ok(info) => info,
            Err(error) => return Err(self.failed(error)),
        };
        let wakeups = state.advance();
        let wait = state.wait_for(info.last_offset.plus(1), acks);
        let start_flush = !state.flushing && state.wants_flush();
        state.flushing |= start_flush;
        let log_start = state.log.log_start();
        drop(guard);
        wakeups.fire();
        Ok(Appended { info, log_start, wait, start_flush })
    }
}

fn rejected(rejection: AppendRejection) -> PartitionError {
    PartitionError::Log(LogError::Rejected(rejection))
}
