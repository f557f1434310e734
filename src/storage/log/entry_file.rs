//! A file of entries of one size, the newest of which gather in memory: what the indexes of a
//! segment are made of.
//!
//! Entries go to the file in groups, when the owner says so, or one by one. There is no file before
//! the first of them does, and no memory map.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, File, LazyFile, OpenMode, is_out_of_descriptors};

/// How an index's file may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileEnd {
    /// With a whole entry, or the file is not sane.
    Whole,
    /// With part of one, which the death of the process cut off; it is left out.
    Torn,
}

/// A file of entries of `N` bytes with its newest entries in memory.
pub(super) struct EntryFile<const N: usize> {
    disk: Disk,
    path: PathBuf,
    file: LazyFile,
    /// Entries in the file.
    stored: u64,
    /// Entries behind those.
    tail: Vec<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    pub(super) fn new(disk: &Disk, path: PathBuf, stored: u64) -> EntryFile<N> {
        EntryFile { disk: disk.clone(), path, file: LazyFile::default(), stored, tail: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.stored + self.tail.len() as u64
    }

    fn file(&mut self) -> io::Result<File> {
        self.file.get(&self.disk, &self.path, OpenMode::Create)
    }

    /// The file's name; it is created if it is not there.
    pub(super) fn existing(&mut self) -> io::Result<PathBuf> {
        self.file()?;
        Ok(self.path.clone())
    }

    /// The directory has another name now; a file that is open stays so.
    pub(super) fn moved_to(&mut self, dir: &Path) {
        self.path = dir.join(self.path.file_name().expect("it is in a directory"));
    }

    /// Gives the file another name, if it is there.
    pub(super) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        match self.disk.rename(&self.path, &path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.path = path,
        }
        Ok(())
    }

    /// Adds an entry, which waits in memory.
    pub(super) fn push(&mut self, entry: [u8; N]) {
        self.tail.push(entry);
    }

    /// Moves the entries in memory to the file, if there is room. On a full disk, or without a
    /// descriptor, they stay; sealing the segment will need the room.
    pub(super) fn spill_if_room(&mut self) -> io::Result<()> {
        match self.spill() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            Err(error) if is_out_of_descriptors(&error) => Ok(()),
            result => result,
        }
    }

    /// Adds an entry that is in the file at once; on a full disk it waits in memory.
    pub(super) fn push_through(&mut self, entry: [u8; N]) -> io::Result<()> {
        self.tail.push(entry);
        match self.spill() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            result => result,
        }
    }

    /// Moves the entries in memory to the file.
    fn spill(&mut self) -> io::Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let at = self.stored * N as u64;
        let bytes = self.tail.concat();
        self.file()?.write_all_at(&mut [IoSlice::new(&bytes)], at)?;
        self.stored = self.len();
        self.tail.clear();
        Ok(())
    }

    pub(super) fn get(&mut self, index: u64) -> io::Result<[u8; N]> {
        if let Some(tail_index) = index.checked_sub(self.stored) {
            return Ok(self.tail[tail_index as usize]);
        }
        let mut entry = [0; N];
        self.file()?.read_exact_at(&mut entry, index * N as u64)?;
        Ok(entry)
    }

    /// Number of leading entries for which `is_before` holds; it holds for a prefix.
    pub(super) fn partition_point(
        &mut self,
        is_before: impl Fn(&[u8; N]) -> bool,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.get(middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        if len >= self.stored {
            self.tail.truncate((len - self.stored) as usize);
            return Ok(());
        }
        self.tail.clear();
        self.stored = len;
        self.file()?.set_len(len * N as u64)
    }

    /// Forgets everything, and removes the file.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.file.close();
        self.stored = 0;
        self.tail.clear();
        match self.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes everything and cuts the file to what is valid.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.spill()?;
        let len = self.stored * N as u64;
        let file = self.file()?;
        if file.len()? == len { Ok(()) } else { file.set_len(len) }
    }

    /// Opens an existing file; `None` when it is missing or ends as it must not.
    pub(super) fn open(disk: &Disk, path: PathBuf, end: FileEnd) -> io::Result<Option<Self>> {
        let file = match disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len % N as u64 != 0 && end == FileEnd::Whole {
            return Ok(None);
        }
        let mut entries = EntryFile::new(disk, path, len / N as u64);
        // Else nobody reads it.
        if entries.stored > 0 {
            entries.file.put(disk, &file);
        }
        Ok(Some(entries))
    }
}
