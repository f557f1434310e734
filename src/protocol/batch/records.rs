//! The records inside a batch, decompressed, one after the other, without allocation.

use ottla_types::{Offset, Timestamp};

use super::BatchHeader;
use crate::codec::{DecodeError, Decoded, Reader};

/// Fewest bytes of a record: length, attributes, two deltas, key and value null, no headers.
const RECORD_BYTES_MIN: usize = 7;

/// A record, borrowed from its batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its time: the producer's, or the batch's when the broker set it.
    pub timestamp: Timestamp,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is null.
    pub value: Option<&'a [u8]>,
    headers: Reader<'a>,
    header_count: usize,
}

/// A header of a record. Keys may repeat and their order counts (KIP-82).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader<'a> {
    /// Its key; UTF-8 by the protocol, not checked here.
    pub key: &'a [u8],
    /// Its value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl PartialEq for Reader<'_> {
    fn eq(&self, other: &Reader<'_>) -> bool {
        let (mut a, mut b) = (self.clone(), other.clone());
        a.take(a.remaining()) == b.take(b.remaining())
    }
}

impl Eq for Reader<'_> {}

/// Walks over the records of a batch; ends after the first bad one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Records<'a> {
    /// The records of the batch with this header; `bytes` are its decompressed records.
    #[must_use]
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Records<'a> {
        let left = usize::try_from(header.record_count).unwrap_or(0);
        Records { header: *header, reader: Reader::new(bytes), left }
    }

    fn read(&mut self) -> Decoded<Record<'a>> {
        let length = usize::try_from(self.reader.varint()?).map_err(|_| DecodeError::BadLength)?;
        if length < RECORD_BYTES_MIN - 1 {
            return Err(DecodeError::BadLength);
        }
        let mut record = Reader::new(self.reader.take(length)?);
        let _attributes = record.i8()?;
        let timestamp_delta = record.varlong()?;
        let offset_delta = record.varint()?;
        let key = nullable(&mut record)?;
        let value = nullable(&mut record)?;
        let header_count = count(&mut record)?;
        let headers = record.clone();
        for _ in 0..header_count {
            read_header(&mut record)?;
        }
        if record.remaining() > 0 {
            return Err(DecodeError::TrailingBytes);
        }
        let timestamp = self.header.timestamp_of(timestamp_delta);
        let offset = Offset(self.header.base_offset.0.wrapping_add(i64::from(offset_delta)));
        Ok(Record { offset, timestamp, key, value, headers, header_count })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Decoded<Record<'a>>;

    fn next(&mut self) -> Option<Decoded<Record<'a>>> {
        self.left = self.left.checked_sub(1)?;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

impl<'a> Record<'a> {
    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut reader = self.headers.clone();
        (0..self.header_count)
            .map(move |_| read_header(&mut reader).expect("checked when the record was read"))
    }
}

fn read_header<'a>(reader: &mut Reader<'a>) -> Decoded<RecordHeader<'a>> {
    let key = nullable(reader)?.ok_or(DecodeError::BadLength)?;
    Ok(RecordHeader { key, value: nullable(reader)? })
}

fn nullable<'a>(reader: &mut Reader<'a>) -> Decoded<Option<&'a [u8]>> {
    match reader.varint()? {
        // Kafka's readers take every negative length for null, not only -1.
        len if len < 0 => Ok(None),
        len => reader.take(len.unsigned_abs() as usize).map(Some),
    }
}

fn count(reader: &mut Reader<'_>) -> Decoded<usize> {
    let count = usize::try_from(reader.varint()?).map_err(|_| DecodeError::BadLength)?;
    if count > reader.remaining() / 2 { Err(DecodeError::TooManyElements) } else { Ok(count) }
}
