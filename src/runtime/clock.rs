//! Time: monotonic for timeouts, wall for timestamps, and timers.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_types::{MonoTime, Timestamp};

use crate::sim::SimWallClock;

/// A node's clock. Copies tell the same time.
#[derive(Clone)]
pub struct Clock {
    twin: Twin,
}

#[derive(Clone)]
enum Twin {
    Real { start: std::time::Instant },
    Sim { start: tokio::time::Instant, wall: SimWallClock },
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn real() -> Clock {
        Clock { twin: Twin::Real { start: std::time::Instant::now() } }
    }

    pub(crate) fn simulated(start: tokio::time::Instant, wall: SimWallClock) -> Clock {
        Clock { twin: Twin::Sim { start, wall } }
    }

    /// Now, on a clock that never goes back.
    #[must_use]
    pub fn now(&self) -> MonoTime {
        MonoTime::from_start(match &self.twin {
            Twin::Real { start } => start.elapsed(),
            Twin::Sim { start, .. } => start.elapsed(),
        })
    }

    /// Now, by the wall clock, which may jump.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall(&self) -> Timestamp {
        match &self.twin {
            Twin::Real { .. } => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Twin::Sim { start, wall } => wall.read(start.elapsed()),
        }
    }

    /// Completes `wait` from now. Resolution: one millisecond. Cancel safe.
    pub fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleep_until(self.now().after(wait))
    }

    /// Completes at `deadline`. Resolution: one millisecond. Cancel safe.
    pub fn sleep_until(&self, deadline: MonoTime) -> impl Future<Output = ()> + Send + use<> {
        let start = match &self.twin {
            Twin::Real { start } => tokio::time::Instant::from_std(*start),
            Twin::Sim { start, .. } => *start,
        };
        // A timer this far away never fires; the sum must not overflow.
        let wait = deadline.since_start().min(Duration::from_hours(24 * 365 * 10));
        tokio::time::sleep_until(start + wait)
    }

    /// Runs `future` for at most `wait`; `None` when it took longer. Cancel safe if `future` is.
    pub async fn timeout<F: Future>(&self, wait: Duration, future: F) -> Option<F::Output> {
        let sleep = self.sleep(wait);
        tokio::pin!(sleep, future);
        tokio::select! {
            biased;
            output = &mut future => Some(output),
            () = &mut sleep => None,
        }
    }
}
