//! What the parts of a node that follow the metadata are begun with.

use ottla_metadata::active::{MetadataSetup, Published, SnapshotPolicy};
use ottla_metadata::image::Delta;
use ottla_raft::driver::QuorumEvent;
use tokio::sync::{mpsc, watch};

use super::Node;
use crate::broker::BrokerIdentity;
use crate::format::bootstrap;
use crate::listeners::registered;
use crate::settings;
use crate::start_error::StartError;

impl Node {
    pub(super) fn metadata_setup(
        &self,
        events: mpsc::UnboundedReceiver<QuorumEvent>,
        deltas: mpsc::UnboundedSender<Delta>,
        published: watch::Receiver<Published>,
    ) -> Result<MetadataSetup, StartError> {
        Ok(MetadataSetup {
            settings: settings::controller(&self.config, &self.cluster_id),
            bootstrap: bootstrap(self.dirs.metadata().data())?,
            events,
            deltas,
            published,
            snapshots: SnapshotPolicy {
                bytes: self.config.metadata_log.snapshot_bytes,
                interval: self.config.metadata_log.snapshot_interval,
            },
        })
    }

    pub(super) fn broker_identity(&self) -> BrokerIdentity {
        let net = self.runtime.net();
        BrokerIdentity {
            cluster_id: self.cluster_id.clone(),
            log_dirs: self.dirs.dirs().iter().map(|dir| dir.id()).collect(),
            incarnation_id: self.runtime.entropy().uuid(),
            endpoints: registered(net, &self.config.advertised_listeners),
            controller_endpoints: registered(net, &self.config.advertised_controller_listeners),
            previous_epoch: self.dirs.previous_epoch(),
        }
    }
}
