//! All partitions of the node: opened at the start, created and deleted as the metadata says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use ottla_config::{CleanerConfig, TopicConfig};
use ottla_runtime::{Plane, Runtime};
use ottla_storage::{LogDir, LogDirs, PartitionDirName, Progress, RefusedFirsts};
use ottla_types::{ErrorCode, TopicIdPartition, TopicPartition, Uuid};
use tokio::sync::mpsc;

use crate::cleaner::Cleaning;
use crate::dir::Dir;
use crate::load_error::LoadError;
use crate::moves::Moves;
use crate::opening::{Opening, Unopened};
use crate::partition::Partition;
use crate::placement::Placement;
use crate::queue::Queue;
use crate::request::PartitionError;

/// Logs that are created at the same time: creation waits for fsyncs.
pub(crate) const CREATORS: usize = 4;
/// Logs that a thread creates at once: they share their syncs.
const CREATED_TOGETHER: usize = 64;
/// Time until the log of a deleted topic is removed that was damaged.
const DAMAGED_DELETE_DELAY: Duration = Duration::from_mins(1);
/// Pause before something is tried again that found no room.
const ROOM_RETRY: Duration = Duration::from_millis(100);

/// Times that the registry keeps.
#[derive(Clone, Copy, Debug)]
pub struct ReplicasConfig {
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_interval: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_interval: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_check_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: usize,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`, as the node begins.
    pub move_bytes_per_second: u64,
    /// How logs are compacted.
    pub cleaner: CleanerConfig,
}

/// All partitions of the node. Copies share them.
#[derive(Clone)]
pub struct Replicas {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) runtime: Runtime,
    /// In the order of `log.dirs`; never empty.
    pub(crate) dirs: Vec<Arc<Dir>>,
    pub(crate) config: ReplicasConfig,
    partitions: RwLock<BTreeMap<TopicIdPartition, Arc<Partition>>>,
    /// Partitions of this node without a log: it is in a directory that cannot be used, or could
    /// not be opened or created. Those that only found no room are tried again.
    pub(crate) offline: RwLock<BTreeMap<TopicIdPartition, Option<Box<Opening>>>>,
    /// Those of them that were deleted since they were tried again last.
    pub(crate) gone: Mutex<BTreeSet<TopicIdPartition>>,
    pub(crate) cleaning: Cleaning,
    /// Directories that could not be opened.
    pub(crate) unreadable: Vec<PathBuf>,
    /// Moves between directories.
    pub(crate) moves: Moves,
    /// Where partitions are wished that are not here yet.
    pub(crate) preferred: Mutex<BTreeMap<TopicPartition, Arc<Dir>>>,
    /// Every directory of the node, that of the metadata log included.
    pub(crate) all_dirs: Vec<Arc<LogDir>>,
    /// Where it is told in which directory a replica is, when the metadata says otherwise.
    pub(crate) moved: mpsc::UnboundedSender<(TopicIdPartition, Uuid)>,
}

impl Replicas {
    /// No partitions yet. To `moved` goes in which directory a replica is, when the metadata says
    /// otherwise.
    #[must_use]
    pub fn new(
        runtime: &Runtime,
        dirs: &LogDirs,
        config: ReplicasConfig,
        moved: mpsc::UnboundedSender<(TopicIdPartition, Uuid)>,
    ) -> Replicas {
        let shared = Shared {
            runtime: runtime.clone(),
            dirs: dirs.dirs().iter().map(|dir| Arc::new(Dir::new(dir.clone()))).collect(),
            config,
            partitions: RwLock::default(),
            offline: RwLock::default(),
            gone: Mutex::default(),
            cleaning: Cleaning::new(config.cleaner),
            all_dirs: dirs.all().cloned().collect(),
            unreadable: dirs.unreadable().to_vec(),
            moves: Moves::new(config.move_bytes_per_second),
            preferred: Mutex::default(),
            moved,
        };
        Replicas { shared: Arc::new(shared) }
    }

    /// The partition, if this node holds it.
    #[must_use]
    pub fn get(&self, id: &TopicIdPartition) -> Option<Arc<Partition>> {
        self.shared.partitions.read().expect("never poisoned").get(id).cloned()
    }

    /// Whether this node holds the partition, and has no log of it.
    pub(crate) fn is_offline(&self, id: &TopicIdPartition) -> bool {
        self.shared.offline.read().expect("never poisoned").contains_key(id)
    }

    /// What a client is told of a partition that exists and that [`Replicas::get`] does not have.
    #[must_use]
    pub fn why_missing(&self, id: &TopicIdPartition) -> ErrorCode {
        let offline = self.is_offline(id);
        if offline { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower }
    }

    /// All partitions.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.shared.partitions.read().expect("never poisoned").values().cloned().collect()
    }

    /// All partitions in a directory.
    pub(crate) fn all_in(&self, dir: &Arc<Dir>) -> Vec<Arc<Partition>> {
        let mut all = self.all();
        all.retain(|partition| Arc::ptr_eq(dir, &partition.dir()));
        all
    }

    /// Takes over what the metadata says of these partitions: new ones are created, known ones
    /// change. What cannot be created or changed is offline, with its directory.
    ///
    /// # Errors
    /// When nothing may be served any more.
    pub async fn place(&self, placements: Vec<Placement>) -> Result<(), LoadError> {
        let mut new = Vec::new();
        for placement in placements {
            if self.change_offline(&placement) {
                continue;
            }
            let Some(partition) = self.get(&placement.id) else {
                new.push(placement);
                continue;
            };
            let changed = partition.change_leadership(placement.leadership);
            if let Err(error) = changed {
                tracing::warn!(partition = %placement.name, %error, "stays as it was");
            }
            self.shared.tell_if_moved(&partition, placement.directory);
            partition.set_config(Arc::new(placement.config));
        }
        self.create(new, When::Later).await
    }

    /// Creates logs. As Kafka does, in the directory that the metadata names, else in the first
    /// of those with the fewest.
    pub(crate) async fn create(
        &self,
        placements: Vec<Placement>,
        when: When,
    ) -> Result<(), LoadError> {
        let dirs: Vec<_> =
            self.shared.dirs.iter().filter(|dir| !dir.health().is_fenced()).cloned().collect();
        let some_offline = self.shared.some_offline();
        let mut counts: Vec<usize> = match dirs.as_slice() {
            [_] => vec![0],
            several => several.iter().map(|dir| self.all_in(dir).len()).collect(),
        };
        let mut work = Vec::new();
        for placement in placements {
            let wished = self.shared.take_preferred(&placement.name);
            let named = wished.and_then(|wished| dirs.iter().position(|dir| dir.id() == wished));
            let named =
                named.or_else(|| dirs.iter().position(|dir| dir.id() == placement.directory));
            // A log that may be in a directory that is offline must not begin anew elsewhere.
            let may_be_there = match when {
                When::AtStart => some_offline,
                When::Later => some_offline && !placement.directory.is_reserved(),
            };
            let fewest = (0..dirs.len()).min_by_key(|at| counts[*at]);
            let Some(at) = named.or(fewest.filter(|_| !may_be_there)) else {
                self.set_offline(placement.id, None);
                continue;
            };
            counts[at] += 1;
            let (dir, refused) = (dirs[at].clone(), RefusedFirsts::default());
            work.push(Opening { placement, dir, left: None, copy: None, refused });
        }
        self.open_all(work, CREATORS).await
    }

    /// Ends the waits of everybody for the partitions of directories that are fenced.
    pub fn end_waits_of_fenced(&self) {
        for dir in self.shared.dirs.iter().filter(|dir| dir.health().is_fenced()) {
            self.all_in(dir).iter().for_each(|partition| partition.go_offline());
        }
    }

    /// Stops serving partitions and deletes their logs after the topic's delay. What is in a
    /// directory that has failed stays there.
    pub fn delete(&self, ids: Vec<TopicIdPartition>) {
        for id in ids {
            let waited = self.shared.offline.write().expect("never poisoned").remove(&id);
            self.delete_damaged(&id);
            if let Some(Some(waited)) = waited {
                self.forget_waiting(id, &waited);
            }
            let removed = self.shared.partitions.write().expect("never poisoned").remove(&id);
            if let Some(partition) = removed {
                self.delete_log(&partition);
            }
        }
    }

    pub(crate) fn delete_log(&self, partition: &Partition) {
        let config = partition.config();
        partition.retire();
        // What is in a directory that has failed stays there.
        let (dir, Ok(config)) = (partition.dir(), config) else { return };
        let unique = self.shared.runtime.entropy().uuid();
        let deleted = PartitionDirName::deleted(partition.name(), unique);
        match dir.data().rename(&partition.name().to_string(), &deleted) {
            Ok(()) => self.remove_later(dir.clone(), deleted, config.file_delete_delay),
            Err(error) => dir.health().fence(error.to_string()),
        }
    }

    /// Deletes the log of a partition that is offline because the log is damaged.
    fn delete_damaged(&self, id: &TopicIdPartition) {
        for dir in self.shared.dirs.iter().filter(|dir| !dir.health().is_fenced()) {
            let Some(name) = dir.forget_damaged(id) else { continue };
            let unique = self.shared.runtime.entropy().uuid();
            let deleted = PartitionDirName::deleted(&name, unique);
            match dir.data().rename(&name.to_string(), &deleted) {
                Ok(()) => self.remove_later(dir.clone(), deleted, DAMAGED_DELETE_DELAY),
                Err(error) => dir.health().fence(error.to_string()),
            }
        }
    }

    /// Changes the configs of partitions.
    pub fn set_config(&self, ids: &[TopicIdPartition], config: &TopicConfig) {
        let config = Arc::new(config.clone());
        for partition in ids.iter().filter_map(|id| self.get(id)) {
            partition.set_config(config.clone());
        }
    }

    /// Runs the flush task of a partition that asked for it ([`crate::Appended::start_flush`]).
    pub fn flush(&self, partition: Arc<Partition>, plane: Plane) {
        let replicas = self.clone();
        let task = async move { replicas.flush_until_calm(partition, plane).await };
        self.shared.runtime.spawn(plane, "flush", task);
    }

    /// Flushes as long as the partition asks for it. Appends that arrive meanwhile share the next
    /// fsync.
    async fn flush_until_calm(&self, partition: Arc<Partition>, plane: Plane) {
        loop {
            let job = match partition.next_flush() {
                Ok(Some(job)) => job,
                // An index was to be created: nothing is lost by waiting.
                Err(PartitionError::Log(error)) if error.is_disk_full() => {
                    self.shared.runtime.clock().sleep(ROOM_RETRY).await;
                    continue;
                }
                _ => return,
            };
            let end = job.end;
            let flushed = partition.clone();
            match self.shared.runtime.blocking(plane, move || flushed.run_flush(&job)).await {
                Ok(()) => partition.flushed(end),
                // The fsync is not tried again: it could only pretend to have worked.
                Err(error) => {
                    let reason = format!("{}: {error}", partition.name());
                    return partition.dir().health().fence(reason);
                }
            }
        }
    }

    /// Opens and creates logs, so many at a time; each thread takes the next one that is left.
    pub(crate) async fn open_all(
        &self,
        work: Vec<Opening>,
        threads: usize,
    ) -> Result<(), LoadError> {
        let runtime = &self.shared.runtime;
        let threads = threads.min(work.len());
        let creates = work.first().is_some_and(|one| one.left.is_none());
        let together = if creates { CREATED_TOGETHER } else { 1 };
        let queue = Arc::new(Queue::new(work, together, runtime.clock()));
        let mut loaders = Vec::new();
        for index in 0..threads {
            let (shared, queue) = (self.shared.clone(), queue.clone());
            let plane = Plane::Data(index % runtime.data_threads());
            let task = async move {
                let opener = shared.clone();
                shared.runtime.blocking(plane, move || queue.open_all(&opener)).await
            };
            loaders.push(runtime.spawn(plane, "load logs", task));
        }
        for mut loader in loaders {
            let opened: Vec<Result<Partition, Unopened>> =
                loader.join().await.ok_or(LoadError::Panicked)?;
            for partition in opened {
                match partition {
                    Ok(partition) => self.hold(partition),
                    Err(Unopened { id, again }) => self.set_offline(id, again),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn remove_later(&self, dir: Arc<Dir>, name: String, delay: Duration) {
        let shared = self.shared.clone();
        let plane = Plane::Data(0);
        let task = async move {
            shared.runtime.clock().sleep(delay).await;
            let removed = shared.runtime.blocking(plane, move || dir.data().remove(&name)).await;
            if let Err(error) = removed {
                tracing::warn!(%error, "a deleted partition's directory stays");
            }
        };
        self.shared.runtime.spawn(plane, "remove deleted log", task);
    }
}

impl Shared {
    /// Whether a directory cannot be used.
    pub(crate) fn some_offline(&self) -> bool {
        !self.unreadable.is_empty() || self.dirs.iter().any(|dir| dir.health().is_fenced())
    }

    /// Whether the directory at `path` could not be opened.
    pub(crate) fn is_unreadable(&self, path: &Path) -> bool {
        self.unreadable.iter().any(|unreadable| unreadable == path)
    }

    /// The directory that was wished for a partition that is created now.
    fn take_preferred(&self, name: &TopicPartition) -> Option<Uuid> {
        let wished = self.preferred.lock().expect("never poisoned").remove(name);
        wished.map(|dir| dir.id())
    }

    /// Tells the controller in which directory a replica is, or will be.
    pub(crate) fn tell(&self, id: TopicIdPartition, directory: Uuid) {
        // Whoever listens may have ended.
        let _ = self.moved.send((id, directory));
    }

    pub(crate) fn insert(&self, partition: Arc<Partition>) {
        let mut partitions = self.partitions.write().expect("never poisoned");
        partitions.insert(partition.id(), partition);
    }

    /// Opens and creates logs. Those that are created become durable together; where that fails,
    /// the directory is fenced.
    pub(crate) fn open_some(
        &self,
        openings: Vec<Opening>,
        progress: &Progress,
    ) -> Vec<Result<Partition, Unopened>> {
        let placed = |one: &Opening| (one.placement.id, one.placement.directory);
        let placed: BTreeMap<_, _> = openings.iter().map(placed).collect();
        let (mut created, mut without_room) = (Vec::new(), Vec::new());
        for dir in self.dirs.iter().filter(|dir| !dir.health().is_fenced()) {
            let new = |one: &&Opening| one.left.is_none() && Arc::ptr_eq(&one.dir, dir);
            let names: Vec<_> =
                openings.iter().filter(new).map(|one| &one.placement.name).collect();
            if names.is_empty() {
                continue;
            }
            match dir.forget_older_logs(&names) {
                Err(error) if error.is_disk_full() => without_room.push(dir.id()),
                done => {
                    dir.fence_on_error(done);
                    created.push(dir);
                }
            }
        }
        let mut opened = Vec::new();
        for one in openings {
            opened.push(match one.left {
                None if without_room.contains(&one.dir.id()) => {
                    Err(Unopened { id: one.placement.id, again: Some(Box::new(one)) })
                }
                _ => self.open_or_fence(one, progress),
            });
            progress.log_done();
        }
        for dir in created.into_iter().filter(|dir| !dir.health().is_fenced()) {
            dir.fence_on_error(dir.data().sync_created());
        }
        for partition in opened.iter().flatten() {
            self.tell_if_moved(partition, placed[&partition.id()]);
        }
        opened
    }
}

/// When logs are created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// At the start: what is missing may be in a directory that is offline.
    AtStart,
    /// When the metadata tells of them: what it does not place is new.
    Later,
}
