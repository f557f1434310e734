//! What a node is made of.

use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_coordinator::runtime::LogPort;
use ottla_coordinator::txn::MarkerPort;
use ottla_replication::Replicas;
use ottla_security::{AllowAll, Authorizer};

/// What a node is made of. Whoever embeds one may put other parts in.
pub struct NodeParts {
    /// What it is configured with.
    pub config: NodeConfig,
    /// Who decides what clients may do.
    pub authorizer: Arc<dyn Authorizer>,
    /// Called once the logs are open, before clients can connect.
    pub on_open: Box<dyn FnOnce(&Replicas) + Send>,
    /// Stands between the group coordinator and its logs.
    pub group_logs: LogsHook,
    /// Stands between the transaction coordinator and its logs.
    pub transaction_logs: LogsHook,
    /// Stands between the transaction coordinator and the partitions that take its markers.
    pub markers: MarkersHook,
}

/// Puts something between a coordinator and its logs.
pub type LogsHook = Box<dyn FnOnce(Box<dyn LogPort>) -> Box<dyn LogPort> + Send>;

/// Puts something between the transaction coordinator and the partitions.
pub type MarkersHook = Box<dyn FnOnce(Arc<dyn MarkerPort>) -> Arc<dyn MarkerPort> + Send>;

impl NodeParts {
    /// The parts of an ordinary node.
    #[must_use]
    pub fn new(config: NodeConfig) -> NodeParts {
        NodeParts {
            config,
            authorizer: Arc::new(AllowAll),
            on_open: Box::new(|_| {}),
            group_logs: Box::new(|logs| logs),
            transaction_logs: Box::new(|logs| logs),
            markers: Box::new(|markers| markers),
        }
    }
}
