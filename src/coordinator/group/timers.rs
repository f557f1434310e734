//! What deadlines of a shard are for.

use super::names::{GroupId, MemberId};

/// The deadlines of a shard.
pub type Timers = crate::timers::Timers<TimerKey>;

/// What a deadline is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TimerKey {
    /// A member must have been heard of.
    Heartbeat(GroupId, MemberId),
    /// The members of a group must have joined.
    Join(GroupId),
    /// The members of a group must have asked for their assignment.
    Sync(GroupId),
    /// A member of a consumer group must have been heard of.
    Session(GroupId, MemberId),
    /// A member of a consumer group must have given partitions back.
    Revocation(GroupId, MemberId),
    /// A member of a consumer group that speaks the classic protocol must have joined again.
    ConsumerJoin(GroupId, MemberId),
    /// It must have asked for its assignment.
    ConsumerSync(GroupId, MemberId),
    /// The members of a group of another protocol must have been heard of, and were not.
    Others(GroupId),
    /// Offsets that nobody needs are to be looked for.
    Expiry,
}
