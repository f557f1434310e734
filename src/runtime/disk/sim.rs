//! The simulated file system: a page cache above a disk that forgets what was not synced.
//!
//! ```text
//!   inode:      cached bytes ──write──> pending writes ──sync──> durable bytes
//!   directory:  cached names ──link───> pending changes ──sync_dir──> durable names
//! ```
//! - [`SimDisk::power_cut`] keeps an arbitrary part of what is pending: single 512-byte sectors of
//!   writes, in any order, and single changes of names; then cached = durable. A kept sector
//!   behind a lost one leaves zeros between them.
//! - A write in which the node dies has written a part, from its front on.
//! - Changes of names survive independently, except that two changes of one name survive in order.
//! - A failed sync drops pending writes at random and reports the error once, as Linux does
//!   (Rebello et al., ATC'20).
//! - Syncing a file does not sync its name: POSIX does not promise it.
//! - [`DiskFaults`] plan failures; an operation counter lets a power cut fall between any two.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::sim_model::{DirState, FileState, Inode, Node, PendingWrite, State, overwrite};
pub use super::sim_model::{DiskFaults, FaultsBelow};
use super::{DirEntry, FileId, OpenMode, Space};
use crate::sim::{NodeFate, Trace};
use crate::sync_point::SyncPoint;

/// Bytes of a disk that is never full.
const SPACE_TOTAL: u64 = 1 << 40;

/// A simulated disk with its page cache. Copies share it.
#[derive(Clone)]
pub struct SimDisk {
    /// Of its machine, for the log of events.
    name: Arc<str>,
    state: Arc<Mutex<State>>,
    fate: NodeFate,
    trace: Trace,
}

/// An open simulated file.
#[derive(Clone)]
pub(crate) struct SimFile {
    inode: Inode,
    disk: SimDisk,
    /// Shared by the copies: counts one open file.
    _open: Arc<Counted>,
}

/// Counts as an open file of its process while it lives.
struct Counted(#[expect(dead_code, reason = "its count is what counts")] Arc<()>);

impl SimDisk {
    pub(crate) fn new(name: &str, seed: u64, fate: NodeFate, trace: Trace) -> SimDisk {
        let state = State::new(seed);
        SimDisk { name: name.into(), state: Arc::new(Mutex::new(state)), fate, trace }
    }

    /// Changes what will go wrong.
    pub fn set_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.lock_state().faults);
    }

    /// Number of writes, syncs and changes of names so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock_state().operations
    }

    /// Bytes in files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used_below(Path::new(""))
    }

    /// Bytes in files below a directory.
    #[must_use]
    pub fn used_below(&self, path: &Path) -> u64 {
        self.lock_state().used(path)
    }

    /// Number of files that the process holds open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.lock_state().open_files()
    }

    /// Every file with its path from the root and its content, as the process would read it.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.lock_state().all_files()
    }

    /// What a power cut leaves: see the head of this file. Locks are freed, planned faults end.
    pub fn power_cut(&self) {
        let mut state = self.lock_state();
        let state = &mut *state;
        // Some cuts lose everything that is pending, some nothing, most a part.
        let keep_percent = [0, 0, 20, 50, 80, 100][state.entropy.usize(..6)];
        for file in state.files.values_mut() {
            file.power_cut(&mut state.entropy, keep_percent);
        }
        for dir in state.dirs.values_mut() {
            dir.power_cut(&mut state.entropy, keep_percent);
        }
        state.after_crash();
        self.trace.note(|| {
            format!("{} disk: power cut, {keep_percent} % of the unsynced kept", self.name)
        });
    }

    /// What the death of a process leaves: everything but its locks.
    pub fn process_death(&self) {
        self.lock_state().after_crash();
    }

    pub(super) fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let mut state = self.usable()?;
        state.refuse_file_beyond_max()?;
        state.fail_if_unreadable(path)?;
        let (dir, name) = state.resolve_parent(path)?;
        let inode = match state.dirs[&dir].cached.get(name) {
            Some(Node::File(inode)) => *inode,
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None if matches!(mode, OpenMode::Read | OpenMode::ReadWrite) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            None => {
                self.operation(&mut state, || format!("create {}", path.display()))?;
                let inode = state.new_inode();
                let file = FileState { path: path.to_owned(), ..FileState::default() };
                state.files.insert(inode, file);
                state.change_names(dir, None, Some((name.to_owned(), Node::File(inode))));
                inode
            }
        };
        let open = Arc::new(Counted(state.open.clone()));
        drop(state);
        let file = SimFile { inode, disk: self.clone(), _open: open };
        if mode == OpenMode::Truncate {
            file.set_len(0)?;
        }
        Ok(file)
    }

    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.usable()?;
        let (dir, name) = state.resolve_parent(path)?;
        if state.dirs[&dir].cached.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.operation(&mut state, || format!("mkdir {}", path.display()))?;
        let inode = state.new_inode();
        state.dirs.insert(inode, DirState::default());
        state.change_names(dir, None, Some((name.to_owned(), Node::Dir(inode))));
        Ok(())
    }

    pub(super) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let ancestors: Vec<&Path> = path.ancestors().collect();
        for ancestor in ancestors.into_iter().rev().filter(|a| a.file_name().is_some()) {
            match self.create_dir(ancestor) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.usable()?;
        state.fail_if_unreadable(path)?;
        let dir = state.resolve_dir(path)?;
        let entry = |(name, node): (&String, &Node)| DirEntry {
            name: name.clone(),
            is_dir: matches!(node, Node::Dir(_)),
        };
        Ok(state.dirs[&dir].cached.iter().map(entry).collect())
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.usable()?;
        if path.file_name().is_none() {
            return Ok(true);
        }
        match state.resolve_parent(path) {
            Ok((dir, name)) => Ok(state.dirs[&dir].cached.contains_key(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn file_id(&self, path: &Path) -> io::Result<FileId> {
        let state = self.usable()?;
        let (dir, name) = state.resolve_parent(path)?;
        match state.dirs[&dir].cached.get(name) {
            // Numbers are not used again here.
            Some(Node::File(inode) | Node::Dir(inode)) => {
                Ok(FileId { device: 0, inode: *inode as u64, born: 0 })
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn space(&self, path: &Path) -> io::Result<Space> {
        let state = self.usable()?;
        state.resolve_parent(path)?;
        let total = state.faults.capacity.unwrap_or(SPACE_TOTAL);
        Ok(Space { total, usable: total.saturating_sub(state.used(Path::new(""))) })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.usable()?;
        let (from_dir, from_name) = state.resolve_parent(from)?;
        let (to_dir, to_name) = state.resolve_parent(to)?;
        if from_dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let node = *state.dirs[&from_dir]
            .cached
            .get(from_name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.operation(&mut state, || format!("rename {} {to_name}", from.display()))?;
        let added = Some((to_name.to_owned(), node));
        state.change_names(from_dir, Some(from_name.to_owned()), added);
        Ok(())
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.usable()?;
        let (dir, name) = state.resolve_parent(path)?;
        match state.dirs[&dir].cached.get(name) {
            Some(Node::File(_)) => {}
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        self.operation(&mut state, || format!("unlink {}", path.display()))?;
        state.change_names(dir, Some(name.to_owned()), None);
        Ok(())
    }

    pub(super) fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        for entry in self.list(path)? {
            let child = path.join(&entry.name);
            if entry.is_dir {
                self.remove_dir_all(&child)?;
            } else {
                self.remove_file(&child)?;
            }
        }
        let mut state = self.usable()?;
        let (dir, name) = state.resolve_parent(path)?;
        self.operation(&mut state, || format!("rmdir {}", path.display()))?;
        state.change_names(dir, Some(name.to_owned()), None);
        Ok(())
    }

    pub(super) fn sync_dir(&self, path: &Path, point: SyncPoint) -> io::Result<()> {
        let mut state = self.usable()?;
        let dir = state.resolve_dir(path)?;
        if state.skips(point) {
            return Ok(());
        }
        self.sync_operation(&mut state, || format!("sync {} as {}", path.display(), point.name()))?;
        state.fail_if_eio(path)?;
        let dir = state.dirs.get_mut(&dir).expect("just resolved");
        for change in std::mem::take(&mut dir.pending) {
            change.apply(&mut dir.durable);
        }
        Ok(())
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the simulated disk does not panic")
    }

    /// The state, unless the node is dead: then nothing it does has an effect any more.
    fn usable(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.fate.is_dead() {
            return Err(io::Error::other("the simulated node is dead"));
        }
        Ok(self.lock_state())
    }

    /// Counts an operation, and ends the node when its time has come.
    fn operation(&self, state: &mut State, what: impl FnOnce() -> String) -> io::Result<()> {
        if state.faults.at_syncs {
            state.operations += 1;
            self.trace.event(|| format!("{} disk: {}", self.name, what()));
            return Ok(());
        }
        self.sync_operation(state, what)
    }

    fn sync_operation(&self, state: &mut State, what: impl FnOnce() -> String) -> io::Result<()> {
        state.operations += 1;
        let cut = count_down(&mut state.faults.power_cut_after);
        let kill = count_down(&mut state.faults.kill_after);
        if cut || kill {
            self.trace.note(|| format!("{} disk: node dies before {}", self.name, what()));
            self.fate.die(cut);
            return Err(io::Error::other("the simulated node died"));
        }
        self.trace.event(|| format!("{} disk: {}", self.name, what()));
        Ok(())
    }
}

/// Counts a planned fault down; true when it is due.
fn count_down(plan: &mut Option<u64>) -> bool {
    match plan {
        None => false,
        Some(0) => {
            *plan = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
    }
}

impl SimFile {
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.disk.usable()?.files[&self.inode].cached.len() as u64)
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.usable()?;
        let cached = &state.files[&self.inode].cached;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
        let count = buf.len().min(cached.len() - start);
        buf[..count].copy_from_slice(&cached[start..start + count]);
        Ok(count)
    }

    pub(super) fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.disk.usable()?;
        let (inode, count) = (self.inode, bytes.len());
        let what = || format!("write {inode} at {offset}: {count} bytes");
        let begun = self.disk.operation(&mut state, what);
        let path = state.files[&inode].path.clone();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Err(error) = begun {
            // A write that a kill interrupts has written a part, from its front on.
            let part = bytes[..state.entropy.usize(..count)].to_vec();
            let file = state.files.get_mut(&inode).expect("open files keep their inode");
            overwrite(&mut file.cached, offset, &part);
            file.pending.push(PendingWrite::Bytes { offset, bytes: part });
            return Err(error);
        }
        state.fail_if_eio(&path)?;
        let grows = (offset + count).saturating_sub(state.files[&inode].cached.len()) as u64;
        if state.is_full(&path, grows) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = state.files.get_mut(&inode).expect("open files keep their inode");
        overwrite(&mut file.cached, offset, &bytes);
        file.pending.push(PendingWrite::Bytes { offset, bytes });
        Ok(())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.usable()?;
        let inode = self.inode;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if state.files[&inode].cached.len() == len {
            return Ok(());
        }
        self.disk.operation(&mut state, || format!("set length of {inode} to {len}"))?;
        let path = state.files[&inode].path.clone();
        state.fail_if_eio(&path)?;
        let file = state.files.get_mut(&inode).expect("open files keep their inode");
        file.cached.resize(len, 0);
        file.pending.push(PendingWrite::Length(len));
        Ok(())
    }

    pub(super) fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut state = self.disk.usable()?;
        let inode = self.inode;
        if state.skips(point) || state.puts_off(inode, point) {
            return Ok(());
        }
        self.disk.sync_operation(&mut state, || format!("sync {inode} as {}", point.name()))?;
        let path = state.files[&inode].path.clone();
        let failed = state.fail_if_eio(&path);
        let state = &mut *state;
        let file = state.files.get_mut(&inode).expect("open files keep their inode");
        for write in std::mem::take(&mut file.pending) {
            // After an error the kernel calls the pages clean: a part of them is lost for good.
            if failed.is_ok() || state.entropy.bool() {
                write.apply(&mut file.durable);
            }
        }
        if failed.is_ok() {
            state.catch_up(point);
        }
        failed
    }

    pub(super) fn lock(&self) -> io::Result<()> {
        let mut state = self.disk.usable()?;
        if state.locked.insert(self.inode) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}
