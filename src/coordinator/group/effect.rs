//! What a step wants done, and what it answers.

use ottla_types::ErrorCode;

use super::classic::{Joined, Synced};
use super::consumer::{ConsumerBeat, Refusal, Resolve};
use super::join::StaticReplaced;
use super::names::GroupId;
use super::sync::Assigned;
use crate::shard_core;
pub use crate::shard_core::{Part, RecordBytes, Ticket};

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

/// Records of groups that are appended together or not at all.
pub type Write = shard_core::Write<Then>;

/// What follows a write.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Then {
    /// Nobody waits for it.
    #[default]
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

/// What a step wants done, in causal order. Its errands are patterns that are to be looked up, on
/// behalf of who asked for the step.
pub type Effects = shard_core::Effects<Answer, Then, Resolve>;

impl Effects {
    /// Lets all answers wait for what was written: whoever hears one finds in the log, and in what
    /// readers are told, what led to it. If it cannot be kept, they hear why instead.
    pub(super) fn answer_when_kept(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let Some(last) = self.writes.last_mut() else { return };
        let then = std::mem::take(&mut last.then);
        last.then = Then::Answers(Box::new(then), std::mem::take(&mut self.answers));
    }
}
