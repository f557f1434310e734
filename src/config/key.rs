//! What a key of the table says about itself.

use std::fmt;

/// The type of a value and the values allowed (Kafka's `ConfigDef.Type` and its validators).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// A 32-bit number from `min` on.
    Int {
        /// Smallest value allowed.
        min: i32,
    },
    /// A 16-bit number from `min` on.
    Short {
        /// Smallest value allowed.
        min: i16,
    },
    /// A 32-bit number between these.
    IntRange {
        /// Smallest value allowed.
        min: i32,
        /// Largest value allowed.
        max: i32,
    },
    /// A 64-bit number from `min` on.
    Long {
        /// Smallest value allowed.
        min: i64,
    },
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
    /// Levels of gzip: 1 to 9, or -1 for the library's own.
    GzipLevel,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// What becomes of old records: a list of `compact` and `delete`.
    CleanupPolicy,
    /// A number from 0 to 1.
    Ratio,
    /// A number.
    Double,
    /// `*`, or a list of `PARTITION:BROKER`.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` and a duration of ISO 8601.
    OffsetReset,
}

/// A key of the node.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// Name in `server.properties`.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Default in text form; `None` is "not set".
    pub default: Option<&'static str>,
    /// What it decides, with its unit.
    pub doc: &'static str,
}

/// A key of Kafka's that is checked, kept and told, and that nothing reads.
#[derive(Clone, Copy, Debug)]
pub struct KeptKey {
    /// Its name.
    pub name: &'static str,
    /// Kafka's key of the broker that gives its default, if that has one itself.
    pub broker_key: Option<&'static str>,
    /// Type and range.
    pub kind: Kind,
    /// Default in text form.
    pub default: &'static str,
    /// What it decides, with its unit.
    pub doc: &'static str,
}

/// A key of a topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicKey {
    /// Name among a topic's configs.
    pub name: &'static str,
    /// The node's keys that give its default, the first that is set wins.
    pub broker_keys: &'static [&'static str],
    /// Type and range.
    pub kind: Kind,
    /// What it decides, with its unit.
    pub doc: &'static str,
}

impl TopicKey {
    /// A value of one of the node's keys in the unit of the topic's: some count hours or minutes.
    #[must_use]
    pub fn in_own_unit(broker_key: &str, value: &str) -> String {
        let ms = match broker_key.rsplit('.').next() {
            Some("hours") => 3_600_000,
            Some("minutes") => 60_000,
            // What is negative is for ever.
            _ if broker_key == "log.retention.ms" => 1,
            _ => return value.to_owned(),
        };
        let in_ms = |count: i64| count.saturating_mul(ms).max(-1).to_string();
        value.trim().parse().map_or_else(|_| value.to_owned(), in_ms)
    }
}

impl Kind {
    /// Checks a value in text form.
    ///
    /// # Errors
    /// What is allowed, as the end of a sentence.
    pub fn check(self, value: &str) -> Result<(), String> {
        let good = match self {
            Kind::Boolean => parse_bool(value).is_some(),
            Kind::Int { min } => value.parse::<i32>().is_ok_and(|number| number >= min),
            Kind::Short { min } => value.parse::<i16>().is_ok_and(|number| number >= min),
            Kind::IntRange { min, max } => {
                value.parse::<i32>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Kind::GzipLevel => {
                value.parse::<i32>().is_ok_and(|level| level == -1 || (1..=9).contains(&level))
            }
            Kind::Long { min } => value.parse::<i64>().is_ok_and(|number| number >= min),
            Kind::Text | Kind::List => true,
            Kind::OneOf(allowed) => allowed.contains(&value),
            Kind::Double => value.parse::<f64>().is_ok(),
            Kind::CleanupPolicy | Kind::Ratio | Kind::ThrottledReplicas | Kind::OffsetReset => {
                self.judge("", value).is_ok()
            }
        };
        if good { Ok(()) } else { Err(self.to_string()) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Boolean => f.write_str("true or false"),
            Kind::Int { min: i32::MIN } => f.write_str("a 32-bit number"),
            Kind::Int { min } => write!(f, "a 32-bit number from {min} on"),
            Kind::Short { min } => write!(f, "a number from {min} to {}", i16::MAX),
            Kind::IntRange { min, max } if min == max => write!(f, "{min}"),
            Kind::IntRange { min, max } => write!(f, "a number from {min} to {max}"),
            Kind::GzipLevel => f.write_str("a number from 1 to 9, or -1"),
            Kind::Long { min: i64::MIN } => f.write_str("a 64-bit number"),
            Kind::Long { min } => write!(f, "a 64-bit number from {min} on"),
            Kind::Text => f.write_str("text"),
            Kind::List => f.write_str("texts separated by commas"),
            Kind::OneOf(allowed) => write!(f, "one of {}", allowed.join(", ")),
            Kind::CleanupPolicy => f.write_str("compact, delete, both or nothing"),
            Kind::Ratio => f.write_str("a number from 0 to 1"),
            Kind::Double => f.write_str("a number"),
            Kind::ThrottledReplicas => f.write_str("*, or PARTITION:BROKER separated by commas"),
            Kind::OffsetReset => {
                f.write_str("earliest, latest, or by_duration: and a duration of ISO 8601")
            }
        }
    }
}

/// Java's `Boolean` of Kafka's `ConfigDef`: any case, nothing else.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}
