//! What is produced: batches made once, and sent again and again.

use bytes::Bytes;
use ottla_protocol::compression::Codec;
use ottla_test_client::{compressed, record_batch};

use crate::machine::record_time;

/// Bytes of a record's value.
pub(crate) const RECORD: usize = 1024;

/// A batch of at most `bytes`, and at least one record.
pub(crate) fn batch_of(bytes: usize, record_bytes: usize) -> Bytes {
    record_batch(record_time(), None, &vec![vec![b'x'; record_bytes]; count(bytes, record_bytes)])
}

/// A batch of at most `bytes` before it is compressed. Half of each record are letters drawn from
/// sixteen, half says the same as all others: zstd makes a third of it, lz4 half.
pub(crate) fn compressed_batch_of(bytes: usize, codec: Codec) -> Bytes {
    let mut seed = 1_u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (seed >> 28) as u8
    };
    let same = b"{\"kind\":\"order\",\"currency\":\"EUR\",\"source\":\"shop\",\"state\":\"paid\"}";
    let mut record = || {
        let same = same.iter().copied().cycle().take(RECORD / 2);
        let mut record: Vec<u8> = (0..RECORD / 2).map(|_| letter()).collect();
        record.extend(same);
        record
    };
    let records: Vec<_> = (0..count(bytes, RECORD)).map(|_| record()).collect();
    compressed(&record_batch(record_time(), None, &records), codec)
}

fn count(bytes: usize, record_bytes: usize) -> usize {
    // A record costs at most a dozen bytes beside its value, and a batch 61.
    (bytes.saturating_sub(61) / (record_bytes + 12)).max(1)
}
