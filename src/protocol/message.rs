//! One declaration for a versioned schema, its codec derived.
//!
//! The macro [`messages!`] takes structs as Kafka's JSON schemas describe them: for each field the
//! first version that has it, its tag when it is a tagged field, its default when that is not the
//! type's own. Used for what the `kafka-protocol` crate does not have: the records of the metadata
//! log and of the coordinators, and control records.

use bytes::Bytes;
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, ProducerEpoch,
    ProducerId, Timestamp, TopicName, Uuid,
};

use crate::codec::{DecodeError, Decoded, Reader, Writer};

/// How a field is written: the message's version, and whether it uses compact lengths and tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Version of the message.
    pub version: i16,
    /// Whether the version is a flexible one (KIP-482).
    pub flexible: bool,
}

/// A type that can be a field.
pub trait Field: Sized {
    /// Fewest bytes a value takes, for bounding arrays.
    const BYTES_MIN: usize;

    /// Appends the value.
    fn write(&self, writer: &mut Writer, format: Format);

    /// Reads a value.
    ///
    /// # Errors
    /// When the bytes are not a value of this type.
    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Self>;
}

/// A schema with versions.
pub trait Message: Field + Default {
    /// Oldest version that can be read and written.
    const VERSION_MIN: i16;
    /// Newest version that can be read and written.
    const VERSION_MAX: i16;
    /// First flexible version.
    const FLEXIBLE_FROM: i16;

    /// Appends the message in `version`.
    ///
    /// Panics when the schema has no such version: versions are chosen by the writer.
    fn encode(&self, writer: &mut Writer, version: i16) {
        assert!((Self::VERSION_MIN..=Self::VERSION_MAX).contains(&version), "version {version}");
        self.write(writer, Format { version, flexible: version >= Self::FLEXIBLE_FROM });
    }

    /// Reads a message of `version`.
    ///
    /// # Errors
    /// `UnsupportedVersion`, or that of the first bad field.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Decoded<Self> {
        if !(Self::VERSION_MIN..=Self::VERSION_MAX).contains(&version) {
            return Err(DecodeError::UnsupportedVersion);
        }
        Self::read(reader, Format { version, flexible: version >= Self::FLEXIBLE_FROM })
    }
}

/// Declares structs with a versioned schema:
///
/// ```text
/// messages! {
///     /// What it is.
///     pub struct Name { versions: 0..=2, flexible: 0;
///         plain: i32 => 0+,
///         with_default: i32 = -1 => 1+,
///         tagged: Option<Vec<Uuid>> = None => 2+ tag 1,
///     }
/// }
/// ```
macro_rules! messages {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        versions: $low:literal ..= $high:literal, flexible: $flexible:literal;
        $($(#[$fmeta:meta])* $field:ident: $ty:ty $(= $default:expr)? => $min:literal +
            $(tag $tag:literal)?),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Debug)]
        $vis struct $name { $($(#[$fmeta])* pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $crate::message::messages!(@default $($default)?),)* }
            }
        }

        impl $crate::message::Message for $name {
            const VERSION_MIN: i16 = $low;
            const VERSION_MAX: i16 = $high;
            const FLEXIBLE_FROM: i16 = $flexible;
        }

        impl $crate::message::Field for $name {
            const BYTES_MIN: usize = 1;

            #[allow(unused_variables, unused_mut, reason = "a message may have no fields")]
            fn write(&self, writer: &mut $crate::codec::Writer, format: $crate::message::Format) {
                $(if $crate::message::messages!(@tag $($tag)?).is_none() && format.version >= $min {
                    self.$field.write(writer, format);
                })*
                if !format.flexible { return; }
                let defaults = $name::default();
                let mut tags = $crate::message::TagSection::default();
                $(if let Some(tag) = $crate::message::messages!(@tag $($tag)?)
                    && format.version >= $min
                    && self.$field != defaults.$field
                {
                    tags.add(tag, &self.$field, format);
                })*
                tags.write(writer);
            }

            #[allow(unused_variables, unused_mut, reason = "a message may have no fields")]
            fn read(
                reader: &mut $crate::codec::Reader<'_>,
                format: $crate::message::Format,
            ) -> Result<$name, $crate::codec::DecodeError> {
                let mut this = $name::default();
                $(if $crate::message::messages!(@tag $($tag)?).is_none() && format.version >= $min {
                    this.$field = $crate::message::Field::read(reader, format)?;
                })*
                if !format.flexible { return Ok(this); }
                for _ in 0..reader.tag_count()? {
                    let (tag, size) = (reader.uvarint()?, reader.uvarint()?);
                    let mut value = $crate::codec::Reader::new(reader.take(size as usize)?);
                    $(if $crate::message::messages!(@tag $($tag)?) == Some(tag)
                        && format.version >= $min
                    {
                        this.$field = $crate::message::Field::read(&mut value, format)?;
                    })*
                }
                Ok(this)
            }
        }
    )*};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@tag) => { None::<u32> };
    (@tag $tag:literal) => { Some::<u32>($tag) };
}

pub(crate) use messages;

/// The tagged fields of a struct while it is written; they leave in ascending order.
#[derive(Default)]
pub(crate) struct TagSection {
    fields: Vec<(u32, Vec<u8>)>,
}

impl TagSection {
    pub(crate) fn add(&mut self, tag: u32, value: &impl Field, format: Format) {
        let mut writer = Writer::new();
        value.write(&mut writer, format);
        self.fields.push((tag, writer.into_bytes()));
    }

    pub(crate) fn write(mut self, writer: &mut Writer) {
        self.fields.sort();
        writer.uvarint(self.fields.len() as u32);
        for (tag, bytes) in self.fields {
            writer.uvarint(tag);
            writer.uvarint(bytes.len() as u32);
            writer.raw(&bytes);
        }
    }
}

/// Implements [`Field`] for types that have a reader and a writer of their own.
macro_rules! plain_fields {
    ($(
        $ty:ty, $bytes:literal,
        |$value:ident| $encode:expr, $method:ident, |$raw:ident| $decode:expr;
    )*) => {$(
        impl Field for $ty {
            const BYTES_MIN: usize = $bytes;

            fn write(&self, writer: &mut Writer, _: Format) {
                let $value = *self;
                writer.$method($encode);
            }

            fn read(reader: &mut Reader<'_>, _: Format) -> Decoded<$ty> {
                let $raw = reader.$method()?;
                Ok($decode)
            }
        }
    )*};
}

plain_fields! {
    bool, 1, |value| i8::from(value), i8, |raw| raw != 0;
    i8, 1, |value| value, i8, |raw| raw;
    i16, 2, |value| value, i16, |raw| raw;
    u16, 2, |value| value, u16, |raw| raw;
    i32, 4, |value| value, i32, |raw| raw;
    i64, 8, |value| value, i64, |raw| raw;
    f64, 8, |value| value.to_bits(), f64_bits, |raw| f64::from_bits(raw);
    Uuid, 16, |value| value, uuid, |raw| raw;
    NodeId, 4, |value| value.0, i32, |raw| NodeId(raw);
    PartitionId, 4, |value| value.0, i32, |raw| PartitionId(raw);
    LeaderEpoch, 4, |value| value.0, i32, |raw| LeaderEpoch(raw);
    PartitionEpoch, 4, |value| value.0, i32, |raw| PartitionEpoch(raw);
    Offset, 8, |value| value.0, i64, |raw| Offset(raw);
    BrokerEpoch, 8, |value| value.0, i64, |raw| BrokerEpoch(raw);
    ProducerId, 8, |value| value.0, i64, |raw| ProducerId(raw);
    ProducerEpoch, 2, |value| value.0, i16, |raw| ProducerEpoch(raw);
    Timestamp, 8, |value| value.0, i64, |raw| Timestamp(raw);
}

/// Implements [`Field`] for a type of text and its nullable form.
macro_rules! text_fields {
    ($($ty:ty, |$text:ident| $from:expr;)*) => {$(
        impl Field for $ty {
            const BYTES_MIN: usize = 1;

            fn write(&self, writer: &mut Writer, format: Format) {
                writer.nullable_str(Some(self), format.flexible);
            }

            fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<$ty> {
                let $text = reader.nullable_str(format.flexible)?.ok_or(DecodeError::BadLength)?;
                Ok($from)
            }
        }

        impl Field for Option<$ty> {
            const BYTES_MIN: usize = 1;

            fn write(&self, writer: &mut Writer, format: Format) {
                writer.nullable_str(self.as_deref(), format.flexible);
            }

            fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Option<$ty>> {
                Ok(reader.nullable_str(format.flexible)?.map(|$text| $from))
            }
        }
    )*};
}

text_fields! {
    String, |text| text.to_owned();
    TopicName, |text| TopicName::from(text);
}

impl Field for Bytes {
    const BYTES_MIN: usize = 1;

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.len_field(Some(self.len()), format.flexible);
        writer.raw(self);
    }

    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Bytes> {
        let len = reader.len(format.flexible)?.ok_or(DecodeError::BadLength)?;
        Ok(Bytes::copy_from_slice(reader.take(len)?))
    }
}

impl<T: Field> Field for Vec<T> {
    const BYTES_MIN: usize = 1;

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.len_field(Some(self.len()), format.flexible);
        self.iter().for_each(|element| element.write(writer, format));
    }

    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Vec<T>> {
        <Option<Vec<T>>>::read(reader, format)?.ok_or(DecodeError::BadLength)
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    const BYTES_MIN: usize = 1;

    fn write(&self, writer: &mut Writer, format: Format) {
        match self {
            Some(elements) => elements.write(writer, format),
            None => writer.len_field(None, format.flexible),
        }
    }

    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Option<Vec<T>>> {
        let Some(count) = reader.array_len(format.flexible, T::BYTES_MIN)? else { return Ok(None) };
        (0..count).map(|_| T::read(reader, format)).collect::<Decoded<Vec<T>>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    messages! {
        struct Inner { versions: 0..=1, flexible: 1; name: String => 0+, }
        struct Sample { versions: 0..=1, flexible: 1;
            id: i32 = -1 => 0+,
            late: i8 => 1+,
            inner: Vec<Inner> => 0+,
            last_tag: Option<Vec<i32>> = None => 1+ tag 7,
            first_tag: Option<String> = None => 1+ tag 2,
        }
    }

    fn sample() -> Sample {
        let inner = vec![Inner { name: "a".into() }];
        Sample { id: 5, late: 3, inner, last_tag: Some(vec![1]), first_tag: Some("t".into()) }
    }

    fn encoded(message: &Sample, version: i16) -> Vec<u8> {
        let mut writer = Writer::new();
        message.encode(&mut writer, version);
        writer.into_bytes()
    }

    #[test]
    fn versions_choose_fields_and_their_form() {
        assert_eq!(encoded(&sample(), 0), [0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b'a']);
        let flexible = [
            0, 0, 0, 5, 3, 2, 2, b'a', 0, // fields, one inner struct with its empty tags
            2, 2, 2, 2, b't', 7, 5, 2, 0, 0, 0, 1, // two tags, ascending
        ];
        assert_eq!(encoded(&sample(), 1), flexible);
        assert_eq!(Sample::decode(&mut Reader::new(&flexible), 1), Ok(sample()));
        assert_eq!(encoded(&Sample::default(), 1), [255, 255, 255, 255, 0, 1, 0]);
    }

    #[test]
    fn unknown_tags_are_passed_over() {
        let bytes = [0, 0, 0, 5, 3, 1, 1, 99, 2, 0xaa, 0xbb];
        let read = Sample::decode(&mut Reader::new(&bytes), 1).expect("valid");
        assert_eq!(read, Sample { id: 5, late: 3, ..Sample::default() });
    }

    #[test]
    fn bad_bytes_are_errors() {
        assert_eq!(
            Sample::decode(&mut Reader::new(&[0; 3]), 2),
            Err(DecodeError::UnsupportedVersion)
        );
        let bytes = encoded(&sample(), 1);
        for len in 0..bytes.len() {
            assert!(Sample::decode(&mut Reader::new(&bytes[..len]), 1).is_err(), "{len}");
        }
    }
}
