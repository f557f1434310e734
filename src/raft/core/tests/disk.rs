//! A disk that loses what was not flushed, or part of it.

use ottla_protocol::control::ControlRecord;
use ottla_types::{LeaderEpoch, Offset};

use super::super::{ElectionState, LogMark, LogShape, OffsetAndEpoch, SnapshotRange};

/// A batch; the same everywhere, so a copy of it is known by its number.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Batch {
    /// Which append it was, of all in the cluster.
    pub(super) number: u64,
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) epoch: LeaderEpoch,
    pub(super) control: Vec<(Offset, ControlRecord)>,
}

/// A log with its snapshots.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Log {
    pub(super) start: Offset,
    pub(super) batches: Vec<Batch>,
    pub(super) snapshots: Option<SnapshotRange>,
}

impl Log {
    pub(super) fn end(&self) -> Offset {
        self.batches.last().map_or(self.start, |batch| batch.end)
    }

    /// Batches from `offset` on.
    pub(super) fn from(&self, offset: Offset) -> impl Iterator<Item = &Batch> {
        self.batches.iter().filter(move |batch| batch.base >= offset)
    }

    /// The end of the batch that ends at or below `offset`, if it is still there.
    pub(super) fn end_at(&self, offset: Offset) -> Option<OffsetAndEpoch> {
        let batch = self.batches.iter().rev().find(|batch| batch.end <= offset)?;
        Some(OffsetAndEpoch { offset: batch.end, epoch: batch.epoch })
    }

    pub(super) fn shape(&self) -> LogShape {
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in &self.batches {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < batch.epoch) {
                epochs.push((batch.epoch, batch.base));
            }
        }
        let shape = LogShape::new(self.start, self.end(), epochs);
        match self.snapshots {
            Some(snapshots) => shape.with_snapshots(snapshots),
            None => shape,
        }
    }

    fn perform(&mut self, write: &Write) {
        match write {
            Write::Append(batch) => {
                assert_eq!(batch.base, self.end(), "appends continue the log");
                self.batches.push(batch.clone());
            }
            Write::TruncateTo(offset) => self.batches.retain(|batch| batch.end <= *offset),
        }
    }
}

#[derive(Clone, Debug)]
enum Write {
    Append(Batch),
    TruncateTo(Offset),
}

#[derive(Clone, Default, Debug)]
pub(super) struct Disk {
    pub(super) election: Option<ElectionState>,
    /// The log as a crash leaves it at least.
    durable: Log,
    /// What was written since, in order.
    unflushed: Vec<Write>,
    /// The log as it reads.
    pub(super) log: Log,
    /// Writes ever performed.
    written: usize,
}

/// A flush under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flush {
    pub(super) mark: LogMark,
    /// It covers the writes before this one.
    written: usize,
}

impl Disk {
    pub(super) fn append(&mut self, batch: Batch) {
        self.write(Write::Append(batch));
    }

    pub(super) fn truncate_to(&mut self, offset: Offset) {
        self.write(Write::TruncateTo(offset));
    }

    fn write(&mut self, write: Write) {
        self.log.perform(&write);
        self.unflushed.push(write);
        self.written += 1;
    }

    pub(super) fn begin_flush(&self, mark: LogMark) -> Flush {
        Flush { mark, written: self.written }
    }

    pub(super) fn end_flush(&mut self, flush: Flush) {
        let flushed = self.written - self.unflushed.len();
        for write in self.unflushed.drain(..flush.written.saturating_sub(flushed)) {
            self.durable.perform(&write);
        }
    }

    /// Trims the log; that is durable at once.
    pub(super) fn set_snapshots(&mut self, range: SnapshotRange) {
        for log in [&mut self.durable, &mut self.log] {
            assert!(log.end() >= range.log_start, "only what is on disk is trimmed");
            log.start = range.log_start;
            log.batches.retain(|batch| batch.base >= range.log_start);
            log.snapshots = Some(range);
        }
    }

    /// Replaces the log by a snapshot; that is durable at once.
    pub(super) fn install(&mut self, id: OffsetAndEpoch) {
        let range = SnapshotRange { log_start: id.offset, earliest: id, latest: id };
        self.log = Log { start: id.offset, batches: Vec::new(), snapshots: Some(range) };
        self.durable = self.log.clone();
        self.unflushed.clear();
    }

    /// What a crash leaves: of the writes that were not flushed, the first `survivors`.
    pub(super) fn crash(&mut self, survivors: usize) {
        let survivors = survivors.min(self.unflushed.len());
        for write in self.unflushed.drain(..).take(survivors) {
            self.durable.perform(&write);
        }
        self.log = self.durable.clone();
    }

    /// End of what a crash leaves at least.
    pub(super) fn durable_end(&self) -> Offset {
        self.durable.end()
    }
}
