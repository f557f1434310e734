//! `partition.metadata`: the topic's id, beside a partition's log (KIP-516).
//!
//! Written before the first append and durable with the first flush, so that a durable record can
//! never be taken for one of another topic with the same name.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, OpenMode, SyncPoint};
use ottla_types::Uuid;

const NAME: &str = "partition.metadata";

/// Content of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionMetadata {
    /// Id of the topic.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// Reads the file in a partition's directory; `None` when it does not exist.
    ///
    /// # Errors
    /// Those of reading; `InvalidData` when it is malformed.
    pub fn read(disk: &Disk, dir: &Path) -> io::Result<Option<PartitionMetadata>> {
        match disk.read(&dir.join(NAME), 4096) {
            Ok(bytes) => PartitionMetadata::parse(&bytes).map(Some).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "malformed partition.metadata")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the file is in a partition's directory.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Writes the file; its content is durable when `point` is given. The log's first flush makes
    /// it durable in any case, and its name: without records the directory is worth nothing.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(self, disk: &Disk, dir: &Path, point: Option<SyncPoint>) -> io::Result<()> {
        disk.write_atomically(&dir.join(NAME), self.text().as_bytes(), point, None)
    }

    /// Writes the file into a directory that was just created, where there is none yet. A crash may
    /// leave it empty: then nothing was appended, and the creation is begun again.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_first(self, disk: &Disk, dir: &Path) -> io::Result<()> {
        let path = dir.join(NAME);
        let file = disk.open(&path, OpenMode::Truncate)?;
        let text = self.text();
        let written = file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            disk.remove_file(&path)?;
        }
        written
    }

    fn text(self) -> String {
        format!("version: 0\ntopic_id: {}", self.topic_id)
    }

    fn parse(bytes: &[u8]) -> Option<PartitionMetadata> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()?.strip_prefix("version:")?.trim() != "0" {
            return None;
        }
        let topic_id: Uuid = lines.next()?.strip_prefix("topic_id:")?.trim().parse().ok()?;
        (topic_id != Uuid::ZERO).then_some(PartitionMetadata { topic_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        let parse = |text: &str| PartitionMetadata::parse(text.as_bytes());
        let topic_id = Uuid::METADATA_TOPIC;
        let expected = Some(PartitionMetadata { topic_id });
        assert_eq!(parse("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"), expected);
        for bad in [
            "",
            "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
            "version: 0\ntopic_id: x",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            "version: 0",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
