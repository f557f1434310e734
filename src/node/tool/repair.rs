//! `repair`: finds what a start refuses to serve because it is damaged, tells what would be lost,
//! and takes it out when that is asked for.
//!
//! Nothing is looked at while a node uses the directories. What a start mends by itself (a torn
//! tail, indexes, snapshots of producers) is left to it. Each batch of each log is read.

mod fix;
mod loss;
mod topics;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use ottla_config::NodeConfig;
use ottla_raft::driver::newest_snapshot;
use ottla_raft::quorum_state;
use ottla_runtime::{Disk, Runtime};
use ottla_storage::{
    Break, DataDir, Examined, Kept, OffsetCheckpoint, PartitionDirName, SegmentFile, examine,
};
use ottla_types::{Offset, Uuid};

use super::ToolError;
use fix::Fix;
use loss::Loss;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairRequest {
    /// Whether to change anything.
    pub act: bool,
    /// What becomes of what is taken out.
    pub kept: Kept,
}

/// What is to be printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The text.
    pub text: String,
    /// Whether damage is left.
    pub is_damaged: bool,
}

/// Looks through the directories of `config`, and repairs them if that is asked for.
///
/// # Errors
/// When a directory is in use, is no data directory, or cannot be read or written.
pub fn repair(
    runtime: &Runtime,
    config: &NodeConfig,
    request: RepairRequest,
) -> Result<Repair, ToolError> {
    let disk = runtime.disk();
    let mut dirs = Vec::new();
    for path in super::all_dirs(config) {
        if !path.is_dir() {
            return Err(refused(&path, "is not a directory"));
        }
        let dir = DataDir::open(disk, &path)?;
        if dir.meta_properties()?.is_none() {
            return Err(refused(&path, "is not formatted."));
        }
        dirs.push(dir);
    }
    let mut found = Vec::new();
    let topics = topics::ids_by_name(disk, &DataDir::metadata_dir_in(&config.metadata_dir));
    // Without a metadata log, or with one that cannot be read, nobody is known.
    let topics = topics.unwrap_or_default();
    for dir in &dirs {
        look_into(disk, dir, &topics, &mut found)?;
    }
    let mut text = String::new();
    for fix in &found {
        text += &fix.told;
    }
    if found.is_empty() {
        text += "Nothing is damaged.\n";
    } else if request.act {
        for fix in &found {
            let kept = fix.apply(disk, request.kept).map_err(|error| failed(&error))?;
            let _ = writeln!(text, "Repaired {}.", fix.what.display());
            for path in kept {
                let _ = writeln!(text, "  What was taken out is in {}", path.display());
            }
        }
    } else {
        text += "Nothing was changed. To repair it, run this again with --yes.\n";
    }
    for dir in &dirs {
        dir.remove_lock_file()?;
    }
    Ok(Repair { text, is_damaged: !found.is_empty() && !request.act })
}

fn refused(path: &Path, what: &str) -> ToolError {
    ToolError::Refused(format!("{} {what}", path.display()))
}

fn failed(error: &dyn std::fmt::Display) -> ToolError {
    ToolError::Refused(format!("{error}"))
}

fn look_into(
    disk: &Disk,
    dir: &DataDir,
    topics: &BTreeMap<String, Uuid>,
    found: &mut Vec<Fix>,
) -> Result<(), ToolError> {
    let metadata = dir.metadata_dir();
    let points = dir.recovery_points();
    let small = [
        ("recovery-point-offset-checkpoint", points.is_err()),
        ("log-start-offset-checkpoint", dir.log_starts().is_err()),
    ];
    for (name, is_damaged) in small {
        if is_damaged {
            found.push(Fix::small_file(&dir.path().join(name)));
        }
    }
    if disk.exists(&metadata).map_err(|error| failed(&error))? {
        let state = metadata.join(quorum_state::FILE_NAME);
        if !is_quorum_state(disk, &state) {
            found.push(Fix::small_file(&state));
        }
        let promised = dir.recovery_point_file().metadata().unwrap_or_default();
        found.extend(look_into_metadata(disk, dir, promised)?);
    }
    let points = points.unwrap_or_default();
    let whole = dir.has_mark()?;
    for partition in dir.partitions()? {
        if matches!(partition.kind, PartitionDirName::Log(_)) {
            let path = dir.path().join(&partition.name);
            let of_another = |id: Uuid| topics.values().any(|known| *known == id);
            if let PartitionDirName::Log(name) = &partition.kind
                && let Some(id) = topics.get(&*name.topic)
                && partition.topic_id.is_none_or(|found| found != *id && of_another(found))
            {
                found.push(Fix::topic_id(&path, name, *id));
            }
            look_into_log(disk, &path, &partition.kind, (&points, whole), found)?;
        }
    }
    Ok(())
}

fn is_quorum_state(disk: &Disk, path: &Path) -> bool {
    match disk.read(path, 64 << 10) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(bytes) => quorum_state::parse(&String::from_utf8_lossy(&bytes)).is_ok(),
    }
}

/// The metadata log has no gaps: from the first break on, all of it goes.
fn look_into_metadata(
    disk: &Disk,
    dir: &DataDir,
    promised: Offset,
) -> Result<Option<Fix>, ToolError> {
    let path = dir.metadata_dir();
    let snapshot = newest_snapshot(disk, &path).map_err(|error| failed(&error))?;
    let mut loss = Loss::default();
    let mut cut_at = None;
    let examined = examine(disk, &path, true, |batch, breaks| {
        if breaks == 0 {
            cut_at = Some(batch.header.next_offset());
        } else if batch.header.base_offset >= snapshot {
            loss.note_metadata(batch);
        }
    });
    let examined = examined.map_err(|error| failed(&error))?;
    let end = cut_at.unwrap_or(examined.start);
    let is_short = end.max(snapshot) < promised;
    // A torn tail is for the next start to cut.
    if loss.batches == 0 && !is_short {
        return Ok(None);
    }
    let points = dir.recovery_point_file().clone();
    Ok(Some(Fix::metadata(&path, &examined, end, promised, &loss, points)))
}

/// A partition's log may have gaps: what is not sound is taken out of it. Where the last process
/// left all that it wrote, closed segments are `whole`.
fn look_into_log(
    disk: &Disk,
    path: &Path,
    kind: &PartitionDirName,
    (points, whole): (&OffsetCheckpoint, bool),
    found: &mut Vec<Fix>,
) -> Result<(), ToolError> {
    let PartitionDirName::Log(name) = kind else { return Ok(()) };
    let durable = points.offsets.get(name).copied().unwrap_or(Offset::ZERO);
    for entry in disk.list(path).map_err(|error| failed(&error))? {
        let kind = SegmentFile::parse(&entry.name);
        let is_beside = kind.is_some_and(|(kind, _)| kind != SegmentFile::Log)
            || entry.name == "leader-epoch-checkpoint";
        if entry.is_dir && is_beside {
            found.push(Fix::small_file(&path.join(&entry.name)));
        }
    }
    let examined = examine(disk, path, false, |_, _| {}).map_err(|error| failed(&error))?;
    let Examined { end, ref breaks, .. } = examined;
    // What is above the recovery point is for the next start to cut.
    let is_whole = |it: &Break| whole && it.damage.path != examined.last;
    let counts = |it: &&Break| it.bytes.is_none() || it.damage.offset < durable || is_whole(it);
    let breaks: Vec<_> = breaks.iter().filter(counts).cloned().collect();
    if !breaks.is_empty() || end < durable {
        found.push(Fix::log(path, &Examined { breaks, ..examined }, durable));
    }
    Ok(())
}
