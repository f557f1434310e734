//! Batches of the metadata log: what a core must know of fetched ones, and control batches of
//! one's own.
//!
//! Data records are left as they are; that they are decoded is the metadata room's business.

use std::fmt;

use bytes::Bytes;
use ottla_protocol::DecodeError;
use ottla_protocol::batch::{
    BATCH_OVERHEAD, BatchBuilder, BatchError, BatchHeader, BatchKind, Records,
};
use ottla_protocol::compression::Compression;
use ottla_protocol::control::ControlRecord;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::core::{Fetched, FetchedBatch};

/// Bytes that are no batches of the metadata log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordsError {
    /// A batch is damaged.
    Batch(BatchError),
    /// A record is not what its batch or its type says.
    Record(DecodeError),
    /// Control records are compressed, which Kafka never does.
    Compressed,
    /// A record lies outside of its batch's offsets.
    Offset,
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordsError::Batch(error) => error.fmt(f),
            RecordsError::Record(error) => error.fmt(f),
            RecordsError::Compressed => f.write_str("control records are compressed"),
            RecordsError::Offset => f.write_str("a record lies outside of its batch's offsets"),
        }
    }
}

impl std::error::Error for RecordsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordsError::Batch(error) => Some(error),
            RecordsError::Record(error) => Some(error),
            RecordsError::Compressed | RecordsError::Offset => None,
        }
    }
}

/// Reads the whole batches at the front of `bytes`. A leader fills its answer up to a number of
/// bytes, so that the last batch may be cut; that is left out.
///
/// # Errors
/// When a batch is damaged, or a control record is not what it says.
pub fn read_fetched(bytes: &Bytes) -> Result<Fetched, RecordsError> {
    let mut batches = Vec::new();
    let mut position = 0;
    while let Some(batch) = whole_batch(&bytes[position..])? {
        let header = BatchHeader::read_checked(batch).map_err(RecordsError::Batch)?;
        batches.push(FetchedBatch {
            base_offset: header.base_offset,
            end_offset: header.next_offset(),
            epoch: header.leader_epoch,
            control: control_records(&header, batch)?,
        });
        position += batch.len();
    }
    Ok(Fetched { batches, bytes: bytes.slice(..position) })
}

/// The batch at the front of `bytes`; `None` when it is not there whole.
fn whole_batch(bytes: &[u8]) -> Result<Option<&[u8]>, RecordsError> {
    match BatchHeader::read(bytes) {
        Ok(header) => Ok(bytes.get(..header.size())),
        Err(BatchError::Truncated) => Ok(None),
        Err(error) => Err(RecordsError::Batch(error)),
    }
}

/// The control records of a batch; none for a batch of data.
///
/// # Errors
/// When they are compressed, or not what they say.
pub(crate) fn control_records(
    header: &BatchHeader,
    batch: &[u8],
) -> Result<Vec<(Offset, ControlRecord)>, RecordsError> {
    if !header.attributes.is_control() {
        return Ok(Vec::new());
    }
    if header.attributes.compression() != Some(Compression::None) {
        return Err(RecordsError::Compressed);
    }
    let offsets = header.base_offset..header.next_offset();
    Records::new(header, &batch[BATCH_OVERHEAD..])
        .map(|record| {
            let record = record.map_err(RecordsError::Record)?;
            if !offsets.contains(&record.offset) {
                return Err(RecordsError::Offset);
            }
            let control = ControlRecord::decode(record.key, record.value);
            Ok((record.offset, control.map_err(RecordsError::Record)?))
        })
        .collect()
}

/// A control batch as a leader appends it ([`crate::core::Payload::Control`]).
///
/// # Panics
/// Without a record.
#[must_use]
pub fn control_batch(
    base_offset: Offset,
    epoch: LeaderEpoch,
    now: Timestamp,
    records: &[ControlRecord],
) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchKind::Control, base_offset, epoch, now);
    for record in records {
        let (key, value) = record.encode();
        batch.push(Some(&key), Some(&value));
    }
    batch.build()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::control::{ChangeVoter, LeaderChange};
    use ottla_types::NodeId;

    use super::*;

    /// First batch of the metadata log of a node that Kafka 4.3.1 formatted with static voters.
    const LEADER_CHANGE: [u8; 30] = [
        0x3a, 0, 0, 0, 8, 0, 0, 0, 2, 0x26, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0,
        0, 0,
    ];

    fn leader_change() -> ControlRecord {
        let voters = || vec![ChangeVoter { voter_id: NodeId(1), ..ChangeVoter::default() }];
        ControlRecord::LeaderChange(LeaderChange {
            version: 0,
            leader_id: NodeId(1),
            voters: voters(),
            granting_voters: voters(),
        })
    }

    #[test]
    fn a_leader_change_has_kafkas_bytes() {
        let batch = control_batch(Offset(0), LeaderEpoch(1), Timestamp(7), &[leader_change()]);
        assert_eq!(batch[BATCH_OVERHEAD..], LEADER_CHANGE);
        assert_eq!(batch.len(), 91);
    }

    #[test]
    fn fetched_batches_are_read_up_to_the_cut() {
        let first = control_batch(Offset(4), LeaderEpoch(2), Timestamp(7), &[leader_change()]);
        let mut data = BatchBuilder::new(BatchKind::Data, Offset(5), LeaderEpoch(3), Timestamp(8));
        data.push(None, Some(b"a"));
        data.push(None, Some(b"b"));
        let whole = [first, data.build()].concat();
        let cut = [&whole[..], &whole[..70]].concat();
        let fetched = read_fetched(&Bytes::from(cut)).expect("good batches, and part of one");
        assert_eq!(fetched.bytes, whole);
        let shape = |batch: &FetchedBatch| (batch.base_offset.0, batch.end_offset.0, batch.epoch.0);
        assert_eq!(fetched.batches.iter().map(shape).collect::<Vec<_>>(), [(4, 5, 2), (5, 7, 3)]);
        assert_eq!(fetched.batches[0].control, [(Offset(4), leader_change())]);
        assert_eq!(fetched.batches[1].control, []);
    }

    #[test]
    fn damage_is_an_error_and_not_a_cut() {
        let good = control_batch(Offset(0), LeaderEpoch(1), Timestamp(7), &[leader_change()]);
        for at in 21..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let read = read_fetched(&Bytes::from(bad));
            assert_eq!(read, Err(RecordsError::Batch(BatchError::BadCrc)), "byte {at}");
        }
        let mut old = good;
        old[16] = 1;
        let read = read_fetched(&Bytes::from(old));
        assert_eq!(read, Err(RecordsError::Batch(BatchError::UnsupportedMagic(1))));
    }
}
