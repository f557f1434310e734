//! What is sound behind a place where a log is damaged.
//!
//! A torn tail has nothing behind it, unless the machine lost power and kept younger sectors than
//! it lost; damage has. A batch is looked for where the broken one says that it ends, and else at
//! every byte: its header must be plausible there, and its checksum right.

use std::path::{Path, PathBuf};

use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader};
use ottla_runtime::{Disk, File, OpenMode};
use ottla_types::Offset;

use super::listing::Listing;
use crate::error::{Damage, LogError};
use crate::names::SegmentFile;

/// A batch above this is not looked for: none that a broker takes is near it.
const BATCH_MAX: usize = 256 << 20;
/// Bytes read ahead while a batch is looked for.
const WINDOW: usize = 256 << 10;
/// Bytes of checksums that may be computed in vain, for each byte of the file.
const VAIN_FACTOR: u64 = 16;

/// A sound batch behind the damage.
pub struct FoundBatch<'a> {
    /// Its segment.
    pub path: &'a Path,
    /// Where it begins, in bytes.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// All of it.
    pub bytes: &'a [u8],
}

/// Shows each sound batch behind `damage`, in the log's order.
///
/// # Errors
/// Those of reading.
pub fn each_sound_behind(
    disk: &Disk,
    damage: &Damage,
    mut visit: impl FnMut(&FoundBatch<'_>),
) -> Result<(), LogError> {
    let mut next = damage.offset;
    for (path, from) in files_behind(disk, damage)? {
        let mut search = match Search::open(disk, &path) {
            // One that cannot be read holds nothing that can be kept.
            Err(error) if error.is_damage() => continue,
            search => search?,
        };
        let io_error = |error| LogError::io(&path, error);
        let mut position = from;
        while let Some((at, header, bytes)) = search.next(position, next).map_err(io_error)? {
            next = header.next_offset();
            position = at + bytes.len() as u64;
            visit(&FoundBatch { path: &path, position: at, header, bytes: &bytes });
        }
    }
    Ok(())
}

/// The damaged segment from the damage on, and those behind it.
fn files_behind(disk: &Disk, damage: &Damage) -> Result<Vec<(PathBuf, u64)>, LogError> {
    let Some(dir) = damage.path.parent() else { return Ok(Vec::new()) };
    let bases = Listing::read(disk, dir).map_err(|error| LogError::io(dir, error))?.bases;
    let name = damage.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((SegmentFile::Log, first)) = SegmentFile::parse(name) else { return Ok(Vec::new()) };
    let path = |base: Offset| dir.join(SegmentFile::Log.name(base));
    let later = bases.into_iter().filter(|base| *base > first).map(|base| (path(base), 0));
    Ok(std::iter::once((damage.path.clone(), damage.position)).chain(later).collect())
}

/// Looks for batches in a file.
pub(super) struct Search {
    file: File,
    pub(super) end: u64,
    window: Vec<u8>,
    window_at: u64,
    /// Bytes of checksums that were computed in vain.
    vain: u64,
}

impl Search {
    /// In a segment; the error may be damage.
    pub(super) fn open(disk: &Disk, path: &Path) -> Result<Search, LogError> {
        let opened = disk.open(path, OpenMode::ReadWrite).and_then(|file| {
            let end = file.len()?;
            Ok((file, end))
        });
        let (file, end) = opened.map_err(|error| LogError::io(path, error))?;
        Ok(Search { file, end, window: Vec::new(), window_at: 0, vain: 0 })
    }

    /// The first sound batch at `position` or behind it, with offsets from `least` on.
    pub(super) fn next(
        &mut self,
        mut position: u64,
        least: Offset,
    ) -> std::io::Result<Option<(u64, BatchHeader, Vec<u8>)>> {
        let budget = self.end.saturating_mul(VAIN_FACTOR);
        while position + BATCH_OVERHEAD as u64 <= self.end && self.vain <= budget {
            let Some(header) = self.header_at(position)? else { break };
            if let Some(header) = plausible(&header, least, self.end - position) {
                let mut bytes = vec![0; header.size()];
                self.file.read_exact_at(&mut bytes, position)?;
                let sound = BatchHeader::read_checked(&bytes).is_ok();
                // No checksum covers the offset.
                if sound
                    && (header.base_offset == least
                        || !self.is_contradicted(position, &header, least)?)
                {
                    return Ok(Some((position, header, bytes)));
                }
                self.vain += bytes.len() as u64;
            }
            position += 1;
        }
        Ok(None)
    }

    /// Whether the batch that follows is sound and lies in front of this one.
    fn is_contradicted(
        &mut self,
        position: u64,
        header: &BatchHeader,
        least: Offset,
    ) -> std::io::Result<bool> {
        let behind = position + header.size() as u64;
        let Some(next) = self.header_at(behind)? else { return Ok(false) };
        let Some(next) = plausible(&next, least, self.end - behind) else { return Ok(false) };
        if next.base_offset >= header.next_offset() {
            return Ok(false);
        }
        let mut bytes = vec![0; next.size()];
        self.file.read_exact_at(&mut bytes, behind)?;
        Ok(BatchHeader::read_checked(&bytes).is_ok())
    }

    fn header_at(&mut self, position: u64) -> std::io::Result<Option<[u8; BATCH_OVERHEAD]>> {
        if position >= self.end {
            return Ok(None);
        }
        let inside = position >= self.window_at
            && position + BATCH_OVERHEAD as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let len = usize::try_from(self.end - position).unwrap_or(WINDOW).min(WINDOW);
            self.window.resize(len, 0);
            let read = self.file.read_at(&mut self.window, position)?;
            self.window.truncate(read);
            self.window_at = position;
        }
        let start = (position - self.window_at) as usize;
        let bytes = self.window.get(start..start + BATCH_OVERHEAD);
        Ok(bytes.map(|bytes| bytes.try_into().expect("of that length")))
    }
}

/// The header, if it can be one of a batch behind `least` that fits into `left` bytes.
fn plausible(bytes: &[u8], least: Offset, left: u64) -> Option<BatchHeader> {
    let header = BatchHeader::read(bytes).ok()?;
    let fits = header.size() as u64 <= left && header.size() <= BATCH_MAX;
    let counts = header.last_offset_delta >= 0 && header.record_count >= 0;
    (fits && counts && header.base_offset >= least).then_some(header)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch::{BatchBuilder, BatchKind};
    use ottla_runtime::Runtime;
    use ottla_runtime::sim::SimWorld;
    use ottla_types::{LeaderEpoch, Timestamp};

    use super::*;

    fn batch(at: i64, value: &[u8]) -> Vec<u8> {
        let (offset, epoch) = (Offset(at), LeaderEpoch(1));
        let mut batch = BatchBuilder::new(BatchKind::Data, offset, epoch, Timestamp(5));
        batch.push(None, Some(value));
        batch.build()
    }

    /// Base offsets of what is found behind the first byte of `pieces` put together.
    fn found(pieces: &[&[u8]]) -> Vec<i64> {
        let disk = Runtime::simulated(&SimWorld::new(1).node("a")).disk().clone();
        let path = Path::new("/00000000000000000000.log").to_owned();
        disk.write_atomically(&path, &pieces.concat(), None, None).expect("written");
        let damage = Damage { path, position: 0, offset: Offset(3), reason: String::new() };
        let mut found = Vec::new();
        let visit = |batch: &FoundBatch<'_>| found.push(batch.header.base_offset.0);
        each_sound_behind(&disk, &damage, visit).expect("readable");
        found
    }

    #[test]
    fn sound_batches_are_found_behind_anything() {
        let mut broken = batch(3, b"three");
        broken[40] ^= 1;
        let (four, five) = (batch(4, b"four"), batch(5, b"five"));
        assert_eq!(found(&[&broken, &four, &five]), [4, 5]);
        let mut no_length = broken.clone();
        no_length[8..12].fill(0xff);
        assert_eq!(found(&[&no_length, &four, &five]), [4, 5]);
        assert_eq!(found(&[&broken[..50], &four, &broken, &five]), [4, 5]);
        assert_eq!(found(&[&[0; 300_000], &five]), [5]);
        assert_eq!(found(&[&batch(900, b"three?"), &four, &five]), [4, 5], "its offset is wrong");
    }

    #[test]
    fn what_is_torn_or_older_is_not() {
        let (two, four) = (batch(2, b"two"), batch(4, b"four"));
        assert_eq!(found(&[&four[..four.len() - 1]]), [0; 0]);
        assert_eq!(found(&[&[0; 4096]]), [0; 0]);
        assert_eq!(found(&[b"x", &two]), [0; 0], "the rest of a batch that is gone");
        assert_eq!(found(&[]), [0; 0]);
    }
}
