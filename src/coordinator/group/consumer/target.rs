//! A group's target: who is to have what in a group epoch, as the assignor says that most members
//! ask for.
//!
//! It is made by the heartbeat that finds the group's epoch above the target's, but not more often
//! than `consumer.assignment.interval.ms` says; until then members follow the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{TopicName, Uuid};

use super::assignor::{Assignor, Task, TaskMember};
use super::member::{Assignment, ConsumerMember};
use super::records;
use super::state::Head;
use crate::group::{GroupId, GroupShard, MemberId, Now};

/// A member in the course of being changed: the maps still hold the one before.
pub(super) struct Changing<'a> {
    /// As it was, if it was there under this id.
    pub(super) before: Option<&'a ConsumerMember>,
    /// The static member whose place it takes.
    pub(super) replaced: Option<&'a ConsumerMember>,
    /// As it is now.
    pub(super) now: &'a ConsumerMember,
}

impl Changing<'_> {
    /// The one that is counted so far.
    pub(super) fn counted(&self) -> Option<&ConsumerMember> {
        self.replaced.or(self.before)
    }
}

impl GroupShard {
    /// The names of the topics that a member wants.
    pub(super) fn wanted(&self, id: &GroupId, member: &ConsumerMember) -> BTreeSet<TopicName> {
        let mut wanted = member.topics.clone();
        if !member.regex.is_empty()
            && let Some(resolved) = self.consumers.regex(id, &member.regex)
        {
            wanted.extend(resolved.topics.iter().cloned());
        }
        wanted
    }

    /// The ids of those that exist.
    pub(super) fn wanted_ids(&self, id: &GroupId, member: &ConsumerMember) -> BTreeSet<Uuid> {
        let wanted = self.wanted(id, member);
        wanted.iter().filter_map(|name| Some(self.cluster.topic(name)?.id)).collect()
    }

    /// The target of a member, and its epoch: the present one, or, when it is time, a new one
    /// with its records.
    pub(super) fn next_target(
        &self,
        now: Now,
        id: &GroupId,
        (head, epoch): (&Head, i32),
        changing: &Changing<'_>,
        out: &mut Vec<GroupRecord>,
    ) -> (Arc<Assignment>, i32) {
        let is_due = epoch > head.assignment_epoch && self.may_assign(now, id, head);
        if !is_due {
            let of = changing.replaced.unwrap_or(changing.now);
            let target = self.consumers.target(id, &of.id).cloned();
            return (target.unwrap_or_default(), head.assignment_epoch);
        }
        let task = self.task(id, changing);
        let assigned = self.preferred(id, changing).assign(&task);
        let mut own = Arc::default();
        for (member, target) in task.members.iter().zip(assigned) {
            let known = self.consumers.target(id, &member.id);
            let replaces = changing.replaced.is_some() && member.id == changing.now.id;
            let known = if replaces { Some(&member.assigned) } else { known };
            if known.is_none_or(|known| **known != target) {
                out.push(records::target(id, &member.id, &target));
            }
            if member.id == changing.now.id {
                own = Arc::new(target);
            }
        }
        out.push(records::target_epoch(id, epoch, now.wall));
        (own, epoch)
    }

    pub(super) fn may_assign(&self, now: Now, id: &GroupId, head: &Head) -> bool {
        let interval = self.assignment_interval_ms(id);
        let (last, now) = (head.assigned_at.0, now.wall.0);
        // A time that is still to come is of a clock that was set back since: it holds nothing up.
        last == 0 || interval == 0 || now >= last + interval || now < last
    }

    fn preferred(&self, id: &GroupId, changing: &Changing<'_>) -> Assignor {
        let mut counts =
            self.consumers.index(id).map_or_else(BTreeMap::new, |index| index.assignors().clone());
        if let Some(name) = changing.counted().and_then(|member| member.assignor.as_ref())
            && let Some(count) = counts.get_mut(name)
        {
            *count = count.saturating_sub(1);
        }
        if let Some(name) = &changing.now.assignor {
            *counts.entry(name.clone()).or_default() += 1;
        }
        Assignor::preferred(&counts)
    }

    fn task(&self, id: &GroupId, changing: &Changing<'_>) -> Task {
        let gone = changing.replaced.map(|member| &member.id);
        let is_other =
            |member: &&ConsumerMember| member.id != changing.now.id && Some(&member.id) != gone;
        let others = self.consumers.members(id).map(|member| &**member).filter(is_other);
        let mut members: Vec<&ConsumerMember> = others.collect();
        members.push(changing.now);
        members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut task = Task { is_homogeneous: is_homogeneous(&members), ..Task::default() };
        let assigned = |member: &MemberId| {
            let of = gone.filter(|_| *member == changing.now.id).unwrap_or(member);
            self.consumers.target(id, of).cloned().unwrap_or_default()
        };
        // Most members want the same: what it stands for is looked up once.
        let mut known: Option<(&ConsumerMember, Vec<Uuid>)> = None;
        for member in members {
            let same = known
                .as_ref()
                .filter(|(other, _)| other.topics == member.topics && other.regex == member.regex);
            let topics = match same {
                Some((_, topics)) => topics.clone(),
                None => self.look_up(id, member, &mut task.topics),
            };
            known = Some((member, topics.clone()));
            task.members.push(TaskMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                topics,
                assigned: assigned(&member.id),
            });
        }
        task
    }

    /// The topics that a member wants and that exist, by id.
    fn look_up(
        &self,
        id: &GroupId,
        member: &ConsumerMember,
        partitions: &mut BTreeMap<Uuid, i32>,
    ) -> Vec<Uuid> {
        let wanted = self.wanted(id, member);
        let views = wanted.iter().filter_map(|name| self.cluster.topic(name));
        let mut topics: Vec<Uuid> = views
            .map(|view| {
                partitions.insert(view.id, view.partitions);
                view.id
            })
            .collect();
        topics.sort_unstable();
        topics
    }
}

/// Whether all want the same, by names or by one pattern.
fn is_homogeneous(members: &[&ConsumerMember]) -> bool {
    let Some(first) = members.first() else { return true };
    let by_both = !first.regex.is_empty() && !first.topics.is_empty();
    !by_both && members.iter().all(|it| it.topics == first.topics && it.regex == first.regex)
}
