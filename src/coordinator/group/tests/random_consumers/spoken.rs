//! Clients that speak the classic protocol, in groups of both: they join, as the leader of a
//! classic group share everything among all, and join again when they are told to. Cooperative ones
//! keep what they have meanwhile.
//!
//! One that was put out finds out by itself, as by the clock: what it has it does not say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::consumer_protocol::{
    ConsumedPartitions, ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode,
};
use ottla_protocol::{Message, Writer};
use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::client::{Client, Life, Partitions};
use super::{Dice, TestCluster};
use crate::group::MemberId;
use crate::group::classic::{Join, Joined, Leave, Leaving, Protocols, Sync};
use crate::group::tests::cluster::said;

/// What somebody said about itself.
pub(super) type Said = ConsumerProtocolSubscription;

/// Where a client stands.
#[derive(Clone, Default, Debug)]
pub(super) enum Stage {
    #[default]
    Out,
    /// It has joined; the leader knows all members.
    Joined {
        generation: i32,
        leads: Option<Vec<(MemberId, Said)>>,
    },
    In,
}

/// What a client needs that speaks the classic protocol.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    pub(super) stage: Stage,
    pub(super) is_cooperative: bool,
    /// Which topics there were when it joined.
    pub(super) seen: i64,
}

fn written<T: Message>(message: &T, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version);
    writer.into_bytes().into()
}

/// Partitions by the names of their topics, of those that there are.
fn named(partitions: &Partitions, cluster: &TestCluster) -> Vec<ConsumedPartitions> {
    let mut topics: BTreeMap<String, Vec<PartitionId>> = BTreeMap::new();
    for (id, partition) in partitions {
        let name = said(*id);
        if cluster.topics.get(&name).is_some_and(|view| view.id == *id) {
            topics.entry(name).or_default().push(*partition);
        }
    }
    let topics = topics.into_iter();
    topics
        .map(|(name, partitions)| ConsumedPartitions {
            topic: TopicName::from(name.as_str()),
            partitions,
        })
        .collect()
}

impl Client {
    /// The last generation that it was told.
    pub(super) fn generation(&self) -> i32 {
        match &self.spoken {
            Some(Spoken { stage: Stage::Joined { generation, .. }, .. }) => *generation,
            _ => self.epoch,
        }
    }

    pub(super) fn join(&mut self, unique: u64, cluster: &TestCluster) -> Join {
        let is_void = self.is_void;
        let spoken = self.spoken.as_mut().expect("it speaks the classic protocol");
        if is_void || !spoken.is_cooperative {
            self.owns.clear();
            self.told.clear();
        }
        if is_void {
            (self.epoch, self.is_void) = (0, false);
        }
        spoken.seen = cluster.version;
        let about = Said {
            topics: self.topics.iter().cloned().collect(),
            user_data: Some(cluster.version.to_be_bytes().to_vec().into()),
            owned_partitions: named(&self.owns, cluster),
            generation_id: if self.epoch > 0 { self.epoch } else { -1 },
            rack_id: None,
        };
        let ms = |ms: i32| Duration::from_millis(u64::from(ms.unsigned_abs()));
        Join {
            group: self.group.clone(),
            member: self.id.clone(),
            instance: self.instance.clone(),
            client_id: format!("client{}", self.number),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: ms(self.rebalance_ms),
            protocol_type: "consumer".to_owned(),
            protocols: Protocols(vec![("range".to_owned(), written(&about, 3))]),
            unique: unique.to_string(),
            consumer_id: unique.to_string(),
            must_know_id: false,
            can_skip_assignment: true,
        }
    }

    pub(super) fn joined(&mut self, joined: Joined) {
        self.waits = None;
        match joined.error {
            ErrorCode::None => {
                // 0 is told to one that makes its group a classic one in which all share anew.
                let lowest = if self.instance.is_some() { 0 } else { 1 };
                assert!(joined.generation >= lowest, "{joined:?}");
                let is_leader = joined.leader.as_ref() == Some(&joined.member);
                let leads = is_leader && !joined.skip_assignment;
                let read = |text: &Bytes| decode::<Said>(text).expect("all say it so").0;
                let members = joined.members.iter().map(|it| (it.id.clone(), read(&it.metadata)));
                let leads = leads.then(|| members.collect());
                self.id = joined.member;
                self.set_stage(Stage::Joined { generation: joined.generation, leads });
            }
            ErrorCode::RebalanceInProgress => self.set_stage(Stage::Out),
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.lose_place(),
            // The coordinator is not there, or what it wrote was refused.
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {}
            error => panic!("{self:?} does not join: {error:?}"),
        }
    }

    pub(super) fn sync(&self, dice: &mut Dice, cluster: &TestCluster) -> Sync {
        let spoken = self.spoken.as_ref().expect("it speaks the classic protocol");
        let Stage::Joined { generation, leads } = &spoken.stage else { panic!("{self:?}") };
        let told = leads.as_ref().map(|all| share(all, dice, cluster)).unwrap_or_default();
        Sync {
            group: self.group.clone(),
            member: self.id.clone(),
            instance: self.instance.clone(),
            generation: *generation,
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignments: told,
        }
    }

    pub(super) fn synced(&mut self, told: &Bytes, cluster: &TestCluster) {
        self.waits = None;
        let generation = self.generation();
        assert!(generation >= self.epoch, "{self:?} goes back to {generation}");
        self.epoch = generation;
        self.told.clear();
        if !told.is_empty() {
            let (told, _) = decode::<ConsumerProtocolAssignment>(told).expect("it is one");
            for topic in told.assigned_partitions {
                let id = cluster.topics.get(&*topic.topic).map(|view| view.id);
                let ids = topic.partitions.into_iter();
                self.told.extend(ids.filter_map(|partition| Some((id?, partition))));
            }
        }
        if !self.has_to_revoke() {
            self.follow();
        }
        self.set_stage(Stage::In);
    }

    /// A heartbeat, a join or a sync is answered with an error.
    pub(super) fn refused(&mut self, error: ErrorCode) {
        self.waits = None;
        match error {
            ErrorCode::RebalanceInProgress => self.set_stage(Stage::Out),
            ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::FencedInstanceId => self.lose_place(),
            // The coordinator is not there, or what it wrote was refused.
            _ => {}
        }
    }

    pub(super) fn leave_request(&self) -> Leave {
        let leaving = Leaving { id: self.id.clone(), instance: self.instance.clone() };
        Leave { group: self.group.clone(), members: vec![leaving] }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.spoken.as_mut().expect("it speaks the classic protocol").stage = stage;
    }

    fn lose_place(&mut self) {
        let life = self.life;
        self.stop();
        self.id = MemberId::from("");
        self.life = if life == Life::Out { Life::Out } else { Life::In };
    }
}

/// What the leader of a classic group decides: everything that somebody wants is somebody's, but
/// for what another one still has.
fn share(
    all: &[(MemberId, Said)],
    dice: &mut Dice,
    cluster: &TestCluster,
) -> Vec<(MemberId, Bytes)> {
    let mut claims: BTreeMap<(&str, PartitionId), (i32, usize)> = BTreeMap::new();
    for (at, (_, said)) in all.iter().enumerate() {
        for topic in &said.owned_partitions {
            for partition in &topic.partitions {
                let claim = claims.entry((&*topic.topic, *partition)).or_insert((-1, at));
                *claim = (*claim).max((said.generation_id, at));
            }
        }
    }
    let mut told = vec![Partitions::new(); all.len()];
    let names: BTreeSet<&TopicName> = all.iter().flat_map(|(_, said)| &said.topics).collect();
    for name in names {
        let Some(view) = cluster.topics.get(&**name) else { continue };
        let readers: Vec<usize> =
            (0..all.len()).filter(|at| all[*at].1.topics.contains(name)).collect();
        let first = dice.below(readers.len() as u64) as usize;
        for partition in (0..view.partitions).map(PartitionId) {
            let target = readers[(first + partition.0 as usize) % readers.len()];
            let claim = claims.get(&(&**name, partition)).map(|(_, at)| *at);
            match claim {
                Some(has) if has != target && !readers.contains(&has) => {}
                Some(has) if has != target && dice.chance(30) => {}
                Some(has) => drop(told[has].insert((view.id, partition))),
                None => drop(told[target].insert((view.id, partition))),
            }
        }
    }
    let bytes = told.iter().map(|partitions| {
        let assigned_partitions = named(partitions, cluster);
        written(&ConsumerProtocolAssignment { assigned_partitions, user_data: None }, 1)
    });
    all.iter().map(|(id, _)| id.clone()).zip(bytes).collect()
}

/// Whether a topic of this id is there.
pub(super) fn is_there(id: Uuid, cluster: &TestCluster) -> bool {
    cluster.topics.get(&said(id)).is_some_and(|view| view.id == id)
}
