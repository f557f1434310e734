//! Finding batches in a segment: by offset, by time, by position; and whether its indexes say what
//! its batches say.
//!
//! An index gives a place at or in front of what is sought; headers are read from there on.

use ottla_protocol::batch::BatchHeader;
use ottla_types::{Offset, Timestamp};

use super::super::scan::{Scanner, Sweep};
use super::super::{BatchLocation, Extent};
use super::Segment;
use crate::error::LogError;

impl Segment {
    /// Last offset of the first indexed batch at or behind `position`.
    pub(in super::super) fn indexed_bound(
        &mut self,
        position: u64,
    ) -> Result<Option<Offset>, LogError> {
        self.offsets.offset_from(position).map_err(|error| LogError::io(&self.path, error))
    }

    /// A scanner of the headers from the batch that holds `offset`, or one before it.
    pub(in super::super) fn scan_from(&mut self, offset: Offset) -> Result<Scanner, LogError> {
        Ok(self.indexed_scanner(offset)?.1)
    }

    /// Position of the last indexed batch at or in front of the one that holds `offset`.
    pub(in super::super) fn indexed_position(&mut self, offset: Offset) -> Result<u64, LogError> {
        Ok(self.indexed_scanner(offset)?.0)
    }

    /// Last offset of the last indexed batch at or in front of `position`.
    pub(in super::super) fn indexed_offset(&mut self, position: u64) -> Result<Offset, LogError> {
        self.offsets.offset_at(position).map_err(|error| LogError::io(&self.path, error))
    }

    /// As [`Segment::scan_from`], to walk over all of the rest.
    pub(in super::super) fn sweep_from(&mut self, offset: Offset) -> Result<Sweep, LogError> {
        let start = self.indexed_position(offset)?;
        let (size, base, path) = (self.size, self.base, self.path.clone());
        Ok(Sweep::new(self.file()?, path, base, start..size))
    }

    /// A scanner of the headers from the batch at `position`.
    pub(in super::super) fn scan_at(&mut self, position: u64) -> Result<Scanner, LogError> {
        let (size, base, path) = (self.size, self.base, self.path.clone());
        Ok(Scanner::new(self.file()?, path, base, position..size))
    }

    /// The first batch whose last offset is at or behind `offset`.
    pub(in super::super) fn locate(
        &mut self,
        offset: Offset,
    ) -> Result<Option<BatchLocation>, LogError> {
        let mut scanner = self.scan_from(offset)?;
        while let Some((position, header)) = scanner.next_header()? {
            if header.last_offset() >= offset {
                return Ok(Some(self.location(position, header)?));
            }
        }
        Ok(None)
    }

    /// The first batch with a timestamp at or after `target` and an offset at or behind `start`.
    pub(in super::super) fn locate_time(
        &mut self,
        target: Timestamp,
        start: Offset,
    ) -> Result<Option<BatchLocation>, LogError> {
        let from = self.times.floor(target).map_err(|error| LogError::io(&self.path, error))?;
        let mut scanner = self.scan_from(from.max(start))?;
        while let Some((position, header)) = scanner.next_header()? {
            if header.max_timestamp >= target && header.last_offset() >= start {
                return Ok(Some(self.location(position, header)?));
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the batches that end at or behind `start`, and the last offset of
    /// the first batch that holds it.
    pub(in super::super) fn max_timestamp_from(
        &mut self,
        start: Offset,
    ) -> Result<Option<(Timestamp, Offset)>, LogError> {
        let mut best: Option<(Timestamp, Offset)> = None;
        let mut scanner = self.scan_from(start)?;
        while let Some((_, header)) = scanner.next_header()? {
            let is_newer = best.is_none_or(|(max, _)| header.max_timestamp > max);
            if header.last_offset() >= start && header.max_timestamp.0 >= 0 && is_newer {
                best = Some((header.max_timestamp, header.last_offset()));
            }
        }
        Ok(best)
    }

    /// Offset behind the last batch.
    pub(in super::super) fn next_offset(&mut self) -> Result<Offset, LogError> {
        let last = self.offsets.last().map_err(|error| LogError::io(&self.path, error))?;
        let mut scanner = self.scan_at(last.map_or(0, |(_, position)| position))?;
        let mut next = self.base;
        while let Some((_, header)) = scanner.next_header()? {
            next = header.next_offset();
        }
        Ok(next)
    }

    fn location(&mut self, position: u64, header: BatchHeader) -> Result<BatchLocation, LogError> {
        let len = header.size() as u64;
        Ok(BatchLocation { header, extent: self.extent(position, len)? })
    }

    pub(in super::super) fn extent(&mut self, position: u64, len: u64) -> Result<Extent, LogError> {
        Ok(Extent { file: self.file()?, position, len })
    }

    /// What the indexes say that the batches do not; nothing in a sound segment.
    pub(in super::super) fn index_mismatches(&mut self) -> Result<Vec<String>, LogError> {
        let path = self.path.clone();
        let offsets = self.offsets.all().map_err(|error| LogError::io(&path, error))?;
        let times = self.times.all().map_err(|error| LogError::io(&path, error))?;
        let mut batches = Vec::new();
        let mut scanner = self.scan_at(0)?;
        while let Some((position, header)) = scanner.next_header()? {
            batches.push((position, header));
        }
        let mut wrong = Vec::new();
        for entry in &offsets {
            let found = batches.iter().any(|(at, header)| (header.last_offset(), *at) == *entry);
            if !found {
                wrong.push(format!("{}: no batch for index entry {entry:?}", path.display()));
            }
        }
        for entry in &times {
            let found = batches.iter().any(|(_, h)| (h.max_timestamp, h.last_offset()) == *entry);
            if !found {
                wrong.push(format!("{}: no batch for time index entry {entry:?}", path.display()));
            }
        }
        for sorted in [offsets.is_sorted(), times.is_sorted()] {
            if !sorted {
                wrong.push(format!("{}: an index is not sorted", path.display()));
            }
        }
        Ok(wrong)
    }
}
