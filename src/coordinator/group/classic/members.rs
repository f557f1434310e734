//! The members of a classic group, and what is counted over them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::member::{Member, Protocols};
use crate::group::effect::Ticket;
use crate::group::names::MemberId;

/// The members of a group, by id.
#[derive(Clone, Default, Debug)]
pub struct Members {
    all: BTreeMap<MemberId, Member>,
    /// Ids of static members by their instance ids.
    by_instance: BTreeMap<String, MemberId>,
    /// How many members support a protocol.
    supported: BTreeMap<String, usize>,
    /// How many wait for their JoinGroup.
    awaiting_join: usize,
}

impl Members {
    /// A member.
    #[must_use]
    pub fn get(&self, id: &MemberId) -> Option<&Member> {
        self.all.get(id)
    }

    /// A member; whoever changes what is counted uses the other methods.
    pub(in crate::group) fn get_mut(&mut self, id: &MemberId) -> Option<&mut Member> {
        self.all.get_mut(id)
    }

    /// All members, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.values()
    }

    /// Their ids.
    #[must_use]
    pub fn ids(&self) -> Vec<MemberId> {
        self.all.keys().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many wait for their JoinGroup.
    #[must_use]
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Id of a static member.
    #[must_use]
    pub fn static_member(&self, instance: &str) -> Option<&MemberId> {
        self.by_instance.get(instance)
    }

    /// The longest time that a member wants to be waited for.
    #[must_use]
    pub fn rebalance_timeout(&self) -> Duration {
        self.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Adds a member.
    pub(in crate::group) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.by_instance.insert(instance.clone(), member.id.clone());
        }
        self.count(&member.protocols, true);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.all.insert(member.id.clone(), member);
    }

    /// Removes a member.
    pub(in crate::group) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.all.remove(id)?;
        self.count(&member.protocols, false);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance) = &member.instance {
            self.by_instance.remove(instance);
        }
        Some(member)
    }

    /// Changes what a member supports.
    pub(in crate::group) fn set_protocols(&mut self, id: &MemberId, protocols: Protocols) {
        let Some(member) = self.all.get_mut(id) else { return };
        let old = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count(&old, false);
        self.count(&protocols, true);
    }

    /// Lets somebody wait for a member's JoinGroup, or nobody; returns who did.
    pub(in crate::group) fn await_join(
        &mut self,
        id: &MemberId,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        let member = self.all.get_mut(id)?;
        let old = std::mem::replace(&mut member.awaiting_join, ticket);
        self.awaiting_join += usize::from(ticket.is_some());
        self.awaiting_join -= usize::from(old.is_some());
        old
    }

    fn count(&mut self, protocols: &Protocols, up: bool) {
        for name in protocols.names() {
            let count = self.supported.entry(name.to_owned()).or_default();
            *count = if up { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// Whether all members support a protocol.
    #[must_use]
    pub fn all_support(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.all.len()
    }

    /// The protocol that most members like best of those that all support; of several the first
    /// by name. None when there is none.
    #[must_use]
    pub fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.iter() {
            let vote = member.protocols.names().find(|name| self.all_support(name))?;
            *votes.entry(vote).or_default() += 1;
        }
        let best = votes.iter().rev().max_by_key(|(_, count)| **count);
        best.map(|(name, _)| (*name).to_owned())
    }

    /// Panics when what is counted is not so.
    pub(super) fn check(&self) {
        let waiting = self.iter().filter(|member| member.awaiting_join.is_some()).count();
        assert_eq!(self.awaiting_join, waiting, "the count of waiting members is right");
        for (instance, id) in &self.by_instance {
            let member = self.get(id).expect("a static member is a member");
            assert_eq!(member.instance.as_ref(), Some(instance), "under its own instance id");
        }
        for (name, count) in &self.supported {
            let support = self.iter().filter(|member| member.protocols.get(name).is_some());
            assert_eq!(support.count(), *count, "the count of {name} is right");
        }
    }
}
