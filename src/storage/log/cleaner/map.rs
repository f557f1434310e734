//! The first half of a job: the last offset of each key in the dirty part.
//!
//! Data of aborted transactions is passed over: what it overwrote is still the last.

use ottla_protocol::batch::{
    BATCH_OVERHEAD, BatchHeader, CompactionBuffers, KeyVisitor, KeyedRecord, visit_keys,
};
use ottla_runtime::Pace;
use ottla_types::Offset;

use super::offset_map::{Digester, KeyDigest, OffsetMap};
use super::transactions::Transactions;
use super::{RECORD_WORK, Round, STEP_BYTES, Source};
use crate::error::LogError;
use crate::log::scan::CheckedScanner;

/// What is known when everything is mapped, or the table is full.
pub(super) struct KeyMap {
    offsets: OffsetMap,
    digester: Digester,
    /// Up to here every record was seen.
    pub(super) latest: Offset,
}

impl KeyMap {
    /// Whether a record whose key was shown has a later one with the same key.
    pub(super) fn is_superseded(&mut self, record: &KeyedRecord) -> bool {
        let key = self.digester.take();
        self.offsets.get(key).is_some_and(|last| record.offset < last)
    }

    pub(super) fn key_piece(&mut self, bytes: &[u8]) {
        self.digester.piece(bytes);
    }

    pub(super) fn utilization(&self) -> f64 {
        self.offsets.utilization()
    }
}

/// The mapping under way.
pub(super) struct Mapping {
    /// Taken when it is done.
    map: Option<KeyMap>,
    first_dirty: Offset,
    transactions: Transactions,
    /// Number of the source that is read, and how far.
    source: usize,
    scanner: Option<CheckedScanner>,
    is_full: bool,
    pace: Pace,
}

impl Mapping {
    pub(super) fn new(round: &Round, sources: &[Source]) -> Mapping {
        let (plan, limits) = (&round.plan, &round.limits);
        // No more keys than offsets.
        let keys_max = u64::try_from(plan.end.since(plan.first_dirty)).unwrap_or(0);
        // One whose marker is in front of what is read would never end.
        let mut aborted = round.aborted.clone();
        aborted.retain(|ended| ended.last_offset >= plan.first_dirty);
        Mapping {
            map: Some(KeyMap {
                offsets: OffsetMap::new(keys_max, limits.map_bytes, limits.load_factor),
                digester: Digester::new(limits.secret),
                latest: Offset(plan.first_dirty.0 - 1),
            }),
            first_dirty: plan.first_dirty,
            transactions: Transactions::new(&aborted),
            source: sources.partition_point(|source| source.end <= plan.first_dirty),
            scanner: None,
            is_full: false,
            pace: Pace::default(),
        }
    }

    /// What was mapped, if that is all that can be.
    pub(super) fn finish(&mut self, round: &Round) -> Option<KeyMap> {
        let is_done = self.is_full || self.map.as_ref()?.latest.plus(1) >= round.plan.end;
        is_done.then(|| self.map.take()).flatten()
    }

    /// Maps about a megabyte; returns the bytes that were read.
    pub(super) fn step(
        &mut self,
        round: &Round,
        sources: &[Source],
        buffers: &mut CompactionBuffers,
    ) -> Result<u64, LogError> {
        let Some(source) = sources.get(self.source) else {
            self.note_latest(round.plan.end);
            return Ok(0);
        };
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => source.scanner(&round.disk, source.dirty_from)?,
        };
        let begin = scanner.position();
        while scanner.position() - begin < STEP_BYTES {
            let (position, offset) = (scanner.position(), self.latest());
            match scanner.next_batch()? {
                None => {
                    // Also over a gap at the end of the segment.
                    self.note_latest(source.end);
                    self.source += 1;
                    return Ok(scanner.position() - begin);
                }
                Some(Err(error)) => return Err(source.damaged(position, offset, &error)),
                Some(Ok(header)) => {
                    let mapped = self.map_batch(&header, scanner.last_batch(&header), buffers);
                    mapped.map_err(|error| source.damaged(position, offset, &error))?;
                    self.pace.worked(header.size() as u64);
                }
            }
            if self.is_full {
                break;
            }
        }
        let bytes = scanner.position() - begin;
        self.scanner = Some(scanner);
        Ok(bytes)
    }

    fn latest(&self) -> Offset {
        self.map.as_ref().map_or(self.first_dirty, |map| map.latest)
    }

    fn note_latest(&mut self, end: Offset) {
        if let Some(map) = &mut self.map {
            map.latest = map.latest.max(Offset(end.0 - 1));
        }
    }

    fn map_batch(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        buffers: &mut CompactionBuffers,
    ) -> Result<(), ottla_protocol::batch::WalkError> {
        let records = &batch[BATCH_OVERHEAD..];
        if header.attributes.is_control() {
            self.transactions.pass_control(header, records);
        } else if !self.transactions.pass_data(header)
            && let Some(map) = &mut self.map
        {
            let pace = &mut self.pace;
            let mut keys = Keys { map, first_dirty: self.first_dirty, is_full: false, pace };
            visit_keys(header, records, buffers, &mut keys)?;
            self.is_full = keys.is_full;
        }
        if !self.is_full && header.last_offset() >= self.first_dirty {
            self.note_latest(header.next_offset());
        }
        Ok(())
    }
}

/// Puts keys into the table until it is full.
struct Keys<'a> {
    map: &'a mut KeyMap,
    first_dirty: Offset,
    is_full: bool,
    pace: &'a mut Pace,
}

impl KeyVisitor for Keys<'_> {
    fn key_piece(&mut self, bytes: &[u8]) {
        self.map.key_piece(bytes);
    }

    fn record(&mut self, record: KeyedRecord) -> bool {
        self.pace.worked(RECORD_WORK);
        let key: KeyDigest = self.map.digester.take();
        if record.offset < self.first_dirty || self.is_full {
            return true;
        }
        self.is_full = record.has_key && !self.map.offsets.put(key, record.offset);
        if !self.is_full {
            self.map.latest = self.map.latest.max(record.offset);
        }
        true
    }
}
