//! From new images to what the node does: partitions first, then what handlers see.
//!
//! ```text
//!   delta ──> create and change partitions ──> publish the image ──> stop deleted partitions
//! ```
//! So a client that sees a new topic finds its partitions. Until the broker says that it has read
//! its registration, images are published and no partition is touched: the logs are opened with
//! the image of that moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_config::TopicConfig;
use ottla_coordinator::runtime::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use ottla_coordinator::{Groups, Transactions};
use ottla_metadata::ImageCell;
use ottla_metadata::active::Published;
use ottla_metadata::image::{
    ConfigResource, Delta, Image, LocalChange, Partition, ResourceKind, Topic,
};
use ottla_replication::{Leadership, LoadError, Placement, Replicas};
use ottla_runtime::Clock;
use ottla_server::Connections;
use ottla_storage::DirHealth;
use ottla_types::{NodeId, PartitionId, TopicIdPartition, TopicPartition, Uuid};
use tokio::sync::{mpsc, oneshot, watch};

use crate::coordinator_logs;
use crate::group_cluster::{GroupsCluster, changed_topics};
use crate::topic_configs::{cleaner, connections_per_ip_max, effective, move_bytes_per_second};
use crate::transactions;

/// Asks the publisher to open the logs; it tells when that is done.
pub(crate) struct OpenLogs {
    pub(crate) done: oneshot::Sender<()>,
}

pub(crate) struct Publisher {
    pub(crate) node: NodeId,
    pub(crate) defaults: TopicConfig,
    pub(crate) clock: Clock,
    pub(crate) images: ImageCell,
    pub(crate) replicas: Replicas,
    /// Told which of its logs are led here, once they can be used.
    pub(crate) groups: Groups,
    /// The same.
    pub(crate) transactions: Transactions,
    pub(crate) health: Arc<DirHealth>,
    pub(crate) deltas: mpsc::UnboundedReceiver<Delta>,
    pub(crate) open_logs: Option<oneshot::Receiver<OpenLogs>>,
    /// Those of clients and of the quorum, which an operator may bound while they come.
    pub(crate) connections: [Connections; 2],
    /// `max.connections.per.ip` of the node's file.
    pub(crate) connections_per_ip_max: u32,
    /// One for each that waits: a watch wakes several waiters in an order that no seed decides.
    pub(crate) published: [watch::Sender<Published>; 2],
}

impl Publisher {
    pub(crate) async fn run(mut self) {
        loop {
            let done = match self.next().await {
                Next::Delta(delta) => self.publish(*delta).await,
                Next::OpenLogs(open) => self.open_logs(open).await,
            };
            if let Err(error) = done {
                // The directory is not what the metadata says; nothing more can be served.
                return self.health.fence(error.to_string());
            }
        }
    }

    /// Cancel safe branches: receiving takes nothing unless it completes.
    async fn next(&mut self) -> Next {
        let Publisher { deltas, open_logs, .. } = self;
        let opening = async {
            match open_logs {
                Some(asked) => asked.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            delta = deltas.recv() => match delta {
                Some(delta) => Next::Delta(Box::new(delta)),
                // The metadata task has ended, and the process is about to.
                None => std::future::pending().await,
            },
            asked = opening => {
                self.open_logs = None;
                match asked {
                    Ok(open) => Next::OpenLogs(open),
                    // The broker gave up before it was ready.
                    Err(_) => std::future::pending().await,
                }
            }
        }
    }

    async fn publish(&mut self, delta: Delta) -> Result<(), LoadError> {
        let deleted = if self.open_logs.is_none() { self.place(&delta).await? } else { Vec::new() };
        if delta.configs().any(|change| change.key.kind == ResourceKind::BROKER) {
            let max = connections_per_ip_max(delta.image(), self.node);
            let max = max.unwrap_or(self.connections_per_ip_max);
            self.connections.iter().for_each(|connections| connections.set_per_ip_max(max));
            self.replicas.set_move_rate(move_bytes_per_second(delta.image(), self.node));
            let begun_with = self.replicas.cleaner_begun_with();
            self.replicas.set_cleaner(cleaner(delta.image(), self.node, begun_with));
        }
        let end = delta.image().provenance().offset.plus(1);
        let gone: Vec<_> =
            delta.topics_deleted().map(|topic| (topic.name.clone(), topic.id)).collect();
        let changed = changed_topics(&delta);
        let image = Arc::new(delta.into_image());
        self.images.store(image.clone());
        transactions::tell_version(&self.transactions, &image);
        self.groups.cluster_changed(Arc::new(GroupsCluster(image)), changed);
        self.groups.topics_deleted(gone);
        self.replicas.delete(deleted);
        for waiter in &self.published {
            waiter.send_replace(Published(end));
        }
        Ok(())
    }

    /// Creates and changes partitions; tells which are to be deleted.
    async fn place(&self, delta: &Delta) -> Result<Vec<TopicIdPartition>, LoadError> {
        let mut placements = Vec::new();
        let mut deleted = Vec::new();
        for change in delta.partitions() {
            let id = TopicIdPartition { topic_id: change.topic.id, partition: change.id };
            match (change.local(self.node), change.new) {
                (Some(LocalChange::Delete), _) => deleted.push(id),
                (Some(LocalChange::Lead { .. } | LocalChange::Follow), Some(partition)) => {
                    let config = self.config(delta.image(), &change.topic.name);
                    placements.push(self.placement(change.topic, change.id, partition, config));
                }
                _ => {}
            }
        }
        self.replicas.place(placements).await?;
        self.change_configs(delta);
        if delta.partitions().any(|change| &*change.topic.name == GROUPS_TOPIC) {
            coordinator_logs::lead(&self.groups, delta.image(), self.node);
        }
        if delta.partitions().any(|change| &*change.topic.name == TRANSACTIONS_TOPIC) {
            transactions::lead(&self.transactions, delta.image(), self.node);
        }
        Ok(deleted)
    }

    fn change_configs(&self, delta: &Delta) {
        let image = delta.image();
        let changed: BTreeSet<&ConfigResource> = delta.configs().map(|change| change.key).collect();
        let all = changed.iter().any(|resource| resource.kind == ResourceKind::BROKER);
        let topics = image
            .topics()
            .iter()
            .filter(|topic| all || changed.contains(&ConfigResource::topic(&topic.name)));
        // Nothing is looked at while no config changes, which is nearly always.
        for topic in topics.take(if changed.is_empty() { 0 } else { usize::MAX }) {
            let config = self.config(image, &topic.name);
            let ids = topic
                .partitions()
                .map(|(partition, _)| TopicIdPartition { topic_id: topic.id, partition });
            self.replicas.set_config(&ids.collect::<Vec<_>>(), &config);
        }
    }

    async fn open_logs(&mut self, open: OpenLogs) -> Result<(), LoadError> {
        let image = self.images.load();
        let mut placements = Vec::new();
        for topic in image.topics().iter() {
            let held = topic.partitions().filter(|(_, p)| p.replicas.contains(&self.node));
            let config = self.config(&image, &topic.name);
            placements.extend(held.map(|(id, p)| self.placement(topic, id, p, config.clone())));
        }
        let count = placements.len();
        let begin = self.clock.now();
        self.replicas.load(placements).await?;
        let took = self.clock.now().since_start().saturating_sub(begin.since_start());
        tracing::info!(partitions = count, ?took, "opened logs");
        coordinator_logs::lead(&self.groups, &image, self.node);
        transactions::tell_version(&self.transactions, &image);
        transactions::lead(&self.transactions, &image, self.node);
        // The broker may have been told to stop meanwhile.
        let _ = open.done.send(());
        Ok(())
    }

    fn config(&self, image: &Image, topic: &str) -> TopicConfig {
        effective(image, self.node, topic, &self.defaults)
    }

    fn placement(
        &self,
        topic: &Topic,
        id: PartitionId,
        partition: &Partition,
        config: TopicConfig,
    ) -> Placement {
        Placement {
            id: TopicIdPartition { topic_id: topic.id, partition: id },
            name: TopicPartition { topic: topic.name.clone(), partition: id },
            directory: partition.directory(self.node).unwrap_or(Uuid::DIR_UNASSIGNED),
            leadership: Leadership {
                epoch: partition.leader_epoch,
                leads: partition.leader == self.node,
                in_sync: partition.isr.len(),
                replicas: partition.replicas.len(),
            },
            config,
        }
    }
}

enum Next {
    Delta(Box<Delta>),
    OpenLogs(OpenLogs),
}
