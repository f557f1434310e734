//! What holds after each step, and what a quiet group is.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{PartitionId, TopicName};

use super::client::{Client, Life, Partitions, all_of};
use super::spoken::{Stage, is_there};
use super::{Committed, Run};
use crate::group::classic::State;
use crate::group::consumer::MemberState;
use crate::group::tests::cluster::said;
use crate::group::timers::TimerKey;
use crate::group::{GroupId, GroupShard, MemberId, Slot};

impl Run {
    pub(super) fn check(&mut self) {
        let committed = self.committed();
        for (id, group) in &committed {
            self.check_epochs(id, group);
            let mut owners = Partitions::new();
            for member in &group.members {
                for partition in all_of(&member.assigned).union(&all_of(&member.revoking)) {
                    assert!(owners.insert(*partition), "{id}: two have {partition:?}");
                }
            }
        }
        self.check_timers();
        self.check_clients(&committed);
        self.before = committed;
        self.was_held = self.harness.holds;
    }

    fn check_epochs(&self, id: &GroupId, group: &Committed) {
        let (epoch, target_epoch) = group.epochs;
        assert!(target_epoch <= epoch, "{id}: a target of an epoch that is to come");
        for member in &group.members {
            assert!(member.epoch <= target_epoch, "{id}: {member:?} is ahead of {target_epoch}");
        }
        let Some(before) = self.before.get(id) else { return };
        if self.mixes && self.was_held {
            // It may have been without members since, and another one.
            return;
        }
        assert!(before.epochs.0 <= epoch && before.epochs.1 <= target_epoch, "{id}: epochs");
        for old in &before.members {
            let new = group.members.iter().find(|new| new.id == old.id);
            let goes_back = new.is_some_and(|new| new.epoch >= 0 && new.epoch < old.epoch);
            assert!(!goes_back, "{id}: {new:?} was in {}", old.epoch);
        }
    }

    fn check_timers(&self) {
        let shard = &self.harness.shard;
        for id in &self.groups {
            let mut members = BTreeSet::new();
            for member in shard.consumers.members(id) {
                members.insert(member.id.clone());
                let key = TimerKey::Session(id.clone(), member.id.clone());
                assert!(shard.timers.is_set(&key), "{member:?} has no session");
                let key = TimerKey::Revocation(id.clone(), member.id.clone());
                let may_stay = member.epoch < 0 || member.classic.is_some();
                let is_due = member.state == MemberState::Unrevoked && !may_stay;
                assert!(!is_due || shard.timers.is_set(&key), "{member:?} may take for ever");
            }
            let mut targets = shard.consumers.targets(id).map(|(member, _)| member);
            assert!(targets.all(|it| members.contains(it)), "{id}: a target of nobody");
        }
    }

    fn check_clients(&mut self, committed: &BTreeMap<GroupId, Committed>) {
        let mut owners: BTreeMap<(GroupId, (_, PartitionId)), MemberId> = BTreeMap::new();
        for client in &mut self.clients {
            client.owns.retain(|(id, _)| client.spoken.is_none() || is_there(*id, &self.cluster));
            let is_in = client.epoch == 0 || is_in(client, &self.harness.shard, committed);
            client.is_void |= !is_in;
            for partition in client.owns.iter().filter(|_| !client.is_void) {
                let old = owners.insert((client.group.clone(), *partition), client.id.clone());
                assert_eq!(old, None, "{} reads {partition:?} too", client.id);
            }
        }
    }

    /// What a quiet group is not to be.
    pub(super) fn disorder(&self, id: &GroupId) -> Option<String> {
        let live: Vec<&Client> =
            self.clients.iter().filter(|it| it.life == Life::In && it.group == *id).collect();
        if let Some(Slot::Classic(_)) = self.harness.shard.slots.committed(id) {
            return self.disorder_of_classic(id, &live);
        }
        let group = self.committed().remove(id);
        let members = group.as_ref().map_or(&[][..], |group| &group.members);
        if members.len() != live.len() {
            return Some(format!("{} members of {}: {members:?}", members.len(), live.len()));
        }
        let (expected, mut owned) = (self.wanted(&live), Partitions::new());
        for client in live {
            let Some(member) = members.iter().find(|member| member.id == client.id) else {
                return Some(format!("{} is no member", client.id));
            };
            let epochs = group.as_ref().map_or((0, 0), |group| group.epochs);
            let is_there = member.is_reconciled_to(epochs.0) && epochs.0 == epochs.1;
            let is_there = is_there && client.epoch == member.epoch;
            if !is_there || all_of(&member.assigned) != client.owns {
                return Some(format!("{epochs:?} {member:?} {client:?}"));
            }
            let name = |id: &ottla_types::Uuid| TopicName::from(said(*id).as_str());
            let wants = |(topic, _): &(_, _)| client.topics.contains(&name(topic));
            assert!(client.owns.iter().all(wants), "{client:?} has what it does not want");
            owned.extend(&client.owns);
        }
        (owned != expected).then(|| format!("{owned:?} of {expected:?}: {group:?}"))
    }

    fn disorder_of_classic(&self, id: &GroupId, live: &[&Client]) -> Option<String> {
        let Some(group) = self.harness.shard.classic(id) else {
            return Some(format!("{id} becomes another one"));
        };
        let is_in = |client: &&Client| {
            let stage = client.spoken.as_ref().map(|spoken| &spoken.stage);
            matches!(stage, Some(Stage::In)) && client.epoch == group.generation()
        };
        let is_stable = live.is_empty() || group.state() == State::Stable;
        if !is_stable || group.members().len() != live.len() || !live.iter().all(is_in) {
            return Some(format!("{group:?} {live:?}"));
        }
        let (expected, mut owned) = (self.wanted(live), Partitions::new());
        live.iter().for_each(|client| owned.extend(&client.owns));
        (owned != expected).then(|| format!("{owned:?} of {expected:?}"))
    }

    /// All that somebody wants to read.
    fn wanted(&self, live: &[&Client]) -> Partitions {
        let names = live.iter().flat_map(|client| &client.topics);
        let views = names.filter_map(|name| self.cluster.topics.get(&**name));
        let all = views.flat_map(|view| (0..view.partitions).map(|at| (view.id, PartitionId(at))));
        all.collect()
    }
}

/// Whether what a client reads counts: whether its group knows it. Of a classic group that is in
/// its last generation or about to be, of a consumer group with all that it has.
fn is_in(client: &Client, shard: &GroupShard, committed: &BTreeMap<GroupId, Committed>) -> bool {
    let id = &client.group;
    match shard.slots.committed(id) {
        Some(Slot::Consumer) => {
            let group = committed.get(id);
            let member = group.and_then(|it| it.members.iter().find(|it| it.id == client.id));
            let Some(member) = member else { return false };
            let mut known = all_of(&member.assigned);
            known.append(&mut all_of(&member.revoking));
            let unknown = client.owns.difference(&known).next();
            let is_void = client.is_void;
            assert!(is_void || unknown.is_none(), "{client:?} reads it, and is {member:?}");
            true
        }
        // Without the latter it becomes a consumer group just now.
        Some(Slot::Classic(_)) => shard.classic(id).is_none_or(|group| {
            let is_member = group.members().get(&client.id).is_some();
            is_member && client.generation() >= group.generation()
        }),
        _ => false,
    }
}
