//! Java's `.properties` text form (`java.util.Properties.load`).
//!
//! Comments begin with `#` or `!`; a key ends at the first unescaped `=`, `:` or white space; a
//! line that ends in an odd number of backslashes goes on in the next; tab, line feed, return, form
//! feed and UTF-16 units can be escaped, and any other escaped character stands for itself. The
//! last of two equal keys wins. Files are UTF-8, which contains what Java writes.

use std::collections::BTreeMap;
use std::fmt;

/// Keys and values of a file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Properties {
    entries: BTreeMap<String, String>,
}

/// Why a text is not a properties file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PropertyError {
    /// The file is not UTF-8.
    NotUtf8,
    /// A `\u` without four hexadecimal digits, on this line.
    BadUnicodeEscape {
        /// Number of the line, from 1.
        line: usize,
    },
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyError::NotUtf8 => f.write_str("the file is not UTF-8"),
            PropertyError::BadUnicodeEscape { line } => {
                write!(f, "line {line}: \\u is not followed by four hexadecimal digits")
            }
        }
    }
}

impl std::error::Error for PropertyError {}

impl Properties {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// See [`PropertyError`].
    pub fn parse(bytes: &[u8]) -> Result<Properties, PropertyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PropertyError::NotUtf8)?;
        let mut entries = BTreeMap::new();
        let mut lines = text.split(['\n', '\r']).enumerate();
        while let Some((index, line)) = lines.next() {
            let mut logical = line.trim_start_matches(is_space).to_owned();
            if logical.is_empty() || logical.starts_with(['#', '!']) {
                continue;
            }
            while goes_on(&logical) {
                logical.pop();
                let Some((_, next)) = lines.next() else { break };
                logical.push_str(next.trim_start_matches(is_space));
            }
            let (key, value) = split(&logical);
            let bad = |()| PropertyError::BadUnicodeEscape { line: index + 1 };
            entries.insert(unescape(key).map_err(bad)?, unescape(value).map_err(bad)?);
        }
        Ok(Properties { entries })
    }

    /// Sets a key; wins over what was read.
    pub fn set(&mut self, key: &str, value: &str) {
        self.entries.insert(key.to_owned(), value.to_owned());
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    /// All keys with their values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the separator: white space, or `=` or `:` with white space around.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_space(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_space))
}

fn unescape(text: &str) -> Result<String, ()> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        match chars.next() {
            None => {}
            Some('t') => out.push(u16::from(b'\t')),
            Some('n') => out.push(u16::from(b'\n')),
            Some('r') => out.push(u16::from(b'\r')),
            Some('f') => out.push(0x0c),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let valid = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).map_err(|_| ())?;
                out.push(if valid { unit } else { return Err(()) });
            }
            Some(other) => out.extend(other.encode_utf16(&mut [0; 2]).iter()),
        }
    }
    Ok(String::from_utf16_lossy(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let properties = Properties::parse(text.as_bytes()).expect("valid");
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn texts_mean_what_java_reads() {
        check(
            "a=1\nb = 2\r\n c:3\nd 4\ne",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "")],
        );
        check("# a=1\n  ! b=2\n\n", &[]);
        check("a=1\na=2", &[("a", "2")]);
        check("a=x\\\n   y\\\n z", &[("a", "xyz")]);
        check("a=x\\\\\nb=1", &[("a", "x\\"), ("b", "1")]);
        check("a\\ b\\=c=d=e", &[("a b=c", "d=e")]);
        check("a=\\u00e9\\t\\q", &[("a", "\u{e9}\tq")]);
        check("a=\\ud83d\\ude00", &[("a", "\u{1F600}")]);
        check("a= trailing  ", &[("a", "trailing  ")]);
        check("listeners=PLAINTEXT://:9092", &[("listeners", "PLAINTEXT://:9092")]);
    }

    #[test]
    fn bad_files_are_errors() {
        assert_eq!(Properties::parse(b"a=\xff"), Err(PropertyError::NotUtf8));
        let bad = PropertyError::BadUnicodeEscape { line: 2 };
        assert_eq!(Properties::parse(b"a=1\nb=\\u00g9"), Err(bad.clone()));
        assert_eq!(Properties::parse(b"a=1\nb=\\u+0e9"), Err(bad.clone()));
        assert_eq!(Properties::parse(b"a=1\nb=\\u0"), Err(bad));
    }
}
