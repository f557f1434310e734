//! What the cores of all coordinators have in common: what a step is given and what it leaves, and
//! what the runtime asks of a core.
//!
//! ```text
//!   step ──> writes:   records, replayed already, that are appended in their order
//!        ├─> answers:  what may be told at once
//!        └─> errands:  what is to be done beside the log
//! ```
//! A core is pure: time is an argument, it appends nothing and waits for nobody. What was replayed
//! and could not be appended is reverted; what follows a write (`Then`) is done when it is
//! committed, or was reverted.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::coordinator::RecordError;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, Offset, ProducerEpoch, ProducerId, Timestamp};

/// The moment of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// For timeouts.
    pub mono: MonoTime,
    /// For records.
    pub wall: Timestamp,
}

/// Names who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// A record as it is appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBytes {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` deletes.
    pub value: Option<Bytes>,
}

/// A record of the log.
#[derive(Clone, Copy, Debug)]
pub struct LoadedRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// The transaction's producer, if it is part of one.
    pub producer: Option<ProducerId>,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` deletes.
    pub value: Option<&'a [u8]>,
}

/// Records that are appended together or not at all.
#[derive(Clone, PartialEq, Debug)]
pub struct Write<T> {
    /// Where the first of them goes.
    pub at: Offset,
    /// The records; none in one that waits for all before it.
    pub records: Vec<RecordBytes>,
    /// Whether a transaction of a client is concerned.
    pub part: Part,
    /// What is done once they are committed, or could not be.
    pub then: T,
}

/// What records have to do with transactions of clients.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Part {
    /// Nothing.
    #[default]
    None,
    /// They are part of one.
    Of(Transaction),
    /// They are the marker that ends one.
    End(TransactionEnd),
}

/// The transaction that records are part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Whether it must be open in the partition, or have been verified.
    pub verified: bool,
    /// Of the verification, where there was one.
    pub guard: Option<u64>,
}

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionEnd {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch from now on.
    pub producer_epoch: ProducerEpoch,
    /// Whether its offsets count.
    pub commit: bool,
    /// Epoch of the transaction's coordinator.
    pub coordinator_epoch: i32,
    /// `transaction.version` of the transaction.
    pub transaction_version: i16,
}

/// What a step wants done, in causal order.
#[derive(Debug)]
pub struct Effects<A, T, E> {
    /// Records to be appended.
    pub writes: Vec<Write<T>>,
    /// What may be told at once.
    pub answers: Vec<(Ticket, Result<A, ErrorCode>)>,
    /// What is to be done beside the log.
    pub errands: Vec<E>,
}

impl<A, T, E> Default for Effects<A, T, E> {
    fn default() -> Effects<A, T, E> {
        Effects { writes: Vec::new(), answers: Vec::new(), errands: Vec::new() }
    }
}

impl<A, T, E> Effects<A, T, E> {
    /// Tells somebody something at once.
    pub fn answer(&mut self, ticket: Ticket, told: Result<A, ErrorCode>) {
        self.answers.push((ticket, told));
    }
}

/// What a step of a core wants done.
pub type EffectsOf<C> =
    Effects<<C as ShardCore>::Answer, <C as ShardCore>::Then, <C as ShardCore>::Errand>;

/// What somebody who asked a core is told: an answer, or why there is none.
pub type ToldBy<C> = Result<<C as ShardCore>::Answer, ErrorCode>;

/// A coordinator's state in one partition of its topic.
pub trait ShardCore: Sized + Send + 'static {
    /// What the node's file says about it.
    type Config: Send + Sync + 'static;
    /// What senders of requests are told.
    type Answer: Send + 'static;
    /// What follows a write; by itself, nothing.
    type Then: Default + Send + 'static;
    /// What is done beside the log.
    type Errand: Send + 'static;

    /// A shard that knows nothing yet.
    fn new(config: Arc<Self::Config>) -> Self;

    /// Replays a record of the log.
    ///
    /// # Errors
    /// When the record is of a known type and cannot be read.
    fn load(&mut self, record: LoadedRecord<'_>) -> Result<(), RecordError>;

    /// Replays the end of a transaction in the log.
    fn load_marker(&mut self, offset: Offset, producer: ProducerId, committed: bool);

    /// The log is led here in this epoch, which rises; told before the core serves, and again
    /// whenever it has risen. A core that names its epoch to nobody has nothing to keep.
    fn led_in(&mut self, epoch: LeaderEpoch);

    /// All that was to be loaded is: the log ends at `end`.
    fn loaded(&mut self, now: Now, end: Offset, out: &mut EffectsOf<Self>);

    /// Everything below `end` is committed.
    fn commit(&mut self, now: Now, end: Offset, out: &mut EffectsOf<Self>);

    /// Nothing from `start` on was appended, for this reason: what it changed is undone.
    fn revert(&mut self, now: Now, start: Offset, reason: ErrorCode, out: &mut EffectsOf<Self>);

    /// What follows a write that is committed, or was reverted for a reason.
    fn finish(
        &mut self,
        now: Now,
        then: Self::Then,
        result: Result<(), ErrorCode>,
        out: &mut EffectsOf<Self>,
    );

    /// The shard is not served here any more: who waits without a record is told why.
    fn resign(&mut self, reason: ErrorCode, out: &mut EffectsOf<Self>);

    /// When [`ShardCore::tick`] is due; `None` while nothing is.
    fn next_deadline(&self) -> Option<MonoTime>;

    /// Does what is due.
    fn tick(&mut self, now: Now, out: &mut EffectsOf<Self>);
}
