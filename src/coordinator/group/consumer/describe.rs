//! What operators are told of consumer groups, and what a group is told of the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignor::Assignor;
use super::cluster::{ChangedTopics, SharedCluster};
use super::member::{ConsumerMember, Owned, without_epochs};
use super::messages::{DescribedConsumer, DescribedConsumerGroup};
use super::state::Head;
use crate::group::{GroupId, GroupShard, Slot};

/// Kafka's name of a group's state.
fn state_of<'a>(
    head: &Head,
    mut members: impl Iterator<Item = &'a ConsumerMember>,
) -> &'static str {
    let Some(first) = members.next() else { return "Empty" };
    let epoch = head.assignment_epoch;
    if head.epoch > epoch {
        "Assigning"
    } else if !first.is_reconciled_to(epoch) || !members.all(|it| it.is_reconciled_to(epoch)) {
        "Reconciling"
    } else {
        "Stable"
    }
}

impl GroupShard {
    /// The state of a consumer group, as it is committed.
    pub(in crate::group) fn consumer_state(&self, id: &GroupId) -> &'static str {
        let members = self.consumers.committed_members(id).map(|member| &**member);
        state_of(&self.consumers.committed_head(id), members)
    }

    /// A consumer group as it is committed; none when there is none of this name.
    #[must_use]
    pub fn describe_consumers(&self, id: &GroupId) -> Option<DescribedConsumerGroup> {
        if !matches!(self.slots.committed(id), Some(Slot::Consumer)) {
            return None;
        }
        let head = self.consumers.committed_head(id);
        let mut members: Vec<_> = self.consumers.committed_members(id).cloned().collect();
        members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut asked = BTreeMap::new();
        for name in members.iter().filter_map(|member| member.assignor.as_ref()) {
            *asked.entry(name.clone()).or_default() += 1;
        }
        let describe = |member| {
            let member: std::sync::Arc<ConsumerMember> = member;
            let target = self.consumers.committed_target(id, &member.id);
            DescribedConsumer {
                assigned: without_epochs(&all_of(&member)),
                target: target.map(|it| (**it).clone()).unwrap_or_default(),
                member,
            }
        };
        Some(DescribedConsumerGroup {
            state: self.consumer_state(id),
            epoch: head.epoch,
            assignment_epoch: head.assignment_epoch,
            assignor: Assignor::preferred(&asked).name(),
            members: members.into_iter().map(describe).collect(),
        })
    }

    /// The metadata says something else: groups that read these topics look them up again.
    pub fn cluster_changed(&mut self, cluster: SharedCluster, changed: &ChangedTopics) {
        self.cluster = cluster;
        if changed.has_new || self.newest_topics < 0 {
            self.newest_topics = self.cluster.version();
        }
        let changed = &changed.names;
        if changed.is_empty() {
            return;
        }
        let groups: Vec<GroupId> = self.consumers.ids().cloned().collect();
        for id in groups {
            let Some(index) = self.consumers.index(&id) else { continue };
            let by_name = index.topics().keys().any(|topic| changed.contains(topic));
            let by_regex = index.regexes().keys().any(|regex| {
                let resolved = self.consumers.regex(&id, regex);
                resolved.is_some_and(|it| it.topics.iter().any(|topic| changed.contains(topic)))
            });
            if (by_name || by_regex)
                && let Some(index) = self.consumers.index_mut(&id)
            {
                index.is_fresh = false;
            }
        }
    }

    /// `consumer.session.timeout.ms` of a group.
    pub(in crate::group) fn consumer_session(&self, id: &GroupId) -> Duration {
        let own = self.own_config(id, "consumer.session.timeout.ms");
        own.map_or(self.config.consumer_session_timeout, Duration::from_millis)
    }

    /// `consumer.heartbeat.interval.ms` of a group.
    pub(super) fn heartbeat_interval_ms(&self, id: &GroupId) -> i32 {
        let own = self.own_config(id, "consumer.heartbeat.interval.ms");
        let own = own.map_or(self.config.consumer_heartbeat_interval, Duration::from_millis);
        i32::try_from(own.as_millis()).unwrap_or(i32::MAX)
    }

    /// `consumer.assignment.interval.ms` of a group.
    pub(super) fn assignment_interval_ms(&self, id: &GroupId) -> i64 {
        let own = self.own_config(id, "consumer.assignment.interval.ms");
        let own = own.map_or(self.config.consumer_assignment_interval, Duration::from_millis);
        i64::try_from(own.as_millis()).unwrap_or(i64::MAX)
    }

    fn own_config(&self, id: &GroupId, key: &str) -> Option<u64> {
        self.cluster.group_config(id, key)?.trim().parse().ok()
    }
}

fn all_of(member: &ConsumerMember) -> Owned {
    let mut all = member.assigned.clone();
    for (topic, partitions) in &member.revoking {
        all.entry(*topic).or_default().extend(partitions);
    }
    all
}
