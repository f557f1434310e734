//! What is on the wire: the fields of every request and answer, as Kafka's own classes name them.
//!
//! `schemas.txt` is printed by `java/Schemas.java` from the jars of the Kafka that answers, so a
//! version of an API needs no code here. Its grammar:
//!
//! ```text
//!   api KEY NAME FIRST LAST
//!   version V REQUEST-HEADER RESPONSE-HEADER HEX     the request with all defaults; `-` is empty
//!   asked TYPE | answered TYPE                       `=` is that of the version before
//!   TYPE = b i8 i16 u16 i32 u32 i64 f64 id | s y with c (compact) and n (nullable) before it
//!        | [TYPE], c[TYPE], n[TYPE], cn[TYPE] | {name:TYPE,...,#{TAG=name:TYPE,...}}, n{...}
//! ```

use std::collections::BTreeMap;

/// How a length is written, and whether there may be nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// With an unsigned varint of the length plus one.
    pub compact: bool,
    /// Whether null can be said.
    pub nullable: bool,
}

/// What a field holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Type {
    /// One byte.
    Bool,
    /// A whole number of so many bytes.
    Int(usize, bool),
    /// Eight bytes.
    Float,
    /// Sixteen bytes.
    Uuid,
    /// Text.
    Text(Shape),
    /// Bytes, records too.
    Bytes(Shape),
    /// A list of one type.
    List(Shape, Box<Type>),
    /// Fields, and tagged ones.
    Struct(Fields),
}

/// What a struct is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Fields {
    /// Whether a byte in front says that it is there.
    pub nullable: bool,
    /// By name, in order.
    pub plain: Vec<(String, Type)>,
    /// By tag; `None` in versions without tags.
    pub tagged: Option<BTreeMap<u32, (String, Type)>>,
}

/// One version of an API.
#[derive(Debug)]
pub struct Version {
    /// Version of the header of a request.
    pub request_header: i16,
    /// Version of the header of an answer.
    pub response_header: i16,
    /// The body of a request with all defaults.
    pub default: Vec<u8>,
    /// A request's body.
    pub asked: Type,
    /// An answer's body.
    pub answered: Type,
}

/// An API of the broker's listener.
#[derive(Debug)]
pub struct Api {
    /// Its key.
    pub key: i16,
    /// Its name, as Kafka's enum has it.
    pub name: String,
    /// Its versions.
    pub versions: BTreeMap<i16, Version>,
}

/// All APIs, by key.
pub type Schemas = BTreeMap<i16, Api>;

/// Reads `schemas.txt`.
///
/// # Errors
/// The line that cannot be read.
pub fn parse(text: &str) -> Result<Schemas, String> {
    let mut all = Schemas::new();
    let mut head = None;
    let (mut asked, mut api) = (None, 0);
    let mut last: [Option<Type>; 2] = [None, None];
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let bad = || format!("schemas.txt: {line}");
        let number = |at: usize| -> Result<i16, String> {
            words.get(at).and_then(|word| word.parse().ok()).ok_or_else(bad)
        };
        let of_type = |before: &Option<Type>| match words.get(1) {
            Some(&"=") => before.clone().ok_or_else(bad),
            Some(text) => Reader { rest: text }.read().ok_or_else(bad),
            None => Err(bad()),
        };
        match words[0] {
            "api" => {
                api = number(1)?;
                let name = (*words.get(2).ok_or_else(bad)?).to_owned();
                all.insert(api, Api { key: api, name, versions: BTreeMap::new() });
            }
            "version" => {
                let default = unhex(words.get(4).ok_or_else(bad)?).ok_or_else(bad)?;
                head = Some((number(1)?, number(2)?, number(3)?, default));
            }
            "asked" => {
                last[0] = Some(of_type(&last[0])?);
                asked = last[0].clone();
            }
            "answered" => {
                last[1] = Some(of_type(&last[1])?);
                let (version, request_header, response_header, default) =
                    head.take().ok_or_else(bad)?;
                let asked = asked.take().ok_or_else(bad)?;
                let answered = last[1].clone().expect("just set");
                let of_version =
                    Version { request_header, response_header, default, asked, answered };
                all.get_mut(&api).ok_or_else(bad)?.versions.insert(version, of_version);
            }
            _ => return Err(bad()),
        }
    }
    Ok(all)
}

/// Bytes of hexadecimal digits; `-` is none.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|two| u8::from_str_radix(two, 16).ok()))
        .collect()
}

/// Bytes as hexadecimal digits; `-` for none.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    fn word(&mut self) -> String {
        let is_part = |found: char| found.is_ascii_alphanumeric() || found == '_';
        let end = self.rest.find(|found| !is_part(found)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn read(&mut self) -> Option<Type> {
        if self.eat("{") {
            return self.fields(false);
        }
        if self.eat("n{") {
            return self.fields(true);
        }
        let lists = [("[", false, false), ("c[", true, false), ("n[", false, true)];
        for (open, compact, nullable) in lists.into_iter().chain([("cn[", true, true)]) {
            if self.eat(open) {
                let of = self.read()?;
                return self
                    .eat("]")
                    .then(|| Type::List(Shape { compact, nullable }, Box::new(of)));
            }
        }
        let word = self.word();
        let shape =
            |word: &str| Shape { compact: word.starts_with('c'), nullable: word.contains('n') };
        Some(match word.as_str() {
            "b" => Type::Bool,
            "i8" => Type::Int(1, true),
            "i16" => Type::Int(2, true),
            "u16" => Type::Int(2, false),
            "i32" => Type::Int(4, true),
            "u32" => Type::Int(4, false),
            "i64" => Type::Int(8, true),
            "f64" => Type::Float,
            "id" => Type::Uuid,
            "s" | "cs" | "ns" | "cns" => Type::Text(shape(&word)),
            "y" | "cy" | "ny" | "cny" => Type::Bytes(shape(&word)),
            _ => return None,
        })
    }

    fn fields(&mut self, nullable: bool) -> Option<Type> {
        let (mut plain, mut tagged) = (Vec::new(), None);
        while !self.eat("}") {
            self.eat(",");
            if self.eat("#{") {
                tagged = Some(self.tags()?);
            } else {
                plain.push(self.field()?);
            }
        }
        Some(Type::Struct(Fields { nullable, plain, tagged }))
    }

    fn tags(&mut self) -> Option<BTreeMap<u32, (String, Type)>> {
        let mut tags = BTreeMap::new();
        while !self.eat("}") {
            self.eat(",");
            let tag = self.word().parse().ok()?;
            if !self.eat("=") {
                return None;
            }
            tags.insert(tag, self.field()?);
        }
        Some(tags)
    }

    fn field(&mut self) -> Option<(String, Type)> {
        let name = self.word();
        if self.eat(":") { Some((name, self.read()?)) } else { None }
    }
}
