//! The steps of a move. They read, write and sync: call them where a stall is allowed.

use std::sync::{Arc, Mutex, MutexGuard};

use ottla_storage::{
    CopySource, DirError, LastStop, Log, LogError, LogOptions, OffsetCheckpoint, PartitionDirName,
    Shutdown, SyncPoints,
};
use ottla_types::Offset;

use super::core::{MoveCore, Offsets, Seen, Step};
use super::{CHUNK, MoveEnd, Moving};
use crate::dir::Dir;
use crate::partition::{Partition, copy_piece};
use crate::replicas::Replicas;
use crate::request::PartitionError;

/// A move in work.
pub(super) struct Move {
    pub(super) partition: Arc<Partition>,
    pub(super) moving: Arc<Moving>,
    core: MoveCore,
    copy: Option<Log>,
    unflushed: u64,
}

/// What came of a step.
pub(super) enum Did {
    /// So many bytes were copied, or none; there is more to do at once.
    Some(u64),
    /// There is nothing to do for a moment.
    Nothing,
    /// There is no room, for longer than a moment.
    NoRoom,
    /// The replica has moved; the old directory has this name now.
    Moved(Arc<Dir>, String),
    /// It stays where it is.
    Ended(MoveEnd),
}

impl Move {
    pub(super) fn new(partition: Arc<Partition>, moving: Arc<Moving>) -> Move {
        let core = MoveCore::new(moving.is_told());
        Move { partition, moving, core, copy: None, unflushed: 0 }
    }

    /// Does what comes next.
    pub(super) fn step(&mut self, replicas: &Replicas) -> Did {
        if self.moving.dir.health().is_fenced() {
            self.release(replicas);
            return Did::Ended(MoveEnd::DirFailed);
        }
        if self.moving.dir.health().is_full() {
            self.release(replicas);
            return Did::NoRoom;
        }
        let done = self.try_step(replicas);
        if let Some(copy) = &self.copy {
            self.moving.show(copy);
        }
        match done {
            Ok(did) => did,
            Err(MoveEnd::Copy(error)) if error.is_disk_full() => {
                self.release(replicas);
                Did::NoRoom
            }
            Err(end) => {
                self.release(replicas);
                Did::Ended(end)
            }
        }
    }

    fn try_step(&mut self, replicas: &Replicas) -> Result<Did, MoveEnd> {
        let look = self.partition.look(&self.moving)?;
        let Some(copy) = &mut self.copy else {
            if look.swapping {
                return Ok(Did::Nothing);
            }
            self.copy = Some(self.open(replicas)?);
            return Ok(Did::Some(0));
        };
        copy.set_config((*look.config).clone());
        let seen = Seen {
            log: look.offsets,
            copy: Offsets::of(copy),
            unflushed: self.unflushed,
            placed: look.placed,
            flushing: look.flushing,
        };
        match self.core.next(&seen) {
            Step::Restart => self.restart(replicas)?,
            Step::BeginAt(start) => self.begin_at(replicas, start)?,
            Step::Copy => return self.copy_some(replicas),
            Step::Flush => self.flush()?,
            Step::Tell if self.partition.tell_move(&self.moving) => {
                replicas.shared.tell(self.partition.id(), self.moving.dir.id());
            }
            Step::Tell | Step::Wait => return Ok(Did::Nothing),
            Step::Hold => self.partition.hold_flushes(&self.moving)?,
            Step::Release => self.release(replicas),
            Step::Swap => return self.swap(replicas),
        }
        Ok(Did::Some(0))
    }

    /// Whether nobody has called it off.
    pub(super) fn is_wanted(&self) -> bool {
        self.partition.moving().is_some_and(|moving| Arc::ptr_eq(&moving, &self.moving))
    }

    /// Whether the log's flushes are held.
    pub(super) fn holds(&self) -> bool {
        self.core.holds()
    }

    fn copy(&mut self) -> &mut Log {
        self.copy.as_mut().expect("opened in the first step")
    }

    /// Opens what an earlier process left, or creates the copy.
    fn open(&self, replicas: &Replicas) -> Result<Log, MoveEnd> {
        if self.moving.found
            && let Some(copy) = self.open_found(replicas)?
        {
            return Ok(copy);
        }
        let (partition, dir, runtime) =
            (&self.partition, &self.moving.dir, &replicas.shared.runtime);
        let (start, producers) = partition.copy_start(&self.moving)?;
        dir.forget_older_logs(&[partition.name()]).map_err(of_dir)?;
        let (id, now) = (partition.id().topic_id, runtime.clock().wall());
        let options = self.options(replicas)?;
        let created = dir.data().create_log(&self.moving.dir_name, id, options, now);
        let mut copy = created.map_err(MoveEnd::Copy)?;
        dir.data().sync_created().map_err(of_dir)?;
        copy.begin_copy(start, producers, now).map_err(MoveEnd::Copy)?;
        Ok(copy)
    }

    /// The copy that an earlier process left, as far as it is one. One that is damaged is set
    /// aside: nothing of it is needed.
    fn open_found(&self, replicas: &Replicas) -> Result<Option<Log>, MoveEnd> {
        let (dir, runtime) = (&self.moving.dir, &replicas.shared.runtime);
        let may_have_gaps = self.may_have_gaps().map_err(MoveEnd::Log)?;
        if may_have_gaps && dir.last_stop() == LastStop::Unclean {
            // Nothing tells what compaction took from what the power cut took.
            replicas.remove_copy(&self.moving, self.partition.name());
            return Ok(None);
        }
        let path = dir.data().path().join(&self.moving.dir_name);
        let recovery_point = dir.recovery_point(self.partition.name());
        let shutdown = Shutdown::Unclean { recovery_point };
        let (options, now) = (self.options(replicas)?, runtime.clock().wall());
        let opened = Log::open(runtime.disk(), &path, options, shutdown, now);
        let (epochs, end) = self.partition.epochs_and_end(&self.moving)?;
        let common = opened.and_then(|(mut copy, _)| {
            let is_common = copy.cut_to_common(&epochs, end)?;
            Ok(is_common.then_some(copy))
        });
        match common {
            Err(error) if !error.is_damage() => return Err(MoveEnd::Copy(error)),
            Ok(Some(copy)) => return Ok(Some(copy)),
            damaged_or_other => {
                let error = damaged_or_other.err().map(|error| error.to_string());
                tracing::warn!(partition = %self.partition.name(), dir = %path.display(),
                    error, "the copy of a log that moves begins anew");
            }
        }
        replicas.remove_copy(&self.moving, self.partition.name());
        Ok(None)
    }

    fn may_have_gaps(&self) -> Result<bool, PartitionError> {
        let was_compacted = self.partition.dir().cleaned_to(self.partition.name()).is_some();
        Ok(was_compacted || self.partition.config()?.compacts)
    }

    fn options(&self, replicas: &Replicas) -> Result<LogOptions, MoveEnd> {
        let config = (*self.partition.config().map_err(MoveEnd::Log)?).clone();
        Ok(LogOptions {
            entropy: Some(replicas.shared.runtime.entropy().clone()),
            producer_age_max: replicas.shared.config.producer_id_expiration,
            was_compacted: self.may_have_gaps().map_err(MoveEnd::Log)?,
            ..LogOptions::new(config, SyncPoints::DATA)
        })
    }

    fn restart(&mut self, replicas: &Replicas) -> Result<(), MoveEnd> {
        let (start, producers) = self.partition.copy_start(&self.moving)?;
        let now = replicas.shared.runtime.clock().wall();
        self.copy().begin_copy(start, producers, now).map_err(MoveEnd::Copy)
    }

    fn begin_at(&mut self, replicas: &Replicas, start: Offset) -> Result<(), MoveEnd> {
        let files = self.copy().delete_below(start).map_err(MoveEnd::Copy)?;
        // Nobody reads a copy.
        for file in files {
            let removed = replicas.shared.runtime.disk().remove_file(&file);
            removed.map_err(|source| MoveEnd::Copy(LogError::Io { path: file, source }))?;
        }
        Ok(())
    }

    fn copy_some(&mut self, replicas: &Replicas) -> Result<Did, MoveEnd> {
        let from = self.copy().end();
        let most = replicas.shared.moves.rate().clamp(1, CHUNK);
        let CopySource::Piece(extent) = self.partition.copy_source(&self.moving, from, most)?
        else {
            return Ok(Did::Some(0));
        };
        let now = replicas.shared.runtime.clock().wall();
        let copied = copy_piece(self.copy(), &extent, now)?;
        self.unflushed += copied;
        // A segment that was cut meanwhile: the log itself tells what has become of it.
        Ok(if copied == 0 { Did::Nothing } else { Did::Some(copied) })
    }

    fn flush(&mut self) -> Result<(), MoveEnd> {
        let path = self.copy().dir().to_owned();
        while let Some(job) = self.copy().start_flush().map_err(MoveEnd::Copy)? {
            let done = job.run();
            done.map_err(|source| MoveEnd::Copy(LogError::Io { path: path.clone(), source }))?;
            self.copy().finish_flush(job.end);
        }
        self.unflushed = 0;
        Ok(())
    }

    /// Lets the log flush again, if it was held.
    pub(super) fn release(&mut self, replicas: &Replicas) {
        self.core.let_go();
        if self.partition.release_flushes() {
            replicas.flush(self.partition.clone(), super::mover::PLANE);
        }
    }

    fn swap(&mut self, replicas: &Replicas) -> Result<Did, MoveEnd> {
        let (from, to) = (self.partition.dir(), self.moving.dir.clone());
        let (in_from, mut in_to) = lock_both(replicas, &from, &to, |dir| &dir.log_starts);
        let start = self.partition.log_start().map_err(MoveEnd::Log)?;
        let name = self.partition.name();
        if in_to.offsets.get(name).copied().unwrap_or(Offset::ZERO) != start {
            let mut starts = in_to.clone();
            starts.offsets.insert(name.clone(), start);
            to.data().write_log_starts(&starts).map_err(of_dir)?;
            *in_to = starts;
        }
        // How far it is clean goes along, and with it that it may have gaps.
        let (cleaned, mut cleaned_to) = lock_both(replicas, &from, &to, |dir| &dir.cleaned);
        let known = cleaned.offsets.get(name).copied();
        if cleaned_to.offsets.get(name).copied() != known {
            let mut new = cleaned_to.clone();
            new.offsets.remove(name);
            new.offsets.extend(known.map(|offset| (name.clone(), offset)));
            to.data().write_cleaner_offsets(&new, true).map_err(of_dir)?;
            *cleaned_to = new;
        }
        let unique = replicas.shared.runtime.entropy().uuid();
        let deleted = PartitionDirName::deleted(name, unique);
        let now = replicas.shared.runtime.clock().wall();
        if !self.partition.replace_log(&self.moving, &mut self.copy, &deleted, now)? {
            return Ok(Did::Some(0));
        }
        drop((in_from, in_to, cleaned, cleaned_to));
        // Both, before anything is durable that only the new one has.
        to.fence_on_error(to.data().sync_moved());
        from.fence_on_error(from.data().sync_moved());
        self.release(replicas);
        Ok(Did::Moved(from, deleted))
    }

    /// Makes a copy that is not whole yet durable, as at a clean stop.
    pub(super) fn close(&mut self) -> Result<(), LogError> {
        let Some(copy) = &mut self.copy else { return Ok(()) };
        copy.close()?;
        let job = copy.start_final_flush()?;
        let path = copy.dir().to_owned();
        job.run().map_err(|source| LogError::Io { path, source })?;
        copy.finish_flush(job.end);
        self.moving.show(copy);
        Ok(())
    }
}

/// Locks what a file holds in both directories, in the order of the directories.
fn lock_both<'a>(
    replicas: &Replicas,
    from: &'a Arc<Dir>,
    to: &'a Arc<Dir>,
    held: fn(&Dir) -> &Mutex<OffsetCheckpoint>,
) -> (MutexGuard<'a, OffsetCheckpoint>, MutexGuard<'a, OffsetCheckpoint>) {
    let lock = |dir: &'a Arc<Dir>| held(dir).lock().expect("never poisoned");
    let first =
        replicas.shared.dirs.iter().find(|dir| Arc::ptr_eq(dir, from) || Arc::ptr_eq(dir, to));
    if first.is_some_and(|first| Arc::ptr_eq(first, to)) {
        let in_to = lock(to);
        (lock(from), in_to)
    } else {
        let in_from = lock(from);
        (in_from, lock(to))
    }
}

fn of_dir(error: DirError) -> MoveEnd {
    match error {
        DirError::Io { path, source } => MoveEnd::Copy(LogError::Io { path, source }),
        DirError::InUse(path) | DirError::Foreign(path) => {
            let source = std::io::ErrorKind::Other.into();
            MoveEnd::Copy(LogError::Io { path, source })
        }
    }
}

impl MoveEnd {
    /// Whether the log is still to move: its directory failed, and the next start goes on.
    pub(super) fn leaves_copy(&self) -> bool {
        matches!(self, MoveEnd::Log(PartitionError::Offline))
    }
}
