//! `recovery-point-offset-checkpoint` of a data directory: below which offsets its logs are
//! durable, the metadata log's committed records among them.
//!
//! Kafka notes the partitions' logs there, and leaves out what it does not know when it writes the
//! file again. Ottla adds `__cluster_metadata 0 OFFSET`: a start that finds less in the metadata
//! log knows that it is damaged, and not torn by a crash.
//!
//! Invariants: one writer at a time, so that neither part of the file overwrites the other's; the
//! metadata log's entry never goes back, but for [`RecoveryPoints::reset_metadata`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, PartitionId, TopicName, TopicPartition};

use crate::checkpoint::OffsetCheckpoint;

const NAME: &str = "recovery-point-offset-checkpoint";
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The file, shared by those who write to it.
pub struct RecoveryPoints {
    disk: Disk,
    path: PathBuf,
    /// The metadata log's entry, once the file was read. Held while the file is written.
    metadata: Mutex<Option<Offset>>,
}

impl RecoveryPoints {
    /// The file in the data directory `dir`.
    #[must_use]
    pub fn new(disk: &Disk, dir: &Path) -> RecoveryPoints {
        RecoveryPoints { disk: disk.clone(), path: dir.join(NAME), metadata: Mutex::default() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The partitions' entries.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn partitions(&self) -> io::Result<OffsetCheckpoint> {
        let mut metadata = self.lock();
        self.read(&mut metadata)
    }

    /// The metadata log's entry; 0 without one.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn metadata(&self) -> io::Result<Offset> {
        let mut metadata = self.lock();
        self.read(&mut metadata)?;
        Ok(metadata.unwrap_or(Offset::ZERO))
    }

    /// Replaces the partitions' entries.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_partitions(&self, offsets: &OffsetCheckpoint) -> io::Result<()> {
        let mut metadata = self.lock();
        if metadata.is_none() {
            self.read(&mut metadata)?;
        }
        self.write(offsets.clone(), *metadata, None)
    }

    /// Raises the metadata log's entry: everything below `end` is committed, and durable here.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn raise_metadata(&self, end: Offset) -> io::Result<()> {
        let mut metadata = self.lock();
        let partitions = self.read(&mut metadata)?;
        if metadata.is_some_and(|known| known >= end) {
            return Ok(());
        }
        self.write(partitions, Some(end), None)?;
        *metadata = Some(end);
        Ok(())
    }

    /// Replaces the metadata log's entry, durably: the log was repaired, and ends at `end`.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn reset_metadata(&self, end: Offset) -> io::Result<()> {
        let mut metadata = self.lock();
        let partitions = self.read(&mut metadata)?;
        self.write(partitions, Some(end), Some(SyncPoint::StartDir))?;
        *metadata = Some(end);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Offset>> {
        self.metadata.lock().expect("nothing panics while it is held")
    }

    /// The partitions' entries in the file; notes the metadata log's.
    fn read(&self, metadata: &mut Option<Offset>) -> io::Result<OffsetCheckpoint> {
        let mut read = OffsetCheckpoint::read(&self.disk, &self.path)?;
        let found = read.offsets.remove(&metadata_log()).unwrap_or(Offset::ZERO);
        *metadata = Some(found);
        Ok(read)
    }

    fn write(
        &self,
        mut offsets: OffsetCheckpoint,
        metadata: Option<Offset>,
        name: Option<SyncPoint>,
    ) -> io::Result<()> {
        if let Some(end) = metadata.filter(|end| *end > Offset::ZERO) {
            offsets.offsets.insert(metadata_log(), end);
        }
        offsets.write(&self.disk, &self.path, name)
    }
}

fn metadata_log() -> TopicPartition {
    TopicPartition { topic: TopicName::from(METADATA_TOPIC), partition: PartitionId(0) }
}

#[cfg(test)]
mod tests {
    use ottla_runtime::Runtime;
    use ottla_runtime::sim::SimWorld;

    use super::*;

    #[test]
    fn partitions_and_the_metadata_log_share_the_file() {
        let disk = Runtime::simulated(&SimWorld::new(1).node("a")).disk().clone();
        let dir = Path::new("/");
        let text = || String::from_utf8(disk.read(&dir.join(NAME), 4096).unwrap()).unwrap();
        let name = TopicPartition { topic: "a".into(), partition: PartitionId(3) };
        let offsets = |at| OffsetCheckpoint { offsets: [(name.clone(), Offset(at))].into() };
        let points = RecoveryPoints::new(&disk, dir);
        assert_eq!(points.metadata().unwrap(), Offset::ZERO);
        points.write_partitions(&offsets(7)).unwrap();
        assert_eq!(text(), "0\n1\na 3 7\n");
        points.raise_metadata(Offset(12)).unwrap();
        points.raise_metadata(Offset(11)).unwrap();
        assert_eq!(text(), "0\n2\n__cluster_metadata 0 12\na 3 7\n");
        let again = RecoveryPoints::new(&disk, dir);
        again.write_partitions(&offsets(9)).unwrap();
        assert_eq!(text(), "0\n2\n__cluster_metadata 0 12\na 3 9\n");
        assert_eq!(again.partitions().unwrap(), offsets(9));
        assert_eq!(again.metadata().unwrap(), Offset(12));
        again.reset_metadata(Offset(5)).unwrap();
        assert_eq!(text(), "0\n2\n__cluster_metadata 0 5\na 3 9\n");
    }
}
