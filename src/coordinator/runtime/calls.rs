//! What handlers, and the node, ask of the coordinator. Whatever waits for the log begins at once:
//! requests of a connection are begun in their order.

use std::sync::Arc;

use ottla_runtime::Plane;
use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::Groups;
use super::resolving::MaySee;
use super::shards::hear;
use crate::group::classic::{Join, Joined, Leave, Sync, Synced};
use crate::group::consumer::{
    ChangedTopics, ConsumerBeat, ConsumerHeartbeat, Refusal, SharedCluster,
};
use crate::group::{
    Answer, GroupId, GroupShard, ListedGroup, MemberId, OffsetCommit, Transaction, TransactionEnd,
};

impl Groups {
    /// Commits offsets; begins at once.
    pub fn commit_offsets(
        &self,
        request: OffsetCommit,
    ) -> impl Future<Output = Result<Vec<ErrorCode>, ErrorCode>> + Send + use<> {
        let group = request.group.clone();
        let told = self.shards.ask(&group, |core, now, ticket, out| {
            core.commit_offsets(now, &request, ticket, out);
        });
        async move {
            match hear(told).await? {
                Answer::Committed(outcomes) => Ok(outcomes),
                other => unreachable!("a commit is not answered with {other:?}"),
            }
        }
    }

    /// Commits offsets once their transaction is; begins at once.
    pub fn commit_transactional(
        &self,
        request: OffsetCommit,
        transaction: Transaction,
    ) -> impl Future<Output = Result<Vec<ErrorCode>, ErrorCode>> + Send + use<> {
        let group = request.group.clone();
        let told = self.shards.ask(&group, |core, now, ticket, out| {
            core.commit_transactional(now, &request, transaction, ticket, out);
        });
        async move {
            match hear(told).await? {
                Answer::Committed(outcomes) => Ok(outcomes),
                other => unreachable!("a commit is not answered with {other:?}"),
            }
        }
    }

    /// Ends a transaction in a partition of the groups' topic; begins at once.
    pub fn end_transaction(
        &self,
        partition: PartitionId,
        end: TransactionEnd,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send + use<> {
        let told = self.shards.ask_partition(partition, |core, _, ticket, out| {
            core.end_transaction(&end, ticket, out);
        });
        async move { hear(told).await.map(drop) }
    }

    /// A member joins; begins at once. The refusal of a shard has no member id. In a consumer group
    /// patterns of others may be looked up for it: they stand for what `may_see` says.
    pub fn join(
        &self,
        request: Join,
        may_see: MaySee,
    ) -> impl Future<Output = Result<Joined, ErrorCode>> + Send + use<> {
        let group = request.group.clone();
        let told = self.ask_and_resolve(&group, may_see, |core, now, ticket, out| {
            core.join(now, request, ticket, out);
        });
        async move {
            match hear(told).await? {
                Answer::Joined(joined) => Ok(joined),
                other => unreachable!("a join is not answered with {other:?}"),
            }
        }
    }

    /// A member asks for its assignment; begins at once.
    pub fn sync(
        &self,
        request: Sync,
    ) -> impl Future<Output = Result<Synced, ErrorCode>> + Send + use<> {
        let group = request.group.clone();
        let told =
            self.shards.ask(&group, |core, now, ticket, out| core.sync(now, request, ticket, out));
        async move {
            match hear(told).await? {
                Answer::Synced(synced) => Ok(synced),
                other => unreachable!("a sync is not answered with {other:?}"),
            }
        }
    }

    /// Members leave; begins at once.
    pub fn leave(
        &self,
        request: Leave,
    ) -> impl Future<Output = Result<Vec<ErrorCode>, ErrorCode>> + Send + use<> {
        let group = request.group.clone();
        let told = self
            .shards
            .ask(&group, |core, now, ticket, out| core.leave(now, &request, ticket, out));
        async move {
            match hear(told).await? {
                Answer::Left(outcomes) => Ok(outcomes),
                other => unreachable!("a leave is not answered with {other:?}"),
            }
        }
    }

    /// A member says that it is there.
    ///
    /// # Errors
    /// Those of the shard, and of the group.
    pub fn heartbeat(
        &self,
        group: &GroupId,
        member: (&MemberId, Option<&str>),
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let shard = self.shards.of(group)?;
        let now = self.shards.now();
        let mut state = shard.state.lock().map_err(|_| ErrorCode::NotCoordinator)?;
        let result = state.core()?.heartbeat(now, group, member, generation);
        self.shards.watch_deadline(&mut state);
        result
    }

    /// A heartbeat of a member of a consumer group; begins at once. Patterns may stand for topics
    /// that `may_see` says its sender may describe.
    pub fn beat(
        &self,
        request: ConsumerHeartbeat,
        may_see: MaySee,
    ) -> impl Future<Output = Result<ConsumerBeat, Refusal>> + Send + use<> {
        let group = request.group.clone();
        // A topic that was answered for is here, also before this shard is told of it.
        let cluster = self.cluster();
        let told = self.ask_and_resolve(&group, may_see, |core, now, ticket, out| {
            core.cluster_changed(cluster, &ChangedTopics::default());
            core.consumer_heartbeat(now, &request, ticket, out);
        });
        async move {
            match hear(told).await {
                Ok(Answer::Beat(told)) => told,
                Ok(other) => unreachable!("a heartbeat is not answered with {other:?}"),
                Err(error) => Err(Refusal { error, text: String::new() }),
            }
        }
    }

    /// The metadata says something else, of these topics above all: groups that read them will
    /// look them up.
    pub fn cluster_changed(&self, cluster: SharedCluster, changed: ChangedTopics) {
        self.set_cluster(cluster.clone());
        let shards = self.shards.clone();
        self.runtime().spawn(Plane::Groups, "tell groups of the cluster", async move {
            for shard in shards.all() {
                // One that is being loaded is told when it begins.
                if let Ok(mut state) = shard.state.lock()
                    && let Ok(core) = state.core()
                {
                    core.cluster_changed(cluster.clone(), &changed);
                }
            }
        });
    }

    /// Reads what is committed.
    ///
    /// # Errors
    /// Those of the shard.
    pub fn read<R>(
        &self,
        group: &GroupId,
        read: impl FnOnce(&GroupShard) -> R,
    ) -> Result<R, ErrorCode> {
        let shard = self.shards.of(group)?;
        let mut state = shard.state.lock().map_err(|_| ErrorCode::NotCoordinator)?;
        state.core().map(|core| read(core))
    }

    /// Deletes a group and its offsets; begins at once.
    pub fn delete(
        &self,
        group: &GroupId,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send + use<> {
        let told =
            self.shards.ask(group, |core, _, ticket, out| core.delete_group(group, ticket, out));
        async move { hear(told).await.map(drop) }
    }

    /// Forgets offsets of a group; begins at once.
    pub fn delete_offsets(
        &self,
        group: &GroupId,
        partitions: &[(TopicName, PartitionId)],
    ) -> impl Future<Output = Result<Vec<ErrorCode>, ErrorCode>> + Send + use<> {
        let told = self.shards.ask(group, |core, _, ticket, out| {
            core.delete_offsets(group, partitions, ticket, out);
        });
        async move {
            match hear(told).await? {
                Answer::OffsetsDeleted(outcomes) => Ok(outcomes),
                other => unreachable!("a deletion is not answered with {other:?}"),
            }
        }
    }

    /// All groups that this node coordinates.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` while some are not known yet.
    pub fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let mut all = Vec::new();
        for shard in self.shards.all() {
            let Ok(mut state) = shard.state.lock() else { continue };
            match state.core() {
                Ok(core) => all.extend(core.list()),
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Topics were deleted: their offsets are forgotten.
    pub fn topics_deleted(&self, topics: Vec<(TopicName, Uuid)>) {
        if topics.is_empty() {
            return;
        }
        let (shards, topics) = (self.shards.clone(), Arc::new(topics));
        self.runtime().spawn(Plane::Data(0), "forget offsets of topics", async move {
            for shard in shards.all() {
                let topics = topics.clone();
                if let Ok(mut state) = shard.state.lock() {
                    // All offsets are looked at for it.
                    state.step_when_loaded(move |core, out| core.topics_deleted(&topics, out));
                    shards.settle(&shard, state);
                }
            }
        });
    }
}
