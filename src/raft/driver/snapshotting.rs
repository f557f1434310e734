//! What the driver does with snapshots: it writes, serves, fetches and installs them, and cuts the
//! log below them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ottla_protocol::control::Voters;
use ottla_runtime::{Disk, OpenMode, Plane, SyncPoint};
use ottla_storage::LogError;
use ottla_types::{ErrorCode, MonoTime, Offset, Timestamp};

use super::events::QuorumEvent;
use super::handle::{Command, SnapshotRequest};
use super::run::Driver;
use super::snapshots::{self, SNAPSHOT_MAX, SnapshotInfo, SnapshotRetention, Snapshots};
use crate::core::{Input, OffsetAndEpoch, SnapshotChunk};
use crate::snapshot::{SnapshotFile, SnapshotStart, SnapshotWriter, deleted_name, file_name};

/// A batch of a snapshot is closed at this size; Kafka reads batches of up to 8 MiB.
const BATCH_BYTES: usize = 1 << 20;
/// Time between looks for what is too old (`KafkaRaftClient`).
const CLEAN_INTERVAL: Duration = Duration::from_secs(60);
/// Time between the renaming of what goes and its removal, for readers that have it open
/// (`log.segment.delete.delay.ms`, whose default Kafka takes for this log).
const DELETE_DELAY: Duration = Duration::from_secs(60);

/// A snapshot that was written; `None` when the disk had no room for it.
pub(super) type Written = Option<(OffsetAndEpoch, SnapshotInfo)>;

/// The snapshots of the driver.
pub(super) struct SnapshotKeeper {
    all: Snapshots,
    retention: SnapshotRetention,
    clean_at: MonoTime,
    /// Whether one is being written.
    writing: bool,
    /// The one that is being fetched.
    fetched: Option<SnapshotFile>,
}

impl SnapshotKeeper {
    pub(super) fn new(
        all: Snapshots,
        retention: SnapshotRetention,
        now: MonoTime,
    ) -> SnapshotKeeper {
        SnapshotKeeper { all, retention, clean_at: now, writing: false, fetched: None }
    }

    /// When to look next for what is too old; `None` while there is nothing that could go.
    pub(super) fn clean_at(&self) -> Option<MonoTime> {
        self.all.has_two().then_some(self.clean_at)
    }
}

impl Driver {
    /// Begins to write a snapshot, if it is one of what is committed and there is none yet.
    pub(super) fn begin_snapshot(&mut self, request: SnapshotRequest) {
        let id = request.id;
        let newest = self.snapshots.all.newest();
        let newer = newest.is_none_or(|newest| id > newest) && id.offset > self.log.start();
        if self.snapshots.writing || !newer || id.offset > self.told {
            return self.tell(QuorumEvent::SnapshotDone);
        }
        self.snapshots.writing = true;
        let job = WriteJob {
            disk: self.runtime.disk().clone(),
            dir: self.log.dir().to_owned(),
            voters: self.core.voters_before(id.offset),
            now: self.runtime.clock().wall(),
            request,
        };
        let (runtime, own) = (self.runtime.clone(), self.handle.own.clone());
        let task = async move {
            let written = runtime.blocking(Plane::Control, move || job.run()).await;
            // The driver may have ended meanwhile.
            let _ = own.send(Command::SnapshotWritten(written));
        };
        self.runtime.spawn(Plane::Control, "write snapshot", task);
    }

    /// Takes note of a snapshot that was written, and cuts the log.
    pub(super) fn snapshot_written(&mut self, written: Result<Written, LogError>) -> Option<Input> {
        self.snapshots.writing = false;
        self.tell(QuorumEvent::SnapshotDone);
        match written {
            // One that was fetched meanwhile may be newer, and this one of no use.
            Ok(Some((id, info))) if id.offset >= self.log.start() => {
                self.snapshots.all.insert(id, info);
                tracing::info!(
                    offset = id.offset.0,
                    epoch = id.epoch.0,
                    bytes = info.bytes,
                    "wrote a snapshot of the metadata log"
                );
                self.clean().or_else(|| self.range())
            }
            Ok(Some((id, _))) => {
                self.remove_later(vec![self.log.dir().join(file_name(id))]);
                None
            }
            Ok(None) => None,
            Err(error) => {
                self.health.fence(format!("metadata log: {error}"));
                None
            }
        }
    }

    fn range(&self) -> Option<Input> {
        self.snapshots.all.range(self.log.start()).map(Input::Snapshots)
    }

    /// Cuts the log if it is time to look.
    pub(super) fn clean_if_due(&mut self) -> Option<Input> {
        let now = self.runtime.clock().now();
        if self.snapshots.clean_at().is_none_or(|at| at > now) {
            return None;
        }
        self.clean()
    }

    /// Lets the log begin at the oldest snapshot that is to stay; `None` when nothing goes.
    fn clean(&mut self) -> Option<Input> {
        let clock = self.runtime.clock();
        let wall = clock.wall();
        self.snapshots.clean_at = clock.now().after(CLEAN_INTERVAL);
        let (mut gone, mut trims) = (Vec::new(), Vec::new());
        let keeper = &mut self.snapshots;
        while let Some(next) =
            keeper.all.next_start(self.log.start(), self.log.size(), wall, keeper.retention)
        {
            gone.extend(keeper.all.forget_before(next));
            trims.push(self.log.trim(next.offset));
        }
        if trims.is_empty() {
            return None;
        }
        tracing::info!(
            start = self.log.start().0,
            snapshots = gone.len(),
            "cut the metadata log below a snapshot"
        );
        let (disk, dir) = (self.runtime.disk().clone(), self.log.dir().to_owned());
        let job = move || {
            let mut files = mark_deleted(&disk, &dir, &gone)?;
            for trim in trims {
                files.extend(trim.run()?);
            }
            Ok::<_, LogError>(files)
        };
        let (runtime, health) = (self.runtime.clone(), self.health.clone());
        let task = async move {
            match runtime.blocking(Plane::Control, job).await {
                Ok(files) => remove_after_delay(&runtime, files).await,
                Err(error) => health.fence(format!("metadata log: {error}")),
            }
        };
        self.runtime.spawn(Plane::Control, "cut metadata log", task);
        self.range()
    }

    fn remove_later(&self, files: Vec<PathBuf>) {
        let runtime = self.runtime.clone();
        let task = async move { remove_after_delay(&runtime, files).await };
        self.runtime.spawn(Plane::Control, "remove snapshot", task);
    }

    /// Puts the bytes into a piece that another replica asked for. Tells `SnapshotNotFound` or
    /// `PositionOutOfRange` where there are none.
    pub(super) fn fill_chunk(
        &self,
        chunk: &mut SnapshotChunk,
        bytes_max: u64,
    ) -> Result<ErrorCode, LogError> {
        let id = chunk.snapshot;
        // The first one is nobody's but its own directory's.
        let Some(size) = self.snapshots.all.size(id).filter(|_| id.offset > Offset::ZERO) else {
            return Ok(ErrorCode::SnapshotNotFound);
        };
        if chunk.position >= size {
            return Ok(ErrorCode::PositionOutOfRange);
        }
        let len = bytes_max.min(size - chunk.position);
        let mut bytes = vec![0; usize::try_from(len).expect("requests are bounded")];
        let path = snapshots::path(self.log.dir(), id);
        let read = self.runtime.disk().open(&path, OpenMode::Read);
        let read = read.and_then(|file| file.read_exact_at(&mut bytes, chunk.position));
        read.map_err(|source| LogError::Io { path, source })?;
        chunk.size = size;
        chunk.bytes = bytes.into();
        Ok(ErrorCode::None)
    }

    /// Writes a piece of the snapshot that is being fetched. On a full disk it is forgotten, and
    /// the fetch begins again.
    pub(super) fn write_chunk(&mut self, chunk: &SnapshotChunk) -> Result<(), LogError> {
        let (disk, dir) = (self.runtime.disk(), self.log.dir());
        let failed = |source| LogError::Io { path: dir.to_owned(), source };
        if chunk.position == 0 {
            let file = SnapshotFile::create(disk, dir, chunk.snapshot);
            self.snapshots.fetched = no_room_is_none(file).map_err(failed)?;
        }
        let Some(file) = self
            .snapshots
            .fetched
            .as_mut()
            .filter(|file| (file.id(), file.size()) == (chunk.snapshot, chunk.position))
        else {
            return Ok(());
        };
        if no_room_is_none(file.append(&chunk.bytes)).map_err(failed)?.is_none() {
            tracing::warn!("no room for a snapshot of the leader's");
            let file = self.snapshots.fetched.take().expect("it was just written to");
            file.discard().map_err(failed)?;
        }
        Ok(())
    }

    /// Checks the snapshot that was fetched, gives it its name, and lets the log begin behind it.
    pub(super) async fn install_snapshot(&mut self, id: OffsetAndEpoch) -> Result<Input, LogError> {
        let Some(file) = self.snapshots.fetched.take().filter(|file| file.id() == id) else {
            return Ok(Input::SnapshotUnsound(id));
        };
        let dir = self.log.dir().to_owned();
        let work = move || {
            if file.size() > SNAPSHOT_MAX {
                file.discard()?;
                return Ok(None);
            }
            let size = file.size();
            let bytes = file.read()?;
            match snapshots::check(&bytes) {
                Ok(control) => {
                    let (content, name) =
                        (SyncPoint::MetadataSnapshotFile, SyncPoint::MetadataSnapshotDir);
                    file.finish(content, Some(name))?;
                    Ok(Some((bytes, size, control)))
                }
                Err(error) => {
                    tracing::warn!(offset = id.offset.0, %error,
                        "the snapshot that the leader sent is not sound");
                    file.discard()?;
                    Ok(None)
                }
            }
        };
        let checked: io::Result<_> = self.runtime.blocking(Plane::Control, work).await;
        let checked = checked.map_err(|source| LogError::Io { path: dir.clone(), source })?;
        let Some((bytes, size, control)) = checked else {
            return Ok(Input::SnapshotUnsound(id));
        };
        self.log.restart_at(id.offset, self.runtime.clock().wall())?;
        let info = SnapshotInfo { bytes: size, timestamp: snapshots::last_timestamp(&control) };
        let older = self.snapshots.all.forget_before(id);
        let gone = mark_deleted(self.runtime.disk(), &dir, &older)?;
        self.remove_later(gone);
        self.snapshots.all.insert(id, info);
        self.told = id.offset;
        tracing::info!(
            offset = id.offset.0,
            epoch = id.epoch.0,
            bytes = size,
            "took over a snapshot of the leader's"
        );
        self.tell(QuorumEvent::Snapshot { id, bytes });
        Ok(Input::SnapshotInstalled { snapshot: id, control })
    }
}

/// Writes a snapshot, on a thread that may stall.
struct WriteJob {
    disk: Disk,
    dir: PathBuf,
    voters: Option<(i16, Voters)>,
    now: Timestamp,
    request: SnapshotRequest,
}

impl WriteJob {
    fn run(self) -> Result<Written, LogError> {
        let dir = self.dir.clone();
        let written = no_room_is_none(self.write());
        written.map_err(|source| LogError::Io { path: dir, source })
    }

    fn write(self) -> io::Result<(OffsetAndEpoch, SnapshotInfo)> {
        let WriteJob { disk, dir, voters, now, request } = self;
        let SnapshotRequest { id, timestamp, records } = request;
        let start = SnapshotStart { id, last_contained_log_timestamp: timestamp, voters };
        let mut file = SnapshotFile::create(&disk, &dir, id)?;
        let mut writer = SnapshotWriter::new(&start, BATCH_BYTES, now);
        let mut written = Ok(());
        records(&mut |value| {
            writer.push(value, now);
            if written.is_ok() {
                written = file.append(&writer.take_finished());
            }
        });
        let written = written.and_then(|()| file.append(&writer.finish(now)));
        if let Err(error) = written {
            if error.kind() == io::ErrorKind::StorageFull {
                tracing::warn!("no room for a snapshot of the metadata log");
                file.discard()?;
            }
            return Err(error);
        }
        let bytes = file.size();
        file.finish(SyncPoint::MetadataSnapshotFile, Some(SyncPoint::MetadataSnapshotDir))?;
        Ok((id, SnapshotInfo { bytes, timestamp }))
    }
}

fn no_room_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the names of snapshots away; returns the new ones.
fn mark_deleted(
    disk: &Disk,
    dir: &std::path::Path,
    ids: &[OffsetAndEpoch],
) -> Result<Vec<PathBuf>, LogError> {
    let mut files = Vec::new();
    for id in ids {
        let (path, deleted) = (snapshots::path(dir, *id), dir.join(deleted_name(*id)));
        match disk.rename(&path, &deleted) {
            Ok(()) => files.push(deleted),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(LogError::Io { path, source }),
        }
    }
    Ok(files)
}

/// What cannot be removed, the next start removes.
async fn remove_after_delay(runtime: &ottla_runtime::Runtime, files: Vec<PathBuf>) {
    if files.is_empty() {
        return;
    }
    runtime.clock().sleep(DELETE_DELAY).await;
    let disk = runtime.disk().clone();
    let work = move || files.iter().filter(|path| disk.remove_file(path).is_err()).count();
    let left = runtime.blocking(Plane::Control, work).await;
    if left > 0 {
        tracing::warn!(files = left, "files of the metadata log could not be removed");
    }
}
