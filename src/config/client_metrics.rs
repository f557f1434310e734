//! Configs of subscriptions to client metrics (KIP-714): checked, kept and told. Nobody is asked
//! for metrics, as with a broker of Kafka's that has no plugin which would receive them.
//!
//! The patterns that choose clients are regular expressions of Java's. They are checked for the
//! mistakes that make one unreadable (brackets, what is repeated, the end); they are not run.

use std::collections::BTreeMap;

use crate::judge::{ValueType, elements};
use crate::key::Kind;

/// Keys of subscriptions, with type, default and what they decide. Sorted by name.
pub const CLIENT_METRICS_KEYS: &[(&str, ValueType, &str, &str)] = &[
    ("interval.ms", ValueType::Int, "300000", "Time between two pushes of a client, ms."),
    ("match", ValueType::List, "", "Which clients: patterns as KEY=REGEX; none is all of them."),
    ("metrics", ValueType::List, "", "Which metrics, by prefix of their names."),
];

const CLIENT_KEYS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];
const INTERVALS_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

/// Why configs of a subscription are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientMetricsError {
    /// The request makes no sense.
    Request(String),
    /// A value makes no sense.
    Value(String),
}

/// Checks all configs that a subscription is to have.
///
/// # Errors
/// Why one is refused, in Kafka's words.
pub fn check_client_metrics(
    subscription: &str,
    configs: &BTreeMap<&str, &str>,
) -> Result<(), ClientMetricsError> {
    if subscription.is_empty() {
        return Err(ClientMetricsError::Request("Subscription name can't be empty".to_owned()));
    }
    let is_known = |name: &str| CLIENT_METRICS_KEYS.iter().any(|(known, ..)| *known == name);
    if let Some(name) = configs.keys().find(|name| !is_known(name)) {
        let text = format!("Unknown client metrics configuration: {name}");
        return Err(ClientMetricsError::Request(text));
    }
    if let Some(interval) = configs.get("interval.ms") {
        let kind = Kind::Int { min: i32::MIN };
        let shown = kind.judge("interval.ms", interval).map_err(ClientMetricsError::Value)?;
        if !shown.parse().is_ok_and(|ms| INTERVALS_MS.contains(&ms)) {
            return Err(ClientMetricsError::Request(format!(
                "Invalid value {shown} for interval.ms, interval must be between 100 and 3600000 \
                 (1 hour)"
            )));
        }
    }
    for pattern in elements(configs.get("match").copied().unwrap_or_default()) {
        let parts = pattern.split_once('=').map(|(key, regex)| (key.trim(), regex.trim()));
        if !parts.is_some_and(|(key, regex)| CLIENT_KEYS.contains(&key) && is_regex(regex)) {
            let text = format!("Illegal client matching pattern: {pattern}");
            return Err(ClientMetricsError::Value(text));
        }
    }
    Ok(())
}

/// Whether brackets close, nothing is repeated that is not there, and no escape ends the text.
fn is_regex(text: &str) -> bool {
    let (mut open, mut in_class, mut repeatable) = (0_i32, false, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => open += 1,
            ')' => open -= 1,
            '*' | '+' | '?' if !repeatable => return false,
            _ => {}
        }
        if open < 0 {
            return false;
        }
        repeatable = !matches!(c, '(' | '|');
    }
    open == 0 && !in_class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_looked_at() {
        let check = |pattern: &str| check_client_metrics("m", &[("match", pattern)].into()).is_ok();
        for good in
            ["", "client_id=a.*", "client_id=(a|b)+, client_source_port=[0-9]+", "client_id=\\["]
        {
            assert!(check(good), "{good}");
        }
        for bad in
            ["nothing", "nothing=x", "client_id=[", "client_id=(", "client_id=)", "client_id=*"]
        {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn intervals_have_limits() {
        let check = |value: &str| check_client_metrics("m", &[("interval.ms", value)].into());
        assert_eq!(check("100"), Ok(()));
        assert!(matches!(check("99"), Err(ClientMetricsError::Request(_))));
        assert!(matches!(check("x"), Err(ClientMetricsError::Value(_))));
    }
}
