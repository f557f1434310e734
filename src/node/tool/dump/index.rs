//! Offset and time indexes, held against the log beside them.

use std::path::{Path, PathBuf};

use ottla_protocol::batch::{Records, TimestampType};
use ottla_runtime::{Disk, File, OpenMode};

use super::batches::{Batches, Found};
use super::{Dump, DumpError, Dumped, IndexMode, absolute, base_offset, trouble};

/// No batch is older than this; also what an index without entries begins with.
const NO_TIMESTAMP: i64 = -1;

/// A file of entries of `N` bytes.
struct Entries<const N: usize> {
    path: PathBuf,
    file: File,
    bytes: u64,
    base: i64,
}

impl<const N: usize> Entries<N> {
    fn open(disk: &Disk, path: &Path) -> Dumped<Entries<N>> {
        let base = base_offset(path)?;
        let failed = |error| trouble(path, error);
        let file = disk.open(path, OpenMode::Read).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        Ok(Entries { path: path.to_owned(), file, bytes, base })
    }

    fn len(&self) -> u64 {
        self.bytes / N as u64
    }

    fn get(&self, index: u64) -> Dumped<[u8; N]> {
        let mut entry = [0; N];
        let read = self.file.read_exact_at(&mut entry, index * N as u64);
        read.map(|()| entry).map_err(|error| trouble(&self.path, error))
    }

    fn offset(&self, relative: [u8; 4]) -> i64 {
        self.base.wrapping_add(i64::from(i32::from_be_bytes(relative)))
    }
}

impl Entries<8> {
    /// Offset and position.
    fn entry(&self, index: u64) -> Dumped<(i64, i32)> {
        let [a, b, c, d, position @ ..] = self.get(index)?;
        Ok((self.offset([a, b, c, d]), i32::from_be_bytes(position)))
    }

    /// Position of the last entry at or below `offset`.
    fn position_of(&self, offset: i64) -> Dumped<u64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 <= offset { low = middle + 1 } else { high = middle }
        }
        Ok(match low.checked_sub(1) {
            None => 0,
            Some(index) => self.entry(index)?.1.max(0) as u64,
        })
    }

    fn sanity(&self) -> Dumped<()> {
        let shown = absolute(&self.path);
        let last = self.len().checked_sub(1).map(|last| self.entry(last)).transpose()?;
        if let Some((last, _)) = last
            && last < self.base
        {
            return Err(DumpError::File(format!(
                "Corrupt index found, index file {shown} has non-zero size but the last offset is \
                 {last} which is less than the base offset {}",
                self.base
            )));
        }
        whole("Index", &shown, self.bytes, 8)
    }
}

impl Entries<12> {
    /// Timestamp and offset.
    fn entry(&self, index: u64) -> Dumped<(i64, i64)> {
        let entry = self.get(index)?;
        let (time, relative) = entry.split_first_chunk::<8>().expect("twelve bytes");
        let relative = relative.try_into().expect("four bytes");
        Ok((i64::from_be_bytes(*time), self.offset(relative)))
    }

    fn sanity(&self) -> Dumped<()> {
        let shown = absolute(&self.path);
        if let Some(last) = self.len().checked_sub(1) {
            let ((first_time, _), (time, offset)) = (self.entry(0)?, self.entry(last)?);
            let head = format!(
                "Corrupt time index found, time index file ({shown}) has non-zero size but the last"
            );
            if time < first_time {
                return Err(DumpError::File(format!(
                    "{head} timestamp is {time} which is less than the first timestamp {first_time}"
                )));
            }
            if offset < self.base {
                return Err(DumpError::File(format!(
                    "{head} offset is {offset} which is less than the first offset {}",
                    self.base
                )));
            }
        }
        whole("Time index", &shown, self.bytes, 12)
    }
}

fn whole(kind: &str, shown: &str, bytes: u64, entry_bytes: u64) -> Dumped<()> {
    if bytes.is_multiple_of(entry_bytes) {
        return Ok(());
    }
    Err(DumpError::File(format!(
        "{kind} file {shown} is corrupt, found {bytes} bytes which is neither positive nor a \
         multiple of {entry_bytes}"
    )))
}

/// The file of the same segment with another suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let segment = name.split('.').next().unwrap_or_default();
    path.with_file_name(format!("{segment}.{suffix}"))
}

impl Dump<'_> {
    pub(super) fn offset_index(&mut self, path: &Path) -> Dumped<()> {
        let mut log = Batches::open(self.disk, &beside(path, "log"))?;
        let index = Entries::<8>::open(self.disk, path)?;
        if index.len() == 0 {
            writeln!(self.out, "{} is empty.", path.display())?;
            return Ok(());
        }
        if self.request.index == IndexMode::Sanity {
            index.sanity()?;
            writeln!(self.out, "{} passed sanity check.", path.display())?;
            return Ok(());
        }
        let shown = absolute(path);
        for number in 0..index.len() {
            let (offset, position) = index.entry(number)?;
            // A file that was preallocated ends in zeros, or is nothing else beside an empty log.
            if offset == index.base && (number > 0 || (position == 0 && log.len() == 0)) {
                return Ok(());
            }
            match self.indexed(&mut log, position) {
                Ok(found) if found.header.last_offset().0 == offset => {}
                Ok(found) => {
                    let last = found.header.last_offset().0;
                    self.reports.index_mismatch(&shown, offset, last);
                }
                Err(DumpError::File(reason)) => {
                    let entry =
                        format!("{}: offset: {offset} position: {position}", path.display());
                    self.complain(&format!("{entry}: {reason}"))?;
                }
                Err(error) => return Err(error),
            }
            if self.request.index == IndexMode::Dump {
                writeln!(self.out, "offset: {offset} position: {position}")?;
            }
        }
        Ok(())
    }

    /// The batch that an entry of the offset index points to.
    fn indexed(&self, log: &mut Batches, position: i32) -> Dumped<Found> {
        let nothing = || DumpError::File("no batch begins there".to_owned());
        let position = u64::try_from(position).map_err(|_| nothing())?;
        if !log.seek(position, self.request.max_message_size)? {
            return Err(nothing());
        }
        log.next()?.ok_or_else(nothing)
    }

    pub(super) fn time_index(&mut self, path: &Path) -> Dumped<()> {
        let mut log = Batches::open(self.disk, &beside(path, "log"))?;
        let offsets = Entries::<8>::open(self.disk, &beside(path, "index"))?;
        let times = Entries::<12>::open(self.disk, path)?;
        if self.request.index == IndexMode::Sanity {
            times.sanity()?;
            writeln!(self.out, "{} passed sanity check.", path.display())?;
            return Ok(());
        }
        let shown = absolute(path);
        let mut before = NO_TIMESTAMP;
        for number in 0..times.len() {
            let (time, offset) = times.entry(number)?;
            if offset == times.base && number > 0 {
                return Ok(());
            }
            log.seek(offsets.position_of(offset)?, u64::MAX)?;
            match self.check_time(&mut log, &shown, (time, offset), before) {
                Err(DumpError::File(reason)) => {
                    let entry = format!("{}: timestamp: {time} offset: {offset}", path.display());
                    self.complain(&format!("{entry}: {reason}"))?;
                }
                done => done?,
            }
            if self.request.index == IndexMode::Dump {
                writeln!(self.out, "timestamp: {time} offset: {offset}")?;
            }
            before = time;
        }
        Ok(())
    }

    /// Holds an entry against the first batch that ends at its offset or behind it.
    fn check_time(
        &mut self,
        log: &mut Batches,
        shown: &str,
        (time, offset): (i64, i64),
        before: i64,
    ) -> Dumped<()> {
        let found = loop {
            match log.next()? {
                None => break None,
                Some(found) if found.header.last_offset().0 >= offset => break Some(found),
                Some(_) => {}
            }
        };
        let last = found.map_or(-1, |found| found.header.last_offset().0);
        let Some(found) = found.filter(|_| last == offset) else {
            self.reports.offset_not_found(shown, offset, last);
            return Ok(());
        };
        let largest = largest_time(log, &found)?;
        if largest != time {
            self.reports.time_mismatch(shown, time, largest);
        }
        if before >= time {
            self.reports.time_out_of_order(shown, time, before);
        }
        Ok(())
    }
}

/// The largest time of the batch's records.
fn largest_time(log: &Batches, found: &Found) -> Dumped<i64> {
    let header = &found.header;
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        let time = if header.record_count > 0 { header.max_timestamp.0 } else { NO_TIMESTAMP };
        return Ok(time.max(NO_TIMESTAMP));
    }
    let bad = |reason: &dyn std::fmt::Display| log.at(found.position, reason);
    let codec = header.attributes.compression().ok_or_else(|| bad(&"unknown codec"))?;
    let bytes = log.records(found, codec)?;
    let mut largest = NO_TIMESTAMP;
    for record in Records::new(header, &bytes) {
        largest = largest.max(record.map_err(|error| bad(&error))?.timestamp.0);
    }
    Ok(largest)
}
