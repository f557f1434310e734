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
