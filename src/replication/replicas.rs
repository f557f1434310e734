//! All partitions of the node: opened at the start, created and deleted as the metadata says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use ottla_config::TopicConfig;
use ottla_runtime::{Disk, Plane, Runtime};
use ottla_storage::{
    DataDir, DirError, DirHealth, Log, LogError, LogOptions, OffsetCheckpoint, PartitionDir,
    PartitionDirName, SegmentFile, Shutdown, SyncPoints,
};
use ottla_types::{Offset, TopicIdPartition, TopicPartition};

use crate::partition::Partition;
use crate::placement::{DirPlan, Placement, plan_dirs};
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
    pub(crate) dir: Arc<DataDir>,
    pub(crate) health: Arc<DirHealth>,
    pub(crate) config: ReplicasConfig,
    partitions: RwLock<BTreeMap<TopicIdPartition, Arc<Partition>>>,
    /// What the file of recovery points holds, or may hold after a power cut.
    pub(crate) recovery_points: Mutex<OffsetCheckpoint>,
    /// What the file of the logs' starts holds, durably.
    pub(crate) log_starts: Mutex<OffsetCheckpoint>,
}

impl Replicas {
    /// No partitions yet.
    #[must_use]
    pub fn new(
        runtime: &Runtime,
        dir: Arc<DataDir>,
        health: Arc<DirHealth>,
        config: ReplicasConfig,
    ) -> Replicas {
        let shared = Shared {
            runtime: runtime.clone(),
            dir,
            health,
            config,
            partitions: RwLock::default(),
            recovery_points: Mutex::default(),
            log_starts: Mutex::default(),
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

    /// Opens what is on disk and creates what is missing, once, before anything is served.
    /// `clean` tells whether the last stop closed all logs.
    ///
    /// # Errors
    /// When the directory or a log cannot be read.
    pub async fn load(&self, placements: Vec<Placement>, clean: bool) -> Result<(), LoadError> {
        let placements: BTreeMap<_, _> = placements.into_iter().map(|p| (p.id, p)).collect();
        let dir = self.shared.dir.clone();
        let planned = placements.clone();
        let work = move || prepare_dirs(&dir, &planned);
        let (plan, recovery_points, log_starts) =
            self.shared.runtime.blocking(Plane::Data(0), work).await?;
        self.shared.recovery_points.lock().expect("never poisoned").clone_from(&recovery_points);
        self.shared.log_starts.lock().expect("never poisoned").clone_from(&log_starts);
        let found = |name: &TopicPartition| {
            let of = |points: &OffsetCheckpoint| points.offsets.get(name).copied();
            let recovery_point = of(&recovery_points).unwrap_or(Offset::ZERO);
            let unclean = Shutdown::Unclean { recovery_point };
            let start = of(&log_starts).unwrap_or(Offset::ZERO);
            Found { shutdown: if clean { Shutdown::Clean } else { unclean }, start }
        };
        let open = plan.open.iter().map(|id| &placements[id]);
        let open = open.map(|placement| (placement.clone(), Some(found(&placement.name))));
        let create = plan.create.iter().map(|id| (placements[id].clone(), None));
        self.open_all(open.chain(create).collect()).await
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
        self.open_all(new.into_iter().map(|placement| (placement, None)).collect()).await
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
            self.shared.dir.rename(&partition.name().to_string(), &deleted)?;
            self.remove_later(deleted, delay);
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
                    return self.shared.health.fence(format!("{}: {error}", partition.name()));
                }
            }
        }
    }

    async fn open_all(&self, work: Vec<(Placement, Option<Found>)>) -> Result<(), LoadError> {
        let share = work.len().div_ceil(LOADERS).max(1);
        let mut loaders = Vec::new();
        for (index, chunk) in work.chunks(share).enumerate() {
            let (replicas, chunk) = (self.clone(), chunk.to_vec());
            let plane = Plane::Data(index % self.shared.runtime.data_threads());
            let task = async move {
                let shared = replicas.shared.clone();
                let open = move || chunk.into_iter().map(|(p, s)| shared.open_one(p, s)).collect();
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

    fn remove_later(&self, name: String, delay: Duration) {
        let shared = self.shared.clone();
        let plane = Plane::Data(0);
        let task = async move {
            shared.runtime.clock().sleep(delay).await;
            let dir = shared.dir.clone();
            let removed = shared.runtime.blocking(plane, move || dir.remove(&name)).await;
            if let Err(error) = removed {
                tracing::warn!(%error, "a deleted partition's directory stays");
            }
        };
        self.shared.runtime.spawn(plane, "remove deleted log", task);
    }
}

impl Shared {
    /// Opens or (when nothing was found) creates a log and holds its partition.
    fn open_one(&self, placement: Placement, found: Option<Found>) -> Result<Partition, LoadError> {
        let options = LogOptions { config: placement.config, sync_points: SyncPoints::DATA };
        let now = self.runtime.clock().wall();
        let name = placement.name;
        let log = match found {
            None => {
                self.forget_older_log(&name)?;
                self.dir.create_log(&name, placement.id.topic_id, options, now)?
            }
            Some(Found { shutdown, start }) => {
                let path: PathBuf = self.dir.path().join(name.to_string());
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
        let health = self.health.clone();
        Ok(Partition::hold(placement.id, name, health, log, placement.leadership)?)
    }

    /// Takes a deleted log's offsets out of the checkpoints before a new log takes its name: they
    /// would call the new records deleted, or durable.
    fn forget_older_log(&self, name: &TopicPartition) -> Result<(), DirError> {
        let mut starts = self.log_starts.lock().expect("never poisoned");
        if starts.offsets.remove(name).is_some() {
            self.dir.write_log_starts(&starts)?;
        }
        drop(starts);
        let mut points = self.recovery_points.lock().expect("never poisoned");
        if points.offsets.remove(name).is_none() {
            return Ok(());
        }
        self.dir.write_recovery_points(&points)
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

/// What a directory that was found is opened with.
#[derive(Clone, Copy)]
struct Found {
    shutdown: Shutdown,
    start: Offset,
}

/// Renames strays, removes what was deleted before, and reads the recovery points and the starts.
fn prepare_dirs(
    dir: &DataDir,
    placements: &BTreeMap<TopicIdPartition, Placement>,
) -> Result<(DirPlan, OffsetCheckpoint, OffsetCheckpoint), DirError> {
    let found = dir.partitions()?;
    let plan = plan_dirs(placements, &found, |found| is_begun(dir.disk(), dir, found));
    for (name, partition) in &plan.stray {
        let topic_id = found.iter().find(|f| f.name == *name).and_then(|f| f.topic_id);
        let stray = PartitionDirName::stray(partition, topic_id.unwrap_or_default());
        tracing::warn!(from = %name, to = %stray, "the metadata places no such partition here");
        dir.rename(name, &stray)?;
    }
    for name in &plan.remove {
        dir.remove(name)?;
    }
    Ok((plan, dir.recovery_points()?, dir.log_starts()?))
}

/// Whether a directory without a readable topic id holds records.
fn is_begun(disk: &Disk, dir: &DataDir, found: &PartitionDir) -> bool {
    let path = dir.path().join(&found.name);
    let Ok(entries) = disk.list(&path) else { return true };
    entries.iter().any(|entry| {
        let is_log = matches!(SegmentFile::parse(&entry.name), Some((SegmentFile::Log, _)));
        is_log && !disk.read(&path.join(&entry.name), 0).is_ok_and(|bytes| bytes.is_empty())
    })
}
