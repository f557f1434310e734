//! Replicas that move to another log directory of their node (KIP-113, KIP-858).
//!
//! ```text
//!   AlterReplicaLogDirs ──> Moving, in the partition ──> mover: one task, a step of each in turn
//!   a `-future` directory at a start ──────┘              └─ core.rs says which, steps.rs does it
//! ```
//! One copy is written at a time, a piece of at most [`CHUNK`] bytes in each step, off the data
//! threads; `replica.alter.log.dirs.io.max.bytes.per.second` paces them all together.
//!
//! What is on disk, at any moment of a crash:
//! - before the swap: the log, and a copy called `TOPIC-PARTITION.UNIQUE-future`, which the next
//!   start takes up;
//! - in the swap both names change, the copy's first; nothing is acknowledged as durable before
//!   both changes are. A power cut may keep either: two logs of one name, of which the one in the
//!   directory that the metadata names counts, or a copy without a log, which is whole then.
//!
//! Deliberately absent: more than one piece at a time (`num.replica.alter.log.dirs.threads`).
//! Source: `ReplicaManager.alterReplicaLogDirs`, `ReplicaAlterLogDirsThread`,
//! `LogManager.replaceCurrentWithFutureLog`.

mod core;
mod mover;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_compacted;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ottla_storage::{Log, LogError, PartitionDirName};
use ottla_types::{ErrorCode, Offset, TopicIdPartition, TopicPartition};

pub(crate) use self::core::Offsets;
pub(crate) use self::mover::Moves;
use crate::dir::Dir;
use crate::partition::Partition;
use crate::replicas::Replicas;
use crate::request::PartitionError;

/// Most bytes of a step, but for a larger batch.
pub(crate) const CHUNK: u64 = 1 << 20;
/// Wishes for partitions that are not here yet that are remembered.
const PREFERRED_MAX: usize = 10_000;

/// A move as others see it.
pub(crate) struct Moving {
    /// Where the replica moves to.
    pub(crate) dir: Arc<Dir>,
    /// Name of the copy's directory.
    pub(crate) dir_name: String,
    /// Whether an earlier process began the copy.
    found: bool,
    /// Whether the controller was told of the new directory.
    told: AtomicBool,
    size: AtomicU64,
    start: AtomicI64,
    end: AtomicI64,
    checkpoint: AtomicI64,
}

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum MoveEnd {
    /// Somebody ended the move.
    CalledOff,
    /// The log cannot be used, or is gone.
    Log(PartitionError),
    /// The copy.
    Copy(LogError),
    /// The directory of the copy has failed.
    DirFailed,
}

impl Moving {
    fn new(dir: Arc<Dir>, dir_name: String) -> Moving {
        Moving {
            dir,
            dir_name,
            found: false,
            told: AtomicBool::new(false),
            size: AtomicU64::new(0),
            start: AtomicI64::new(0),
            end: AtomicI64::new(0),
            checkpoint: AtomicI64::new(0),
        }
    }

    /// One that an earlier process began; `told` when the metadata names its directory.
    pub(crate) fn found(dir: Arc<Dir>, dir_name: String, told: bool) -> Moving {
        let moving = Moving::new(dir, dir_name);
        moving.told.store(told, Ordering::Relaxed);
        Moving { found: true, ..moving }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    pub(crate) fn set_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Bytes in the copy.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Where the copy begins.
    pub(crate) fn start(&self) -> Offset {
        Offset(self.start.load(Ordering::Relaxed))
    }

    /// Where the copy ends so far.
    pub(crate) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Relaxed))
    }

    /// Below which the copy is durable.
    pub(crate) fn checkpoint(&self) -> Offset {
        Offset(self.checkpoint.load(Ordering::Relaxed))
    }

    fn show(&self, copy: &Log) {
        self.size.store(copy.size(), Ordering::Relaxed);
        self.start.store(copy.log_start().0, Ordering::Relaxed);
        self.end.store(copy.end().0, Ordering::Relaxed);
        self.checkpoint.store(copy.checkpoint_offset().0, Ordering::Relaxed);
    }
}

impl Offsets {
    pub(crate) fn of(log: &Log) -> Offsets {
        let (base, start) = (log.base(), log.log_start());
        Offsets { base, start, end: log.end(), durable: log.recovery_point() }
    }
}

impl Replicas {
    /// Lets a replica be in the log directory at `path`, as the configuration names it: moves it
    /// there, or stays, and calls off a move to elsewhere. Of a partition that is not here (`id` is
    /// `None` when there is none of this name) the wish is remembered.
    ///
    /// # Errors
    /// `LOG_DIR_NOT_FOUND`; `KAFKA_STORAGE_ERROR` when the directory, the partition, or, for a
    /// move, any directory is offline; `REPLICA_NOT_AVAILABLE` or `UNKNOWN_TOPIC_OR_PARTITION` for
    /// one that is not here.
    pub fn move_to(
        &self,
        name: &TopicPartition,
        id: Option<TopicIdPartition>,
        path: &Path,
    ) -> Result<(), ErrorCode> {
        let shared = &self.shared;
        let dir = shared.dirs.iter().find(|dir| dir.data().path() == path);
        let Some(dir) = dir.filter(|dir| !dir.health().is_fenced()) else {
            let offline = dir.is_some() || shared.is_unreadable(path);
            return Err(match offline {
                true => ErrorCode::KafkaStorageError,
                false => ErrorCode::LogDirNotFound,
            });
        };
        let partition = id.and_then(|id| self.get(&id));
        let Some(partition) = partition else {
            if id.is_some_and(|id| self.is_offline(&id)) {
                return Err(ErrorCode::KafkaStorageError);
            }
            self.prefer(name, dir);
            return Err(match id {
                Some(_) => ErrorCode::ReplicaNotAvailable,
                None => ErrorCode::UnknownTopicOrPartition,
            });
        };
        let is_there = |now: &Arc<Dir>| Arc::ptr_eq(now, dir);
        let stays = is_there(&partition.dir())
            || partition.moving().is_some_and(|moving| is_there(&moving.dir));
        if !stays && shared.some_offline() {
            // There may be a copy already, where nobody can look.
            return Err(ErrorCode::KafkaStorageError);
        }
        let unique = shared.runtime.entropy().uuid();
        let moving = Moving::new(dir.clone(), PartitionDirName::future(name, unique));
        let wish = partition.begin_move(&Arc::new(moving)).map_err(|error| error.code())?;
        if let Some(directory) = wish.tell {
            shared.tell(partition.id(), directory);
        }
        if wish.begins {
            self.start_move(partition);
        }
        Ok(())
    }

    /// Remembers where a partition is wished that is not here yet.
    fn prefer(&self, name: &TopicPartition, dir: &Arc<Dir>) {
        let mut preferred = self.shared.preferred.lock().expect("never poisoned");
        if preferred.len() < PREFERRED_MAX || preferred.contains_key(name) {
            preferred.insert(name.clone(), dir.clone());
        }
    }

    /// Gives a partition that has a move under way to the mover.
    pub(crate) fn start_move(&self, partition: Arc<Partition>) {
        if let Some(moving) = partition.moving() {
            self.shared.moves.add(partition, moving);
        }
    }

    /// The copies in a directory that are on their way, by the names of their partitions.
    pub(crate) fn copies_in(&self, dir: &Arc<Dir>) -> Vec<(TopicPartition, Arc<Moving>)> {
        let copy = |partition: &Arc<Partition>| {
            let moving = partition.moving().filter(|moving| Arc::ptr_eq(dir, &moving.dir))?;
            Some((partition.name().clone(), moving))
        };
        match self.shared.dirs.len() {
            1 => Vec::new(),
            _ => self.all().iter().filter_map(copy).collect(),
        }
    }

    /// Changes how many bytes all moves together copy in a second
    /// (`replica.alter.log.dirs.io.max.bytes.per.second`); `None` is what the node began with.
    pub fn set_move_rate(&self, bytes_per_second: Option<u64>) {
        let begun_with = self.shared.config.move_bytes_per_second;
        self.shared.moves.set_rate(bytes_per_second.unwrap_or(begun_with));
    }
}
