//! Offsets in transactions (KIP-98, KIP-447): TxnOffsetCommit, and the markers that decide.
//!
//! ```text
//!   commit ──> pending: nobody is told of it; who asks for stable offsets is to ask again
//!                └─ marker ──> committed: it counts, unless a newer one was committed meanwhile
//!                └─ marker ──> aborted: it was never there
//! ```
//! - The producer's epoch is looked at where the records are appended: what comes too late is not.
//! - Who commits is looked at as with other commits, but for members that older clients do not
//!   name, and in any state of the group.
//! - A tombstone takes the pending offsets of its partition, too.
//!
//! Source: `OffsetMetadataManager.commitTransactionalOffset`, `replayEndTransactionMarker`.

use ottla_protocol::control::{ControlRecord, EndTransaction};
use ottla_types::{ErrorCode, Offset, ProducerId};

use super::change::Change;
use super::consumer::Committer;
use super::effect::{Answer, Effects, Part, RecordBytes, Then, Ticket, Write};
use super::offsets::{CommittedOffset, OffsetCommit, OffsetKey};
use super::{GroupId, GroupShard, Now, Slot};
pub use crate::shard_core::{Transaction, TransactionEnd};

impl GroupShard {
    /// Commits offsets, once their transaction is.
    pub fn commit_transactional(
        &mut self,
        now: Now,
        request: &OffsetCommit,
        transaction: Transaction,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let committer = match self.check_transactional(request) {
            Ok(committer) => committer,
            Err(error) => return out.answer(ticket, Err(error)),
        };
        let producer = transaction.producer_id;
        let pending = |key, offset| Change::Pending(producer, key, offset);
        let (mut outcomes, changes) = self.judge_offsets(now, request, &committer, pending);
        for outcome in &mut outcomes {
            *outcome = told_of_epoch(*outcome, request.knows_epochs);
        }
        let answer = Answer::Committed(outcomes);
        if changes.is_empty() {
            return out.answer(ticket, Ok(answer));
        }
        self.counts.offset_commits += changes.len() as u64;
        let part = Part::Of(transaction);
        self.write_part(&changes, part, Then::Answer(ticket, answer), out);
    }

    fn check_transactional(&self, request: &OffsetCommit) -> Result<Committer, ErrorCode> {
        let checked = match self.slots.get(&request.group) {
            None if request.generation < 0 => Ok(Committer::Trusted),
            None => Err(ErrorCode::IllegalGeneration),
            Some(Slot::Classic(_)) => {
                let group = self.classic(&request.group).expect("a group has its state");
                let (member, instance) = (&request.member, request.instance.as_deref());
                let checked = group.check_transactional(member, instance, request.generation);
                checked.map(|()| Committer::Trusted)
            }
            Some(Slot::Consumer) => {
                // Whatever the version, members of these groups commit in transactions.
                self.check_consumer_commit(&OffsetCommit {
                    group: request.group.clone(),
                    member: request.member.clone(),
                    instance: None,
                    generation: request.generation,
                    knows_epochs: true,
                    retention_ms: None,
                    offsets: Vec::new(),
                })
            }
            Some(Slot::Other(kind)) => self.check_other_commit(*kind, request),
        };
        checked.map_err(|error| told_of_epoch(error, request.knows_epochs))
    }

    /// Ends a transaction.
    pub fn end_transaction(&mut self, end: &TransactionEnd, ticket: Ticket, out: &mut Effects) {
        let at = self.end;
        self.replay_end(end.producer_id, end.commit, at);
        self.end = at.plus(1);
        let record = EndTransaction { coordinator_epoch: end.coordinator_epoch };
        let record = match end.commit {
            true => ControlRecord::Commit(record),
            false => ControlRecord::Abort(record),
        };
        let (key, value) = record.encode();
        let records = vec![RecordBytes { key: key.into(), value: Some(value.into()) }];
        let then = Then::Answer(ticket, Answer::TransactionEnded);
        out.writes.push(Write { at, records, part: Part::End(*end), then });
    }

    fn replay_end(&mut self, producer: ProducerId, commit: bool, at: Offset) {
        for (key, offset) in self.pending_of(producer) {
            self.pending.remove(&(key.clone(), producer), at);
            self.pending_keys.remove(&(producer, key.clone()), at);
            if commit && self.is_newest(&key, offset.record) {
                if self.slots.get(&key.group).is_none() {
                    self.create_classic(&key.group, offset.committed_at, at);
                }
                self.offsets.put(key, offset, at);
            }
        }
    }

    /// Ends a transaction that was loaded: its offsets count, or are forgotten.
    pub(super) fn load_end_of_transaction(&mut self, producer: ProducerId, commit: bool) {
        for (key, offset) in self.pending_of(producer) {
            self.unload_pending(&key, producer);
            if commit && self.is_newest(&key, offset.record) {
                self.offsets.load(key, offset);
            }
        }
    }

    /// Whether nothing was committed for a partition behind this record.
    fn is_newest(&self, key: &OffsetKey, record: Offset) -> bool {
        self.offsets.get(key).is_none_or(|known| known.record < record)
    }

    /// The offset is pending, by the record at `at`.
    pub(super) fn put_pending(
        &mut self,
        key: OffsetKey,
        producer: ProducerId,
        offset: CommittedOffset,
        at: Offset,
    ) {
        self.pending_keys.put((producer, key.clone()), (), at);
        self.pending.put((key, producer), offset, at);
    }

    /// The pending offsets of a partition are forgotten, by the record at `at`.
    pub(super) fn remove_pending(&mut self, key: &OffsetKey, at: Offset) {
        for producer in self.producers_with(key) {
            self.pending.remove(&(key.clone(), producer), at);
            self.pending_keys.remove(&(producer, key.clone()), at);
        }
    }

    /// As [`GroupShard::put_pending`], of a record that is loaded.
    pub(super) fn load_pending(
        &mut self,
        key: OffsetKey,
        producer: ProducerId,
        offset: CommittedOffset,
    ) {
        self.pending_keys.load((producer, key.clone()), ());
        self.pending.load((key, producer), offset);
    }

    /// As [`GroupShard::remove_pending`], by a record that is loaded.
    pub(super) fn unload_all_pending(&mut self, key: &OffsetKey) {
        for producer in self.producers_with(key) {
            self.unload_pending(key, producer);
        }
    }

    fn unload_pending(&mut self, key: &OffsetKey, producer: ProducerId) {
        self.pending.unload(&(key.clone(), producer));
        self.pending_keys.unload(&(producer, key.clone()));
    }

    fn pending_of(&self, producer: ProducerId) -> Vec<(OffsetKey, CommittedOffset)> {
        let next = ProducerId(producer.0.saturating_add(1));
        let range = (producer, OffsetKey::first())..(next, OffsetKey::first());
        let keys = self.pending_keys.range(range).map(|((_, key), ())| key);
        let offset = |key: &OffsetKey| self.pending.get(&(key.clone(), producer)).cloned();
        keys.map(|key| (key.clone(), offset(key).expect("a key has its offset"))).collect()
    }

    /// Producers with an open transaction that commits an offset for `key`.
    pub(super) fn producers_with(&self, key: &OffsetKey) -> Vec<ProducerId> {
        if self.pending.len() == 0 {
            return Vec::new();
        }
        self.pending.range(producers(key)).map(|((_, producer), _)| *producer).collect()
    }

    /// Whether a transaction is about to change a partition's offset: one that has not ended, or
    /// whose end, or beginning, is not committed.
    pub(super) fn is_unstable(&self, key: &OffsetKey) -> bool {
        if self.pending.len() == 0 && self.pending.is_settled() {
            return false;
        }
        let range = producers(key);
        self.pending.range(range.clone()).next().is_some()
            || self.pending.committed_range(range).next().is_some()
    }

    /// The pending offsets of a group.
    pub(super) fn pending_in(&self, id: &GroupId) -> impl Iterator<Item = &OffsetKey> {
        let all = OffsetKey::all_of(id);
        let range = (all.start, NO_PRODUCER)..(all.end, NO_PRODUCER);
        self.pending.range(range).map(|((key, _), _)| key)
    }

    /// Panics unless each pending offset is under its producer.
    pub(super) fn check_pending(&self) {
        self.pending.check();
        self.pending_keys.check();
        assert_eq!(self.pending.len(), self.pending_keys.len(), "each is there twice");
        for ((key, producer), _) in self.pending.range(..) {
            let there = self.pending_keys.get(&(*producer, key.clone())).is_some();
            assert!(there, "{producer} has {key:?}");
        }
    }
}

/// Below all producers.
const NO_PRODUCER: ProducerId = ProducerId(i64::MIN);

fn producers(key: &OffsetKey) -> std::ops::RangeInclusive<(OffsetKey, ProducerId)> {
    (key.clone(), NO_PRODUCER)..=(key.clone(), ProducerId(i64::MAX))
}

/// What the client is told of a member's epoch: older versions know generations only.
fn told_of_epoch(error: ErrorCode, knows_epochs: bool) -> ErrorCode {
    match error {
        ErrorCode::StaleMemberEpoch if !knows_epochs => ErrorCode::IllegalGeneration,
        other => other,
    }
}
