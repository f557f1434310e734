//! What stands between the coordinators and the world: their logs, which are late, refusing, or
//! telling lies, and the partitions that take markers, now and then without saying so, or not at
//! all.
//!
//! Both are ports of the product (`NodeParts`), so that what a bug of the coordinator would do is
//! planted without a line of the product.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::group::Part;
use ottla_coordinator::runtime::{Appended, LogPort};
use ottla_coordinator::txn::{MarkerPort, MarkersWritten, TransactionState, TxnMarker};
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, Records};
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::transaction::{TransactionLogValue, TransactionRecord};
use ottla_runtime::{Plane, Runtime};
use ottla_types::{ErrorCode, Offset, ProducerEpoch, TopicIdPartition};

use crate::dice::Dice;
use crate::findings::Findings;
use crate::groups::log::{SimLogs, Weather};
use crate::mutant::TxnBug;

/// The epoch near which ids of a worn world are loaded, and how far behind it at most.
const WORN_EPOCH: i16 = 32_761;
const WORN_MORE: i16 = 6;

/// The logs of one coordinator of a process.
pub struct CoordinatorLogs {
    pub logs: SimLogs,
    pub bug: Option<TxnBug>,
    /// Whether ids are loaded as if their producers had begun more than 32,000 times.
    pub worn: bool,
    /// The first offset of each partition of a group, for a bug.
    pub offsets: Mutex<BTreeMap<Bytes, Bytes>>,
}

impl LogPort for CoordinatorLogs {
    fn append(
        &self,
        id: TopicIdPartition,
        batch: Bytes,
        part: Part,
    ) -> Result<Appended, ErrorCode> {
        self.logs.append(id, batch, part)
    }

    fn batch_bytes_max(&self, id: TopicIdPartition) -> Result<usize, ErrorCode> {
        self.logs.batch_bytes_max(id)
    }

    fn read(&self, id: TopicIdPartition, from: Offset, bytes_max: u64) -> Result<Bytes, ErrorCode> {
        let piece = self.logs.logs.read(id, from, bytes_max)?;
        let lies = matches!(self.bug, Some(TxnBug::PreparedForgotten | TxnBug::OffsetsRegress));
        Ok(if self.worn || lies { self.told_of(&piece) } else { piece })
    }

    fn bounds(&self, id: TopicIdPartition) -> Result<(Offset, Offset), ErrorCode> {
        self.logs.logs.bounds(id)
    }
}

impl CoordinatorLogs {
    /// The piece with other values in the same records. Markers stay as they are.
    fn told_of(&self, piece: &Bytes) -> Bytes {
        let (mut told, mut left) = (Vec::new(), &piece[..]);
        while left.len() >= BATCH_OVERHEAD {
            let header = BatchHeader::read(left).expect("the log is sound");
            let Some(batch) = left.get(..header.size()) else { break };
            left = &left[batch.len()..];
            if header.attributes.is_control() {
                told.extend(batch);
                continue;
            }
            let (base, epoch) = (header.base_offset, header.leader_epoch);
            let kind = match header.attributes.is_transactional() {
                true => BatchKind::Transactional,
                false => BatchKind::Data,
            };
            let mut builder = BatchBuilder::new(kind, base, epoch, header.base_timestamp)
                .with_producer(header.producer_id, header.producer_epoch, header.base_sequence);
            for record in Records::new(&header, &batch[BATCH_OVERHEAD..]) {
                let record = record.expect("the log is sound");
                let key = record.key.expect("records of coordinators have keys");
                let value = match self.bug {
                    Some(TxnBug::OffsetsRegress) => self.first_of(key, record.value),
                    _ => self.value_of(record.offset, key, record.value),
                };
                builder.push(Some(key), value.as_deref());
            }
            told.extend(builder.build());
        }
        told.into()
    }

    /// Of an offset, the one that was committed first.
    fn first_of(&self, key: &[u8], value: Option<&[u8]>) -> Option<Bytes> {
        let truth = value.map(Bytes::copy_from_slice)?;
        let Ok((GroupRecord::OffsetCommit(..), _)) = GroupRecord::decode(key, value) else {
            return Some(truth);
        };
        let mut first = self.offsets.lock().expect("what was read");
        Some(first.entry(Bytes::copy_from_slice(key)).or_insert(truth).clone())
    }

    fn value_of(&self, offset: Offset, key: &[u8], value: Option<&[u8]>) -> Option<Bytes> {
        let decoded = TransactionRecord::decode(key, value);
        let Ok((TransactionRecord::TransactionLog(key, Some(mut it)), Some(version))) = decoded
        else {
            return value.map(Bytes::copy_from_slice);
        };
        let state = TransactionState::from_number(it.transaction_status);
        let state = state.expect("a state that was written");
        if self.bug == Some(TxnBug::PreparedForgotten) {
            it.transaction_status = completed(state).number();
        }
        // With a transaction it has written batches in its epoch.
        if self.worn && state.may_expire() {
            wear(&mut it, offset);
        }
        let (_, told) = TransactionRecord::TransactionLog(key, Some(it)).encode(version);
        told.map(Bytes::from)
    }
}

/// What becomes of a state when its markers are written.
fn completed(state: TransactionState) -> TransactionState {
    match state {
        TransactionState::PrepareCommit => TransactionState::CompleteCommit,
        TransactionState::PrepareAbort => TransactionState::CompleteAbort,
        other => other,
    }
}

/// By its offset, so that a record is worn alike whenever it is loaded.
fn wear(value: &mut TransactionLogValue, offset: Offset) {
    let worn = WORN_EPOCH + (offset.0 % i64::from(WORN_MORE)) as i16;
    value.producer_epoch = value.producer_epoch.max(ProducerEpoch(worn));
}

/// The partitions that take markers, in all weathers.
pub struct SimMarkers {
    pub markers: Arc<dyn MarkerPort>,
    pub runtime: Runtime,
    pub dice: Dice,
    pub findings: Findings,
    pub weather: Weather,
    pub bug: Option<TxnBug>,
}

impl MarkerPort for SimMarkers {
    fn write(&self, markers: Vec<TxnMarker>) -> MarkersWritten {
        let count = markers.len();
        let is_last = |it: &TxnMarker| it.producer_epoch.0 >= i16::MAX - 1;
        match self.bug {
            Some(TxnBug::CompleteBeforeMarkers) => {
                let delay = Duration::from_millis(self.dice.below(2_000));
                let (clock, port) = (self.runtime.clock().clone(), self.markers.clone());
                self.runtime.spawn(Plane::Data(0), "late markers", async move {
                    clock.sleep(delay).await;
                    port.write(markers).await;
                });
                Box::pin(async move { vec![Ok(()); count] })
            }
            Some(TxnBug::UsedUpEpochsHang) if markers.iter().any(is_last) => {
                Box::pin(async move { vec![Err(ErrorCode::UnknownServerError); count] })
            }
            _ => self.write_in_weather(markers),
        }
    }
}

impl SimMarkers {
    /// Some markers are not written; of some that are, nobody is told so.
    fn write_in_weather(&self, markers: Vec<TxnMarker>) -> MarkersWritten {
        let lots: Vec<Lot> = markers.iter().map(|_| self.lot()).collect();
        let (sent, lost): (Vec<_>, Vec<_>) =
            markers.into_iter().zip(&lots).partition(|(_, lot)| **lot != Lot::Lost);
        let refused = lots.iter().filter(|lot| **lot != Lot::Written).count();
        self.findings.count(|stats| stats.refusals += refused as u64);
        drop(lost);
        let written = self.markers.write(sent.into_iter().map(|(marker, _)| marker).collect());
        Box::pin(async move {
            let mut written = written.await.into_iter();
            let outcome = |lot: &Lot| match lot {
                Lot::Written => written.next().expect("one for each"),
                Lot::Silent => {
                    written.next();
                    Err(ErrorCode::RequestTimedOut)
                }
                Lot::Lost => Err(ErrorCode::NotLeaderOrFollower),
            };
            lots.iter().map(outcome).collect()
        })
    }

    fn lot(&self) -> Lot {
        match self.dice.chance(self.weather.refused_percent()) {
            false => Lot::Written,
            true => self.dice.pick(&[Lot::Lost, Lot::Silent]),
        }
    }
}

/// What becomes of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lot {
    /// It is written, and its coordinator hears what came of it.
    Written,
    /// It is written, and its coordinator hears nothing.
    Silent,
    /// It is not written.
    Lost,
}
