//! What a follower does: fetch, append, cut off what the leader does not have.
//!
//! Also what an observer does, and a voter that knows no leader: they ask whoever is configured,
//! and an answer tells them the leader.

use ottla_types::Offset;

use super::effect::Effect;
use super::messages::{
    FetchOutcome, FetchReply, FetchRequest, FetchSnapshot, Fetched, OffsetAndEpoch, Peer, Request,
};
use super::mutant::Mutant;
use super::role::{Follower, Role, SnapshotFetch};
use super::{Core, Shutdown};

impl Core {
    /// Fetches from one of those that may know the leader.
    pub(super) fn fetch_from_anyone(&mut self) {
        if self.shutdown != Shutdown::No || !self.may_fetch() {
            return;
        }
        let peers = &self.config.bootstrap;
        if peers.is_empty() {
            return;
        }
        let first = self.rng.below(peers.len() as u64) as usize;
        let mut turned = peers[first..].iter().chain(&peers[..first]);
        if let Some(peer) = turned.find(|peer| self.requests.is_ready(**peer)).copied() {
            let fetch = Request::Fetch(self.fetch_request());
            self.send_if_ready(peer, fetch);
        }
    }

    /// Fetches on from the leader; from anyone, while the leader does not answer.
    pub(super) fn fetch_from_leader(&mut self) {
        let leader = Peer::Node(self.election.leader.expect("a follower has a leader"));
        if self.requests.is_backing_off(leader) || self.requests.was_silent(leader) {
            return self.fetch_from_anyone();
        }
        let Role::Follower(follower) = &self.role else { return };
        let request = match &follower.snapshot {
            Some(snapshot) if snapshot.complete => return,
            Some(snapshot) => Request::FetchSnapshot(FetchSnapshot {
                replica: self.config.me,
                epoch: self.election.epoch,
                snapshot: snapshot.id,
                position: snapshot.position,
            }),
            None => Request::Fetch(self.fetch_request()),
        };
        if self.may_fetch() {
            self.send_if_ready(leader, request);
        }
    }

    /// One Fetch at a time, and only with a log that is on disk: the offset is an acknowledgement.
    fn may_fetch(&self) -> bool {
        let on_disk = self.log.flushed() == self.log.end();
        let acknowledges = on_disk || !self.must_flush();
        !self.requests.any_under_way() && (acknowledges || self.planted(Mutant::FetchAcksUnflushed))
    }

    fn fetch_request(&self) -> FetchRequest {
        FetchRequest {
            replica: self.config.me,
            epoch: self.election.epoch,
            log_end: self.log.end_and_epoch(),
            high_watermark: self.high_watermark.unwrap_or(Offset(-1)),
            wait_max: self.config.timeouts.fetch_wait_max,
        }
    }

    /// Takes in what the leader sent; false when it does not continue this log.
    pub(super) fn on_fetch_reply(&mut self, reply: FetchReply<Fetched>) -> bool {
        let Role::Follower(_) = self.role else { return true };
        let taken = match reply.outcome {
            FetchOutcome::Records(records) => {
                self.append_fetched(records) && self.take_high_watermark(reply.high_watermark)
            }
            FetchOutcome::Diverging(end) => self.cut_off(end),
            FetchOutcome::Snapshot(snapshot) => self.begin_snapshot(snapshot),
        };
        if taken {
            self.leader_is_alive();
        }
        taken
    }

    /// Only beside records, perhaps none: they say that this log is a prefix of the leader's.
    fn take_high_watermark(&mut self, leaders: Option<Offset>) -> bool {
        if let Some(offset) = leaders.filter(|offset| *offset >= self.log.start()) {
            self.raise_high_watermark(offset.min(self.log.end()));
        }
        true
    }

    /// The leader has answered: it is given a whole fetch time-out again.
    pub(super) fn leader_is_alive(&mut self) {
        let deadline = self.after(self.config.timeouts.fetch);
        if let Role::Follower(follower) = &mut self.role {
            *follower =
                Follower { deadline, has_fetched: true, snapshot: follower.snapshot.take() };
        }
    }

    fn append_fetched(&mut self, fetched: Fetched) -> bool {
        if !self.continues_log(&fetched) {
            return false;
        }
        let base_offset = self.log.end();
        for batch in &fetched.batches {
            self.log.append(batch.epoch, batch.end_offset);
            for (offset, record) in &batch.control {
                self.voters.record(*offset, record);
            }
        }
        let end_offset = self.log.end();
        if end_offset > base_offset {
            let bytes = fetched.bytes;
            self.emit(Effect::AppendFetched { base_offset, end_offset, bytes });
        }
        true
    }

    /// Whether the batches begin where this log ends, follow each other, and are of epochs that
    /// may stand there.
    fn continues_log(&self, fetched: &Fetched) -> bool {
        let mut end = self.log.end_and_epoch();
        fetched.batches.iter().all(|batch| {
            let follows = batch.base_offset == end.offset && batch.end_offset > end.offset;
            let in_epoch = batch.epoch >= end.epoch && batch.epoch <= self.election.epoch;
            end = OffsetAndEpoch { offset: batch.end_offset, epoch: batch.epoch };
            follows && in_epoch
        })
    }

    /// Cuts this log where it leaves the leader's.
    ///
    /// # Panics
    /// When that is below the high watermark: committed records would be lost.
    fn cut_off(&mut self, leader_end: OffsetAndEpoch) -> bool {
        let cut = self.log.truncation_point(leader_end);
        if cut >= self.log.end() || cut < self.log.start() {
            return false;
        }
        if self.planted(Mutant::KeepsDivergingTail) {
            return true;
        }
        let committed = self.high_watermark.is_some_and(|committed| cut < committed);
        assert!(!committed, "what is committed is never cut off");
        self.log.truncate_to(cut);
        self.voters.truncate_to(cut);
        self.emit(Effect::TruncateTo(cut));
        true
    }

    fn begin_snapshot(&mut self, id: OffsetAndEpoch) -> bool {
        let Role::Follower(follower) = &mut self.role else { return false };
        let goes_back = Some(id.offset) < self.high_watermark;
        if goes_back || id.offset.0 < 0 || id.epoch > self.election.epoch {
            return false;
        }
        follower.snapshot = Some(SnapshotFetch { id, position: 0, complete: false });
        true
    }
}
