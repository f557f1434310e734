//! A partition's registration: who holds it, who leads it, who may lead it next.

use ottla_protocol::metadata::{PartitionChangeRecord, PartitionRecord};
use ottla_types::{
    LeaderEpoch, NO_NODE, NodeId, PartitionEpoch, PartitionId, TopicIdPartition, Uuid,
};

use super::error::ReplayError;

/// In a change record: the leader stays, and so does its epoch.
pub(crate) const LEADER_STAYS: NodeId = NodeId(-2);

/// Whether a leader may have lost records that were committed before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeaderRecovery {
    /// It has not, or the loss has been dealt with.
    #[default]
    Recovered,
    /// It was elected from outside the in-sync replicas.
    Recovering,
}

impl LeaderRecovery {
    /// The state's number in records.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            LeaderRecovery::Recovered => 0,
            LeaderRecovery::Recovering => 1,
        }
    }

    /// The state with this number.
    ///
    /// # Errors
    /// When no state has it.
    pub fn from_code(value: i8) -> Result<LeaderRecovery, ReplayError> {
        match value {
            0 => Ok(LeaderRecovery::Recovered),
            1 => Ok(LeaderRecovery::Recovering),
            value => Err(ReplayError::BadValue { field: "leaderRecoveryState", value }),
        }
    }
}

/// A partition as the metadata log describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Log directory of each replica, in their order.
    pub directories: Vec<Uuid>,
    /// Replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Replicas out of sync that still hold every committed record (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader, kept while there is none (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// Its leader; [`NO_NODE`] when there is none.
    pub leader: NodeId,
    /// Whether the leader may have lost records.
    pub recovery: LeaderRecovery,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes.
    pub partition_epoch: PartitionEpoch,
}

impl Partition {
    /// The leader, if there is one.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        (self.leader != NO_NODE).then_some(self.leader)
    }

    /// The directory of the broker's replica; `None` when it holds none.
    #[must_use]
    pub fn directory(&self, broker: NodeId) -> Option<Uuid> {
        let index = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(index).copied()
    }

    /// Whether a reassignment is under way.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Result<Partition, ReplayError> {
        let id = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        Ok(Partition {
            directories: directories(id, &record.directories, record.replicas.len())?,
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            removing: record.removing_replicas.clone(),
            adding: record.adding_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            recovery: LeaderRecovery::from_code(record.leader_recovery_state)?,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        })
    }

    /// The partition after a change: what the record leaves out stays, the epochs count on.
    pub(super) fn changed(&self, record: &PartitionChangeRecord) -> Result<Partition, ReplayError> {
        let id = TopicIdPartition { topic_id: record.topic_id, partition: record.partition_id };
        let list = |change: &Option<Vec<NodeId>>, present: &Vec<NodeId>| {
            change.as_ref().unwrap_or(present).clone()
        };
        let replicas = list(&record.replicas, &self.replicas);
        let named = record.directories.as_ref().unwrap_or(&self.directories);
        let leader_stays = record.leader == LEADER_STAYS;
        let exhausted = || ReplayError::EpochsExhausted(id);
        let leader_epoch =
            if leader_stays { Some(self.leader_epoch) } else { self.leader_epoch.next() };
        Ok(Partition {
            directories: directories(id, named, replicas.len())?,
            replicas,
            isr: list(&record.isr, &self.isr),
            removing: list(&record.removing_replicas, &self.removing),
            adding: list(&record.adding_replicas, &self.adding),
            elr: list(&record.eligible_leader_replicas, &self.elr),
            last_known_elr: list(&record.last_known_elr, &self.last_known_elr),
            leader: if leader_stays { self.leader } else { record.leader },
            recovery: match record.leader_recovery_state {
                -1 => self.recovery,
                code => LeaderRecovery::from_code(code)?,
            },
            leader_epoch: leader_epoch.ok_or_else(exhausted)?,
            partition_epoch: self.partition_epoch.next().ok_or_else(exhausted)?,
        })
    }

    /// The record that creates the partition as it is.
    pub(crate) fn to_record(&self, topic_id: Uuid, partition_id: PartitionId) -> PartitionRecord {
        let some = |list: &Vec<NodeId>| (!list.is_empty()).then(|| list.clone());
        let has_directories = self.directories.iter().any(|id| *id != Uuid::DIR_MIGRATING);
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing.clone(),
            adding_replicas: self.adding.clone(),
            leader: self.leader,
            leader_recovery_state: self.recovery.code(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            // A partition from before KIP-858 says nothing, so that its old version still can.
            directories: if has_directories { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: some(&self.elr),
            last_known_elr: some(&self.last_known_elr),
        }
    }
}

/// One directory for each replica; records from before KIP-858 name none.
fn directories(
    id: TopicIdPartition,
    named: &[Uuid],
    replicas: usize,
) -> Result<Vec<Uuid>, ReplayError> {
    if named.is_empty() {
        Ok(vec![Uuid::DIR_MIGRATING; replicas])
    } else if named.len() == replicas {
        Ok(named.to_vec())
    } else {
        Err(ReplayError::BadDirectories(id))
    }
}
