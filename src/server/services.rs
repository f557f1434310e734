//! What handlers work with. Each handler is given the ports it needs, never this whole.

use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_coordinator::{Groups, ProducerIds, Transactions};
use ottla_metadata::{ControllerHandle, ImageCell};
use ottla_raft::driver::QuorumHandle;
use ottla_replication::{Replicas, Validator};
use ottla_runtime::Runtime;
use ottla_security::Authorizer;
use ottla_types::NodeId;

use crate::connections::Connections;
use crate::fetch_session::Sessions;
use crate::handlers::api_versions::KeptAnswers;
use crate::handlers::internal_topic::InternalTopic;
use crate::handlers::metadata::KeptTopics;
use crate::memory::RequestMemory;
use crate::transactions::Markers;
use crate::waiting::Waiting;
use crate::workers::Workers;

/// The ports of a node's server.
pub struct Services {
    /// The world.
    pub runtime: Runtime,
    /// The node's configuration.
    pub config: Arc<NodeConfig>,
    /// Who the node is.
    pub identity: Identity,
    /// What the cluster looks like now.
    pub images: ImageCell,
    /// The partitions of this node.
    pub replicas: Replicas,
    /// Looks into the batches of clients.
    pub validator: Arc<Validator>,
    /// Where it looks into those that would become large.
    pub workers: Workers,
    /// What clients fetch again and again.
    pub fetch_sessions: Sessions,
    /// The controller.
    pub controller: ControllerHandle,
    /// The metadata quorum.
    pub quorum: QuorumHandle,
    /// Producer ids.
    pub producer_ids: Arc<ProducerIds>,
    /// Ends transactions in partitions.
    pub markers: Markers,
    /// Groups and their offsets.
    pub groups: Groups,
    /// Creates the topic that they are kept in.
    pub groups_topic: InternalTopic,
    /// Transactions.
    pub transactions: Transactions,
    /// Creates the topic that they are kept in.
    pub transactions_topic: InternalTopic,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Answers to ApiVersions that are encoded already.
    pub api_versions: KeptAnswers,
    /// Topics of answers to Metadata that are encoded already.
    pub metadata_topics: KeptTopics,
    /// Memory for requests.
    pub memory: RequestMemory,
    /// Memory of requests whose answers wait.
    pub waiting: Waiting,
    /// Connections of clients.
    pub client_connections: Connections,
    /// Connections of the quorum and of the controller's admin clients.
    pub controller_connections: Connections,
}

impl Services {
    /// The connections that a listener's are counted with.
    #[must_use]
    pub fn connections(&self, listener: ListenerId) -> &Connections {
        match listener {
            ListenerId::Broker(_) => &self.client_connections,
            ListenerId::Controller(_) => &self.controller_connections,
        }
    }
}

/// Who the node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Id of the node.
    pub node_id: NodeId,
    /// Id of the cluster.
    pub cluster_id: String,
}

/// One of the node's listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenerId {
    /// For clients: index in the configuration's `broker_listeners`.
    Broker(usize),
    /// For the quorum: index in the configuration's `controller_listeners`.
    Controller(usize),
}

impl ListenerId {
    /// Whether it belongs to the controller.
    #[must_use]
    pub fn is_controller(self) -> bool {
        matches!(self, ListenerId::Controller(_))
    }

    /// Its index among its kind.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            ListenerId::Broker(index) | ListenerId::Controller(index) => index,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self, config: &NodeConfig) -> &str {
        match self {
            ListenerId::Broker(index) => &config.broker_listeners[index].name,
            ListenerId::Controller(index) => &config.controller_listeners[index].name,
        }
    }
}
