//! All partitions of the node: opened at the start, created and deleted as the metadata says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_runtime::{Plane, Runtime};
use ottla_storage::{DirError, Log, LogDirs, LogError, LogOptions, PartitionDirName, SyncPoints};
use ottla_types::TopicIdPartition;

use crate::dir::{Dir, Found};
use crate::partition::Partition;
use crate::placement::Placement;
use crate::request::PartitionError;

/// Logs that are opened or created at the same time: recovery reads, creation waits for fsyncs.
const LOADERS: usize = 4;

/// Times that the registry keeps.
#[derive(Clone, Copy, Debug)]
pub struct ReplicasConfig {
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_interval: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_interval: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
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
}

/// A log that is to be opened or created.
#[derive(Clone)]
struct Opening {
    placement: Placement,
    dir: Arc<Dir>,
    /// `None` when there is none yet.
    found: Option<Found>,
}

impl Replicas {
    /// No partitions yet.
    #[must_use]
    pub fn new(runtime: &Runtime, dirs: &LogDirs, config: ReplicasConfig) -> Replicas {
        let shared = Shared {
            runtime: runtime.clone(),
            dirs: dirs.dirs().iter().map(|dir| Arc::new(Dir::new(dir.clone()))).collect(),
            config,
            partitions: RwLock::default(),
        };
        Replicas { shared: Arc::new(shared) }
    }

    /// The partition, if this node holds it.
    #[must_use]
    pub fn get(&self, id: &TopicIdPartition) -> Option<Arc<Partition>> {
        self.shared.partitions.read().expect("never poisoned").get(id).cloned()
    }

    /// All partitions.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.shared.partitions.read().expect("never poisoned").values().cloned().collect()
    }

    /// All partitions in a directory.
    pub(crate) fn all_in(&self, dir: &Arc<Dir>) -> Vec<Arc<Partition>> {
        let mut all = self.all();
        all.retain(|partition| Arc::ptr_eq(dir, partition.dir()));
        all
    }

    /// Opens what is on disk and creates what is missing, once, before anything is served.
    ///
    /// # Errors
    /// When a directory or a log cannot be read.
    pub async fn load(&self, placements: Vec<Placement>) -> Result<(), LoadError> {
        let mut placements: BTreeMap<_, _> = placements.into_iter().map(|p| (p.id, p)).collect();
        let mut work = Vec::new();
        for dir in &self.shared.dirs {
            let (preparing, planned) = (dir.clone(), placements.clone());
            let prepare = move || preparing.prepare(&planned);
            let found = self.shared.runtime.blocking(Plane::Data(0), prepare).await?;
            for (id, found) in found {
                let Some(placement) = placements.remove(&id) else { continue };
                work.push(Opening { placement, dir: dir.clone(), found: Some(found) });
            }
        }
        self.open_all(work).await?;
        self.create(placements.into_values().collect()).await
    }

    /// Takes over what the metadata says of these partitions: new ones are created, known ones
    /// change.
    ///
    /// # Errors
    /// When a log cannot be created; the directory is fenced.
    pub async fn place(&self, placements: Vec<Placement>) -> Result<(), LoadError> {
        let (known, new): (Vec<_>, Vec<_>) =
            placements.into_iter().partition(|placement| self.get(&placement.id).is_some());
        for placement in known {
            let partition = self.get(&placement.id).expect("just seen");
            partition.change_leadership(placement.leadership)?;
            partition.set_config(placement.config);
        }
        self.create(new).await
    }

    /// Creates logs, each in the directory that has the fewest.
    async fn create(&self, placements: Vec<Placement>) -> Result<(), LoadError> {
        let dirs = &self.shared.dirs;
        let count = |dir| if dirs.len() > 1 { self.all_in(dir).len() } else { 0 };
        let mut counts: Vec<usize> = dirs.iter().map(count).collect();
        let place = |placement| {
            // As Kafka does, the first of those with the fewest.
            let at = (0..dirs.len()).min_by_key(|at| counts[*at]).expect("never empty");
            counts[at] += 1;
            Opening { placement, dir: dirs[at].clone(), found: None }
        };
        self.open_all(placements.into_iter().map(place).collect()).await
    }

    /// Stops serving partitions and deletes their logs after the topic's delay.
    ///
    /// # Errors
    /// When a directory cannot be renamed; the directory is fenced.
    pub async fn delete(&self, ids: Vec<TopicIdPartition>) -> Result<(), LoadError> {
        for id in ids {
            let removed = self.shared.partitions.write().expect("never poisoned").remove(&id);
            let Some(partition) = removed else { continue };
            let delay = partition.config()?.file_delete_delay;
            partition.retire();
            let unique = self.shared.runtime.entropy().uuid();
            let deleted = PartitionDirName::deleted(partition.name(), unique);
            partition.dir().data().rename(&partition.name().to_string(), &deleted)?;
            self.remove_later(partition.dir().clone(), deleted, delay);
        }
        Ok(())
    }

    /// Changes the configs of partitions.
    pub fn set_config(&self, ids: &[TopicIdPartition], config: &TopicConfig) {
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
        while let Ok(Some(job)) = partition.next_flush() {
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

    async fn open_all(&self, work: Vec<Opening>) -> Result<(), LoadError> {
        let share = work.len().div_ceil(LOADERS).max(1);
        let mut loaders = Vec::new();
        for (index, chunk) in work.chunks(share).enumerate() {
            let (replicas, chunk) = (self.clone(), chunk.to_vec());
            let plane = Plane::Data(index % self.shared.runtime.data_threads());
            let task = async move {
                let shared = replicas.shared.clone();
                let open = move || chunk.into_iter().map(|one| shared.open_one(one)).collect();
                replicas.shared.runtime.blocking(plane, open).await
            };
            loaders.push(self.shared.runtime.spawn(plane, "load logs", task));
        }
        for mut loader in loaders {
            let opened: Result<Vec<Partition>, LoadError> =
                loader.join().await.unwrap_or(Err(LoadError::Panicked));
            let mut partitions = self.shared.partitions.write().expect("never poisoned");
            for partition in opened? {
                partitions.insert(partition.id(), Arc::new(partition));
            }
        }
        Ok(())
    }

    fn remove_later(&self, dir: Arc<Dir>, name: String, delay: Duration) {
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
    /// Opens or (when nothing was found) creates a log and holds its partition.
    fn open_one(&self, opening: Opening) -> Result<Partition, LoadError> {
        let Opening { placement, dir, found } = opening;
        let options = LogOptions { config: placement.config, sync_points: SyncPoints::DATA };
        let now = self.runtime.clock().wall();
        let name = placement.name;
        let log = match found {
            None => {
                dir.forget_older_log(&name)?;
                dir.data().create_log(&name, placement.id.topic_id, options, now)?
            }
            Some(Found { shutdown, start }) => {
                let path: PathBuf = dir.data().path().join(name.to_string());
                let (mut log, recovered) =
                    Log::open_from(self.runtime.disk(), &path, options, shutdown, start, now)?;
                if recovered.checked_bytes > 0 {
                    tracing::info!(partition = %name, bytes = recovered.checked_bytes,
                        cut = recovered.cut_bytes, end = log.end().0, "recovered log");
                }
                // Readers saw what was durable: they must see it again at once.
                if log.config().flush_messages == 1 {
                    flush_now(&mut log)?;
                }
                log
            }
        };
        Ok(Partition::hold(placement.id, name, dir, log, placement.leadership)?)
    }
}

fn flush_now(log: &mut Log) -> Result<(), LogError> {
    while let Some(job) = log.start_flush()? {
        let path = log.dir().to_owned();
        job.run().map_err(|source| LogError::Io { path, source })?;
        log.finish_flush(job.end);
    }
    Ok(())
}

/// Why partitions cannot be opened or created.
#[derive(Debug)]
pub enum LoadError {
    /// The data directory.
    Dir(DirError),
    /// A log.
    Log(LogError),
    /// A partition.
    Partition(PartitionError),
    /// A loader panicked; the log tells where.
    Panicked,
}

impl From<DirError> for LoadError {
    fn from(error: DirError) -> LoadError {
        LoadError::Dir(error)
    }
}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> LoadError {
        LoadError::Log(error)
    }
}

impl From<PartitionError> for LoadError {
    fn from(error: PartitionError) -> LoadError {
        LoadError::Partition(error)
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Dir(error) => error.fmt(f),
            LoadError::Log(error) => error.fmt(f),
            LoadError::Partition(error) => error.fmt(f),
            LoadError::Panicked => f.write_str("a log could not be opened"),
        }
    }
}

impl std::error::Error for LoadError {}
