//! Time values. Cores get them as arguments; only `runtime` reads a clock.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch, as Kafka writes them; -1 is "none".
///
/// Wall time may jump. It is for record timestamps and retention, never for timeouts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Kafka's `RecordBatch.NO_TIMESTAMP`.
    pub const NONE: Timestamp = Timestamp(-1);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment on a clock that never goes back, counted from the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// The start of the process.
    pub const START: MonoTime = MonoTime(Duration::ZERO);

    /// The moment `since_start` after the start of the process.
    #[must_use]
    pub const fn from_start(since_start: Duration) -> MonoTime {
        MonoTime(since_start)
    }

    /// Time passed since the start of the process.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The moment `wait` later; saturates.
    #[must_use]
    pub const fn after(self, wait: Duration) -> MonoTime {
        MonoTime(self.0.saturating_add(wait))
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: MonoTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for MonoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}
