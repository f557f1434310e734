//! What a field of a message can be: Kafka's primitive types, the newtypes over them, texts, bytes,
//! arrays and structs that may be null.

use bytes::Bytes;
use ottla_types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, ProducerEpoch,
    ProducerId, Timestamp, TopicName, Uuid,
};

use super::{Field, Format, Message};
use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::json::Json;

/// Implements [`Field`] for types that have a reader and a writer of their own.
macro_rules! plain_fields {
    ($(
        $ty:ty, $bytes:literal,
        |$value:ident| $encode:expr, $method:ident, |$raw:ident| $decode:expr, $json:expr;
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

            fn json(&self, _: i16) -> Json {
                let $value = *self;
                $json
            }
        }
    )*};
}

plain_fields! {
    bool, 1, |value| i8::from(value), i8, |raw| raw != 0,
        Json::Bool(value);
    i8, 1, |value| value, i8, |raw| raw,
        Json::Integer(i64::from(value));
    i16, 2, |value| value, i16, |raw| raw,
        Json::Integer(i64::from(value));
    u16, 2, |value| value, u16, |raw| raw,
        Json::Integer(i64::from(value));
    i32, 4, |value| value, i32, |raw| raw,
        Json::Integer(i64::from(value));
    i64, 8, |value| value, i64, |raw| raw,
        Json::Integer(value);
    f64, 8, |value| value.to_bits(), f64_bits, |raw| f64::from_bits(raw),
        Json::Double(value);
    Uuid, 16, |value| value, uuid, |raw| raw,
        Json::Text(value.to_string());
    NodeId, 4, |value| value.0, i32, |raw| NodeId(raw),
        Json::Integer(i64::from(value.0));
    PartitionId, 4, |value| value.0, i32, |raw| PartitionId(raw),
        Json::Integer(i64::from(value.0));
    LeaderEpoch, 4, |value| value.0, i32, |raw| LeaderEpoch(raw),
        Json::Integer(i64::from(value.0));
    PartitionEpoch, 4, |value| value.0, i32, |raw| PartitionEpoch(raw),
        Json::Integer(i64::from(value.0));
    Offset, 8, |value| value.0, i64, |raw| Offset(raw),
        Json::Integer(value.0);
    BrokerEpoch, 8, |value| value.0, i64, |raw| BrokerEpoch(raw),
        Json::Integer(value.0);
    ProducerId, 8, |value| value.0, i64, |raw| ProducerId(raw),
        Json::Integer(value.0);
    ProducerEpoch, 2, |value| value.0, i16, |raw| ProducerEpoch(raw),
        Json::Integer(i64::from(value.0));
    Timestamp, 8, |value| value.0, i64, |raw| Timestamp(raw),
        Json::Integer(value.0);
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

            fn json(&self, _: i16) -> Json {
                Json::Text(self.to_string())
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

            fn json(&self, version: i16) -> Json {
                self.as_ref().map_or(Json::Null, |text| text.json(version))
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

    fn json(&self, _: i16) -> Json {
        Json::bytes(self)
    }
}

impl Field for Option<Bytes> {
    const BYTES_MIN: usize = 1;

    fn write(&self, writer: &mut Writer, format: Format) {
        match self {
            Some(bytes) => bytes.write(writer, format),
            None => writer.len_field(None, format.flexible),
        }
    }

    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Option<Bytes>> {
        let Some(len) = reader.len(format.flexible)? else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(reader.take(len)?)))
    }

    fn json(&self, version: i16) -> Json {
        self.as_ref().map_or(Json::Null, |bytes| bytes.json(version))
    }
}

/// A struct that may be null has a byte in front: 1, or -1 for null. As a tagged field it has 0 for
/// null.
impl<T: Message> Field for Option<T> {
    const BYTES_MIN: usize = 1;

    fn write(&self, writer: &mut Writer, format: Format) {
        match self {
            Some(message) => {
                writer.i8(1);
                message.write(writer, format);
            }
            None => writer.i8(if format.tagged { 0 } else { -1 }),
        }
    }

    fn read(reader: &mut Reader<'_>, format: Format) -> Decoded<Option<T>> {
        // Java takes any negative number for null.
        let is_null = if format.tagged { reader.uvarint()? == 0 } else { reader.i8()? < 0 };
        if is_null { Ok(None) } else { T::read(reader, format).map(Some) }
    }

    fn json(&self, version: i16) -> Json {
        self.as_ref().map_or(Json::Null, |message| message.json(version))
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

    fn json(&self, version: i16) -> Json {
        Json::Array(self.iter().map(|element| element.json(version)).collect())
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

    fn json(&self, version: i16) -> Json {
        self.as_ref().map_or(Json::Null, |elements| elements.json(version))
    }
}
