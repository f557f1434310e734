//! Sequences, epochs, transactions and snapshots of producers.

use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchKind};
use ottla_protocol::control::{ControlRecord, EndTransaction};
use ottla_types::LeaderEpoch;

use super::*;

fn batch(epoch: i16, sequence: i32, records: i32, offset: i64) -> BatchHeader {
    let mut builder = BatchBuilder::new(
        BatchKind::Data,
        Offset(offset),
        LeaderEpoch(0),
        Timestamp(1000 + offset),
    )
    .with_producer(ProducerId(5), ProducerEpoch(epoch), sequence);
    (0..records).for_each(|_| builder.push(None, Some(b"v")));
    BatchHeader::read(&builder.build()).expect("just built")
}

/// Appends batches of `(epoch, sequence, records)` one after the other.
fn appended(batches: &[(i16, i32, i32)]) -> ProducerState {
    let mut state = ProducerState::default();
    let mut offset = 0;
    for (epoch, sequence, records) in batches {
        let header = batch(*epoch, *sequence, *records, offset);
        assert_eq!(state.judge(&header), ProducerVerdict::Append);
        state.note(&header, None);
        offset += i64::from(*records);
    }
    state
}

#[test]
fn batches_follow_each_other() {
    let state = appended(&[(1, 0, 3), (1, 3, 1)]);
    let judge = |epoch, sequence, records| state.judge(&batch(epoch, sequence, records, 0));
    assert_eq!(judge(1, 4, 9), ProducerVerdict::Append);
    assert_eq!(judge(1, 5, 1), ProducerVerdict::OutOfOrder);
    assert_eq!(judge(1, 0, 2), ProducerVerdict::OutOfOrder, "part of an earlier batch");
    assert_eq!(judge(0, 4, 1), ProducerVerdict::OldEpoch);
    assert_eq!(judge(2, 0, 1), ProducerVerdict::Append);
    assert_eq!(judge(2, 4, 1), ProducerVerdict::OutOfOrder, "a new epoch begins at 0");
}

#[test]
fn one_of_the_last_five_is_recognized() {
    let state = appended(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
    let duplicate = ProducerVerdict::Duplicate {
        base_offset: Offset(1),
        last_offset: Offset(2),
        timestamp: Timestamp(1001),
    };
    assert_eq!(state.judge(&batch(0, 1, 2, 99)), duplicate);
    assert_eq!(state.judge(&batch(0, 0, 1, 99)), ProducerVerdict::OutOfOrder);
}

#[test]
fn sequences_wrap() {
    let state = appended(&[(0, i32::MAX - 1, 2), (0, 0, 1)]);
    assert_eq!(state.judge(&batch(0, 1, 1, 9)), ProducerVerdict::Append);
    let state = appended(&[(0, i32::MAX, 3)]);
    assert_eq!(state.judge(&batch(0, 2, 1, 9)), ProducerVerdict::Append);
    let again = state.judge(&batch(0, i32::MAX, 3, 9));
    assert!(matches!(again, ProducerVerdict::Duplicate { .. }));
}

#[test]
fn unknown_producers_begin_anywhere_and_silent_ones_are_forgotten() {
    let mut state = appended(&[(0, 17, 1)]);
    state.expire(Timestamp(1999), Duration::from_secs(1));
    assert_eq!(state.len(), 1);
    state.expire(Timestamp(2000), Duration::from_secs(1));
    assert!(state.is_empty());
}

#[test]
fn what_follows_a_refused_first_batch_waits_for_it() {
    let mut refused = RefusedFirsts::default();
    refused.note(&batch(0, 3, 2, 0), &ProducerState::default());
    refused.note(&batch(0, 5, 2, 0), &ProducerState::default());
    assert!(refused.forbids(&batch(0, 5, 2, 0)));
    assert!(!refused.forbids(&batch(0, 3, 2, 0)));
    assert!(!refused.forbids(&batch(0, 1, 2, 0)), "it was refused before, and not for room");
    assert!(!refused.forbids(&batch(0, i32::MAX, 4, 0)), "numbers begin again");
    assert!(!refused.forbids(&batch(1, 0, 2, 0)), "it has begun anew");
    refused.note(&batch(0, 1, 2, 0), &ProducerState::default());
    assert!(refused.forbids(&batch(0, 3, 2, 0)), "the earliest counts");
    refused.forget(batch(0, 3, 2, 0).producer_id);
    assert!(!refused.forbids(&batch(0, 5, 2, 0)));
    refused.note(&batch(0, 5, 2, 0), &appended(&[(0, 3, 2)]));
    assert!(!refused.forbids(&batch(0, 7, 2, 0)), "a known producer has its sequences");
}

#[test]
fn snapshots_keep_the_last_batch() {
    assert_eq!(ProducerState::default().to_snapshot().len(), 10);
    let state = appended(&[(1, 0, 1), (1, 1, 2)]);
    let bytes = state.to_snapshot();
    assert_eq!(bytes.len(), 10 + 46);
    let read = ProducerState::from_snapshot(&bytes).expect("valid");
    assert!(matches!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::Duplicate { .. }));
    assert_eq!(read.judge(&batch(1, 3, 1, 0)), ProducerVerdict::Append);
    assert_eq!(read.to_snapshot(), bytes);
}

#[test]
fn earlier_batches_are_recalled_from_the_log() {
    let state = appended(&[(1, 0, 1), (1, 1, 2), (1, 3, 1)]);
    let mut read = ProducerState::from_snapshot(&state.to_snapshot()).expect("valid");
    assert_eq!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::OutOfOrder);
    read.recall(&appended(&[(1, 0, 1), (1, 1, 2)]));
    assert_eq!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::OutOfOrder, "another end");
    read.recall(&state);
    assert!(matches!(read.judge(&batch(1, 1, 2, 0)), ProducerVerdict::Duplicate { .. }));
}

#[test]
fn damaged_snapshots_are_noticed() {
    let bytes = appended(&[(1, 0, 1)]).to_snapshot();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(ProducerState::from_snapshot(&damaged).is_err(), "byte {at}");
        assert!(ProducerState::from_snapshot(&bytes[..at]).is_err(), "cut at {at}");
    }
}

fn transactional(id: i64, epoch: i16, sequence: i32, offset: i64) -> BatchHeader {
    let (kind, time) = (BatchKind::Transactional, Timestamp(1000 + offset));
    let mut builder = BatchBuilder::new(kind, Offset(offset), LeaderEpoch(0), time).with_producer(
        ProducerId(id),
        ProducerEpoch(epoch),
        sequence,
    );
    builder.push(None, Some(b"v"));
    BatchHeader::read(&builder.build()).expect("just built")
}

fn marker(id: i64, epoch: i16, offset: i64, aborted: bool) -> (BatchHeader, TransactionEnd) {
    let (kind, time) = (BatchKind::Marker, Timestamp(1000 + offset));
    let mut builder = BatchBuilder::new(kind, Offset(offset), LeaderEpoch(0), time).with_producer(
        ProducerId(id),
        ProducerEpoch(epoch),
        -1,
    );
    let end = EndTransaction { coordinator_epoch: 3 };
    let record = if aborted { ControlRecord::Abort(end) } else { ControlRecord::Commit(end) };
    let (key, value) = record.encode();
    builder.push(Some(&key), Some(&value));
    let bytes = builder.build();
    let header = BatchHeader::read(&bytes).expect("just built");
    let end = TransactionEnd::read(&header, &bytes[BATCH_OVERHEAD..]).expect("a marker");
    (header, end)
}

fn end(state: &mut ProducerState, marker: &(BatchHeader, TransactionEnd)) -> Option<(i64, i64)> {
    let ended = state.note(&marker.0, Some(&marker.1))?;
    Some((ended.first_offset.0, ended.last_stable_offset.0))
}

#[test]
fn an_open_transaction_is_unstable_until_its_marker_is_replicated() {
    let mut state = ProducerState::default();
    state.note(&transactional(1, 0, 0, 10), None);
    state.note(&transactional(2, 0, 0, 11), None);
    state.note(&transactional(1, 0, 1, 12), None);
    assert_eq!(state.first_unstable(), Some(Offset(10)));
    assert_eq!(end(&mut state, &marker(2, 0, 13, true)), Some((11, 10)), "the other one is open");
    assert_eq!(end(&mut state, &marker(1, 0, 14, false)), Some((10, 15)));
    assert_eq!(end(&mut state, &marker(1, 0, 15, true)), None, "none was open");
    state.replicated(Offset(14));
    assert_eq!(state.first_unstable(), Some(Offset(10)), "its marker is not replicated");
    state.replicated(Offset(15));
    assert_eq!(state.first_unstable(), None);
}

#[test]
fn a_marker_of_a_newer_epoch_ends_the_transaction_and_the_sequences() {
    let mut state = ProducerState::default();
    state.note(&transactional(5, 0, 7, 0), None);
    assert_eq!(state.judge(&batch(0, 8, 1, 1)), ProducerVerdict::OutsideTransaction);
    assert_eq!(end(&mut state, &marker(5, 1, 1, false)), Some((0, 2)));
    assert_eq!(state.judge(&batch(0, 8, 1, 2)), ProducerVerdict::OldEpoch);
    assert_eq!(state.judge(&batch(1, 8, 1, 2)), ProducerVerdict::OutOfOrder);
    assert_eq!(state.judge(&batch(1, 0, 1, 2)), ProducerVerdict::Append);
}

#[test]
fn a_producer_with_an_open_transaction_is_not_forgotten() {
    let mut state = ProducerState::default();
    state.note(&transactional(1, 0, 0, 0), None);
    state.expire(Timestamp(1_000_000), Duration::from_secs(1));
    assert_eq!(state.len(), 1);
    end(&mut state, &marker(1, 0, 1, true));
    state.expire(Timestamp(1_000_000), Duration::from_secs(1));
    assert!(state.is_empty());
}

/// A file of Kafka 4.3.1: five producers, the fourth with an open transaction.
const KAFKAS: &str = "\
    0001d5f3113a00000005\
    000000000000000000000000000200000000\
    000000d000000000000001a1fe1ce8f100000000ffffffffffffffff\
    000000000000000100000000005a00000000\
    0000013200000000000001a1fe1cea3b00000000ffffffffffffffff\
    000000000000000200000000005a00000000\
    0000013400000000000001a1fe1cea3f00000000ffffffffffffffff\
    000000000000000300000000000000000000\
    0000013100000000000001a1fe1cea30ffffffff0000000000000131\
    000000000000000400000000003b00000000\
    0000012d00000000000001a1fe1ce8dfffffffffffffffffffffffff";

#[test]
fn a_snapshot_of_kafkas_is_read_and_written_byte_for_byte() {
    let byte = |at: usize| u8::from_str_radix(&KAFKAS[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..KAFKAS.len()).step_by(2).map(byte).collect();
    let state = ProducerState::from_snapshot(&bytes).expect("Kafka wrote it");
    assert_eq!(state.len(), 5);
    assert_eq!(state.first_unstable(), Some(Offset(0x131)));
    assert_eq!(state.to_snapshot(), bytes);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(ProducerState::from_snapshot(&damaged).is_err(), "byte {at}");
    }
}

fn coordinators(epoch: i16, coordinator_epoch: i32, transaction_version: i16) -> Marker {
    let (producer_id, producer_epoch) = (ProducerId(5), ProducerEpoch(epoch));
    Marker { producer_id, producer_epoch, commit: true, coordinator_epoch, transaction_version }
}

#[test]
fn a_markers_batch_is_what_is_read_of_it() {
    let marker = coordinators(3, 7, 2);
    let batch = marker.batch(Timestamp(9));
    assert_eq!((batch.header.producer_epoch, batch.header.base_sequence), (ProducerEpoch(3), -1));
    assert!(batch.header.attributes.is_transactional());
    let end = TransactionEnd::read(&batch.header, &batch.bytes[BATCH_OVERHEAD..]);
    let expected = TransactionEnd { aborted: false, coordinator_epoch: 7, timestamp: Timestamp(9) };
    assert_eq!(end, Some(expected));
}

#[test]
fn markers_are_judged_by_both_epochs_and_the_version() {
    use MarkerVerdict::{Append, Duplicate, OldCoordinator, OldEpoch};
    let mut state = ProducerState::default();
    let judge = |state: &ProducerState, epoch: i16, version: i16| {
        state.judge_marker(&coordinators(epoch, 3, version))
    };
    assert_eq!(judge(&state, 0, 0), Append, "nothing is known of the producer");
    state.note(&transactional(5, 4, 0, 0), None);
    for version in 0..=1 {
        let verdicts = [3, 4, 5].map(|epoch| judge(&state, epoch, version));
        assert_eq!(verdicts, [OldEpoch, Append, Append], "version {version}");
    }
    let verdicts = [3, 4, 5].map(|epoch| judge(&state, epoch, 2));
    assert_eq!(verdicts, [OldEpoch, OldEpoch, Append], "of another time");
    end(&mut state, &marker(5, 5, 1, false));
    let verdicts = [4, 5, 6].map(|epoch| judge(&state, epoch, 2));
    assert_eq!(verdicts, [OldEpoch, Duplicate, Append], "it comes again");
    assert_eq!(judge(&state, 5, 1), Append, "as Kafka, written again");
    // The marker above is of coordinator 3.
    assert_eq!(state.judge_marker(&coordinators(6, 2, 2)), OldCoordinator);
    assert_eq!(state.judge_marker(&coordinators(5, 2, 0)), OldCoordinator);
}

fn first(epoch: i16, sequence: i32, adds: bool) -> FirstBatch {
    let (producer_id, producer_epoch) = (ProducerId(5), ProducerEpoch(epoch));
    FirstBatch { producer_id, producer_epoch, sequence, adds }
}

fn guard_of(verification: Verification) -> Option<VerificationGuard> {
    match verification {
        Verification::NotNeeded => None,
        Verification::Needed(guard) => Some(guard),
    }
}

#[test]
fn the_first_batch_of_a_transaction_shows_its_guard_and_no_other() {
    let (mut all, mut state) = (Verifications::default(), ProducerState::default());
    let now = Timestamp(0);
    let guard = guard_of(all.begin(first(1, 0, false), &state, now));
    assert!(guard.is_some() && all.is_guarded(ProducerId(5), guard));
    assert!(!all.is_guarded(ProducerId(5), None) && !all.is_guarded(ProducerId(6), guard));
    assert_eq!(guard_of(all.begin(first(1, 1, false), &state, now)), guard, "one for all of it");
    // A marker comes in between.
    all.end(&marker(5, 1, 0, false).0);
    let next = guard_of(all.begin(first(1, 0, false), &state, now));
    assert!(next.is_some() && next != guard && !all.is_guarded(ProducerId(5), guard));
    state.note(&transactional(5, 1, 0, 0), None);
    assert_eq!(guard_of(all.begin(first(1, 1, false), &state, now)), None, "it is open");
    assert!(guard_of(all.begin(first(2, 0, false), &state, now)).is_some(), "of another epoch");
    all.expire(Timestamp(1000), Duration::from_secs(1));
    assert!(!all.is_guarded(ProducerId(5), next));
}

/// KIP-890: the client was told that its transaction is committed, and begins the next one in the
/// next epoch, before the marker is in the partition.
#[test]
fn the_marker_of_the_transaction_before_is_not_the_end_of_the_next_one() {
    let state = ProducerState::default();
    for (adds, epoch, is_void) in
        [(true, 4, false), (true, 5, false), (true, 6, true), (false, 5, true)]
    {
        let mut all = Verifications::default();
        let guard = guard_of(all.begin(first(5, 0, adds), &state, Timestamp(0)));
        all.end(&marker(5, epoch, 0, false).0);
        assert_ne!(all.is_guarded(ProducerId(5), guard), is_void, "{adds} {epoch}");
    }
    // Its own batch ends the verification, whatever its epoch.
    let mut all = Verifications::default();
    let guard = guard_of(all.begin(first(5, 0, true), &state, Timestamp(0)));
    all.end(&transactional(5, 5, 0, 0));
    assert!(!all.is_guarded(ProducerId(5), guard));
}

#[test]
fn what_follows_an_unverified_batch_waits_for_it() {
    let (mut all, state) = (Verifications::default(), ProducerState::default());
    all.begin(first(1, 4, false), &state, Timestamp(0));
    all.begin(first(1, 2, false), &state, Timestamp(0));
    assert!(all.forbids(&transactional(5, 1, 4, 0), &state));
    assert!(!all.forbids(&transactional(5, 1, 2, 0), &state));
    all.begin(first(2, 7, false), &state, Timestamp(0));
    assert!(!all.forbids(&transactional(5, 2, 7, 0), &state), "a new epoch counts anew");
    // KIP-890: who has partitions added begins with number 0.
    let mut all = Verifications::default();
    all.begin(first(1, 4, true), &state, Timestamp(0));
    assert!(all.forbids(&transactional(5, 1, 4, 0), &state));
    assert!(!all.forbids(&transactional(5, 1, 0, 0), &state));
    let mut known = ProducerState::default();
    known.note(&transactional(5, 1, 3, 0), None);
    assert!(!all.forbids(&transactional(5, 1, 4, 0), &known), "it has begun before");
}
