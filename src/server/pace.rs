//! The rate of new connections: a mean, with room for a burst (`ConnectionQuotas`).
//!
//! Pure: whoever waits gives the time.

use std::time::Duration;

use ottla_types::MonoTime;

/// Time over which the rate is a mean.
const WINDOW: Duration = Duration::from_secs(10);
/// Longest wait of a connection that comes too early.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A token bucket: as many connections as a window allows at once, then one by one.
#[derive(Default)]
pub struct Pace {
    /// Connections that came beyond the rate; negative is what may still come at once.
    excess: f64,
    at: Option<MonoTime>,
}

impl Pace {
    /// Counts a connection; how long it has to wait.
    pub fn wait(&mut self, rate: u32, now: MonoTime) -> Duration {
        if rate >= i32::MAX.unsigned_abs() {
            return Duration::ZERO;
        }
        let rate = f64::from(rate);
        let burst = rate * WINDOW.as_secs_f64();
        let passed = self.at.map_or(f64::MAX, |at| now.since(at).as_secs_f64());
        self.at = Some(now);
        self.excess = (self.excess - passed * rate).max(-burst) + 1.0;
        if self.excess <= 0.0 {
            return Duration::ZERO;
        }
        // Who waited for as long as anybody has to is not held against those who follow.
        self.excess = self.excess.min(rate.max(1.0));
        WAIT_MAX.min(Duration::try_from_secs_f64(self.excess / rate).unwrap_or(WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn connections_come_at_the_rate() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            assert_eq!(pace.wait(5, at(0)), Duration::ZERO);
        }
        assert_eq!(pace.wait(5, at(0)), Duration::from_millis(200));
        assert_eq!(pace.wait(5, at(200)), Duration::from_millis(200));
        assert_eq!(pace.wait(5, at(2400)), Duration::ZERO);
        let mut never = Pace::default();
        assert_eq!(never.wait(0, at(0)), Duration::from_secs(1));
        assert_eq!(never.wait(0, at(1000)), Duration::from_secs(1));
        assert_eq!(Pace::default().wait(i32::MAX.unsigned_abs(), at(0)), Duration::ZERO);
    }
}
