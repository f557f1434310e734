//! What becomes of a partition when something about its replicas changes, as one record.
//!
//! A caller says what it wants (another ISR, another assignment, an election); the rules here say
//! what follows, in this order, and the record holds what differs in the end:
//!
//! 1. A reassignment whose new replicas are in sync is complete.
//! 2. Replicas that leave an ISR below `min.insync.replicas` hold every committed record: they
//!    stay eligible to lead (KIP-966). With enough replicas in sync nobody needs them.
//! 3. A leader is elected. One that comes from outside the ISR and the eligible ones may have lost
//!    records: the election is unclean, and the leader stands alone and is recovering.
//! 4. While there is no leader the last one is remembered: when no replica is known to be complete
//!    any more, that one is the best.
//! 5. The leader epoch counts on when the leader changes, or a replica is dropped.
//!
//! A record that changes nothing is not written.

use ottla_protocol::metadata::PartitionChangeRecord;
use ottla_types::{NO_NODE, NodeId, TopicIdPartition, Uuid};

use crate::image::{LEADER_STAYS, LeaderRecovery, Partition};
use crate::versions::MetadataVersion;

/// How far an election may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Election {
    /// A replica that holds every committed record.
    Clean,
    /// The same, and the first of the replicas rather than the present leader.
    Preferred,
    /// Any replica, if there is none that holds every committed record.
    Unclean,
}

/// What the rules depend on beside the partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    /// The finalized level.
    pub(super) version: MetadataVersion,
    /// Whether eligible leader replicas are kept.
    pub(super) elr_enabled: bool,
    /// `min.insync.replicas` of the topic, at most its replication factor.
    pub(super) min_isr: usize,
}

/// What is known of brokers while the change is worked out.
pub(super) trait Brokers {
    /// Whether the broker can lead this partition now.
    fn is_acceptable(&self, broker: NodeId, directory: Uuid) -> bool;
    /// The directory that a new replica on the broker gets.
    fn default_directory(&self, broker: NodeId) -> Uuid;
}

/// A change of one partition in the making.
pub(super) struct PartitionChange<'a> {
    present: &'a Partition,
    /// The partition as it will be; its epochs are not counted on.
    target: Partition,
    rules: Rules,
    election: Election,
    /// A replica that came back without the records it had.
    lost_data: Option<NodeId>,
    /// A replica and the directory that it is in.
    placed: Option<(NodeId, Uuid)>,
}

impl<'a> PartitionChange<'a> {
    pub(super) fn new(present: &'a Partition, rules: Rules) -> PartitionChange<'a> {
        let target = present.clone();
        let election = Election::Clean;
        PartitionChange { present, target, rules, election, lost_data: None, placed: None }
    }

    /// Sets the replicas in sync.
    pub(super) fn isr(mut self, isr: Vec<NodeId>) -> PartitionChange<'a> {
        self.target.isr = isr;
        self
    }

    /// Sets all replicas, those that a reassignment removes behind the others.
    pub(super) fn replicas(mut self, replicas: Vec<NodeId>) -> PartitionChange<'a> {
        self.target.replicas = replicas;
        self
    }

    /// Sets the replicas that a reassignment removes.
    pub(super) fn removing(mut self, removing: Vec<NodeId>) -> PartitionChange<'a> {
        self.target.removing = removing;
        self
    }

    /// Sets the replicas that a reassignment adds.
    pub(super) fn adding(mut self, adding: Vec<NodeId>) -> PartitionChange<'a> {
        self.target.adding = adding;
        self
    }

    pub(super) fn election(mut self, election: Election) -> PartitionChange<'a> {
        self.election = election;
        self
    }

    /// Takes a replica out of the ISR that is eligible no more.
    pub(super) fn lost_data(mut self, broker: NodeId) -> PartitionChange<'a> {
        self.lost_data = Some(broker);
        self
    }

    /// Notes the directory that a replica is in.
    pub(super) fn directory(mut self, broker: NodeId, directory: Uuid) -> PartitionChange<'a> {
        self.placed = Some((broker, directory));
        self
    }

    /// The record of the change; `None` when nothing changes.
    pub(super) fn build(
        mut self,
        id: TopicIdPartition,
        brokers: &impl Brokers,
    ) -> Option<PartitionChangeRecord> {
        self.complete_reassignment();
        self.keep_eligible();
        self.elect(brokers);
        self.assign_directories(brokers);
        let leader_epoch_moves = self.leader_epoch_moves();
        self.remember_leader(leader_epoch_moves);
        let record = self.difference(id, leader_epoch_moves);
        let nothing = PartitionChangeRecord {
            partition_id: id.partition,
            topic_id: id.topic_id,
            ..PartitionChangeRecord::default()
        };
        (record != nothing).then_some(record)
    }

    /// Step 1. All added replicas must be in sync, and enough of those that stay to lose none:
    /// when more go than come, the whole new set must be.
    fn complete_reassignment(&mut self) {
        let target = &mut self.target;
        if target.adding.is_empty() && target.removing.is_empty() {
            return;
        }
        let removing = std::mem::take(&mut target.removing);
        let stays = |broker: &NodeId| !removing.contains(broker);
        let isr: Vec<NodeId> = target.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<NodeId> = target.replicas.iter().copied().filter(stays).collect();
        let needed = if target.adding.len() < removing.len() { &replicas } else { &target.adding };
        let complete = !isr.is_empty()
            && needed.iter().chain(&target.adding).all(|broker| isr.contains(broker));
        if complete {
            target.adding.clear();
            target.isr = isr;
            target.replicas = replicas;
        } else {
            target.removing = removing;
        }
    }

    /// Step 2.
    fn keep_eligible(&mut self) {
        let target = &mut self.target;
        if !self.rules.elr_enabled || target.isr.len() >= self.rules.min_isr {
            target.elr.clear();
            return;
        }
        let mut elr: Vec<NodeId> = self.present.isr.iter().chain(&target.elr).copied().collect();
        elr.sort_unstable();
        elr.dedup();
        elr.retain(|broker| !target.isr.contains(broker) && self.lost_data != Some(*broker));
        // Kafka's order is that of a set of small numbers; a list that only moved is no change.
        let unchanged =
            elr.len() == target.elr.len() && elr.iter().all(|broker| target.elr.contains(broker));
        if !unchanged {
            target.elr = elr;
        }
    }

    /// Step 3.
    fn elect(&mut self, brokers: &impl Brokers) {
        let (leader, unclean) = self.choose_leader(brokers);
        let target = &mut self.target;
        if unclean {
            target.isr = vec![leader];
            target.elr.clear();
            target.recovery = LeaderRecovery::Recovering;
        } else if target.elr.contains(&leader) {
            target.isr = vec![leader];
            target.elr.retain(|broker| *broker != leader);
        }
        target.leader = leader;
        if target.isr.is_empty() && !self.rules.elr_enabled {
            // Without eligible replicas the last in sync is all that is known to be complete.
            target.isr.clone_from(&self.present.isr);
        }
    }

    /// The leader, and whether it may have lost records. The present one stays if it can.
    fn choose_leader(&self, brokers: &impl Brokers) -> (NodeId, bool) {
        let acceptable = |broker: &&NodeId| {
            let directory = self.present.directory(**broker).unwrap_or(Uuid::DIR_UNASSIGNED);
            brokers.is_acceptable(**broker, directory)
        };
        let (isr, elr) = (&self.target.isr, &self.target.elr);
        let complete =
            |broker: &&NodeId| isr.contains(broker) || isr.is_empty() && elr.contains(broker);
        let preferred = self.target.replicas.first();
        let preferred = preferred.filter(|_| self.election == Election::Preferred);
        let by_preference =
            || preferred.into_iter().chain([&self.present.leader]).chain(&self.target.replicas);
        let clean = by_preference().find(|broker| complete(broker) && acceptable(broker));
        if let Some(leader) = clean {
            return (*leader, false);
        }
        if let [last] = self.present.last_known_elr.as_slice()
            && self.rules.elr_enabled
            && isr.is_empty()
            && elr.is_empty()
            && acceptable(&last)
        {
            return (*last, true);
        }
        if self.election == Election::Unclean
            && let Some(leader) = self.target.replicas.iter().find(acceptable)
        {
            return (*leader, true);
        }
        (NO_NODE, false)
    }

    fn assign_directories(&mut self, brokers: &impl Brokers) {
        if self.rules.version >= MetadataVersion::DIRECTORIES {
            let directory = |broker: &NodeId| match self.placed {
                Some((placed, directory)) if placed == *broker => directory,
                _ => {
                    let present = self.present.directory(*broker);
                    present.unwrap_or_else(|| brokers.default_directory(*broker))
                }
            };
            self.target.directories = self.target.replicas.iter().map(directory).collect();
        }
    }

    /// Step 5.
    fn leader_epoch_moves(&self) -> bool {
        let drops = |before: &[NodeId], after: &[NodeId]| before.iter().any(|b| !after.contains(b));
        self.target.leader != self.present.leader
            || drops(&self.present.replicas, &self.target.replicas)
            || self.rules.version < MetadataVersion::QUIET_ISR_SHRINK
                && drops(&self.present.isr, &self.target.isr)
    }

    /// Step 4.
    fn remember_leader(&mut self, leader_epoch_moves: bool) {
        if !self.rules.elr_enabled || !leader_epoch_moves {
            return;
        }
        if self.target.leader != NO_NODE {
            self.target.last_known_elr.clear();
        } else if self.target.last_known_elr.is_empty() && self.present.leader != NO_NODE {
            self.target.last_known_elr = vec![self.present.leader];
        }
    }

    fn difference(self, id: TopicIdPartition, leader_epoch_moves: bool) -> PartitionChangeRecord {
        fn changed<T: PartialEq>(target: T, present: &T) -> Option<T> {
            (target != *present).then_some(target)
        }
        let (target, present) = (self.target, self.present);
        PartitionChangeRecord {
            partition_id: id.partition,
            topic_id: id.topic_id,
            isr: changed(target.isr, &present.isr),
            leader: if leader_epoch_moves { target.leader } else { LEADER_STAYS },
            replicas: changed(target.replicas, &present.replicas),
            removing_replicas: changed(target.removing, &present.removing),
            adding_replicas: changed(target.adding, &present.adding),
            leader_recovery_state: changed(target.recovery, &present.recovery)
                .map_or(-1, LeaderRecovery::code),
            directories: changed(target.directories, &present.directories),
            eligible_leader_replicas: changed(target.elr, &present.elr),
            last_known_elr: changed(target.last_known_elr, &present.last_known_elr),
        }
    }
}
