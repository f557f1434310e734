//! Which snapshots there are, which of them a start relies on, and which may go.
//!
//! ```text
//!      S1        S2              S3 (newest)
//!      |    log: |=======|=======|=======|==> end
//!      gone      start: S1 went, and with it the segments wholly below S2
//! ```
//! The log begins at the oldest snapshot or before it; where it begins above 0, a snapshot at its
//! start or behind stands for what is missing. The oldest snapshot goes when log and snapshots are
//! too large together, or when it is too old, and only if there is a newer one (`maybeClean` of
//! Kafka's metadata log). A segment may begin in front of the snapshot that the log begins at; a
//! start that finds it so has a longer log, as with Kafka.
//!
//! A start checks the newest snapshot whole. One that is not sound is passed over when the log
//! reaches back to an older one, or to 0; Kafka fails there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_protocol::control::ControlRecord;
use ottla_runtime::{Disk, OpenMode};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::restore::QuorumError;
use crate::core::{OffsetAndEpoch, SnapshotRange};
use crate::snapshot::{FileState, SnapshotBatch, SnapshotError, SnapshotReader};
use crate::snapshot::{file_name, parse_file_name};

/// A snapshot above this is none: Kafka's clusters of a million partitions stay below.
pub(super) const SNAPSHOT_MAX: u64 = 4 << 30;
/// Bytes in which the first batch of a snapshot ends.
const HEAD_MAX: u64 = 64 << 10;

/// What is kept of snapshots and of the log below the newest one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SnapshotRetention {
    /// `metadata.max.retention.bytes`: of log and snapshots together; `None` is all.
    pub bytes: Option<u64>,
    /// `metadata.max.retention.ms`: age of a snapshot's last record; `None` is for ever.
    pub age: Option<Duration>,
}

/// What must be known of a snapshot without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SnapshotInfo {
    pub(super) bytes: u64,
    /// Time of the last record that it stands for.
    pub(super) timestamp: Timestamp,
}

/// The snapshots in the directory, by age.
#[derive(Default)]
pub(super) struct Snapshots {
    all: BTreeMap<OffsetAndEpoch, SnapshotInfo>,
}

impl Snapshots {
    /// Notes a snapshot that is durable.
    pub(super) fn insert(&mut self, id: OffsetAndEpoch, info: SnapshotInfo) {
        self.all.insert(id, info);
    }

    pub(super) fn newest(&self) -> Option<OffsetAndEpoch> {
        self.all.last_key_value().map(|(id, _)| *id)
    }

    /// Whether one could go.
    pub(super) fn has_two(&self) -> bool {
        self.all.len() > 1
    }

    /// Its size in bytes; `None` for one that is not there.
    pub(super) fn size(&self, id: OffsetAndEpoch) -> Option<u64> {
        self.all.get(&id).map(|info| info.bytes)
    }

    /// What the core is told; `None` without any snapshot.
    pub(super) fn range(&self, log_start: Offset) -> Option<SnapshotRange> {
        let (earliest, _) = self.all.first_key_value()?;
        Some(SnapshotRange { log_start, earliest: *earliest, latest: self.newest()? })
    }

    /// The snapshot that the log is to begin at next; `None` when everything is kept.
    pub(super) fn next_start(
        &self,
        log_start: Offset,
        log_bytes: u64,
        now: Timestamp,
        retention: SnapshotRetention,
    ) -> Option<OffsetAndEpoch> {
        let mut ids = self.all.iter();
        let ((_, oldest), (next, _)) = (ids.next()?, ids.next()?);
        let bytes = self.all.values().map(|info| info.bytes).fold(log_bytes, u64::saturating_add);
        let too_large = retention.bytes.is_some_and(|max| bytes > max);
        let age = now.0.saturating_sub(oldest.timestamp.0);
        let too_old = retention.age.is_some_and(|max| i128::from(age) > max.as_millis() as i128);
        (next.offset > log_start && (too_large || too_old)).then_some(*next)
    }

    /// Forgets the snapshots older than `id`; returns them.
    pub(super) fn forget_before(&mut self, id: OffsetAndEpoch) -> Vec<OffsetAndEpoch> {
        let kept = self.all.split_off(&id);
        std::mem::replace(&mut self.all, kept).into_keys().collect()
    }
}

/// What a start found.
pub(super) struct FoundSnapshots {
    pub(super) all: Snapshots,
    /// The newest sound one, with its bytes.
    pub(super) newest: Option<(OffsetAndEpoch, Vec<u8>)>,
}

/// Where the log begins and ends, as a start found it.
#[derive(Clone, Copy)]
pub(super) struct LogSpan {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) last_epoch: LeaderEpoch,
}

/// Finds the snapshots and the newest sound one. Removes what was left of unfinished ones, and
/// those that end below the log's start.
pub(super) fn find(disk: &Disk, dir: &Path, log: LogSpan) -> Result<FoundSnapshots, QuorumError> {
    let mut files = BTreeMap::new();
    let mut useless = Vec::new();
    for entry in disk.list(dir).map_err(|error| failed(dir, error))? {
        let path = dir.join(&entry.name);
        match parse_file_name(&entry.name) {
            Some((id, FileState::Complete)) if id.offset >= log.start => {
                files.insert(id, path);
            }
            Some(_) => useless.push(path),
            None => {}
        }
    }
    let newest = newest_sound(disk, &files, log)?;
    if newest.is_none() && log.start > Offset::ZERO {
        return Err(QuorumError::NoSnapshot { dir: dir.to_owned(), log_start: log.start });
    }
    for path in useless {
        disk.remove_file(&path).map_err(|error| failed(&path, error))?;
    }
    let mut all = Snapshots::default();
    for (id, path) in files {
        let is_newest = newest.as_ref().is_some_and(|(newest, _)| *newest == id);
        if is_newest || newest.as_ref().is_some_and(|(newest, _)| id < *newest) {
            all.insert(id, info(disk, &path).map_err(|error| failed(&path, error))?);
        }
    }
    Ok(FoundSnapshots { all, newest })
}

fn newest_sound(
    disk: &Disk,
    files: &BTreeMap<OffsetAndEpoch, PathBuf>,
    log: LogSpan,
) -> Result<Option<(OffsetAndEpoch, Vec<u8>)>, QuorumError> {
    for (id, path) in files.iter().rev() {
        let bytes = disk.read(path, SNAPSHOT_MAX).map_err(|error| failed(path, error))?;
        let Err(error) = check(&bytes) else { return Ok(Some((*id, bytes))) };
        let older = files.range(..*id).next_back().map_or(Offset::ZERO, |(id, _)| id.offset);
        // What the log holds from there on is what the snapshot held.
        if log.start > older || log.end < id.offset {
            return Err(QuorumError::Snapshot(path.clone(), error));
        }
        tracing::warn!(file = %path.display(), %error, from = older.0,
            "the snapshot is not sound; its records are read from the log");
    }
    Ok(None)
}

/// Offset of the newest sound snapshot, whatever the log is; 0 without one.
///
/// # Errors
/// Those of listing and reading.
pub fn newest_snapshot(disk: &Disk, dir: &Path) -> Result<Offset, QuorumError> {
    Ok(newest_snapshot_bytes(disk, dir)?.map_or(Offset::ZERO, |(offset, _)| offset))
}

/// The newest sound snapshot, whatever the log is.
///
/// # Errors
/// Those of listing and reading.
pub fn newest_snapshot_bytes(
    disk: &Disk,
    dir: &Path,
) -> Result<Option<(Offset, Vec<u8>)>, QuorumError> {
    let entries = disk.list(dir).map_err(|error| failed(dir, error))?;
    let parsed = entries.iter().filter_map(|entry| parse_file_name(&entry.name));
    let complete = parsed.filter(|(_, state)| *state == FileState::Complete);
    let mut ids: Vec<OffsetAndEpoch> = complete.map(|(id, _)| id).collect();
    ids.sort_unstable();
    for id in ids.into_iter().rev() {
        let path = path(dir, id);
        let bytes = disk.read(&path, SNAPSHOT_MAX).map_err(|error| failed(&path, error))?;
        if check(&bytes).is_ok() {
            return Ok(Some((id.offset, bytes)));
        }
    }
    Ok(None)
}

/// Whether a snapshot is ahead of the log: a crash came between its installation and the new
/// beginning of the log.
pub(super) fn is_ahead(snapshot: OffsetAndEpoch, log: LogSpan) -> bool {
    let begins_there = log.start == snapshot.offset && log.end == snapshot.offset;
    let end = OffsetAndEpoch { offset: log.end, epoch: log.last_epoch };
    snapshot > end && !begins_there
}

/// Checks a snapshot whole; returns its control records.
pub(super) fn check(bytes: &[u8]) -> Result<Vec<ControlRecord>, SnapshotError> {
    let mut control = Vec::new();
    for batch in SnapshotReader::new(bytes) {
        if let SnapshotBatch::Control(records) = batch? {
            control.extend(records);
        }
    }
    Ok(control)
}

/// Time of the last record that a snapshot stands for, by its control records.
pub(super) fn last_timestamp(control: &[ControlRecord]) -> Timestamp {
    let header = control.iter().find_map(|record| match record {
        ControlRecord::SnapshotHeader(header) => Some(header.last_contained_log_timestamp),
        _ => None,
    });
    header.unwrap_or(Timestamp::NONE)
}

fn info(disk: &Disk, path: &Path) -> io::Result<SnapshotInfo> {
    let file = disk.open(path, OpenMode::Read)?;
    let bytes = file.len()?;
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_MAX)).expect("bounded")];
    file.read_exact_at(&mut head, 0)?;
    let timestamp = match SnapshotReader::new(&head).next() {
        Some(Ok(SnapshotBatch::Control(control))) => last_timestamp(&control),
        // Nothing relies on it: it is not the newest.
        _ => Timestamp::NONE,
    };
    Ok(SnapshotInfo { bytes, timestamp })
}

/// Where a snapshot is.
pub(super) fn path(dir: &Path, id: OffsetAndEpoch) -> PathBuf {
    dir.join(file_name(id))
}

fn failed(path: &Path, source: io::Error) -> QuorumError {
    QuorumError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    fn snapshots(all: &[(i64, u64, i64)]) -> Snapshots {
        let mut snapshots = Snapshots::default();
        for (offset, bytes, time) in all {
            let info = SnapshotInfo { bytes: *bytes, timestamp: Timestamp(*time) };
            snapshots.insert(id(*offset, 1), info);
        }
        snapshots
    }

    #[test]
    fn the_oldest_goes_when_it_is_too_old_or_all_is_too_large() {
        let check = |all: &[(i64, u64, i64)], bytes: Option<u64>, age: Option<u64>, expected| {
            let retention = SnapshotRetention { bytes, age: age.map(Duration::from_millis) };
            let next = snapshots(all).next_start(Offset(0), 100, Timestamp(1_000), retention);
            assert_eq!(next.map(|id| id.offset.0), expected, "{all:?} {bytes:?} {age:?}");
        };
        let three = [(0, 5, 100), (20, 10, 500), (40, 15, 900)];
        check(&three, None, None, None);
        check(&three, Some(130), None, None);
        check(&three, Some(129), None, Some(20));
        check(&three, None, Some(900), None);
        check(&three, None, Some(899), Some(20));
        // The newest stays, whatever it takes.
        check(&three[2..], Some(0), Some(0), None);
        check(&[], Some(0), Some(0), None);
    }

    #[test]
    fn the_log_never_begins_earlier_than_it_does() {
        let retention = SnapshotRetention { bytes: Some(0), age: None };
        let all = snapshots(&[(10, 5, 1), (20, 5, 2)]);
        let next = |start| all.next_start(Offset(start), 0, Timestamp(5), retention);
        assert_eq!(next(19), Some(id(20, 1)));
        assert_eq!(next(20), None);
    }

    #[test]
    fn the_older_ones_are_forgotten() {
        let mut all = snapshots(&[(10, 5, 1), (20, 5, 2), (30, 5, 3)]);
        assert_eq!(all.forget_before(id(30, 1)), [id(10, 1), id(20, 1)]);
        let range = all.range(Offset(30)).expect("one is left");
        assert_eq!((range.earliest, range.latest), (id(30, 1), id(30, 1)));
    }

    #[test]
    fn a_snapshot_can_be_ahead_of_the_log() {
        let check = |snapshot, start: i64, end: i64, epoch: i32, expected: bool| {
            let (start, end) = (Offset(start), Offset(end));
            let log = LogSpan { start, end, last_epoch: LeaderEpoch(epoch) };
            assert_eq!(is_ahead(snapshot, log), expected, "{snapshot:?} {start} {end} {epoch}");
        };
        check(id(50, 3), 0, 60, 3, false);
        check(id(50, 3), 0, 50, 3, false);
        check(id(50, 3), 0, 49, 3, true);
        // The log went on in an epoch that nobody committed anything in.
        check(id(50, 3), 0, 60, 2, true);
        check(id(50, 3), 0, 40, 4, false);
        // Nothing was appended behind it yet.
        check(id(50, 3), 50, 50, 0, false);
        check(id(0, 0), 0, 0, 0, false);
    }
}
