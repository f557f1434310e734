//! A partition whose replica moves to another log directory: what the mover asks of it, and the
//! moment in which the copy takes the log's place ([`crate::moves`]).

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use ottla_config::TopicConfig;
use ottla_storage::{CopySource, Extent, LeaderEpochs, Log, ProducerState};
use ottla_types::{Offset, Timestamp, Uuid};

use super::{Partition, State};
use crate::moves::{MoveEnd, Moving, Offsets};
use crate::request::PartitionError;

/// Most bytes that are copied while appends wait.
const LAST_BYTES: u64 = 256 << 10;

/// What a mover sees of a partition.
pub(crate) struct Look {
    pub(crate) offsets: Offsets,
    pub(crate) config: Arc<TopicConfig>,
    /// Whether the metadata names the new directory.
    pub(crate) placed: bool,
    pub(crate) flushing: bool,
    /// Whether a compacted segment takes its place: no copy begins meanwhile.
    pub(crate) swapping: bool,
}

/// What became of a wish to be in a directory.
#[derive(Default)]
pub(crate) struct Wish {
    /// Whether a move begins.
    pub(crate) begins: bool,
    /// The present directory, when the controller was told of one whose move is called off.
    pub(crate) tell: Option<Uuid>,
}

impl Partition {
    /// Lets the replica move, unless it does already or is there. A move to elsewhere is called
    /// off.
    ///
    /// # Errors
    /// `Offline`, or `Gone`.
    pub(crate) fn begin_move(&self, moving: &Arc<Moving>) -> Result<Wish, PartitionError> {
        let mut state = self.lock()?;
        if state.moving.as_ref().is_some_and(|now| Arc::ptr_eq(&now.dir, &moving.dir)) {
            return Ok(Wish::default());
        }
        let tell = state.call_off();
        let begins = !Arc::ptr_eq(&state.dir, &moving.dir);
        state.moving = begins.then(|| moving.clone());
        Ok(Wish { begins, tell })
    }

    /// The move that is under way.
    pub(crate) fn moving(&self) -> Option<Arc<Moving>> {
        self.state.lock().ok()?.moving.clone()
    }

    /// Ends a move that does not get there; returns the directory that the controller is to be told
    /// again.
    pub(crate) fn end_move(&self, moving: &Arc<Moving>) -> Option<Uuid> {
        let mut state = self.state.lock().ok()?;
        state.is_moving(moving).then(|| state.call_off()).flatten()
    }

    /// Notes in which directory the metadata says that the replica is. Returns the one that it
    /// should say.
    pub(crate) fn note_placed(&self, placed: Uuid) -> Uuid {
        let Ok(mut state) = self.state.lock() else { return self.dir().id() };
        state.placed = placed;
        match &state.moving {
            Some(moving) if moving.is_told() => moving.dir.id(),
            _ => state.dir.id(),
        }
    }

    /// Notes that the controller is told of the new directory; false when the move has ended.
    pub(crate) fn tell_move(&self, moving: &Arc<Moving>) -> bool {
        let Ok(state) = self.lock() else { return false };
        let is_moving = state.is_moving(moving);
        if is_moving {
            moving.set_told();
        }
        is_moving
    }

    /// What a mover is to know before its next step.
    ///
    /// # Errors
    /// When the move has ended, or the partition.
    pub(crate) fn look(&self, moving: &Arc<Moving>) -> Result<Look, MoveEnd> {
        let state = self.lock_moving(moving)?;
        Ok(Look {
            offsets: Offsets::of(&state.log),
            config: Arc::new(state.log.config().clone()),
            placed: state.placed == moving.dir.id(),
            flushing: state.flushing,
            swapping: state.swapping,
        })
    }

    /// The epochs of the log and its end.
    pub(crate) fn epochs_and_end(
        &self,
        moving: &Arc<Moving>,
    ) -> Result<(LeaderEpochs, Offset), MoveEnd> {
        let state = self.lock_moving(moving)?;
        Ok((state.log.epochs().clone(), state.log.end()))
    }

    /// Where a copy begins, and the producers there.
    pub(crate) fn copy_start(
        &self,
        moving: &Arc<Moving>,
    ) -> Result<(Offset, ProducerState), MoveEnd> {
        let mut state = self.lock_moving(moving)?;
        let producers = state.log.producers_at_base();
        let producers = producers.map_err(|error| MoveEnd::Log(self.failed(error)))?;
        Ok((state.log.base(), producers))
    }

    /// What the copy is to read next.
    pub(crate) fn copy_source(
        &self,
        moving: &Arc<Moving>,
        from: Offset,
        bytes_max: u64,
    ) -> Result<CopySource, MoveEnd> {
        let mut state = self.lock_moving(moving)?;
        let source = state.log.copy_source(from, bytes_max);
        source.map_err(|error| MoveEnd::Log(self.failed(error)))
    }

    /// Lets nothing more become durable until [`Partition::release_flushes`].
    pub(crate) fn hold_flushes(&self, moving: &Arc<Moving>) -> Result<(), MoveEnd> {
        self.lock_moving(moving)?.flushes_held = true;
        Ok(())
    }

    /// Lets flushes go on; tells whether the flush task is to be started.
    pub(crate) fn release_flushes(&self) -> bool {
        let Ok(mut state) = self.state.lock() else { return false };
        state.flushes_held = false;
        let start = !state.retired && !state.flushing && state.wants_flush();
        state.flushing |= start;
        start
    }

    /// Copies the last records while appends wait, and lets the copy take the log's place, out of
    /// the slot; false, and it stays there, when it is too far behind, or not as durable as the
    /// log. The directories are renamed: that is not durable yet.
    ///
    /// The caller holds the starts of both directories' logs, and the log's flushes.
    ///
    /// # Errors
    /// Why the move ends, or what happened to the copy.
    pub(crate) fn replace_log(
        &self,
        moving: &Arc<Moving>,
        copy_slot: &mut Option<Log>,
        deleted: &str,
        now: Timestamp,
    ) -> Result<bool, MoveEnd> {
        let mut guard = self.lock_moving(moving)?;
        let state = &mut *guard;
        let Some(copy) = copy_slot.as_mut() else { return Ok(false) };
        let last = state.log.copy_source(copy.end(), LAST_BYTES);
        match last.map_err(|error| MoveEnd::Log(self.failed(error)))? {
            CopySource::Piece(extent) => {
                copy_piece(copy, &extent, now)?;
            }
            CopySource::End => {}
            CopySource::Gone => return Ok(false),
        }
        let is_whole = (copy.log_start(), copy.end()) == (state.log.log_start(), state.log.end());
        let is_durable = copy.recovery_point() >= state.log.recovery_point();
        let may_swap = state.flushes_held && !state.flushing && state.placed == moving.dir.id();
        if !is_whole || !is_durable || !may_swap {
            return Ok(false);
        }
        let (from, to, name) = (state.dir.clone(), moving.dir.clone(), self.name.to_string());
        // In this order: if this process dies in between, both are there, and the same.
        if let Err(error) = to.data().rename(&moving.dir_name, &name) {
            to.health().fence(error.to_string());
            return Err(MoveEnd::DirFailed);
        }
        if let Err(error) = from.data().rename(&name, deleted) {
            from.health().fence(error.to_string());
        }
        copy.moved_to(to.data().path().join(&name));
        let copy = copy_slot.take().expect("it was there above");
        let log = mem::replace(&mut state.log, copy);
        state.log.take_over(log);
        state.log.replicated(state.core.high_watermark());
        state.moving = None;
        state.dir = to.clone();
        *self.dir.write().expect("never poisoned") = to;
        Ok(true)
    }

    fn lock_moving(
        &self,
        moving: &Arc<Moving>,
    ) -> Result<std::sync::MutexGuard<'_, State>, MoveEnd> {
        let state = self.lock().map_err(MoveEnd::Log)?;
        if state.is_moving(moving) { Ok(state) } else { Err(MoveEnd::CalledOff) }
    }
}

impl State {
    fn is_moving(&self, moving: &Arc<Moving>) -> bool {
        self.moving.as_ref().is_some_and(|now| Arc::ptr_eq(now, moving))
    }

    /// Ends the move under way; returns the directory that the controller is to be told again.
    pub(super) fn call_off(&mut self) -> Option<Uuid> {
        let moving = self.moving.take()?;
        moving.is_told().then(|| self.dir.id())
    }
}

/// Appends what is in a piece of the log to its copy. Returns how many bytes that are; none when
/// the piece is gone.
///
/// # Errors
/// [`MoveEnd::Copy`].
pub(crate) fn copy_piece(copy: &mut Log, extent: &Extent, now: Timestamp) -> Result<u64, MoveEnd> {
    let len = usize::try_from(extent.len).expect("a chunk, or a batch");
    let mut bytes = vec![0; len];
    let read = extent.file.read_at(&mut bytes, extent.position);
    // A log that cannot be read says so itself when it is read next.
    bytes.truncate(read.unwrap_or(0));
    copy.append_copied(&Bytes::from(bytes), now).map_err(MoveEnd::Copy)
}
