//! What a topic's configs mean for its logs (Kafka's `LogConfig`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::key::TopicKey;
use crate::table::{KEPT_TOPIC_KEYS, TOPIC_KEYS};
use crate::values::Values;

/// Least `segment.bytes` before Kafka 4.0 (KIP-1030): metadata may still hold such.
const SEGMENT_BYTES_ONCE: i32 = 14;

/// Whose time a record gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampSource {
    /// The producer's.
    CreateTime,
    /// That of its append.
    LogAppendTime,
}

/// The codec that a topic's batches are stored with (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionType {
    /// That of each batch as it came.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// The codec of a topic, and how hard each tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionConfig {
    /// `compression.type`.
    pub codec: CompressionType,
    /// `compression.gzip.level`; `None` is the library's own.
    pub gzip_level: Option<u32>,
    /// `compression.lz4.level`: there is one.
    pub lz4_level: i32,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
}

/// The configs of a topic, typed. Ranges are those of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    /// `compression.type` and the levels.
    pub compression: CompressionConfig,
    /// Whether `cleanup.policy` holds `delete`: else retention takes nothing.
    pub deletes: bool,
    /// Whether it holds `compact`: every record that is produced needs a key, and such a log may
    /// have gaps anywhere.
    pub compacts: bool,
    /// `delete.retention.ms`.
    pub delete_retention: Duration,
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`; `None` is for ever.
    pub max_compaction_lag: Option<Duration>,
    /// `max.message.bytes`.
    pub message_bytes_max: u32,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub timestamp_source: TimestampSource,
    /// `min.cleanable.dirty.ratio`, from 0 to 1.
    pub min_cleanable_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag: Duration,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; `None` is all.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` is for ever.
    pub retention_age: Option<Duration>,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.ms`.
    pub segment_age_max: Duration,
    /// `segment.jitter.ms`.
    pub segment_jitter: Duration,
}

/// Checks a config that a client sets on a topic.
///
/// # Errors
/// Why it is refused, in Kafka's words: the key is not known, or the value is not allowed.
pub fn check_topic_config(name: &str, value: &str) -> Result<(), String> {
    let kept = || KEPT_TOPIC_KEYS.iter().find(|key| key.name == name).map(|key| key.kind);
    let Some(kind) = find(name).map(|key| key.kind).or_else(kept) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let shown = kind.judge(name, value)?;
    if name == "remote.storage.enable" && shown == "true" {
        let text = "Tiered Storage functionality is disabled in the broker. Topic cannot be \
                    configured with remote log storage.";
        return Err(text.to_owned());
    }
    Ok(())
}

/// Checks configs of a topic, each of which is allowed, against each other.
///
/// # Errors
/// Why they are refused, in Kafka's words.
pub fn check_topic_configs_together(configs: &BTreeMap<&str, &str>) -> Result<(), String> {
    let (least, most) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    let number = |name: &str| configs.get(name)?.trim().parse::<i64>().ok();
    let min = number(least).unwrap_or(0);
    let max = number(most).unwrap_or(i64::MAX);
    if min > max {
        return Err(format!("conflict topic config setting {least} ({min}) > {most} ({max})"));
    }
    Ok(())
}

fn find(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

impl TopicConfig {
    /// What topics get that say nothing themselves.
    #[must_use]
    pub fn defaults(values: &Values) -> TopicConfig {
        let hours = i64::from(values.int("log.roll.hours"));
        let segment_ms = values.long("log.roll.ms").unwrap_or(hours * 3_600_000);
        let jitter_hours = i64::from(values.int("log.roll.jitter.hours"));
        let jitter_ms = values.long("log.roll.jitter.ms").unwrap_or(jitter_hours * 3_600_000);
        let long = |name| values.long(name).expect("has a default");
        let retention_ms = values
            .long("log.retention.ms")
            .or(values.long("log.retention.minutes").map(|minutes| minutes * 60_000))
            .unwrap_or(i64::from(values.int("log.retention.hours")) * 3_600_000);
        let text = |name| values.text(name).expect("has a default");
        TopicConfig {
            compacts: holds(text("log.cleanup.policy"), "compact"),
            compression: CompressionConfig {
                codec: compression_type(text("compression.type")),
                gzip_level: u32::try_from(values.int("compression.gzip.level")).ok(),
                lz4_level: values.int("compression.lz4.level"),
                zstd_level: values.int("compression.zstd.level"),
            },
            delete_retention: milliseconds(long("log.cleaner.delete.retention.ms")),
            deletes: holds(text("log.cleanup.policy"), "delete"),
            file_delete_delay: milliseconds(long("log.segment.delete.delay.ms")),
            flush_messages: long("log.flush.interval.messages"),
            index_interval_bytes: values.int("log.index.interval.bytes").unsigned_abs(),
            max_compaction_lag: lag_limit(long("log.cleaner.max.compaction.lag.ms")),
            message_bytes_max: values.int("message.max.bytes").unsigned_abs(),
            timestamp_after_max_ms: long("log.message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("log.message.timestamp.before.max.ms"),
            timestamp_source: timestamp_source(text("log.message.timestamp.type")),
            min_cleanable_ratio: values.double("log.cleaner.min.cleanable.ratio"),
            min_compaction_lag: milliseconds(long("log.cleaner.min.compaction.lag.ms")),
            min_insync_replicas: values.int("min.insync.replicas").unsigned_abs(),
            preallocate: values.boolean("log.preallocate"),
            retention_bytes: u64::try_from(long("log.retention.bytes")).ok(),
            retention_age: limit_of(retention_ms),
            segment_bytes: values.int("log.segment.bytes").unsigned_abs(),
            segment_index_bytes: values.int("log.index.size.max.bytes").unsigned_abs(),
            segment_age_max: milliseconds(segment_ms),
            segment_jitter: milliseconds(jitter_ms),
        }
    }

    /// These configs with a topic's own on top. Keys that nothing reads and values that no check
    /// let pass (both can be in a log written by another version) change nothing, but for
    /// `cleanup.policy`, whose other values keep what is there, and `segment.bytes`.
    #[must_use]
    pub fn with_overrides<'a>(
        &self,
        overrides: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> TopicConfig {
        let mut config = self.clone();
        for (name, value) in overrides {
            let is_old_size =
                || value.trim().parse::<i32>().is_ok_and(|bytes| bytes >= SEGMENT_BYTES_ONCE);
            if name == "cleanup.policy" {
                config.deletes = holds(value, "delete");
                config.compacts = holds(value, "compact");
            } else if (find(name).is_some() && check_topic_config(name, value).is_ok())
                || (name == "segment.bytes" && is_old_size())
            {
                config.set(name, value.trim());
            }
        }
        config
    }

    fn set(&mut self, name: &str, value: &str) {
        let number = || value.parse::<i64>().expect("checked");
        let int = || u32::try_from(number()).expect("checked");
        let level = || i32::try_from(number()).expect("checked");
        match name {
            "compression.gzip.level" => self.compression.gzip_level = u32::try_from(number()).ok(),
            "compression.lz4.level" => self.compression.lz4_level = level(),
            "compression.type" => self.compression.codec = compression_type(value),
            "compression.zstd.level" => self.compression.zstd_level = level(),
            "delete.retention.ms" => self.delete_retention = milliseconds(number()),
            "file.delete.delay.ms" => self.file_delete_delay = milliseconds(number()),
            "flush.messages" => self.flush_messages = number(),
            "index.interval.bytes" => self.index_interval_bytes = int(),
            "max.compaction.lag.ms" => self.max_compaction_lag = lag_limit(number()),
            "max.message.bytes" => self.message_bytes_max = int(),
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number(),
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number(),
            "message.timestamp.type" => self.timestamp_source = timestamp_source(value),
            "min.cleanable.dirty.ratio" => {
                self.min_cleanable_ratio = value.parse().expect("checked");
            }
            "min.compaction.lag.ms" => self.min_compaction_lag = milliseconds(number()),
            "min.insync.replicas" => self.min_insync_replicas = int(),
            "preallocate" => self.preallocate = value.eq_ignore_ascii_case("true"),
            "retention.bytes" => self.retention_bytes = u64::try_from(number()).ok(),
            "retention.ms" => self.retention_age = limit_of(number()),
            "segment.bytes" => self.segment_bytes = int(),
            "segment.index.bytes" => self.segment_index_bytes = int(),
            "segment.jitter.ms" => self.segment_jitter = milliseconds(number()),
            "segment.ms" => self.segment_age_max = milliseconds(number()),
            other => unreachable!("{other} is in the table and nothing reads it"),
        }
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// A time whose largest value is no limit.
fn lag_limit(ms: i64) -> Option<Duration> {
    (ms < i64::MAX).then(|| milliseconds(ms))
}

/// A time that is no limit when it is negative.
fn limit_of(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

fn holds(policies: &str, wanted: &str) -> bool {
    policies.split(',').any(|policy| policy.trim() == wanted)
}

fn compression_type(text: &str) -> CompressionType {
    match text {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

fn timestamp_source(text: &str) -> TimestampSource {
    if text == "LogAppendTime" {
        TimestampSource::LogAppendTime
    } else {
        TimestampSource::CreateTime
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;

    fn defaults() -> TopicConfig {
        TopicConfig::defaults(&Values::new(Properties::default()).expect("valid"))
    }

    #[test]
    fn every_key_of_the_table_is_read() {
        for key in TOPIC_KEYS {
            let value = match key.name {
                "message.timestamp.type" => "LogAppendTime",
                "compression.type" => "lz4",
                "preallocate" => "True",
                "compression.gzip.level" | "compression.zstd.level" => "7",
                // The one level that there is, and the default.
                "compression.lz4.level" => "9",
                "cleanup.policy" => "compact",
                "min.cleanable.dirty.ratio" => "0.25",
                _ => "2000000",
            };
            assert_eq!(check_topic_config(key.name, value), Ok(()), "{}", key.name);
            let changed = defaults().with_overrides([(key.name, value)].into_iter());
            let same = key.name == "compression.lz4.level";
            assert_eq!(changed == defaults(), same, "{} changes something", key.name);
        }
    }

    #[test]
    fn retention_has_kafkas_precedence() {
        let age = |text: &str| {
            let properties = Properties::parse(text.as_bytes()).expect("valid");
            let defaults = TopicConfig::defaults(&Values::new(properties).expect("valid"));
            defaults.retention_age.map(|age| age.as_millis())
        };
        assert_eq!(age(""), Some(7 * 24 * 3_600_000));
        assert_eq!(age("log.retention.hours=2"), Some(7_200_000));
        assert_eq!(age("log.retention.hours=2\nlog.retention.minutes=3"), Some(180_000));
        assert_eq!(age("log.retention.minutes=3\nlog.retention.ms=4"), Some(4));
        assert_eq!(age("log.retention.minutes=3\nlog.retention.ms=-1"), None);
        assert_eq!(age("log.retention.hours=-1"), None);
    }

    #[test]
    fn the_jitter_of_rolls_has_kafkas_precedence() {
        let jitter = |text: &str| {
            let properties = Properties::parse(text.as_bytes()).expect("valid");
            let defaults = TopicConfig::defaults(&Values::new(properties).expect("valid"));
            defaults.segment_jitter.as_millis()
        };
        assert_eq!(jitter(""), 0);
        assert_eq!(jitter("log.roll.jitter.hours=2"), 7_200_000);
        assert_eq!(jitter("log.roll.jitter.hours=2\nlog.roll.jitter.ms=5"), 5);
    }

    #[test]
    fn policies_are_deletion_and_compaction() {
        for policy in ["compact", "compact,delete", "delete"] {
            assert_eq!(check_topic_config("cleanup.policy", policy), Ok(()));
        }
        assert!(check_topic_config("cleanup.policy", "compact,forget").is_err());
        assert_eq!(check_topic_config("cleanup.policy", ""), Ok(()), "all is kept");
        let deletes =
            |policy| defaults().with_overrides([("cleanup.policy", policy)].into_iter()).deletes;
        assert!(deletes("delete") && deletes("compact, delete"));
        assert!(!deletes("compact") && !deletes("") && !deletes("something"));
        let compacts =
            |policy| defaults().with_overrides([("cleanup.policy", policy)].into_iter()).compacts;
        assert!(compacts("compact") && compacts("compact, delete"));
        assert!(!compacts("delete") && !compacts(""));
    }

    #[test]
    fn kept_keys_are_checked_and_change_nothing() {
        assert!(KEPT_TOPIC_KEYS.is_sorted_by_key(|key| key.name));
        for key in KEPT_TOPIC_KEYS {
            assert!(find(key.name).is_none(), "{} is in one table", key.name);
            assert_eq!(check_topic_config(key.name, key.default), Ok(()), "{}", key.name);
            let kept = defaults().with_overrides([(key.name, key.default)].into_iter());
            assert_eq!(kept, defaults());
        }
        assert!(check_topic_config("remote.storage.enable", "true").is_err());
        let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
        let refusal = check_topic_configs_together(&lags.into()).unwrap_err();
        assert!(refusal.starts_with("conflict topic config setting"), "{refusal}");
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_and_ignored() {
        let unknown = check_topic_config("retention.m", "1").unwrap_err();
        assert_eq!(unknown, "Unknown topic config name: retention.m");
        assert!(check_topic_config("segment.bytes", "14").is_err());
        let levels = [
            ("compression.gzip.level", ["-1", "1", "9"], ["0", "10", "-2"]),
            ("compression.lz4.level", ["9", "9", "9"], ["8", "1", "17"]),
            ("compression.zstd.level", ["-131072", "0", "22"], ["-131073", "23", ""]),
        ];
        for (name, good, bad) in levels {
            assert!(good.iter().all(|level| check_topic_config(name, level).is_ok()), "{name}");
            assert!(bad.iter().all(|level| check_topic_config(name, level).is_err()), "{name}");
        }
        let overrides = [("segment.bytes", "13"), ("nothing", "1")];
        assert_eq!(defaults().with_overrides(overrides.into_iter()), defaults());
        let of_kafka_3 = [("segment.bytes", "14")];
        assert_eq!(defaults().with_overrides(of_kafka_3.into_iter()).segment_bytes, 14);
    }
}
