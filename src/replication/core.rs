//! What a leader decides about its high watermark. Pure.
//!
//! Invariants (`check`): `high_watermark ≤ local_end`; the high watermark never goes back; with
//! votes by flush, `high_watermark ≤ local_flushed`.
//!
//! A replica's voice is the end of its log. With `flush.messages=1` it is what the replica has
//! made durable: so a group of appends shares one fsync, and nothing is acknowledged or read
//! before it is durable, without a log format of our own.

use ottla_types::{LeaderEpoch, Offset};

/// A leader's view of a partition that only this node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderCore {
    epoch: LeaderEpoch,
    high_watermark: Offset,
    local_end: Offset,
    local_flushed: Offset,
    votes_by_flush: bool,
}

impl LeaderCore {
    /// A leader that begins with what is in its log; nothing is visible before the first
    /// [`LeaderCore::advance`].
    #[must_use]
    pub fn new(epoch: LeaderEpoch, local_end: Offset, local_flushed: Offset) -> LeaderCore {
        LeaderCore {
            epoch,
            high_watermark: Offset::ZERO,
            local_end,
            local_flushed,
            votes_by_flush: false,
        }
    }

    /// The leader's epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// End of what readers may see.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The controller made this node leader again, in a newer epoch.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Whether only what is durable counts (`flush.messages=1`).
    pub fn set_votes_by_flush(&mut self, votes_by_flush: bool) {
        self.votes_by_flush = votes_by_flush;
    }

    /// Whether only what is durable counts.
    #[must_use]
    pub fn votes_by_flush(&self) -> bool {
        self.votes_by_flush
    }

    /// Notes where the log ends and what of it is durable; tells whether the high watermark rose.
    pub fn advance(&mut self, local_end: Offset, local_flushed: Offset) -> bool {
        self.local_end = local_end;
        self.local_flushed = local_flushed;
        let voice = if self.votes_by_flush { local_flushed } else { local_end };
        let rises = voice > self.high_watermark;
        self.high_watermark = self.high_watermark.max(voice);
        rises
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        assert!(self.high_watermark <= self.local_end, "readers see only what exists");
        assert!(self.local_flushed <= self.local_end, "only what exists is durable");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_watermark_follows_the_end_or_the_flush() {
        let mut core = LeaderCore::new(LeaderEpoch(1), Offset(5), Offset(2));
        assert!(core.advance(Offset(5), Offset(2)));
        assert_eq!(core.high_watermark(), Offset(5));
        core.set_votes_by_flush(true);
        assert!(!core.advance(Offset(9), Offset(3)), "it never goes back");
        assert_eq!(core.high_watermark(), Offset(5));
        assert!(core.advance(Offset(9), Offset(8)));
        assert_eq!(core.high_watermark(), Offset(8));
        core.check();
        core.begin_epoch(LeaderEpoch(3));
        core.begin_epoch(LeaderEpoch(2));
        assert_eq!(core.epoch(), LeaderEpoch(3));
    }
}
