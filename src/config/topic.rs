//! What a topic's configs mean for its logs (Kafka's `LogConfig`).

use std::time::Duration;

use crate::key::TopicKey;
use crate::table::TOPIC_KEYS;
use crate::values::Values;

/// Whose time a record gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampSource {
    /// The producer's.
    CreateTime,
    /// That of its append.
    LogAppendTime,
}

/// The configs of a topic, typed. Ranges are those of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicConfig {
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`.
    pub message_bytes_max: u32,
    /// `message.timestamp.type`.
    pub timestamp_source: TimestampSource,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.ms`.
    pub segment_age_max: Duration,
}

/// Checks a config that a client sets on a topic.
///
/// # Errors
/// Why it is refused: nothing reads the key, or the value is not allowed.
pub fn check_topic_config(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = find(name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    key.kind.check(value.trim()).map_err(|allowed| {
        format!("Invalid value {value} for configuration {name}: must be {allowed}")
    })
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
        let long = |name| values.long(name).expect("has a default");
        TopicConfig {
            file_delete_delay: milliseconds(long("log.segment.delete.delay.ms")),
            flush_messages: long("log.flush.interval.messages"),
            index_interval_bytes: values.int("log.index.interval.bytes").unsigned_abs(),
            message_bytes_max: values.int("message.max.bytes").unsigned_abs(),
            timestamp_source: timestamp_source(
                values.text("log.message.timestamp.type").expect("has a default"),
            ),
            min_insync_replicas: values.int("min.insync.replicas").unsigned_abs(),
            segment_bytes: values.int("log.segment.bytes").unsigned_abs(),
            segment_index_bytes: values.int("log.index.size.max.bytes").unsigned_abs(),
            segment_age_max: milliseconds(segment_ms),
        }
    }

    /// These configs with a topic's own on top. Keys that nothing reads and values that no check
    /// let pass (both can be in a log written by another version) change nothing.
    #[must_use]
    pub fn with_overrides<'a>(
        &self,
        overrides: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> TopicConfig {
        let mut config = self.clone();
        for (name, value) in overrides {
            if check_topic_config(name, value).is_ok() {
                config.set(name, value.trim());
            }
        }
        config
    }

    fn set(&mut self, name: &str, value: &str) {
        let number = || value.parse::<i64>().expect("checked");
        let int = || u32::try_from(number()).expect("checked");
        match name {
            "file.delete.delay.ms" => self.file_delete_delay = milliseconds(number()),
            "flush.messages" => self.flush_messages = number(),
            "index.interval.bytes" => self.index_interval_bytes = int(),
            "max.message.bytes" => self.message_bytes_max = int(),
            "message.timestamp.type" => self.timestamp_source = timestamp_source(value),
            "min.insync.replicas" => self.min_insync_replicas = int(),
            "segment.bytes" => self.segment_bytes = int(),
            "segment.index.bytes" => self.segment_index_bytes = int(),
            "segment.ms" => self.segment_age_max = milliseconds(number()),
            other => unreachable!("{other} is in the table and nothing reads it"),
        }
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
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
            let value =
                if key.name == "message.timestamp.type" { "LogAppendTime" } else { "2000000" };
            assert_eq!(check_topic_config(key.name, value), Ok(()));
            let changed = defaults().with_overrides([(key.name, value)].into_iter());
            assert_ne!(changed, defaults(), "{} changes something", key.name);
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_and_ignored() {
        let unknown = check_topic_config("retention.m", "1").unwrap_err();
        assert_eq!(unknown, "Unknown topic config name: retention.m");
        assert!(check_topic_config("segment.bytes", "14").is_err());
        let overrides = [("segment.bytes", "14"), ("nothing", "1")];
        assert_eq!(defaults().with_overrides(overrides.into_iter()), defaults());
    }
}
