//! Taking a segment up with the indexes that an earlier process left.

use std::path::Path;

use ottla_types::Offset;

use super::super::index::OffsetIndex;
use super::super::scan::Scanner;
use super::{Segment, index_path};
use crate::error::LogError;

impl Segment {
    /// Whether the last entries name batches that are there: an index of another segment may be
    /// sane and wrong.
    pub(super) fn indexes_fit(&mut self) -> Result<bool, LogError> {
        let fits = match self.offsets.last().map_err(|error| LogError::io(&self.path, error))? {
            None => Ok(true),
            Some((offset, position)) => self
                .scan_at(position)?
                .next_header()
                .map(|found| found.is_some_and(|(_, header)| header.holds(offset))),
        };
        let fits = match (fits, self.max_timestamp) {
            (Ok(true), Some((timestamp, offset))) => self.locate(offset).map(|found| {
                found.is_some_and(|found| {
                    found.header.holds(offset) && found.header.max_timestamp == timestamp
                })
            }),
            (fits, _) => fits,
        };
        match fits {
            Err(LogError::Corrupt { .. }) => Ok(false),
            fits => fits,
        }
    }

    /// The same with a scanner that begins there. An entry that names no batch of its offset is
    /// damaged, and passed over.
    pub(super) fn indexed_scanner(&mut self, offset: Offset) -> Result<(u64, Scanner), LogError> {
        let io_error = |path: &Path, error| LogError::io(path, error);
        let count = self.offsets.before(offset).map_err(|error| io_error(&self.path, error))?;
        for index in (0..count).rev() {
            let entry = self.offsets.entry(index).map_err(|error| io_error(&self.path, error))?;
            let mut scanner = self.scan_at(entry.1)?;
            if scanner.begins_with(entry.0)? {
                return Ok((entry.1, scanner));
            }
        }
        Ok((0, self.scan_at(0)?))
    }

    /// Last offset of the newest entry in the file of its index, if that file is sane.
    pub(in super::super) fn indexed_to(&self) -> Option<Offset> {
        let dir = self.path.parent().expect("segments are in a directory");
        OffsetIndex::promised(&self.disk, &index_path(dir, self.base), self.base)
    }

    /// Takes a segment up behind its last index entry, with that entry's batch to be noted again;
    /// returns the offset where it begins. The caller notes the batches that are found.
    pub(in super::super) fn resume(&mut self) -> Result<Offset, LogError> {
        self.load_first_timestamp()?;
        let last = self.offsets.last().map_err(|error| LogError::io(&self.path, error))?;
        let position = last.map_or(0, |(_, position)| position);
        let first = self.scan_at(position)?.next_header();
        self.size = position;
        let start = match first {
            Ok(Some((_, header))) => header.base_offset,
            // Nothing whole is there, which the check will say.
            Ok(None) | Err(LogError::Corrupt { .. }) => self.base,
            Err(error) => return Err(error),
        };
        self.aborted.truncate_to(start).map_err(|error| LogError::io(&self.path, error))?;
        Ok(start)
    }
}
