//! Batches and records that lie about themselves in any way wanted.

use std::io::Write;

use bytes::Bytes;
use ottla_protocol::Writer;
use ottla_protocol::batch::{ATTRIBUTES_AT, CRC_AT, crc32c};
use ottla_protocol::compression::{Codec, Compressor};

/// The time of most records: in the past.
pub const TIME: i64 = 1_700_000_000_000;

/// A record field by field.
#[derive(Clone)]
pub struct RawRecord {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    /// Length and bytes.
    pub key: (i32, Vec<u8>),
    pub value: (i32, Vec<u8>),
    /// Count and bytes.
    pub headers: (i32, Vec<u8>),
    /// What is added to the length.
    pub length_error: i32,
}

pub fn record(offset_delta: i32) -> RawRecord {
    RawRecord {
        attributes: 0,
        timestamp_delta: 0,
        offset_delta,
        key: (1, b"k".to_vec()),
        value: (5, b"value".to_vec()),
        headers: (0, Vec::new()),
        length_error: 0,
    }
}

pub fn varint(value: i32) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(value);
    writer.into_bytes()
}

impl RawRecord {
    pub fn body(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.i8(self.attributes);
        body.varlong(self.timestamp_delta);
        body.varint(self.offset_delta);
        for (len, bytes) in [&self.key, &self.value, &self.headers] {
            body.varint(*len);
            body.raw(bytes);
        }
        body.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let body = self.body();
        [varint(body.len() as i32 + self.length_error), body].concat()
    }
}

/// A batch field by field.
#[derive(Clone)]
pub struct RawBatch {
    pub base_offset: i64,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer: (i64, i16, i32),
    pub count: i32,
    /// What stands behind the header.
    pub records: Vec<u8>,
}

/// A batch of these records, uncompressed.
pub fn batch_of(records: &[RawRecord]) -> RawBatch {
    let bytes: Vec<Vec<u8>> = records.iter().map(RawRecord::bytes).collect();
    batch_of_bytes(records.len() as i32, bytes.concat())
}

pub fn batch_of_bytes(count: i32, records: Vec<u8>) -> RawBatch {
    RawBatch {
        base_offset: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: TIME,
        max_timestamp: TIME,
        producer: (-1, -1, -1),
        count,
        records,
    }
}

impl RawBatch {
    pub fn with(mut self, change: impl FnOnce(&mut RawBatch)) -> RawBatch {
        change(&mut self);
        self
    }

    pub fn compressed(mut self, codec: Codec) -> RawBatch {
        self.records = compress(codec, &self.records);
        self.attributes |= codec.compression() as i16;
        self
    }

    pub fn bytes(&self) -> Bytes {
        let mut batch = Writer::new();
        batch.i64(self.base_offset);
        batch.i32(self.records.len() as i32 + 49);
        batch.i32(-1);
        batch.i8(2);
        batch.u32(0);
        batch.i16(self.attributes);
        batch.i32(self.last_offset_delta);
        batch.i64(self.base_timestamp);
        batch.i64(self.max_timestamp);
        let (id, epoch, sequence) = self.producer;
        batch.i64(id);
        batch.i16(epoch);
        batch.i32(sequence);
        batch.i32(self.count);
        batch.raw(&self.records);
        let mut bytes = batch.into_bytes();
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        bytes.into()
    }
}

pub fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(codec, Vec::new()).unwrap();
    compressor.write_all(bytes).unwrap();
    compressor.finish().unwrap()
}
