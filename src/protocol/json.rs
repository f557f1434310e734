//! A JSON document as Kafka's generated converters make it of a record, and its text.
//!
//! The fields of an object keep their order. The text is that of Jackson in its plain setting:
//! no blanks, everything but quotes, backslashes and control characters as it is. Only written,
//! never read.

use std::fmt::{self, Write};

/// A JSON value.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Double(f64),
    /// A text.
    Text(String),
    /// Elements in order.
    Array(Vec<Json>),
    /// Fields in order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Bytes, which travel as base64.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Json {
        Json::Text(base64(bytes))
    }

    /// The field of an object.
    #[must_use]
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        let Json::Object(fields) = self else { return None };
        fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Integer(value) => write!(f, "{value}"),
            Json::Double(value) => double(f, *value),
            Json::Text(text) => quoted(f, text),
            Json::Array(elements) => {
                f.write_char('[')?;
                for (index, element) in elements.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write!(f, "{element}")?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    quoted(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\u{8}' => f.write_str("\\b")?,
            '\t' => f.write_str("\\t")?,
            '\n' => f.write_str("\\n")?,
            '\u{c}' => f.write_str("\\f")?,
            '\r' => f.write_str("\\r")?,
            '\0'..='\u{1f}' => write!(f, "\\u{:04X}", u32::from(character))?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char('"')
}

/// As Java shows a double: a point always, an exponent below 10^-3 and from 10^7 on.
fn double(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("\"NaN\"");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return write!(f, "{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("this form has an exponent");
    let point = if digits.contains('.') { "" } else { ".0" };
    write!(f, "{digits}{point}E{exponent}")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(*chunk.get(index).unwrap_or(&0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..4 {
            let sextet = bits >> (18 - 6 * index) & 63;
            let is_padding = index > chunk.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    text
}

/// A field's name in JSON: `leader_epoch` is `leaderEpoch`.
pub(crate) fn json_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    for (index, word) in field.split('_').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if index > 0 => name.push(first.to_ascii_uppercase()),
            Some(first) => name.push(first),
            None => {}
        }
        name.push_str(letters.as_str());
    }
    name
}

/// The name of a record type in dumps: `NoOpRecord` is `NO_OP_RECORD`.
pub(crate) fn type_name(record: &str) -> String {
    let mut name = String::with_capacity(record.len() + 8);
    for (index, letter) in record.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_written_as_jackson_writes_them() {
        let inner = Json::Array(vec![Json::Null, Json::Bool(true), Json::bytes(b"ab")]);
        let text = Json::Text("\"\\/\n\u{1}\u{7f}\u{e9}\u{1f600}".into());
        let object = Json::Object(vec![("b".into(), inner), ("a".into(), text)]);
        let expected =
            "{\"b\":[null,true,\"YWI=\"],\"a\":\"\\\"\\\\/\\n\\u0001\u{7f}\u{e9}\u{1f600}\"}";
        assert_eq!(object.to_string(), expected);
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1024.5, "1024.5"),
            (100.0, "100.0"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (0.001, "0.001"),
            (0.000_12, "1.2E-4"),
            (-1.25e300, "-1.25E300"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(Json::Double(value).to_string(), text);
        }
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob\u{3ff}", "Zm9vYs+/")]
        {
            assert_eq!(Json::bytes(bytes.as_bytes()), Json::Text(text.into()));
        }
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(json_name("k_raft_version_feature"), "kRaftVersionFeature");
        assert_eq!(json_name("id"), "id");
        assert_eq!(type_name("ZkMigrationStateRecord"), "ZK_MIGRATION_STATE_RECORD");
    }
}
