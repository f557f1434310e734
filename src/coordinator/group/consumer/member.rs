//! A member of a consumer group, as its records say.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::coordinator::group::consumer::{
    ClassicMemberMetadata, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, ConsumerGroupTargetAssignmentMemberValue, CurrentPartitions,
    TargetPartitions,
};
use ottla_types::{PartitionId, TopicName, Uuid};

use crate::group::MemberId;

/// Partitions by topic, each with the member epoch since which the member has it.
pub type Owned = BTreeMap<Uuid, BTreeMap<PartitionId, i32>>;

/// Partitions that a member is to have: by topic, sorted, no topic without one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Assignment(pub BTreeMap<Uuid, Vec<PartitionId>>);

/// The epoch of a member that has none yet.
pub const JOINING: i32 = 0;
/// The epoch with which a member leaves.
pub const LEAVING: i32 = -1;
/// The epoch with which a static member leaves for a while.
pub const LEAVING_FOR_A_WHILE: i32 = -2;

/// What stands between a member and its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// Nothing, in its epoch.
    Stable,
    /// It has to give partitions back.
    Unrevoked,
    /// Others have to give partitions back.
    Unreleased,
    /// Something that a newer version wrote.
    Unknown,
}

impl MemberState {
    fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        }
    }

    fn from_code(code: i8) -> MemberState {
        match code {
            0 => MemberState::Stable,
            1 => MemberState::Unrevoked,
            2 => MemberState::Unreleased,
            _ => MemberState::Unknown,
        }
    }
}

/// A member of a consumer group.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerMember {
    /// Its id.
    pub id: MemberId,
    /// The epoch that it is in.
    pub epoch: i32,
    /// The epoch that it was in before; its answer may be lost.
    pub previous_epoch: i32,
    /// How far it is on its way to its target.
    pub state: MemberState,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// How long it may take to give partitions back, ms; -1 when it did not say.
    pub rebalance_timeout_ms: i32,
    /// Its client id.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// Topics that it wants, by name.
    pub topics: BTreeSet<TopicName>,
    /// Topics that it wants, by pattern; empty for none.
    pub regex: String,
    /// The assignor that it asks for.
    pub assignor: Option<String>,
    /// What it may read.
    pub assigned: Owned,
    /// What it has to give back.
    pub revoking: Owned,
    /// What it said in the classic protocol, if it speaks that.
    pub classic: Option<ClassicMemberMetadata>,
}

impl ConsumerMember {
    /// A member that has said nothing yet.
    #[must_use]
    pub fn new(id: MemberId) -> ConsumerMember {
        ConsumerMember {
            id,
            epoch: JOINING,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            rebalance_timeout_ms: -1,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: String::new(),
            assignor: None,
            assigned: Owned::new(),
            revoking: Owned::new(),
            classic: None,
        }
    }

    /// Whether it has all that the target of this epoch gives it.
    #[must_use]
    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Goes into an epoch.
    pub(super) fn enter(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Takes over what a record says about it.
    pub(super) fn describe_as(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        self.instance.clone_from(&value.instance_id);
        self.rack.clone_from(&value.rack_id);
        self.client_id.clone_from(&value.client_id);
        self.client_host.clone_from(&value.client_host);
        self.topics = value.subscribed_topic_names.iter().cloned().collect();
        self.regex = value.subscribed_topic_regex.clone().unwrap_or_default();
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor.clone_from(&value.server_assignor);
        self.classic.clone_from(&value.classic_member_metadata);
    }

    /// Takes over what a record says that it has.
    pub(super) fn own_as(&mut self, value: &ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        self.assigned = owned(&value.assigned_partitions, value.member_epoch);
        self.revoking = owned(&value.partitions_pending_revocation, value.member_epoch);
    }

    /// The record of what it says about itself.
    pub(super) fn metadata(&self) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.iter().cloned().collect(),
            subscribed_topic_regex: Some(self.regex.clone()),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.clone(),
            ..ConsumerGroupMemberMetadataValue::default()
        }
    }

    /// The record of what it has.
    pub(super) fn current(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: current_partitions(&self.assigned),
            partitions_pending_revocation: current_partitions(&self.revoking),
            ..ConsumerGroupCurrentMemberAssignmentValue::default()
        }
    }
}

fn owned(topics: &[CurrentPartitions], member_epoch: i32) -> Owned {
    let topic = |topic: &CurrentPartitions| {
        let known = topic.assignment_epochs.as_ref();
        let known = known.filter(|epochs| epochs.len() == topic.partitions.len());
        let epoch = |at: usize| known.map_or(member_epoch.max(0), |epochs| epochs[at]);
        let partitions = topic.partitions.iter().enumerate();
        (topic.topic_id, partitions.map(|(at, id)| (*id, epoch(at))).collect())
    };
    topics.iter().map(topic).collect()
}

fn current_partitions(owned: &Owned) -> Vec<CurrentPartitions> {
    let topic = |(id, partitions): (&Uuid, &BTreeMap<PartitionId, i32>)| CurrentPartitions {
        topic_id: *id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..CurrentPartitions::default()
    };
    owned.iter().map(topic).collect()
}

/// The partitions without their epochs.
#[must_use]
pub fn without_epochs(owned: &Owned) -> Assignment {
    let topics = owned.iter().filter(|(_, partitions)| !partitions.is_empty());
    Assignment(topics.map(|(id, it)| (*id, it.keys().copied().collect())).collect())
}

impl Assignment {
    /// What a record says.
    #[must_use]
    pub fn of(value: &ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
        let mut all: BTreeMap<Uuid, Vec<PartitionId>> = BTreeMap::new();
        for topic in &value.topic_partitions {
            all.entry(topic.topic_id).or_default().extend(&topic.partitions);
        }
        for partitions in all.values_mut() {
            partitions.sort_unstable();
            partitions.dedup();
        }
        Assignment(all)
    }

    /// The record.
    #[must_use]
    pub fn to_record(&self) -> ConsumerGroupTargetAssignmentMemberValue {
        let topic = |(id, partitions): (&Uuid, &Vec<PartitionId>)| TargetPartitions {
            topic_id: *id,
            partitions: partitions.clone(),
            ..TargetPartitions::default()
        };
        ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: self.0.iter().map(topic).collect(),
            ..ConsumerGroupTargetAssignmentMemberValue::default()
        }
    }

    /// How many partitions it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
