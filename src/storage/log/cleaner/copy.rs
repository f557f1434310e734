//! The second half of a job: groups of segments, without what goes, into new ones.
//!
//! What becomes of a batch:
//!
//! ```text
//!   data of an aborted transaction     goes
//!   a record with a later one          goes
//!   a record without a key             goes
//!   a tombstone                        sets the batch's delete horizon; goes when that is past
//!   a marker                           as a tombstone, once no data of its transaction is left
//!   a batch that lost all its records  goes, unless it is of a producer's last, or of the round
//! ```
//! Source: `Cleaner.cleanSegments`, `Cleaner.cleanInto`, `Cleaner.shouldRetainRecord`.

use ottla_protocol::batch::{
    BATCH_OVERHEAD, BatchHeader, CompactionBuffers, Kept, KeyVisitor, KeyedRecord, WalkError,
    empty_batch, visit_keys, write_kept,
};
use ottla_types::{Offset, Timestamp};

use super::map::KeyMap;
use super::plan::{SegmentFacts, groups};
use super::swap::CleanedGroup;
use super::transactions::Transactions;
use super::{CleanStats, CleanStep, RECORD_WORK, Round, STEP_BYTES, Source};
use crate::error::LogError;
use crate::log::listing::Listing;
use crate::log::scan::CheckedScanner;
use crate::log::segment::{Appended, Segment};
use crate::names::{SegmentFile, SegmentStage};
use crate::producer_state::LastRecord;
use ottla_runtime::{Pace, SyncPoint};

/// The copying under way.
pub(super) struct Copying {
    map: KeyMap,
    transactions: Transactions,
    /// Numbers of sources in each group, and the groups that are done.
    groups: Vec<usize>,
    done: usize,
    /// First source of the group.
    first: usize,
    /// Source in the group.
    source: usize,
    scanner: Option<CheckedScanner>,
    target: Option<Target>,
    pace: Pace,
}

/// A segment that is written.
struct Target {
    segment: Segment,
    /// Bytes that wait for being written, and their batches.
    pending: Vec<u8>,
    batches: Vec<Appended>,
}

/// What becomes of a batch.
enum Outcome {
    Same,
    Anew(Vec<u8>),
    Gone,
}

impl Copying {
    pub(super) fn new(
        round: &Round,
        sources: &[Source],
        map: KeyMap,
        transactions: Transactions,
    ) -> Copying {
        let facts: Vec<SegmentFacts> = sources.iter().map(|source| source.facts).collect();
        let groups = groups(&facts, round.plan.end, &round.config);
        let (done, first, source) = (0, 0, 0);
        let (scanner, target, pace) = (None, None, Pace::default());
        Copying { map, transactions, groups, done, first, source, scanner, target, pace }
    }

    pub(super) fn latest(&self) -> Offset {
        self.map.latest
    }

    /// The sources of the group that is to be copied; `None` when all are.
    pub(super) fn group<'s>(&self, sources: &'s [Source]) -> Option<&'s [Source]> {
        let count = self.groups.get(self.done)?;
        Some(&sources[self.first..self.first + count])
    }

    pub(super) fn abandon(self) {
        if let Some(target) = self.target {
            // The next start removes what stays.
            let _ = target.segment.delete();
        }
    }

    /// Copies about a megabyte of the group.
    pub(super) fn step(
        &mut self,
        round: &Round,
        group: &[Source],
        buffers: &mut CompactionBuffers,
        stats: &mut CleanStats,
    ) -> Result<CleanStep, LogError> {
        let Some(source) = group.get(self.source) else {
            return self.finish_group(round, group, stats);
        };
        if self.target.is_none() {
            if self.done == 0 {
                round.remove_left()?;
                // A segment that was swapped before may not have its last name durably: beside a
                // new one of its base a start would take it for one that is not whole.
                round.sync_names()?;
            }
            self.target = Some(Target::new(round, group)?);
        }
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => source.scanner(&round.disk, 0)?,
        };
        let (begin, written) = (scanner.position(), stats.written_bytes);
        let mut offset = source.facts.base;
        let mut is_whole = false;
        while scanner.position() - begin < STEP_BYTES {
            let position = scanner.position();
            let header = match scanner.next_batch()? {
                None => {
                    is_whole = true;
                    break;
                }
                Some(Err(error)) => return Err(source.damaged(position, offset, &error)),
                Some(Ok(header)) => header,
            };
            offset = header.next_offset();
            let batch = scanner.last_batch(&header);
            let outcome = self.filter(round, &header, batch, buffers, stats);
            let outcome =
                outcome.map_err(|error| source.damaged(position, header.base_offset, &error))?;
            self.write(round, &header, batch, outcome, stats)?;
            self.pace.worked(header.size() as u64);
        }
        let read = scanner.position() - begin;
        stats.read_bytes += read;
        if is_whole {
            self.source += 1;
        } else {
            self.scanner = Some(scanner);
        }
        Ok(CleanStep::Working(read + stats.written_bytes - written))
    }

    fn write(
        &mut self,
        round: &Round,
        header: &BatchHeader,
        batch: &[u8],
        outcome: Outcome,
        stats: &mut CleanStats,
    ) -> Result<(), LogError> {
        let target = self.target.as_mut().expect("made before the first batch");
        match &outcome {
            Outcome::Gone => return Ok(()),
            Outcome::Same => target.push(header, batch),
            Outcome::Anew(new) => {
                target.push(&BatchHeader::read(new).expect("just written"), new);
            }
        }
        if target.pending.len() >= round.limits.write_bytes {
            target.flush(round, stats)?;
        }
        Ok(())
    }

    /// The segment is whole, and durable.
    fn finish_group(
        &mut self,
        round: &Round,
        group: &[Source],
        stats: &mut CleanStats,
    ) -> Result<CleanStep, LogError> {
        let target = self.target.as_mut().expect("a group has a source");
        // What fails stays, to be removed with the job.
        target.flush(round, stats)?;
        target.segment.finish_cleaned()?;
        let segment = self.target.take().expect("it is whole").segment;
        self.done += 1;
        self.first += group.len();
        self.source = 0;
        let replaced = group.iter().map(|source| source.facts.base).collect();
        let truncations = round.truncations;
        Ok(CleanStep::Cleaned(Box::new(CleanedGroup { segment, replaced, truncations })))
    }

    fn filter(
        &mut self,
        round: &Round,
        header: &BatchHeader,
        batch: &[u8],
        buffers: &mut CompactionBuffers,
        stats: &mut CleanStats,
    ) -> Result<Outcome, WalkError> {
        let records = &batch[BATCH_OVERHEAD..];
        let attributes = header.attributes;
        let horizon = attributes.has_delete_horizon().then_some(header.base_timestamp);
        let is_past = horizon.is_some_and(|horizon| horizon <= round.now);
        let (goes, is_empty_marker) = if attributes.is_control() {
            let marker = self.transactions.pass_control(header, records);
            if let (Some(ended), Some(target)) = (marker.indexed, &mut self.target) {
                target.note_aborted(&ended).map_err(WalkError::Compress)?;
            }
            (marker.is_empty && is_past, marker.is_empty)
        } else {
            (self.transactions.pass_data(header), false)
        };
        let emptied = || {
            let stays = round.must_stay(header);
            if stays { Outcome::Anew(empty_batch(header)) } else { Outcome::Gone }
        };
        if goes {
            return Ok(emptied());
        }
        let mut choice = Choice {
            map: &mut self.map,
            pace: &mut self.pace,
            is_control: attributes.is_control(),
            tombstones_go: is_past,
            keyless: 0,
        };
        let kept = visit_keys(header, records, buffers, &mut choice)?;
        stats.keyless_records += choice.keyless;
        stats.read_records += u64::from(kept.seen);
        stats.written_records += u64::from(kept.count);
        if kept.count == 0 {
            return Ok(emptied());
        }
        let new_horizon = needs_horizon(&kept, is_empty_marker, attributes.is_control(), horizon)
            .then(|| round.delete_horizon());
        if kept.is_all() && new_horizon.is_none() {
            return Ok(Outcome::Same);
        }
        let horizon = new_horizon.or(horizon);
        write_kept(header, records, &kept, horizon, buffers).map(Outcome::Anew)
    }
}

/// Whether the time from which on something of the batch may go is to be noted in it.
fn needs_horizon(
    kept: &Kept,
    is_empty_marker: bool,
    is_control: bool,
    known: Option<Timestamp>,
) -> bool {
    known.is_none() && (is_empty_marker || (!is_control && kept.has_tombstones))
}

impl Round {
    /// Removes what a job before this one could not: after a crash a start would take it for a
    /// part of what this one is about to swap, and all of that for what is not whole.
    fn remove_left(&self) -> Result<(), LogError> {
        let failed = |error| LogError::io(&self.dir, error);
        for name in Listing::read(&self.disk, &self.dir).map_err(failed)?.staged {
            let (_, _, stage) = SegmentFile::parse_staged(&name).expect("listed as such");
            if stage == SegmentStage::Cleaned {
                self.disk.remove_file(&self.dir.join(&name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    pub(super) fn sync_names(&self) -> Result<(), LogError> {
        let synced = self.disk.sync_dir(&self.dir, SyncPoint::CleanedDir);
        synced.map_err(|error| LogError::io(&self.dir, error))
    }

    /// Whether a batch stays though it has no record.
    fn must_stay(&self, header: &BatchHeader) -> bool {
        let last = self.last_records.get(&header.producer_id).filter(|_| header.has_producer_id());
        let is_last_of_producer = last.is_some_and(|last| match last {
            LastRecord::Data(offsets) => offsets.contains(&header.last_offset()),
            LastRecord::Marker(epoch) => {
                header.attributes.is_control() && header.producer_epoch == *epoch
            }
        });
        is_last_of_producer || header.next_offset() == self.plan.end
    }

    fn delete_horizon(&self) -> Timestamp {
        let retention = i64::try_from(self.config.delete_retention.as_millis());
        Timestamp(self.now.0.saturating_add(retention.unwrap_or(i64::MAX)))
    }
}

impl Target {
    fn new(round: &Round, group: &[Source]) -> Result<Target, LogError> {
        let base = group[0].facts.base;
        let created = group.iter().map(|source| source.created).max().unwrap_or(round.now);
        let segment = Segment::create_cleaned(&round.disk, &round.dir, base, created)?;
        Ok(Target { segment, pending: Vec::new(), batches: Vec::new() })
    }

    fn push(&mut self, header: &BatchHeader, batch: &[u8]) {
        self.pending.extend_from_slice(batch);
        self.batches.push(Appended {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            size: batch.len() as u64,
        });
    }

    fn note_aborted(&mut self, ended: &crate::EndedTransaction) -> std::io::Result<()> {
        self.segment.note_ended(ended).map_err(std::io::Error::other)
    }

    fn flush(&mut self, round: &Round, stats: &mut CleanStats) -> Result<(), LogError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.segment.write(&mut [std::io::IoSlice::new(&self.pending)])?;
        stats.written_bytes += self.pending.len() as u64;
        for batch in self.batches.drain(..) {
            self.segment.note(&batch, u64::from(round.config.index_interval_bytes))?;
        }
        self.pending.clear();
        Ok(())
    }
}

/// Says which records of a batch stay.
struct Choice<'a> {
    map: &'a mut KeyMap,
    pace: &'a mut Pace,
    is_control: bool,
    tombstones_go: bool,
    keyless: u64,
}

impl KeyVisitor for Choice<'_> {
    fn key_piece(&mut self, bytes: &[u8]) {
        self.map.key_piece(bytes);
    }

    fn record(&mut self, record: KeyedRecord) -> bool {
        self.pace.worked(RECORD_WORK);
        let is_superseded = self.map.is_superseded(&record);
        if self.is_control || record.offset > self.map.latest {
            return true;
        }
        if !record.has_key {
            self.keyless += 1;
            return false;
        }
        let goes = is_superseded || (record.is_tombstone && self.tombstones_go);
        !goes
    }
}
