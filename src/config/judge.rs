//! Values that clients set: understood as Kafka's `ConfigDef` understands them, and refused in its
//! words.

use crate::key::{Kind, parse_bool};

/// The type of a config, by the number that DescribeConfigs tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 16-bit number.
    Short = 4,
    /// A 64-bit number.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
}

impl Kind {
    /// Its type.
    #[must_use]
    pub fn value_type(self) -> ValueType {
        match self {
            Kind::Boolean => ValueType::Boolean,
            Kind::Int { .. } | Kind::IntRange { .. } | Kind::GzipLevel => ValueType::Int,
            Kind::Short { .. } => ValueType::Short,
            Kind::Long { .. } => ValueType::Long,
            Kind::Ratio | Kind::Double => ValueType::Double,
            Kind::Text | Kind::OneOf(_) | Kind::OffsetReset => ValueType::String,
            Kind::List | Kind::CleanupPolicy | Kind::ThrottledReplicas => ValueType::List,
        }
    }

    /// A value as it is understood: numbers and lists without what stands around them.
    ///
    /// # Errors
    /// Why the value is refused, in Kafka's words.
    pub fn judge(self, name: &str, value: &str) -> Result<String, String> {
        let refuse = |value: &str, reason: &str| {
            Err(format!("Invalid value {value} for configuration {name}: {reason}"))
        };
        let trimmed = value.trim();
        match self.value_type() {
            ValueType::Boolean => match parse_bool(trimmed) {
                Some(known) => Ok(known.to_string()),
                None => refuse(value, "Expected value to be either true or false"),
            },
            ValueType::Int => match trimmed.parse::<i32>() {
                Ok(number) => self.judge_number(name, number.into()),
                Err(_) => refuse(value, "Not a number of type INT"),
            },
            ValueType::Short => match trimmed.parse::<i16>() {
                Ok(number) => self.judge_number(name, number.into()),
                Err(_) => refuse(value, "Not a number of type SHORT"),
            },
            ValueType::Long => match trimmed.parse::<i64>() {
                Ok(number) => self.judge_number(name, number),
                Err(_) => refuse(value, "Not a number of type LONG"),
            },
            ValueType::Double => match trimmed.parse::<f64>() {
                Ok(number) if matches!(self, Kind::Double) => Ok(format!("{number:?}")),
                Ok(ratio) if ratio > 1.0 => refuse(trimmed, "Value must be no more than 1"),
                Ok(ratio) if ratio >= 0.0 => Ok(format!("{ratio:?}")),
                Ok(_) => refuse(trimmed, "Value must be at least 0"),
                Err(_) => refuse(value, "Not a number of type DOUBLE"),
            },
            ValueType::String => match self.refusal_of_text(name, value) {
                None => Ok(value.to_owned()),
                Some(reason) => refuse(value, &reason),
            },
            ValueType::List => self.judge_list(name, trimmed),
        }
    }

    fn judge_number(self, name: &str, number: i64) -> Result<String, String> {
        let (min, max) = match self {
            Kind::Int { min } => (i64::from(min), i64::MAX),
            Kind::Long { min } => (min, i64::MAX),
            Kind::Short { min } => (i64::from(min), i64::MAX),
            Kind::IntRange { min, max } => (i64::from(min), i64::from(max)),
            Kind::GzipLevel if number != -1 => (1, 9),
            _ => (i64::MIN, i64::MAX),
        };
        let reason = match self {
            _ if (min..=max).contains(&number) => return Ok(number.to_string()),
            Kind::GzipLevel => "Value must be between 1 and 9 or equal to -1".to_owned(),
            _ if number < min => format!("Value must be at least {min}"),
            _ => format!("Value must be no more than {max}"),
        };
        Err(format!("Invalid value {number} for configuration {name}: {reason}"))
    }

    fn refusal_of_text(self, name: &str, value: &str) -> Option<String> {
        match self {
            Kind::OneOf(allowed) if !allowed.contains(&value) => {
                Some(format!("String must be one of: {}", allowed.join(", ")))
            }
            Kind::OffsetReset if !is_offset_reset(value) => Some(format!(
                "Invalid value `{value}` for configuration {name}. The value must be either \
                 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            )),
            _ => None,
        }
    }

    fn judge_list(self, name: &str, value: &str) -> Result<String, String> {
        let elements = elements(value);
        let refuse = |what: &str, reason: &str| {
            format!("Invalid value {what} for configuration {name}: {reason}")
        };
        match self {
            Kind::CleanupPolicy => {
                let mut policies: Vec<&str> = Vec::new();
                for policy in elements {
                    match policy {
                        "compact" | "delete" if policies.contains(&policy) => {}
                        "compact" | "delete" => policies.push(policy),
                        _ => return Err(refuse(policy, "String must be one of: compact, delete")),
                    }
                }
                Ok(policies.join(","))
            }
            Kind::ThrottledReplicas if !is_throttled_replicas(&elements) => {
                let reason = format!(
                    "{name} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                );
                Err(refuse(&format!("[{}]", elements.join(", ")), &reason))
            }
            _ => Ok(elements.join(",")),
        }
    }
}

/// Elements of a list; none for a blank text.
#[must_use]
pub fn elements(list: &str) -> Vec<&str> {
    if list.trim().is_empty() { Vec::new() } else { list.split(',').map(str::trim).collect() }
}

/// `*`, or `PARTITION:BROKER` each.
fn is_throttled_replicas(elements: &[&str]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_replica = |element: &&str| {
        element
            .split_once(':')
            .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    elements == ["*"] || elements.iter().all(is_replica)
}

fn is_offset_reset(value: &str) -> bool {
    match value.strip_prefix("by_duration:") {
        Some(duration) => is_duration(duration),
        None => value == "earliest" || value == "latest",
    }
}

/// A duration of ISO 8601 in days, hours, minutes and seconds, not negative.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.to_ascii_uppercase().strip_prefix('P').map(str::to_owned) else {
        return false;
    };
    let (days, time) = rest.split_once('T').map_or((rest.as_str(), None), |(d, t)| (d, Some(t)));
    let days_are_good = days.is_empty() || is_count(days, 'D', false);
    let Some(time) = time else { return days_are_good && !days.is_empty() };
    let mut rest = time;
    let mut parts = 0;
    for unit in ['H', 'M', 'S'] {
        let Some(end) = rest.find(unit) else { continue };
        if !is_count(&rest[..=end], unit, unit == 'S') {
            return false;
        }
        parts += 1;
        rest = &rest[end + 1..];
    }
    days_are_good && rest.is_empty() && parts > 0
}

fn is_count(text: &str, unit: char, with_fraction: bool) -> bool {
    let Some(number) = text.strip_suffix(unit) else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = whole.len() <= 18 && fraction.len() <= 9;
    !whole.is_empty()
        && is_short
        && is_number(whole)
        && is_number(fraction)
        && (with_fraction || !number.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_are_understood() {
        let check = |kind: Kind, value: &str, shown: &str| {
            assert_eq!(kind.judge("k", value).as_deref(), Ok(shown), "{value:?}");
        };
        check(Kind::Long { min: -1 }, " +0005 ", "5");
        check(Kind::Boolean, "TRUE ", "true");
        check(Kind::CleanupPolicy, " delete , delete", "delete");
        check(Kind::CleanupPolicy, "compact, delete ,compact", "compact,delete");
        check(Kind::CleanupPolicy, "", "");
        check(Kind::Ratio, "1", "1.0");
        check(Kind::ThrottledReplicas, "0:1 , 2:3", "0:1,2:3");
        check(Kind::ThrottledReplicas, "*", "*");
        check(Kind::GzipLevel, "-1", "-1");
    }

    #[test]
    fn numbers_out_of_range_are_refused_in_kafkas_words() {
        let check = |kind: Kind, value: &str, reason: &str| {
            let expected = format!("Invalid value {value} for configuration k: {reason}");
            assert_eq!(kind.judge("k", value), Err(expected));
        };
        check(Kind::Int { min: 4 }, "3", "Value must be at least 4");
        check(Kind::IntRange { min: 1, max: 5 }, "6", "Value must be no more than 5");
        check(Kind::Short { min: 1 }, "0", "Value must be at least 1");
        check(Kind::Short { min: 1 }, "32768", "Not a number of type SHORT");
        check(Kind::GzipLevel, "0", "Value must be between 1 and 9 or equal to -1");
        check(Kind::Ratio, "NaN", "Value must be at least 0");
        check(Kind::Int { min: 0 }, "3000000000", "Not a number of type INT");
    }

    #[test]
    fn durations_are_those_of_java() {
        for good in ["PT1H", "P1D", "PT1H2M3.5S", "P2DT3S", "pt5m"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in
            ["", "P", "PT", "1H", "PT1", "-PT1H", "PT-1H", "P1H", "PT1M2H", "PT1.5H", "PT.5S"]
        {
            assert!(!is_duration(bad), "{bad}");
        }
    }
}
