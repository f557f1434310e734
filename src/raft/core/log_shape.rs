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

    /// Whether nothing was truncated since the mark was made.
    #[must_use]
    pub fn is_current(&self, mark: LogMark) -> bool {
        mark.truncations == self.truncations
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
        if self.is_current(mark) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    fn log(start: i64, end: i64, epochs: &[(i32, i64)]) -> LogShape {
        let epochs = epochs.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start)));
        LogShape::new(Offset(start), Offset(end), epochs.collect())
    }

    fn with_snapshots(log: LogShape, earliest: OffsetAndEpoch, latest: OffsetAndEpoch) -> LogShape {
        log.with_snapshots(SnapshotRange { log_start: earliest.offset, earliest, latest })
    }

    #[test]
    fn a_leader_finds_where_a_follower_parts() {
        // Epoch 2: 0..5, epoch 4: 5..8, epoch 7: 8..10.
        let log = log(0, 10, &[(2, 0), (4, 5), (7, 8)]);
        let check =
            |follower, expected| assert_eq!(log.validate(follower), expected, "{follower:?}");
        check(at(0, 0), Validity::Valid);
        check(at(0, 9), Validity::Valid);
        check(at(3, 2), Validity::Valid);
        check(at(5, 2), Validity::Valid);
        check(at(10, 7), Validity::Valid);
        // Longer in an epoch than this log.
        check(at(6, 2), Validity::Diverging(at(5, 2)));
        check(at(11, 7), Validity::Diverging(at(10, 7)));
        // In an epoch that this log has nothing of: the last before it.
        check(at(6, 3), Validity::Diverging(at(5, 2)));
        check(at(9, 5), Validity::Diverging(at(8, 4)));
        check(at(12, 9), Validity::Diverging(at(10, 7)));
        // In one before all of this log: it began where that ended.
        check(at(3, 1), Validity::Diverging(at(0, 1)));
    }

    #[test]
    fn a_follower_cuts_where_both_logs_agree() {
        // Epoch 2: 0..5, epoch 5: 5..9.
        let log = log(0, 9, &[(2, 0), (5, 5)]);
        let check = |leader, expected| {
            assert_eq!(log.truncation_point(leader), Offset(expected), "{leader:?}");
        };
        check(at(7, 5), 7);
        check(at(12, 5), 9);
        check(at(3, 2), 3);
        check(at(8, 2), 5);
        // The leader's last epoch below ours is one that we have nothing of.
        check(at(8, 4), 5);
        check(at(4, 0), 4);
        check(at(0, 1), 0);
    }

    #[test]
    fn what_a_snapshot_stands_for_is_not_in_the_log() {
        let shape = log(10, 20, &[(3, 10), (4, 15)]);
        let log = with_snapshots(shape, at(10, 3), at(18, 4));
        let check =
            |follower, expected| assert_eq!(log.validate(follower), expected, "{follower:?}");
        // An empty follower gets the newest, even where records would do.
        check(at(0, 0), Validity::Snapshot(at(18, 4)));
        check(at(9, 3), Validity::Snapshot(at(18, 4)));
        check(at(12, 2), Validity::Snapshot(at(18, 4)));
        check(at(10, 3), Validity::Valid);
        check(at(10, 4), Validity::Snapshot(at(18, 4)));
        check(at(15, 3), Validity::Valid);
        check(at(16, 3), Validity::Diverging(at(15, 3)));
    }

    #[test]
    fn the_first_snapshot_changes_nothing() {
        let log = with_snapshots(log(0, 4, &[(1, 0)]), at(0, 0), at(0, 0));
        assert_eq!(log.validate(at(0, 0)), Validity::Valid);
        assert_eq!(log.validate(at(4, 1)), Validity::Valid);
    }

    #[test]
    fn trimming_keeps_the_epoch_that_the_start_lies_in() {
        let check = |start: i64, epoch: i32, epochs: &[(i32, i64)]| {
            let whole = log(0, 10, &[(2, 0), (4, 5), (7, 8)]);
            let trimmed = with_snapshots(whole, at(start, epoch), at(start, epoch));
            let found: Vec<_> = trimmed.epochs().iter().map(|(e, at)| (e.0, at.0)).collect();
            assert_eq!(found, epochs, "trimmed to {start}");
            trimmed.check();
            trimmed
        };
        check(3, 2, &[(2, 3), (4, 5), (7, 8)]);
        check(5, 2, &[(4, 5), (7, 8)]);
        check(9, 7, &[(7, 9)]);
        let empty = check(10, 7, &[]);
        assert_eq!(empty.end_and_epoch(), at(10, 7));
    }

    #[test]
    fn a_flush_from_before_a_truncation_says_nothing() {
        let mut log = log(0, 4, &[(1, 0)]);
        log.append(LeaderEpoch(1), Offset(9));
        let old = log.mark();
        log.truncate_to(Offset(6));
        log.append(LeaderEpoch(2), Offset(9));
        log.flushed_to(old);
        assert_eq!(log.flushed(), Offset(4));
        log.flushed_to(log.mark());
        assert_eq!(log.flushed(), Offset(9));
    }
}
