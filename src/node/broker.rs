//! The broker's life with its controller: registration, heartbeats, and being let go (Kafka's
//! `BrokerLifecycleManager`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_coordinator::{AllocateBlock, IdBlock};
use ottla_metadata::active::Published;
use ottla_metadata::controller::{
    BrokerHeartbeat, BrokerRegistration, ControllerRegistration, HeartbeatReply,
};
use ottla_metadata::image::{Broker as ImageBroker, ControllerNode};
use ottla_metadata::{ControllerError, ControllerHandle, ImageCell, MetadataVersion};
use ottla_protocol::metadata::Endpoint;
use ottla_runtime::{Clock, Runtime};
use ottla_storage::DirHealth;
use ottla_types::{BrokerEpoch, ErrorCode, NodeId, Offset, Uuid};
use tokio::sync::watch;

use crate::dir_watch::ToldFailures;
use crate::features::supported;

/// First and longest pause before something is tried again that the controller did not do: a
/// controller that is about to become active needs a few milliseconds.
const RETRY_MIN: Duration = Duration::from_millis(1);
const RETRY_MAX: Duration = Duration::from_millis(20);
/// Pause between heartbeats of a broker that waits to be let go.
const STOPPING_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for the controller to let the broker go.
const STOPPING_MAX: Duration = Duration::from_secs(30);
/// Longest wait of a stop for a metadata log on a full disk, which may wait for room for ever.
pub(crate) const STOPPING_WITHOUT_ROOM_MAX: Duration = Duration::from_secs(2);

/// What the broker says about itself.
pub(crate) struct BrokerIdentity {
    pub(crate) cluster_id: String,
    pub(crate) log_dirs: Vec<Uuid>,
    pub(crate) incarnation_id: Uuid,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) controller_endpoints: Vec<Endpoint>,
    /// Epoch that the last clean stop noted.
    pub(crate) previous_epoch: BrokerEpoch,
}

/// The broker of this node.
pub(crate) struct Broker {
    config: Arc<NodeConfig>,
    clock: Clock,
    controller: ControllerHandle,
    identity: BrokerIdentity,
    published: watch::Receiver<Published>,
    /// Ids of log directories that have failed.
    offline: watch::Receiver<Vec<Uuid>>,
    /// How many of those the controller knows of.
    told: ToldFailures,
    epoch: Arc<AtomicI64>,
    images: ImageCell,
}

impl Broker {
    pub(crate) fn new(
        runtime: &Runtime,
        config: Arc<NodeConfig>,
        controller: ControllerHandle,
        identity: BrokerIdentity,
        (images, published): (ImageCell, watch::Receiver<Published>),
        (offline, told): (watch::Receiver<Vec<Uuid>>, ToldFailures),
    ) -> Broker {
        let epoch = Arc::new(AtomicI64::new(BrokerEpoch::UNKNOWN.0));
        let clock = runtime.clock().clone();
        Broker { config, clock, controller, identity, published, offline, told, epoch, images }
    }

    /// The epoch of the broker's registration.
    pub(crate) fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Relaxed))
    }

    /// The same, for those who ask the controller beside.
    pub(crate) fn shared_epoch(&self) -> Arc<AtomicI64> {
        self.epoch.clone()
    }

    /// Registers controller and broker, and waits until this node has read the registration.
    ///
    /// # Errors
    /// When the registration is refused for good.
    pub(crate) async fn register(&mut self) -> Result<(), ControllerError> {
        let registration = || ControllerRegistration {
            controller: self.config.node_id,
            incarnation_id: self.identity.incarnation_id,
            endpoints: self.identity.controller_endpoints.clone(),
            features: supported(),
        };
        let controller = &self.controller;
        let clock = &self.clock;
        let registered = retried(clock, || controller.register_controller(registration())).await;
        match registered {
            // A cluster of an old level has no registrations of controllers.
            Err(ControllerError::Broker(error)) => {
                tracing::debug!(%error, "the controller is not registered");
            }
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        let registration = || BrokerRegistration {
            broker: self.config.node_id,
            cluster_id: self.identity.cluster_id.clone(),
            incarnation_id: self.identity.incarnation_id,
            endpoints: self.identity.endpoints.clone(),
            features: supported(),
            rack: self.config.rack.clone(),
            is_migrating_zk_broker: false,
            log_dirs: self.identity.log_dirs.clone(),
            previous_epoch: self.identity.previous_epoch,
            // This process holds the directory's lock: the last one is gone, and its session with
            // it. Kafka waits for the session to end.
            previous_incarnation_is_dead: true,
        };
        let epoch = retried(clock, || controller.register_broker(registration())).await?;
        self.epoch.store(epoch.0, Ordering::Relaxed);
        self.wait_for_publication(Offset(epoch.0).plus(1)).await;
        Ok(())
    }

    /// Waits until everything below `end` was published.
    async fn wait_for_publication(&mut self, end: Offset) {
        if self.published.wait_for(|published| published.0 >= end).await.is_err() {
            // The publisher has ended, and the process is about to.
            std::future::pending::<()>().await;
        }
    }

    /// Asks to be unfenced until the node has published that it is.
    ///
    /// # Errors
    /// When the broker's registration is not known any more.
    pub(crate) async fn unfence(&mut self) -> Result<(), ControllerError> {
        loop {
            let reply = retried(&self.clock, || self.heartbeat(Wish::Serve)).await?;
            let end = *self.published.borrow_and_update();
            if !reply.is_fenced {
                // The records of the unfencing are committed; wait until handlers see them.
                self.wait_for_publication(end.0).await;
                return Ok(());
            }
            self.clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends heartbeats for ever; at once when a directory fails.
    pub(crate) async fn keep_alive(&mut self) {
        loop {
            let failed = self.offline.changed();
            if let Some(Err(_)) = self.clock.timeout(self.config.heartbeat_interval, failed).await {
                // Who watches the directories has ended, and so has the node.
                std::future::pending::<()>().await;
            }
            match self.heartbeat(Wish::Serve).await {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "heartbeat refused"),
            }
            if self.has_more_to_register() {
                match self.register().await {
                    Ok(()) => tracing::info!("registered again, at a higher metadata.version"),
                    Err(error) => tracing::warn!(%error, "cannot register again"),
                }
            }
        }
    }

    /// Whether `metadata.version` was raised to a level whose registrations say more (Kafka's
    /// `BrokerRegistrationTracker`).
    fn has_more_to_register(&self) -> bool {
        let image = self.images.load();
        let (now, cluster, node) = (image.metadata_version(), image.cluster(), self.config.node_id);
        let has = |controller: &ControllerNode| controller.id == node;
        let says_too_little = |broker: &ImageBroker| broker.directories.is_empty();
        (now >= MetadataVersion::CONTROLLER_REGISTRATION && !cluster.controllers().any(has))
            || (now >= MetadataVersion::DIRECTORIES
                && cluster.broker(node).is_some_and(says_too_little))
    }

    /// Asks to be let go until the controller has moved everything away, or for as long as that
    /// may take; `metadata` is the directory of the metadata log.
    pub(crate) async fn leave(&mut self, metadata: &DirHealth) {
        if self.epoch() == BrokerEpoch::UNKNOWN {
            // Stopped before it was registered: nobody has to let it go.
            return;
        }
        let deadline = self.clock.now().after(STOPPING_MAX);
        while self.clock.now() < deadline {
            let longest = match metadata.is_full() {
                true => STOPPING_WITHOUT_ROOM_MAX,
                false => STOPPING_MAX,
            };
            match self.clock.timeout(longest, self.heartbeat(Wish::Stop)).await {
                Some(Ok(reply)) if reply.should_shut_down => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::warn!(%error, "cannot stop in a controlled way"),
                None => break,
            }
            self.clock.sleep(STOPPING_INTERVAL).await;
        }
        tracing::warn!("the controller did not let the broker go in time");
    }

    async fn heartbeat(&self, wish: Wish) -> Result<HeartbeatReply, ControllerError> {
        let metadata_offset = Offset(self.published.borrow().0.0 - 1);
        let offline_directories = self.offline.borrow().clone();
        let failures = offline_directories.len();
        let request = BrokerHeartbeat {
            broker: self.config.node_id,
            epoch: self.epoch(),
            metadata_offset,
            want_fence: false,
            want_shut_down: wish == Wish::Stop,
            offline_directories,
            cordoned_directories: Some(Vec::new()),
        };
        let reply = self.controller.heartbeat(request).await?;
        self.told.note(failures);
        Ok(reply)
    }

    /// The port through which producer ids are asked for.
    pub(crate) fn producer_id_blocks(&self) -> AllocateBlock {
        let (controller, epoch) = (self.controller.clone(), self.epoch.clone());
        let node: NodeId = self.config.node_id;
        Box::new(move || {
            let controller = controller.clone();
            let epoch = BrokerEpoch(epoch.load(Ordering::Relaxed));
            Box::pin(async move {
                let block = controller.allocate_producer_ids(node, epoch).await;
                let block = block.map_err(|error| -> ErrorCode { error.code() })?;
                Ok(IdBlock { first: block.first, count: block.count })
            })
        })
    }
}

/// What a heartbeat asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Serve,
    Stop,
}

/// Tries again while there is no controller.
async fn retried<R, F>(clock: &Clock, mut attempt: impl FnMut() -> F) -> Result<R, ControllerError>
where
    F: Future<Output = Result<R, ControllerError>>,
{
    let mut pause = RETRY_MIN;
    loop {
        match attempt().await {
            Err(ControllerError::NotController) => clock.sleep(pause).await,
            result => return result,
        }
        pause = RETRY_MAX.min(pause * 2);
    }
}
