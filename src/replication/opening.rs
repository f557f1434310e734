//! Opening one log, or creating it: what becomes of a log that is damaged, and of its directory.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_storage::{
    Left, Log, LogError, LogOptions, Progress, Recovered, RefusedFirsts, Shutdown, SyncPoints,
};
use ottla_types::{Offset, TopicIdPartition, Uuid};

use crate::dir::Dir;
use crate::load_error::LoadError;
use crate::moves::Moving;
use crate::partition::Partition;
use crate::placement::Placement;
use crate::replicas::Shared;

/// A log that is to be opened or created.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) placement: Placement,
    pub(crate) dir: Arc<Dir>,
    /// `None` when there is none yet.
    pub(crate) left: Option<Left>,
    /// What is to take its place, in another directory.
    pub(crate) copy: Option<Arc<Moving>>,
    /// What producers sent while it waited for room.
    pub(crate) refused: RefusedFirsts,
}

/// A log that could not be opened.
pub(crate) struct Unopened {
    pub(crate) id: TopicIdPartition,
    /// What is to be tried again, when there is room.
    pub(crate) again: Option<Box<Opening>>,
}

impl Shared {
    /// Tells the controller that nobody can be sent here for a partition.
    pub(crate) fn tell_lost(&self, id: TopicIdPartition) {
        self.tell(id, Uuid::DIR_LOST);
    }

    /// Opens or creates a log; when that fails, its directory is fenced, unless it is full or the
    /// log is damaged.
    pub(crate) fn open_or_fence(
        &self,
        opening: Opening,
        progress: &Progress,
    ) -> Result<Partition, Unopened> {
        let (id, dir) = (opening.placement.id, opening.dir.clone());
        if dir.health().is_fenced() {
            return Err(Unopened { id, again: None });
        }
        self.open_one(opening.clone(), progress).map_err(|error| {
            let name = opening.placement.name.clone();
            match &error {
                full if full.is_disk_full() => {
                    tracing::warn!(partition = %name, %error, "waits for room");
                    return Unopened { id, again: Some(Box::new(opening)) };
                }
                LoadError::Log(damage) if damage.is_damage() => {
                    tracing::error!(partition = %name, %error,
                        "the log is damaged, and offline; nothing of it was changed");
                    dir.note_damaged(id, name);
                    self.tell_lost(id);
                }
                _ => dir.health().fence(format!("{name}: {error}")),
            }
            Unopened { id, again: None }
        })
    }

    /// Opens or (when nothing was found) creates a log and holds its partition.
    fn open_one(&self, opening: Opening, progress: &Progress) -> Result<Partition, LoadError> {
        let Opening { placement, dir, left, copy, .. } = opening;
        let options = LogOptions {
            entropy: Some(self.runtime.entropy().clone()),
            producer_age_max: self.config.producer_id_expiration,
            was_compacted: left.is_some() && dir.cleaned_to(&placement.name).is_some(),
            ..LogOptions::new(placement.config, SyncPoints::DATA)
        };
        let now = self.runtime.clock().wall();
        let name = placement.name;
        let log = match left {
            None => {
                dir.data().create_log(&name.to_string(), placement.id.topic_id, options, now)?
            }
            Some(left) => {
                let path: PathBuf = dir.data().path().join(name.to_string());
                let disk = self.runtime.disk();
                let open =
                    |left| Log::open_watched(disk, &path, options.clone(), left, now, progress);
                let (mut log, recovered) = open_as_left(left, dir.recovery_point(&name), open)?;
                if recovered.checked_bytes > 0 {
                    tracing::debug!(partition = %name, bytes = recovered.checked_bytes,
                        cut = recovered.cut_bytes, end = log.end().0, "recovered log");
                }
                // Readers saw what was durable: they must see it again at once.
                if log.config().flush_messages == 1 {
                    flush_now(&mut log)?;
                }
                log
            }
        };
        let partition = Partition::hold(placement.id, name, dir, log, placement.leadership);
        if let Some(copy) = copy {
            // It is where the copy is not.
            partition.begin_move(&copy)?;
        }
        Ok(partition)
    }
}

/// Opens a log as it was left, of which everything below `promised` is durable.
fn open_as_left(
    left: Left,
    promised: Offset,
    open: impl Fn(Left) -> Result<(Log, Recovered), LogError>,
) -> Result<(Log, Recovered), LogError> {
    let (log, recovered) = match open(left) {
        // It was closed cleanly, and something is behind its end or broken before it.
        Err(LogError::Corrupt { .. }) if left.shutdown == Shutdown::Clean => {
            open(Left { shutdown: Shutdown::Unclean { recovery_point: promised }, ..left })?
        }
        opened => opened?,
    };
    // It ended there when it was closed; what is more is looked at.
    let (log, recovered) = match left.shutdown {
        Shutdown::Clean if log.end() > promised && promised > Offset::ZERO => {
            drop(log);
            open(Left { shutdown: Shutdown::Unclean { recovery_point: promised }, ..left })?
        }
        _ => (log, recovered),
    };
    if log.end() < promised { Err(log.ends_early(promised)) } else { Ok((log, recovered)) }
}

fn flush_now(log: &mut Log) -> Result<(), LogError> {
    while let Some(job) = log.start_flush()? {
        let path = log.dir().to_owned();
        job.run().map_err(|source| LogError::Io { path, source })?;
        log.finish_flush(job.end);
    }
    Ok(())
}
