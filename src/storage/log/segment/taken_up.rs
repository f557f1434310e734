//! Taking a segment up with the indexes that an earlier process left.

use ottla_types::Offset;

use super::Segment;
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
