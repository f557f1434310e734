//! What comes next for a replica that moves to another log directory of its node. Pure.
//!
//! ```text
//!   Copying ──caught up──> Told ──the metadata says so──> Holding ──durable──> Swap
//!      ^                                                     │
//!      └───────────── Told, when it does not get there ──────┘
//! ```
//! The copy follows the log: its files' beginning, its start, its end. When it has everything, the
//! controller is told of the new directory (KIP-858), and when the metadata says so, the log's
//! flushes are held, the copy is made as durable as the log is, and takes its place. While flushes
//! are held nothing more becomes durable, nor is acknowledged that must be; so what was durable
//! stays so.
//!
//! Invariants: the swap is asked for only when the metadata names the new directory and the copy is
//! durable as far as the log; flushes are held for a bounded number of steps.

use ottla_types::Offset;

/// Offsets that a log and its copy have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Offsets {
    /// Where the files begin.
    pub(crate) base: Offset,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Below which all is durable.
    pub(crate) durable: Offset,
}

/// What the shell sees before each step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) log: Offsets,
    pub(crate) copy: Offsets,
    /// Bytes of the copy that no flush has covered.
    pub(crate) unflushed: u64,
    /// Whether the metadata says that the replica is in the new directory.
    pub(crate) placed: bool,
    /// Whether a flush of the log runs.
    pub(crate) flushing: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Begin the copy anew where the log's files begin.
    Restart,
    /// Let the copy begin here.
    BeginAt(Offset),
    /// Copy what comes next.
    Copy,
    /// Make the copy durable.
    Flush,
    /// Tell the controller where the replica will be.
    Tell,
    /// Look again in a while.
    Wait,
    /// Hold the log's flushes.
    Hold,
    /// Let the log flush again.
    Release,
    /// Copy the last bytes and let the copy take the log's place, unless it is too far behind.
    Swap,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Copying,
    Told,
    Holding { steps: u32 },
}

/// Bytes after which the copy is flushed on its way, so that the last flush is short.
const FLUSH_BYTES: u64 = 64 << 20;
/// Steps for which flushes are held, before others' get a turn.
const HELD_STEPS_MAX: u32 = 64;

/// A move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MoveCore {
    phase: Phase,
    /// Whether the metadata has been seen to say otherwise, since it was last told so.
    fresh: bool,
}

impl MoveCore {
    /// A new move. `told` is one that the metadata knows of from an earlier process.
    pub(crate) fn new(told: bool) -> MoveCore {
        MoveCore { phase: if told { Phase::Told } else { Phase::Copying }, fresh: told }
    }

    /// What is to be done next.
    pub(crate) fn next(&mut self, seen: &Seen) -> Step {
        let Seen { log, copy, .. } = seen;
        // The metadata may still tell of a move of before that was called off.
        self.fresh |= !seen.placed;
        if copy.end < log.base || copy.base > log.start {
            return self.outside_hold(Step::Restart);
        }
        let start = log.start.min(copy.end);
        if copy.start < start {
            return Step::BeginAt(start);
        }
        match self.phase {
            Phase::Copying => self.catch_up(seen),
            Phase::Told if copy.end < log.end => Step::Copy,
            Phase::Told if seen.unflushed > FLUSH_BYTES => Step::Flush,
            Phase::Told if !seen.placed => Step::Wait,
            Phase::Told => {
                self.phase = Phase::Holding { steps: 0 };
                Step::Hold
            }
            Phase::Holding { steps } => self.hold(steps, seen),
        }
    }

    fn catch_up(&mut self, seen: &Seen) -> Step {
        if seen.unflushed > FLUSH_BYTES {
            return Step::Flush;
        }
        if seen.copy.end < seen.log.end {
            return Step::Copy;
        }
        if !self.fresh {
            return Step::Wait;
        }
        self.phase = Phase::Told;
        Step::Tell
    }

    fn hold(&mut self, steps: u32, seen: &Seen) -> Step {
        if steps >= HELD_STEPS_MAX || !seen.placed {
            return self.outside_hold(Step::Release);
        }
        self.phase = Phase::Holding { steps: steps + 1 };
        if seen.flushing {
            Step::Wait
        } else if seen.copy.end < seen.log.durable {
            Step::Copy
        } else if seen.copy.durable < seen.log.durable || seen.unflushed > FLUSH_BYTES {
            Step::Flush
        } else {
            Step::Swap
        }
    }

    /// A step that is not done while flushes are held: they are let go first.
    fn outside_hold(&mut self, step: Step) -> Step {
        match self.phase {
            Phase::Holding { .. } => {
                self.phase = Phase::Told;
                Step::Release
            }
            _ => step,
        }
    }

    /// The log flushes again, whatever was next.
    pub(crate) fn let_go(&mut self) {
        if self.holds() {
            self.phase = Phase::Told;
        }
    }

    /// Whether the log's flushes are held.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(base: i64, start: i64, end: i64, durable: i64) -> Offsets {
        let [base, start, end, durable] = [base, start, end, durable].map(Offset);
        Offsets { base, start, end, durable }
    }

    fn seen(log: Offsets, copy: Offsets) -> Seen {
        Seen { log, copy, unflushed: 0, placed: false, flushing: false }
    }

    #[test]
    fn a_move_from_its_beginning_to_its_end() {
        let log = offsets(0, 3, 100, 60);
        let mut core = MoveCore::new(false);
        assert_eq!(core.next(&seen(log, offsets(0, 0, 0, 0))), Step::Copy);
        assert_eq!(core.next(&seen(log, offsets(0, 0, 50, 0))), Step::BeginAt(Offset(3)));
        assert_eq!(core.next(&seen(log, offsets(0, 3, 50, 3))), Step::Copy);
        let far = Seen { unflushed: FLUSH_BYTES + 1, ..seen(log, offsets(0, 3, 50, 3)) };
        assert_eq!(core.next(&far), Step::Flush);
        let whole = offsets(0, 3, 100, 50);
        assert_eq!(core.next(&seen(log, whole)), Step::Tell);
        assert_eq!(core.next(&seen(log, whole)), Step::Wait);
        // Records arrive while the controller is told.
        let log = offsets(0, 3, 110, 60);
        assert_eq!(core.next(&seen(log, whole)), Step::Copy);
        let whole = offsets(0, 3, 110, 50);
        let placed = Seen { placed: true, ..seen(log, whole) };
        assert_eq!(core.next(&placed), Step::Hold);
        assert!(core.holds());
        assert_eq!(core.next(&Seen { flushing: true, ..placed }), Step::Wait);
        // The flush that ran when they were held has made more durable.
        let log = offsets(0, 3, 115, 112);
        assert_eq!(core.next(&Seen { log, ..placed }), Step::Copy);
        let copy = offsets(0, 3, 113, 50);
        assert_eq!(core.next(&Seen { log, copy, ..placed }), Step::Flush);
        let copy = offsets(0, 3, 113, 113);
        assert_eq!(core.next(&Seen { log, copy, ..placed }), Step::Swap);
    }

    #[test]
    fn flushes_are_held_for_a_bounded_time() {
        let log = offsets(0, 0, 100, 100);
        let mut core = MoveCore::new(true);
        let placed = Seen { placed: true, ..seen(log, offsets(0, 0, 100, 100)) };
        assert_eq!(core.next(&placed), Step::Hold);
        for _ in 0..HELD_STEPS_MAX {
            assert_eq!(core.next(&placed), Step::Swap);
        }
        assert_eq!(core.next(&placed), Step::Release);
        assert!(!core.holds());
        assert_eq!(core.next(&placed), Step::Hold);
        // The controller changed its mind, or retention took what the copy begins with.
        assert_eq!(core.next(&Seen { placed: false, ..placed }), Step::Release);
        assert_eq!(core.next(&placed), Step::Hold);
        core.let_go();
        assert!(!core.holds(), "there was no room");
        assert_eq!(core.next(&placed), Step::Hold);
        let gone = Seen { log: offsets(200, 200, 300, 300), ..placed };
        assert_eq!(core.next(&gone), Step::Release);
        assert_eq!(core.next(&gone), Step::Restart);
    }

    #[test]
    fn what_the_metadata_says_of_a_move_of_before_does_not_count() {
        let log = offsets(0, 0, 10, 0);
        let whole = seen(log, offsets(0, 0, 10, 0));
        let mut core = MoveCore::new(false);
        assert_eq!(core.next(&Seen { placed: true, ..whole }), Step::Wait);
        assert_eq!(core.next(&whole), Step::Tell);
        assert_eq!(core.next(&Seen { placed: true, ..whole }), Step::Hold);
    }

    #[test]
    fn a_copy_that_the_log_has_left_behind_begins_anew() {
        let mut core = MoveCore::new(false);
        let log = offsets(50, 60, 100, 100);
        assert_eq!(core.next(&seen(log, offsets(0, 0, 40, 40))), Step::Restart);
        assert_eq!(core.next(&seen(log, offsets(50, 50, 50, 50))), Step::Copy);
        assert_eq!(core.next(&seen(log, offsets(70, 70, 90, 90))), Step::Restart, "never so");
    }
}
