//! Reading: offsets and times to places in files. Records are not touched.

use ottla_types::{Offset, Timestamp};

use super::{BatchLocation, Extent, Log, LogError};

/// How much a read may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimit {
    /// No record at or behind this offset; it lies between two batches.
    pub end: Offset,
    /// Most bytes.
    pub bytes_max: u64,
    /// Whether the first batch comes whole even if it is longer (KIP-74).
    pub at_least_one: bool,
}

impl Log {
    /// Where the records from `offset` on are: one piece of one segment. It may begin with records
    /// before `offset` of the same batch and be cut in a batch at its end; readers know. `None`
    /// when there is nothing to read below the limit.
    ///
    /// # Errors
    /// `OffsetOutOfRange` below the start or behind the end of the log; faults.
    pub fn read(&mut self, offset: Offset, limit: ReadLimit) -> Result<Option<Extent>, LogError> {
        Ok(self.find(offset, limit)?.map(|(_, extent)| extent))
    }

    /// The extent with the index of its segment.
    pub(super) fn find(
        &mut self,
        offset: Offset,
        limit: ReadLimit,
    ) -> Result<Option<(usize, Extent)>, LogError> {
        if offset < self.log_start || offset > self.end {
            return Err(LogError::OffsetOutOfRange);
        }
        if offset >= limit.end {
            return Ok(None);
        }
        let mut index = self.segment_index(offset);
        loop {
            let segment = &mut self.segments[index];
            if let Some(first) = segment.locate(offset)? {
                return Ok(self.piece(index, &first, limit)?.map(|extent| (index, extent)));
            }
            // The rest of this segment is a gap that compaction left.
            index += 1;
            if index == self.segments.len() {
                return Ok(None);
            }
        }
    }

    fn piece(
        &mut self,
        index: usize,
        first: &BatchLocation,
        limit: ReadLimit,
    ) -> Result<Option<Extent>, LogError> {
        if first.header.base_offset >= limit.end {
            return Ok(None);
        }
        let start = first.extent.position;
        let end = self.end_position(index, limit.end)?;
        let first_len = first.extent.len;
        let bytes_max =
            if limit.at_least_one { limit.bytes_max.max(first_len) } else { limit.bytes_max };
        let len = (end - start).min(bytes_max);
        if len == 0 {
            return Ok(None);
        }
        self.segments[index].extent(start, len).map(Some)
    }

    /// Position in a segment of the first batch at or behind `end`.
    fn end_position(&mut self, index: usize, end: Offset) -> Result<u64, LogError> {
        let next_base =
            self.segments.get(index + 1).map_or(self.end, super::segment::Segment::base);
        let segment = &mut self.segments[index];
        if end >= next_base {
            return Ok(segment.size());
        }
        let found = segment.locate(end)?;
        Ok(found.map_or(segment.size(), |location| location.extent.position))
    }

    /// The first batch with a record at or after `target`, from `from` and the log's start on.
    /// Whether the batch's records are below the reader's bound is the caller's question.
    ///
    /// # Errors
    /// Faults.
    pub fn locate_time(
        &mut self,
        target: Timestamp,
        from: Offset,
    ) -> Result<Option<BatchLocation>, LogError> {
        let from = from.max(self.log_start);
        let first = self.segment_index(from);
        let active = self.segments.len() - 1;
        for (index, segment) in self.segments.iter_mut().enumerate().skip(first) {
            let reaches = segment.max_timestamp().is_some_and(|(max, _)| max >= target);
            if reaches || index == active {
                match segment.locate_time(target, from)? {
                    Some(found) => return Ok(Some(found)),
                    None => continue,
                }
            }
        }
        Ok(None)
    }

    /// The first batch that holds the largest timestamp of the log, deleted batches left out.
    ///
    /// # Errors
    /// Faults.
    pub fn locate_max_time(&mut self) -> Result<Option<BatchLocation>, LogError> {
        let mut best: Option<(Timestamp, Offset, usize)> = None;
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let mut max = segment.max_timestamp();
            if max.is_some_and(|(_, offset)| offset < self.log_start) {
                max = segment.max_timestamp_from(self.log_start)?;
            }
            if let Some((timestamp, offset)) = max
                && best.is_none_or(|(max, _, _)| timestamp > max)
            {
                best = Some((timestamp, offset, index));
            }
        }
        match best {
            None => Ok(None),
            Some((_, offset, index)) => self.segments[index].locate(offset),
        }
    }
}
