//! Snapshots as bytes: `*.checkpoint` files (KIP-630).
//!
//! ```text
//! control batch: SnapshotHeader [KRaftVersion, Voters]    offsets from 0,
//! data batches: records of the metadata log               leader epoch = the snapshot's
//! control batch: SnapshotFooter
//! ```
//! The footer is what tells a complete file from a cut one. A file is named by the end offset and
//! epoch of the log that it stands for; 0-0 is written by the formatter and holds the first voters
//! (and, from Kafka 4.4 on, the first records).
//!
//! The writer hands out finished batches, so that a snapshot need not be in memory whole; the
//! reader borrows from bytes that are there whole.

mod file;
mod read;
#[cfg(test)]
mod tests;
mod write;

use ottla_protocol::control::Voters;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::core::OffsetAndEpoch;

pub use file::SnapshotFile;
pub use read::{SnapshotBatch, SnapshotError, SnapshotReader};
pub use write::SnapshotWriter;

/// Suffix of a finished snapshot.
const SUFFIX: &str = ".checkpoint";
/// Suffix of one that is being written or fetched. Kafka puts a random number before it.
const PARTIAL_SUFFIX: &str = ".checkpoint.part";
/// Suffix of one that is about to be deleted.
const DELETED_SUFFIX: &str = ".checkpoint.deleted";
/// Digits of an offset and of an epoch in a name.
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;

/// Whether a snapshot's file is what its name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileState {
    /// A finished snapshot.
    Complete,
    /// Left from a write or a fetch that did not end: of no use.
    Partial,
    /// Left from a deletion that did not end: of no use.
    Deleted,
}

/// The name of a snapshot's file.
#[must_use]
pub fn file_name(id: OffsetAndEpoch) -> String {
    format!("{:0OFFSET_DIGITS$}-{:0EPOCH_DIGITS$}{SUFFIX}", id.offset.0, id.epoch.0)
}

/// The name of a snapshot's file while it is being written or fetched.
#[must_use]
pub fn partial_name(id: OffsetAndEpoch) -> String {
    format!("{:0OFFSET_DIGITS$}-{:0EPOCH_DIGITS$}{PARTIAL_SUFFIX}", id.offset.0, id.epoch.0)
}

/// The name of a snapshot's file that is about to be deleted.
#[must_use]
pub fn deleted_name(id: OffsetAndEpoch) -> String {
    format!("{:0OFFSET_DIGITS$}-{:0EPOCH_DIGITS$}{DELETED_SUFFIX}", id.offset.0, id.epoch.0)
}

/// Which snapshot a file is; `None` for other files.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<(OffsetAndEpoch, FileState)> {
    let suffixes = [
        (PARTIAL_SUFFIX, FileState::Partial),
        (DELETED_SUFFIX, FileState::Deleted),
        (SUFFIX, FileState::Complete),
    ];
    let (stem, state) =
        suffixes.iter().find_map(|(suffix, state)| Some((name.strip_suffix(suffix)?, *state)))?;
    let (offset, rest) = stem.split_at_checked(OFFSET_DIGITS)?;
    let (epoch, rest) = rest.strip_prefix('-')?.split_at_checked(EPOCH_DIGITS)?;
    let random = state == FileState::Partial && rest.starts_with('-');
    if !rest.is_empty() && !random {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(offset) || !digits(epoch) {
        return None;
    }
    let (offset, epoch) = (Offset(offset.parse().ok()?), LeaderEpoch(epoch.parse().ok()?));
    Some((OffsetAndEpoch { offset, epoch }, state))
}

/// What a snapshot begins with, besides its records.
#[derive(Clone, PartialEq, Debug)]
pub struct SnapshotStart {
    /// Name of the snapshot.
    pub id: OffsetAndEpoch,
    /// Time of the last record that it stands for.
    pub last_contained_log_timestamp: Timestamp,
    /// `kraft.version` and voters; `None` with `kraft.version` 0.
    pub voters: Option<(i16, Voters)>,
}

#[cfg(test)]
mod name_tests {
    use super::*;

    fn id(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    #[test]
    fn names_are_kafkas() {
        let check = |name: &str, expected: Option<(OffsetAndEpoch, FileState)>| {
            assert_eq!(parse_file_name(name), expected, "{name}");
        };
        let name = "00000000000000012345-0000000007.checkpoint";
        assert_eq!(file_name(id(12_345, 7)), name);
        check(name, Some((id(12_345, 7), FileState::Complete)));
        check(&format!("{name}.part"), Some((id(12_345, 7), FileState::Partial)));
        check(&format!("{name}.deleted"), Some((id(12_345, 7), FileState::Deleted)));
        let kafkas_part = "00000000000000012345-0000000007-8873.checkpoint.part";
        check(kafkas_part, Some((id(12_345, 7), FileState::Partial)));
        assert_eq!(file_name(id(i64::MAX, i32::MAX)), "09223372036854775807-2147483647.checkpoint");
        check("00000000000000012345-0000000007-8873.checkpoint", None);
        check("00000000000000012345.log", None);
        check("bootstrap.checkpoint", None);
        check("-0000000000000012345-0000000007.checkpoint", None);
        check("99999999999999999999-0000000007.checkpoint", None);
        check("00000000000000012345-000000000é.checkpoint", None);
    }
}
