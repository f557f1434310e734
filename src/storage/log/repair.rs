//! Finding what is not sound in a log that nobody uses, and taking it out.
//!
//! A partition's log may have gaps, as compaction leaves them: only what is not sound is taken out
//! of it. The metadata log may not: it is cut. What goes out of a file is kept in another one
//! beside it, which neither Ottla nor Kafka looks at: `SEGMENT.log.damaged-BYTE`. A segment is
//! replaced in one step, and its indexes go: the next start makes them again.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, OpenMode};
use ottla_types::Offset;

use super::SyncPoints;
use super::behind::{FoundBatch, Search};
use super::index::OffsetIndex;
use super::listing::Listing;
use crate::error::{Damage, LogError};
use crate::names::SegmentFile;

/// Bytes copied at a time.
const CHUNK: u64 = 1 << 20;

/// Bytes of a log that are no sound batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Break {
    /// Where it begins, and why.
    pub damage: Damage,
    /// The bytes of its file; `None` for a file that cannot be read at all.
    pub bytes: Option<Range<u64>>,
}

/// What is in a log.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Examined {
    /// Where it begins.
    pub start: Offset,
    /// Behind its last sound batch.
    pub end: Offset,
    /// What is not sound, in the log's order.
    pub breaks: Vec<Break>,
    /// Its segments.
    pub segments: Vec<PathBuf>,
    /// The last of them.
    pub last: PathBuf,
}

/// Whether the bytes that are taken out are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// In a file beside the log.
    Aside,
    /// Nowhere.
    Nowhere,
}

/// Looks at each batch of the log in `dir` and changes nothing. `visit` is shown each sound one,
/// and how many breaks are in front of it. A log that is `dense` has no gaps.
///
/// # Errors
/// Those of listing and reading.
pub fn examine(
    disk: &Disk,
    dir: &Path,
    dense: bool,
    mut visit: impl FnMut(&FoundBatch<'_>, usize),
) -> Result<Examined, LogError> {
    let bases = Listing::read(disk, dir).map_err(|error| LogError::io(dir, error))?.bases;
    let mut found = Examined::default();
    found.start = bases.first().copied().unwrap_or_default();
    found.end = found.start;
    for (index, base) in bases.iter().copied().enumerate() {
        let path = dir.join(SegmentFile::Log.name(base));
        if base > found.end && dense && index > 0 {
            let reason = format!("the next segment begins at offset {base}");
            found.note(&found.last.clone(), 0..0, &reason);
        }
        found.last.clone_from(&path);
        found.segments.push(path.clone());
        let mut search = match Search::open(disk, &path) {
            Err(error) if error.is_damage() => {
                let damage = found.damage(&path, 0, &error.to_string());
                found.breaks.push(Break { damage, bytes: None });
                continue;
            }
            search => search?,
        };
        found.end = found.end.max(base);
        let mut position = 0;
        let failed = |error| LogError::io(&path, error);
        while let Some((at, header, bytes)) = search.next(position, found.end).map_err(failed)? {
            if at > position {
                found.note(&path, position..at, "no sound batch is here");
            } else if dense && header.base_offset > found.end {
                found.note(&path, at..at, "it does not follow the one before");
            }
            visit(
                &FoundBatch { path: &path, position: at, header, bytes: &bytes },
                found.breaks.len(),
            );
            found.end = header.next_offset();
            position = at + bytes.len() as u64;
        }
        if position < search.end {
            found.note(&path, position..search.end, "no sound batch is here");
        }
        let is_cut = bases.get(index + 1).is_some_and(|next| found.end < *next);
        let indexed = OffsetIndex::promised(disk, &path.with_extension("index"), base);
        if let Some(last) = indexed.filter(|last| is_cut && *last >= found.end) {
            found.note(&path, position..position, &format!("its index goes on to offset {last}"));
        }
    }
    Ok(found)
}

impl Examined {
    fn note(&mut self, path: &Path, bytes: Range<u64>, reason: &str) {
        let damage = self.damage(path, bytes.start, reason);
        self.breaks.push(Break { damage, bytes: Some(bytes) });
    }

    fn damage(&self, path: &Path, position: u64, reason: &str) -> Damage {
        Damage { path: path.to_owned(), position, offset: self.end, reason: reason.to_owned() }
    }
}

/// Takes the bytes of `breaks` out of the segment at `path`, durably; returns where they are kept.
///
/// # Errors
/// Those of reading and writing; the segment is as it was.
pub fn take_out(
    disk: &Disk,
    path: &Path,
    breaks: &[Range<u64>],
    kept: Kept,
) -> Result<Option<PathBuf>, LogError> {
    let failed = |error| LogError::io(path, error);
    let len = disk.open(path, OpenMode::Read).and_then(|file| file.len()).map_err(failed)?;
    let mut sound = Vec::new();
    let mut at = 0;
    let breaks: Vec<_> = breaks.iter().map(|range| range.start..range.end.min(len)).collect();
    for range in &breaks {
        sound.push(at..range.start);
        at = range.end;
    }
    sound.push(at..len);
    let aside = aside(path, breaks.first().map_or(0, |range| range.start));
    if kept == Kept::Aside {
        copy(disk, path, &breaks, &aside).map_err(|error| LogError::io(&aside, error))?;
    }
    let repaired = path.with_extension("log.repaired");
    copy(disk, path, &sound, &repaired).map_err(|error| LogError::io(&repaired, error))?;
    disk.rename(&repaired, path).map_err(failed)?;
    forget_indexes(disk, path)?;
    Ok((kept == Kept::Aside).then_some(aside))
}

/// Takes a segment out as a whole; returns where it is kept.
///
/// # Errors
/// Those of renaming and removing.
pub fn take_out_segment(disk: &Disk, path: &Path, kept: Kept) -> Result<Option<PathBuf>, LogError> {
    let aside = aside(path, 0);
    disk.rename(path, &aside).map_err(|error| LogError::io(path, error))?;
    forget_indexes(disk, path)?;
    if kept == Kept::Aside {
        return Ok(Some(aside));
    }
    let removed = disk.remove_file(&aside).or_else(|_| disk.remove_dir_all(&aside));
    removed.map_err(|error| LogError::io(&aside, error)).map(|()| None)
}

/// Lets the log in `dir` go on at `end`, behind a gap: no offset is given twice.
///
/// # Errors
/// Those of writing.
pub fn continue_at(disk: &Disk, dir: &Path, end: Offset) -> Result<(), LogError> {
    let path = dir.join(SegmentFile::Log.name(end));
    let created = disk.open(&path, OpenMode::Create).map(drop);
    created.map_err(|error| LogError::io(&path, error))?;
    forget_indexes(disk, &path)
}

/// A name that nobody looks at.
fn aside(path: &Path, position: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".damaged-{position}"));
    PathBuf::from(name)
}

/// The next start makes them again.
fn forget_indexes(disk: &Disk, path: &Path) -> Result<(), LogError> {
    for suffix in ["index", "timeindex", "txnindex"] {
        let index = path.with_extension(suffix);
        match disk.remove_file(&index) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io(&index, error));
            }
            _ => {}
        }
    }
    let dir = path.parent().expect("segments are in a directory");
    let synced = disk.sync_dir(dir, SyncPoints::DATA.names);
    synced.map_err(|error| LogError::io(dir, error))
}

/// Writes pieces of a file to another one, durably. Without room nothing of it is left.
fn copy(disk: &Disk, from: &Path, pieces: &[Range<u64>], to: &Path) -> io::Result<()> {
    let source = disk.open(from, OpenMode::Read)?;
    let target = disk.open(to, OpenMode::Truncate)?;
    let mut written = 0;
    let mut write = || -> io::Result<()> {
        for piece in pieces {
            let mut at = piece.start;
            while at < piece.end {
                let mut chunk = vec![0; (piece.end - at).min(CHUNK) as usize];
                source.read_exact_at(&mut chunk, at)?;
                target.write_all_at(&mut [IoSlice::new(&chunk)], written)?;
                at += chunk.len() as u64;
                written += chunk.len() as u64;
            }
        }
        target.sync(SyncPoints::DATA.data)
    };
    let done = write();
    if done.is_err() {
        // The error counts, whether this works or not.
        let _ = disk.remove_file(to);
    }
    done
}
