//! The log and its model side by side.

use std::collections::BTreeMap;

use ottla_types::{Offset, Timestamp};

use super::super::super::segment::Segment;
use super::super::super::{Extent, ReadLimit};
use super::World;
use super::expected::{Entry, Written};
use crate::producer_state::EndedTransaction;

/// Bytes in front of a snapshot's entries, and of each.
const SNAPSHOT_HEAD: usize = 10;
const SNAPSHOT_ENTRY: usize = 46;

impl World {
    pub(super) fn check(&mut self, is_thorough: bool) {
        self.log().check();
        let (start, end) = (self.model.start, self.model.end);
        assert_eq!((self.log().log_start(), self.log().end()), (start, end), "start and end");
        let high_watermark = self.model.high_watermark;
        let stable = self.log().last_stable_offset(high_watermark);
        let expected = self.model.last_stable_offsets();
        assert!(expected.contains(&stable), "last stable offset {stable:?}, and not {expected:?}");
        let known: BTreeMap<i64, Entry> =
            self.model.known().iter().map(|(id, known)| (*id, known.entry())).collect();
        assert_eq!(self.actual_producers(), known, "producers");
        self.check_epochs();
        self.check_times();
        for _ in 0..3 {
            self.check_read();
        }
        if is_thorough {
            let inconsistencies = self.log().inconsistencies().expect("readable");
            assert_eq!(inconsistencies, Vec::<String>::new());
            self.check_all_bytes();
        }
    }

    /// The entries of a snapshot of the log's producers.
    pub(super) fn actual_producers(&mut self) -> BTreeMap<i64, Entry> {
        let snapshot = self.log().producers().to_snapshot();
        let entries = snapshot[SNAPSHOT_HEAD..].chunks(SNAPSHOT_ENTRY);
        entries.map(|entry| (long(entry, 0), entry_of(entry))).collect()
    }

    fn check_epochs(&mut self) {
        let (expected, end) = (self.model.epochs(), self.model.end);
        let entries = self.log().epochs().entries().to_vec();
        for batch in self.model.readable() {
            let at = batch.header.base_offset.max(self.model.start);
            let epoch = self.log.as_ref().expect("open").epochs().epoch_at(at);
            assert_eq!(epoch, Some(batch.header.leader_epoch), "epoch at {at:?}: {entries:?}");
        }
        let has_records = |epoch| expected.iter().any(|(other, _)| *other == epoch);
        let starts: Vec<_> = entries.iter().filter(|(epoch, _)| has_records(*epoch)).collect();
        assert_eq!(starts.len(), expected.len(), "{entries:?}, and not {expected:?}");
        for (index, (actual, expected)) in starts.iter().zip(&expected).enumerate() {
            // A gap in front of the first batch is its epoch's.
            let is_right = actual.1 == expected.1 || (index == 0 && actual.1 < expected.1);
            assert!(is_right && actual.0 == expected.0, "{actual:?}, and not {expected:?}");
        }
        assert!(entries.iter().all(|(_, start)| *start <= end), "{entries:?} end at {end:?}");
    }

    fn check_times(&mut self) {
        for _ in 0..2 {
            let times = self.model.batches.len();
            let near = match times {
                0 => self.now.0,
                _ => self.model.batches[self.dice.usize(..times)].header.max_timestamp.0,
            };
            let target = (near + self.dice.i64(-1..=1)).max(0);
            let from = Offset(self.dice.i64(0..=self.model.end.0));
            let found = self.log().locate_time(Timestamp(target), from).expect("readable");
            let found = found.map(|found| found.header.base_offset);
            assert_eq!(found, self.model.by_time(target, from), "by time {target} from {from:?}");
        }
        let found = self.log().locate_max_time().expect("readable");
        let found = found.map(|found| found.header.base_offset);
        assert_eq!(found, self.model.by_max_time(), "by the largest time");
    }

    fn check_read(&mut self) {
        let (start, end) = (self.model.start, self.model.end);
        let offset = Offset(self.dice.i64(start.0..=end.0));
        let limit = ReadLimit {
            end: self.boundary(start),
            bytes_max: self.dice.u64(..3000),
            at_least_one: self.dice.bool(),
        };
        let expected = self.expected_bytes(offset, limit);
        let found = self.log().read(offset, limit).expect("in range").map(|extent| bytes(&extent));
        assert_eq!(found, expected, "read at {offset:?}, {limit:?}");
        let found = self.log().read_committed(offset, limit).expect("in range");
        let Some((extent, aborted)) = found else {
            assert_eq!(expected, None, "read_committed at {offset:?}, {limit:?}");
            return;
        };
        assert_eq!(Some(bytes(&extent)), expected, "read_committed at {offset:?}, {limit:?}");
        self.check_aborted(offset, extent.len, &aborted);
    }

    /// What a read has to give: from the batch that holds `offset` to the end of its segment.
    fn expected_bytes(&self, offset: Offset, limit: ReadLimit) -> Option<Vec<u8>> {
        if offset >= limit.end {
            return None;
        }
        let first = self.model.readable().find(|batch| batch.header.last_offset() >= offset)?;
        let base = first.header.base_offset;
        let next_segment = self.bases().into_iter().find(|next| *next > base);
        let end = next_segment.map_or(limit.end, |next| next.min(limit.end));
        let is_inside = |batch: &&Written| (base..end).contains(&batch.header.base_offset);
        let mut bytes: Vec<u8> = Vec::new();
        for batch in self.model.batches.iter().filter(is_inside) {
            bytes.extend(&batch.bytes);
        }
        let least = if limit.at_least_one { first.bytes.len() } else { 0 };
        bytes.truncate((limit.bytes_max as usize).max(least));
        if bytes.is_empty() { None } else { Some(bytes) }
    }

    /// Of the aborted transactions those must be listed that have records in what was read, and
    /// nothing that did not happen.
    fn check_aborted(&self, offset: Offset, len: u64, aborted: &[EndedTransaction]) {
        let mut last_base = offset;
        let mut left = len;
        let from_offset = |batch: &&Written| batch.header.last_offset() >= offset;
        for batch in self.model.batches.iter().filter(from_offset) {
            last_base = last_base.max(batch.header.base_offset);
            match left.checked_sub(batch.bytes.len() as u64) {
                None | Some(0) => break,
                Some(rest) => left = rest,
            }
        }
        let first = self.bases()[0];
        let happened = self.model.producers(|_| Offset::ZERO).1;
        for found in aborted {
            let same = |ended: &&EndedTransaction| {
                (ended.producer_id, ended.last_offset) == (found.producer_id, found.last_offset)
            };
            let ended = happened.iter().find(same).expect("a listed transaction has ended");
            let is_same = ended == found || (self.is_lossy && ended.aborted);
            assert!(is_same, "{found:?} is listed, and it was {ended:?}");
        }
        for ended in self.model.producers(|_| first).1.iter().filter(|ended| ended.aborted) {
            let is_seen = ended.first_offset <= last_base && ended.last_offset >= offset;
            let is_listed = aborted.iter().any(|found| {
                found.last_offset == ended.last_offset && found.first_offset <= ended.first_offset
            });
            assert!(!is_seen || is_listed, "{ended:?} is not listed at {offset:?}: {aborted:?}");
        }
    }

    fn check_all_bytes(&mut self) {
        let limit = ReadLimit { end: self.model.end, bytes_max: u64::MAX, at_least_one: true };
        let expected: Vec<u8> =
            self.model.readable().flat_map(|batch| batch.bytes.clone()).collect();
        let mut found = Vec::new();
        for (index, base) in self.bases().into_iter().enumerate() {
            let from = base.max(self.model.start);
            let next = self.bases().get(index + 1).copied().unwrap_or(self.model.end);
            if from < next {
                let limit = ReadLimit { end: next, ..limit };
                let piece = self.log().read(from, limit).expect("in range");
                found.extend(piece.map(|piece| bytes(&piece)).unwrap_or_default());
            }
        }
        assert!(found == expected, "{} bytes, and not these {}", found.len(), expected.len());
    }

    fn bases(&self) -> Vec<Offset> {
        let log = self.log.as_ref().expect("open between steps");
        log.segments.iter().map(Segment::base).collect()
    }

    /// What retention has to do with the segments that there are.
    pub(super) fn expected_start(&mut self) -> Option<Offset> {
        let config = self.options.config.clone();
        let (now, end, start) = (self.now.0, self.model.end, self.model.start);
        let high_watermark = self.model.high_watermark;
        let bases = self.bases();
        let mut sizes = Vec::new();
        let mut latest = Vec::new();
        for (index, base) in bases.iter().enumerate() {
            let next = bases.get(index + 1).copied().unwrap_or(Offset(i64::MAX));
            let inside = |batch: &&Written| (*base..next).contains(&batch.header.base_offset);
            let batches: Vec<&Written> = self.model.batches.iter().filter(inside).collect();
            sizes.push(batches.iter().map(|batch| batch.bytes.len() as u64).sum::<u64>());
            let time = batches.iter().map(|batch| batch.header.max_timestamp.0).max();
            let known = self.log.as_ref().expect("open").segments[index].latest_time().0;
            latest.push(time.filter(|time| *time >= 0).unwrap_or(known));
        }
        let next_of = |index: usize| bases.get(index + 1).copied().unwrap_or(end);
        let may_go = |index: usize| {
            index < bases.len()
                && next_of(index) <= high_watermark
                && (index + 1 < bases.len() || sizes[index] > 0)
        };
        let mut count = 0;
        let mut kept: u64 = sizes.iter().sum();
        while let Some(least) = config.retention_bytes
            && may_go(count)
            && kept - sizes[count] >= least
        {
            kept -= sizes[count];
            count += 1;
        }
        while let Some(age_max) = config.retention_age
            && may_go(count)
            && now - latest[count] > age_max.as_millis() as i64
        {
            count += 1;
        }
        (count > 0).then(|| next_of(count - 1).max(start))
    }
}

fn bytes(extent: &Extent) -> Vec<u8> {
    let mut bytes = vec![0; extent.len as usize];
    extent.file.read_exact_at(&mut bytes, extent.position).expect("extents are valid");
    bytes
}

fn long(entry: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes"))
}

fn int(entry: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes"))
}

fn entry_of(entry: &[u8]) -> Entry {
    let epoch = i16::from_be_bytes(entry[8..10].try_into().expect("two bytes"));
    let (sequence, offset, delta) = (int(entry, 10), long(entry, 14), int(entry, 22));
    (epoch, sequence, offset, delta, long(entry, 26), int(entry, 34), long(entry, 38))
}
