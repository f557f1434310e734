//! Kafka's text checkpoints: a version, a count, and that many lines (`CheckpointFile`).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ottla_runtime::{Disk, SyncPoint};
use ottla_types::{Offset, PartitionId, TopicName, TopicPartition};

/// A checkpoint larger than this is no checkpoint: two million partitions fit.
const LEN_MAX: u64 = 256 << 20;

/// The lines of a checkpoint file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Checkpoint {
    /// One line for each entry, without its end.
    pub lines: Vec<String>,
}

impl Checkpoint {
    /// Reads the text of a checkpoint file. An empty one has no entries: so Kafka creates its
    /// files, and writes them a minute later.
    ///
    /// # Errors
    /// `InvalidData` with the reason; Kafka fails the whole directory for it.
    pub fn parse(bytes: &[u8]) -> io::Result<Checkpoint> {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not text"))?;
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(Checkpoint::default()) };
        if version.trim() != "0" {
            return Err(malformed("its version is not 0"));
        }
        // Kafka takes one that ends there for an empty one.
        let Some(count) = lines.next() else { return Ok(Checkpoint::default()) };
        let count: usize =
            count.trim().parse().map_err(|_| malformed("its second line is not a count"))?;
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.len() != count {
            return Err(malformed("it does not have as many entries as it says"));
        }
        Ok(Checkpoint { lines })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.lines.len());
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads a file; `None` when it does not exist.
    ///
    /// # Errors
    /// Those of reading and of [`Checkpoint::parse`].
    pub fn read(disk: &Disk, path: &Path) -> io::Result<Option<Checkpoint>> {
        match disk.read(path, LEN_MAX) {
            Ok(bytes) => Checkpoint::parse(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed checkpoint: {reason}"))
}

/// A checkpoint of one offset for each partition, such as the recovery points.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OffsetCheckpoint {
    /// The offsets.
    pub offsets: BTreeMap<TopicPartition, Offset>,
}

impl OffsetCheckpoint {
    /// Reads a file; nothing when it does not exist.
    ///
    /// # Errors
    /// Those of reading; `InvalidData` for a malformed file.
    pub fn read(disk: &Disk, path: &Path) -> io::Result<OffsetCheckpoint> {
        let lines = Checkpoint::read(disk, path)?.unwrap_or_default().lines;
        let parse = |line: &String| entry(line).ok_or_else(|| malformed("an entry is not one"));
        Ok(OffsetCheckpoint { offsets: lines.iter().map(parse).collect::<io::Result<_>>()? })
    }

    /// Replaces the file, and syncs its name when a point for that is given.
    ///
    /// Recovery points and high watermarks need none: after a power cut the older file does as
    /// well, because every offset in it was true once and stays a safe bound. When a log was
    /// deleted and a new one begins under its name, the sync of the new directory's name settles
    /// this one's, too. Starts of logs need one: what lies below is deleted next.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, disk: &Disk, path: &Path, name: Option<SyncPoint>) -> io::Result<()> {
        let line = |(partition, offset): (&TopicPartition, &Offset)| {
            format!("{} {} {offset}", partition.topic, partition.partition)
        };
        let text = Checkpoint { lines: self.offsets.iter().map(line).collect() }.to_text();
        disk.write_atomically(path, text.as_bytes(), Some(SyncPoint::OffsetCheckpointFile), name)
    }
}

fn entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split(' ');
    let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let partition = PartitionId(partition.parse().ok()?);
    let offset = Offset(offset.parse().ok().filter(|offset| *offset >= 0)?);
    Some((TopicPartition { topic: TopicName::from(topic), partition }, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kafkas() {
        let text = "0\n2\na 0 5\nb-c 1 7\n";
        let lines = vec!["a 0 5".to_owned(), "b-c 1 7".to_owned()];
        assert_eq!(Checkpoint::parse(text.as_bytes()).unwrap(), Checkpoint { lines });
        assert_eq!(Checkpoint::parse(text.as_bytes()).unwrap().to_text(), text);
        assert_eq!(Checkpoint::default().to_text(), "0\n0\n");
    }

    #[test]
    fn malformed_texts_are_refused() {
        assert_eq!(Checkpoint::parse(b"").unwrap(), Checkpoint::default());
        assert_eq!(Checkpoint::parse(b"0\n").unwrap(), Checkpoint::default());
        for text in ["\n", "1\n0\n", "0\nx\n", "0\n2\na 0 5\n", "0\n0\na 0 5\n", "\0\0\0"] {
            assert!(Checkpoint::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for line in ["a 0", "a 0 5 6", "a x 5", "a 0 -1", ""] {
            assert_eq!(entry(line), None, "{line:?}");
        }
    }
}
