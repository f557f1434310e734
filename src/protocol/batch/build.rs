//! Building batches: for the metadata log, for coordinators, for control records, and for clients
//! of tests.

use std::io::Write;

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use super::{ATTRIBUTES_AT, Attributes, BATCH_OVERHEAD, CRC_AT, LOG_OVERHEAD, MAGIC_V2, crc32c};
use crate::codec::Writer;
use crate::compression::{Codec, Compressor};

/// What a batch holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchKind {
    /// Records of users, or of the metadata log.
    Data,
    /// Control records of the metadata quorum: without a producer.
    Control,
    /// Records of a transaction.
    Transactional,
    /// The control record that ends a transaction.
    Marker,
}

/// Collects records into one batch.
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    attributes: Attributes,
    timestamp: Timestamp,
    max_timestamp: Timestamp,
    producer: (ProducerId, ProducerEpoch, i32),
    records: Writer,
    count: i32,
    codec: Codec,
}

impl BatchBuilder {
    /// A batch whose first record gets `base_offset` and, by default, the time `timestamp`.
    #[must_use]
    pub fn new(
        kind: BatchKind,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        timestamp: Timestamp,
    ) -> BatchBuilder {
        let attributes = Attributes::default();
        BatchBuilder {
            base_offset,
            leader_epoch,
            attributes: match kind {
                BatchKind::Data => attributes,
                BatchKind::Control => attributes.with_control(),
                BatchKind::Transactional => attributes.with_transactional(),
                BatchKind::Marker => attributes.with_control().with_transactional(),
            },
            timestamp,
            max_timestamp: timestamp,
            producer: (ProducerId::NONE, ProducerEpoch::NONE, -1),
            records: Writer::new(),
            count: 0,
            codec: Codec::None,
        }
    }

    /// Compresses the records in the end, unless they would become longer.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Marks the batch as an idempotent producer's; `sequence` is the first record's.
    #[must_use]
    pub fn with_producer(mut self, id: ProducerId, epoch: ProducerEpoch, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    /// Adds a record without headers at the batch's time.
    pub fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(self.timestamp, key, value, &[]);
    }

    /// Adds a record.
    pub fn push_with_headers(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let mut record = Writer::new();
        record.i8(0);
        record.varlong(timestamp.0 - self.timestamp.0);
        record.varint(self.count);
        write_nullable(&mut record, key);
        write_nullable(&mut record, value);
        record.varint(headers.len() as i32);
        for (key, value) in headers {
            write_nullable(&mut record, Some(key.as_bytes()));
            write_nullable(&mut record, *value);
        }
        self.records.varint(record.len() as i32);
        self.records.raw(&record.into_bytes());
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
    }

    /// Number of records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch as it is now, not compressed.
    #[must_use]
    pub fn size(&self) -> usize {
        BATCH_OVERHEAD + self.records.len()
    }

    /// The finished batch.
    ///
    /// # Panics
    /// Without a record: no log holds an empty batch that was not cleaned.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        assert!(self.count > 0, "a batch holds a record");
        let (records, attributes) = compressed(self.records.into_bytes(), self.codec);
        let size = BATCH_OVERHEAD + records.len();
        let mut batch = Writer::with_capacity(size);
        batch.i64(self.base_offset.0);
        batch.i32((size - LOG_OVERHEAD) as i32);
        batch.i32(self.leader_epoch.0);
        batch.i8(MAGIC_V2);
        batch.u32(0);
        batch.i16(self.attributes.0 | attributes);
        batch.i32(self.count - 1);
        batch.i64(self.timestamp.0);
        batch.i64(self.max_timestamp.0);
        let (id, epoch, sequence) = self.producer;
        batch.i64(id.0);
        batch.i16(epoch.0);
        batch.i32(sequence);
        batch.i32(self.count);
        batch.raw(&records);
        let mut bytes = batch.into_bytes();
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

/// Records by this codec, and its number; as they are when they would become longer.
fn compressed(records: Vec<u8>, codec: Codec) -> (Vec<u8>, i16) {
    if codec == Codec::None {
        return (records, 0);
    }
    let in_memory = "memory takes what is written to it";
    let mut out = Compressor::new(codec, Vec::new()).expect(in_memory);
    out.write_all(&records).expect(in_memory);
    let out = out.finish().expect(in_memory);
    if out.len() < records.len() { (out, codec.compression() as i16) } else { (records, 0) }
}

fn write_nullable(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        None => writer.varint(-1),
        Some(bytes) => {
            writer.varint(bytes.len() as i32);
            writer.raw(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::compression::Compression;

    use super::super::{BatchError, BatchHeader, Records, RestampedHeader, TimestampType};
    use super::*;

    fn sample() -> Vec<u8> {
        let mut builder =
            BatchBuilder::new(BatchKind::Data, Offset(5), LeaderEpoch(3), Timestamp(1000))
                .with_producer(ProducerId(9), ProducerEpoch(1), i32::MAX);
        builder.push(Some(b"k"), None);
        let headers = [("h", Some(b"1".as_slice())), ("h", None)];
        builder.push_with_headers(Timestamp(1500), None, Some(b"value"), &headers);
        assert_eq!(builder.count(), 2);
        builder.build()
    }

    #[test]
    fn a_batch_is_read_as_it_was_built() {
        let bytes = sample();
        let header = BatchHeader::read_checked(&bytes).expect("valid");
        assert_eq!((header.size(), header.record_count), (bytes.len(), 2));
        assert_eq!((header.last_offset(), header.next_offset()), (Offset(6), Offset(7)));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX, 0));
        assert_eq!(header.max_timestamp, Timestamp(1500));
        let records: Vec<_> =
            Records::new(&header, &bytes[BATCH_OVERHEAD..]).map(Result::unwrap).collect();
        assert_eq!((records[0].key, records[0].value), (Some(b"k".as_slice()), None));
        assert_eq!((records[1].offset, records[1].timestamp), (Offset(6), Timestamp(1500)));
        let headers: Vec<_> = records[1].headers().map(|h| (h.key, h.value)).collect();
        assert_eq!(headers, [(b"h".as_slice(), Some(b"1".as_slice())), (b"h", None)]);
    }

    #[test]
    fn records_are_compressed_unless_they_would_become_longer() {
        let compressions = (1..=4).map(|code| Compression::from_code(code).expect("a codec"));
        for compression in compressions {
            let built = |value: &[u8]| {
                let kind = BatchKind::Data;
                let mut builder = BatchBuilder::new(kind, Offset(5), LeaderEpoch(3), Timestamp(1));
                builder = builder.with_codec(compression.into());
                builder.push(Some(b"key"), Some(value));
                builder.build()
            };
            let long = built(&[b'x'; 1_000]);
            let header = BatchHeader::read_checked(&long).expect("valid");
            assert_eq!(header.attributes.compression(), Some(compression));
            assert!(long.len() < 300, "{compression:?}: {}", long.len());
            let records = compression.decompress(&long[BATCH_OVERHEAD..], 2_000).expect("good");
            let record = Records::new(&header, &records).next().expect("one").expect("good");
            assert_eq!((record.key, record.value), (Some(&b"key"[..]), Some(&[b'x'; 1_000][..])));

            let short = BatchHeader::read_checked(&built(b"v")).expect("valid");
            assert_eq!(short.attributes.compression(), Some(Compression::None), "{compression:?}");
        }
    }

    #[test]
    fn every_flipped_bit_behind_the_checksum_is_noticed() {
        let bytes = sample();
        for bit in (CRC_AT * 8)..(bytes.len() * 8) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::read_checked(&damaged), Err(BatchError::BadCrc), "bit {bit}");
        }
    }

    #[test]
    fn cut_and_foreign_bytes_are_errors() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert_eq!(BatchHeader::read_checked(&bytes[..len]), Err(BatchError::Truncated));
        }
        let mut old = bytes.clone();
        old[16] = 1;
        assert_eq!(BatchHeader::read(&old), Err(BatchError::UnsupportedMagic(1)));
        let mut short = bytes;
        short[8..12].copy_from_slice(&48i32.to_be_bytes());
        assert_eq!(BatchHeader::read(&short), Err(BatchError::BadLength));
    }

    #[test]
    fn the_leader_restamps_the_front_without_reading_the_records() {
        let bytes = sample();
        let plain = RestampedHeader::new(&bytes, Offset(70), LeaderEpoch(8));
        let whole = [plain.0.as_slice(), &bytes[BATCH_OVERHEAD..]].concat();
        let header = BatchHeader::read_checked(&whole).expect("the checksum is still good");
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(70), LeaderEpoch(8)));

        let records = &bytes[BATCH_OVERHEAD..];
        let timed = plain.with_log_append_time(Timestamp(42), crc32c(records), records.len());
        let whole = [timed.0.as_slice(), records].concat();
        let header = BatchHeader::read_checked(&whole).expect("the checksum fits again");
        assert_eq!(header.max_timestamp, Timestamp(42));
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert!(Records::new(&header, records).all(|r| r.unwrap().timestamp == Timestamp(42)));
    }

    #[test]
    fn lying_records_end_the_walk() {
        let bytes = sample();
        let header = BatchHeader::read(&bytes).expect("valid");
        let records = &bytes[BATCH_OVERHEAD..];
        for (at, value) in [(0, 0xff), (0, 0x02), (4, 0x7e), (records.len() - 1, 0x7e)] {
            let mut damaged = records.to_vec();
            damaged[at] = value;
            let walked: Vec<_> = Records::new(&header, &damaged).collect();
            assert!(walked.last().unwrap().is_err(), "byte {at} = {value:#x}: {walked:?}");
        }
    }
}
