//! Starting, running and stopping a node.

mod setup;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_coordinator::{Groups, ProducerIds, Transactions};
use ottla_metadata::ImageCell;
use ottla_metadata::active::Published;
use ottla_protocol::control::VoterEndpoint;
use ottla_raft::core::{Peer, Request, Response};
use ottla_raft::driver::{QuorumHandle, Replies, Transport};
use ottla_replication::{Replicas, Validator};
use ottla_runtime::{Bound, Plane, Runtime, Task};
use ottla_security::Authorizer;
use ottla_server::{
    ApiVersionsAnswers, Connections, FetchSessions, Identity, InternalTopic, ListenerId, Markers,
    MetadataTopics, RequestMemory, Services, Waiting, Workers, accept, serve_metrics,
};
use ottla_storage::{CleanShutdown, LastStop, LogDirs};
use ottla_types::{TopicIdPartition, Uuid};
use tokio::sync::{mpsc, oneshot, watch};

use crate::assignments::Assignments;
use crate::broker::{Broker, STOPPING_WITHOUT_ROOM_MAX};
use crate::coordinator_logs::CoordinatorLogs;
use crate::descriptors::Descriptors;
use crate::dir_watch::{DirWatch, ToldFailures};
use crate::dirs::Dirs;
use crate::listeners::{Sockets, announce, bind_all, connections, voter_endpoints};
use crate::metrics::metrics_of;
use crate::parts::{LogsHook, MarkersHook, NodeParts};
use crate::protections::Unprotected;
use crate::publisher::{OpenLogs, Publisher};
use crate::settings;
use crate::start_error::StartError;
use crate::transactions::NodeMarkers;

/// Longest wait for the metadata log to be closed: on a full disk it may find no room.
const QUORUM_CLOSE_MAX: Duration = Duration::from_secs(30);

/// The node stopped because it was asked to, and everything is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

/// Runs a node until it is asked to stop.
///
/// # Errors
/// Why it did not start, or had to end.
pub async fn run(runtime: Runtime, parts: NodeParts) -> Result<Stopped, StartError> {
    let NodeParts { config, authorizer, on_open, group_logs, transaction_logs, markers } = parts;
    let config = Arc::new(config);
    for (key, nearest) in &config.unknown_keys {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        tracing::warn!("{key} is not read by this version and has no effect{hint}");
    }
    let descriptors = Descriptors::share(runtime.descriptors_max(), &config);
    runtime.disk().set_open_files_max(descriptors.files_max);
    let connections = connections(runtime.net(), &config, &descriptors).await?;
    let sockets = bind_all(&runtime, &config).await.map_err(StartError::Bind)?;
    let endpoints = voter_endpoints(runtime.net(), &config);
    let Dirs { dirs, cluster_id } = Dirs::open(&runtime, &config, &endpoints)?;
    let (moved, moved_in) = mpsc::unbounded_channel();
    let replicas = Replicas::new(&runtime, &dirs, settings::replicas(&config), moved);
    let (offline, offline_in) = watch::channel(Vec::new());
    let watched = (dirs.clone(), replicas.clone());
    let node = Node { runtime, config, dirs, cluster_id, authorizer, connections, replicas };
    let termination = node.runtime.clone();
    let stop = async move { termination.termination().await };
    let told = ToldFailures::default();
    let hooks = Hooks { on_open, ports: Ports { group_logs, transaction_logs, markers } };
    let watch = DirWatch {
        clock: node.runtime.clock().clone(),
        timeout: node.config.dir_failure_timeout,
        offline,
        told: told.clone(),
    };
    let dir_events = DirEvents { moved: moved_in, offline: offline_in, told };
    // A failed directory may end the node wherever it is; nothing is closed then.
    tokio::select! {
        biased;
        reason = watch.run(&watched.0, &watched.1) => Err(StartError::Fenced(reason)),
        result = node.serve(sockets, endpoints, dir_events, hooks, stop) => result,
    }
}

/// What all parts of a node have in common.
struct Node {
    runtime: Runtime,
    config: Arc<NodeConfig>,
    dirs: LogDirs,
    cluster_id: String,
    authorizer: Arc<dyn Authorizer>,
    /// Those of clients, and those of the quorum.
    connections: (Connections, Connections),
    replicas: Replicas,
}

/// What whoever embeds the node takes part in.
struct Hooks {
    on_open: Box<dyn FnOnce(&Replicas) + Send>,
    ports: Ports,
}

/// What stands between the coordinators and what they work with.
struct Ports {
    group_logs: LogsHook,
    transaction_logs: LogsHook,
    markers: MarkersHook,
}

/// What is told about log directories.
struct DirEvents {
    /// In which directory a replica is, when the metadata says otherwise.
    moved: mpsc::UnboundedReceiver<(TopicIdPartition, Uuid)>,
    /// Ids of the directories that have failed.
    offline: watch::Receiver<Vec<Uuid>>,
    /// How many of those the controller knows of.
    told: ToldFailures,
}

/// What follows the metadata.
struct Followers {
    images: ImageCell,
    groups: Groups,
    transactions: Transactions,
    producer_ids: Arc<ProducerIds>,
    broker: Broker,
    open_logs: oneshot::Sender<OpenLogs>,
    quorum: QuorumHandle,
    controller: ottla_metadata::ControllerHandle,
}

impl Node {
    async fn serve(
        self,
        sockets: Sockets,
        endpoints: Vec<VoterEndpoint>,
        dir_events: DirEvents,
        hooks: Hooks,
        stop: impl Future<Output = std::io::Result<()>>,
    ) -> Result<Stopped, StartError> {
        let followers = self.start_followers(endpoints, dir_events, hooks.ports).await;
        let followers = followers.or_else(|error| self.leave_as_found(error))?;
        let services = self.services(&followers);
        let Followers { images, mut broker, open_logs, quorum, .. } = followers;
        tokio::pin!(stop);
        let opened = AtomicBool::new(false);
        let accepting = Mutex::new(Vec::new());
        let started = async {
            broker.register().await.map_err(StartError::Register)?;
            self.check_protections(&images)?;
            let tasks = self.listen(&services, sockets.controller).await?;
            lock(&accepting).extend(tasks);
            self.open_logs(open_logs).await;
            opened.store(true, Ordering::Relaxed);
            (hooks.on_open)(&self.replicas);
            self.dirs.all().for_each(|dir| dir.leave_note());
            broker.unfence().await.map_err(StartError::Register)?;
            self.replicas.start_housekeeping();
            let page = self.serve_metrics(&services, sockets.metrics).await?;
            lock(&accepting).extend(page);
            let tasks = self.listen(&services, sockets.broker).await?;
            lock(&accepting).extend(tasks);
            announce(self.runtime.net(), &self.config);
            tracing::info!("Kafka Server started");
            Ok(())
        };
        let refused = tokio::select! {
            biased;
            started = started => match started {
                Ok(()) => {
                    tokio::select! {
                        biased;
                        asked = &mut stop => asked.map_err(StartError::Io)?,
                        () = broker.keep_alive() => {}
                    }
                    None
                }
                Err(StartError::Unprotected(unprotected)) => Some(unprotected),
                Err(error) => return Err(error),
            },
            // Whoever is asked to stop while it starts has no heartbeats to send.
            asked = &mut stop => {
                asked.map_err(StartError::Io)?;
                None
            }
        };
        tracing::info!("stopping");
        broker.leave(self.dirs.metadata().health()).await;
        lock(&accepting).iter().for_each(Task::abort);
        // KAFKA-10471: a start that was interrupted leaves logs that nobody has looked into; one
        // that was refused has not touched them, and leaves the directory as clean as it was.
        let opened = opened.into_inner();
        let closed_dirs = match opened {
            true => self.replicas.close().await,
            // The checkpoints of logs that were not looked into stay as they are.
            false => self.dirs.dirs().iter().map(|dir| dir.id()).collect(),
        };
        let is_clean = opened || (refused.is_some() && self.were_clean());
        let closed = is_clean.then(|| CleanShutdown { broker_epoch: broker.epoch() });
        let stopped = self.close(&quorum, &closed_dirs, closed).await?;
        refused.map_or(Ok(stopped), |unprotected| Err(StartError::Unprotected(unprotected)))
    }

    /// Whether every directory was stopped cleanly.
    fn were_clean(&self) -> bool {
        self.dirs.dirs().iter().all(|dir| dir.clean().is_some())
    }

    /// When the metadata log is refused, puts back what told how the last process ended: no log was
    /// looked into, and the next start must judge as this one did.
    fn leave_as_found(&self, error: StartError) -> Result<Followers, StartError> {
        if !matches!(&error, StartError::Quorum(error) if !error.is_io()) {
            return Err(error);
        }
        for dir in self.dirs.all() {
            match (dir.last_stop(), dir.clean()) {
                (LastStop::Clean, Some(clean)) => dir.data().write_clean_shutdown(clean)?,
                (LastStop::Killed, _) => dir.leave_note(),
                _ => {}
            }
        }
        Err(error)
    }

    /// Refuses what the metadata protects and this version does not, before any port is open.
    fn check_protections(&self, images: &ImageCell) -> Result<(), StartError> {
        match Unprotected::of(&images.load()) {
            Some(found) if self.config.unprotected_loopback => {
                let Unprotected { acls, quotas } = found;
                tracing::warn!(acls, quotas, "not enforced: ottla.unprotected.loopback is set");
                Ok(())
            }
            Some(found) => Err(StartError::Unprotected(found)),
            None => Ok(()),
        }
    }

    /// Opens the metadata log and starts everything that follows it.
    async fn start_followers(
        &self,
        endpoints: Vec<VoterEndpoint>,
        dir_events: DirEvents,
        ports: Ports,
    ) -> Result<Followers, StartError> {
        let (events, events_in) = mpsc::unbounded_channel();
        let setup = settings::quorum(&self.config, &self.dirs, &self.cluster_id, endpoints)?;
        let (runtime, health) = (&self.runtime, self.dirs.metadata().health());
        let transport = Box::new(Alone);
        let started = ottla_raft::driver::start(runtime, setup, health.clone(), transport, events);
        let quorum = started.await.map_err(StartError::Quorum)?;
        let (deltas, deltas_in) = mpsc::unbounded_channel();
        let (to_controller, published_to_controller) = watch::channel(Published::default());
        let (to_broker, published_to_broker) = watch::channel(Published::default());
        let setup = self.metadata_setup(events_in, deltas, published_to_controller)?;
        let controller = ottla_metadata::active::start(runtime, &quorum, setup);
        let (images, groups) = (ImageCell::default(), self.start_groups(ports.group_logs)?);
        let identity = self.broker_identity();
        let config = self.config.clone();
        let failures = (dir_events.offline, dir_events.told);
        let published = (images.clone(), published_to_broker);
        let broker =
            Broker::new(runtime, config, controller.clone(), identity, published, failures);
        let producer_ids = Arc::new(ProducerIds::new(broker.producer_id_blocks()));
        let hooks = (ports.transaction_logs, ports.markers);
        let markers = self.markers(&images, &groups);
        let transactions = self.start_transactions(hooks, markers, producer_ids.clone())?;
        let (open_logs, open_logs_in) = oneshot::channel();
        let publisher = Publisher {
            node: self.config.node_id,
            defaults: self.config.topic_defaults.clone(),
            clock: runtime.clock().clone(),
            images: images.clone(),
            replicas: self.replicas.clone(),
            groups: groups.clone(),
            transactions: transactions.clone(),
            health: health.clone(),
            deltas: deltas_in,
            open_logs: Some(open_logs_in),
            connections: [self.connections.0.clone(), self.connections.1.clone()],
            connections_per_ip_max: self.config.limits.connections_per_ip_max,
            published: [to_controller, to_broker],
        };
        runtime.spawn_vital(Plane::Control, "publisher", publisher.run());
        let assignments = Assignments {
            node: self.config.node_id,
            clock: runtime.clock().clone(),
            images: images.clone(),
            controller: controller.clone(),
            epoch: broker.shared_epoch(),
            moved: dir_events.moved,
        };
        runtime.spawn_vital(Plane::Control, "assignments", assignments.run());
        Ok(Followers {
            images,
            groups,
            transactions,
            producer_ids,
            broker,
            open_logs,
            quorum,
            controller,
        })
    }

    fn start_groups(&self, hook: LogsHook) -> Result<Groups, StartError> {
        let (runtime, replicas) = (self.runtime.clone(), self.replicas.clone());
        let logs = hook(Box::new(CoordinatorLogs { runtime, replicas }));
        let config = self.config.groups.clone();
        Groups::start(&self.runtime, config, logs).map_err(StartError::Io)
    }

    fn markers(&self, images: &ImageCell, groups: &Groups) -> Markers {
        Markers {
            runtime: self.runtime.clone(),
            images: images.clone(),
            replicas: self.replicas.clone(),
            groups: groups.clone(),
        }
    }

    fn start_transactions(
        &self,
        (logs_hook, markers_hook): (LogsHook, MarkersHook),
        markers: Markers,
        producer_ids: Arc<ProducerIds>,
    ) -> Result<Transactions, StartError> {
        let (runtime, replicas) = (self.runtime.clone(), self.replicas.clone());
        let logs = logs_hook(Box::new(CoordinatorLogs { runtime, replicas }));
        let config = self.config.transactions.clone();
        let markers = markers_hook(Arc::new(NodeMarkers(markers)));
        let started = Transactions::start(&self.runtime, config, logs, markers, producer_ids);
        started.map_err(StartError::Io)
    }

    fn services(&self, followers: &Followers) -> Arc<Services> {
        let limits = &self.config.limits;
        Arc::new(Services {
            runtime: self.runtime.clone(),
            config: self.config.clone(),
            identity: Identity {
                node_id: self.config.node_id,
                cluster_id: self.cluster_id.clone(),
            },
            images: followers.images.clone(),
            replicas: self.replicas.clone(),
            validator: Arc::new(Validator::new(self.config.produce)),
            workers: Workers::new(self.runtime.clone()),
            fetch_sessions: FetchSessions::new(
                self.runtime.clone(),
                settings::fetch_sessions(&self.config),
            ),
            controller: followers.controller.clone(),
            quorum: followers.quorum.clone(),
            transactions: followers.transactions.clone(),
            transactions_topic: InternalTopic::of_transactions(self.config.transactions.clone()),
            markers: self.markers(&followers.images, &followers.groups),
            groups: followers.groups.clone(),
            groups_topic: InternalTopic::of_groups(self.config.groups.clone()),
            producer_ids: followers.producer_ids.clone(),
            authorizer: self.authorizer.clone(),
            api_versions: ApiVersionsAnswers::default(),
            metadata_topics: MetadataTopics::default(),
            memory: RequestMemory::new(limits.request_bytes_in_flight_max),
            waiting: Waiting::new(limits.waiting_max),
            client_connections: self.connections.0.clone(),
            controller_connections: self.connections.1.clone(),
        })
    }

    /// Opens the logs with the image of this moment.
    async fn open_logs(&self, open_logs: oneshot::Sender<OpenLogs>) {
        let (done, is_done) = oneshot::channel();
        let asked = open_logs.send(OpenLogs { done }).is_ok();
        if !asked || is_done.await.is_err() {
            // The directory has failed, which ends the node.
            std::future::pending::<()>().await;
        }
    }

    async fn listen(
        &self,
        services: &Arc<Services>,
        sockets: Vec<(ListenerId, Bound)>,
    ) -> Result<Vec<Task<()>>, StartError> {
        let mut tasks = Vec::new();
        for (id, bound) in sockets {
            let listener = bound.listen().await.map_err(StartError::Io)?;
            let task = accept(services.clone(), listener, id);
            tasks.push(self.runtime.spawn(Plane::Control, "accept", task));
        }
        Ok(tasks)
    }

    /// Opens the page of metrics where the node is to have one.
    /// Opened before the clients' listeners: a broker that can be reached can be watched.
    async fn serve_metrics(
        &self,
        services: &Services,
        socket: Option<Bound>,
    ) -> Result<Option<Task<()>>, StartError> {
        let Some(socket) = socket else { return Ok(None) };
        let Services { groups, replicas, images, .. } = services;
        let metrics = metrics_of(groups, replicas, images, self.config.metrics.offsets_max);
        let listener = socket.listen().await.map_err(StartError::Io)?;
        let page = serve_metrics(self.runtime.clone(), listener, metrics);
        Ok(Some(self.runtime.spawn(Plane::Control, "accept", page)))
    }

    /// Closes the quorum and the directories, durably; `clean` is noted when the next start need
    /// not look into the logs.
    async fn close(
        self,
        quorum: &QuorumHandle,
        closed: &[Uuid],
        clean: Option<CleanShutdown>,
    ) -> Result<Stopped, StartError> {
        let clock = self.runtime.clock();
        let metadata = self.dirs.metadata().health();
        let (longest, reason) = match metadata.is_full() {
            true => (STOPPING_WITHOUT_ROOM_MAX, "the disk is full"),
            false => (QUORUM_CLOSE_MAX, "it takes too long"),
        };
        if clock.timeout(longest, quorum.shut_down()).await.is_none() {
            return Err(StartError::Fenced(format!("the metadata log cannot be closed: {reason}")));
        }
        if metadata.is_fenced() {
            return Err(StartError::Fenced(metadata.fenced().await));
        }
        for dir in self.dirs.dirs().iter().filter(|dir| closed.contains(&dir.id())) {
            let (Some(clean), false) = (clean, dir.health().is_damaged()) else { continue };
            match dir.data().write_clean_shutdown(clean) {
                Err(error) if error.is_disk_full() => {
                    tracing::warn!(%error, "the next start will look into the logs");
                }
                written => written?,
            }
        }
        self.dirs.all().for_each(|dir| dir.health().forget_note());
        let mut healthy = self.dirs.all().filter(|dir| !dir.health().is_fenced());
        healthy.try_for_each(|dir| dir.data().remove_lock_file())?;
        tracing::info!("stopped");
        Ok(Stopped)
    }
}

fn lock(tasks: &Mutex<Vec<Task<()>>>) -> MutexGuard<'_, Vec<Task<()>>> {
    tasks.lock().expect("nothing panics while it is held")
}

/// The transport of a quorum of one.
struct Alone;

impl Transport for Alone {
    fn send(&mut self, _: Peer, _: &[VoterEndpoint], _: Request, replies: Replies) {
        replies.tell(Response::Failed);
    }
}
