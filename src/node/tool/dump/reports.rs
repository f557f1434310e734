//! What does not fit, told at the end of a dump: index entries that the log does not bear out, and
//! offsets that do not follow each other.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Pairs of each kind that are remembered for a file; beyond, they are only counted.
const PAIRS_MAX: usize = 1 << 20;

/// Pairs of numbers, by file.
#[derive(Default)]
struct Pairs(Vec<(String, Kept)>);

/// The pairs of a file.
#[derive(Default)]
struct Kept {
    /// In the order they were found.
    pairs: Vec<(i64, i64)>,
    /// How many more there were.
    more: u64,
}

impl Pairs {
    fn add(&mut self, file: &str, pair: (i64, i64)) {
        if self.0.last().is_none_or(|(last, _)| last != file) {
            self.0.push((file.to_owned(), Kept::default()));
        }
        let (_, kept) = self.0.last_mut().expect("just pushed");
        if kept.pairs.len() < PAIRS_MAX {
            kept.pairs.push(pair);
        } else {
            kept.more += 1;
        }
    }

    /// Writes `head` with the file, then each pair as `line` shows it.
    fn write(
        &self,
        err: &mut dyn Write,
        head: impl Fn(&str) -> String,
        line: impl Fn(i64, i64) -> String,
    ) -> io::Result<()> {
        for (file, kept) in &self.0 {
            writeln!(err, "{}", head(file))?;
            for (first, second) in &kept.pairs {
                writeln!(err, "{}", line(*first, *second))?;
            }
            if kept.more > 0 {
                writeln!(err, "  and {} more", kept.more)?;
            }
        }
        Ok(())
    }

    /// One pair for each first number, as in a map: the last one that was found.
    fn keyed(&self, descending: bool) -> Pairs {
        let keyed = self.0.iter().map(|(file, kept)| {
            let map: BTreeMap<i64, i64> = kept.pairs.iter().copied().collect();
            let mut pairs: Vec<_> = map.into_iter().collect();
            if descending {
                pairs.reverse();
            }
            (file.clone(), Kept { pairs, more: kept.more })
        });
        Pairs(keyed.collect())
    }
}

/// All that is told at the end.
#[derive(Default)]
pub(super) struct Reports {
    index_mismatches: Pairs,
    time_mismatches: Pairs,
    times_out_of_order: Pairs,
    offsets_not_found: Pairs,
    gaps: Pairs,
}

impl Reports {
    /// An index entry points to a batch that ends with another offset.
    pub(super) fn index_mismatch(&mut self, file: &str, indexed: i64, found: i64) {
        self.index_mismatches.add(file, (indexed, found));
    }

    /// A batch has another largest time than the index says.
    pub(super) fn time_mismatch(&mut self, file: &str, indexed: i64, found: i64) {
        self.time_mismatches.add(file, (indexed, found));
    }

    /// A time is not larger than the one before it.
    pub(super) fn time_out_of_order(&mut self, file: &str, indexed: i64, before: i64) {
        self.times_out_of_order.add(file, (indexed, before));
    }

    /// No batch ends with the indexed offset; -1 when there is none behind it either.
    pub(super) fn offset_not_found(&mut self, file: &str, indexed: i64, found: i64) {
        self.offsets_not_found.add(file, (indexed, found));
    }

    /// A record does not follow the one before it; after a compaction that is as it should be.
    pub(super) fn gap(&mut self, file: &str, before: i64, offset: i64) {
        self.gaps.add(file, (before, offset));
    }

    /// Writes everything; whether an index was wrong.
    pub(super) fn write(&self, err: &mut dyn Write) -> io::Result<bool> {
        self.index_mismatches.keyed(true).write(
            err,
            |file| format!("Mismatches in :{file}"),
            |indexed, found| format!("  Index offset: {indexed}, log offset: {found}"),
        )?;
        self.time_mismatches.write(
            err,
            |file| format!("Found timestamp mismatch in :{file}"),
            |indexed, found| format!("  Index timestamp: {indexed}, log timestamp: {found}"),
        )?;
        self.times_out_of_order.write(
            err,
            |file| format!("Found out of order timestamp in :{file}"),
            |indexed, before| {
                format!("  Index timestamp: {indexed}, Previously indexed timestamp: {before}")
            },
        )?;
        self.offsets_not_found.write(
            err,
            |_| "The following indexed offsets are not found in the log.".to_owned(),
            |indexed, found| format!("Indexed offset: {indexed}, found log offset: {found}"),
        )?;
        self.gaps.keyed(false).write(
            err,
            |file| format!("Non-consecutive offsets in {file}"),
            |before, offset| format!("  {before} is followed by {offset}"),
        )?;
        let of_indexes = [
            &self.index_mismatches,
            &self.time_mismatches,
            &self.times_out_of_order,
            &self.offsets_not_found,
        ];
        Ok(of_indexes.iter().any(|pairs| !pairs.0.is_empty()))
    }
}
