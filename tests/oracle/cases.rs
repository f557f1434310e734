//! The requests: a table in text, `cases/*.txt`, one row for each request in each version.
//!
//! ```text
//!   # comment
//!   Metadata                                   the API; rows are indented
//!       one topic [4-]: topics: [{name: "plain"}]
//!       far away = most: max_wait_ms: 0        what is not named is the largest there is
//!       no such topic: topics: [{name: "x-$v"}],
//!           allow_auto_topic_creation: false   deeper lines go on
//! ```
//!
//! A `~` behind the name lets the recorder ask again while the answer is one that passes (a
//! coordinator that loads, a leader that is not there yet). `[4-]`, `[4]`, `[-8]`, `[4-8]` are
//! versions; without them all that the schema has. Values are numbers, texts (`$v` is the version),
//! `null`, `true`, `false`, `max`, `min`, lists, structs, and `id("topic")` (its id, or the same
//! for all that have none), `hex("00ff")`, `repeat("x", 300)`,
//! `batch("a", "b")` (records of 2023), `batch_of(PRODUCER, EPOCH, SEQUENCE, "a", "b")`,
//! `got("ROW", "path.to.field")` (from the latest answer to a row).
//!
//! Behind them, every version of every API is asked with all defaults, and with every field filled
//! in three ways; the newest version of each with a body that is cut, with one that goes on, and
//! under a version that does not exist. `without: some, most` leaves some of these out for an API,
//! `without: all` all of them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_test_client::record_batch;
use ottla_types::Timestamp;

use crate::expression::{Expr, Scanner};
use crate::schema::{Api, Schemas, Type, Version, unhex};
use crate::value::{Fill, Value, complete, decode, encode, named};

/// When all records were made.
const RECORD_TIME: Timestamp = Timestamp(1_700_000_000_000);

/// What is sent.
#[derive(Clone, Debug)]
pub enum Body {
    /// These fields; the others are the defaults, or filled.
    Fields(Option<Fill>, Expr),
    /// The first half of a request.
    Cut,
    /// A request, and more bytes.
    Over,
    /// A request under a version that is one too new.
    TooNew,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Case {
    /// Key of the API.
    pub api: i16,
    /// Unique among those of the API.
    pub name: String,
    /// In which versions it is sent.
    pub versions: (i16, i16),
    /// What is sent.
    pub body: Body,
    /// Whether it is asked again while the answer is one that passes.
    pub settles: bool,
}

/// What earlier answers said, for later requests; also what is called the same on both sides.
#[derive(Clone, Default, Debug)]
pub struct Known {
    /// Ids of topics by name.
    pub ids: BTreeMap<String, [u8; 16]>,
    /// The latest answer to each row.
    pub answers: BTreeMap<String, Value>,
}

/// Reads the tables and adds the rows that every API has.
///
/// # Errors
/// The row that cannot be read, or that names what no version has.
pub fn parse(texts: &[&str], schemas: &Schemas) -> Result<Vec<Case>, String> {
    let (mut cases, mut without) = (Vec::new(), BTreeSet::new());
    for text in texts {
        let mut api = None;
        for row in rows(text) {
            let bad = |why: &str| format!("{row}: {why}");
            if !row.starts_with(' ') {
                let found = schemas.values().find(|api| api.name == row);
                api = Some(found.ok_or_else(|| bad("there is no such API"))?);
                continue;
            }
            let api = api.ok_or_else(|| bad("which API is it for?"))?;
            let (head, fields) = row.trim().split_once(':').ok_or_else(|| bad("no colon"))?;
            if head == "without" {
                without.extend(fields.split(',').map(|name| (api.key, name.trim().to_owned())));
                continue;
            }
            let case = read_row(head, fields, api).map_err(|why| bad(&why))?;
            if cases.iter().any(|one: &Case| one.api == case.api && one.name == case.name) {
                return Err(bad("there are two of this name"));
            }
            cases.push(case);
        }
    }
    for api in schemas.values() {
        let is_wanted = |name: &str| {
            !without.contains(&(api.key, name.to_owned()))
                && !without.contains(&(api.key, "all".to_owned()))
                && !cases.iter().any(|case| case.api == api.key && case.name == name)
        };
        let of_all = of_every_api(api).into_iter().filter(|case| is_wanted(&case.name));
        let of_all: Vec<_> = of_all.collect();
        cases.extend(of_all);
    }
    Ok(cases)
}

fn of_every_api(api: &Api) -> Vec<Case> {
    let (first, last) = bounds(api);
    let nothing = || Expr::Struct(BTreeMap::new());
    let fills = [Some(Fill::Some), Some(Fill::Most), Some(Fill::Minus)];
    let fields = [("default", None)]
        .into_iter()
        .chain(["some", "most", "minus"].into_iter().zip(fills))
        .map(|(name, fill)| (name, (first, last), Body::Fields(fill, nothing())));
    let damaged = [("cut", Body::Cut), ("over", Body::Over), ("too new", Body::TooNew)];
    let damaged = damaged.into_iter().map(|(name, body)| (name, (last, last), body));
    let case = |(name, versions, body): (&str, (i16, i16), Body)| Case {
        api: api.key,
        name: name.to_owned(),
        versions,
        body,
        settles: false,
    };
    fields.chain(damaged).map(case).collect()
}

fn bounds(api: &Api) -> (i16, i16) {
    let first = *api.versions.keys().next().expect("an API has versions");
    (first, *api.versions.keys().next_back().expect("an API has versions"))
}

/// Lines without comments; what is indented twice belongs to the line before.
fn rows(text: &str) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match (line.trim_start().starts_with('#'), line.starts_with("        "), rows.last_mut()) {
            (true, ..) => {}
            (_, true, Some(last)) => *last = format!("{last} {}", line.trim()),
            _ => rows.push(line.trim_end().to_owned()),
        }
    }
    rows
}

fn read_row(head: &str, fields: &str, api: &Api) -> Result<Case, String> {
    let (head, fill) = match head.split_once('=') {
        None => (head, None),
        Some((name, fill)) => {
            let (fill, versions) = fill.split_once('[').unwrap_or((fill, ""));
            let fill = match fill.trim() {
                "some" => Fill::Some,
                "most" => Fill::Most,
                "minus" => Fill::Minus,
                _ => return Err("what is it filled with?".to_owned()),
            };
            let head = if versions.is_empty() {
                name.trim().to_owned()
            } else {
                format!("{}[{versions}", name.trim())
            };
            return read_filled(&head, Some(fill), fields, api);
        }
    };
    read_filled(head, fill, fields, api)
}

fn read_filled(head: &str, fill: Option<Fill>, fields: &str, api: &Api) -> Result<Case, String> {
    let (first, last) = bounds(api);
    let (name, versions) = match head.split_once('[') {
        None => (head, (first, last)),
        Some((name, range)) => {
            let range = range.trim_end().trim_end_matches(']');
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str, other| match text.is_empty() {
                true => Ok(other),
                false => text.parse().map_err(|_| format!("{range} are no versions")),
            };
            (name, (number(from, first)?.max(first), number(to, last)?.min(last)))
        }
    };
    let expr = Scanner::new(fields).fields()?;
    check_names(&expr, api)?;
    let body = Body::Fields(fill, expr);
    let (name, settles) = match name.trim().strip_suffix('~') {
        Some(name) => (name.trim(), true),
        None => (name.trim(), false),
    };
    Ok(Case { api: api.key, name: name.to_owned(), versions, body, settles })
}

/// Every field that a row names is one of some version.
fn check_names(expr: &Expr, api: &Api) -> Result<(), String> {
    fn names(of: &Type, all: &mut BTreeSet<String>) {
        match of {
            Type::List(_, of) => names(of, all),
            Type::Struct(fields) => {
                for (name, of) in named(fields) {
                    all.insert(name.clone());
                    names(of, all);
                }
            }
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    api.versions.values().for_each(|version| names(&version.asked, &mut all));
    match expr.names().into_iter().find(|name| !all.contains(name)) {
        Some(name) => Err(format!("no version has {name}")),
        None => Ok(()),
    }
}

impl Case {
    /// The body of the request in this version.
    ///
    /// # Errors
    /// When a value is not of its field's type, or not known.
    pub fn request(
        &self,
        version: &Version,
        number: i16,
        known: &Known,
    ) -> Result<Vec<u8>, String> {
        let default = decode(&mut version.default.as_slice(), &version.asked)?;
        let whole = |fill: Option<Fill>, expr: &Expr| {
            let base = fill.map_or(default.clone(), |fill| fill.of(&version.asked));
            let value = complete(resolve(expr, number, known)?, base, &version.asked);
            let mut out = Vec::new();
            encode(&value, &version.asked, &mut out)?;
            Ok::<_, String>(out)
        };
        let nothing = Expr::Struct(BTreeMap::new());
        let body = match &self.body {
            Body::Fields(fill, expr) => whole(*fill, expr),
            Body::Cut => whole(Some(Fill::Some), &nothing).map(|mut body| {
                body.truncate(body.len() / 2);
                body
            }),
            Body::Over => whole(None, &nothing).map(|mut body| {
                body.extend_from_slice(&[0xff; 4]);
                body
            }),
            Body::TooNew => whole(None, &nothing),
        };
        body.map_err(|error| format!("{} {} v{number}: {error}", self.api, self.name))
    }
}

fn resolve(expr: &Expr, version: i16, known: &Known) -> Result<Value, String> {
    Ok(match expr {
        Expr::Value(Value::Text(text)) => Value::Text(text.replace("$v", &version.to_string())),
        Expr::Value(value) => value.clone(),
        Expr::List(values) => {
            let values = values.iter().map(|value| resolve(value, version, known));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Expr::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), resolve(value, version, known)?)));
            Value::Struct(fields.collect::<Result<_, String>>()?)
        }
        Expr::Call(name, arguments) => {
            let arguments = arguments.iter().map(|value| resolve(value, version, known));
            let arguments: Vec<Value> = arguments.collect::<Result<_, _>>()?;
            call(name, &arguments, known).ok_or_else(|| format!("{name} of {arguments:?}"))?
        }
    })
}

fn call(name: &str, arguments: &[Value], known: &Known) -> Option<Value> {
    let texts = |values: &[Value]| {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone().into_bytes()),
            _ => None,
        };
        values.iter().map(text).collect::<Option<Vec<_>>>()
    };
    Some(match (name, arguments) {
        ("id", [Value::Text(topic)]) => {
            Value::Uuid(known.ids.get(topic).copied().unwrap_or([0xab; 16]))
        }
        ("hex", [Value::Text(text)]) => Value::Bytes(unhex(text)?),
        ("repeat", [Value::Text(text), Value::Int(count)]) => {
            Value::Text(text.repeat(usize::try_from(*count).ok()?))
        }
        ("batch", values) => {
            Value::Bytes(record_batch(RECORD_TIME, None, &texts(values)?).to_vec())
        }
        ("batch_of", [Value::Int(id), Value::Int(epoch), Value::Int(sequence), values @ ..]) => {
            let producer = (*id, i16::try_from(*epoch).ok()?, i32::try_from(*sequence).ok()?);
            Value::Bytes(record_batch(RECORD_TIME, Some(producer), &texts(values)?).to_vec())
        }
        ("got", [Value::Text(row), Value::Text(path)]) => {
            let mut found = known.answers.get(row)?;
            for part in path.split('.') {
                found = match found {
                    Value::Struct(fields) => fields.get(part)?,
                    Value::List(values) => values.get(part.parse::<usize>().ok()?)?,
                    _ => return None,
                };
            }
            found.clone()
        }
        _ => return None,
    })
}
