//! How far the opening of many logs is, told at a bounded rate.
//!
//! Shared by all that open logs at the same time. Without a clock it tells nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ottla_runtime::Clock;

/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// What is left to be opened.
#[derive(Default)]
pub struct Progress {
    clock: Option<Clock>,
    /// When the next line may be told, ns on the clock.
    next_line: AtomicU64,
    logs_total: usize,
    logs_done: AtomicUsize,
    /// Segments of logs under way that are still to be checked.
    segments_left: AtomicUsize,
    segments_done: AtomicUsize,
}

/// The segments of one log that are to be checked.
pub(super) struct Segments<'p> {
    progress: &'p Progress,
    left: usize,
}

impl Segments<'_> {
    pub(super) fn one_done(&mut self) {
        self.progress.segments_done.fetch_add(1, Ordering::Relaxed);
        // One whose indexes are missing was not counted before.
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.progress.segments_left.fetch_sub(1, Ordering::Relaxed);
        }
        self.progress.tell();
    }
}

impl Drop for Segments<'_> {
    /// Those behind a cut are not looked at.
    fn drop(&mut self) {
        self.progress.segments_left.fetch_sub(self.left, Ordering::Relaxed);
    }
}

impl Progress {
    /// For so many logs. The first line comes after an interval, so that a quick start tells none.
    #[must_use]
    pub fn of(clock: &Clock, logs: usize) -> Progress {
        let first = clock.now().after(LINE_INTERVAL).since_start();
        Progress {
            clock: Some(clock.clone()),
            next_line: AtomicU64::new(nanos(first)),
            logs_total: logs,
            ..Progress::default()
        }
    }

    /// A log is open.
    pub fn log_done(&self) {
        self.logs_done.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    /// A log is begun of which so many segments are to be checked.
    pub(super) fn segments(&self, count: usize) -> Segments<'_> {
        self.segments_left.fetch_add(count, Ordering::Relaxed);
        Segments { progress: self, left: count }
    }

    fn tell(&self) {
        let Some(clock) = &self.clock else { return };
        let now = clock.now();
        let due = self.next_line.load(Ordering::Relaxed);
        if nanos(now.since_start()) < due {
            return;
        }
        let next = nanos(now.after(LINE_INTERVAL).since_start());
        let turn = self.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if turn.is_err() {
            return;
        }
        let logs_left = self.logs_total.saturating_sub(self.logs_done.load(Ordering::Relaxed));
        tracing::info!(
            logs_left,
            logs = self.logs_total,
            segments_left = self.segments_left.load(Ordering::Relaxed),
            segments_checked = self.segments_done.load(Ordering::Relaxed),
            "opening logs"
        );
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
