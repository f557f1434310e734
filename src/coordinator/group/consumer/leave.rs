//! Members that go: they say so, or they are silent, or do not give back what they have to.
//!
//! - One that leaves (-1), is silent for longer than its session, or has not given partitions back
//!   within its rebalance timeout, is out; the group's epoch rises.
//! - A static member that leaves for a while (-2) keeps what it has until its session ends: if it
//!   is back by then, under whatever id, nobody else notices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::{ErrorCode, TopicName};

use super::hash::metadata_hash;
use super::heartbeat::{Decided, check_static, unknown};
use super::index::less;
use super::member::{ConsumerMember, LEAVING_FOR_A_WHILE, MemberState, Owned};
use super::messages::{ConsumerBeat, ConsumerHeartbeat, Refusal};
use super::records;
use crate::group::change::Change;
use crate::group::effect::{Answer, Effects, Then, Ticket};
use crate::group::timers::TimerKey;
use crate::group::{GroupId, GroupShard, MemberId, Now, Slot};

impl GroupShard {
    /// A member leaves.
    pub(super) fn leave_consumers(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        match self.who_leaves(request) {
            Err(refusal) => self.answer_in_order(ticket, Answer::Beat(Err(refusal)), out),
            Ok(member) => {
                let then = Then::Answer(ticket, Answer::Beat(Ok(left(request))));
                self.let_consumers_go(now, &request.group, &[member], then, out);
            }
        }
    }

    /// A static member leaves for a while.
    pub(super) fn leave_for_a_while(
        &self,
        request: &ConsumerHeartbeat,
    ) -> Result<Decided, Refusal> {
        let id = &request.group;
        let member = self.who_leaves(request)?;
        let mut leaving = ConsumerMember::clone(&member);
        leaving.epoch = LEAVING_FOR_A_WHILE;
        leaving.revoking = Owned::new();
        let partitions = leaving.assigned.values_mut().flat_map(BTreeMap::values_mut);
        partitions.for_each(|epoch| *epoch = 0);
        let record = records::current(id, &leaving);
        Ok(Decided {
            changes: vec![Change::Consumer(Box::new(record))],
            beat: left(request),
            stays: None,
            moved: false,
            gone: Vec::new(),
            looked_up: false,
            resolve: None,
        })
    }

    fn who_leaves(&self, request: &ConsumerHeartbeat) -> Result<Arc<ConsumerMember>, Refusal> {
        let id = &request.group;
        if !matches!(self.slots.get(id), Some(Slot::Consumer)) {
            let text = format!("Group {id} not found.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, text));
        }
        match &request.instance {
            None => {
                let member = self.consumers.member(id, &request.member).cloned();
                member.ok_or_else(|| unknown(id, &request.member))
            }
            Some(instance) => {
                let present = self.static_consumer(id, instance);
                check_static(present, (&request.member, instance))
            }
        }
    }

    /// A consumer group without members is forgotten.
    pub(in crate::group) fn no_consumers(&self, id: &GroupId) -> Vec<Change> {
        let records = records::no_group(&self.consumers, id).into_iter();
        records.map(|record| Change::Consumer(Box::new(record))).collect()
    }

    /// The group without some members.
    pub(super) fn without_consumers(
        &self,
        id: &GroupId,
        gone: &[Arc<ConsumerMember>],
    ) -> Vec<Change> {
        let mut out = Vec::new();
        gone.iter().for_each(|member| out.extend(records::no_member(id, &member.id)));
        let index = self.consumers.index(id).expect("a member's group has an index");
        let (mut topics, mut regexes) = (index.topics().clone(), index.regexes().clone());
        for member in gone {
            member.topics.iter().for_each(|topic| less(&mut topics, topic));
            less(&mut regexes, &member.regex);
        }
        let forgotten = index.regexes().keys().filter(|regex| !regexes.contains_key(*regex));
        out.extend(forgotten.map(|regex| records::no_regex(id, regex)));
        let mut names: BTreeSet<TopicName> = topics.into_keys().collect();
        for resolved in regexes.keys().filter_map(|regex| self.consumers.regex(id, regex)) {
            names.extend(resolved.topics.iter().cloned());
        }
        let hash = metadata_hash(&names, &*self.cluster);
        let epoch = self.consumers.head(id).epoch.saturating_add(1);
        out.push(records::epoch(id, epoch, hash));
        out.into_iter().map(|record| Change::Consumer(Box::new(record))).collect()
    }

    /// The topics that a group reads, with one member instead of another.
    pub(super) fn read_topics(
        &self,
        id: &GroupId,
        old: Option<&ConsumerMember>,
        new: Option<&ConsumerMember>,
    ) -> BTreeSet<TopicName> {
        let mut topics = BTreeSet::new();
        if let Some(index) = self.consumers.index(id) {
            let others = |topic: &TopicName, count: usize| {
                count > usize::from(old.is_some_and(|old| old.topics.contains(topic)))
            };
            let named = index.topics().iter().filter(|(topic, count)| others(topic, **count));
            topics.extend(named.map(|(topic, _)| topic.clone()));
            for (regex, count) in index.regexes() {
                if *count > usize::from(old.is_some_and(|old| old.regex == *regex))
                    && let Some(resolved) = self.consumers.regex(id, regex)
                {
                    topics.extend(resolved.topics.iter().cloned());
                }
            }
        }
        if let Some(new) = new {
            topics.append(&mut self.wanted(id, new));
        }
        topics
    }

    /// A member was silent for longer than its session.
    pub(in crate::group) fn consumer_silent(
        &mut self,
        now: Now,
        (id, member): (&GroupId, &MemberId),
        out: &mut Effects,
    ) {
        self.fence_consumer(now, id, member, out);
    }

    /// The time of a member to give partitions back is over.
    pub(in crate::group) fn revocation_overdue(
        &mut self,
        now: Now,
        (id, member): (&GroupId, &MemberId),
        out: &mut Effects,
    ) {
        let known = self.consumers.member(id, member);
        if known.is_some_and(|known| known.state == MemberState::Unrevoked && known.epoch >= 0) {
            self.fence_consumer(now, id, member, out);
        }
    }

    fn fence_consumer(&mut self, now: Now, id: &GroupId, member: &MemberId, out: &mut Effects) {
        let Some(known) = self.consumers.member(id, member).cloned() else { return };
        self.let_consumers_go(now, id, &[known], Then::Nothing, out);
    }

    /// The sessions of all members begin, and the times of those who have to give something back:
    /// after a load.
    pub(in crate::group) fn await_consumers(&mut self, now: Now) {
        let is_here = |id: &&GroupId| matches!(self.slots.get(*id), Some(Slot::Consumer));
        let ids: Vec<GroupId> = self.consumers.ids().filter(is_here).cloned().collect();
        ids.iter().for_each(|id| self.await_consumers_of(now, id));
    }

    /// Members of a group of whom nothing is expected, as their records were undone, have to be
    /// heard of again.
    pub(in crate::group) fn await_consumers_of(&mut self, now: Now, id: &GroupId) {
        let members: Vec<_> = self.consumers.members(id).cloned().collect();
        for member in members {
            let key = TimerKey::Session(id.clone(), member.id.clone());
            if !self.timers.is_set(&key) {
                self.expect_consumer(now, id, &member);
            }
            let key = TimerKey::Revocation(id.clone(), member.id.clone());
            if member.state != MemberState::Unrevoked || !self.timers.is_set(&key) {
                self.expect_revocation(now, id, &member);
            }
        }
    }
}

/// What a member is told that leaves.
fn left(request: &ConsumerHeartbeat) -> ConsumerBeat {
    ConsumerBeat {
        member: request.member.clone(),
        epoch: request.epoch,
        interval_ms: 0,
        assignment: None,
    }
}
