//! The values of a row, as they are written: read once, worked out for each version and each side.

use std::collections::{BTreeMap, BTreeSet};

use crate::value::Value;

/// A value, or how to come by it.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// It stands there.
    Value(Value),
    /// A list.
    List(Vec<Expr>),
    /// Fields.
    Struct(BTreeMap<String, Expr>),
    /// What [`crate::cases`] knows under this name.
    Call(String, Vec<Expr>),
}

impl Expr {
    /// All names of fields in it.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Expr::Value(_) | Expr::Call(..) => BTreeSet::new(),
            Expr::List(values) => values.iter().flat_map(Expr::names).collect(),
            Expr::Struct(fields) => {
                let inner = fields.values().flat_map(Expr::names);
                fields.keys().cloned().chain(inner).collect()
            }
        }
    }
}

/// Reads a row.
pub struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Of the text behind the colon.
    #[must_use]
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { rest: text }
    }

    /// Fields to the end of the text.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn fields(mut self) -> Result<Expr, String> {
        let fields = self.until("")?;
        match self.rest.trim() {
            "" => Ok(Expr::Struct(fields)),
            rest => Err(format!("cannot read {rest:?}")),
        }
    }

    fn eat(&mut self, prefix: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    fn expect(&mut self, prefix: &str) -> Result<(), String> {
        match self.eat(prefix) {
            true => Ok(()),
            false => Err(format!("{prefix:?} is expected before {:?}", self.rest)),
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let is_part = |found: char| found.is_ascii_alphanumeric() || found == '_' || found == '-';
        let end = self.rest.find(|found| !is_part(found)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn at_end(&mut self, close: &str) -> bool {
        match close {
            "" => self.rest.trim().is_empty(),
            close => self.eat(close),
        }
    }

    fn until(&mut self, close: &str) -> Result<BTreeMap<String, Expr>, String> {
        let mut fields = BTreeMap::new();
        while !self.at_end(close) {
            if !fields.is_empty() {
                self.expect(",")?;
            }
            let name = self.word().to_owned();
            self.expect(":")?;
            fields.insert(name, self.value()?);
        }
        Ok(fields)
    }

    fn list(&mut self, close: &str) -> Result<Vec<Expr>, String> {
        let mut values = Vec::new();
        while !self.at_end(close) {
            if !values.is_empty() {
                self.expect(",")?;
            }
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Expr, String> {
        if self.eat("[") {
            return Ok(Expr::List(self.list("]")?));
        }
        if self.eat("{") {
            return Ok(Expr::Struct(self.until("}")?));
        }
        if self.eat("\"") {
            let (text, rest) = self.rest.split_once('"').ok_or("a text does not end")?;
            self.rest = rest;
            return Ok(Expr::Value(Value::Text(text.to_owned())));
        }
        let word = self.word();
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "max" => Value::Max,
            "min" => Value::Min,
            _ => match word.parse() {
                Ok(number) if self.eat(".") => {
                    let text = format!("{number}.{}", self.word());
                    Value::Float(text.parse().map_err(|_| format!("{text} is no number"))?)
                }
                Ok(number) => Value::Int(number),
                Err(_) => {
                    self.expect("(")?;
                    return Ok(Expr::Call(word.to_owned(), self.list(")")?));
                }
            },
        };
        Ok(Expr::Value(value))
    }
}
