//! The group coordinator of a node.

use std::io;
use std::sync::{Arc, Mutex, RwLock};

use ottla_config::GroupsConfig;
use ottla_protocol::compression::{Codec, Compression};
use ottla_runtime::Runtime;
use ottla_types::{LeaderEpoch, PartitionId, Uuid};

use super::port::LogPort;
use super::shard::Shard;
use super::shards::{Host, Setup, Shards, Tasks};
use crate::group::consumer::{ChangedTopics, NoCluster, Resolve, SharedCluster};
use crate::group::{GroupCounts, GroupShard};

/// The topic that groups are kept in.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

/// Bytes of a log that are read at once.
const LOAD_BYTES: u64 = 1 << 20;

/// The group coordinator of a node. Copies share it.
#[derive(Clone)]
pub struct Groups {
    pub(super) shards: Shards<GroupShard>,
    host: Arc<GroupsHost>,
}

/// What groups need besides their shards.
struct GroupsHost {
    /// What groups are told of the cluster.
    cluster: RwLock<SharedCluster>,
    /// Counted by shards that are gone.
    gone: Mutex<GroupCounts>,
}

impl Host<GroupShard> for GroupsHost {
    fn begins(&self, core: &mut GroupShard) {
        let cluster = self.cluster.read().expect("never poisoned").clone();
        core.cluster_changed(cluster, &ChangedTopics::default());
    }

    fn ends(&self, core: &GroupShard) {
        *self.gone.lock().expect("nothing panics while it is held") += core.counts();
    }

    fn run(&self, _: &Shards<GroupShard>, _: &Arc<Shard<GroupShard>>, errands: Vec<Resolve>) {
        // Whoever asks looks them up, for it is the one who must be allowed to see the topics.
        debug_assert!(errands.is_empty(), "only requests have patterns looked up");
    }
}

impl Groups {
    /// A coordinator without shards; its timers begin to run.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(
        runtime: &Runtime,
        config: GroupsConfig,
        port: Box<dyn LogPort>,
    ) -> io::Result<Groups> {
        let compression = Compression::from_code(config.topic_compression);
        let setup = Setup {
            patience: config.commit_timeout,
            codec: Codec::from(compression.expect("the table of configs has its range")),
            load_bytes: LOAD_BYTES,
            tasks: Tasks {
                thread: "ottla-groups-log",
                timers: "group timers",
                load: "load groups",
                append: "append group records",
                commit: "commit group records",
            },
        };
        let host = Arc::new(GroupsHost {
            cluster: RwLock::new(Arc::new(NoCluster)),
            gone: Mutex::default(),
        });
        let shards = Shards::start(runtime, Arc::new(config), setup, port, host.clone())?;
        Ok(Groups { shards, host })
    }

    /// How groups are coordinated.
    #[must_use]
    pub fn config(&self) -> &GroupsConfig {
        &self.shards.inner.config
    }

    /// The topic has so many partitions, of which this node leads these, each in an epoch.
    pub fn lead(&self, topic: Uuid, partitions: i32, led: &[(PartitionId, LeaderEpoch)]) {
        self.shards.lead(topic, partitions, led);
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.shards.inner.runtime
    }

    /// What groups are told of the cluster.
    pub(super) fn cluster(&self) -> SharedCluster {
        self.host.cluster.read().expect("never poisoned").clone()
    }

    pub(super) fn set_cluster(&self, cluster: SharedCluster) {
        *self.host.cluster.write().expect("never poisoned") = cluster;
    }

    /// What shards that are gone have counted.
    pub(super) fn counts_of_gone(&self) -> GroupCounts {
        *self.host.gone.lock().expect("nothing panics while it is held")
    }
}
