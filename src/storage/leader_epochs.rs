//! Where each leader's epoch begins in a log (`leader-epoch-checkpoint`, KIP-101).
//!
//! Epochs and offsets rise from entry to entry. The end of an epoch is the start of the next one,
//! or the end of the log. Followers find with it where they diverge from a leader.

use std::io;
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{LeaderEpoch, Offset};

use crate::checkpoint::Checkpoint;

const NAME: &str = "leader-epoch-checkpoint";

/// The epochs of a log, ascending.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// Reads the file in a partition's directory; nothing when it does not exist.
    ///
    /// # Errors
    /// Those of reading; `InvalidData` when it is malformed, as Kafka refuses to start on it.
    pub fn read(disk: &Disk, dir: &Path) -> io::Result<LeaderEpochs> {
        let lines = Checkpoint::read(disk, &dir.join(NAME))?.unwrap_or_default().lines;
        let mut epochs = LeaderEpochs::default();
        for line in lines {
            let (epoch, start) = parse(&line).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "malformed leader-epoch-checkpoint")
            })?;
            epochs.assign(epoch, start);
        }
        Ok(epochs)
    }

    /// Where the file is in a partition's directory.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Replaces the file; its content is durable when `point` is given. Its name becomes so with
    /// the next flush, before the recovery point moves: what lies above that, recovery rebuilds.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, disk: &Disk, dir: &Path, point: Option<SyncPoint>) -> io::Result<()> {
        let lines = self.entries.iter().map(|(epoch, start)| format!("{epoch} {start}")).collect();
        let text = Checkpoint { lines }.to_text();
        disk.write_atomically(&dir.join(NAME), text.as_bytes(), point, None)
    }

    /// Notes that `epoch` begins at `start`; tells whether that is new. An entry that would begin
    /// at or behind `start` goes: its records are gone.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        self.entries.retain(|(_, other)| *other < start);
        self.entries.push((epoch, start));
        true
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epochs with their first offsets, ascending.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// Epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The largest epoch at most `asked`, and its end (`OffsetForLeaderEpoch`). For an epoch below
    /// all that are known, the start of the first; `None` above all, or when none is known.
    #[must_use]
    pub fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if self.latest()? < asked {
            return None;
        }
        let above = self.entries.partition_point(|(epoch, _)| *epoch <= asked);
        let end = self.entries.get(above).map_or(log_end, |(_, start)| *start);
        let epoch = above.checked_sub(1).map_or(asked, |index| self.entries[index].0);
        Some((epoch, end))
    }

    /// Forgets epochs that begin at or behind the new end of the log; tells whether any did.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end);
        self.entries.len() != before
    }

    /// Forgets epochs that end at or below the new start of the log; the one that the start lies in
    /// begins there now. Tells whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let ended = self.entries.partition_point(|(_, begin)| *begin <= start);
        let gone = self.entries.drain(..ended.saturating_sub(1)).count();
        match self.entries.first_mut() {
            Some((_, begin)) if *begin < start => {
                *begin = start;
                true
            }
            _ => gone > 0,
        }
    }
}

fn parse(line: &str) -> Option<(LeaderEpoch, Offset)> {
    let (epoch, start) = line.split_once(' ')?;
    Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            assert!(epochs.assign(LeaderEpoch(*epoch), Offset(*start)));
        }
        epochs
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs(&[(1, 0), (3, 10), (4, 20)]);
        let end_of = |epoch| epochs.end_of(LeaderEpoch(epoch), Offset(25)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end_of(0), Some((0, 0)));
        assert_eq!(end_of(1), Some((1, 10)));
        assert_eq!(end_of(2), Some((1, 10)));
        assert_eq!(end_of(3), Some((3, 20)));
        assert_eq!(end_of(4), Some((4, 25)));
        assert_eq!(end_of(5), None);
        assert_eq!(epochs.epoch_at(Offset(15)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn a_new_start_cuts_the_epoch_it_lies_in() {
        let check = |start: i64, expected: &[(i32, i64)]| {
            let mut cut = epochs(&[(1, 5), (3, 10), (4, 20)]);
            cut.truncate_from_start(Offset(start));
            assert_eq!(cut, epochs(expected), "cut at {start}");
        };
        check(3, &[(1, 5), (3, 10), (4, 20)]);
        check(7, &[(1, 7), (3, 10), (4, 20)]);
        check(10, &[(3, 10), (4, 20)]);
        check(15, &[(3, 15), (4, 20)]);
        check(30, &[(4, 30)]);
    }

    #[test]
    fn only_newer_epochs_are_noted_and_truncation_forgets() {
        let mut epochs = epochs(&[(1, 0), (3, 10)]);
        assert!(!epochs.assign(LeaderEpoch(3), Offset(12)));
        assert!(!epochs.assign(LeaderEpoch(2), Offset(12)));
        assert!(epochs.assign(LeaderEpoch(5), Offset(10)));
        assert_eq!(epochs.entries(), [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(5), Offset(10))]);
        assert!(epochs.truncate_from_end(Offset(10)));
        assert!(!epochs.truncate_from_end(Offset(10)));
        assert_eq!(epochs.latest(), Some(LeaderEpoch(1)));
    }
}
