//! Votes: asking for them and giving them.
//!
//! A vote is given once in an epoch, to a replica whose log is not behind, by one that knows of no
//! leader in the epoch. A pre-vote (KIP-996) binds nobody: it says that a vote would be given, and
//! that the leader, if there is one, seems dead from here too.

use ottla_types::{ErrorCode, NodeId, ReplicaKey};

use super::Core;
use super::messages::{Peer, ReplyBody, Request, RequestId, VoteRequest};
use super::mutant::Mutant;
use super::role::{Role, Unattached};
use super::voters::names;

impl Core {
    /// Votes, or not. Errors: `InvalidRequest` for numbers that cannot be and for one that has this
    /// replica's id, `FencedLeaderEpoch` for an epoch that is over, `InvalidVoterKey` when another
    /// replica is meant.
    pub(super) fn on_vote(&mut self, id: RequestId, vote: VoteRequest) {
        let refused = ReplyBody::Vote { granted: false };
        if let Err(error) = self.admit_vote(&vote) {
            return self.answer(id, error, refused);
        }
        if vote.epoch > self.election.epoch {
            self.become_unattached(vote.epoch, None);
        }
        if !self.is_meant(vote.voter) {
            return self.answer(id, ErrorCode::InvalidVoterKey, refused);
        }
        let granted = self.would_grant(&vote);
        if granted && !vote.pre_vote {
            self.vote_for(vote.replica);
        }
        self.answer(id, ErrorCode::None, ReplyBody::Vote { granted });
    }

    fn admit_vote(&self, vote: &VoteRequest) -> Result<(), ErrorCode> {
        // A log may hold records of the epoch its owner is in, but not of one it asks to lead.
        let past_epoch = match vote.pre_vote {
            true => vote.log_end.epoch <= vote.epoch,
            false => vote.log_end.epoch < vote.epoch,
        };
        let twin = vote.replica.id == self.config.me.id;
        if !past_epoch || twin || vote.log_end.epoch.0 < 0 || vote.log_end.offset.0 < 0 {
            return Err(ErrorCode::InvalidRequest);
        }
        self.admit_from_replica(vote.replica.id, vote.epoch)
    }

    fn would_grant(&self, vote: &VoteRequest) -> bool {
        let log_suffices =
            vote.log_end >= self.log.end_and_epoch() || self.planted(Mutant::VoteIgnoresLog);
        match &self.role {
            Role::Leader(_) => false,
            Role::Follower(follower) => vote.pre_vote && log_suffices && !follower.has_fetched,
            _ if vote.pre_vote => log_suffices,
            Role::Candidate(_) | Role::Resigned(_) => false,
            Role::Unattached(_) | Role::Prospective(_) => match self.election.voted {
                // A vote given is said again: the first answer may have been lost.
                Some(voted) if !self.planted(Mutant::VotesTwice) => names(voted, vote.replica),
                _ => log_suffices && self.election.leader.is_none(),
            },
        }
    }

    /// Gives the vote of the epoch, and waits anew: this candidate may well win.
    fn vote_for(&mut self, candidate: ReplicaKey) {
        if self.election.voted.is_some() && !self.planted(Mutant::VotesTwice) {
            return;
        }
        self.election.voted = Some(candidate);
        self.persist();
        let deadline = self.election_deadline();
        match &mut self.role {
            Role::Unattached(Unattached { deadline: wait }) => {
                *wait = wait.map(|_| deadline);
            }
            // Its pre-votes are asked for afresh, as Kafka does.
            Role::Prospective(_) => self.become_prospective(),
            Role::Candidate(_) | Role::Leader(_) | Role::Follower(_) | Role::Resigned(_) => {
                unreachable!("these give no vote")
            }
        }
    }

    /// Asks those who have not answered yet, as long as a majority is possible.
    ///
    /// Not before the log is on disk. A candidate that crashes stands again in the same epoch, and
    /// the votes it got are given again without another look: had it lost records meanwhile, it
    /// could be elected without some that are committed. (Kafka has no such moment: it flushes
    /// each append before it does anything else.)
    pub(super) fn ask_for_votes(&mut self) {
        let (nominee, pre_vote) = match &self.role {
            Role::Prospective(nominee) => (nominee, true),
            Role::Candidate(nominee) => (nominee, false),
            _ => return,
        };
        let on_disk = self.log.flushed() == self.log.end();
        if nominee.tally.is_lost() || !(on_disk || self.planted(Mutant::VoteClaimsUnflushed)) {
            return;
        }
        let voters: Vec<_> = nominee.tally.unanswered().collect();
        for voter in voters {
            let request = VoteRequest {
                voter: Some(voter),
                replica: self.config.me,
                epoch: self.election.epoch,
                log_end: self.log.end_and_epoch(),
                pre_vote,
            };
            self.send_if_ready(Peer::Node(voter.id), Request::Vote(request));
        }
    }

    /// Counts a vote.
    pub(super) fn on_vote_reply(&mut self, voter: NodeId, granted: bool) {
        match &mut self.role {
            Role::Prospective(nominee) => {
                nominee.tally.record(voter, granted);
                if nominee.tally.is_lost() {
                    self.after_lost_pre_vote();
                } else {
                    self.stand_if_encouraged();
                }
            }
            Role::Candidate(nominee) => {
                // A lost election is waited out, so that not all stand again at once.
                nominee.tally.record(voter, granted);
                self.lead_if_elected();
            }
            Role::Unattached(_) | Role::Leader(_) | Role::Follower(_) | Role::Resigned(_) => {}
        }
    }

    /// Goes back to the leader that is still known, or waits for one.
    pub(super) fn after_lost_pre_vote(&mut self) {
        let epoch = self.election.epoch;
        match self.election.leader {
            Some(leader) if self.can_reach(leader, &self.leader_endpoints) => {
                let endpoints = std::mem::take(&mut self.leader_endpoints);
                self.become_follower(epoch, leader, endpoints);
            }
            leader => self.become_unattached(epoch, leader),
        }
    }
}
