//! What a leader does: append, count acknowledgements, answer fetches.
//!
//! A Fetch at offset n says that its replica has all below n on disk. It is answered at once when
//! there is something to say, and else parked until something is appended or committed, or its
//! wait is over.

use std::time::Duration;

use ottla_protocol::control::{
    ChangeVoter, ControlRecord, KRaftVersion, LeaderChange, Voter, Voters,
};
use ottla_types::{ErrorCode, LeaderEpoch, NO_NODE, NodeId, Offset};

use super::effect::{Effect, Payload, Proposal, Rejection};
use super::leader::Parked;
use super::log_shape::Validity;
use super::messages::{
    FetchOutcome, FetchReply, FetchRequest, OffsetAndEpoch, ReplyBody, RequestId, Served,
};
use super::mutant::Mutant;
use super::role::Role;
use super::voters::BEFORE_LOG;
use super::{Core, Shutdown};

/// Fetches that are parked at most; above that they are answered with nothing.
const PARKED_MAX: usize = 10_000;

impl Core {
    /// Appends a proposal, or says why not.
    pub(super) fn on_propose(&mut self, proposal: Proposal) {
        let Proposal { token, epoch, records } = proposal;
        assert!(records > 0, "a batch holds a record");
        if let Err(reason) = self.admit_proposal(epoch) {
            return self.emit(Effect::ProposalRejected { token, reason });
        }
        let base_offset = self.append_own(Payload::Proposal(token), records);
        let last_offset = Offset(self.log.end().0 - 1);
        self.emit(Effect::ProposalAccepted { token, base_offset, last_offset });
        self.answer_parked(|_| true);
    }

    fn admit_proposal(&self, epoch: LeaderEpoch) -> Result<(), Rejection> {
        if self.leader().is_none() || self.shutdown != Shutdown::No {
            Err(Rejection::NotLeader(self.leader_and_epoch()))
        } else if epoch != self.election.epoch {
            Err(Rejection::StaleEpoch(self.election.epoch))
        } else {
            Ok(())
        }
    }

    fn append_own(&mut self, payload: Payload, records: u32) -> Offset {
        let (base_offset, epoch) = (self.log.end(), self.election.epoch);
        self.log.append(epoch, base_offset.plus(i64::from(records)));
        self.emit(Effect::Append { base_offset, epoch, payload });
        self.count_own_log();
        base_offset
    }

    /// The first batch of an epoch. With it the leader can commit at once whatever earlier epochs
    /// left; with `kraft.version` 1 it also names the voters, if the log does not yet, or if this
    /// one now listens elsewhere.
    pub(super) fn append_leader_change(&mut self, granting: Vec<NodeId>) {
        let change_voter = |voter_id| ChangeVoter { voter_id, ..ChangeVoter::default() };
        let mut records = vec![ControlRecord::LeaderChange(LeaderChange {
            version: 0,
            leader_id: self.config.me.id,
            voters: self.voters().keys().map(|key| change_voter(key.id)).collect(),
            granting_voters: granting.into_iter().map(change_voter).collect(),
        })];
        if let Some(voters) = self.voters_to_write() {
            let version = KRaftVersion { version: 0, k_raft_version: self.kraft_version() };
            records.extend([ControlRecord::KRaftVersion(version), ControlRecord::Voters(voters)]);
        }
        for (record, offset) in records.iter().zip(self.log.end().0..) {
            self.voters.record(Offset(offset), record);
        }
        let count = records.len() as u32;
        self.append_own(Payload::Control(records), count);
        self.follow_voters();
    }

    fn voters_to_write(&self) -> Option<Voters> {
        let from_log = self.voters.voters_offset().filter(|_| self.kraft_version() > 0)?;
        let myself = Voter {
            voter_id: self.config.me.id,
            voter_directory_id: self.config.me.directory_id,
            endpoints: self.config.listeners.clone(),
            k_raft_version_feature: self.config.kraft_versions.clone(),
        };
        match self.voters().updated(myself) {
            Some(updated) => Some(updated.to_record()),
            None if from_log == BEFORE_LOG => Some(self.voters().to_record()),
            None => None,
        }
    }

    /// Lets the leader count the voters of now.
    fn follow_voters(&mut self) {
        let voters = self.voters.voters();
        if let Role::Leader(leader) = &mut self.role {
            leader.set_voters(voters);
        }
        self.count_own_log();
    }

    /// Counts the leader's own log, as far as it is on disk.
    pub(super) fn count_own_log(&mut self) {
        let unflushed = self.planted(Mutant::LeaderCountsUnflushed);
        let offset = if unflushed { self.log.end() } else { self.log.flushed() };
        if let Role::Leader(leader) = &mut self.role {
            leader.flushed(self.config.me.id, offset);
            self.commit();
        }
    }

    /// Moves the high watermark as far as a majority allows.
    fn commit(&mut self) {
        let any_epoch = self.planted(Mutant::CommitsOldEpochs);
        let Role::Leader(leader) = &mut self.role else { return };
        let offset = match any_epoch {
            true => leader.majority_offset(),
            false => leader.committable(),
        };
        let Some(offset) = offset.filter(|offset| Some(*offset) > leader.high_watermark) else {
            return;
        };
        leader.high_watermark = Some(offset);
        self.raise_high_watermark(offset);
        self.answer_parked(|_| true);
    }

    /// Notes that all below `offset` is committed.
    pub(super) fn raise_high_watermark(&mut self, offset: Offset) {
        assert!(offset <= self.log.end(), "only what is in the log is committed");
        if Some(offset) > self.high_watermark {
            self.high_watermark = Some(offset);
            self.emit(Effect::HighWatermark(offset));
        }
    }

    /// Answers a Fetch, or parks it. Errors: `InvalidRequest` for numbers that cannot be,
    /// `FencedLeaderEpoch` and `UnknownLeaderEpoch` for another epoch than this, and
    /// `NotLeaderOrFollower`; `BrokerNotAvailable` from a leader that leaves.
    pub(super) fn on_fetch(&mut self, id: RequestId, fetch: FetchRequest) {
        if let Err(error) = self.admit_fetch(&fetch) {
            return self.answer(id, error, ReplyBody::Fetch(FetchReply::default()));
        }
        if self.log.validate(fetch.log_end) == Validity::Valid {
            self.count_fetch(&fetch);
        }
        let reply = self.fetch_reply(fetch.log_end);
        let waits = !fetch.wait_max.is_zero() && !has_news(&reply, &fetch);
        let deadline = self.after(fetch.wait_max);
        match &mut self.role {
            Role::Leader(leader) if waits && leader.parked.len() < PARKED_MAX => {
                leader.parked.push(Parked { id, fetch, deadline });
            }
            _ => self.answer(id, ErrorCode::None, ReplyBody::Fetch(reply)),
        }
    }

    fn admit_fetch(&self, fetch: &FetchRequest) -> Result<(), ErrorCode> {
        let OffsetAndEpoch { offset, epoch } = fetch.log_end;
        let own = fetch.replica.id == self.config.me.id;
        if offset.0 < 0 || epoch.0 < 0 || epoch > fetch.epoch || own {
            return Err(ErrorCode::InvalidRequest);
        }
        self.admit_to_leader(fetch.epoch)
    }

    /// What a request to the leader of `epoch` must be at least.
    pub(super) fn admit_to_leader(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if epoch < self.election.epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if epoch > self.election.epoch {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else if self.leader().is_none() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else if self.shutdown != Shutdown::No {
            Err(ErrorCode::BrokerNotAvailable)
        } else {
            Ok(())
        }
    }

    fn count_fetch(&mut self, fetch: &FetchRequest) {
        if fetch.replica.id <= NO_NODE {
            return;
        }
        let (me, now, wait) = (self.config.me, self.now, self.check_quorum_wait());
        let end = self.log.end();
        if let Role::Leader(leader) = &mut self.role {
            leader.fetched(fetch.replica, fetch.log_end.offset, end, now);
            leader.heard_from(fetch.replica, me, now, wait);
            self.commit();
        }
    }

    /// How long a leader goes on without a majority that fetches.
    pub(super) fn check_quorum_wait(&self) -> Duration {
        self.config.timeouts.fetch * 3 / 2
    }

    fn fetch_reply(&self, follower: OffsetAndEpoch) -> FetchReply<Served> {
        let outcome = match self.log.validate(follower) {
            Validity::Valid => {
                FetchOutcome::Records(Served { from: follower.offset, to: self.log.end() })
            }
            Validity::Diverging(end) => FetchOutcome::Diverging(end),
            Validity::Snapshot(snapshot) => FetchOutcome::Snapshot(snapshot),
        };
        FetchReply {
            high_watermark: self.leader().and_then(|leader| leader.high_watermark),
            log_start: self.log.start(),
            outcome,
        }
    }

    /// Answers the parked fetches whose wait is over.
    pub(super) fn answer_overdue(&mut self) {
        let now = self.now;
        self.answer_parked(|parked| parked.deadline <= now);
    }

    fn answer_parked(&mut self, ready: impl Fn(&Parked) -> bool) {
        let Role::Leader(leader) = &mut self.role else { return };
        let parked = std::mem::take(&mut leader.parked);
        let (ready, waiting): (Vec<_>, Vec<_>) = parked.into_iter().partition(ready);
        leader.parked = waiting;
        for Parked { id, fetch, .. } in ready {
            let reply = self.fetch_reply(fetch.log_end);
            self.answer(id, ErrorCode::None, ReplyBody::Fetch(reply));
        }
    }
}

/// Whether a reply is worth sending at once (KIP-1166: a move of the high watermark is).
fn has_news(reply: &FetchReply<Served>, fetch: &FetchRequest) -> bool {
    let committed = reply.high_watermark.is_some_and(|offset| offset > fetch.high_watermark);
    let answers = match reply.outcome {
        FetchOutcome::Records(records) => records.to > records.from,
        FetchOutcome::Diverging(_) | FetchOutcome::Snapshot(_) => true,
    };
    committed || answers
}
