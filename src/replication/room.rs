//! What becomes of partitions on a disk that is full, and of the disk when there is room again.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::batch::BatchHeader;
use ottla_runtime::Plane;
use ottla_storage::{LogDir, PartitionDirName, ProducerState};
use ottla_types::{ErrorCode, TopicIdPartition};

use crate::load_error::LoadError;
use crate::opening::Opening;
use crate::partition::Partition;
use crate::placement::Placement;
use crate::replicas::{CREATORS, Replicas};

/// Time between looks for room.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

impl Replicas {
    /// Ends the time without room when there is some, and then opens what waits for it.
    pub(crate) fn start_looking_for_room(&self) {
        let replicas = self.clone();
        let task = async move {
            loop {
                replicas.shared.runtime.clock().sleep(ROOM_INTERVAL).await;
                replicas.look_for_room().await;
                if let Err(error) = replicas.open_again().await {
                    tracing::error!(%error, "partitions stay offline");
                }
            }
        };
        self.shared.runtime.spawn(Plane::Data(0), "room", task);
    }

    async fn look_for_room(&self) {
        let full = |dir: &&Arc<LogDir>| dir.health().is_full() && !dir.health().is_fenced();
        for dir in self.shared.all_dirs.iter().filter(full) {
            let looked = dir.clone();
            let look = move || looked.health().look_for_room();
            if let Err(error) = self.shared.runtime.blocking(Plane::Data(0), look).await {
                dir.health().fence(format!("{}: {error}", dir.path().display()));
            }
        }
    }

    /// Notes a change of a partition that is offline; false when it is not.
    pub(crate) fn change_offline(&self, placement: &Placement) -> bool {
        let mut offline = self.shared.offline.write().expect("never poisoned");
        let waiting = offline.get_mut(&placement.id);
        if let Some(Some(again)) = waiting {
            again.placement = placement.clone();
            return true;
        }
        waiting.is_some()
    }

    /// Notes that a partition has no log; with `again`, that it waits for room. What was noted
    /// while it waited stays.
    pub(crate) fn set_offline(&self, id: TopicIdPartition, again: Option<Box<Opening>>) {
        let mut offline = self.shared.offline.write().expect("never poisoned");
        let waits = matches!(offline.get(&id), Some(Some(_)));
        if !(waits && again.is_some()) {
            offline.insert(id, again);
        }
    }

    /// The partition that a batch is for, or why it cannot be had. One that waits for room
    /// remembers the batch: what its producer sent behind it must not go first.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR`, or `NOT_LEADER_OR_FOLLOWER`, for a partition that exists.
    pub fn get_for(
        &self,
        id: &TopicIdPartition,
        batch: Option<&BatchHeader>,
    ) -> Result<Arc<Partition>, ErrorCode> {
        if let Some(partition) = self.get(id) {
            return Ok(partition);
        }
        let mut offline = self.shared.offline.write().expect("never poisoned");
        match offline.get_mut(id) {
            Some(waiting) => {
                if let (Some(waiting), Some(batch)) = (waiting, batch) {
                    waiting.refused.note(batch, &ProducerState::default());
                }
                Err(ErrorCode::KafkaStorageError)
            }
            // It may have been opened since: that is done under this lock.
            None => self.get(id).ok_or(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// Opens and creates again what found no room.
    pub(crate) async fn open_again(&self) -> Result<(), LoadError> {
        let mut work = Vec::new();
        self.shared.gone.lock().expect("never poisoned").clear();
        {
            let offline = self.shared.offline.read().expect("never poisoned");
            for again in offline.values().flatten() {
                let health = again.dir.health();
                if !health.is_full() && !health.is_fenced() {
                    work.push(Opening::clone(again));
                }
            }
        }
        if work.is_empty() { Ok(()) } else { self.open_all(work, CREATORS).await }
    }

    /// Holds a partition that was opened or created; one that waited for room as the metadata says
    /// by now, which may be that it is deleted.
    pub(crate) fn hold(&self, partition: Partition) {
        let id = partition.id();
        let partition = Arc::new(partition);
        // Both are locked, so that whoever looks finds it in one of them.
        let mut offline = self.shared.offline.write().expect("never poisoned");
        let waited = offline.remove(&id);
        if self.shared.gone.lock().expect("never poisoned").remove(&id) {
            drop(offline);
            return self.delete_log(&partition);
        }
        if let Some(Some(waited)) = &waited {
            partition.set_refused(waited.refused.clone());
        }
        self.shared.insert(partition.clone());
        drop(offline);
        self.start_move(partition.clone());
        if let Some(Some(latest)) = waited {
            let Placement { leadership, config, .. } = latest.placement;
            if let Err(error) = partition.change_leadership(leadership) {
                tracing::warn!(partition = %partition.name(), %error, "stays as it was");
            }
            partition.set_config(Arc::new(config));
        }
    }

    /// A topic is deleted while its partition waits for room: what there is of it goes.
    pub(crate) fn forget_waiting(&self, id: TopicIdPartition, waited: &Opening) {
        self.shared.gone.lock().expect("never poisoned").insert(id);
        let (dir, name) = (&waited.dir, &waited.placement.name);
        let deleted = PartitionDirName::deleted(name, self.shared.runtime.entropy().uuid());
        // Mostly there is nothing, or it is opened right now and goes then.
        if dir.data().rename(&name.to_string(), &deleted).is_ok() {
            self.remove_later(dir.clone(), deleted, Duration::ZERO);
        }
    }
}
