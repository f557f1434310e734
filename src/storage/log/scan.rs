//! Walking over the batches of a segment: by their headers only, or checked whole.

use std::ops::Range;
use std::path::PathBuf;

use ottla_protocol::batch::{BATCH_OVERHEAD, BatchError, BatchHeader};
use ottla_runtime::File;
use ottla_types::Offset;

use crate::error::LogError;
use crate::producer_state::TransactionEnd;

/// Bytes read ahead for headers: about the distance between two index entries.
const WINDOW: usize = 4096;

/// Bytes read ahead for headers when a whole segment is walked over.
const SWEEP_WINDOW: usize = 64 << 10;

/// Reads headers one after the other, `W` bytes at a time when batches are small.
pub(super) struct Scanner<const W: usize = WINDOW> {
    file: File,
    path: PathBuf,
    /// Offset expected next, for messages.
    offset: Offset,
    /// Where the next header is, and where the batches end.
    range: Range<u64>,
    window: [u8; W],
    window_start: u64,
    window_len: usize,
    /// Bytes to read next.
    ahead: usize,
}

/// Walks over a whole segment.
pub(super) type Sweep = Scanner<SWEEP_WINDOW>;

impl<const W: usize> Scanner<W> {
    pub(super) fn new(file: File, path: PathBuf, offset: Offset, range: Range<u64>) -> Self {
        let (window, window_start, window_len, ahead) = ([0; W], 0, 0, WINDOW.min(W));
        Scanner { file, path, offset, range, window, window_start, window_len, ahead }
    }

    /// The next header and its position; `None` at the end. Records are not read.
    ///
    /// # Errors
    /// `Corrupt` when what follows is no whole batch.
    pub(super) fn next_header(&mut self) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let position = self.range.start;
        if position >= self.range.end {
            return Ok(None);
        }
        let header = BatchHeader::read(self.front(position)?).map_err(|e| self.corrupt(e))?;
        let end = position + header.size() as u64;
        if end > self.range.end {
            return Err(self.corrupt(BatchError::Truncated));
        }
        self.range.start = end;
        self.offset = header.next_offset();
        // Behind a large batch, reading the next header alone costs less than copying what is
        // between them.
        self.ahead = if header.size() < WINDOW { W } else { BATCH_OVERHEAD };
        Ok(Some((position, header)))
    }

    /// Whether the batch at its front holds `offset`; nothing is passed over.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn begins_with(&mut self, offset: Offset) -> Result<bool, LogError> {
        let position = self.range.start;
        if position >= self.range.end {
            return Ok(false);
        }
        Ok(BatchHeader::read(self.front(position)?).is_ok_and(|header| header.holds(offset)))
    }

    /// What the batch at `position` says of its producer's transaction, when it is a marker.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn transaction_end(
        &self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<Option<TransactionEnd>, LogError> {
        if !TransactionEnd::is_possible(header) {
            return Ok(None);
        }
        let mut records = vec![0; header.size() - BATCH_OVERHEAD];
        let read = self.file.read_exact_at(&mut records, position + BATCH_OVERHEAD as u64);
        read.map_err(|error| LogError::io(&self.path, error))?;
        Ok(TransactionEnd::read(header, &records))
    }

    /// The bytes of a header at `position`, fewer at the end of the file.
    fn front(&mut self, position: u64) -> Result<&[u8], LogError> {
        let inside = position >= self.window_start
            && position + BATCH_OVERHEAD as u64 <= self.window_start + self.window_len as u64;
        if !inside {
            let len = usize::try_from(self.range.end - position).unwrap_or(W).min(self.ahead);
            let read = self.file.read_at(&mut self.window[..len], position);
            self.window_len = read.map_err(|error| LogError::io(&self.path, error))?;
            self.window_start = position;
        }
        let start = (position - self.window_start) as usize;
        Ok(&self.window[start..self.window_len])
    }

    fn corrupt(&self, source: BatchError) -> LogError {
        let (path, position, offset) = (self.path.clone(), self.range.start, self.offset);
        LogError::Corrupt { path, position, offset, source }
    }
}

/// Reads whole batches and compares their checksums, up to the first that is not sound.
pub(super) struct CheckedScanner {
    file: File,
    path: PathBuf,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Part of the buffer that is not used yet.
    unread: Range<usize>,
}

/// Bytes read at a time while checking: little enough to stay in a core's cache until they are
/// checked.
const CHUNK: usize = 256 << 10;

impl CheckedScanner {
    /// For the batches in `range` of the file, which ends with the file.
    pub(super) fn new(file: File, path: PathBuf, range: Range<u64>) -> CheckedScanner {
        let Range { start: position, end } = range;
        CheckedScanner { file, path, position, end, buffer: Vec::new(), unread: 0..0 }
    }

    /// Where the next batch begins: the end of all that is sound so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Length of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The next batch's header, or why there is none: the outer error is of the disk, the inner
    /// one of the bytes. `None` at the end of the file.
    pub(super) fn next_batch(
        &mut self,
    ) -> Result<Option<Result<BatchHeader, BatchError>>, LogError> {
        if self.position == self.end {
            return Ok(None);
        }
        self.fill(BATCH_OVERHEAD)?;
        let size = match BatchHeader::read(&self.buffer[self.unread.clone()]) {
            Ok(header) => header.size(),
            Err(error) => return Ok(Some(Err(error))),
        };
        if self.position + size as u64 > self.end {
            return Ok(Some(Err(BatchError::Truncated)));
        }
        self.fill(size)?;
        let checked = BatchHeader::read_checked(&self.buffer[self.unread.clone()]);
        if checked.is_ok() {
            self.position += size as u64;
            self.unread.start += size;
        }
        Ok(Some(checked))
    }

    /// The header of the batch behind the one that was returned last, if that is sound.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn peek(&self) -> Result<Option<BatchHeader>, LogError> {
        let failed = |error| LogError::io(&self.path, error);
        let mut front = [0; BATCH_OVERHEAD];
        if self.end - self.position < front.len() as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut front, self.position).map_err(failed)?;
        let Ok(header) = BatchHeader::read(&front) else { return Ok(None) };
        if header.size() as u64 > self.end - self.position {
            return Ok(None);
        }
        let mut batch = vec![0; header.size()];
        self.file.read_exact_at(&mut batch, self.position).map_err(failed)?;
        Ok(BatchHeader::read_checked(&batch).ok())
    }

    /// The batch that was returned last; `header` is its header.
    pub(super) fn last_batch(&self, header: &BatchHeader) -> &[u8] {
        let end = self.unread.start;
        &self.buffer[end - header.size()..end]
    }

    /// The records of the batch that was returned last; `header` is its header.
    pub(super) fn last_records(&self, header: &BatchHeader) -> &[u8] {
        let end = self.unread.start;
        &self.buffer[end - (header.size() - BATCH_OVERHEAD)..end]
    }

    /// Makes `len` unread bytes available, if the file has them.
    fn fill(&mut self, len: usize) -> Result<(), LogError> {
        if self.unread.len() >= len {
            return Ok(());
        }
        let kept = self.unread.len();
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = len.max(CHUNK).min(left.max(kept));
        self.buffer.copy_within(self.unread.clone(), 0);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let at = self.position + kept as u64;
        let read = self.file.read_at(&mut self.buffer[kept..wanted], at);
        let read = read.map_err(|error| LogError::io(&self.path, error))?;
        self.unread = 0..kept + read;
        Ok(())
    }
}
