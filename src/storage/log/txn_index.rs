//! The aborted transactions whose markers are in a segment (`TransactionIndex`, `AbortedTxn`).
//!
//! ```text
//! .txnindex   version: i16 = 0 | producer i64 | first offset i64 | offset of the marker i64
//!             | last stable offset behind it i64
//! ```
//! Markers, and the last stable offsets behind them, rise from entry to entry. The file exists only
//! where something was aborted. Entries go to it at once, not in groups like those of the other
//! indexes, so that a process that dies leaves all of them; after a power cut recovery finds them
//! again above the recovery point. Only on a full disk they stay in memory for a while.

use std::io;
use std::path::{Path, PathBuf};

use ottla_protocol::{Decoded, Reader, Writer};
use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, ProducerId};

use super::entry_file::{EntryFile, FileEnd};
use crate::producer_state::EndedTransaction;

const ENTRY_LEN: usize = 34;
const VERSION: i16 = 0;

pub(super) struct TxnIndex {
    entries: EntryFile<ENTRY_LEN>,
    /// Whether an earlier process left a file, be it one without a whole entry.
    was_there: bool,
}

impl TxnIndex {
    /// An index that counts nothing of its file yet.
    pub(super) fn new(disk: &Disk, path: PathBuf) -> TxnIndex {
        TxnIndex { entries: EntryFile::new(disk, path, 0), was_there: false }
    }

    /// Opens what exists; without a file nothing was aborted. `None` when it is not sane: entries
    /// that are not whole, do not rise, or are of transactions that end below `base`.
    pub(super) fn open(
        disk: &Disk,
        path: PathBuf,
        base: Offset,
        end: FileEnd,
    ) -> io::Result<Option<TxnIndex>> {
        if !disk.exists(&path)? {
            return Ok(Some(TxnIndex::new(disk, path)));
        }
        let Some(entries) = EntryFile::open(disk, path, end)? else { return Ok(None) };
        let mut index = TxnIndex { entries, was_there: true };
        let mut floor = base;
        for at in 0..index.entries.len() {
            match decode(&index.entries.get(at)?) {
                Ok(entry) if entry.last_offset >= floor => floor = entry.last_offset.plus(1),
                _ => return Ok(None),
            }
        }
        Ok(Some(index))
    }

    pub(super) fn moved_to(&mut self, dir: &Path) {
        self.entries.moved_to(dir);
    }

    /// Adds an aborted transaction.
    pub(super) fn push(&mut self, aborted: &EndedTransaction) -> io::Result<()> {
        self.entries.push_through(encode(aborted))
    }

    /// Collects into `found` what a reader of `from..end` must leave out. Tells whether that is
    /// all: else the next segment's index may hold more.
    pub(super) fn collect(
        &mut self,
        from: Offset,
        end: Offset,
        found: &mut Vec<EndedTransaction>,
    ) -> io::Result<bool> {
        let ends_before = |entry: &[u8; ENTRY_LEN]| marker_of(entry) < from;
        for at in self.entries.partition_point(ends_before)?..self.entries.len() {
            let aborted = decode(&self.entries.get(at)?).map_err(invalid)?;
            if aborted.first_offset < end {
                found.push(aborted);
            }
            if aborted.last_stable_offset >= end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All entries, for checks.
    pub(super) fn all(&mut self) -> io::Result<Vec<EndedTransaction>> {
        (0..self.entries.len()).map(|at| decode(&self.entries.get(at)?).map_err(invalid)).collect()
    }

    /// Forgets transactions that end at or behind `end`.
    pub(super) fn truncate_to(&mut self, end: Offset) -> io::Result<()> {
        if self.entries.len() == 0 && !self.was_there {
            return Ok(());
        }
        let count = self.entries.partition_point(|entry| marker_of(entry) < end)?;
        if count == 0 { self.clear() } else { self.entries.truncate(count) }
    }

    /// Forgets everything, and removes the file.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.entries.remove()
    }

    pub(super) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        self.entries.rename(path)
    }

    /// Writes everything; there is still no file where there is nothing.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        if self.entries.len() == 0 { Ok(()) } else { self.entries.seal() }
    }

    pub(super) fn sealed_file(&mut self) -> io::Result<Option<(PathBuf, SyncPoint)>> {
        if self.entries.len() == 0 {
            return Ok(None);
        }
        Ok(Some((self.entries.existing()?, SyncPoint::SegmentIndexes)))
    }
}

fn encode(aborted: &EndedTransaction) -> [u8; ENTRY_LEN] {
    let mut writer = Writer::with_capacity(ENTRY_LEN);
    writer.i16(VERSION);
    writer.i64(aborted.producer_id.0);
    writer.i64(aborted.first_offset.0);
    writer.i64(aborted.last_offset.0);
    writer.i64(aborted.last_stable_offset.0);
    writer.into_bytes().try_into().expect("its fields have this length")
}

fn decode(entry: &[u8; ENTRY_LEN]) -> Decoded<EndedTransaction> {
    let mut reader = Reader::new(entry);
    if reader.i16()? != VERSION {
        return Err(ottla_protocol::DecodeError::UnsupportedVersion);
    }
    Ok(EndedTransaction {
        producer_id: ProducerId(reader.i64()?),
        aborted: true,
        first_offset: Offset(reader.i64()?),
        last_offset: Offset(reader.i64()?),
        last_stable_offset: Offset(reader.i64()?),
    })
}

fn marker_of(entry: &[u8; ENTRY_LEN]) -> Offset {
    Offset(i64::from_be_bytes(entry[18..26].try_into().expect("eight bytes")))
}

fn invalid(error: ottla_protocol::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
