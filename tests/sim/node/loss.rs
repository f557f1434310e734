//! Files that are not the records, lost while the broker is down: it must make them again.
//!
//! An index is gone, or ends within an entry; a snapshot of producers is gone or damaged. That of
//! the segment that a process wrote to when it died may end within an entry without being damaged,
//! so it is taken away whole. Nobody can tell that a `.txnindex` is missing, as most segments have
//! none.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::sim::SimNode;
use ottla_runtime::{Disk, OpenMode, Runtime};
use ottla_storage::{PartitionMetadata, SegmentFile};
use ottla_types::{PartitionId, TopicIdPartition};

use crate::dice::Dice;
use crate::findings::Findings;

/// Takes some files away in the directories of partitions; of snapshots only where nothing was
/// deleted: what is known of producers whose records are gone is in snapshots alone.
pub fn lose_indexes(machine: &SimNode, dice: &Dice, keeps_all: bool, findings: &Findings) {
    let disk = Runtime::simulated(machine).disk().clone();
    for dir in partition_dirs(&disk, Path::new("/var")) {
        // A directory that cannot be listed loses nothing.
        let Ok(entries) = disk.list(&dir) else { continue };
        let files: Vec<_> =
            entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name)).collect();
        let logs = files.iter().filter(|(kind, _)| *kind == SegmentFile::Log);
        let last = logs.map(|(_, base)| *base).max();
        for (kind, base) in files {
            let path = dir.join(kind.name(base));
            let lost = match kind {
                SegmentFile::Index | SegmentFile::TimeIndex if dice.chance(30) => {
                    lose_index(&disk, &path, dice, Some(base) == last)
                }
                SegmentFile::Snapshot if keeps_all && dice.chance(30) => {
                    lose_snapshot(&disk, &path, dice)
                }
                _ => continue,
            };
            if lost.is_ok() {
                findings.note(|| format!("{} is lost", path.display()));
                findings.count(|stats| stats.lost_files += 1);
            }
        }
    }
}

fn lose_index(disk: &Disk, path: &Path, dice: &Dice, is_last: bool) -> io::Result<()> {
    let file = disk.open(path, OpenMode::ReadWrite)?;
    let len = file.len()?;
    if is_last || len == 0 || dice.chance(50) {
        return disk.remove_file(path);
    }
    // The length of a whole number of entries is divisible by four.
    file.set_len(dice.below(len) | 1)
}

fn lose_snapshot(disk: &Disk, path: &Path, dice: &Dice) -> io::Result<()> {
    if dice.chance(50) {
        return disk.remove_file(path);
    }
    let file = disk.open(path, OpenMode::ReadWrite)?;
    file.write_all_at(&mut [IoSlice::new(&[0xff])], 4)
}

/// The partitions whose directories are in a log directory.
pub fn partitions_in(machine: &SimNode, dir: &Path) -> Vec<TopicIdPartition> {
    let disk = Runtime::simulated(machine).disk().clone();
    let id = |dir: PathBuf| {
        let name = dir.file_name()?.to_str()?;
        let partition = name.rsplit('-').next()?.parse().ok()?;
        let topic_id = PartitionMetadata::read(&disk, &dir).ok()??.topic_id;
        Some(TopicIdPartition { topic_id, partition: PartitionId(partition) })
    };
    dirs_in(&disk, dir).into_iter().filter_map(id).collect()
}

/// The partitions whose directories are in log directories other than this.
pub fn partitions_beside(machine: &SimNode, dir: &Path) -> Vec<TopicIdPartition> {
    let disk = Runtime::simulated(machine).disk().clone();
    let others = dirs_in(&disk, Path::new("/var")).into_iter().filter(|other| other != dir);
    others.flat_map(|other| partitions_in(machine, &other)).collect()
}

/// The directories of partitions below those in `parent`, but for that of the metadata log.
fn partition_dirs(disk: &Disk, parent: &Path) -> Vec<PathBuf> {
    let below = |dir: PathBuf| dirs_in(disk, &dir);
    let dirs = dirs_in(disk, parent).into_iter().flat_map(below);
    dirs.filter(|dir| !dir.ends_with("__cluster_metadata-0")).collect()
}

/// The directories in `parent`; none when it cannot be listed.
pub fn dirs_in(disk: &Disk, parent: &Path) -> Vec<PathBuf> {
    let entries = disk.list(parent).unwrap_or_default();
    let dirs = entries.into_iter().filter(|entry| entry.is_dir);
    dirs.map(|entry| parent.join(entry.name)).collect()
}
