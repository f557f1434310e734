//! What is damaged, in words, and how it is repaired.

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_runtime::{Disk, SyncPoint};
use ottla_storage::{
    Break, Examined, Kept, LogError, PartitionMetadata, RecoveryPoints, continue_at, take_out,
    take_out_segment,
};
use ottla_types::{Offset, TopicPartition, Uuid};

use super::loss::Loss;

/// One damaged file or log.
pub(super) struct Fix {
    /// What it is.
    pub(super) what: PathBuf,
    /// What is wrong, and what would be lost: lines for the operator.
    pub(super) told: String,
    steps: Vec<Step>,
}

enum Step {
    /// A file without which a start does.
    MoveAside(PathBuf),
    /// Bytes of a segment.
    TakeOut(PathBuf, Vec<Range<u64>>),
    /// All bytes of a segment from there on.
    CutAt(PathBuf, u64),
    /// A whole segment.
    TakeOutSegment(PathBuf),
    /// Lets the log in a directory go on behind a gap.
    ContinueAt(PathBuf, Offset),
    /// Says whose log is in a directory.
    NameTopic(PathBuf, Uuid),
    /// The metadata log ends here now.
    ResetMetadata(Arc<RecoveryPoints>, Offset),
}

impl Fix {
    /// A small file that cannot be read. Nothing but a slower start comes of its loss.
    pub(super) fn small_file(path: &Path) -> Fix {
        let told = format!(
            "{} cannot be read\n  it would be moved aside; the next start does without it\n",
            path.display()
        );
        Fix { what: path.to_owned(), told, steps: vec![Step::MoveAside(path.to_owned())] }
    }

    /// A directory that does not say whose log is in it, where the metadata has a topic of that
    /// name.
    pub(super) fn topic_id(dir: &Path, name: &TopicPartition, id: Uuid) -> Fix {
        let file = PartitionMetadata::path(dir);
        let told = format!(
            "{} does not say whose log this is\n  by its name it is of the topic {} with the id \
             {id}, which would be written there\n",
            file.display(),
            name.topic
        );
        Fix { what: file, told, steps: vec![Step::NameTopic(dir.to_owned(), id)] }
    }

    /// The metadata log, which is to end at `end`, though everything below `promised` was durable.
    pub(super) fn metadata(
        dir: &Path,
        examined: &Examined,
        end: Offset,
        promised: Offset,
        loss: &Loss,
        points: Arc<RecoveryPoints>,
    ) -> Fix {
        let mut told = match examined.breaks.first() {
            Some(first) => format!("{}\n", first.damage),
            None => format!("{} ends early\n", examined.last.display()),
        };
        let _ = writeln!(told, "  the metadata log is sound below offset {end}");
        if promised > end {
            let _ = writeln!(told, "  everything below offset {promised} was committed");
        }
        told += &loss.told();
        let mut steps = Vec::new();
        if let Some(first) = examined.breaks.first() {
            let path = &first.damage.path;
            steps.push(match &first.bytes {
                Some(bytes) => Step::CutAt(path.clone(), bytes.start),
                None => Step::TakeOutSegment(path.clone()),
            });
            let later = examined.segments.iter().skip_while(|at| *at != path).skip(1);
            steps.extend(later.cloned().map(Step::TakeOutSegment));
        }
        steps.push(Step::ResetMetadata(points, end));
        Fix { what: dir.to_owned(), told, steps }
    }

    /// A partition's log, of which everything below `durable` was durable.
    pub(super) fn log(dir: &Path, examined: &Examined, durable: Offset) -> Fix {
        let mut told = String::new();
        let mut steps = Vec::new();
        for Break { damage, bytes } in &examined.breaks {
            let _ = writeln!(told, "{damage}");
            let _ = match bytes {
                Some(bytes) => writeln!(told, "  lost: {} bytes", bytes.end - bytes.start),
                None => writeln!(told, "  lost: the whole segment"),
            };
        }
        for path in &examined.segments {
            let here = || examined.breaks.iter().filter(|it| it.damage.path == *path);
            if here().any(|it| it.bytes.is_none()) {
                steps.push(Step::TakeOutSegment(path.clone()));
            } else if here().count() > 0 {
                let ranges = here().filter_map(|it| it.bytes.clone()).collect();
                steps.push(Step::TakeOut(path.clone(), ranges));
            }
        }
        let Examined { start, end, .. } = examined;
        if *end < durable {
            let _ = writeln!(
                told,
                "{} ends at offset {end}, and everything below {durable} was durable\n  lost: what \
                 was between; the log goes on at {durable}",
                examined.last.display()
            );
            steps.push(Step::ContinueAt(dir.to_owned(), durable));
        }
        let _ = writeln!(told, "  sound, and kept: the other records from offset {start} to {end}");
        Fix { what: dir.to_owned(), told, steps }
    }

    /// Repairs it; returns where the bytes are that were taken out.
    pub(super) fn apply(&self, disk: &Disk, kept: Kept) -> Result<Vec<PathBuf>, LogError> {
        let mut aside = Vec::new();
        for step in &self.steps {
            match step {
                Step::MoveAside(path) => {
                    aside.push(move_aside(disk, path)?);
                }
                Step::TakeOut(path, ranges) => aside.extend(take_out(disk, path, ranges, kept)?),
                Step::CutAt(path, at) => {
                    let rest = *at..u64::MAX;
                    aside.extend(take_out(disk, path, std::slice::from_ref(&rest), kept)?);
                }
                Step::TakeOutSegment(path) => aside.extend(take_out_segment(disk, path, kept)?),
                Step::ContinueAt(dir, end) => continue_at(disk, dir, *end)?,
                Step::NameTopic(dir, topic_id) => {
                    let path = PartitionMetadata::path(dir);
                    if disk.exists(&path).unwrap_or(true) {
                        aside.push(move_aside(disk, &path)?);
                    }
                    let point = Some(SyncPoint::PartitionMetadataFile);
                    let metadata = PartitionMetadata { topic_id: *topic_id };
                    let written = metadata.write(disk, dir, point);
                    written.map_err(|source| LogError::Io { path, source })?;
                }
                Step::ResetMetadata(points, end) => {
                    let path = points.path().to_owned();
                    let reset = points.reset_metadata(*end);
                    reset.map_err(|source| LogError::Io { path, source })?;
                }
            }
        }
        Ok(aside)
    }
}

fn move_aside(disk: &Disk, path: &Path) -> Result<PathBuf, LogError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let to = PathBuf::from(name);
    let dir = path.parent().expect("a file is in a directory");
    let moved = disk.rename(path, &to).and_then(|()| disk.sync_dir(dir, SyncPoint::StartDir));
    moved.map_err(|source| LogError::Io { path: path.to_owned(), source })?;
    Ok(to)
}
