//! Walking over records without keeping them: from a slice, or from a decompressor piece by piece.
//!
//! A walk knows the length of every part and touches no content, so that a record of any size
//! needs a window of fixed size only. [`Records`](super::Records) reads what a walk let pass; what
//! a walk refuses, Kafka's readers (`DefaultRecord`) refuse too, or read in two ways.

use std::fmt;
use std::io;
use std::ops::Range;

use crate::codec::DecodeError;
use crate::compression::{DecompressError, Decompressor};

/// Why a walk ended early.
#[derive(Debug)]
pub enum WalkError {
    /// A record is not what the format says.
    Record(DecodeError),
    /// The records could not be decompressed.
    Decompress(DecompressError),
    /// The records could not be compressed again.
    Compress(io::Error),
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::Record(error) => error.fmt(f),
            WalkError::Decompress(error) => error.fmt(f),
            WalkError::Compress(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WalkError {}

impl From<DecodeError> for WalkError {
    fn from(error: DecodeError) -> WalkError {
        WalkError::Record(error)
    }
}

impl From<DecompressError> for WalkError {
    fn from(error: DecompressError) -> WalkError {
        WalkError::Decompress(error)
    }
}

/// Result of a walk.
pub type Walked<T> = Result<T, WalkError>;

/// Where a walk takes its bytes from.
pub trait RecordBytes {
    /// The next byte.
    ///
    /// # Errors
    /// `Truncated` at the end; those of the source.
    fn byte(&mut self) -> Walked<u8>;

    /// Passes over bytes.
    ///
    /// # Errors
    /// `Truncated` at the end; those of the source.
    fn skip(&mut self, count: usize) -> Walked<()>;

    /// Bytes passed so far.
    fn position(&self) -> u64;

    /// Whether nothing is left.
    ///
    /// # Errors
    /// Those of the source.
    fn is_at_end(&mut self) -> Walked<bool>;

    /// Passes over the next record.
    ///
    /// # Errors
    /// When it is none.
    #[inline]
    fn record(&mut self) -> Walked<(RecordFront, RecordBody)>
    where
        Self: Sized,
    {
        let front = RecordFront::read(self)?;
        let body = RecordBody::read(self, &front)?;
        Ok((front, body))
    }

    /// A zig-zag variable-length `int`.
    ///
    /// # Errors
    /// `Truncated`; `BadVarint` above 32 bits, of which some readers would drop some.
    #[inline]
    fn varint(&mut self) -> Walked<i32> {
        let first = self.byte()?;
        let mut raw = u32::from(first & 0x7f);
        if first & 0x80 != 0 {
            raw = u32::try_from(self.base128(u64::from(raw), 5)?)
                .map_err(|_| DecodeError::BadVarint)?;
        }
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zig-zag variable-length `long`.
    ///
    /// # Errors
    /// `Truncated`; `BadVarint` above 64 bits.
    #[inline]
    fn varlong(&mut self) -> Walked<i64> {
        let first = self.byte()?;
        let mut raw = u64::from(first & 0x7f);
        if first & 0x80 != 0 {
            raw = self.base128(raw, 10)?;
        }
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// The rest of a number whose first seven bits are known.
    ///
    /// # Errors
    /// `Truncated`, `BadVarint`.
    fn base128(&mut self, mut value: u64, bytes_max: u32) -> Walked<u64> {
        for index in 1..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadVarint.into())
    }
}

/// The front of a record: what comes before its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordFront {
    /// Bytes of the record behind its length.
    pub len: usize,
    /// Where these begin.
    pub start: u64,
    /// Its time less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
}

impl RecordFront {
    /// Reads the front of the next record.
    ///
    /// # Errors
    /// When it is none.
    #[inline]
    pub fn read(bytes: &mut impl RecordBytes) -> Walked<RecordFront> {
        let len = usize::try_from(bytes.varint()?).map_err(|_| DecodeError::BadLength)?;
        let start = bytes.position();
        // Nothing is kept in the attributes of a record.
        bytes.byte()?;
        let timestamp_delta = bytes.varlong()?;
        let offset_delta = bytes.varint()?;
        Ok(RecordFront { len, start, timestamp_delta, offset_delta })
    }
}

/// The lengths of a record's key and value; negative is null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordBody {
    /// Bytes of the key.
    pub key_len: i32,
    /// Bytes of the value.
    pub value_len: i32,
}

impl RecordBody {
    /// Passes over what is behind the front of a record.
    ///
    /// # Errors
    /// When it is no record, or ends elsewhere than the front says.
    #[inline]
    pub fn read(bytes: &mut impl RecordBytes, front: &RecordFront) -> Walked<RecordBody> {
        let key_len = skip_nullable(bytes)?;
        let value_len = skip_nullable(bytes)?;
        let headers = bytes.varint()?;
        if headers < 0 {
            return Err(DecodeError::BadLength.into());
        }
        for _ in 0..headers {
            if skip_nullable(bytes)? < 0 {
                return Err(DecodeError::BadLength.into());
            }
            skip_nullable(bytes)?;
        }
        if bytes.position() - front.start != front.len as u64 {
            return Err(DecodeError::BadLength.into());
        }
        Ok(RecordBody { key_len, value_len })
    }
}

#[inline]
fn skip_nullable(bytes: &mut impl RecordBytes) -> Walked<i32> {
    let len = bytes.varint()?;
    if let Ok(len) = usize::try_from(len) {
        bytes.skip(len)?;
    }
    Ok(len)
}

/// Records that lie in memory.
pub struct SliceBytes<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> SliceBytes<'a> {
    /// A walk from the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> SliceBytes<'a> {
        SliceBytes { bytes, position: 0 }
    }

    /// The next record, if all its numbers are short and it is sound, and where it ends.
    ///
    /// Where the next one begins is known from the length alone: a processor is at the next records
    /// while it still looks whether the parts of this one add up.
    #[inline]
    fn ordinary_record(&self) -> Option<(RecordFront, RecordBody, usize)> {
        let mut start = self.position;
        let len = usize::try_from(short_varint(self.bytes, &mut start)?).ok()?;
        let record = self.bytes.get(start..start + len)?;
        // Behind the attributes.
        let mut at = 1;
        let timestamp_delta = i64::from(short_varint(record, &mut at)?);
        let offset_delta = short_varint(record, &mut at)?;
        let key_len = short_varint(record, &mut at)?;
        at += usize::try_from(key_len).unwrap_or(0);
        let value_len = short_varint(record, &mut at)?;
        at += usize::try_from(value_len).unwrap_or(0);
        // A record with headers is looked at as any other.
        let is_whole = short_varint(record, &mut at)? == 0 && at == len;
        let front = RecordFront { len, start: start as u64, timestamp_delta, offset_delta };
        is_whole.then_some((front, RecordBody { key_len, value_len }, start + len))
    }
}

impl SliceBytes<'_> {
    #[cold]
    fn unusual_record(&mut self) -> Walked<(RecordFront, RecordBody)> {
        let front = RecordFront::read(self)?;
        let body = RecordBody::read(self, &front)?;
        Ok((front, body))
    }
}

/// A zig-zag number of three bytes at most.
#[inline]
fn short_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let mut raw = 0;
    for shift in [0, 7, 14] {
        let byte = u32::from(*bytes.get(*at)?);
        *at += 1;
        raw |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((raw >> 1) as i32 ^ -((raw & 1) as i32));
        }
    }
    None
}

impl RecordBytes for SliceBytes<'_> {
    #[inline]
    fn byte(&mut self) -> Walked<u8> {
        let byte = *self.bytes.get(self.position).ok_or(DecodeError::Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Walked<()> {
        if count > self.bytes.len() - self.position {
            return Err(DecodeError::Truncated.into());
        }
        self.position += count;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position as u64
    }

    fn is_at_end(&mut self) -> Walked<bool> {
        Ok(self.position == self.bytes.len())
    }

    #[inline]
    fn record(&mut self) -> Walked<(RecordFront, RecordBody)> {
        if let Some((front, body, end)) = self.ordinary_record() {
            self.position = end;
            return Ok((front, body));
        }
        self.unusual_record()
    }
}

/// Records that come out of a decompressor.
pub struct PieceBytes<'a> {
    decompressor: Decompressor<'a>,
    window: &'a mut [u8],
    unread: Range<usize>,
    passed: u64,
}

impl<'a> PieceBytes<'a> {
    /// A walk over what comes out of `decompressor`, which goes through `window`.
    #[must_use]
    pub fn new(decompressor: Decompressor<'a>, window: &'a mut [u8]) -> PieceBytes<'a> {
        PieceBytes { decompressor, window, unread: 0..0, passed: 0 }
    }

    /// Takes the next piece; whether there was one.
    #[cold]
    fn refill(&mut self) -> Walked<bool> {
        self.unread = 0..self.decompressor.read(self.window)?;
        Ok(!self.unread.is_empty())
    }

    fn fill(&mut self) -> Walked<()> {
        if self.unread.is_empty() && !self.refill()? {
            return Err(DecodeError::Truncated.into());
        }
        Ok(())
    }

    fn pass(&mut self, count: usize) -> Range<usize> {
        let start = self.unread.start;
        self.unread.start += count;
        self.passed += count as u64;
        start..start + count
    }
}

impl RecordBytes for PieceBytes<'_> {
    #[inline]
    fn byte(&mut self) -> Walked<u8> {
        self.fill()?;
        let byte = self.window[self.unread.start];
        self.pass(1);
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, mut count: usize) -> Walked<()> {
        while count > 0 {
            self.fill()?;
            let part = count.min(self.unread.len());
            self.pass(part);
            count -= part;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.passed
    }

    fn is_at_end(&mut self) -> Walked<bool> {
        Ok(self.unread.is_empty() && !self.refill()?)
    }
}

/// A source whose passed bytes can be copied.
pub(super) trait CopyBytes: RecordBytes {
    /// Passes over bytes and writes them.
    fn copy(&mut self, count: usize, out: &mut dyn io::Write) -> Walked<()>;
}

impl CopyBytes for SliceBytes<'_> {
    fn copy(&mut self, count: usize, out: &mut dyn io::Write) -> Walked<()> {
        let start = self.position;
        self.skip(count)?;
        out.write_all(&self.bytes[start..start + count]).map_err(WalkError::Compress)
    }
}

impl CopyBytes for PieceBytes<'_> {
    fn copy(&mut self, mut count: usize, out: &mut dyn io::Write) -> Walked<()> {
        while count > 0 {
            self.fill()?;
            let part = self.pass(count.min(self.unread.len()));
            count -= part.len();
            out.write_all(&self.window[part]).map_err(WalkError::Compress)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records in memory, read part by part.
    struct PartByPart<'a>(SliceBytes<'a>);

    impl RecordBytes for PartByPart<'_> {
        fn byte(&mut self) -> Walked<u8> {
            self.0.byte()
        }

        fn skip(&mut self, count: usize) -> Walked<()> {
            self.0.skip(count)
        }

        fn position(&self) -> u64 {
            self.0.position()
        }

        fn is_at_end(&mut self) -> Walked<bool> {
            self.0.is_at_end()
        }
    }

    fn walked(bytes: &mut impl RecordBytes) -> String {
        let mut seen = String::new();
        loop {
            match bytes.record() {
                Ok(record) => seen += &format!("{record:?} {}\n", bytes.position()),
                Err(error) => return seen + &error.to_string(),
            }
        }
    }

    /// Numbers that are one, two and three bytes long, more than three, not as short as they could
    /// be, negative, and too long for what is left.
    const NUMBERS: &[&[u8]] = &[
        &[0],
        &[1],
        &[2],
        &[8],
        &[0x82, 0],
        &[0x80, 0x80, 0],
        &[0x80, 1],
        &[0x80, 0x80, 1],
        &[0x80, 0x80, 0x80, 1],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ];

    #[test]
    fn a_record_in_memory_is_what_its_parts_are() {
        let mut seed = 1_u32;
        let mut draw = |max: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as usize % max
        };
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..1 + draw(3) {
                let mut record = vec![0];
                for _ in 0..4 {
                    let kinds = NUMBERS.len().min(4 + draw(9));
                    record.extend(NUMBERS[draw(kinds)]);
                }
                record.extend(&[0, 0, 0, 0, 0][..draw(6)]);
                // Twice the length is its zig-zag form; sometimes it is wrong.
                bytes.push(2 * (record.len() + draw(2) * draw(2)) as u8);
                bytes.extend(&record);
            }
            let parts = walked(&mut PartByPart(SliceBytes::new(&bytes)));
            assert_eq!(walked(&mut SliceBytes::new(&bytes)), parts, "{bytes:?}");
        }
    }
}
