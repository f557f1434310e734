//! One declaration for a versioned schema, its codec derived.
//!
//! The macro [`messages!`] takes structs as Kafka's JSON schemas describe them: for each field the
//! first version that has it, its tag when it is a tagged field, its default when that is not the
//! type's own. Used for what the `kafka-protocol` crate does not have: the records of the metadata
//! log and of the coordinators, and control records. Tags that a schema does not know are passed
//! over, or kept where the schema names a field for them.

mod fields;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::json::Json;

/// How a field is written: the message's version, and whether it uses compact lengths and tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Version of the message.
    pub version: i16,
    /// Whether the version is a flexible one (KIP-482).
    pub flexible: bool,
    /// Whether the value is a tagged field itself.
    pub tagged: bool,
}

impl Format {
    fn of(version: i16, flexible_from: i16) -> Format {
        Format { version, flexible: version >= flexible_from, tagged: false }
    }

    /// For what is inside the value.
    pub(crate) fn inside(self) -> Format {
        Format { tagged: false, ..self }
    }

    /// For the value of a tag.
    pub(crate) fn in_tag(self) -> Format {
        Format { tagged: true, ..self }
    }
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

    /// The value in JSON, as Kafka's converters give it for this version of the message.
    fn json(&self, version: i16) -> Json;
}

/// A schema with versions.
pub trait Message: Field + Default {
    /// Kafka's name of the schema.
    const NAME: &'static str;
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
        self.write(writer, Format::of(version, Self::FLEXIBLE_FROM));
    }

    /// Reads a message of `version`.
    ///
    /// # Errors
    /// `UnsupportedVersion`, or that of the first bad field.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Decoded<Self> {
        if !(Self::VERSION_MIN..=Self::VERSION_MAX).contains(&version) {
            return Err(DecodeError::UnsupportedVersion);
        }
        Self::read(reader, Format::of(version, Self::FLEXIBLE_FROM))
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
///         once: i64 = -1 => 1+ ..= 1,
///         tagged: Option<Vec<Uuid>> = None => 2+ tag 1,
///     }
/// }
/// ```
///
/// `flexible: none` is a schema without flexible versions. With `keeps: NAME` the struct gets a
/// field of that name, which holds the tagged fields that the schema does not know.
macro_rules! messages {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        versions: $low:literal ..= $high:literal, flexible: $flexible:tt $(, keeps: $keeps:ident)?;
        $($(#[$fmeta:meta])* $field:ident: $ty:ty $(= $default:expr)? => $min:literal +
            $(..= $max:literal)? $(tag $tag:literal)?),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Debug)]
        $vis struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
            $(/// Tagged fields of a later schema.
            pub $keeps: $crate::message::UnknownTags,)?
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $($field: $crate::message::messages!(@default $($default)?),)*
                    $($keeps: $crate::message::UnknownTags::default(),)?
                }
            }
        }

        impl $crate::message::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSION_MIN: i16 = $low;
            const VERSION_MAX: i16 = $high;
            const FLEXIBLE_FROM: i16 = $crate::message::messages!(@flexible $flexible);
        }

        impl $crate::message::Field for $name {
            const BYTES_MIN: usize = 1;

            #[allow(unused_variables, unused_mut, reason = "a message may have no fields")]
            fn write(&self, writer: &mut $crate::codec::Writer, format: $crate::message::Format) {
                let format = format.inside();
                $(if $crate::message::messages!(@tag $($tag)?).is_none()
                    && $crate::message::messages!(@has $min $($max)?).contains(&format.version)
                {
                    self.$field.write(writer, format);
                })*
                if !format.flexible { return; }
                let defaults = $name::default();
                let mut tags = $crate::message::TagSection::default();
                $(if let Some(tag) = $crate::message::messages!(@tag $($tag)?)
                    && $crate::message::messages!(@has $min $($max)?).contains(&format.version)
                    && self.$field != defaults.$field
                {
                    tags.add(tag, &self.$field, format);
                })*
                $(tags.add_unknown(&self.$keeps);)?
                tags.write(writer);
            }

            #[allow(unused_variables, unused_mut, reason = "a message may have no fields")]
            fn read(
                reader: &mut $crate::codec::Reader<'_>,
                format: $crate::message::Format,
            ) -> Result<$name, $crate::codec::DecodeError> {
                let format = format.inside();
                let mut this = $name::default();
                $(if $crate::message::messages!(@tag $($tag)?).is_none()
                    && $crate::message::messages!(@has $min $($max)?).contains(&format.version)
                {
                    this.$field = $crate::message::Field::read(reader, format)?;
                })*
                if !format.flexible { return Ok(this); }
                for _ in 0..reader.tag_count()? {
                    let (tag, size) = (reader.uvarint()?, reader.uvarint()?);
                    let bytes = reader.take(size as usize)?;
                    let mut value = $crate::codec::Reader::new(bytes);
                    $(if $crate::message::messages!(@tag $($tag)?) == Some(tag)
                        && $crate::message::messages!(@has $min $($max)?).contains(&format.version)
                    {
                        this.$field = $crate::message::Field::read(&mut value, format.in_tag())?;
                        continue;
                    })*
                    $(this.$keeps.push(tag, bytes);)?
                }
                $(this.$keeps.sort();)?
                Ok(this)
            }

            #[allow(unused_variables, unused_mut, reason = "a message may have no fields")]
            fn json(&self, version: i16) -> $crate::json::Json {
                let defaults = $name::default();
                let mut fields = Vec::new();
                $(if $crate::message::messages!(@has $min $($max)?).contains(&version)
                    && ($crate::message::messages!(@tag $($tag)?).is_none()
                        || self.$field != defaults.$field)
                {
                    let name = $crate::json::json_name(stringify!($field));
                    fields.push((name, self.$field.json(version)));
                })*
                $crate::json::Json::Object(fields)
            }
        }
    )*};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@flexible none) => { i16::MAX };
    (@flexible $flexible:literal) => { $flexible };
    (@has $min:literal) => { ($min..=i16::MAX) };
    (@has $min:literal $max:literal) => { ($min..=$max) };
    (@tag) => { None::<u32> };
    (@tag $tag:literal) => { Some::<u32>($tag) };
}

pub(crate) use messages;

/// The tagged fields of a struct that its schema does not know, ascending as on the wire.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct UnknownTags(Vec<(u32, Bytes)>);

impl UnknownTags {
    pub(crate) fn push(&mut self, tag: u32, bytes: &[u8]) {
        self.0.push((tag, Bytes::copy_from_slice(bytes)));
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|(tag, _)| *tag);
    }

    /// Tags and values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.0.iter().map(|(tag, bytes)| (*tag, bytes.as_ref()))
    }
}

/// The tagged fields of a struct while it is written; they leave in ascending order.
#[derive(Default)]
pub(crate) struct TagSection {
    fields: Vec<(u32, Vec<u8>)>,
}

impl TagSection {
    pub(crate) fn add(&mut self, tag: u32, value: &impl Field, format: Format) {
        let mut writer = Writer::new();
        value.write(&mut writer, format.in_tag());
        self.fields.push((tag, writer.into_bytes()));
    }

    pub(crate) fn add_unknown(&mut self, unknown: &UnknownTags) {
        self.fields.extend(unknown.iter().map(|(tag, bytes)| (tag, bytes.to_vec())));
    }

    pub(crate) fn write(mut self, writer: &mut Writer) {
        self.fields.sort_by_key(|(tag, _)| *tag);
        writer.uvarint(self.fields.len() as u32);
        for (tag, bytes) in self.fields {
            writer.uvarint(tag);
            writer.uvarint(bytes.len() as u32);
            writer.raw(&bytes);
        }
    }
}
