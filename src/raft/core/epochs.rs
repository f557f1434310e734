//! Epochs begin and end: hearing of leaders, telling of one's own leadership, and what every
//! response says about both.

use std::time::Duration;

use ottla_protocol::control::VoterEndpoint;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, ReplicaKey};

use super::Core;
use super::effect::{Effect, Response};
use super::messages::{
    BeginQuorumEpoch, CallId, EPOCH_MAX, EndQuorumEpoch, Fetched, LeaderAndEpoch, Peer, Reply,
    ReplyBody, Request, RequestId,
};
use super::mutant::Mutant;
use super::role::{Role, RoleName};
use super::voters::names;

/// What is left of a reply after its leader and epoch have been looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Common {
    /// Its body counts.
    Proceed,
    /// It changed what this replica is; the body belongs to the past.
    Settled,
    /// It says nothing useful: ask again, but not at once.
    BackOff,
}

impl Core {
    /// What a request of the leader or of a nominee must be at least.
    pub(super) fn admit_from_replica(
        &self,
        replica: NodeId,
        epoch: LeaderEpoch,
    ) -> Result<(), ErrorCode> {
        if epoch < self.election.epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if replica.0 < 0 {
            Err(ErrorCode::InvalidRequest)
        } else {
            Ok(())
        }
    }

    /// Whether a request that names its receiver means this replica.
    pub(super) fn is_meant(&self, named: Option<ReplicaKey>) -> bool {
        named.is_none_or(|named| names(named, self.config.me))
    }

    /// Follows the leader that makes itself known. Errors: `FencedLeaderEpoch`, `InvalidRequest`
    /// (also for a second leader of an epoch), `InvalidVoterKey` when another replica is meant.
    pub(super) fn on_begin_quorum_epoch(&mut self, id: RequestId, begin: BeginQuorumEpoch) {
        let error = self.hear_of_leader(begin.leader, begin.epoch, begin.endpoints).err();
        let meant = self.is_meant(begin.voter);
        let error = error.or((!meant).then_some(ErrorCode::InvalidVoterKey));
        self.answer(id, error.unwrap_or(ErrorCode::None), ReplyBody::BeginQuorumEpoch);
    }

    /// Gets ready to stand for election when the leader resigns: the first of its successors at
    /// once, the others later and later. Errors as for a leader that makes itself known.
    pub(super) fn on_end_quorum_epoch(&mut self, id: RequestId, end: EndQuorumEpoch) {
        let error = self.hear_of_leader(end.leader, end.epoch, end.endpoints).err();
        let wait = self.succession_wait(&end.successors);
        let deadline = self.after(wait);
        if let Role::Follower(follower) = &mut self.role
            && error.is_none()
            && self.election.leader == Some(end.leader)
        {
            follower.deadline = deadline;
        }
        self.answer(id, error.unwrap_or(ErrorCode::None), ReplyBody::EndQuorumEpoch);
    }

    /// How long to leave the field to the successors before this one: the first need not wait, the
    /// others wait twice as long as the one before, the last half of the longest back-off, and who
    /// is not named all of it.
    fn succession_wait(&self, successors: &[ReplicaKey]) -> Duration {
        let longest = self.config.timeouts.election_backoff_max;
        let place = successors.iter().position(|key| names(*key, self.config.me));
        match (place.unwrap_or(successors.len()), successors.len()) {
            (0, _) => Duration::ZERO,
            (place, count) if place >= count => longest,
            (place, count) => longest / (1 << (count - place).min(20)),
        }
    }

    fn hear_of_leader(
        &mut self,
        leader: NodeId,
        epoch: LeaderEpoch,
        endpoints: Vec<VoterEndpoint>,
    ) -> Result<(), ErrorCode> {
        let admitted = self.admit_from_replica(leader, epoch);
        if admitted.is_err() && self.planted(Mutant::FollowsStaleLeader) && leader != self.me().id {
            self.become_follower(epoch, leader, endpoints);
            return Ok(());
        }
        admitted?;
        if self.learn(LeaderAndEpoch { leader: Some(leader), epoch }, endpoints) {
            Ok(())
        } else {
            Err(ErrorCode::InvalidRequest)
        }
    }

    /// Takes in what a message of this or a later epoch says about the leader (`maybeTransition`);
    /// false when that contradicts what is known.
    fn learn(&mut self, heard: LeaderAndEpoch, endpoints: Vec<VoterEndpoint>) -> bool {
        if self.contradicts(heard) {
            return false;
        }
        let newer = heard.epoch > self.election.epoch;
        match heard.leader {
            None if newer => self.become_unattached(heard.epoch, None),
            None => {}
            Some(leader) if leader == self.config.me.id => {}
            Some(leader) if !newer && self.election.leader.is_some() => {
                self.learn_endpoints(leader, endpoints);
            }
            Some(leader) if self.can_reach(leader, &endpoints) => {
                self.become_follower(heard.epoch, leader, endpoints);
            }
            Some(_) if newer => self.become_unattached(heard.epoch, None),
            Some(_) => {}
        }
        true
    }

    /// Whether a message names another leader than this replica knows, this one for an epoch that
    /// it does not lead, or an epoch that cannot be.
    fn contradicts(&self, heard: LeaderAndEpoch) -> bool {
        if heard.epoch > EPOCH_MAX {
            return true;
        }
        let Some(leader) = heard.leader else { return false };
        let same_epoch = heard.epoch == self.election.epoch;
        match self.election.leader {
            Some(known) if same_epoch => leader != known,
            Some(_) | None => leader == self.config.me.id,
        }
    }

    /// Learns where the leader of this epoch listens; with that, it can be followed.
    fn learn_endpoints(&mut self, leader: NodeId, endpoints: Vec<VoterEndpoint>) {
        if endpoints.len() <= self.endpoints(leader).len() {
            return;
        }
        match self.role {
            Role::Follower(_) => self.leader_endpoints = endpoints,
            _ => self.become_follower(self.election.epoch, leader, endpoints),
        }
    }

    pub(super) fn can_reach(&self, leader: NodeId, endpoints: &[VoterEndpoint]) -> bool {
        !endpoints.is_empty() || self.voters().get(leader).is_some()
    }

    /// Takes in what came of a request; nothing, when it is no longer waited for.
    pub(super) fn on_response(&mut self, call: CallId, response: Response) {
        let Some(peer) = self.requests.received(call) else {
            return self.on_unexpected_response(response);
        };
        let common = match response {
            Response::Failed => Common::BackOff,
            Response::Unsupported if self.role() == RoleName::Prospective => {
                // A voter too old for pre-votes (Kafka below 4.0): there is nothing but to stand.
                self.become_candidate();
                Common::Settled
            }
            Response::Unsupported => Common::BackOff,
            Response::Replied { reply, leader_endpoints } => {
                self.on_reply(peer, reply, leader_endpoints)
            }
        };
        if common == Common::BackOff {
            self.requests.back_off(peer, self.after(self.config.timeouts.retry_backoff));
        }
    }

    fn on_unexpected_response(&mut self, response: Response) {
        if self.planted(Mutant::TrustsLateResponses)
            && let Response::Replied { reply, .. } = response
        {
            self.take_body(None, reply);
        }
    }

    fn on_reply(
        &mut self,
        peer: Peer,
        reply: Reply<Fetched>,
        leader_endpoints: Vec<VoterEndpoint>,
    ) -> Common {
        if let (true, ReplyBody::FetchSnapshot(_)) = (reply.error.is_error(), &reply.body) {
            self.give_up_snapshot();
        }
        let common = self.take_leader(reply.error, reply.current, leader_endpoints);
        match common {
            Common::Proceed if self.take_body(Some(peer), reply) => Common::Settled,
            Common::Proceed => Common::BackOff,
            Common::Settled | Common::BackOff => common,
        }
    }

    /// Takes in leader and epoch of a reply (`maybeHandleCommonResponse`).
    fn take_leader(
        &mut self,
        error: ErrorCode,
        heard: LeaderAndEpoch,
        endpoints: Vec<VoterEndpoint>,
    ) -> Common {
        let before = self.election;
        if heard.epoch < before.epoch || self.contradicts(heard) {
            return Common::BackOff;
        }
        let stale = matches!(error, ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower);
        let news = heard.epoch > before.epoch
            || stale
            || (heard.leader.is_some() && before.leader.is_none());
        if news {
            self.learn(heard, endpoints);
        }
        match error {
            // A leader found in the same epoch has answered what was asked of it.
            ErrorCode::None if before.epoch == self.election.epoch => Common::Proceed,
            _ if before == self.election => Common::BackOff,
            _ => Common::Settled,
        }
    }

    /// Takes in the body of a reply; false when it is of no use.
    fn take_body(&mut self, peer: Option<Peer>, reply: Reply<Fetched>) -> bool {
        match (reply.body, peer) {
            (ReplyBody::Vote { granted }, Some(Peer::Node(voter))) => {
                self.on_vote_reply(voter, granted);
                true
            }
            (ReplyBody::Vote { .. }, _) | (ReplyBody::BeginQuorumEpoch, _) => true,
            (ReplyBody::EndQuorumEpoch, peer) => {
                self.on_resignation_noticed(peer);
                true
            }
            (ReplyBody::Fetch(fetched), _) => self.on_fetch_reply(fetched),
            (ReplyBody::FetchSnapshot(chunk), _) => self.on_snapshot_chunk(chunk),
        }
    }

    fn on_resignation_noticed(&mut self, peer: Option<Peer>) {
        if let (Role::Resigned(resigned), Some(Peer::Node(voter))) = (&mut self.role, peer) {
            resigned.unacked.remove(&voter);
        }
    }

    /// Tells voters that do not fetch who leads.
    pub(super) fn announce_epoch(&mut self) {
        let (me, now, interval) = (self.config.me, self.now, self.config.timeouts.fetch / 2);
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.begin_epoch_at > now {
            return;
        }
        leader.begin_epoch_at = now.after(interval);
        for voter in leader.silent_voters(me.id, now, interval) {
            let request = BeginQuorumEpoch {
                voter: Some(voter),
                leader: me.id,
                epoch: self.election.epoch,
                endpoints: self.config.listeners.clone(),
            };
            self.send_if_ready(Peer::Node(voter.id), Request::BeginQuorumEpoch(request));
        }
    }

    /// Tells the voters that this epoch needs a new leader.
    pub(super) fn announce_resignation(&mut self) {
        let Role::Resigned(resigned) = &self.role else { return };
        let unacked: Vec<_> = resigned.unacked.iter().copied().collect();
        let request = EndQuorumEpoch {
            leader: self.config.me.id,
            epoch: self.election.epoch,
            successors: resigned.successors.clone(),
            endpoints: self.config.listeners.clone(),
        };
        for voter in unacked {
            self.send_if_ready(Peer::Node(voter), Request::EndQuorumEpoch(request.clone()));
        }
    }

    /// Sends a request unless the peer has one, or is to be left alone.
    pub(super) fn send_if_ready(&mut self, to: Peer, request: Request) {
        if self.requests.is_ready(to) {
            let until = self.after(self.config.timeouts.request);
            let call = self.requests.sent(to, until);
            self.emit(Effect::SendRequest { to, call, request });
        }
    }
}
