//! Values by name: what a request is to say and what an answer says, whatever its version.
//!
//! A value that is written may be partial: what it does not name is taken from the defaults. A
//! field that the version does not have is left out; one that no version has is a mistake, which
//! [`crate::cases`] finds.

use std::collections::BTreeMap;
use std::fmt;

use crate::schema::{Fields, Shape, Type, hex};

/// A value.
#[derive(Clone, PartialEq, PartialOrd, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// The largest number that the field can hold.
    Max,
    /// The smallest one.
    Min,
    /// A broken number.
    Float(f64),
    /// An id.
    Uuid([u8; 16]),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// Fields by name.
    Struct(BTreeMap<String, Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => write!(out, "null"),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Int(value) => write!(out, "{value}"),
            Value::Max => write!(out, "max"),
            Value::Min => write!(out, "min"),
            Value::Float(value) => write!(out, "{value}"),
            Value::Uuid(value) => write!(out, "id:{}", hex(value)),
            Value::Text(value) => write!(out, "{value:?}"),
            Value::Bytes(value) => write!(out, "hex:{}", hex(value)),
            Value::List(values) => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                write!(out, "[{}]", values.join(", "))
            }
            Value::Struct(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                write!(out, "{{{}}}", fields.join(", "))
            }
        }
    }
}

/// What is put where a value names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// Zeros and nothing.
    Zero,
    /// Something in every field, one element in every list.
    Some,
    /// The longest and largest that is sensible.
    Most,
    /// Minus one, empty, one element in every list.
    Minus,
}

impl Fill {
    /// A value of this kind.
    #[must_use]
    pub fn of(self, of: &Type) -> Value {
        match of {
            Type::Bool => Value::Bool(self != Fill::Zero),
            Type::Int(..) => match self {
                Fill::Zero => Value::Int(0),
                Fill::Some => Value::Int(77),
                Fill::Most => Value::Max,
                Fill::Minus => Value::Int(-1),
            },
            Type::Float => Value::Float(if self == Fill::Zero { 0.0 } else { 0.5 }),
            Type::Uuid => Value::Uuid([if self == Fill::Zero { 0 } else { 7 }; 16]),
            Type::Text(shape) if self == Fill::Zero && shape.nullable => Value::Null,
            Type::Text(_) => Value::Text(self.long("x")),
            Type::Bytes(shape) if self == Fill::Zero && shape.nullable => Value::Null,
            Type::Bytes(_) => Value::Bytes(self.long("y").into_bytes()),
            Type::List(shape, _) if self == Fill::Zero && shape.nullable => Value::Null,
            Type::List(_, of) => {
                let count = [0, 1, 3, 1][self as usize];
                Value::List(vec![self.of(of); count])
            }
            Type::Struct(fields) if self == Fill::Zero && fields.nullable => Value::Null,
            Type::Struct(fields) => {
                let plain = fields.plain.iter();
                let mut all: BTreeMap<_, _> =
                    plain.map(|(name, of)| (name.clone(), self.of(of))).collect();
                for (name, of) in fields.tagged.iter().flatten().map(|(_, field)| field) {
                    if self != Fill::Zero {
                        all.insert(name.clone(), self.of(of));
                    }
                }
                Value::Struct(all)
            }
        }
    }

    fn long(self, text: &str) -> String {
        text.repeat([0, 1, 300, 0][self as usize])
    }
}

/// `value`, completed from `default` where both are structs, and with zeros in lists.
#[must_use]
pub fn complete(value: Value, default: Value, of: &Type) -> Value {
    match (value, default, of) {
        (Value::Struct(given), default, Type::Struct(fields)) => {
            let mut all = match default {
                Value::Struct(all) => all,
                _ => BTreeMap::new(),
            };
            for (name, of) in named(fields) {
                let zero = all.remove(name).unwrap_or_else(|| Fill::Zero.of(of));
                match given.get(name) {
                    Some(value) => all.insert(name.clone(), complete(value.clone(), zero, of)),
                    None if fields.plain.iter().any(|(plain, _)| plain == name) => {
                        all.insert(name.clone(), zero)
                    }
                    None => None,
                };
            }
            Value::Struct(all)
        }
        (Value::List(values), _, Type::List(_, of)) => {
            let zero = Fill::Zero.of(of);
            let done = values.into_iter().map(|value| complete(value, zero.clone(), of));
            Value::List(done.collect())
        }
        (value, ..) => value,
    }
}

/// All fields, tagged ones too.
pub fn named(fields: &Fields) -> impl Iterator<Item = (&String, &Type)> {
    let plain = fields.plain.iter().map(|(name, of)| (name, of));
    plain.chain(fields.tagged.iter().flatten().map(|(_, (name, of))| (name, of)))
}

/// Appends a whole value.
///
/// # Errors
/// When a value is not of its type.
pub fn encode(value: &Value, of: &Type, out: &mut Vec<u8>) -> Result<(), String> {
    match (of, value) {
        (Type::Bool, Value::Bool(value)) => out.push(u8::from(*value)),
        (Type::Int(size, signed), _) => {
            let bits = u32::try_from(*size).expect("at most eight") * 8 - u32::from(*signed);
            let max = u64::MAX >> (64 - bits);
            let number = match value {
                Value::Int(value) => *value,
                Value::Max => max.cast_signed(),
                Value::Min if *signed => max.cast_signed().wrapping_neg() - 1,
                Value::Min => 0,
                other => return Err(format!("{other} is no number")),
            };
            out.extend_from_slice(&number.to_be_bytes()[8 - size..]);
        }
        (Type::Float, Value::Float(value)) => out.extend_from_slice(&value.to_be_bytes()),
        (Type::Uuid, Value::Uuid(value)) => out.extend_from_slice(value),
        (Type::Text(shape), Value::Text(text)) => {
            put_length(*shape, 2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        (Type::Text(shape), Value::Null) => put_null(*shape, 2, out),
        (Type::Bytes(shape), Value::Bytes(bytes)) => {
            put_length(*shape, 4, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        (Type::Bytes(shape) | Type::List(shape, _), Value::Null) => put_null(*shape, 4, out),
        (Type::List(shape, of), Value::List(values)) => {
            put_length(*shape, 4, values.len(), out);
            values.iter().try_for_each(|value| encode(value, of, out))?;
        }
        (Type::Struct(fields), Value::Null) if fields.nullable => out.push(0xff),
        (Type::Struct(fields), Value::Struct(values)) => {
            if fields.nullable {
                out.push(1);
            }
            encode_fields(values, fields, out)?;
        }
        (of, value) => return Err(format!("{value} is not {of:?}")),
    }
    Ok(())
}

fn encode_fields(
    values: &BTreeMap<String, Value>,
    fields: &Fields,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for (name, of) in &fields.plain {
        let value = values.get(name).ok_or_else(|| format!("{name} is missing"))?;
        encode(value, of, out).map_err(|error| format!("{name}: {error}"))?;
    }
    let Some(tagged) = &fields.tagged else { return Ok(()) };
    let there = tagged.iter().filter_map(|(tag, (name, of))| Some((tag, of, values.get(name)?)));
    let there: Vec<_> = there.collect();
    put_uvarint(there.len() as u64, out);
    for (tag, of, value) in there {
        let mut bytes = Vec::new();
        encode(value, of, &mut bytes)?;
        put_uvarint(u64::from(*tag), out);
        put_uvarint(bytes.len() as u64, out);
        out.extend_from_slice(&bytes);
    }
    Ok(())
}

fn put_uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_length(shape: Shape, size: usize, length: usize, out: &mut Vec<u8>) {
    match shape.compact {
        true => put_uvarint(length as u64 + 1, out),
        false => out.extend_from_slice(&(length as u64).to_be_bytes()[8 - size..]),
    }
}

/// Null, also where the type cannot say it: that is a request worth sending.
fn put_null(shape: Shape, size: usize, out: &mut Vec<u8>) {
    match shape.compact {
        true => out.push(0),
        false => out.extend_from_slice(&[0xff; 8][8 - size..]),
    }
}

/// Reads a value from the front of `bytes`.
///
/// # Errors
/// Where the bytes are not what the type says.
pub fn decode(bytes: &mut &[u8], of: &Type) -> Result<Value, String> {
    Ok(match of {
        Type::Bool => Value::Bool(take(bytes, 1)?[0] != 0),
        Type::Int(size, signed) => {
            let taken = take(bytes, *size)?;
            let first = if *signed && taken[0] & 0x80 != 0 { -1i64 } else { 0 };
            Value::Int(taken.iter().fold(first, |number, byte| number << 8 | i64::from(*byte)))
        }
        Type::Float => {
            let taken = take(bytes, 8)?.try_into().expect("eight bytes");
            Value::Float(f64::from_be_bytes(taken))
        }
        Type::Uuid => Value::Uuid(take(bytes, 16)?.try_into().expect("sixteen bytes")),
        Type::Text(shape) => match length(bytes, *shape, 2)? {
            None => Value::Null,
            Some(length) => {
                let text = take(bytes, length)?.to_vec();
                Value::Text(String::from_utf8(text).map_err(|error| error.to_string())?)
            }
        },
        Type::Bytes(shape) => match length(bytes, *shape, 4)? {
            None => Value::Null,
            Some(length) => Value::Bytes(take(bytes, length)?.to_vec()),
        },
        Type::List(shape, of) => match length(bytes, *shape, 4)? {
            None => Value::Null,
            Some(length) => {
                let values = (0..length).map(|_| decode(bytes, of));
                Value::List(values.collect::<Result<_, _>>()?)
            }
        },
        Type::Struct(fields) => {
            if fields.nullable && take(bytes, 1)?[0] & 0x80 != 0 {
                return Ok(Value::Null);
            }
            decode_fields(bytes, fields)?
        }
    })
}

fn decode_fields(bytes: &mut &[u8], fields: &Fields) -> Result<Value, String> {
    let mut all = BTreeMap::new();
    for (name, of) in &fields.plain {
        let value = decode(bytes, of).map_err(|error| format!("{name}: {error}"))?;
        all.insert(name.clone(), value);
    }
    let Some(tagged) = &fields.tagged else { return Ok(Value::Struct(all)) };
    for _ in 0..uvarint(bytes)? {
        let (tag, size) = (uvarint(bytes)?, uvarint(bytes)?);
        let mut value = take(bytes, usize::try_from(size).map_err(|error| error.to_string())?)?;
        let found = u32::try_from(tag).ok().and_then(|tag| tagged.get(&tag));
        match found {
            Some((name, of)) => all.insert(name.clone(), decode(&mut value, of)?),
            None => all.insert(format!("tag {tag}"), Value::Bytes(value.to_vec())),
        };
    }
    Ok(Value::Struct(all))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("the bytes end")?;
    *bytes = rest;
    Ok(taken)
}

fn uvarint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a varint is too long".to_owned())
}

fn length(bytes: &mut &[u8], shape: Shape, size: usize) -> Result<Option<usize>, String> {
    let length = match shape.compact {
        true => i64::try_from(uvarint(bytes)?).map_err(|error| error.to_string())? - 1,
        false => {
            let taken = take(bytes, size)?;
            let first = if taken[0] & 0x80 != 0 { -1i64 } else { 0 };
            taken.iter().fold(first, |number, byte| number << 8 | i64::from(*byte))
        }
    };
    Ok(usize::try_from(length).ok())
}
