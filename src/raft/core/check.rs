//! The invariants of the core's head, as assertions.

use super::Core;
use super::role::Role;
use super::voters::names;

impl Core {
    /// Asserts what must hold between steps. Tests and simulation call it after each.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check(&self) {
        assert!(self.effects.is_empty(), "a step hands out all of its effects");
        if self.started {
            assert_eq!(self.persisted, Some(self.election), "1: what is told is on disk");
        }
        self.check_log();
        self.check_role();
    }

    fn check_log(&self) {
        let log = &self.log;
        log.check();
        assert!(log.end_and_epoch().epoch <= self.election.epoch, "the log knows no later epoch");
        if let Some(committed) = self.high_watermark {
            assert!((log.start()..=log.end()).contains(&committed), "5: committed is in the log");
        }
    }

    fn check_role(&self) {
        let me = self.config.me;
        let election = self.election;
        match &self.role {
            Role::Unattached(unattached) => {
                assert_eq!(unattached.deadline.is_some(), self.is_voter(), "observers never stand");
                assert_ne!(election.leader, Some(me.id), "a leader is not Unattached");
            }
            Role::Prospective(nominee) => {
                assert!(self.is_voter(), "observers never stand");
                assert!(!nominee.tally.is_won(), "with a majority it stands");
            }
            Role::Candidate(nominee) => {
                assert!(self.is_voter(), "observers never stand");
                assert!(election.leader.is_none(), "a candidate knows no leader");
                assert!(election.voted.is_some_and(|voted| names(voted, me)), "3: its own vote");
                assert!(!nominee.tally.is_won(), "3: with a majority it leads");
            }
            Role::Leader(leader) => {
                assert_eq!((election.leader, election.voted), (Some(me.id), None), "2: its epoch");
                let log_epoch = self.log.end_and_epoch().epoch;
                assert_eq!(log_epoch, election.epoch, "4: its log ends in its epoch");
                let known = leader.voters().map(|voter| voter.replica);
                assert!(known.eq(self.voters().keys()), "it counts the voters of now");
                let committed = leader.high_watermark.is_none_or(|at| at > leader.epoch_start);
                assert!(committed, "4: committed behind the start of its epoch");
            }
            Role::Follower(_) => {
                assert!(election.leader.is_some_and(|leader| leader != me.id), "follows another");
            }
            Role::Resigned(_) => {
                assert_eq!(election.leader, Some(me.id), "2: it led the epoch");
            }
        }
    }
}
