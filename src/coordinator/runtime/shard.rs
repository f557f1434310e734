//! A shard at work: its core behind a lock, the records that are on their way, and who waits.
//!
//! ```text
//!   step ──> open: writes that were decided ──> one append at a time, without the lock
//!               └─ replayed at once                └─> parked until committed ──> answers
//! ```
//! The lock is held for CPU work only. Writes that are decided while an append is under way go
//! together with the next one. If an append fails, everything from its first record on is undone,
//! also what was decided meanwhile, and each waits no longer but hears why.
//!
//! Invariants: of `open` and `parked` each is in the order of the log; one append is under way when
//! `appending` says so; whoever waits is answered once.
//!
//! A write without records waits for those before it: what it answers was decided by them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicI32;

use bytes::Bytes;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchKind};
use ottla_protocol::compression::Codec;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TopicIdPartition};
use tokio::sync::oneshot;

use crate::shard_core::{
    Effects, EffectsOf, Now, Part, RecordBytes, ShardCore, Ticket, ToldBy, Write,
};

/// Bytes that a record may take besides its key and value.
const RECORD_OVERHEAD_MAX: usize = 32;

/// What a shard is doing.
pub(super) enum Phase<C> {
    /// Its log is read.
    Loading,
    /// It serves.
    Active(Box<C>),
    /// Its log cannot be read, or it is not led here any more.
    Gone,
}

/// A step that nobody waits for.
type Later<C> = Box<dyn FnOnce(&mut C, &mut EffectsOf<C>) + Send>;

/// A shard's state.
pub(super) struct State<C: ShardCore> {
    pub(super) phase: Phase<C>,
    waiting: BTreeMap<Ticket, oneshot::Sender<ToldBy<C>>>,
    tickets: u64,
    /// Writes that were decided and are not appended.
    open: VecDeque<Write<C::Then>>,
    /// What is done when the records below an offset are committed.
    parked: VecDeque<(Offset, C::Then)>,
    appending: bool,
    /// Everything below it is committed.
    committed: Offset,
    /// Whether the writer knows that something is open.
    queued: bool,
    /// What is done when the log is read.
    later: Vec<Later<C>>,
    /// What is to be done beside the log.
    errands: Vec<C::Errand>,
}

/// Writes that are appended as one batch.
pub(super) struct Batch<T> {
    pub(super) base: Offset,
    pub(super) bytes: Bytes,
    pub(super) part: Part,
    end: Offset,
    thens: Vec<T>,
}

impl<C: ShardCore> State<C> {
    pub(super) fn loading() -> State<C> {
        State {
            phase: Phase::Loading,
            waiting: BTreeMap::new(),
            tickets: 0,
            open: VecDeque::new(),
            parked: VecDeque::new(),
            appending: false,
            committed: Offset::ZERO,
            queued: false,
            later: Vec::new(),
            errands: Vec::new(),
        }
    }

    /// A step of the core, or of the one that is being loaded.
    pub(super) fn step_when_loaded(
        &mut self,
        step: impl FnOnce(&mut C, &mut EffectsOf<C>) + Send + 'static,
    ) {
        match self.phase {
            Phase::Loading => self.later.push(Box::new(step)),
            Phase::Active(_) => self.step(step),
            Phase::Gone => {}
        }
    }

    /// The log is read, up to `end`: the shard serves.
    pub(super) fn begin(&mut self, core: C, end: Offset, now: Now) {
        self.phase = Phase::Active(Box::new(core));
        self.committed = end;
        self.step(|core, out| core.loaded(now, end, out));
        for step in std::mem::take(&mut self.later) {
            self.step(step);
        }
    }

    /// The core, if the shard serves.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`.
    pub(super) fn core(&mut self) -> Result<&mut C, ErrorCode> {
        match &mut self.phase {
            Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::Active(core) => Ok(core),
            Phase::Gone => Err(ErrorCode::NotCoordinator),
        }
    }

    /// A step of the core that somebody waits for.
    ///
    /// # Errors
    /// When the shard does not serve.
    pub(super) fn ask(
        &mut self,
        step: impl FnOnce(&mut C, Ticket, &mut EffectsOf<C>),
    ) -> Result<oneshot::Receiver<ToldBy<C>>, ErrorCode> {
        self.core()?;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let (told, waiting) = oneshot::channel();
        self.waiting.insert(ticket, told);
        self.step(|core, out| step(core, ticket, out));
        Ok(waiting)
    }

    /// A step of the core.
    pub(super) fn step(&mut self, step: impl FnOnce(&mut C, &mut EffectsOf<C>)) {
        let Phase::Active(core) = &mut self.phase else { return };
        let mut out = Effects::default();
        step(core, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: EffectsOf<C>) {
        self.open.extend(out.writes);
        self.errands.extend(out.errands);
        for (ticket, told) in out.answers {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Whoever has hung up does not hear it.
                let _ = waiting.send(told);
            }
        }
    }

    /// Writes that were decided and are not appended.
    pub(super) fn open_writes(&self) -> usize {
        self.open.len()
    }

    /// What is to be done beside the log; the caller does so.
    pub(super) fn take_errands(&mut self) -> Vec<C::Errand> {
        std::mem::take(&mut self.errands)
    }

    /// Whether the writer is to be told that something is open; the caller does so. It looks again
    /// by itself at the end of an append.
    pub(super) fn wants_writer(&mut self) -> bool {
        let wants = !self.open.is_empty() && !self.appending && !self.queued;
        self.queued |= wants;
        wants
    }

    /// The next batch, which the caller appends; `None` when there is none, or one is under way.
    /// What is longer than any batch may be is given up here.
    pub(super) fn next_batch(
        &mut self,
        bytes_max: usize,
        codec: Codec,
        now: Now,
    ) -> Option<Batch<C::Then>> {
        self.queued = false;
        if self.appending {
            return None;
        }
        while self.open.front().is_some_and(|write| len_of(write) > bytes_max) {
            let base = self.open.front().expect("seen").at;
            self.undo(base, Vec::new(), ErrorCode::UnknownServerError, now);
        }
        self.park_empty(now);
        let first = self.open.front()?;
        let (base, part) = (first.at, first.part);
        let mut builder = builder_of(part, codec, now);
        let (mut len, mut end, mut thens) = (0, base, Vec::new());
        // What is of a transaction goes alone: it may be refused alone.
        while let Some(write) = self.open.front()
            && (thens.is_empty()
                || (part == Part::None
                    && write.part == Part::None
                    && len + len_of(write) <= bytes_max))
        {
            len += len_of(write);
            for record in &write.records {
                builder.push(Some(&record.key), record.value.as_deref());
            }
            end = write.at.plus(write.records.len() as i64);
            thens.extend(self.open.pop_front().map(|write| write.then));
        }
        self.appending = true;
        Some(Batch { base, bytes: builder.build().into(), part, end, thens })
    }

    /// Writes without records wait for what is before them, and that is appended.
    fn park_empty(&mut self, now: Now) {
        while let Some(write) = self.open.pop_front_if(|write| write.records.is_empty()) {
            if write.at <= self.committed {
                self.step(|core, out| core.finish(now, write.then, Ok(()), out));
            } else {
                self.parked.push_back((write.at, write.then));
            }
        }
    }

    /// The batch is in the log, and waits there until it is committed. Returns where it ends.
    pub(super) fn appended(&mut self, batch: Batch<C::Then>) -> Offset {
        self.appending = false;
        self.parked.extend(batch.thens.into_iter().map(|then| (batch.end, then)));
        batch.end
    }

    /// The batch could not be appended.
    pub(super) fn append_failed(&mut self, batch: Batch<C::Then>, error: ErrorCode, now: Now) {
        self.appending = false;
        self.undo(batch.base, batch.thens, error, now);
    }

    /// Undoes everything from `base` on; `thens` waited for the front of it. What is behind a
    /// write that is too long, or of a transaction that may not go on, can be tried again.
    fn undo(&mut self, base: Offset, thens: Vec<C::Then>, error: ErrorCode, now: Now) {
        let open = std::mem::take(&mut self.open);
        let thens = thens.into_iter().chain(open.into_iter().map(|write| write.then));
        let thens: Vec<C::Then> = thens.collect();
        self.step(|core, out| {
            core.revert(now, base, error, out);
            let mut told = error;
            for then in thens {
                core.finish(now, then, Err(told), out);
                if is_of_one(error) {
                    told = ErrorCode::CoordinatorNotAvailable;
                }
            }
        });
    }

    /// Everything below `end` is committed.
    pub(super) fn committed(&mut self, end: Offset, now: Now) {
        self.committed = self.committed.max(end);
        let count = self.parked.partition_point(|(needed, _)| *needed <= end);
        let thens: Vec<C::Then> = self.parked.drain(..count).map(|(_, then)| then).collect();
        self.step(|core, out| {
            core.commit(now, end, out);
            for then in thens {
                core.finish(now, then, Ok(()), out);
            }
        });
    }

    /// What is below `end` has not been committed in the time that those have who wait for it: they
    /// hear so, and wait no longer. It stays in the log, and may yet be committed.
    pub(super) fn overdue(&mut self, end: Offset, now: Now) {
        let is_due = |(needed, _): &&mut (Offset, C::Then)| *needed <= end;
        let parked = self.parked.iter_mut().take_while(is_due);
        let thens = parked.map(|(_, then)| std::mem::take(then));
        let thens: Vec<C::Then> = thens.collect();
        self.step(|core, out| {
            for then in thens {
                core.finish(now, then, Err(ErrorCode::CoordinatorNotAvailable), out);
            }
        });
    }

    /// The shard is not served any more: everybody who waits is told so.
    pub(super) fn end(&mut self, error: ErrorCode) {
        self.step(|core, out| core.resign(error, out));
        self.phase = Phase::Gone;
        self.open.clear();
        self.parked.clear();
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _ = waiting.send(Err(error));
        }
    }
}

/// Whether an error says nothing of what comes behind.
fn is_of_one(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownServerError
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidTxnState
            | ErrorCode::TransactionCoordinatorFenced
    )
}

fn builder_of(part: Part, codec: Codec, now: Now) -> BatchBuilder {
    let begin = |kind| BatchBuilder::new(kind, Offset::ZERO, LeaderEpoch(0), now.wall);
    match part {
        Part::None => begin(BatchKind::Data).with_codec(codec),
        Part::Of(of) => begin(BatchKind::Transactional).with_codec(codec).with_producer(
            of.producer_id,
            of.producer_epoch,
            -1,
        ),
        Part::End(end) => {
            begin(BatchKind::Marker).with_producer(end.producer_id, end.producer_epoch, -1)
        }
    }
}

/// Most bytes that a batch of this write alone may take.
fn len_of<T>(write: &Write<T>) -> usize {
    let record = |record: &RecordBytes| {
        record.key.len() + record.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD_MAX
    };
    BATCH_OVERHEAD + write.records.iter().map(record).sum::<usize>()
}

/// A shard, by its partition.
pub(crate) struct Shard<C: ShardCore> {
    pub(super) partition: TopicIdPartition,
    /// The epoch in which the log is led here; its only writer is `lead`.
    pub(super) epoch: AtomicI32,
    pub(super) state: std::sync::Mutex<State<C>>,
}
