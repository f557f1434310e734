//! Reading and writing Kafka's primitive types.
//!
//! A [`Reader`] never reads past its end, never allocates by a length it has not compared with
//! what is left, and keeps its position, so that callers can cut shared buffers instead of copying.

use std::fmt;
use std::ops::Range;

use ottla_types::Uuid;

/// Bytes that are not what the schema says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end inside a field.
    Truncated,
    /// A variable-length number has too many bytes.
    BadVarint,
    /// A length is negative where null is not allowed, or smaller than -1.
    BadLength,
    /// A string is not UTF-8.
    BadUtf8,
    /// An array claims more elements than could follow.
    TooManyElements,
    /// The schema has no such version.
    UnsupportedVersion,
    /// Bytes are left behind the last field where none may be.
    TrailingBytes,
    /// A value that the schema does not know, such as the type of a record.
    UnknownValue,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "the bytes end inside a field",
            DecodeError::BadVarint => "a variable-length number is too long",
            DecodeError::BadLength => "a length is out of range",
            DecodeError::BadUtf8 => "a string is not UTF-8",
            DecodeError::TooManyElements => "an array claims more elements than follow",
            DecodeError::UnsupportedVersion => "the version is not supported",
            DecodeError::TrailingBytes => "bytes are left behind the last field",
            DecodeError::UnknownValue => "a value is not known",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Result of reading.
pub type Decoded<T> = Result<T, DecodeError>;

/// Reads fields from a slice, from front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// Declares readers of big-endian integers.
macro_rules! read_integers {
    ($($name:ident: $int:ty;)*) => {$(
        /// Reads a big-endian integer.
        ///
        /// # Errors
        /// `Truncated`.
        pub fn $name(&mut self) -> Decoded<$int> {
            let bytes = self.take(size_of::<$int>())?;
            Ok(<$int>::from_be_bytes(bytes.try_into().expect("taken with this size")))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// A reader at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let range = self.take_range(count)?;
        Ok(&self.bytes[range])
    }

    /// Passes over `count` bytes and tells where they are.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn take_range(&mut self, count: usize) -> Decoded<Range<usize>> {
        if count > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let start = self.position;
        self.position += count;
        Ok(start..self.position)
    }

    read_integers! {
        i8: i8;
        u8: u8;
        i16: i16;
        u16: u16;
        i32: i32;
        u32: u32;
        i64: i64;
        f64_bits: u64;
    }

    /// Reads an unsigned variable-length number (base 128, at most 5 bytes).
    ///
    /// # Errors
    /// `Truncated`; `BadVarint` above 32 bits.
    pub fn uvarint(&mut self) -> Decoded<u32> {
        u32::try_from(self.base128(5)?).map_err(|_| DecodeError::BadVarint)
    }

    /// Reads a zig-zag variable-length `int`.
    ///
    /// # Errors
    /// `Truncated`; `BadVarint` above 32 bits.
    pub fn varint(&mut self) -> Decoded<i32> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// Reads a zig-zag variable-length `long` (at most 10 bytes).
    ///
    /// # Errors
    /// `Truncated`; `BadVarint` above 64 bits.
    pub fn varlong(&mut self) -> Decoded<i64> {
        let raw = self.base128(10)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn base128(&mut self, bytes_max: u32) -> Decoded<u64> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(DecodeError::BadVarint);
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadVarint)
    }

    /// Reads a UUID.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn uuid(&mut self) -> Decoded<Uuid> {
        Ok(Uuid(self.take(16)?.try_into().expect("taken with this size")))
    }

    /// Reads the length of a string: two bytes, or a compact one; `None` for null.
    ///
    /// # Errors
    /// `Truncated`, `BadVarint`, `BadLength`.
    pub fn string_len(&mut self, flexible: bool) -> Decoded<Option<usize>> {
        if flexible { self.compact_len() } else { nullable_len(i32::from(self.i16()?)) }
    }

    /// Reads the length of bytes or the count of an array: four bytes, or a compact one; `None`
    /// for null.
    ///
    /// # Errors
    /// `Truncated`, `BadVarint`, `BadLength`.
    pub fn len(&mut self, flexible: bool) -> Decoded<Option<usize>> {
        if flexible { self.compact_len() } else { nullable_len(self.i32()?) }
    }

    fn compact_len(&mut self) -> Decoded<Option<usize>> {
        let raw = self.uvarint()?;
        // Java reads the length as an int, so that nothing above 2^31 - 1 is one.
        if raw > i32::MAX as u32 {
            return Err(DecodeError::BadLength);
        }
        Ok((raw as usize).checked_sub(1))
    }

    /// Reads the count of an array whose elements take at least `element_min` bytes each.
    ///
    /// # Errors
    /// Those of [`Reader::len`]; `TooManyElements` when so many cannot follow.
    pub fn array_len(&mut self, flexible: bool, element_min: usize) -> Decoded<Option<usize>> {
        let Some(count) = self.len(flexible)? else { return Ok(None) };
        if count > self.remaining() / element_min.max(1) {
            return Err(DecodeError::TooManyElements);
        }
        Ok(Some(count))
    }

    /// Reads a string; `None` for null.
    ///
    /// # Errors
    /// Those of [`Reader::string_len`]; `BadUtf8`.
    pub fn nullable_str(&mut self, flexible: bool) -> Decoded<Option<&'a str>> {
        let Some(len) = self.string_len(flexible)? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::BadUtf8)?;
        Ok(Some(text))
    }

    /// Passes over a section of tagged fields.
    ///
    /// # Errors
    /// `Truncated`, `BadVarint`, `TooManyElements`.
    pub fn skip_tags(&mut self) -> Decoded<()> {
        for _ in 0..self.tag_count()? {
            let _tag = self.uvarint()?;
            let size = self.uvarint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }

    /// Reads the number of tagged fields in a section. Each takes two bytes at least.
    ///
    /// # Errors
    /// `Truncated`, `BadVarint`, `TooManyElements`.
    pub fn tag_count(&mut self) -> Decoded<u32> {
        let count = self.uvarint()?;
        if count as usize > self.remaining() / 2 {
            return Err(DecodeError::TooManyElements);
        }
        Ok(count)
    }
}

/// -1 is null, below it there is nothing.
fn nullable_len(len: i32) -> Decoded<Option<usize>> {
    match len {
        -1 => Ok(None),
        len => usize::try_from(len).map(Some).map_err(|_| DecodeError::BadLength),
    }
}

/// Writes fields to the end of a vector.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// Declares writers of big-endian integers.
macro_rules! write_integers {
    ($($name:ident: $int:ty;)*) => {$(
        /// Writes a big-endian integer.
        pub fn $name(&mut self, value: $int) {
            self.raw(&value.to_be_bytes());
        }
    )*};
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    /// Bytes written so far.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "only the length is ever asked")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written so far, to be patched in place.
    pub fn written(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    write_integers! {
        i8: i8;
        u8: u8;
        i16: i16;
        u16: u16;
        i32: i32;
        u32: u32;
        i64: i64;
        f64_bits: u64;
    }

    /// Writes an unsigned variable-length number.
    pub fn uvarint(&mut self, value: u32) {
        self.base128(u64::from(value));
    }

    /// Writes a zig-zag variable-length `int`.
    pub fn varint(&mut self, value: i32) {
        self.base128(u64::from(((value << 1) ^ (value >> 31)) as u32));
    }

    /// Writes a zig-zag variable-length `long`.
    pub fn varlong(&mut self, value: i64) {
        self.base128(((value << 1) ^ (value >> 63)) as u64);
    }

    fn base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Writes a UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// Writes a string; `None` as null.
    pub fn nullable_str(&mut self, value: Option<&str>, flexible: bool) {
        match (value, flexible) {
            (None, true) => self.uvarint(0),
            (None, false) => self.i16(-1),
            (Some(text), true) => self.uvarint(compact(text.len())),
            (Some(text), false) => {
                self.i16(i16::try_from(text.len()).expect("strings on the wire are below 32 KiB"));
            }
        }
        self.raw(value.unwrap_or_default().as_bytes());
    }

    /// Writes the length of bytes or the count of an array; `None` as null.
    pub fn len_field(&mut self, len: Option<usize>, flexible: bool) {
        match (len, flexible) {
            (None, true) => self.uvarint(0),
            (None, false) => self.i32(-1),
            (Some(len), true) => self.uvarint(compact(len)),
            (Some(len), false) => self.i32(i32::try_from(len).expect("below 2 GiB")),
        }
    }
}

/// A compact length: one more than the length, as 0 is null.
fn compact(len: usize) -> u32 {
    u32::try_from(len + 1).expect("below 2 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_zig_zag_base_128() {
        let check = |value: i64, bytes: &[u8]| {
            let mut writer = Writer::new();
            writer.varlong(value);
            assert_eq!(writer.into_bytes(), bytes);
            assert_eq!(Reader::new(bytes).varlong(), Ok(value));
            if let Ok(value) = i32::try_from(value) {
                assert_eq!(Reader::new(bytes).varint(), Ok(value));
            }
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(63, &[0x7e]);
        check(64, &[0x80, 1]);
        check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn overlong_numbers_are_refused() {
        assert_eq!(Reader::new(&[0x80; 5]).uvarint(), Err(DecodeError::BadVarint));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint(),
            Err(DecodeError::BadVarint)
        );
        assert_eq!(Reader::new(&[0xff; 10]).varlong(), Err(DecodeError::BadVarint));
        assert_eq!(Reader::new(&[0x80]).uvarint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn arrays_cannot_claim_more_than_follows() {
        let claims_a_billion = [0x3b, 0x9a, 0xca, 0x00, 1, 2, 3, 4];
        let mut reader = Reader::new(&claims_a_billion);
        assert_eq!(reader.array_len(false, 1), Err(DecodeError::TooManyElements));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 9]).array_len(false, 1), Ok(Some(1)));
        assert_eq!(Reader::new(&[0xff; 4]).array_len(false, 1), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).len(false), Err(DecodeError::BadLength));
    }
}
