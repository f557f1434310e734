//! Topic names: Kafka's rules (`org.apache.kafka.common.internals.Topic`) and a cheap shared text.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Longest legal name, in characters.
const LENGTH_MAX: usize = 249;

/// A topic's name. Copies share one text.
///
/// The type does not promise a legal name: names come from requests and records as they are, and
/// [`TopicName::validate`] is asked where Kafka asks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicName(Arc<str>);

/// Why a name is refused; the text is Kafka's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidTopicName(String);

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTopicName {}

impl PartialOrd for TopicName {
    fn partial_cmp(&self, other: &TopicName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicName {
    fn cmp(&self, other: &TopicName) -> Ordering {
        // In a map most names that are equal are one and the same.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl TopicName {
    /// Checks the name as `Topic.validate` does.
    ///
    /// # Errors
    /// Kafka's sentence, for a name that is empty, ".", "..", longer than 249 characters or holds
    /// another character than ASCII letters, digits, '.', '_' and '-'.
    pub fn validate(name: &str) -> Result<(), InvalidTopicName> {
        let refusal = if name.is_empty() {
            "the empty string is not allowed".to_owned()
        } else if name == "." || name == ".." {
            format!("'{name}' is not allowed")
        } else if name.encode_utf16().count() > LENGTH_MAX {
            format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
        } else if !name.bytes().all(is_legal) {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
            )
        } else {
            return Ok(());
        };
        Err(InvalidTopicName(format!("Topic name is invalid: {refusal}")))
    }
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Whether a name holds a character that Kafka's metrics cannot tell from another.
#[must_use]
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Whether two names are one name in Kafka's metrics, where '.' and '_' are the same.
#[must_use]
pub fn names_collide(a: &str, b: &str) -> bool {
    let unify = |byte: u8| if byte == b'.' { b'_' } else { byte };
    a.bytes().map(unify).eq(b.bytes().map(unify))
}

impl From<&str> for TopicName {
    fn from(name: &str) -> TopicName {
        TopicName(name.into())
    }
}

impl Default for TopicName {
    /// The empty name, which no topic has.
    fn default() -> TopicName {
        TopicName::from("")
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        let longest = "x".repeat(249);
        for name in ["a", "A.b_c-9", "...", longest.as_str()] {
            assert_eq!(TopicName::validate(name), Ok(()), "{name:?}");
        }
        let too_long = "x".repeat(250);
        for name in ["", ".", "..", "a/b", "../x", "a b", "a\0", "\u{e9}", too_long.as_str()] {
            assert!(TopicName::validate(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(names_collide("a.b", "a_b"));
        assert!(names_collide("a.b", "a.b"));
        assert!(!names_collide("a.b", "a-b"));
        assert!(!names_collide("a.b", "a.bc"));
        assert!(has_collision_chars("a.b") && !has_collision_chars("a-b"));
    }
}
