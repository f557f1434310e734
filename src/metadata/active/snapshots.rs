//! When a snapshot of the metadata is due: after so many bytes of the log, or so long a time.
//!
//! As Kafka's `SnapshotGenerator` counts: bytes of committed batches since the last snapshot that
//! was begun or loaded. A snapshot by time needs something new to hold; where Kafka waits for the
//! next record, which its idle controller writes all the time, this looks at the clock.

use std::time::Duration;

use ottla_types::MonoTime;

/// When snapshots are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` is never by time.
    pub interval: Option<Duration>,
}

/// What is known of the last snapshot.
pub(super) struct SnapshotClock {
    policy: SnapshotPolicy,
    bytes: u64,
    since: MonoTime,
    under_way: bool,
}

impl SnapshotClock {
    pub(super) fn new(policy: SnapshotPolicy, now: MonoTime) -> SnapshotClock {
        SnapshotClock { policy, bytes: 0, since: now, under_way: false }
    }

    /// Bytes of the log were committed.
    pub(super) fn committed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A snapshot was loaded.
    pub(super) fn loaded(&mut self, now: MonoTime) {
        (self.bytes, self.since) = (0, now);
    }

    /// A snapshot was begun.
    pub(super) fn begun(&mut self, now: MonoTime) {
        (self.bytes, self.since, self.under_way) = (0, now, true);
    }

    /// The one that was begun is over.
    pub(super) fn done(&mut self) {
        self.under_way = false;
    }

    /// Whether one is due; one at a time.
    pub(super) fn is_due(&self, now: MonoTime) -> bool {
        let enough = self.bytes >= self.policy.bytes;
        !self.under_way && (enough || self.deadline().is_some_and(|deadline| deadline <= now))
    }

    /// When the next one is due by time; `None` while there is nothing new, or one is under way.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let interval = self.policy.interval.filter(|_| self.bytes > 0 && !self.under_way)?;
        Some(self.since.after(interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    fn clock(bytes: u64, interval_ms: Option<u64>) -> SnapshotClock {
        let interval = interval_ms.map(Duration::from_millis);
        SnapshotClock::new(SnapshotPolicy { bytes, interval }, at(0))
    }

    #[test]
    fn a_snapshot_is_due_after_enough_bytes() {
        let mut clock = clock(100, None);
        clock.committed(99);
        assert!(!clock.is_due(at(1_000_000)));
        clock.committed(1);
        assert!(clock.is_due(at(0)));
        clock.begun(at(0));
        clock.committed(500);
        assert!(!clock.is_due(at(0)), "one at a time");
        clock.done();
        assert!(clock.is_due(at(0)), "what came meanwhile counts");
        clock.loaded(at(1));
        assert!(!clock.is_due(at(1)));
    }

    #[test]
    fn a_snapshot_is_due_after_enough_time_if_there_is_something_new() {
        let mut clock = clock(100, Some(50));
        assert_eq!(clock.deadline(), None);
        assert!(!clock.is_due(at(60)));
        clock.committed(1);
        assert_eq!(clock.deadline(), Some(at(50)));
        assert!(!clock.is_due(at(49)));
        assert!(clock.is_due(at(50)));
        clock.begun(at(55));
        clock.done();
        clock.committed(1);
        assert_eq!(clock.deadline(), Some(at(105)));
    }
}
