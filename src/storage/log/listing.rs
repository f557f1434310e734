//! What a log's directory holds, by names alone: it is listed once when the log is opened, and a
//! thousand logs are opened at a start.

use std::io;
use std::path::Path;

use ottla_runtime::Disk;
use ottla_types::Offset;

use crate::names::SegmentFile;

/// The names of a log's files. Others are passed over.
#[derive(Default)]
pub(super) struct Listing {
    /// Base offsets of the segments, ascending.
    pub(super) bases: Vec<Offset>,
    /// Offsets of the snapshots of producers, ascending.
    pub(super) snapshots: Vec<Offset>,
    /// Names of indexes whose segment is not there.
    pub(super) orphans: Vec<String>,
    /// Names of files that are only waiting for their deletion.
    pub(super) deleted: Vec<String>,
    /// Names of files that a compaction left half way.
    pub(super) staged: Vec<String>,
}

impl Listing {
    pub(super) fn read(disk: &Disk, dir: &Path) -> io::Result<Listing> {
        let mut found = Listing::default();
        let mut indexes = Vec::new();
        for entry in disk.list(dir)? {
            match SegmentFile::parse(&entry.name) {
                Some((SegmentFile::Log, base)) => found.bases.push(base),
                Some((SegmentFile::Snapshot, offset)) => found.snapshots.push(offset),
                Some((_, base)) => indexes.push((base, entry.name)),
                None if SegmentFile::is_deleted(&entry.name) => found.deleted.push(entry.name),
                None if SegmentFile::parse_staged(&entry.name).is_some() => {
                    found.staged.push(entry.name);
                }
                None => {}
            }
        }
        found.bases.sort_unstable();
        found.snapshots.sort_unstable();
        indexes.retain(|(base, _)| found.bases.binary_search(base).is_err());
        found.orphans = indexes.into_iter().map(|(_, name)| name).collect();
        Ok(found)
    }
}
