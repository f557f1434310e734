//! Compacting logs in the background: the dirtiest first, one for each cleaner
//! (`log.cleaner.threads`), a step at a time on the threads for blocking work, so that requests
//! never wait for it (`LogCleaner`, `LogCleanerManager`). Its configs change while it runs: there
//! are more cleaners at once, or fewer when what they do is done, which has the memory that it
//! began with; a pause ends. What is read and written in a second counts for all cleaners
//! together.
//!
//! A log whose records cannot be read is left alone from then on, with an error in the process's
//! log; the others go on. A full disk ends a cleaning, and it is tried again behind the others. How
//! far each log is clean is in `cleaner-offset-checkpoint`: an older entry only means that more is
//! read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_config::CleanerConfig;
use ottla_runtime::Plane;
use ottla_storage::{CleanJob, CleanLimits, CleanStats, CleanStep, Cleanable, LogError};
use ottla_types::{MonoTime, Offset, TopicIdPartition};
use tokio::sync::watch;

use crate::dir::Dir;
use crate::partition::Partition;
use crate::replicas::Replicas;
use crate::request::PartitionError;

/// Pause behind a step that is due when less is not worth a timer.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Which logs are being cleaned, and which cannot be.
pub(crate) struct Cleaning {
    state: Mutex<State>,
    /// What cleaners go by. It changes under the lock of `state`.
    config: watch::Sender<CleanerConfig>,
    is_stopped: AtomicBool,
}

/// What cleaners tell about themselves.
#[derive(Clone, Default)]
pub(crate) struct CleanerFigures {
    /// When one last looked for work, and how dirty the log was that it found, from 0 to 1.
    pub(crate) looked: Option<MonoTime>,
    pub(crate) dirt: f64,
    /// For how long a log should have been compacted then, ms; the longest.
    pub(crate) overdue_ms: u64,
    /// Cleaners that panicked.
    pub(crate) dead: usize,
    /// The last round of each cleaner, and how long it took.
    pub(crate) last: BTreeMap<usize, (CleanStats, Duration)>,
}

#[derive(Default)]
struct State {
    /// Whether the logs are open.
    is_open: bool,
    /// The cleaners that there are.
    running: BTreeSet<usize>,
    /// When all that was read and written so far has had its time.
    paid_at: MonoTime,
    under_way: BTreeSet<TopicIdPartition>,
    /// With the reason.
    uncleanable: BTreeMap<TopicIdPartition, String>,
    /// Those that came to nothing since there was last nothing to do: the others have their turn.
    put_off: BTreeSet<TopicIdPartition>,
    figures: CleanerFigures,
}

impl Cleaning {
    pub(crate) fn new(config: CleanerConfig) -> Cleaning {
        let (config, _) = watch::channel(config);
        Cleaning { state: Mutex::default(), config, is_stopped: AtomicBool::new(false) }
    }

    /// Changes what cleaners go by; the cleaners that are missing then, and count as running.
    fn set_config(&self, config: CleanerConfig) -> Vec<usize> {
        let mut state = self.lock();
        let changed = self.config.send_if_modified(|known| {
            let is_new = *known != config;
            *known = config;
            is_new
        });
        if changed {
            // Who was slowed down by another rate begins anew.
            state.paid_at = MonoTime::default();
        }
        let cleaners = if state.is_open { config.cleaners() } else { 0 };
        (0..cleaners).filter(|index| state.running.insert(*index)).collect()
    }

    /// Whether a cleaner is one too many, and counts as ended.
    fn ends(&self, cleaner: usize) -> bool {
        let mut state = self.lock();
        let ends = cleaner >= self.config.borrow().cleaners();
        if ends {
            state.running.remove(&cleaner);
            state.figures.last.remove(&cleaner);
        }
        ends
    }

    /// Notes what was read and written; cleaners pay for it in turn.
    fn note_bytes(&self, now: MonoTime, bytes: u64) {
        let took = time_of(bytes, self.config.borrow().bytes_per_second);
        let mut state = self.lock();
        state.paid_at = state.paid_at.max(now).after(took);
    }

    /// How long nothing is to be read or written.
    fn pause(&self, now: MonoTime) -> Duration {
        self.lock().paid_at.since(now)
    }

    /// No step begins any more.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn figures(&self) -> CleanerFigures {
        self.lock().figures.clone()
    }

    /// The logs that cannot be cleaned.
    pub(crate) fn uncleanable(&self) -> Vec<TopicIdPartition> {
        self.lock().uncleanable.keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("never poisoned")
    }
}

/// Notes a cleaner that ends by a panic.
struct Alive<'a>(&'a Cleaning);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(mut state) = self.0.state.lock()
        {
            state.figures.dead += 1;
        }
    }
}

/// Why a cleaning ended early.
enum Ended {
    /// The partition is gone or offline, its log has changed, or the node stops.
    Moot,
    /// The disk has no room.
    NoRoom,
    /// The log cannot be read.
    Uncleanable(String),
    /// The disk failed, and the directory is fenced.
    Failed,
}

impl Replicas {
    /// Starts the cleaners. They end with the process.
    pub(crate) fn start_cleaners(&self) {
        self.shared.cleaning.lock().is_open = true;
        let config = *self.shared.cleaning.config.borrow();
        self.set_cleaner(config);
    }

    /// How logs are compacted, as the node began.
    #[must_use]
    pub fn cleaner_begun_with(&self) -> CleanerConfig {
        self.shared.config.cleaner
    }

    /// Changes how logs are compacted, from now on or from when they are open.
    pub fn set_cleaner(&self, config: CleanerConfig) {
        for index in self.shared.cleaning.set_config(config) {
            let replicas = self.clone();
            let cleaner = async move { replicas.clean_while_wanted(index).await };
            self.shared.runtime.spawn(Plane::Data(0), "log cleaner", cleaner);
        }
    }

    /// Logs that are being compacted.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.shared.cleaning.lock().under_way.len()
    }

    /// Cleaners that there are.
    #[cfg(test)]
    pub(crate) fn cleaners(&self) -> usize {
        self.shared.cleaning.lock().running.len()
    }

    async fn clean_while_wanted(&self, cleaner: usize) {
        let cleaning = &self.shared.cleaning;
        let _alive = Alive(cleaning);
        let mut config = cleaning.config.subscribe();
        while !cleaning.is_stopped() && !cleaning.ends(cleaner) {
            let backoff = config.borrow_and_update().backoff.max(PAUSE_MIN);
            if !self.clean_dirtiest(cleaner).await {
                self.sleep_unless_changed(&mut config, backoff).await;
            }
        }
    }

    async fn sleep_unless_changed(
        &self,
        config: &mut watch::Receiver<CleanerConfig>,
        time: Duration,
    ) {
        tokio::select! {
            biased;
            // Its sender lives as long as this.
            _ = config.changed() => {}
            () = self.shared.runtime.clock().sleep(time) => {}
        }
    }

    /// Cleans the dirtiest log that is worth it; whether there was one.
    pub(crate) async fn clean_dirtiest(&self, cleaner: usize) -> bool {
        let replicas = self.clone();
        let choose = move || replicas.choose_dirtiest();
        let chosen = self.shared.runtime.blocking(Plane::Data(0), choose).await;
        let Some((partition, plan)) = chosen else {
            self.shared.cleaning.lock().put_off.clear();
            return false;
        };
        let ended = self.clean(cleaner, &partition, plan).await;
        let mut state = self.shared.cleaning.lock();
        state.under_way.remove(&partition.id());
        match ended {
            Ok(()) => {}
            Err(Ended::Uncleanable(reason)) => {
                tracing::error!(partition = %partition.name(), %reason,
                    "the log cannot be compacted and is left alone");
                state.uncleanable.insert(partition.id(), reason);
            }
            Err(Ended::NoRoom) => {
                tracing::warn!(partition = %partition.name(), "no room to compact the log");
                state.put_off.insert(partition.id());
            }
            Err(Ended::Moot | Ended::Failed) => {
                state.put_off.insert(partition.id());
            }
        }
        true
    }

    fn choose_dirtiest(&self) -> Option<(Arc<Partition>, Cleanable)> {
        let now = self.shared.runtime.clock().wall();
        let partitions = self.all();
        let mut state = self.shared.cleaning.lock();
        state.uncleanable.retain(|id, _| partitions.iter().any(|p| p.id() == *id));
        let is_free = |partition: &&Arc<Partition>| {
            let id = partition.id();
            let is_left = state.uncleanable.contains_key(&id) || state.put_off.contains(&id);
            !is_left && !state.under_way.contains(&id)
        };
        let planned = partitions.iter().filter(is_free).filter_map(|partition| {
            let cleaned_to = partition.dir().cleaned_to(partition.name());
            match partition.plan_cleaning(cleaned_to, now) {
                Ok(plan) => Some((partition.clone(), plan?)),
                Err(PartitionError::Gone | PartitionError::Offline) => None,
                Err(error) => {
                    tracing::warn!(partition = %partition.name(), ?error, "compaction not planned");
                    None
                }
            }
        });
        let planned: Vec<_> = planned.collect();
        let late = planned.iter().map(|(_, plan)| plan.overdue_ms).max();
        let dirtiest = planned.into_iter().max_by(|one, other| one.1.cmp_dirt(&other.1));
        state.figures.overdue_ms = late.unwrap_or(0);
        state.figures.looked = Some(self.shared.runtime.clock().now());
        state.figures.dirt = dirtiest.as_ref().map_or(0.0, |(_, plan)| plan.dirty_ratio());
        let dirtiest = dirtiest?;
        state.under_way.insert(dirtiest.0.id());
        Some(dirtiest)
    }

    async fn clean(
        &self,
        cleaner: usize,
        partition: &Arc<Partition>,
        plan: Cleanable,
    ) -> Result<(), Ended> {
        let mut changes = self.shared.cleaning.config.subscribe();
        let config = *changes.borrow_and_update();
        let (runtime, now) = (&self.shared.runtime, self.shared.runtime.clock().wall());
        let limits = CleanLimits {
            map_bytes: config.map_bytes(),
            load_factor: config.load_factor,
            write_bytes: config.write_bytes(),
            secret: (runtime.entropy().bits(), runtime.entropy().bits()),
        };
        let started = runtime.clock().now();
        if partition.dir().cleaned_to(partition.name()).is_none() {
            self.note_clean_to(partition, plan.first_dirty).await?;
        }
        let job = partition.start_cleaning(plan, limits, now);
        let mut job = Box::new(job.map_err(|error| ended(partition, error))?);
        loop {
            if self.shared.cleaning.is_stopped() {
                runtime.blocking(Plane::Data(0), move || job.abandon()).await;
                return Err(Ended::Moot);
            }
            let (replicas, working) = (self.clone(), partition.clone());
            let step = move || replicas.step(&working, job);
            let (rest, bytes) = match runtime.blocking(Plane::Data(0), step).await? {
                Stepped::Working(rest, bytes) => (rest, bytes),
                Stepped::Done(end, stats) => {
                    let took = runtime.clock().now().since(started);
                    tell(partition, plan, end, &stats, took);
                    self.shared.cleaning.lock().figures.last.insert(cleaner, (stats, took));
                    return self.note_clean_to(partition, end).await;
                }
            };
            job = rest;
            let cleaning = &self.shared.cleaning;
            cleaning.note_bytes(runtime.clock().now(), bytes);
            loop {
                let pause = cleaning.pause(runtime.clock().now());
                if pause < PAUSE_MIN || cleaning.is_stopped() {
                    break;
                }
                self.sleep_unless_changed(&mut changes, pause).await;
            }
        }
    }

    /// A step of a job, with what follows it.
    fn step(&self, partition: &Partition, mut job: Box<CleanJob>) -> Result<Stepped, Ended> {
        let dir = partition.dir();
        if !partition.is_in(&dir) {
            // What it wrote goes with the directory.
            return Err(Ended::Moot);
        }
        if partition.is_moving() {
            job.abandon();
            return Err(Ended::Moot);
        }
        let stepped = match job.step() {
            Ok(CleanStep::Working(bytes)) => return Ok(Stepped::Working(job, bytes)),
            Ok(CleanStep::Done(end, stats)) => return Ok(Stepped::Done(end, stats)),
            Ok(CleanStep::Cleaned(group)) => self.swap(partition, &job, *group),
            Err(error) => Err(PartitionError::Log(error)),
        };
        match stepped {
            Ok(true) => Ok(Stepped::Working(job, 0)),
            Ok(false) => {
                job.abandon();
                Err(Ended::Moot)
            }
            Err(error) => {
                job.abandon();
                Err(ended(partition, error))
            }
        }
    }

    /// Puts a segment in the place of others; whether the log was as the job knew it.
    fn swap(
        &self,
        partition: &Partition,
        job: &CleanJob,
        group: ottla_storage::CleanedGroup,
    ) -> Result<bool, PartitionError> {
        let base = group.base();
        let Some(group) = partition.stage_swap(group)? else { return Ok(false) };
        if let Err(error) = job.sync_staged() {
            partition.unstage_swap(group)?;
            return Err(PartitionError::Log(error));
        }
        let Some(files) = partition.begin_swap(group)? else { return Ok(false) };
        if let Err(error) = job.sync_replaced() {
            // There is no way back, and none ahead that a crash could not undo.
            if !is_gone(&error) {
                partition.dir().health().fence(format!("{}: {error}", partition.name()));
            }
            return Err(PartitionError::Log(error));
        }
        partition.end_swap(base)?;
        if let Ok(config) = partition.config() {
            self.remove_files_later(files, config.file_delete_delay);
        }
        Ok(true)
    }

    /// Notes that a log is clean up to an offset.
    async fn note_clean_to(&self, partition: &Arc<Partition>, end: Offset) -> Result<(), Ended> {
        let noted = partition.clone();
        let note = move || noted.dir().note_cleaned(&noted, end);
        match self.shared.runtime.blocking(Plane::Data(0), note).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Ended::Moot),
            Err(error) if error.is_disk_full() => Err(Ended::NoRoom),
            Err(error) => {
                partition.dir().fence_on_error(Err(error));
                Err(Ended::Failed)
            }
        }
    }
}

/// Says what a cleaning did.
fn tell(partition: &Partition, plan: Cleanable, end: Offset, stats: &CleanStats, took: Duration) {
    tracing::info!(partition = %partition.name(), from = plan.first_dirty.0, to = end.0,
        bytes_before = stats.read_bytes, bytes = stats.written_bytes,
        records_before = stats.read_records, records = stats.written_records,
        table = format!("{:.0} %", stats.map_utilization * 100.0),
        ms = took.as_millis() as u64, "compacted a log");
    if stats.keyless_records > 0 {
        tracing::warn!(partition = %partition.name(), records = stats.keyless_records,
            "records without a key were in a compacted log; they are gone");
    }
}

/// What came of a step.
enum Stepped {
    /// So many bytes were read and written.
    Working(Box<CleanJob>, u64),
    Done(Offset, CleanStats),
}

/// Whether retention, a move, or the end of the topic took the file.
fn is_gone(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn ended(partition: &Partition, error: PartitionError) -> Ended {
    let PartitionError::Log(error) = error else { return Ended::Moot };
    match &error {
        gone if is_gone(gone) => Ended::Moot,
        error if error.is_disk_full() => Ended::NoRoom,
        error if error.is_damage() => Ended::Uncleanable(error.to_string()),
        error if error.is_fault() => {
            partition.dir().health().fence(format!("{}: {error}", partition.name()));
            Ended::Failed
        }
        // Without a free descriptor, for one.
        _ => Ended::NoRoom,
    }
}

/// How long so many bytes are to take.
fn time_of(bytes: u64, bytes_per_second: f64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / bytes_per_second).unwrap_or(Duration::MAX)
}

impl Dir {
    /// How far a log is clean.
    pub(crate) fn cleaned_to(&self, name: &ottla_types::TopicPartition) -> Option<Offset> {
        let cleaned = self.cleaned.lock().expect("never poisoned");
        cleaned.offsets.get(name).copied()
    }

    /// Notes it durably where the log was not known as one that is compacted; `false` when the
    /// partition is gone.
    fn note_cleaned(
        &self,
        partition: &Partition,
        end: Offset,
    ) -> Result<bool, ottla_storage::DirError> {
        let mut cleaned = self.cleaned.lock().expect("never poisoned");
        // Asked under the lock: a log that is deleted meanwhile must not come back into the file
        // behind the new log that takes its name, nor one that has moved away.
        if !partition.is_in(self) {
            return Ok(false);
        }
        let mut new = cleaned.clone();
        let is_new = new.offsets.insert(partition.name().clone(), end).is_none();
        self.data().write_cleaner_offsets(&new, is_new)?;
        *cleaned = new;
        Ok(true)
    }
}
