//! Who leads a partition now: told to a client that asked another broker, or with an old epoch, so
//! that it need not ask for metadata first (KIP-951).
//!
//! Versions: Produce from 10, Fetch from 16 on. Followers are told the leader and not where it is.
//! The image of the time of the answer says it.
//!
//! Errors: it comes with `NOT_LEADER_OR_FOLLOWER`, and for Fetch with `FENCED_LEADER_EPOCH`.

use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_metadata::ImageCell;
use ottla_protocol::fetch::NodeEndpoint;
use ottla_protocol::produce::TopicRef;
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, PartitionId, TopicIdPartition};

use super::find_topic;
use crate::connection::Peer;
use crate::services::{ListenerId, Services};

const FETCH_FROM: i16 = 16;
const PRODUCE_FROM: i16 = 10;

/// What answers look leaders up in.
pub struct Leaders {
    images: ImageCell,
    config: Arc<NodeConfig>,
    listener: ListenerId,
}

/// A leader and its epoch, and where it listens if it is there.
pub struct Leader {
    /// The broker.
    pub id: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Where it listens.
    pub endpoint: Option<NodeEndpoint>,
}

impl Leaders {
    /// For the clients of a listener.
    #[must_use]
    pub fn new(services: &Services, peer: &Peer) -> Leaders {
        Leaders {
            images: services.images.clone(),
            config: services.config.clone(),
            listener: peer.listener,
        }
    }

    /// For a listener of a node that has only these.
    #[cfg(test)]
    pub fn for_test(images: ImageCell, config: Arc<NodeConfig>, listener: ListenerId) -> Leaders {
        Leaders { images, config, listener }
    }

    /// Who leads a partition, if a Fetch that ended with this error is to be told.
    #[must_use]
    pub fn after_fetch(
        &self,
        topic: &TopicRef,
        index: i32,
        error: i16,
        version: i16,
    ) -> Option<Leader> {
        let told = [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch];
        let is_told = version >= FETCH_FROM && told.iter().any(|told| told.code() == error);
        if is_told { self.of(topic, index) } else { None }
    }

    /// Who leads a partition, if a Produce that ended with this error is to be told.
    #[must_use]
    pub fn after_produce(
        &self,
        topic: &TopicRef,
        index: i32,
        error: ErrorCode,
        version: i16,
    ) -> Option<Leader> {
        let is_told = version >= PRODUCE_FROM && error == ErrorCode::NotLeaderOrFollower;
        if is_told { self.of(topic, index) } else { None }
    }

    fn of(&self, topic: &TopicRef, index: i32) -> Option<Leader> {
        let image = self.images.load();
        let topic_id = find_topic(&image, topic)?.id;
        let id = TopicIdPartition { topic_id, partition: PartitionId(index) };
        let partition = image.partition_by_id(id)?;
        let there = image.leader_on(partition, self.listener.name(&self.config)).ok();
        let endpoint = there.map(|(broker, endpoint)| NodeEndpoint {
            id: broker.id,
            host: endpoint.host.clone(),
            port: endpoint.port,
            rack: broker.rack.clone(),
        });
        Some(Leader { id: partition.leader, epoch: partition.leader_epoch, endpoint })
    }
}

/// Adds where a leader listens, once for each node, where that is told.
pub fn add_endpoint(endpoints: Option<&mut Vec<NodeEndpoint>>, leader: Leader) {
    let Some(endpoints) = endpoints else { return };
    let is_new = |new: &NodeEndpoint| endpoints.iter().all(|it| it.id != new.id);
    if let Some(endpoint) = leader.endpoint.filter(is_new) {
        endpoints.push(endpoint);
    }
}
