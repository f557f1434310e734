//! As much JSON as `quorum-state` needs: an object of integers, texts and lists of objects of the
//! same kind. Nothing is skipped or guessed; depth is limited by the grammar itself.

use std::fmt;

/// Objects inside lists inside the object: the deepest that Kafka writes.
const DEPTH_MAX: usize = 2;

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Json {
    Integer(i64),
    Text(String),
    Array(Vec<Vec<(String, Json)>>),
}

/// Where a text stops being JSON of this kind, and what should stand there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// Byte of the text.
    pub position: usize,
    /// What is missing there.
    pub expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is expected at byte {}", self.expected, self.position)
    }
}

impl std::error::Error for JsonError {}

/// Reads a text that is one object.
pub(super) fn parse_object(text: &str) -> Result<Vec<(String, Json)>, JsonError> {
    let mut parser = Parser { text, position: 0 };
    let object = parser.object(DEPTH_MAX)?;
    parser.space();
    match parser.peek() {
        None => Ok(object),
        Some(_) => Err(parser.error("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl Parser<'_> {
    fn error(&self, expected: &'static str) -> JsonError {
        JsonError { position: self.position, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.position += 1;
        }
    }

    /// Passes over `byte`, and over space before it; whether it was there.
    fn accept(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        self.position += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), JsonError> {
        if self.accept(byte) { Ok(()) } else { Err(self.error(name)) }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(String, Json)>, JsonError> {
        self.expect(b'{', "an object")?;
        let mut fields = Vec::new();
        if self.accept(b'}') {
            return Ok(fields);
        }
        loop {
            self.expect(b'"', "a field")?;
            let name = self.text()?;
            self.expect(b':', "a colon")?;
            fields.push((name, self.value(depth)?));
            if self.accept(b'}') {
                return Ok(fields);
            }
            self.expect(b',', "a comma or the end of the object")?;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if self.accept(b'"') {
            Ok(Json::Text(self.text()?))
        } else if depth > 1 && self.accept(b'[') {
            Ok(Json::Array(self.array(depth - 1)?))
        } else {
            Ok(Json::Integer(self.integer()?))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Vec<(String, Json)>>, JsonError> {
        let mut objects = Vec::new();
        if self.accept(b']') {
            return Ok(objects);
        }
        loop {
            objects.push(self.object(depth)?);
            if self.accept(b']') {
                return Ok(objects);
            }
            self.expect(b',', "a comma or the end of the list")?;
        }
    }

    /// The text behind an opening quote. Ids and field names need no escapes.
    fn text(&mut self) -> Result<String, JsonError> {
        let rest = &self.text[self.position..];
        let Some(len) = rest.find(['"', '\\']).filter(|len| rest.as_bytes()[*len] == b'"') else {
            return Err(self.error("a text without escapes"));
        };
        self.position += len + 1;
        Ok(rest[..len].to_owned())
    }

    fn integer(&mut self) -> Result<i64, JsonError> {
        let rest = &self.text[self.position..];
        let len = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let value = rest[..len].parse().map_err(|_| self.error("an integer, a text or a list"))?;
        self.position += len;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_json_is_refused_where_it_begins() {
        let check = |text: &str, position: usize, expected: &'static str| {
            assert_eq!(parse_object(text), Err(JsonError { position, expected }), "{text}");
        };
        check("", 0, "an object");
        check("[]", 0, "an object");
        check("{", 1, "a field");
        check("{1:2}", 1, "a field");
        check(r#"{"a"}"#, 4, "a colon");
        check(r#"{"a":null}"#, 5, "an integer, a text or a list");
        check(r#"{"a":1.5}"#, 6, "a comma or the end of the object");
        check(r#"{"a":1,}"#, 7, "a field");
        check(r#"{"a":"\u0041"}"#, 6, "a text without escapes");
        check(r#"{"a":"b}"#, 6, "a text without escapes");
        check(r#"{"a":99999999999999999999}"#, 5, "an integer, a text or a list");
        check(r#"{"a":[1]}"#, 6, "an object");
        check(r#"{"a":[{"b":[]}]}"#, 11, "an integer, a text or a list");
        check(r#"{"a":1} {}"#, 8, "the end");
    }
}
