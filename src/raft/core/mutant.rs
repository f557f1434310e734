//! Bugs that the model test plants, to see that it finds them (`tests/model.rs`).
//!
//! Each names the one line that goes wrong. Outside of tests [`super::Core::planted`] is a constant
//! `false`, and nothing of this is left in the program.

/// A bug in the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mutant {
    /// The leader counts itself with what is not on its disk.
    LeaderCountsUnflushed,
    /// The high watermark moves to records of earlier epochs.
    CommitsOldEpochs,
    /// One vote less than a majority elects.
    MinorityElects,
    /// A vote is given to whoever asks, whatever its log holds.
    VoteIgnoresLog,
    /// A second candidate of the same epoch gets a vote, too.
    VotesTwice,
    /// A prospective replica raises its epoch.
    PreVoteRaisesEpoch,
    /// A leader of an epoch that is over is followed.
    FollowsStaleLeader,
    /// A follower fetches on where the leader said the logs part.
    KeepsDivergingTail,
    /// A follower fetches on before its disk has what it fetched.
    FetchAcksUnflushed,
    /// A candidate asks for votes with records that its disk does not have yet.
    VoteClaimsUnflushed,
    /// Whatever arrives as a response is taken for the one that is waited for.
    TrustsLateResponses,
    /// A leader that restarts forgets that it led, and may vote in its epoch.
    RestartForgetsLeadership,
}

#[cfg(test)]
impl Mutant {
    /// Every bug.
    pub(crate) const ALL: [Mutant; 12] = [
        Mutant::LeaderCountsUnflushed,
        Mutant::CommitsOldEpochs,
        Mutant::MinorityElects,
        Mutant::VoteIgnoresLog,
        Mutant::VotesTwice,
        Mutant::PreVoteRaisesEpoch,
        Mutant::FollowsStaleLeader,
        Mutant::KeepsDivergingTail,
        Mutant::FetchAcksUnflushed,
        Mutant::VoteClaimsUnflushed,
        Mutant::TrustsLateResponses,
        Mutant::RestartForgetsLeadership,
    ];
}
