//! The quorum's protocol as a state machine: inputs go in, effects come out.
//!
//! One [`Core`] is one replica. The driver calls [`Core::step`] with everything that happens and
//! performs the effects in their order; when nothing happens, it calls again with
//! [`Input::Tick`] at [`Core::deadline`]. An effect that fails on disk ends the replica: there is
//! no input to say so, and nothing behind the effect may happen. `scripts/` shows how replicas
//! talk, step by step.
//!
//! What holds after every step ([`Core::check`]):
//! 1. What was told or sent rests on an election state that an earlier effect has persisted.
//! 2. A replica votes once in an epoch, and a leader never votes in its own.
//! 3. A candidate has voted for itself and lacks a majority; with one it leads.
//! 4. A leader's log ends in its epoch, and what it calls committed lies behind the epoch's start.
//! 5. `start ≤ high watermark ≤ end` and `flushed ≤ end`; the high watermark never falls, and
//!    nothing below it is truncated.
//! 6. What a replica that may vote says about its log is on its disk: it fetches, and asks for
//!    votes, only when all of it is.
//! 7. At most one Fetch is under way, so nothing is appended twice.
//!
//! Where Kafka throws on what another replica says (a second leader of an epoch, an invalid
//! request), this core refuses or ignores it: a message must not end the process.
//!
//! Sources: KIP-595, KIP-630 (snapshots), KIP-853 (replica keys, voters from the log), KIP-996
//! (pre-vote), KIP-1166 (high watermark in Fetch); behaviour is that of Kafka 4.3. Deliberately
//! absent: adding, removing and updating voters, and the upgrade of `kraft.version`.

mod check;
mod config;
mod effect;
mod election;
mod epochs;
mod follower;
mod leader;
mod leading;
mod log_shape;
mod messages;
mod mutant;
mod requests;
mod rng;
mod role;
mod snapshots;
#[cfg(test)]
mod tests;
mod transitions;
mod voters;

use std::time::Duration;

use ottla_protocol::control::{VoterEndpoint, Voters};
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, NodeId, Offset, ReplicaKey};

pub use config::{CoreConfig, Restored, Timeouts};
pub use effect::{Effect, Input, Payload, Proposal, Rejection, Response, SnapshotRange, Token};
pub use leader::ReplicaProgress;
pub use log_shape::{LogMark, LogShape};
pub(crate) use messages::EPOCH_MAX;
pub use messages::{
    BeginQuorumEpoch, CallId, ElectionState, EndQuorumEpoch, FetchOutcome, FetchReply,
    FetchRequest, FetchSnapshot, Fetched, FetchedBatch, LeaderAndEpoch, OffsetAndEpoch, Peer,
    Reply, ReplyBody, Request, RequestId, Served, SnapshotChunk, VoteRequest,
};
pub use role::RoleName;
pub use voters::{VoterHistory, VoterSet};

use leader::Leader;
use mutant::Mutant;
use requests::Requests;
use rng::Rng;
use role::Role;

/// A replica of the quorum.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    /// Time of the latest step.
    now: MonoTime,
    /// False until the first step, which does what a start does.
    started: bool,
    election: ElectionState,
    /// What the last [`Effect::PersistQuorumState`] said, or the file at the start.
    persisted: Option<ElectionState>,
    role: Role,
    /// Where the leader listens, when a message said so; else the voter set knows.
    leader_endpoints: Vec<VoterEndpoint>,
    log: LogShape,
    voters: VoterHistory,
    /// What is committed, as far as this replica knows. A leader has its own beside it, unknown
    /// until it has committed a record of its epoch.
    high_watermark: Option<Offset>,
    /// End of the log that was last asked to be flushed.
    flush_asked: LogMark,
    requests: Requests,
    shutdown: Shutdown,
    rng: Rng,
    /// Effects of the step under way.
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shutdown {
    No,
    Asked,
    Complete,
}

impl Core {
    /// A replica as its disk has it. Nothing happens before the first step, which is due at once.
    ///
    /// # Panics
    /// When a time-out is zero, or the state on disk breaks an invariant.
    #[must_use]
    pub fn new(config: CoreConfig, restored: Restored, now: MonoTime) -> Core {
        let Restored { election, log, voters } = restored;
        let times = config.timeouts;
        let waits = [times.election, times.fetch, times.request, times.retry_backoff];
        assert!(waits.iter().all(|wait| !wait.is_zero()), "without a wait the core would spin");
        let mut rng = Rng::new(config.seed);
        let current = transitions::election_at_start(election, log.end_and_epoch().epoch);
        let role = transitions::role_at_start(&config, &current, &voters, now, &mut rng);
        Core {
            now,
            started: false,
            election: current,
            persisted: election,
            role,
            leader_endpoints: Vec::new(),
            flush_asked: log.mark(),
            log,
            voters,
            high_watermark: None,
            requests: Requests::default(),
            shutdown: Shutdown::No,
            rng,
            effects: Vec::new(),
            config,
        }
    }

    /// Takes one input in and appends what is to be done about it to `out`.
    ///
    /// # Panics
    /// When `now` lies before the last step, or an invariant is broken.
    pub fn step(&mut self, now: MonoTime, input: Input, out: &mut Vec<Effect>) {
        assert!(now >= self.now, "time never goes back");
        self.now = now;
        self.requests.expire(now);
        if !self.started {
            self.start();
        }
        self.take(input);
        self.poll();
        self.ask_for_flush();
        out.append(&mut self.effects);
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::Request { id, cluster_id, request } => self.on_request(id, cluster_id, request),
            Input::Response { call, response } => self.on_response(call, response),
            Input::Propose(proposal) => self.on_propose(proposal),
            Input::Flushed(mark) => self.on_flushed(mark),
            Input::Snapshots(range) => self.on_snapshots(range),
            Input::SnapshotInstalled { snapshot, control } => {
                self.on_snapshot_installed(snapshot, &control);
            }
            Input::SnapshotUnsound(snapshot) => self.on_snapshot_unsound(snapshot),
            Input::Resign(epoch) => self.on_resign(epoch),
            Input::Shutdown => self.on_shutdown(),
        }
    }

    fn on_request(&mut self, id: RequestId, cluster_id: Option<String>, request: Request) {
        if cluster_id.is_some_and(|cluster| cluster != self.config.cluster_id) {
            let body = messages::empty_body(&request);
            return self.answer(id, ErrorCode::InconsistentClusterId, body);
        }
        if request.epoch() > EPOCH_MAX {
            let body = messages::empty_body(&request);
            return self.answer(id, ErrorCode::InvalidRequest, body);
        }
        match request {
            Request::Vote(vote) => self.on_vote(id, vote),
            Request::BeginQuorumEpoch(begin) => self.on_begin_quorum_epoch(id, begin),
            Request::EndQuorumEpoch(end) => self.on_end_quorum_epoch(id, end),
            Request::Fetch(fetch) => self.on_fetch(id, fetch),
            Request::FetchSnapshot(fetch) => self.on_fetch_snapshot(id, fetch),
        }
    }

    /// Does what is due by the clock, then sends what the role wants sent.
    fn poll(&mut self) {
        // Resigned, Unattached, Prospective, Candidate, Leader: no chain is longer.
        let mut turns = 0;
        while self.poll_timers() {
            turns += 1;
            assert!(turns < 8, "roles change in a circle");
        }
        self.send_requests();
        self.poll_shutdown();
    }

    /// Changes the role if its time is over; whether it did.
    fn poll_timers(&mut self) -> bool {
        self.answer_overdue();
        if self.role_deadline().is_none_or(|deadline| deadline > self.now) {
            return false;
        }
        match self.role() {
            RoleName::Unattached | RoleName::Candidate | RoleName::Follower => {
                self.become_prospective();
            }
            RoleName::Prospective => self.after_lost_pre_vote(),
            RoleName::Leader => self.become_resigned(),
            // A higher epoch, so that nobody takes this replica for the leader any more.
            RoleName::Resigned => self.become_unattached(self.next_epoch(), None),
        }
        true
    }

    /// When the role ends by itself.
    fn role_deadline(&self) -> Option<MonoTime> {
        match (&self.role, self.shutdown) {
            (Role::Leader(leader), Shutdown::No) => leader.check_quorum_at(self.config.me.id),
            (Role::Leader(_), Shutdown::Asked | Shutdown::Complete) => Some(self.now),
            // One that leaves begins no election, but waits for others to hold it.
            (_, Shutdown::Asked | Shutdown::Complete) => None,
            (Role::Unattached(unattached), Shutdown::No) => unattached.deadline,
            (Role::Prospective(nominee) | Role::Candidate(nominee), Shutdown::No) => {
                Some(nominee.deadline)
            }
            (Role::Follower(follower), Shutdown::No) => {
                self.is_voter().then_some(follower.deadline)
            }
            (Role::Resigned(resigned), Shutdown::No) => Some(resigned.deadline),
        }
    }

    fn send_requests(&mut self) {
        match &self.role {
            Role::Unattached(_) => self.fetch_from_anyone(),
            Role::Prospective(_) | Role::Candidate(_) => self.ask_for_votes(),
            Role::Leader(_) => self.announce_epoch(),
            Role::Follower(_) => self.fetch_from_leader(),
            Role::Resigned(_) => self.announce_resignation(),
        }
    }

    /// The next moment at which [`Input::Tick`] must come, if nothing else does before.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoTime> {
        if !self.started {
            return Some(self.now);
        }
        let leading = self.leader().and_then(|leader| {
            let announce = self.has_other_voters().then_some(leader.begin_epoch_at);
            leader.parked.iter().map(|parked| parked.deadline).chain(announce).min()
        });
        [self.role_deadline(), self.requests.deadline(), leading].into_iter().flatten().min()
    }

    /// Asks for a flush of what was appended. Pure observers leave that to the page cache.
    fn ask_for_flush(&mut self) {
        let mark = self.log.mark();
        if self.must_flush() && mark != self.flush_asked && self.log.flushed() < mark.end_offset {
            self.flush_asked = mark;
            self.emit(Effect::Flush(mark));
        }
    }

    fn on_flushed(&mut self, mark: LogMark) {
        self.log.flushed_to(mark);
        self.count_own_log();
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn answer(&mut self, id: RequestId, error: ErrorCode, body: ReplyBody<Served>) {
        let reply = Reply { error, current: self.leader_and_epoch(), body };
        self.emit(Effect::Answer { id, reply });
    }

    fn after(&self, wait: Duration) -> MonoTime {
        self.now.after(wait)
    }

    fn next_epoch(&self) -> LeaderEpoch {
        self.election.epoch.next().expect("what comes from outside is far below the last epoch")
    }

    fn is_voter(&self) -> bool {
        self.voters().contains(self.config.me)
    }

    fn is_only_voter(&self) -> bool {
        self.voters().is_only(self.config.me)
    }

    fn has_other_voters(&self) -> bool {
        self.voters().keys().any(|voter| voter.id != self.config.me.id)
    }

    /// Whether what this replica fetches must be on its disk before it fetches on.
    fn must_flush(&self) -> bool {
        self.is_voter() || self.config.can_become_voter
    }

    fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// Whether a test has planted this bug.
    #[cfg(test)]
    fn planted(&self, mutant: Mutant) -> bool {
        self.config.mutant == Some(mutant)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "has the form of its twin for tests")]
    const fn planted(&self, _mutant: Mutant) -> bool {
        false
    }

    /// What this replica is.
    #[must_use]
    pub fn role(&self) -> RoleName {
        self.role.name()
    }

    /// The epoch, its leader, and whom this replica voted for.
    #[must_use]
    pub fn election(&self) -> ElectionState {
        self.election
    }

    /// The epoch and its leader.
    #[must_use]
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        self.election.leader_and_epoch()
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.election.epoch
    }

    /// What is committed, as far as this replica knows.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The voters now.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.voters.voters()
    }

    /// The `kraft.version` now. From 1 on, `quorum-state` is written in version 1.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.voters.kraft_version()
    }

    /// `kraft.version` and voters as the log below `offset` has them, for a snapshot that ends
    /// there; `None` with `kraft.version` 0.
    #[must_use]
    pub fn voters_before(&self, offset: Offset) -> Option<(i16, Voters)> {
        self.voters.before(offset)
    }

    /// The shape of the log.
    #[must_use]
    pub fn log(&self) -> &LogShape {
        &self.log
    }

    /// Where a replica listens, as far as it is known.
    #[must_use]
    pub fn endpoints(&self, id: NodeId) -> &[VoterEndpoint] {
        if id == self.config.me.id {
            return &self.config.listeners;
        }
        if self.election.leader == Some(id) && !self.leader_endpoints.is_empty() {
            return &self.leader_endpoints;
        }
        self.voters().endpoints(id)
    }

    /// How far each voter is, while this replica leads.
    #[must_use]
    pub fn voter_progress(&self) -> Option<Vec<ReplicaProgress>> {
        self.leader().map(|leader| leader.voters().copied().collect())
    }

    /// How far each observer is that fetched within the last five minutes, while this replica
    /// leads.
    #[must_use]
    pub fn observer_progress(&self, now: MonoTime) -> Option<Vec<ReplicaProgress>> {
        self.leader().map(|leader| leader.observers(now).copied().collect())
    }

    /// This replica.
    #[must_use]
    pub fn me(&self) -> ReplicaKey {
        self.config.me
    }
}
