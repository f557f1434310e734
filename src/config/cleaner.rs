//! How logs are compacted (`CleanerConfig`), at the start and as operators change it while the node
//! runs.

use std::time::Duration;

use crate::values::{ConfigError, Values};

/// Least memory for a cleaner's table of keys.
const MAP_BYTES_MIN: u64 = 1 << 20;
const THREADS: &str = "log.cleaner.threads";
const MAPS: &str = "log.cleaner.dedupe.buffer.size";
const LOAD_FACTOR: &str = "log.cleaner.io.buffer.load.factor";
const BUFFERS: &str = "log.cleaner.io.buffer.size";
const RATE: &str = "log.cleaner.io.max.bytes.per.second";
const BACKOFF: &str = "log.cleaner.backoff.ms";

/// Keys that change while the node runs (`LogCleaner.RECONFIGURABLE_CONFIGS`).
pub(crate) const DYNAMIC: &[&str] = &[BACKOFF, MAPS, LOAD_FACTOR, BUFFERS, RATE, THREADS];

/// How logs are compacted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub is_enabled: bool,
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: bytes of all tables of keys.
    pub map_bytes_all: u64,
    /// `log.cleaner.io.buffer.load.factor`, from 0 to 1.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: bytes of the buffers of all cleaners.
    pub io_bytes_all: u64,
    /// `log.cleaner.io.max.bytes.per.second`, of all cleaners together.
    pub bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

impl CleanerConfig {
    pub(crate) fn read(values: &Values) -> Result<CleanerConfig, ConfigError> {
        let long = |name| values.long(name).unwrap_or(0);
        let config = CleanerConfig {
            is_enabled: values.boolean("log.cleaner.enable"),
            threads: values.int(THREADS).unsigned_abs() as usize,
            map_bytes_all: u64::try_from(long(MAPS)).unwrap_or(0),
            load_factor: values.double(LOAD_FACTOR),
            io_bytes_all: u64::from(values.int(BUFFERS).unsigned_abs()),
            bytes_per_second: values.double(RATE).max(1.0),
            backoff: Duration::from_millis(long(BACKOFF).unsigned_abs()),
        };
        config.check_maps().map_err(|reason| values.refuse(MAPS, reason))?;
        Ok(config)
    }

    /// Cleaners that there are to be.
    #[must_use]
    pub fn cleaners(&self) -> usize {
        if self.is_enabled { self.threads } else { 0 }
    }

    /// Bytes of each cleaner's table of keys.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes_all / self.share()
    }

    /// Bytes that a cleaner gathers before it writes them: half of its share, as in Kafka.
    #[must_use]
    pub fn write_bytes(&self) -> usize {
        usize::try_from(self.io_bytes_all / self.share() / 2).unwrap_or(usize::MAX)
    }

    fn share(&self) -> u64 {
        self.threads.max(1) as u64
    }

    fn check_maps(&self) -> Result<(), &'static str> {
        match self.map_bytes() > MAP_BYTES_MIN {
            true => Ok(()),
            false => Err("must be at least 1MB per cleaner thread."),
        }
    }

    /// The same with what is told of its keys; what is told and is no value is not heard.
    #[must_use]
    pub fn with<'a>(self, told: impl Fn(&str) -> Option<&'a str>) -> CleanerConfig {
        fn number<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
            text?.trim().parse().ok()
        }
        let mut config = self;
        config.threads = number(told(THREADS)).unwrap_or(config.threads);
        config.map_bytes_all = number(told(MAPS)).unwrap_or(config.map_bytes_all);
        config.load_factor = number(told(LOAD_FACTOR)).unwrap_or(config.load_factor);
        config.io_bytes_all = number(told(BUFFERS)).unwrap_or(config.io_bytes_all);
        let rate = number(told(RATE)).map(|rate: f64| rate.max(1.0));
        config.bytes_per_second = rate.unwrap_or(config.bytes_per_second);
        let backoff = number(told(BACKOFF)).map(Duration::from_millis);
        config.backoff = backoff.unwrap_or(config.backoff);
        config
    }

    /// Whether a running node may go from this to another one (`validateReconfiguration`).
    ///
    /// # Errors
    /// Why not.
    pub fn check_change(&self, new: &CleanerConfig) -> Result<(), String> {
        if self == new {
            return Ok(());
        }
        let (now, threads) = (self.threads, new.threads);
        if threads != now {
            let refused = |what: &str| Err(format!("Log cleaner threads {what}"));
            if threads < 1 {
                return refused("should be at least 1");
            }
            if threads < now / 2 {
                let what = format!("cannot be reduced to less than half the current value {now}");
                return refused(&what);
            }
            if threads > now * 2 {
                let what =
                    format!("cannot be increased to more than double the current value {now}");
                return refused(&what);
            }
        }
        new.check_maps().map_err(|reason| format!("{MAPS} {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;

    fn begun() -> CleanerConfig {
        let values = Values::new(Properties::default()).expect("defaults are valid");
        CleanerConfig::read(&values).expect("defaults are valid")
    }

    #[test]
    fn what_is_told_counts_for_all_cleaners_together() {
        let begun = begun();
        assert_eq!(
            (begun.cleaners(), begun.map_bytes(), begun.write_bytes()),
            (1, 128 << 20, 1 << 18)
        );
        let told = |key: &str| match key {
            THREADS => Some("2"),
            MAPS => Some(" 8388608"),
            RATE => Some("1E6"),
            BACKOFF => Some("none"),
            _ => None,
        };
        let new = begun.with(told);
        assert_eq!((new.cleaners(), new.map_bytes(), new.write_bytes()), (2, 4 << 20, 1 << 17));
        assert_eq!((new.bytes_per_second, new.backoff), (1e6, begun.backoff));
        assert_eq!(CleanerConfig { is_enabled: false, ..new }.cleaners(), 0);
    }

    #[test]
    fn threads_change_step_by_step() {
        let with = |threads| CleanerConfig { threads, ..begun() };
        for (now, new, refused) in [
            (4, 4, None),
            (4, 2, None),
            (4, 8, None),
            (4, 1, Some("cannot be reduced to less than half the current value 4")),
            (4, 9, Some("cannot be increased to more than double the current value 4")),
            (1, 0, Some("should be at least 1")),
        ] {
            let told = with(now).check_change(&with(new));
            let expected = refused.map(|what| format!("Log cleaner threads {what}"));
            assert_eq!(told.err(), expected, "{now} to {new}");
        }
        let small = CleanerConfig { map_bytes_all: 1 << 20, ..begun() };
        assert!(begun().check_change(&small).is_err());
    }
}
