//! Transactions in a log: how far they are decided, and which of them readers must leave out.
//!
//! ```text
//!   log start ≤ last stable offset ≤ high watermark ≤ end
//!               └ the first offset of the oldest transaction that is open, or whose marker is
//!                 not below the high watermark
//! ```
//! Source: `UnifiedLog.firstUnstableOffset`, `LocalLog.addAbortedTransactions`.

use std::path::PathBuf;

use ottla_protocol::batch::BatchHeader;
use ottla_types::Offset;

use super::{Extent, Log, LogError, ReadLimit};
use crate::producer_state::{EndedTransaction, ProducerState, TransactionEnd};

impl Log {
    /// End of what a `read_committed` reader may see.
    #[must_use]
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let unstable = self.producers.first_unstable();
        unstable.map_or(high_watermark, |first| first.max(self.log_start).min(high_watermark))
    }

    /// Everything below `high_watermark` is replicated: markers below it count.
    pub fn replicated(&mut self, high_watermark: Offset) {
        self.producers.replicated(high_watermark);
    }

    /// [`Log::read`] for a `read_committed` reader, with the aborted transactions that it must
    /// leave out. As with Kafka the end of their range comes from the offset index, so that some
    /// of them begin behind the records.
    ///
    /// # Errors
    /// Those of [`Log::read`].
    pub fn read_committed(
        &mut self,
        offset: Offset,
        limit: ReadLimit,
    ) -> Result<Option<(Extent, Vec<EndedTransaction>)>, LogError> {
        let Some((first, extent)) = self.find(offset, limit)? else { return Ok(None) };
        let next_base = self.segments.get(first + 1).map_or(self.end, super::Segment::base);
        let bound = self.segments[first].indexed_bound(extent.position + extent.len)?;
        let end = bound.unwrap_or(next_base);
        let mut aborted = Vec::new();
        for segment in &mut self.segments[first..] {
            if segment.collect_aborted(offset, end, &mut aborted)? {
                break;
            }
        }
        Ok(Some((extent, aborted)))
    }

    /// Counts a batch's producer, and its transaction if the batch ends one. The batch is in the
    /// segment that is written to.
    pub(super) fn note_producer(
        &mut self,
        header: &BatchHeader,
        records: &[u8],
    ) -> Result<(), LogError> {
        let end = TransactionEnd::read(header, records);
        match self.producers.note(header, end.as_ref()) {
            Some(ended) => self.active_mut().note_ended(&ended),
            None => Ok(()),
        }
    }

    /// What the indexes of aborted transactions say that the markers do not, and the other way
    /// round. Reads everything. Of a transaction that began in a deleted segment only the end is
    /// known, and of one that was compacted only what is left.
    pub(super) fn transaction_mismatches(&mut self) -> Result<Vec<String>, LogError> {
        let first_base = self.segments[0].base();
        let compacts = self.may_have_gaps();
        let (mut state, mut expected) = (ProducerState::default(), Vec::new());
        self.each_batch(first_base, self.end, |header, end| {
            expected.extend(state.note(header, end).filter(|ended| ended.aborted));
        })?;
        let mut found = Vec::new();
        for segment in &mut self.segments {
            let (base, dir) = (segment.base(), segment.path().to_owned());
            for aborted in segment.all_aborted()? {
                found.push((base, dir.clone(), aborted));
            }
        }
        let mut wrong = Vec::new();
        for ended in &expected {
            let is_indexed = |(_, _, aborted): &(Offset, PathBuf, EndedTransaction)| {
                (aborted.producer_id, aborted.last_offset) == (ended.producer_id, ended.last_offset)
                    && (aborted.first_offset == ended.first_offset
                        || aborted.first_offset < first_base
                        || (compacts && aborted.first_offset < ended.first_offset))
            };
            if !found.iter().any(is_indexed) {
                wrong.push(format!("{}: {ended:?} is in no index", self.dir.display()));
            }
        }
        for (base, path, aborted) in &found {
            let is_expected =
                compacts || expected.iter().any(|e| e.last_offset == aborted.last_offset);
            let is_placed = aborted.last_offset >= *base && aborted.last_offset < self.end;
            if !is_placed || (!is_expected && aborted.first_offset >= first_base) {
                wrong.push(format!("{}: {aborted:?} did not happen", path.display()));
            }
        }
        Ok(wrong)
    }
}
