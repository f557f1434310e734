//! Values of the table's keys: the given one or the default, checked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::key::{ConfigKey, parse_bool};
use crate::limits::LISTENER_KEYS;
use crate::properties::Properties;
use crate::table::broker_keys;

/// In front of a key that one listener has for itself, its name in lower case behind.
const LISTENER_PREFIX: &str = "listener.name.";

/// A value that the node cannot start with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The key at fault.
    pub key: String,
    /// Its value, when it has one.
    pub value: Option<String>,
    /// What is allowed, or why the value is refused.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}: {}", self.key, self.reason),
            None => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Checked values of all keys.
#[derive(Debug)]
pub struct Values {
    given: Properties,
    /// Keys that were asked for; tests compare them with the table.
    read: RefCell<BTreeSet<&'static str>>,
}

impl Values {
    /// Checks every given key that the table knows.
    ///
    /// # Errors
    /// The first value that its key does not allow.
    pub fn new(given: Properties) -> Result<Values, ConfigError> {
        for key in broker_keys() {
            if let Some(value) = given.get(key.name) {
                key.kind.check(value.trim()).map_err(|allowed| ConfigError {
                    key: key.name.to_owned(),
                    value: Some(value.to_owned()),
                    reason: format!("must be {allowed}"),
                })?;
            }
        }
        let checked = Values { given, read: RefCell::default() };
        for (name, value) in checked.given.iter() {
            let Some(key) = checked.listener_key(name) else { continue };
            key.kind
                .check(value.trim())
                .map_err(|allowed| checked.refuse(name, format!("must be {allowed}")))?;
        }
        Ok(checked)
    }

    /// The key that a listener has for itself under this name, `listener.name.NAME.KEY`.
    fn listener_key(&self, name: &str) -> Option<&'static ConfigKey> {
        let (listener, key) = name.strip_prefix(LISTENER_PREFIX)?.split_once('.')?;
        let is_own = |given: &str| {
            given.split_once("://").is_some_and(|(name, _)| name.trim().to_lowercase() == listener)
        };
        let known = self.text("listeners").unwrap_or_default().split(',').any(is_own);
        (known && LISTENER_KEYS.contains(&key)).then(|| find(key)).flatten()
    }

    /// What a listener has for itself instead of a 32-bit key.
    #[must_use]
    pub fn of_listener(&self, listener: &str, name: &str) -> Option<i32> {
        let name = format!("{LISTENER_PREFIX}{}.{name}", listener.to_lowercase());
        self.given.get(&name).map(|value| value.trim().parse().expect("checked"))
    }

    /// Given keys that nothing reads, each with the nearest key that something reads.
    #[must_use]
    pub fn unknown_keys(&self) -> Vec<(String, Option<&'static str>)> {
        let is_known = |name| find(name).is_some() || self.listener_key(name).is_some();
        let unknown = self.given.iter().filter(|(name, _)| !is_known(name));
        unknown.map(|(name, _)| (name.to_owned(), nearest(name))).collect()
    }

    /// Whether the key was given, and not left to its default.
    #[must_use]
    pub fn is_given(&self, name: &'static str) -> bool {
        self.given.get(name).is_some()
    }

    /// The value of any key that was given, known or not.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name)
    }

    /// Every given key of the table with its value.
    #[must_use]
    pub fn given_known(&self) -> BTreeMap<&'static str, String> {
        let known = self.given.iter().filter_map(|(name, value)| Some((find(name)?.name, value)));
        known.map(|(name, value)| (name, value.trim().to_owned())).collect()
    }

    /// Text value; `None` when it is not given and has no default.
    #[must_use]
    pub fn text(&self, name: &'static str) -> Option<&str> {
        let key = self.key(name);
        self.given.get(name).map(str::trim).or(key.default)
    }

    /// Elements of a list; blank ones do not count.
    #[must_use]
    pub fn list(&self, name: &'static str) -> Vec<&str> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|element| !element.is_empty()).collect()
    }

    /// Boolean value of a key with a default.
    #[must_use]
    pub fn boolean(&self, name: &'static str) -> bool {
        self.text(name).and_then(parse_bool).expect("checked, with a default")
    }

    /// 32-bit value of a key with a default.
    #[must_use]
    pub fn int(&self, name: &'static str) -> i32 {
        self.text(name).and_then(|text| text.parse().ok()).expect("checked, with a default")
    }

    /// 64-bit value; `None` when it is not given and has no default.
    #[must_use]
    pub fn long(&self, name: &'static str) -> Option<i64> {
        self.text(name).map(|text| text.parse().expect("checked"))
    }

    /// Value of a number with a fraction, of a key with a default.
    #[must_use]
    pub fn double(&self, name: &'static str) -> f64 {
        self.text(name).and_then(|text| text.parse().ok()).expect("checked, with a default")
    }

    /// An error about a key.
    #[must_use]
    pub fn refuse(&self, name: &str, reason: impl Into<String>) -> ConfigError {
        let value = self.given.get(name).map(str::to_owned);
        ConfigError { key: name.to_owned(), value, reason: reason.into() }
    }

    fn key(&self, name: &'static str) -> &'static ConfigKey {
        let key = find(name).expect("only keys of the table are read");
        self.read.borrow_mut().insert(key.name);
        key
    }

    #[cfg(test)]
    pub(crate) fn unread(&self) -> Vec<&'static str> {
        let read = self.read.borrow();
        broker_keys().map(|key| key.name).filter(|name| !read.contains(name)).collect()
    }
}

fn find(name: &str) -> Option<&'static ConfigKey> {
    broker_keys().find(|key| key.name == name)
}

/// The key that is fewest edits away, when that is few enough to be a slip.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let distances = broker_keys().map(|key| (distance(name, key.name), key.name));
    distances.min().filter(|(edits, _)| *edits <= 1 + name.len() / 8).map(|(_, near)| near)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Values, ConfigError> {
        Values::new(Properties::parse(text.as_bytes()).expect("valid"))
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        let check = |text: &str, message: &str| {
            assert_eq!(values(text).unwrap_err().to_string(), message);
        };
        check("node.id=x", "node.id=x: must be a 32-bit number from 0 on");
        check("node.id=-1", "node.id=-1: must be a 32-bit number from 0 on");
        check("delete.topic.enable=yes", "delete.topic.enable=yes: must be true or false");
        check(
            "log.message.timestamp.type=create",
            "log.message.timestamp.type=create: must be one of CreateTime, LogAppendTime",
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_neighbour() {
        let values = values("num.partition=3\nzookeeper.connect=x\nnode.id=4").expect("valid");
        assert_eq!(
            values.unknown_keys(),
            [
                ("num.partition".to_owned(), Some("num.partitions")),
                ("zookeeper.connect".to_owned(), None)
            ]
        );
        assert_eq!(values.int("node.id"), 4);
    }
}
