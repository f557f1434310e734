//! Writing a snapshot, batch by batch, so that it need not be in memory whole.

use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_protocol::control::{ControlRecord, KRaftVersion, SnapshotFooter, SnapshotHeader};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::SnapshotStart;
use crate::records::control_batch;

/// Writes a snapshot, batch by batch.
pub struct SnapshotWriter {
    epoch: LeaderEpoch,
    batch_bytes_max: usize,
    finished: Vec<u8>,
    next_offset: Offset,
    batch: Option<BatchBuilder>,
}

impl SnapshotWriter {
    /// Begins a snapshot at the time `now`. A batch of records is closed when it has
    /// `batch_bytes_max` bytes.
    #[must_use]
    pub fn new(start: &SnapshotStart, batch_bytes_max: usize, now: Timestamp) -> SnapshotWriter {
        let mut control = vec![ControlRecord::SnapshotHeader(SnapshotHeader {
            version: 0,
            last_contained_log_timestamp: start.last_contained_log_timestamp,
        })];
        if let Some((k_raft_version, voters)) = &start.voters {
            let version = KRaftVersion { version: 0, k_raft_version: *k_raft_version };
            control.push(ControlRecord::KRaftVersion(version));
            control.push(ControlRecord::Voters(voters.clone()));
        }
        SnapshotWriter {
            epoch: start.id.epoch,
            batch_bytes_max,
            finished: control_batch(Offset::ZERO, start.id.epoch, now, &control),
            next_offset: Offset(control.len() as i64),
            batch: None,
        }
    }

    /// Adds a record of the metadata log, by its value.
    pub fn push(&mut self, value: &[u8], now: Timestamp) {
        let (offset, epoch) = (self.next_offset, self.epoch);
        let fresh = || BatchBuilder::new(BatchKind::Data, offset, epoch, now);
        let batch = self.batch.get_or_insert_with(fresh);
        batch.push(None, Some(value));
        self.next_offset = self.next_offset.plus(1);
        if batch.size() >= self.batch_bytes_max {
            self.close_batch();
        }
    }

    fn close_batch(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.finished.extend(batch.build());
        }
    }

    /// Takes the batches that are finished, to be written to the file.
    #[must_use]
    pub fn take_finished(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.finished)
    }

    /// Ends the snapshot and takes the last batches.
    #[must_use]
    pub fn finish(mut self, now: Timestamp) -> Vec<u8> {
        self.close_batch();
        let footer = [ControlRecord::SnapshotFooter(SnapshotFooter { version: 0 })];
        self.finished.extend(control_batch(self.next_offset, self.epoch, now, &footer));
        self.finished
    }
}
