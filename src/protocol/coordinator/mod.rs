//! The records that coordinators keep in their topics: groups and offsets, transactions, the state
//! of share groups.
//!
//! A record's key is its type, two bytes, then the key's message. Its value is a version, two
//! bytes, then the value's message in that version; a null value deletes what the key names. Key
//! and value of a type belong together, so that a record of a wrong pair cannot be written. Which
//! version is written is the coordinator's decision; a record of a type that is not known is told
//! apart, because a coordinator passes over it and leaves it in the log.
//!
//! Bytes behind a message are passed over, as in Kafka (`CoordinatorRecordSerde`).

pub mod group;
pub mod share;
pub mod transaction;

use std::fmt;

use crate::codec::{DecodeError, Reader};
use crate::json::Json;
use crate::message::Message;

/// Why a record of a coordinator cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// No such type: written by a later version.
    UnknownType(i16),
    /// The type has no such version: written by a later version.
    UnknownVersion {
        /// Name of the schema.
        name: &'static str,
        /// Its version.
        version: i16,
        /// Whether it is the key's.
        part: Part,
    },
    /// Bytes that are not what the schema says.
    Bad {
        /// What is wrong.
        error: DecodeError,
        /// Version that was read; `None` when even that is missing.
        version: Option<i16>,
        /// Where.
        part: Part,
    },
}

/// A part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::UnknownType(number) => write!(f, "Found an unknown record type {number}"),
            RecordError::UnknownVersion { name, version, part } => write!(
                f,
                "Could not read record with version {version} from {part}'s buffer due to: \
                 Can't read version {version} of {name}."
            ),
            RecordError::Bad { error, version: Some(version), part } => write!(
                f,
                "Could not read record with version {version} from {part}'s buffer due to: {error}."
            ),
            RecordError::Bad { part, .. } => {
                write!(f, "Could not read version from {part}'s buffer.")
            }
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordError::Bad { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The number in front of a key or value.
fn front(reader: &mut Reader<'_>, part: Part) -> Result<i16, RecordError> {
    reader.i16().map_err(|error| RecordError::Bad { error, version: None, part })
}

/// Reads a message of `version`; `shown` is the number that stands in front of it.
fn body<T: Message>(
    reader: &mut Reader<'_>,
    version: i16,
    shown: i16,
    part: Part,
) -> Result<T, RecordError> {
    T::decode(reader, version).map_err(|error| match error {
        DecodeError::UnsupportedVersion => {
            RecordError::UnknownVersion { name: T::NAME, version, part }
        }
        error => RecordError::Bad { error, version: Some(shown), part },
    })
}

/// Reads a value in its version.
fn value<T: Message>(bytes: Option<&[u8]>) -> Result<Option<(T, i16)>, RecordError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let mut reader = Reader::new(bytes);
    let version = front(&mut reader, Part::Value)?;
    let value = body(&mut reader, version, version, Part::Value)?;
    Ok(Some((value, version)))
}

/// A record's key and value in JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordJson {
    /// The key.
    pub key: Json,
    /// The value; `None` when the record deletes.
    pub value: Option<Json>,
}

/// Declares the enum over a coordinator's record types.
macro_rules! coordinator_records {
    ($(#[$meta:meta])* $name:ident {
        $($number:literal => $variant:ident($key:ident, $value:ident),)*
    }) => {
        $(#[$meta])*
        ///
        /// Each variant is a key and its value; `None` deletes what the key names.
        #[derive(Clone, PartialEq, Debug)]
        pub enum $name {
            $(#[doc = concat!("Type ", stringify!($number), ".")]
            $variant($key, Option<$value>),)*
        }

        $(impl $key {
            /// Number of the type of records with such a key.
            pub const TYPE: i16 = $number;
        })*

        impl $name {
            /// Numbers of all types.
            pub const TYPES: &'static [i16] = &[$($number,)*];

            /// Number of the record's type.
            #[must_use]
            pub fn type_number(&self) -> i16 {
                match self { $($name::$variant(..) => $number,)* }
            }

            /// Versions of the value of this record's type.
            #[must_use]
            pub fn value_versions(&self) -> std::ops::RangeInclusive<i16> {
                use $crate::message::Message;
                match self {
                    $($name::$variant(..) => $value::VERSION_MIN..=$value::VERSION_MAX,)*
                }
            }

            /// Key and value as they are written, the value in `version`.
            ///
            /// # Panics
            /// When the value has no such version.
            #[must_use]
            pub fn encode(&self, version: i16) -> (Vec<u8>, Option<Vec<u8>>) {
                use $crate::message::Message;
                let mut key_writer = $crate::codec::Writer::new();
                key_writer.i16(self.type_number());
                let value = match self {
                    $($name::$variant(key, value) => {
                        key.encode(&mut key_writer, 0);
                        value.as_ref().map(|value| {
                            let mut writer = $crate::codec::Writer::new();
                            writer.i16(version);
                            value.encode(&mut writer, version);
                            writer.into_bytes()
                        })
                    })*
                };
                (key_writer.into_bytes(), value)
            }

            /// Reads a record: with it comes the version of its value, if it has one.
            ///
            /// # Errors
            /// A type or version that is not known; what is wrong with the bytes.
            pub fn decode(
                key: &[u8],
                value: Option<&[u8]>,
            ) -> Result<($name, Option<i16>), $crate::coordinator::RecordError> {
                use $crate::coordinator::Part;
                let mut reader = $crate::codec::Reader::new(key);
                let number = $crate::coordinator::front(&mut reader, Part::Key)?;
                Ok(match number {
                    $($number => {
                        let key = $crate::coordinator::body(&mut reader, 0, number, Part::Key)?;
                        let value = $crate::coordinator::value(value)?;
                        let version = value.as_ref().map(|(_, version)| *version);
                        ($name::$variant(key, value.map(|(value, _)| value)), version)
                    })*
                    _ => return Err($crate::coordinator::RecordError::UnknownType(number)),
                })
            }

            /// Key and value in JSON, the value in `version`.
            #[must_use]
            pub fn json(&self, version: i16) -> $crate::coordinator::RecordJson {
                use $crate::message::Field;
                match self {
                    $($name::$variant(key, value) => $crate::coordinator::RecordJson {
                        key: key.json(0),
                        value: value.as_ref().map(|value| value.json(version)),
                    },)*
                }
            }
        }
    };
}

pub(crate) use coordinator_records;

#[cfg(test)]
mod tests;
