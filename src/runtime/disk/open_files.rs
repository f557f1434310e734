//! Files that stay open between their uses, as many as fit: [`LazyFile`] and, one for all of a
//! node's, [`OpenFiles`].
//!
//! ```text
//!   LazyFile ──> Slot: used?, File ──> descriptor <── File, held by an answer or a flush
//!                  ^
//!   OpenFiles: a clock of the slots that hold a file, `files_max` of them at most
//! ```
//! - Each use marks its slot. Who finds no room closes the next file without a mark, and takes
//!   marks away on the way there. [`OpenFiles::close_unused`], called now and then, closes what was
//!   not used since its last call.
//! - Using an open file takes its slot's own lock, which nobody else wants but who closes it; no
//!   lock of all files. The table's lock comes before a slot's.
//! - Closing needs no lock of a file's user: a descriptor that somebody holds lives until they drop
//!   it.
//! - A file may be closed before it was synced. Who opens it again syncs all of it, and is told of
//!   a failed write-back: Linux keeps it while the inode is in memory.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use slab::Slab;

use super::{Disk, File, OpenMode};

/// Files that stay open on a disk that was not told otherwise.
const FILES_MAX_DEFAULT: usize = 1_000;

/// A file that is opened when it is needed and closed when others need the room.
#[derive(Default)]
pub struct LazyFile {
    slot: Option<Arc<Slot>>,
}

/// The files of a disk that are open between their uses. Copies share them.
#[derive(Clone)]
pub(super) struct OpenFiles {
    shared: Arc<Shared>,
}

struct Shared {
    files_max: AtomicUsize,
    clock: Mutex<Clock>,
}

#[derive(Default)]
struct Clock {
    slots: Slab<Arc<Slot>>,
    /// Key of the slot that was looked at last.
    hand: usize,
}

struct Slot {
    files: OpenFiles,
    used: AtomicBool,
    held: Mutex<Option<Held>>,
}

/// A slot holds a file as long as it is in the clock.
struct Held {
    key: usize,
    file: File,
}

impl LazyFile {
    /// The file, opened as `mode` says if it is not open.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn get(&mut self, disk: &Disk, path: &Path, mode: OpenMode) -> io::Result<File> {
        if let Some(file) = self.slot.as_ref().and_then(|slot| slot.get()) {
            return Ok(file);
        }
        let file = disk.open(path, mode)?;
        self.put(disk, &file);
        Ok(file)
    }

    /// Keeps a file that is open already.
    pub fn put(&mut self, disk: &Disk, file: &File) {
        self.close();
        self.slot = Some(disk.files().insert(file.clone()));
    }

    /// Closes the file, when nobody holds it.
    pub fn close(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.files.remove(&slot);
        }
    }
}

impl Drop for LazyFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl OpenFiles {
    pub(super) fn new() -> OpenFiles {
        let files_max = AtomicUsize::new(FILES_MAX_DEFAULT);
        OpenFiles { shared: Arc::new(Shared { files_max, clock: Mutex::default() }) }
    }

    /// Changes how many files stay open; one at least.
    pub(super) fn set_files_max(&self, files_max: usize) {
        self.shared.files_max.store(files_max.max(1), Ordering::Relaxed);
        drop(self.clock().close_above(files_max.max(1)));
    }

    /// Number of files that are open between their uses.
    pub(super) fn len(&self) -> usize {
        self.clock().slots.len()
    }

    /// Closes what was not used since the last call.
    pub(super) fn close_unused(&self) -> usize {
        let mut clock = self.clock();
        let unused = |slot: &Slot| !slot.used.swap(false, Ordering::Relaxed);
        let unused = clock.slots.iter().filter(|(_, slot)| unused(slot));
        let keys: Vec<usize> = unused.map(|(key, _)| key).collect();
        let closed: Vec<File> = keys.iter().filter_map(|key| clock.take(*key)).collect();
        if clock.slots.is_empty() {
            clock.slots.shrink_to_fit();
        }
        drop(clock);
        closed.len()
    }

    /// Closes half of the files, for who was refused a descriptor; tells whether there were any.
    pub(super) fn close_half(&self) -> bool {
        let mut clock = self.clock();
        let half = clock.slots.len() / 2;
        let closed = clock.close_above(half);
        drop(clock);
        !closed.is_empty()
    }

    fn insert(&self, file: File) -> Arc<Slot> {
        let files_max = self.shared.files_max.load(Ordering::Relaxed);
        let mut clock = self.clock();
        let closed = clock.close_above(files_max - 1);
        let entry = clock.slots.vacant_entry();
        let held = Mutex::new(Some(Held { key: entry.key(), file }));
        let slot = Arc::new(Slot { files: self.clone(), used: AtomicBool::new(true), held });
        entry.insert(slot.clone());
        drop(clock);
        // Outside the lock: closing may be slow.
        drop(closed);
        slot
    }

    fn remove(&self, slot: &Slot) {
        let mut clock = self.clock();
        let key = slot.held().as_ref().map(|held| held.key);
        let closed = key.and_then(|key| clock.take(key));
        drop(clock);
        drop(closed);
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.shared.clock.lock().expect("nothing panics under it")
    }
}

impl Clock {
    /// Takes files out until `len` are left.
    fn close_above(&mut self, len: usize) -> Vec<File> {
        let mut closed = Vec::new();
        // Twice around finds a file without a mark, unless others set marks all the time.
        let mut patience = 2 * self.slots.capacity();
        while self.slots.len() > len {
            self.hand = if self.hand + 1 < self.slots.capacity() { self.hand + 1 } else { 0 };
            let Some(slot) = self.slots.get(self.hand) else { continue };
            let used = slot.used.swap(false, Ordering::Relaxed);
            patience = patience.saturating_sub(1);
            if !used || patience == 0 {
                closed.extend(self.take(self.hand));
            }
        }
        closed
    }

    fn take(&mut self, key: usize) -> Option<File> {
        let slot = self.slots.remove(key);
        slot.held().take().map(|held| held.file)
    }
}

impl Slot {
    fn get(&self) -> Option<File> {
        let held = self.held();
        let file = held.as_ref()?.file.clone();
        self.used.store(true, Ordering::Relaxed);
        Some(file)
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().expect("nothing panics under it")
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::PathBuf;

    use super::*;
    use crate::sim::SimWorld;

    /// A disk with `count` files of one byte each, their number.
    fn disk_with_files(count: u8) -> (Disk, Vec<PathBuf>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let disk = runtime.block_on(async { Disk::simulated(SimWorld::new(1).node("a").disk()) });
        let paths: Vec<PathBuf> = (0..count).map(|i| PathBuf::from(format!("/{i}"))).collect();
        for (i, path) in paths.iter().enumerate() {
            let file = disk.open(path, OpenMode::Create).unwrap();
            file.write_all_at(&mut [IoSlice::new(&[i as u8])], 0).unwrap();
        }
        (disk, paths)
    }

    fn number(file: &File) -> u8 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    }

    fn is_open(lazy: &LazyFile) -> bool {
        lazy.slot.as_ref().is_some_and(|slot| slot.held().is_some())
    }

    #[test]
    fn as_many_stay_open_as_fit_and_all_can_be_used() {
        let (disk, paths) = disk_with_files(100);
        disk.set_open_files_max(7);
        let mut lazy: Vec<LazyFile> = paths.iter().map(|_| LazyFile::default()).collect();
        let mut entropy = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let i = entropy.usize(..100);
            let file = lazy[i].get(&disk, &paths[i], OpenMode::ReadWrite).unwrap();
            assert_eq!(usize::from(number(&file)), i);
            drop(file);
            assert_eq!(lazy.iter().filter(|lazy| is_open(lazy)).count(), disk.open_files());
            assert!(disk.open_files() <= 7);
            if entropy.u8(..10) == 0 {
                lazy[entropy.usize(..100)].close();
            }
        }
        drop(lazy);
        assert_eq!(disk.open_files(), 0);
    }

    #[test]
    fn what_is_used_again_stays_open() {
        let (disk, paths) = disk_with_files(50);
        disk.set_open_files_max(3);
        let mut lazy: Vec<LazyFile> = paths.iter().map(|_| LazyFile::default()).collect();
        for i in 1..50 {
            lazy[i].get(&disk, &paths[i], OpenMode::Read).unwrap();
            lazy[0].get(&disk, &paths[0], OpenMode::Read).unwrap();
            assert!(is_open(&lazy[i]));
        }
        let opened = lazy[0].slot.clone().expect("it is open");
        lazy[0].get(&disk, &paths[0], OpenMode::Read).unwrap();
        assert!(Arc::ptr_eq(&opened, lazy[0].slot.as_ref().unwrap()), "it is the same descriptor");
    }

    #[test]
    fn what_is_not_used_closes_and_what_is_held_lives_on() {
        let (disk, paths) = disk_with_files(2);
        let mut lazy = [LazyFile::default(), LazyFile::default()];
        let held = lazy[0].get(&disk, &paths[0], OpenMode::Read).unwrap();
        lazy[1].get(&disk, &paths[1], OpenMode::Read).unwrap();
        assert_eq!(disk.close_unused_files(), 0, "both were used before the first call");
        lazy[1].get(&disk, &paths[1], OpenMode::Read).unwrap();
        assert_eq!(disk.close_unused_files(), 1);
        assert!(!is_open(&lazy[0]) && is_open(&lazy[1]));
        assert_eq!(number(&held), 0);
        assert_eq!(disk.close_unused_files(), 1);
        assert_eq!(number(&lazy[1].get(&disk, &paths[1], OpenMode::Read).unwrap()), 1);
    }

    #[test]
    fn a_process_without_descriptors_left_makes_room() {
        let (disk, paths) = disk_with_files(20);
        let super::super::DiskTwin::Sim(sim) = &disk.twin else { panic!("a simulated disk") };
        sim.set_faults(|faults| faults.open_files_max = Some(5));
        let mut lazy: Vec<LazyFile> = paths.iter().map(|_| LazyFile::default()).collect();
        for (lazy, path) in lazy.iter_mut().zip(&paths) {
            lazy.get(&disk, path, OpenMode::Read).unwrap();
            assert!(sim.open_files() <= 5);
        }
        let held: Vec<File> =
            paths.iter().map_while(|path| disk.open(path, OpenMode::Read).ok()).collect();
        assert_eq!((held.len(), disk.open_files()), (5, 0), "all that is held is held by users");
    }
}
