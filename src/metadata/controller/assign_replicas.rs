//! AssignReplicasToDirs: a broker says in which of its directories its replicas are (KIP-858).
//!
//! A broker with one directory need not say it. One with several does so after it has created a
//! replica, or found one elsewhere than the metadata says; and for a directory that failed before
//! the controller knew what was in it: then the replicas stop leading here.

use ottla_types::{BrokerEpoch, ErrorCode, NodeId, TopicIdPartition, Uuid};

use super::members::{AfterMove, Move};
use super::partition_change::PartitionChange;
use super::{BrokerError, Controller, Decision};
use crate::versions::{MetadataVersion, VersionedRecord};
use ottla_protocol::metadata::MetadataRecord;

/// What a broker says about its replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaAssignments {
    /// The broker.
    pub broker: NodeId,
    /// Epoch of its registration.
    pub epoch: BrokerEpoch,
    /// Replicas, each with the directory that it is in.
    pub replicas: Vec<(TopicIdPartition, Uuid)>,
}

impl Controller {
    /// Notes the directories of replicas; the answer has an error for each, in their order.
    ///
    /// # Errors
    /// When this incarnation of the broker is not registered, or the cluster's level has no
    /// directories.
    pub fn assign_replicas(
        &self,
        request: &ReplicaAssignments,
    ) -> Result<Decision<Vec<ErrorCode>>, BrokerError> {
        if self.version() < MetadataVersion::DIRECTORIES {
            return Err(BrokerError::NoDirectoryAssignment);
        }
        self.check_epoch(request.broker, request.epoch)?;
        let broker = self.image.cluster().broker(request.broker).expect("its epoch was checked");
        let (mut records, mut offline, mut reply) = (Vec::new(), Vec::new(), Vec::new());
        for (id, directory) in &request.replicas {
            match self.assign_replica(broker.id, *id, *directory) {
                Ok(record) => {
                    records.extend(record);
                    if !broker.has_online_directory(*directory) {
                        offline.push(*id);
                    }
                    reply.push(ErrorCode::None);
                }
                Err(error) => reply.push(error),
            }
        }
        records.extend(self.moved(Move::Leaves(broker.id), offline));
        Ok(Decision::divisible(records, reply))
    }

    fn assign_replica(
        &self,
        broker: NodeId,
        id: TopicIdPartition,
        directory: Uuid,
    ) -> Result<Option<VersionedRecord>, ErrorCode> {
        let topic = self.image.topics().by_id(id.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partition(id.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&broker) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let change = PartitionChange::new(partition, self.rules(topic));
        let change = change.directory(broker, directory).build(id, &AfterMove::none(&self.image));
        Ok(change.map(|change| self.record(MetadataRecord::from(change))))
    }
}
