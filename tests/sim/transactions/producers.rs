//! What a log knows of its producers, made older while the broker is down: as if snapshots were
//! written before the state that they are of (a planted bug).

use std::path::Path;

use ottla_runtime::Runtime;
use ottla_runtime::sim::SimNode;
use ottla_storage::SegmentFile;

use crate::node::loss::dirs_in;

/// Longest snapshot of a world.
const SNAPSHOT_LEN_MAX: u64 = 1 << 20;

/// The newest snapshot of each partition becomes the one before it; without one it stays.
pub fn make_older(machine: &SimNode) {
    let disk = Runtime::simulated(machine).disk().clone();
    for dir in dirs_in(&disk, Path::new("/var/data")) {
        let Ok(entries) = disk.list(&dir) else { continue };
        let files = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name));
        let snapshots = files.filter(|(kind, _)| *kind == SegmentFile::Snapshot);
        let mut snapshots: Vec<_> = snapshots.map(|(kind, at)| (at, kind.name(at))).collect();
        snapshots.sort();
        let [.., (_, before), (_, newest)] = &snapshots[..] else { continue };
        let Ok(bytes) = disk.read(&dir.join(before), SNAPSHOT_LEN_MAX) else { continue };
        // A disk that cannot be written to has none of this.
        let _ = disk.write_atomically(&dir.join(newest), &bytes, None, None);
    }
}
