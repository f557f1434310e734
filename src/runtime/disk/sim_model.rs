//! The model behind the simulated file system: inodes, names, and what a crash leaves of them.
//!
//! Pure state; [`super::sim`] counts operations and plans deaths around it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::sync_point::SyncPoint;

const SECTOR: usize = 512;
const ROOT: Inode = 0;
const EMFILE: i32 = 24;

pub(super) type Inode = usize;

/// What goes wrong, and when. The harness changes it while the node runs.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    /// The node loses power just before its n-th next write, sync or change of names.
    pub power_cut_after: Option<u64>,
    /// The process dies (the page cache stays) at the same kind of moment.
    pub kill_after: Option<u64>,
    /// Whether only syncs count for planned deaths: just before them most is at stake.
    pub at_syncs: bool,
    /// The n-th next write or sync answers EIO, and every later one until the node restarts.
    pub eio_after: Option<u64>,
    /// Bytes the disk holds at most.
    pub capacity: Option<u64>,
    /// Files that a process may hold open; what goes beyond is refused with EMFILE.
    pub open_files_max: Option<usize>,
    /// What goes wrong only below some directories, as if each were a disk of its own.
    pub below: BTreeMap<PathBuf, FaultsBelow>,
    /// Syncs that do nothing (the mutants of `docs/simulation.md`).
    pub disabled_syncs: BTreeSet<SyncPoint>,
    /// A file's sync that is done only behind the next one of another name: the disk turns the
    /// order of the two.
    pub late_sync: Option<(SyncPoint, SyncPoint)>,
}

/// What goes wrong below a directory.
#[derive(Clone, Debug, Default)]
pub struct FaultsBelow {
    /// As [`DiskFaults::eio_after`].
    pub eio_after: Option<u64>,
    /// As [`DiskFaults::capacity`].
    pub capacity: Option<u64>,
    /// Nothing can be opened or listed there.
    pub unreadable: bool,
}

pub(super) struct State {
    pub(super) files: BTreeMap<Inode, FileState>,
    pub(super) dirs: BTreeMap<Inode, DirState>,
    pub(super) next_inode: Inode,
    pub(super) locked: BTreeSet<Inode>,
    /// Files that the process holds open; each holds this.
    pub(super) open: Arc<()>,
    pub(super) faults: DiskFaults,
    /// Files whose sync is late.
    pub(super) late: Vec<Inode>,
    pub(super) entropy: fastrand::Rng,
    pub(super) operations: u64,
}

#[derive(Default)]
pub(super) struct FileState {
    /// Where it was created; renames stay within the directory.
    pub(super) path: PathBuf,
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<PendingWrite>,
}

pub(super) enum PendingWrite {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Default)]
pub(super) struct DirState {
    pub(super) cached: BTreeMap<String, Node>,
    pub(super) durable: BTreeMap<String, Node>,
    pub(super) pending: Vec<NameChange>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    File(Inode),
    Dir(Inode),
}

/// One step of a directory: names that vanish, and a name that appears.
pub(super) struct NameChange {
    pub(super) removed: Option<String>,
    pub(super) added: Option<(String, Node)>,
}

impl State {
    pub(super) fn new(seed: u64) -> State {
        State {
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(ROOT, DirState::default())]),
            next_inode: ROOT + 1,
            locked: BTreeSet::new(),
            open: Arc::default(),
            faults: DiskFaults::default(),
            late: Vec::new(),
            entropy: fastrand::Rng::with_seed(seed),
            operations: 0,
        }
    }

    pub(super) fn new_inode(&mut self) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        inode
    }

    pub(super) fn used(&self, below: &Path) -> u64 {
        let files = self.files.values().filter(|file| file.path.starts_with(below));
        files.map(|file| file.cached.len() as u64).sum()
    }

    /// Every file with its path and what is cached of it, in the order of names.
    pub(super) fn all_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut dirs) = (Vec::new(), vec![(PathBuf::new(), ROOT)]);
        while let Some((path, dir)) = dirs.pop() {
            for (name, node) in &self.dirs[&dir].cached {
                match node {
                    Node::File(inode) => {
                        found.push((path.join(name), self.files[inode].cached.clone()));
                    }
                    Node::Dir(inode) => dirs.push((path.join(name), *inode)),
                }
            }
        }
        found
    }

    /// Whether a file may not grow by so many bytes.
    pub(super) fn is_full(&self, path: &Path, grows: u64) -> bool {
        let full = |below: &Path, capacity: Option<u64>| {
            capacity.is_some_and(|capacity| self.used(below) + grows > capacity)
        };
        let mut parts = self.faults.below.iter().filter(|(below, _)| path.starts_with(below));
        full(Path::new(""), self.faults.capacity)
            || parts.any(|(below, faults)| full(below, faults.capacity))
    }

    pub(super) fn fail_if_unreadable(&self, path: &Path) -> io::Result<()> {
        let unreadable = |(below, faults): (&PathBuf, &FaultsBelow)| {
            faults.unreadable && path.starts_with(below)
        };
        if self.faults.below.iter().any(unreadable) { Err(eio()) } else { Ok(()) }
    }

    /// Number of files that the process holds open.
    pub(super) fn open_files(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    pub(super) fn refuse_file_beyond_max(&self) -> io::Result<()> {
        match self.faults.open_files_max {
            Some(max) if self.open_files() >= max => Err(io::Error::from_raw_os_error(EMFILE)),
            _ => Ok(()),
        }
    }

    pub(super) fn skips(&self, point: SyncPoint) -> bool {
        self.faults.disabled_syncs.contains(&point)
    }

    /// Puts a sync off that is to be late; tells whether it did.
    pub(super) fn puts_off(&mut self, inode: Inode, point: SyncPoint) -> bool {
        let is_late = self.faults.late_sync.is_some_and(|(late, _)| late == point);
        if is_late {
            self.late.push(inode);
        }
        is_late
    }

    /// Does the syncs that waited for this one.
    pub(super) fn catch_up(&mut self, point: SyncPoint) {
        if self.faults.late_sync.is_some_and(|(_, behind)| behind == point) {
            for inode in std::mem::take(&mut self.late) {
                let Some(file) = self.files.get_mut(&inode) else { continue };
                for write in std::mem::take(&mut file.pending) {
                    write.apply(&mut file.durable);
                }
            }
        }
    }

    pub(super) fn fail_if_eio(&mut self, path: &Path) -> io::Result<()> {
        let below = self.faults.below.iter_mut().filter(|(below, _)| path.starts_with(below));
        let below = below.map(|(_, faults)| &mut faults.eio_after);
        for plan in below.chain([&mut self.faults.eio_after]) {
            match plan {
                None => {}
                Some(0) => return Err(eio()),
                Some(left) => *left -= 1,
            }
        }
        Ok(())
    }

    pub(super) fn after_crash(&mut self) {
        self.locked.clear();
        self.late.clear();
        self.open = Arc::default();
        self.faults.power_cut_after = None;
        self.faults.kill_after = None;
        self.faults.eio_after = None;
        self.faults.below.values_mut().for_each(|faults| faults.eio_after = None);
        self.faults.at_syncs = false;
        self.remove_unreachable();
    }

    pub(super) fn resolve_dir(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            inode = match self.dirs[&inode].cached.get(name) {
                Some(Node::Dir(child)) => *child,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            };
        }
        Ok(inode)
    }

    pub(super) fn resolve_parent<'p>(&self, path: &'p Path) -> io::Result<(Inode, &'p str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?;
        let dir = path.parent().map_or(Ok(ROOT), |parent| self.resolve_dir(parent))?;
        Ok((dir, name))
    }

    pub(super) fn change_names(
        &mut self,
        dir: Inode,
        removed: Option<String>,
        added: Option<(String, Node)>,
    ) {
        let dir = self.dirs.get_mut(&dir).expect("resolved before");
        let change = NameChange { removed, added };
        change.apply(&mut dir.cached);
        dir.pending.push(change);
    }

    /// Forgets inodes without a name: after a crash no descriptor keeps them.
    pub(super) fn remove_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut queue = vec![ROOT];
        while let Some(inode) = queue.pop() {
            let Some(dir) = self.dirs.get(&inode) else { continue };
            // A power cut can keep any of the pending names.
            let pending = dir.pending.iter().filter_map(|change| change.added.as_ref());
            let pending = pending.map(|(_, node)| node);
            for node in dir.cached.values().chain(dir.durable.values()).chain(pending) {
                let (Node::File(child) | Node::Dir(child)) = *node;
                if reached.insert(child) {
                    queue.push(child);
                }
            }
        }
        self.files.retain(|inode, _| reached.contains(inode));
        self.dirs.retain(|inode, _| reached.contains(inode));
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl FileState {
    pub(super) fn power_cut(&mut self, entropy: &mut fastrand::Rng, keep_percent: u32) {
        for write in std::mem::take(&mut self.pending) {
            match write {
                PendingWrite::Length(_) if entropy.u32(..100) >= keep_percent => {}
                PendingWrite::Length(_) => write.apply(&mut self.durable),
                PendingWrite::Bytes { offset, bytes } => {
                    let kept =
                        sectors(offset, &bytes).filter(|_| entropy.u32(..100) < keep_percent);
                    kept.for_each(|(start, sector)| overwrite(&mut self.durable, start, sector));
                }
            }
        }
        self.cached.clone_from(&self.durable);
    }
}

/// Cuts a write at the borders of sectors.
pub(super) fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (SECTOR - offset % SECTOR).min(bytes.len());
    let (head, tail) = bytes.split_at(first);
    let rest = tail.chunks(SECTOR).enumerate();
    std::iter::once((offset, head))
        .chain(rest.map(move |(index, sector)| (offset + first + index * SECTOR, sector)))
}

impl PendingWrite {
    pub(super) fn apply(&self, target: &mut Vec<u8>) {
        match self {
            PendingWrite::Length(len) => target.resize(*len, 0),
            PendingWrite::Bytes { offset, bytes } => overwrite(target, *offset, bytes),
        }
    }
}

impl DirState {
    pub(super) fn power_cut(&mut self, entropy: &mut fastrand::Rng, keep_percent: u32) {
        let mut lost = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let names = change.names();
            let after_lost = names.iter().any(|name| lost.contains(*name));
            if after_lost || entropy.u32(..100) >= keep_percent {
                lost.extend(names.into_iter().map(str::to_owned));
            } else {
                change.apply(&mut self.durable);
            }
        }
        self.cached.clone_from(&self.durable);
    }
}

impl NameChange {
    pub(super) fn names(&self) -> Vec<&str> {
        let added = self.added.as_ref().map(|(name, _)| name.as_str());
        self.removed.as_deref().into_iter().chain(added).collect()
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<String, Node>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, node)) = &self.added {
            names.insert(name.clone(), *node);
        }
    }
}

/// Writes `bytes` at `offset`, filling a gap with zeros.
pub(super) fn overwrite(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}
