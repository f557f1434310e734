//! Keys of the node that change while it runs, for one broker or for all of them.
//!
//! A key is among them when a change acts at once: the defaults of topics, which reach the logs of
//! all topics that do not say otherwise, how logs are compacted, and what is asked for again each
//! time. Keys of Kafka's that nothing reads are refused, as nothing would come of them.

use crate::cleaner;
use crate::key::ConfigKey;
use crate::table::{TOPIC_KEYS, broker_keys};
use crate::values::nearest;

/// Keys that change while the node runs, beside the defaults of topics and those of cleaners.
const OTHERS: &[&str] = &[PER_IP, MOVE_RATE, VERIFICATION];
const PER_IP: &str = "max.connections.per.ip";
const MOVE_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const VERIFICATION: &str = crate::VerificationConfig::KEY;
/// Units that Kafka reads at the start only.
const AT_THE_START: &[&str] = &["log.retention.hours", "log.retention.minutes", "log.roll.hours"];

/// Why a config of a broker is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerConfigError {
    /// It is read at the start only.
    NotDynamic,
    /// Nothing reads it.
    NotRead(String),
    /// Its value is wrong.
    Value(String),
}

/// A key of the node.
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static ConfigKey> {
    broker_keys().find(|key| key.name == name)
}

/// Whether a change of this key of the node acts while it runs.
#[must_use]
pub fn is_dynamic(name: &str) -> bool {
    let is_default = TOPIC_KEYS.iter().any(|key| key.broker_keys.contains(&name));
    let is_other = OTHERS.contains(&name) || cleaner::DYNAMIC.contains(&name);
    is_other || (is_default && !AT_THE_START.contains(&name))
}

/// Checks a config that is set for a broker while it runs.
///
/// # Errors
/// Why it is refused.
pub fn check_broker_config(name: &str, value: &str) -> Result<(), BrokerConfigError> {
    let Some(key) = broker_key(name) else {
        return Err(BrokerConfigError::NotRead(not_read(name)));
    };
    if !is_dynamic(name) {
        return Err(BrokerConfigError::NotDynamic);
    }
    let shown = key.kind.judge(name, value).map_err(BrokerConfigError::Value)?;
    if name == PER_IP && shown == "0" {
        let text = format!("Invalid {name} 0: nobody could connect to change it back");
        return Err(BrokerConfigError::Value(text));
    }
    Ok(())
}

fn not_read(name: &str) -> String {
    let hint = nearest(name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{name} is not read by this version and would have no effect{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_at_once_can_be_set() {
        assert_eq!(check_broker_config("log.retention.ms", "5"), Ok(()));
        assert_eq!(check_broker_config(PER_IP, "5"), Ok(()));
        assert!(check_broker_config(PER_IP, "0").is_err());
        for at_start in ["log.retention.hours", "node.id", "broker.id"] {
            let known = broker_key(at_start).is_some();
            let refused = check_broker_config(at_start, "5");
            assert_eq!(refused == Err(BrokerConfigError::NotDynamic), known, "{at_start}");
            assert!(refused.is_err());
        }
        let refusal = check_broker_config("log.retention.mss", "5");
        let Err(BrokerConfigError::NotRead(text)) = refusal else { panic!("{refusal:?}") };
        assert!(text.ends_with("did you mean log.retention.ms?"), "{text}");
        for other in OTHERS.iter().chain(cleaner::DYNAMIC) {
            assert!(broker_key(other).is_some(), "{other}");
        }
    }
}
