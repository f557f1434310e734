//! How a replica becomes what it is. Every change of role goes through [`Core::change_role`].

use std::collections::BTreeSet;

use ottla_protocol::control::VoterEndpoint;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, NodeId};

use super::config::CoreConfig;
use super::effect::Effect;
use super::leader::Leader;
use super::messages::{ElectionState, FetchReply, ReplyBody};
use super::mutant::Mutant;
use super::rng::Rng;
use super::role::{Follower, Nominee, Resigned, Role, Tally, Unattached};
use super::voters::{VoterHistory, names};
use super::{Core, Shutdown};

/// The only voter stands for election so many times sooner than one of several.
const ALONE_FACTOR: u32 = 20;

/// The election state to begin with. A log that knows a later epoch than the file is believed: the
/// file was lost, or is older.
pub(super) fn election_at_start(
    restored: Option<ElectionState>,
    log_epoch: LeaderEpoch,
) -> ElectionState {
    match restored {
        Some(election) if election.epoch >= log_epoch => election,
        Some(_) | None => ElectionState { epoch: log_epoch, leader: None, voted: None },
    }
}

/// The role to begin with.
///
/// A leader begins as Resigned, in its epoch: what it had not flushed may be gone, and new records
/// must not get the offsets and the epoch of lost ones; nor may it vote in the epoch.
pub(super) fn role_at_start(
    config: &CoreConfig,
    election: &ElectionState,
    voters: &VoterHistory,
    now: MonoTime,
    rng: &mut Rng,
) -> Role {
    let voters = voters.voters();
    let me = config.me;
    let deadline = now.after(rng.once_to_twice(config.timeouts.election));
    match (election.leader, election.voted) {
        (Some(leader), _) if leader == me.id => {
            let others: BTreeSet<NodeId> = voters.keys().map(|key| key.id).collect();
            let unacked = others.into_iter().filter(|id| *id != me.id).collect();
            Role::Resigned(Resigned { unacked, successors: Vec::new(), deadline })
        }
        (Some(leader), _) if voters.get(leader).is_some() => Role::Follower(Follower {
            deadline: now.after(config.timeouts.fetch),
            has_fetched: false,
            snapshot: None,
        }),
        (None, Some(voted)) if names(voted, me) && voters.contains(me) => {
            Role::Candidate(Nominee { tally: Tally::new(voters, me), deadline })
        }
        _ => Role::Unattached(Unattached { deadline: voters.contains(me).then_some(deadline) }),
    }
}

impl Core {
    /// What a start does beyond being in a role.
    pub(super) fn start(&mut self) {
        self.started = true;
        if self.planted(Mutant::RestartForgetsLeadership)
            && self.election.leader == Some(self.config.me.id)
        {
            self.election.leader = None;
            self.role = Role::Unattached(Unattached { deadline: Some(self.election_deadline()) });
        }
        self.persist();
        self.emit(Effect::LeaderChanged(self.leader_and_epoch()));
        match self.role {
            // The only voter need not wait for anybody.
            Role::Unattached(_) | Role::Follower(_) | Role::Resigned(_) if self.is_only_voter() => {
                self.become_prospective();
            }
            Role::Candidate(_) => self.lead_if_elected(),
            _ => {}
        }
    }

    /// Takes on a role, with the election state that belongs to it. What was under way for the
    /// old role is forgotten.
    fn change_role(&mut self, role: Role, election: ElectionState) {
        let before = std::mem::replace(&mut self.election, election);
        let was = std::mem::replace(&mut self.role, role);
        self.persist();
        self.requests.reset();
        if let Role::Leader(leader) = was {
            self.emit(Effect::LostLeadership { epoch: before.epoch });
            for parked in leader.parked {
                let nothing = ReplyBody::Fetch(FetchReply::default());
                self.answer(parked.id, ErrorCode::NotLeaderOrFollower, nothing);
            }
        }
        if before.leader_and_epoch() != self.leader_and_epoch() {
            self.leader_endpoints.clear();
            self.emit(Effect::LeaderChanged(self.leader_and_epoch()));
        }
    }

    /// Has the election state written, if the file has another.
    pub(super) fn persist(&mut self) {
        if self.persisted != Some(self.election) {
            self.persisted = Some(self.election);
            self.emit(Effect::PersistQuorumState(self.election));
        }
    }

    /// When to stand for election, by a fresh random wait. The only voter waits for nobody, but for
    /// a moment, so that whoever makes epochs up costs it little time and few elections.
    pub(super) fn election_deadline(&mut self) -> MonoTime {
        let whole = self.config.timeouts.election;
        let wait = if self.is_only_voter() { whole / ALONE_FACTOR } else { whole };
        let wait = self.rng.once_to_twice(wait);
        self.after(wait)
    }

    /// Gives up on this epoch's leader, or moves on to a higher epoch whose leader is not known.
    pub(super) fn become_unattached(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>) {
        // A wait under way goes on, so that a stream of new epochs cannot silence a replica.
        let kept = match &self.role {
            Role::Unattached(unattached) => unattached.deadline,
            Role::Candidate(nominee) => Some(nominee.deadline),
            Role::Prospective(nominee) if !nominee.tally.is_lost() => Some(nominee.deadline),
            Role::Resigned(resigned) => Some(resigned.deadline),
            Role::Prospective(_) | Role::Leader(_) | Role::Follower(_) => None,
        };
        let deadline = match kept {
            _ if !self.is_voter() => None,
            Some(deadline) => Some(deadline),
            None => Some(self.election_deadline()),
        };
        let election = ElectionState { epoch, leader, voted: self.vote_in(epoch) };
        self.change_role(Role::Unattached(Unattached { deadline }), election);
    }

    /// Follows the leader of an epoch.
    pub(super) fn become_follower(
        &mut self,
        epoch: LeaderEpoch,
        leader: NodeId,
        endpoints: Vec<VoterEndpoint>,
    ) {
        assert_ne!(leader, self.config.me.id, "nobody follows itself");
        let follower = Follower {
            deadline: self.after(self.config.timeouts.fetch),
            has_fetched: false,
            snapshot: None,
        };
        let election = ElectionState { epoch, leader: Some(leader), voted: self.vote_in(epoch) };
        self.change_role(Role::Follower(follower), election);
        if !endpoints.is_empty() {
            self.leader_endpoints = endpoints;
        }
    }

    /// The vote stays as long as the epoch does: forgotten, it could be given again.
    fn vote_in(&self, epoch: LeaderEpoch) -> Option<ottla_types::ReplicaKey> {
        if epoch == self.election.epoch { self.election.voted } else { None }
    }

    /// KIP-996: asks for pre-votes, in the epoch as it is.
    pub(super) fn become_prospective(&mut self) {
        assert!(self.is_voter(), "only voters stand for election");
        let mut election = self.election;
        if self.planted(Mutant::PreVoteRaisesEpoch) {
            election = ElectionState { epoch: self.next_epoch(), ..ElectionState::default() };
        }
        let tally = Tally::new(self.voters(), self.config.me);
        let deadline = self.election_deadline();
        self.change_role(Role::Prospective(Nominee { tally, deadline }), election);
        self.stand_if_encouraged();
    }

    /// Stands for election if the pre-votes suffice.
    pub(super) fn stand_if_encouraged(&mut self) {
        if let Role::Prospective(nominee) = &self.role
            && nominee.tally.is_won()
        {
            self.become_candidate();
        }
    }

    /// Stands for election in the next epoch, with one's own vote.
    pub(super) fn become_candidate(&mut self) {
        let me = self.config.me;
        let tally = Tally::new(self.voters(), me);
        let deadline = self.election_deadline();
        let epoch = self.next_epoch();
        let election = ElectionState { epoch, leader: None, voted: Some(me) };
        self.change_role(Role::Candidate(Nominee { tally, deadline }), election);
        self.lead_if_elected();
    }

    /// Leads if the votes suffice.
    pub(super) fn lead_if_elected(&mut self) {
        let Role::Candidate(nominee) = &self.role else { return };
        let almost = self.planted(Mutant::MinorityElects) && nominee.tally.is_almost_won();
        if nominee.tally.is_won() || almost {
            let granting = nominee.tally.granting().collect();
            self.become_leader(granting);
        }
    }

    /// Leads the epoch that `granting` elected it for.
    fn become_leader(&mut self, granting: Vec<NodeId>) {
        let start = self.log.end();
        let leader = Leader::new(start, self.voters(), self.now, self.check_quorum_wait());
        let election =
            ElectionState { leader: Some(self.config.me.id), voted: None, ..self.election };
        self.change_role(Role::Leader(Box::new(leader)), election);
        self.append_leader_change(granting);
        self.emit(Effect::BecameLeader { epoch: self.election.epoch, start });
    }

    /// Leads no longer, but stays in the epoch until another begins: its log may hold more of the
    /// epoch than any other, and so may not be written to again.
    pub(super) fn become_resigned(&mut self) {
        let me = self.config.me.id;
        let leader = self.leader().expect("only a leader resigns");
        let successors = leader.successors(me);
        let unacked = successors.iter().map(|key| key.id).collect();
        let deadline = self.election_deadline();
        let role = Role::Resigned(Resigned { unacked, successors, deadline });
        self.change_role(role, self.election);
    }

    pub(super) fn on_resign(&mut self, epoch: LeaderEpoch) {
        if epoch == self.election.epoch && self.leader().is_some() {
            self.become_resigned();
        }
    }

    pub(super) fn on_shutdown(&mut self) {
        if self.shutdown == Shutdown::No {
            self.shutdown = Shutdown::Asked;
        }
    }

    /// Leaving is complete once nobody waits for this replica: another leads, or no other votes.
    pub(super) fn poll_shutdown(&mut self) {
        let replaced = self.election.leader.is_some_and(|leader| leader != self.config.me.id);
        let free = replaced || !self.is_voter() || self.is_only_voter();
        if self.shutdown == Shutdown::Asked && free {
            self.shutdown = Shutdown::Complete;
            self.emit(Effect::ShutdownComplete);
        }
    }
}
