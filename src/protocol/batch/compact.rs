//! What compaction reads of a batch, and the batch without the records that it takes out.
//!
//! Two walks: the first shows every record's key to a [`KeyVisitor`], which says what stays; the
//! second, only where something goes, copies the rest. Records are never held as a whole, so that a
//! batch of any decompressed size needs a window of fixed size. A batch keeps its offsets, its
//! producer and its last offset, so that what is known of producers stays true; the time of the
//! first record that is left, or the delete horizon (KIP-534), becomes the base timestamp.
//! Source: `MemoryRecords.filterTo`, `MemoryRecordsBuilder`.

use std::io::{self, BufWriter, Write};

use ottla_types::{Offset, Timestamp};

use super::walk::{CopyBytes, PieceBytes, RecordFront, SliceBytes, WalkError, Walked};
use super::{ATTRIBUTES_AT, Attributes, BATCH_OVERHEAD, BatchHeader, CRC_AT, LOG_OVERHEAD, crc32c};
use crate::codec::{DecodeError, Writer};
use crate::compression::{Codec, Compression, Compressor, Decompressor, Scratch};

/// Bytes that are gathered before they go to a compressor.
const GATHERED_LEN: usize = 8 << 10;
/// Bytes of decompressed records that are looked at together.
const WINDOW_LEN: usize = 64 << 10;

/// Memory for any number of batches, one after the other.
pub struct CompactionBuffers {
    scratch: Scratch,
    window: Vec<u8>,
}

impl Default for CompactionBuffers {
    fn default() -> CompactionBuffers {
        CompactionBuffers { scratch: Scratch::default(), window: vec![0; WINDOW_LEN] }
    }
}

/// What compaction has to know of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Whether it has a key, which was shown before.
    pub has_key: bool,
    /// Whether its value is null.
    pub is_tombstone: bool,
}

/// Sees the records of a batch.
pub trait KeyVisitor {
    /// A piece of the key of the record that is shown next.
    fn key_piece(&mut self, bytes: &[u8]);

    /// A record, behind all pieces of its key. Whether it stays.
    fn record(&mut self, record: KeyedRecord) -> bool;
}

/// Which records of a batch stay.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// A bit for each record.
    bits: Vec<u64>,
    /// Records that were seen.
    pub seen: u32,
    /// Records that stay.
    pub count: u32,
    /// Whether one of those has no value.
    pub has_tombstones: bool,
    /// Their largest time; none without a record.
    pub max_timestamp: Timestamp,
}

impl Kept {
    fn note(&mut self, stays: bool) {
        let (word, bit) = ((self.seen / 64) as usize, self.seen % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] |= u64::from(stays) << bit;
        self.seen += 1;
        self.count += u32::from(stays);
    }

    fn holds(&self, index: u32) -> bool {
        self.bits[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// Whether every record stays.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count == self.seen
    }
}

/// Shows the records of a batch; `records` are the bytes behind its header.
///
/// # Errors
/// When they are not what the format says.
pub fn visit_keys(
    header: &BatchHeader,
    records: &[u8],
    buffers: &mut CompactionBuffers,
    visitor: &mut impl KeyVisitor,
) -> Walked<Kept> {
    match codec_of(header) {
        Compression::None => visit(header, &mut SliceBytes::new(records), visitor),
        codec => {
            let CompactionBuffers { scratch, window } = buffers;
            let decompressor = Decompressor::new(codec, records, usize::MAX, scratch)?;
            visit(header, &mut PieceBytes::new(decompressor, window), visitor)
        }
    }
}

fn codec_of(header: &BatchHeader) -> Compression {
    // A number that no codec has: what is there is no record, which the walk will say.
    header.attributes.compression().unwrap_or(Compression::None)
}

/// Hands pieces of a key on.
struct KeyPieces<'a, V>(&'a mut V);

impl<V: KeyVisitor> Write for KeyPieces<'_, V> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.key_piece(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn visit(
    header: &BatchHeader,
    records: &mut impl CopyBytes,
    visitor: &mut impl KeyVisitor,
) -> Walked<Kept> {
    let mut kept = Kept { max_timestamp: Timestamp::NONE, ..Kept::default() };
    for _ in 0..header.record_count {
        let front = RecordFront::read(records)?;
        let key_len = usize::try_from(records.varint()?).ok();
        if let Some(len) = key_len {
            records.copy(len, &mut KeyPieces(&mut *visitor))?;
        }
        let is_tombstone = records.varint()? < 0;
        let rest = rest_of(&front, records)?;
        records.skip(rest)?;
        let offset = Offset(header.base_offset.0.wrapping_add(i64::from(front.offset_delta)));
        let has_key = key_len.is_some();
        let stays = visitor.record(KeyedRecord { offset, has_key, is_tombstone });
        kept.note(stays);
        if stays {
            kept.has_tombstones |= is_tombstone;
            let timestamp = header.timestamp_of(front.timestamp_delta);
            kept.max_timestamp = kept.max_timestamp.max(timestamp);
        }
    }
    if !records.is_at_end()? {
        return Err(DecodeError::TrailingBytes.into());
    }
    Ok(kept)
}

/// Bytes of a record that are not read yet.
fn rest_of(front: &RecordFront, records: &impl CopyBytes) -> Walked<usize> {
    let read = (records.position() - front.start) as usize;
    Ok(front.len.checked_sub(read).ok_or(DecodeError::BadLength)?)
}

/// The batch with the records that stay, of which there is one at least, and with `horizon` as the
/// time from which on its tombstones and markers may go (KIP-534).
///
/// # Errors
/// When the records are not those that were seen.
pub fn write_kept(
    header: &BatchHeader,
    records: &[u8],
    kept: &Kept,
    horizon: Option<Timestamp>,
    buffers: &mut CompactionBuffers,
) -> Walked<Vec<u8>> {
    let compression = codec_of(header);
    let out = Compressor::new(Codec::from(compression), vec![0; BATCH_OVERHEAD]);
    let out = out.map_err(WalkError::Compress)?;
    let mut out = BufWriter::with_capacity(GATHERED_LEN, out);
    let CompactionBuffers { scratch, window } = buffers;
    let base = if compression == Compression::None {
        copy(header, &mut SliceBytes::new(records), kept, horizon, &mut out)?
    } else {
        let decompressor = Decompressor::new(compression, records, usize::MAX, scratch)?;
        copy(header, &mut PieceBytes::new(decompressor, window), kept, horizon, &mut out)?
    };
    let out = out.into_inner().map_err(|error| WalkError::Compress(error.into_error()))?;
    let mut batch = out.finish().map_err(WalkError::Compress)?;
    let fields = Fields {
        attributes: header.attributes.with_delete_horizon(horizon.is_some()),
        base_timestamp: base,
        max_timestamp: kept.max_timestamp,
        count: kept.count as i32,
    };
    finish(header, &fields, &mut batch);
    Ok(batch)
}

/// The batch without any record: its producer and its offsets (`writeEmptyHeader`).
#[must_use]
pub fn empty_batch(header: &BatchHeader) -> Vec<u8> {
    let mut batch = vec![0; BATCH_OVERHEAD];
    let fields = Fields {
        attributes: header.attributes.without_records(),
        base_timestamp: Timestamp::NONE,
        max_timestamp: header.max_timestamp,
        count: 0,
    };
    finish(header, &fields, &mut batch);
    batch
}

/// Copies the records that stay; returns the base timestamp.
fn copy(
    header: &BatchHeader,
    records: &mut impl CopyBytes,
    kept: &Kept,
    horizon: Option<Timestamp>,
    out: &mut impl Write,
) -> Walked<Timestamp> {
    let mut base = horizon;
    // Used for every record, so that none costs an allocation.
    let (mut deltas, mut new) = (Writer::new(), Writer::new());
    for index in 0..kept.seen {
        let front = RecordFront::read(records)?;
        let rest = rest_of(&front, records)?;
        if !kept.holds(index) {
            records.skip(rest)?;
            continue;
        }
        let timestamp = header.timestamp_of(front.timestamp_delta);
        let base = *base.get_or_insert(timestamp);
        deltas.clear();
        deltas.varlong(timestamp.0.wrapping_sub(base.0));
        deltas.varint(front.offset_delta);
        new.clear();
        new.varint((1 + deltas.len() + rest) as i32);
        new.i8(0);
        new.raw(deltas.written());
        out.write_all(new.written()).map_err(WalkError::Compress)?;
        records.copy(rest, out)?;
    }
    Ok(base.unwrap_or(Timestamp::NONE))
}

/// What the header says of the records.
struct Fields {
    attributes: Attributes,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
}

fn finish(old: &BatchHeader, fields: &Fields, batch: &mut [u8]) {
    let mut front = Writer::with_capacity(BATCH_OVERHEAD);
    front.i64(old.base_offset.0);
    front.i32((batch.len() - LOG_OVERHEAD) as i32);
    front.i32(old.leader_epoch.0);
    front.i8(super::MAGIC_V2);
    front.u32(0);
    front.i16(fields.attributes.0);
    front.i32(old.last_offset_delta);
    front.i64(fields.base_timestamp.0);
    front.i64(fields.max_timestamp.0);
    front.i64(old.producer_id.0);
    front.i16(old.producer_epoch.0);
    front.i32(old.base_sequence);
    front.i32(fields.count);
    batch[..BATCH_OVERHEAD].copy_from_slice(&front.into_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId};

    use super::super::{BatchBuilder, BatchKind, Records, RewriteGoal, Rewritten, rewrite_batch};
    use super::*;

    /// Keeps the records whose keys are listed.
    struct Only(&'static [&'static [u8]], Vec<u8>, Vec<(Vec<u8>, KeyedRecord)>);

    impl KeyVisitor for Only {
        fn key_piece(&mut self, bytes: &[u8]) {
            self.1.extend_from_slice(bytes);
        }

        fn record(&mut self, record: KeyedRecord) -> bool {
            let key = std::mem::take(&mut self.1);
            let stays = self.0.contains(&key.as_slice());
            self.2.push((key, record));
            stays
        }
    }

    fn sample() -> Vec<u8> {
        let mut batch =
            BatchBuilder::new(BatchKind::Data, Offset(70), LeaderEpoch(3), Timestamp(1000))
                .with_producer(ProducerId(9), ProducerEpoch(1), 5);
        batch.push(Some(b"a"), Some(&[7; 100_000]));
        batch.push(None, Some(b"no key"));
        batch.push_with_headers(Timestamp(1700), Some(b"b"), None, &[("h", Some(b"1"))]);
        batch.push_with_headers(Timestamp(1600), Some(b"c"), Some(b"3"), &[]);
        batch.build()
    }

    fn with_codec(batch: &[u8], codec: Compression) -> Vec<u8> {
        let header = BatchHeader::read_checked(batch).unwrap();
        let goal = RewriteGoal {
            codec: codec.into(),
            max_timestamp: header.max_timestamp,
            size_max: 1 << 20,
            decompressed_max: 1 << 20,
        };
        let (mut scratch, mut window) = (Scratch::default(), vec![0; 4096]);
        match rewrite_batch(&header, batch, &goal, &mut scratch, &mut window).unwrap() {
            Rewritten::Batch(mut new) => {
                new[..16].copy_from_slice(&batch[..16]);
                let len = (new.len() - LOG_OVERHEAD) as i32;
                new[8..12].copy_from_slice(&len.to_be_bytes());
                new
            }
            Rewritten::TooLarge(size) => panic!("{size} bytes"),
        }
    }

    fn keep(batch: &[u8], only: &'static [&'static [u8]]) -> (BatchHeader, Kept, Only) {
        let header = BatchHeader::read_checked(batch).unwrap();
        let mut visitor = Only(only, Vec::new(), Vec::new());
        let mut buffers = CompactionBuffers::default();
        let kept = visit_keys(&header, &batch[BATCH_OVERHEAD..], &mut buffers, &mut visitor);
        (header, kept.unwrap(), visitor)
    }

    #[test]
    fn keys_are_shown_and_what_stays_is_copied_in_each_codec() {
        let plain = sample();
        for code in 0..=4 {
            let codec = Compression::from_code(code).unwrap();
            let batch = if code == 0 { plain.clone() } else { with_codec(&plain, codec) };
            let (header, kept, seen) = keep(&batch, &[b"b", b"c"]);
            let keys: Vec<_> = seen.2.iter().map(|(key, _)| key.as_slice()).collect();
            assert_eq!(keys, [b"a".as_slice(), b"", b"b", b"c"]);
            let flags: Vec<_> = seen.2.iter().map(|(_, r)| (r.has_key, r.is_tombstone)).collect();
            assert_eq!(flags, [(true, false), (false, false), (true, true), (true, false)]);
            assert_eq!((kept.seen, kept.count, kept.has_tombstones), (4, 2, true));
            let mut buffers = CompactionBuffers::default();
            let records = &batch[BATCH_OVERHEAD..];
            for horizon in [None, Some(Timestamp(9_000))] {
                let new = write_kept(&header, records, &kept, horizon, &mut buffers).unwrap();
                let new_header = BatchHeader::read_checked(&new).unwrap();
                assert_eq!(new_header.base_offset, Offset(70));
                assert_eq!(new_header.last_offset(), Offset(73));
                assert_eq!((new_header.base_sequence, new_header.last_sequence()), (5, 8));
                assert_eq!(new_header.max_timestamp, Timestamp(1700));
                assert_eq!(new_header.base_timestamp, horizon.unwrap_or(Timestamp(1700)));
                assert_eq!(new_header.attributes.has_delete_horizon(), horizon.is_some());
                assert_eq!(new_header.attributes.compression(), Some(codec));
                let bytes = codec.decompress(&new[BATCH_OVERHEAD..], 1 << 20).unwrap();
                let left: Vec<_> = Records::new(&new_header, &bytes).map(Result::unwrap).collect();
                let offsets: Vec<_> = left.iter().map(|r| (r.offset.0, r.timestamp.0)).collect();
                assert_eq!(offsets, [(72, 1700), (73, 1600)]);
                assert_eq!(left[0].headers().count(), 1);
                assert_eq!(left[1].value, Some(b"3".as_slice()));
            }
        }
    }

    #[test]
    fn an_empty_batch_keeps_its_producer_and_its_offsets() {
        let batch = sample();
        let header = BatchHeader::read(&batch).unwrap();
        let empty = empty_batch(&header);
        let new = BatchHeader::read_checked(&empty).unwrap();
        assert_eq!((new.size(), new.record_count), (BATCH_OVERHEAD, 0));
        assert_eq!((new.base_offset, new.last_offset()), (Offset(70), Offset(73)));
        assert_eq!((new.producer_id, new.last_sequence()), (ProducerId(9), 8));
        assert_eq!((new.base_timestamp, new.max_timestamp), (Timestamp::NONE, Timestamp(1700)));
        let (_, kept, seen) = keep(&empty, &[]);
        assert_eq!((kept.seen, seen.2.len()), (0, 0));
    }

    #[test]
    fn records_that_lie_are_errors() {
        let batch = sample();
        let header = BatchHeader::read(&batch).unwrap();
        let mut buffers = CompactionBuffers::default();
        let mut visitor = Only(&[], Vec::new(), Vec::new());
        let records = &batch[BATCH_OVERHEAD..];
        for end in 0..records.len().min(300) {
            assert!(visit_keys(&header, &records[..end], &mut buffers, &mut visitor).is_err());
        }
        let longer = [records, &[0]].concat();
        assert!(visit_keys(&header, &longer, &mut buffers, &mut visitor).is_err());
        let more = BatchHeader { record_count: 5, ..header };
        assert!(visit_keys(&more, records, &mut buffers, &mut visitor).is_err());
    }
}
