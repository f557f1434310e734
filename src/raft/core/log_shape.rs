//! The shape of the log: where it begins and ends, what is on disk, where each epoch begins.
//!
//! The records themselves are the driver's. Epochs are kept as Kafka's `leader-epoch-checkpoint`
//! keeps them: each epoch that has records, with the offset of its first.
//!
//! ```text
//!      snapshot.offset = start          flushed      end
//!             |  epoch 3  | epoch 5        |          |
//! ............|-----------|----------------|----------|
//! ```

use ottla_types::{LeaderEpoch, Offset};

use super::effect::SnapshotRange;
use super::messages::OffsetAndEpoch;

/// An end of the log, to be told from an equal one after a truncation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LogMark {
    /// The end.
    pub end_offset: Offset,
    /// How often the log had been truncated.
    pub truncations: u64,
}

/// What a leader finds where a follower's log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validity {
    /// The follower's log is a prefix of the leader's.
    Valid,
    /// The leader's last epoch not above the follower's ends here.
    Diverging(OffsetAndEpoch),
    /// That part of the log is gone; the newest snapshot has it.
    Snapshot(OffsetAndEpoch),
}

/// The shape of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogShape {
    start: Offset,
    end: Offset,
    flushed: Offset,
    /// Ascending in both.
    epochs: Vec<(LeaderEpoch, Offset)>,
    /// Oldest and newest snapshot.
    snapshots: Option<(OffsetAndEpoch, OffsetAndEpoch)>,
    /// Grows with every truncation, so that a flush that was under way then does not count.
    truncations: u64,
}

impl LogShape {
    /// A log that is on disk whole, from `start` to `end`, with the first offset of each epoch.
    ///
    /// # Panics
    /// When the epochs are not ascending, or lie outside of the log.
    #[must_use]
    pub fn new(start: Offset, end: Offset, epochs: Vec<(LeaderEpoch, Offset)>) -> LogShape {
        let log = LogShape { start, end, flushed: end, epochs, snapshots: None, truncations: 0 };
        log.check();
        log
    }

    /// The same with snapshots.
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: SnapshotRange) -> LogShape {
        self.set_snapshots(snapshots);
        self
    }

    /// First offset of the log.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Offset behind the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Offset behind the last record on disk.
    #[must_use]
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    /// First offset of each epoch.
    #[must_use]
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        &self.epochs
    }

    /// The end, with the epoch of the last record (or of the snapshot that stands for it).
    #[must_use]
    pub fn end_and_epoch(&self) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: self.end, epoch: self.last_epoch() }
    }

    fn last_epoch(&self) -> LeaderEpoch {
        match (self.epochs.last(), self.snapshots) {
            (Some((epoch, _)), _) => *epoch,
            (None, Some((_, latest))) => latest.epoch,
            (None, None) => LeaderEpoch::default(),
        }
    }

    pub(super) fn mark(&self) -> LogMark {
        LogMark { end_offset: self.end, truncations: self.truncations }
    }

    /// Adds records of `epoch` up to `end`.
    pub(super) fn append(&mut self, epoch: LeaderEpoch, end: Offset) {
        assert!(end > self.end, "an append adds records");
        assert!(epoch >= self.last_epoch(), "epochs never fall along the log");
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.push((epoch, self.end));
        }
        self.end = end;
    }

    /// Notes what is on disk; a mark from before a truncation says nothing any more.
    pub(super) fn flushed_to(&mut self, mark: LogMark) {
        if mark.truncations == self.truncations {
            assert!(mark.end_offset <= self.end, "only what was appended can be flushed");
            self.flushed = self.flushed.max(mark.end_offset);
        }
    }

    /// Removes everything from `offset` on.
    pub(super) fn truncate_to(&mut self, offset: Offset) {
        assert!((self.start..=self.end).contains(&offset), "the offset lies in the log");
        self.epochs.retain(|(_, start)| *start < offset);
        self.end = offset;
        self.flushed = self.flushed.min(offset);
        self.truncations += 1;
    }

    pub(super) fn set_snapshots(&mut self, range: SnapshotRange) {
        assert!((self.start..=self.end).contains(&range.log_start), "the log is trimmed in front");
        self.start = range.log_start;
        self.snapshots = Some((range.earliest, range.latest));
        // The epoch that the new start lies in begins there now.
        let holds_start = self.epochs.iter().rposition(|(_, start)| *start <= range.log_start);
        if let Some(first) = holds_start {
            self.epochs[first].1 = range.log_start;
            self.epochs.drain(..first);
        }
        self.epochs.retain(|(_, start)| *start < self.end);
    }

    /// Begins anew, empty, at the end of a snapshot.
    pub(super) fn restart_at(&mut self, snapshot: OffsetAndEpoch) {
        self.start = snapshot.offset;
        self.end = snapshot.offset;
        self.flushed = snapshot.offset;
        self.epochs.clear();
        self.snapshots = Some((snapshot, snapshot));
        self.truncations += 1;
    }

    /// The newest snapshot; not the one of offset 0, which only names the first voters.
    fn newest_snapshot(&self) -> Option<OffsetAndEpoch> {
        let (_, latest) = self.snapshots?;
        (latest != OffsetAndEpoch::default()).then_some(latest)
    }

    /// Compares the end of a follower's log with this one (`ReplicatedLog.validateOffsetAndEpoch`).
    pub(super) fn validate(&self, follower: OffsetAndEpoch) -> Validity {
        let from_zero = follower.offset == Offset::ZERO;
        if from_zero && let Some(latest) = self.newest_snapshot() {
            return Validity::Snapshot(latest);
        }
        if from_zero && self.start == Offset::ZERO {
            return Validity::Valid;
        }
        if let Some((earliest, latest)) = self.snapshots
            && (follower.offset < self.start
                || (follower.offset == self.start && follower.epoch != earliest.epoch)
                || follower.epoch < earliest.epoch)
        {
            return Validity::Snapshot(latest);
        }
        let end = self.end_of_epoch(follower.epoch);
        if end.epoch != follower.epoch || end.offset < follower.offset {
            Validity::Diverging(end)
        } else {
            Validity::Valid
        }
    }

    /// Where the last epoch not above `epoch` ends (`KafkaMetadataLog.endOffsetForEpoch`).
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let Some(above) = self.epochs.iter().position(|(other, _)| *other > epoch) else {
            return self.end_and_epoch();
        };
        let offset = self.epochs[above].1;
        match (above.checked_sub(1), self.snapshots) {
            (Some(below), _) => OffsetAndEpoch { offset, epoch: self.epochs[below].0 },
            // The epoch lies before the log: what remains of it is the snapshot.
            (None, Some((earliest, _))) if earliest.offset == offset => earliest,
            (None, _) => OffsetAndEpoch { offset, epoch },
        }
    }

    /// Where to cut this log when the leader's ends at `diverging` (`truncateToEndOffset`).
    pub(super) fn truncation_point(&self, diverging: OffsetAndEpoch) -> Offset {
        let own = self.end_of_epoch(diverging.epoch);
        if diverging.epoch == LeaderEpoch::default() {
            diverging.offset.min(self.end)
        } else if own.epoch == diverging.epoch {
            diverging.offset.min(own.offset)
        } else {
            own.offset
        }
    }

    pub(super) fn check(&self) {
        assert!(self.start <= self.end && self.flushed <= self.end, "start and flushed before end");
        let ascending =
            self.epochs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        assert!(ascending, "epochs and their offsets ascend");
        let inside = self.epochs.iter().all(|(_, at)| (self.start..self.end).contains(at));
        assert!(inside, "every epoch has a record");
    }
}
