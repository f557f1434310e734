//! What of a log is to be cleaned, and whether it is worth it. Pure.
//!
//! ```text
//!   log start      first dirty                 uncleanable
//!   ├──── clean ───┼─────────── dirty ─────────┼── stays as it is ──┤ end
//! ```
//! Nothing is cleaned that is not stable, not durable, younger than `min.compaction.lag.ms`, or in
//! the segment that is written to; only whole segments are. Source: `LogCleanerManager`,
//! `LogToClean`, `Cleaner.groupSegmentsBySize`.

use std::cmp::Ordering;

use ottla_config::TopicConfig;
use ottla_types::{Offset, Timestamp};

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct SegmentFacts {
    pub(in super::super) base: Offset,
    pub(in super::super) size: u64,
    /// Time of its latest record.
    pub(in super::super) latest: Timestamp,
    /// Time of its first batch, where that is asked for.
    pub(in super::super) first: Option<Timestamp>,
    /// Entries of its indexes: of offsets, and of times.
    pub(in super::super) index_entries: (u64, u64),
}

/// The part of a log that can be cleaned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cleanable {
    /// Where what was never cleaned begins.
    pub first_dirty: Offset,
    /// Where it ends.
    pub end: Offset,
    /// Bytes in front of it.
    pub clean_bytes: u64,
    /// Its bytes.
    pub dirty_bytes: u64,
    /// For how long `max.compaction.lag.ms` has been over for its oldest record, ms; 0 if it is
    /// not.
    pub overdue_ms: u64,
}

impl Cleanable {
    /// The part of the bytes that is dirty, from 0 to 1.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            total => self.dirty_bytes as f64 / total as f64,
        }
    }

    /// Whether it is to be cleaned now.
    #[must_use]
    pub fn is_due(&self, config: &TopicConfig) -> bool {
        let is_worth_it = self.dirty_ratio() > config.min_cleanable_ratio;
        self.dirty_bytes > 0 && (is_worth_it || self.overdue_ms > 0)
    }

    /// Which of two logs is dirtier.
    #[must_use]
    pub fn cmp_dirt(&self, other: &Cleanable) -> Ordering {
        self.dirty_ratio().total_cmp(&other.dirty_ratio())
    }
}

/// Finds what can be cleaned of these segments, the last of which is written to. `cleaned_to` is
/// where the last cleaning ended, and nothing at or behind `bound` is stable and durable.
pub(in super::super) fn plan(
    segments: &[SegmentFacts],
    log: (Offset, Offset),
    cleaned_to: Option<Offset>,
    bound: Offset,
    config: &TopicConfig,
    now: Timestamp,
) -> Cleanable {
    let (log_start, log_end) = log;
    let first_dirty = cleaned_to.filter(|to| (log_start..=log_end).contains(to));
    let first_dirty = first_dirty.unwrap_or(log_start);
    let closed = &segments[..segments.len() - 1];
    let end_of = |index: usize| segments[index + 1].base;
    let millis = |age: std::time::Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let youngest = now.0.saturating_sub(millis(config.min_compaction_lag));
    let is_fixed = |index: usize| {
        let is_young = !config.min_compaction_lag.is_zero() && closed[index].latest.0 > youngest;
        end_of(index) > first_dirty && (end_of(index) > bound || is_young)
    };
    let count = (0..closed.len()).find(|index| is_fixed(*index)).unwrap_or(closed.len());
    let end = segments[count].base.max(first_dirty);
    let is_dirty = |index: &usize| end_of(*index) > first_dirty;
    let bytes = |dirty: bool| -> u64 {
        let chosen = (0..count).filter(|index| is_dirty(index) == dirty);
        chosen.map(|index| closed[index].size).sum()
    };
    let oldest = now.0.saturating_sub(config.max_compaction_lag.map_or(i64::MAX, millis));
    let first = (0..closed.len())
        .filter(is_dirty)
        .filter_map(|index| closed[index].first)
        .filter(|first| first.0 > 0)
        .min();
    let overdue = first.map_or(0, |first| oldest.saturating_sub(first.0));
    let overdue_ms = u64::try_from(overdue).unwrap_or(0);
    Cleanable { first_dirty, end, clean_bytes: bytes(false), dirty_bytes: bytes(true), overdue_ms }
}

/// Groups neighbours that fit into one segment together: how many are in each group. `end` is
/// where the last one of them ends at most.
pub(in super::super) fn groups(
    segments: &[SegmentFacts],
    end: Offset,
    config: &TopicConfig,
) -> Vec<usize> {
    let index_max = u64::from(config.segment_index_bytes);
    let mut groups = Vec::new();
    let mut left = segments;
    while let Some((first, rest)) = left.split_first() {
        let (mut size, (mut offsets, mut times)) = (first.size, first.index_entries);
        let mut count = 1;
        for (index, next) in rest.iter().enumerate() {
            size += next.size;
            offsets += next.index_entries.0;
            times += next.index_entries.1;
            let next_end = rest.get(index + 1).map_or(end, |segment| segment.base);
            let is_near = next.size == 0 || next_end.since(first.base) <= i64::from(i32::MAX);
            let fits = size <= u64::from(config.segment_bytes)
                && offsets * 8 <= index_max
                && times * 12 <= index_max;
            if !(is_near && fits) {
                break;
            }
            count += 1;
        }
        groups.push(count);
        left = &left[count..];
    }
    groups
}
