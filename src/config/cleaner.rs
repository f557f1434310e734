//! How logs are compacted (`CleanerConfig`).

use std::time::Duration;

use crate::values::{ConfigError, Values};

/// Least memory for a cleaner's table of keys.
const MAP_BYTES_MIN: u64 = 1 << 20;

/// How logs are compacted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanerConfig {
    /// `log.cleaner.threads`; 0 without `log.cleaner.enable`.
    pub cleaners: usize,
    /// Bytes of each cleaner's table of keys: its share of `log.cleaner.dedupe.buffer.size`.
    pub map_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`, from 0 to 1.
    pub load_factor: f64,
    /// Bytes that a cleaner gathers before it writes them: half of its share of
    /// `log.cleaner.io.buffer.size`, as in Kafka.
    pub write_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, for each cleaner.
    pub bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

impl CleanerConfig {
    pub(crate) fn read(values: &Values) -> Result<CleanerConfig, ConfigError> {
        let threads = u64::from(values.int("log.cleaner.threads").unsigned_abs());
        let share = threads.max(1);
        let map_bytes = values.long("log.cleaner.dedupe.buffer.size").unwrap_or(0);
        let map_bytes = u64::try_from(map_bytes).unwrap_or(0) / share;
        if map_bytes <= MAP_BYTES_MIN {
            let reason = "must be at least 1MB per cleaner thread.";
            return Err(values.refuse("log.cleaner.dedupe.buffer.size", reason));
        }
        let write_bytes = u64::from(values.int("log.cleaner.io.buffer.size").unsigned_abs());
        let backoff = values.long("log.cleaner.backoff.ms").unwrap_or(0);
        let rate = values.double("log.cleaner.io.max.bytes.per.second");
        let enabled = values.boolean("log.cleaner.enable");
        Ok(CleanerConfig {
            cleaners: if enabled { threads as usize } else { 0 },
            map_bytes,
            load_factor: values.double("log.cleaner.io.buffer.load.factor"),
            write_bytes: (write_bytes / share / 2) as usize,
            bytes_per_second: rate.max(1.0) / share as f64,
            backoff: Duration::from_millis(backoff.unsigned_abs()),
        })
    }
}
