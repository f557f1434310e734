//! The metadata log as the driver uses it: batches by offset, on the storage room's log.

use std::path::Path;

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_storage::{
    AppendPlan, Extent, FlushJob, IncomingBatch, Log, LogError, Origin, ReadLimit, TrimJob,
};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::events::CommittedBatch;
use crate::records::control_batch;
use ottla_protocol::control::ControlRecord;

/// Bytes of batches that are read at a time.
const READ_BYTES: u64 = 1 << 20;

pub(super) struct MetadataLog {
    log: Log,
}

impl MetadataLog {
    pub(super) fn new(log: Log) -> MetadataLog {
        MetadataLog { log }
    }

    pub(super) fn start(&self) -> Offset {
        self.log.log_start()
    }

    pub(super) fn end(&self) -> Offset {
        self.log.end()
    }

    /// End of what is durable.
    pub(super) fn recovery_point(&self) -> Offset {
        self.log.recovery_point()
    }

    /// That the log ends below `promised`.
    pub(super) fn ends_early(&self, promised: Offset) -> LogError {
        self.log.ends_early(promised)
    }

    pub(super) fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        self.log.epochs().entries().to_vec()
    }

    /// Appends records of the metadata log at `base_offset`.
    pub(super) fn append_data(
        &mut self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        now: Timestamp,
        values: &[Vec<u8>],
    ) -> Result<(), LogError> {
        let mut batch = BatchBuilder::new(BatchKind::Data, base_offset, epoch, now);
        values.iter().for_each(|value| batch.push(None, Some(value)));
        self.append_own(base_offset, epoch, now, batch.build())
    }

    /// Appends control records at `base_offset`.
    pub(super) fn append_control(
        &mut self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        now: Timestamp,
        records: &[ControlRecord],
    ) -> Result<(), LogError> {
        let batch = control_batch(base_offset, epoch, now, records);
        self.append_own(base_offset, epoch, now, batch)
    }

    fn append_own(
        &mut self,
        base_offset: Offset,
        epoch: LeaderEpoch,
        now: Timestamp,
        batch: Vec<u8>,
    ) -> Result<(), LogError> {
        assert_eq!(base_offset, self.log.end(), "the core and the log agree on the end");
        let bytes = Bytes::from(batch);
        let header = BatchHeader::read(&bytes).expect("just built");
        self.append(Origin::Quorum, &IncomingBatch { header, bytes }, epoch, now)
    }

    /// Appends whole batches of the leader as they are. After `DiskFull` it can be called again
    /// with the same: those that are there are left out.
    pub(super) fn append_fetched(&mut self, bytes: &Bytes, now: Timestamp) -> Result<(), LogError> {
        let mut position = 0;
        while position < bytes.len() {
            let header = BatchHeader::read(&bytes[position..]).expect("checked when it arrived");
            let batch = bytes.slice(position..position + header.size());
            position += header.size();
            if header.base_offset < self.log.end() {
                continue;
            }
            let incoming = IncomingBatch { header, bytes: batch };
            self.append(Origin::Leader, &incoming, header.leader_epoch, now)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        origin: Origin,
        batch: &IncomingBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<(), LogError> {
        let plan = self.log.plan_append(&batch.header, origin, now).map_err(LogError::Rejected)?;
        debug_assert!(!matches!(plan, AppendPlan::Duplicate(_)), "no producers here");
        self.log.append(plan, batch, epoch, now).map(|_| ())
    }

    pub(super) fn truncate_to(&mut self, end: Offset) -> Result<(), LogError> {
        self.log.truncate_to(end)
    }

    /// Lets the log begin at the end of a durable snapshot; the job is to be run beside.
    pub(super) fn trim(&mut self, start: Offset) -> TrimJob {
        self.log.trim(start)
    }

    /// Begins anew, empty, at the end of a durable snapshot.
    pub(super) fn restart_at(&mut self, start: Offset, now: Timestamp) -> Result<(), LogError> {
        self.log.restart_at(start, now)
    }

    /// Bytes in all segments.
    pub(super) fn size(&self) -> u64 {
        self.log.size()
    }

    pub(super) fn dir(&self) -> &Path {
        self.log.dir()
    }

    pub(super) fn start_flush(&mut self) -> Result<Option<FlushJob>, LogError> {
        self.log.start_flush()
    }

    pub(super) fn finish_flush(&mut self, end: Offset) {
        self.log.finish_flush(end);
    }

    /// Closes the log and makes it durable.
    pub(super) fn close(&mut self) -> Result<(), LogError> {
        self.log.close()?;
        let job = self.log.start_final_flush()?;
        let path = self.log.dir().to_owned();
        job.run().map_err(|source| LogError::Io { path, source })
    }

    /// The bytes of whole and cut batches from `from` on, below `to`: at most `bytes_max`, and at
    /// least one batch.
    pub(super) fn read(
        &mut self,
        from: Offset,
        to: Offset,
        bytes_max: u64,
    ) -> Result<Bytes, LogError> {
        let limit = ReadLimit { end: to, bytes_max, at_least_one: true };
        match self.log.read(from, limit)? {
            None => Ok(Bytes::new()),
            Some(extent) => read_extent(&extent, self.log.dir()),
        }
    }

    /// The batches from `from` on, below `to`, as many as fit a piece; never none if there are
    /// any.
    pub(super) fn read_batches(
        &mut self,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<CommittedBatch>, LogError> {
        let bytes = self.read(from, to, READ_BYTES)?;
        let mut batches = Vec::new();
        let mut position = 0;
        while let Ok(header) = BatchHeader::read(&bytes[position..]) {
            let end = position + header.size();
            if end > bytes.len() {
                break;
            }
            if header.base_offset >= from {
                batches.push(CommittedBatch::new(header, bytes.slice(position..end)));
            }
            position = end;
        }
        Ok(batches)
    }
}

fn read_extent(extent: &Extent, dir: &std::path::Path) -> Result<Bytes, LogError> {
    let len = usize::try_from(extent.len).expect("reads are bounded");
    let mut bytes = vec![0; len];
    let read = extent.file.read_exact_at(&mut bytes, extent.position);
    read.map_err(|source| LogError::Io { path: dir.to_owned(), source })?;
    Ok(bytes.into())
}
