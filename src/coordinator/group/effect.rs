//! What a step wants done, and what it answers.

use bytes::Bytes;
use ottla_types::{ErrorCode, Offset};

use super::classic::{Joined, Synced};
use super::consumer::{ConsumerBeat, Refusal, Resolve};
use super::join::StaticReplaced;
use super::names::GroupId;
use super::sync::Assigned;
use super::transactions::{Transaction, TransactionEnd};

/// Names who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// What the sender of a request is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The outcome of each offset, in the order of the request.
    Committed(Vec<ErrorCode>),
    /// To a member that joined, or was refused.
    Joined(Joined),
    /// To a member of a consumer group.
    Beat(Result<ConsumerBeat, Refusal>),
    /// To a member that asked for its assignment.
    Synced(Synced),
    /// The outcome for each member that was to leave, in the order of the request.
    Left(Vec<ErrorCode>),
    /// The group is forgotten.
    Deleted,
    /// The transaction has ended.
    TransactionEnded,
    /// The outcome for each offset that was to be forgotten, in the order of the request.
    OffsetsDeleted(Vec<ErrorCode>),
}

/// An answer, or why there is none.
pub type Told = Result<Answer, ErrorCode>;

/// Records that are appended together or not at all.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// Where the first of them goes.
    pub at: Offset,
    /// The records; none in one that waits for all before it.
    pub records: Vec<RecordBytes>,
    /// Whether a transaction is concerned.
    pub part: Part,
    /// What is done once they are committed, or could not be.
    pub then: Then,
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

/// A record as it is appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBytes {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` deletes.
    pub value: Option<Bytes>,
}

/// What follows a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nobody waits for it.
    Nothing,
    /// An answer.
    Answer(Ticket, Answer),
    /// The members of a group of another protocol are out.
    OthersGone(GroupId),
    /// A generation's assignments are told.
    Assigned(Box<Assigned>),
    /// A static member is told that it took another one's place.
    StaticReplaced(Box<StaticReplaced>),
    /// What follows by itself, and then what else was answered in the step that wrote.
    Answers(Box<Then>, Vec<(Ticket, Told)>),
}

/// What a step wants done, in causal order.
#[derive(Default, Debug)]
pub struct Effects {
    /// Records to be appended.
    pub writes: Vec<Write>,
    /// What may be told at once.
    pub answers: Vec<(Ticket, Told)>,
    /// Patterns that are to be looked up, on behalf of who asked for the step.
    pub resolves: Vec<Resolve>,
}

impl Effects {
    /// Tells somebody something at once.
    pub fn answer(&mut self, ticket: Ticket, told: Told) {
        self.answers.push((ticket, told));
    }

    /// Lets all answers wait for what was written: whoever hears one finds in the log, and in what
    /// readers are told, what led to it. If it cannot be kept, they hear why instead.
    pub(super) fn answer_when_kept(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let Some(last) = self.writes.last_mut() else { return };
        let then = std::mem::replace(&mut last.then, Then::Nothing);
        last.then = Then::Answers(Box::new(then), std::mem::take(&mut self.answers));
    }
}
