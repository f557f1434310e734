//! Questions that handlers of requests ask an image.

use ottla_protocol::metadata::Endpoint;
use ottla_types::{ErrorCode, PartitionId, TopicIdPartition};

use super::{Broker, Image, Partition, Topic};

/// Why a client cannot be told where a partition's leader listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderUnavailable {
    /// The partition has no leader, or the leader is fenced.
    NotAlive,
    /// The leader has no listener of the client's kind.
    NoListener,
}

impl LeaderUnavailable {
    /// What the client is told.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            LeaderUnavailable::NotAlive => ErrorCode::LeaderNotAvailable,
            LeaderUnavailable::NoListener => ErrorCode::ListenerNotFound,
        }
    }
}

impl Image {
    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics().by_name(name)
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: PartitionId) -> Option<&Partition> {
        self.topic(topic)?.partition(partition)
    }

    /// A partition by its topic's id.
    #[must_use]
    pub fn partition_by_id(&self, id: TopicIdPartition) -> Option<&Partition> {
        self.topics().partition(id)
    }

    /// The brokers that are not fenced and have this listener, by id, and where they listen.
    pub fn alive_brokers_on<'a>(
        &'a self,
        listener: &'a str,
    ) -> impl Iterator<Item = (&'a Broker, &'a Endpoint)> {
        let brokers = self.cluster().alive_brokers();
        brokers.filter_map(move |broker| Some((broker, broker.endpoint(listener)?)))
    }

    /// The partition's leader, and where it listens for clients of this listener.
    ///
    /// # Errors
    /// Why it cannot be named.
    pub fn leader_on(
        &self,
        partition: &Partition,
        listener: &str,
    ) -> Result<(&Broker, &Endpoint), LeaderUnavailable> {
        let broker = self.cluster().broker(partition.leader).filter(|broker| !broker.fenced);
        let broker = broker.ok_or(LeaderUnavailable::NotAlive)?;
        let endpoint = broker.endpoint(listener).ok_or(LeaderUnavailable::NoListener)?;
        Ok((broker, endpoint))
    }
}
