//! How the metadata log is kept: its segments, its snapshots, and what goes when it is old.

use std::time::Duration;

use crate::values::Values;

/// How the metadata log is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataLogConfig {
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`.
    pub segment_age_max: Duration,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` is never by time.
    pub snapshot_interval: Option<Duration>,
    /// `metadata.max.retention.bytes`; `None` is all.
    pub retention_bytes: Option<u64>,
    /// `metadata.max.retention.ms`; `None` is for ever.
    pub retention_age: Option<Duration>,
}

impl MetadataLogConfig {
    pub(crate) fn from_values(values: &Values) -> MetadataLogConfig {
        let long = |name| values.long(name).expect("has a default");
        let not_negative = |name| u64::try_from(long(name)).ok();
        let interval = not_negative("metadata.log.max.snapshot.interval.ms");
        MetadataLogConfig {
            segment_bytes: values.int("metadata.log.segment.bytes").unsigned_abs(),
            segment_age_max: Duration::from_millis(
                not_negative("metadata.log.segment.ms").unwrap_or(0),
            ),
            snapshot_bytes: long("metadata.log.max.record.bytes.between.snapshots").unsigned_abs(),
            snapshot_interval: interval.filter(|ms| *ms > 0).map(Duration::from_millis),
            retention_bytes: not_negative("metadata.max.retention.bytes"),
            retention_age: not_negative("metadata.max.retention.ms").map(Duration::from_millis),
        }
    }
}
