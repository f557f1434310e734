//! Walks over the batches of a file without holding more of them than asked for.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use ottla_protocol::batch::{ATTRIBUTES_AT, BATCH_OVERHEAD, BatchHeader, Crc32c, LOG_OVERHEAD};
use ottla_protocol::compression::Compression;
use ottla_runtime::{Disk, File, OpenMode};

use super::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, DumpError, Dumped, trouble};

/// Bytes of a batch up to its magic, which stand in the same place in every format.
const UP_TO_MAGIC: u64 = 17;
/// Fewest bytes behind the length in any format.
const LENGTH_MIN: i32 = 14;
/// Bytes that are read at once; what is wanted next is mostly among them.
const PIECE_BYTES: usize = 64 << 10;

/// A file of batches, read from front to back.
pub(super) struct Batches {
    path: PathBuf,
    file: File,
    position: u64,
    end: u64,
    ahead: RefCell<Piece>,
}

/// Bytes of a file that were read last.
#[derive(Default)]
struct Piece {
    position: u64,
    bytes: Vec<u8>,
}

/// A batch in its file.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// Where it begins.
    pub(super) position: u64,
    /// Its header.
    pub(super) header: BatchHeader,
}

impl Batches {
    /// The batches of a file.
    pub(super) fn open(disk: &Disk, path: &Path) -> Dumped<Batches> {
        let failed = |error| trouble(path, error);
        let file = disk.open(path, OpenMode::Read).map_err(failed)?;
        let end = file.len().map_err(failed)?;
        Ok(Batches { path: path.to_owned(), file, position: 0, end, ahead: RefCell::default() })
    }

    /// Bytes up to where the reading ends.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Ends the reading after `bytes`.
    pub(super) fn limit(&mut self, bytes: u64) {
        self.end = self.end.min(bytes);
    }

    /// Goes on at `position`, for at most `bytes`; whether that is inside the file.
    pub(super) fn seek(&mut self, position: u64, bytes: u64) -> Dumped<bool> {
        let len = self.file.len().map_err(|error| trouble(&self.path, error))?;
        self.position = position;
        self.end = len.min(position.saturating_add(bytes));
        Ok(position <= len)
    }

    /// The next batch that is there as a whole.
    pub(super) fn next(&mut self) -> Dumped<Option<Found>> {
        let position = self.position;
        if position + UP_TO_MAGIC >= self.end {
            return Ok(None);
        }
        let mut front = [0; UP_TO_MAGIC as usize];
        self.read(&mut front, position)?;
        let length = i32::from_be_bytes([front[8], front[9], front[10], front[11]]);
        if length < LENGTH_MIN {
            return Err(DumpError::File(format!(
                "Found record size {length} smaller than minimum record overhead ({LENGTH_MIN}) \
                 in file {}.",
                self.path.display()
            )));
        }
        let next = position + LOG_OVERHEAD as u64 + length as u64;
        if next > self.end {
            return Ok(None);
        }
        let mut head = [0; BATCH_OVERHEAD];
        let readable = BATCH_OVERHEAD.min((next - position) as usize);
        self.read(&mut head[..readable], position)?;
        let header = BatchHeader::read(&head).map_err(|error| self.at(position, error))?;
        self.position = next;
        Ok(Some(Found { position, header }))
    }

    /// Whether the batch's checksum fits its bytes.
    pub(super) fn is_valid(&self, found: &Found) -> Dumped<bool> {
        let mut crc = Crc32c::new();
        let mut piece = vec![0; PIECE_BYTES.min(found.header.size())];
        let mut at = found.position + ATTRIBUTES_AT as u64;
        let end = found.position + found.header.size() as u64;
        while at < end {
            let len = piece.len().min((end - at) as usize);
            self.read(&mut piece[..len], at)?;
            crc.update(&piece[..len]);
            at += len as u64;
        }
        Ok(crc.finish() == found.header.crc)
    }

    /// The batch's records, decompressed.
    pub(super) fn records(&self, found: &Found, codec: Compression) -> Dumped<Vec<u8>> {
        let size = found.header.size();
        if size > BATCH_BYTES_MAX {
            let reason = format!("{size} bytes are more than the limit of {BATCH_BYTES_MAX}");
            return Err(self.at(found.position, reason));
        }
        let mut bytes = vec![0; size - BATCH_OVERHEAD];
        self.read(&mut bytes, found.position + BATCH_OVERHEAD as u64)?;
        if codec == Compression::None {
            return Ok(bytes);
        }
        let records = codec.decompress(&bytes, DECOMPRESSED_BYTES_MAX);
        records.map_err(|error| self.at(found.position, error))
    }

    /// What is wrong with the batch at `position`.
    pub(super) fn at(&self, position: u64, reason: impl std::fmt::Display) -> DumpError {
        trouble(&self.path, format!("batch at position {position}: {reason}"))
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> Dumped<()> {
        let failed = |error| trouble(&self.path, error);
        if buffer.len() >= PIECE_BYTES {
            return self.file.read_exact_at(buffer, position).map_err(failed);
        }
        let mut ahead = self.ahead.borrow_mut();
        if !ahead.fill(buffer, position) {
            ahead.position = position;
            ahead.bytes.resize(PIECE_BYTES, 0);
            let mut len = 0;
            while len < buffer.len() {
                let at = position + len as u64;
                match self.file.read_at(&mut ahead.bytes[len..], at).map_err(failed)? {
                    0 => break,
                    read => len += read,
                }
            }
            ahead.bytes.truncate(len);
            if !ahead.fill(buffer, position) {
                return Err(trouble(&self.path, "the file ended while it was read"));
            }
        }
        Ok(())
    }
}

impl Piece {
    /// Fills `buffer` with the bytes at `position`, if all of them are here.
    fn fill(&self, buffer: &mut [u8], position: u64) -> bool {
        let start = position.checked_sub(self.position).and_then(|at| usize::try_from(at).ok());
        let here = start.and_then(|start| self.bytes.get(start..)?.get(..buffer.len()));
        if let Some(bytes) = here {
            buffer.copy_from_slice(bytes);
        }
        here.is_some()
    }
}
