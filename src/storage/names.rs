//! Names of files and directories (`LogFileUtils`, `LogFileUtils`' suffixes, `UnifiedLog`).

use std::path::{Path, PathBuf};

use ottla_types::{Offset, PartitionId, TopicName, TopicPartition, Uuid};

/// File systems allow names of this many bytes.
const NAME_LEN_MAX: usize = 255;

/// Behind the name of a segment's file that waits for its removal.
const DELETED: &str = ".deleted";

/// What stands behind the name of a segment's file while compaction replaces segments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SegmentStage {
    /// It is being written.
    Cleaned,
    /// It is whole, and takes the place of what it was made of.
    Swap,
    /// It is in its place.
    InPlace,
}

impl SegmentStage {
    fn suffix(self) -> &'static str {
        match self {
            SegmentStage::Cleaned => ".cleaned",
            SegmentStage::Swap => ".swap",
            SegmentStage::InPlace => "",
        }
    }
}

/// The kinds of files in a partition's directory that belong to a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SegmentFile {
    /// Batches.
    Log,
    /// Offset index.
    Index,
    /// Time index.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state at the offset in the name.
    Snapshot,
}

impl SegmentFile {
    const ALL: [SegmentFile; 5] = [
        SegmentFile::Log,
        SegmentFile::Index,
        SegmentFile::TimeIndex,
        SegmentFile::TxnIndex,
        SegmentFile::Snapshot,
    ];

    fn suffix(self) -> &'static str {
        match self {
            SegmentFile::Log => ".log",
            SegmentFile::Index => ".index",
            SegmentFile::TimeIndex => ".timeindex",
            SegmentFile::TxnIndex => ".txnindex",
            SegmentFile::Snapshot => ".snapshot",
        }
    }

    /// Name of this kind of file for a segment: twenty digits and a suffix.
    #[must_use]
    pub fn name(self, base: Offset) -> String {
        format!("{:020}{}", base.0, self.suffix())
    }

    /// Its name at this stage of a compaction.
    #[must_use]
    pub fn name_at(self, base: Offset, stage: SegmentStage) -> String {
        self.name(base) + stage.suffix()
    }

    /// Reads the name of a file that a compaction left.
    #[must_use]
    pub fn parse_staged(name: &str) -> Option<(SegmentFile, Offset, SegmentStage)> {
        [SegmentStage::Cleaned, SegmentStage::Swap].into_iter().find_map(|stage| {
            let (kind, base) = SegmentFile::parse(name.strip_suffix(stage.suffix())?)?;
            Some((kind, base, stage))
        })
    }

    /// Name of a file once its segment is deleted.
    #[must_use]
    pub fn deleted(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(DELETED);
        PathBuf::from(name)
    }

    /// Whether a file waits for its removal.
    #[must_use]
    pub fn is_deleted(name: &str) -> bool {
        name.strip_suffix(DELETED).is_some_and(|name| SegmentFile::parse(name).is_some())
    }

    /// Reads the name of a file.
    #[must_use]
    pub fn parse(name: &str) -> Option<(SegmentFile, Offset)> {
        SegmentFile::ALL.into_iter().find_map(|kind| {
            let digits = name.strip_suffix(kind.suffix())?;
            let valid = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
            Some((kind, Offset(digits.parse().ok().filter(|_| valid)?)))
        })
    }
}

/// What the name of a directory inside a data directory says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionDirName {
    /// A partition's log.
    Log(TopicPartition),
    /// A deleted partition that waits for its removal.
    Deleted,
    /// A partition that the metadata does not place here.
    Stray,
    /// A log on its way from another data directory.
    Future(TopicPartition),
}

impl PartitionDirName {
    /// Reads the name of a directory; `None` when it is not one of Kafka's.
    #[must_use]
    pub fn parse(name: &str) -> Option<PartitionDirName> {
        if let Some(rest) = name.strip_suffix("-delete") {
            unique(rest)?;
            return Some(PartitionDirName::Deleted);
        }
        if let Some(rest) = name.strip_suffix("-stray") {
            unique(rest)?;
            return Some(PartitionDirName::Stray);
        }
        if let Some(rest) = name.strip_suffix("-future") {
            return Some(PartitionDirName::Future(plain(unique(rest)?)?));
        }
        plain(name).map(PartitionDirName::Log)
    }

    /// Name of a partition's directory once it is deleted. Long topic names are cut.
    #[must_use]
    pub fn deleted(partition: &TopicPartition, unique: Uuid) -> String {
        with_suffix(partition, unique, "delete")
    }

    /// Name of a partition's directory while it is filled, to take the place of the one elsewhere.
    #[must_use]
    pub fn future(partition: &TopicPartition, unique: Uuid) -> String {
        with_suffix(partition, unique, "future")
    }

    /// Name of a partition's directory once it is found to be stray.
    #[must_use]
    pub fn stray(partition: &TopicPartition, unique: Uuid) -> String {
        with_suffix(partition, unique, "stray")
    }
}

fn with_suffix(partition: &TopicPartition, unique: Uuid, what: &str) -> String {
    let suffix = format!("-{}.{}-{what}", partition.partition, unique.to_hex());
    // Topic names are ASCII, so that every cut is a legal one.
    let kept = partition.topic.len().min(NAME_LEN_MAX - suffix.len());
    format!("{}{suffix}", &partition.topic[..kept])
}

/// Splits the unique part off: `topic-0.<32 hex digits>`.
fn unique(name: &str) -> Option<&str> {
    let (rest, unique) = name.rsplit_once('.')?;
    let valid = unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then_some(rest)
}

fn plain(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if topic.is_empty() || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let partition = PartitionId(partition.parse().ok()?);
    Some(TopicPartition { topic: TopicName::from(topic), partition })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition: PartitionId(7) }
    }

    #[test]
    fn segment_files() {
        assert_eq!(SegmentFile::Log.name(Offset(42)), "00000000000000000042.log");
        let parsed = SegmentFile::parse("00000000000000000042.timeindex");
        assert_eq!(parsed, Some((SegmentFile::TimeIndex, Offset(42))));
        let deleted = SegmentFile::deleted(Path::new("/d/00000000000000000042.log"));
        assert_eq!(deleted, Path::new("/d/00000000000000000042.log.deleted"));
        assert!(SegmentFile::is_deleted("00000000000000000042.log.deleted"));
        assert!(!SegmentFile::is_deleted("00000000000000000042.log"));
        assert!(!SegmentFile::is_deleted("notes.deleted"));
        let swap = SegmentFile::Index.name_at(Offset(42), SegmentStage::Swap);
        assert_eq!(swap, "00000000000000000042.index.swap");
        let parsed = SegmentFile::parse_staged(&swap);
        assert_eq!(parsed, Some((SegmentFile::Index, Offset(42), SegmentStage::Swap)));
        assert_eq!(SegmentFile::parse_staged("00000000000000000042.index"), None);
        assert_eq!(SegmentFile::parse(&swap), None);
        for name in ["42.log", "0000000000000000004x.log", "00000000000000000042.log.deleted", ""] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directories() {
        let check = |name: &str, expected: Option<PartitionDirName>| {
            assert_eq!(PartitionDirName::parse(name), expected, "{name}");
        };
        check("a-b.c-7", Some(PartitionDirName::Log(partition("a-b.c"))));
        check("a", None);
        check("-7", None);
        check("a--7", Some(PartitionDirName::Log(partition("a-"))));
        check("a-x", None);
        check("a-99999999999", None);
        let id = Uuid([0xab; 16]);
        check(&PartitionDirName::deleted(&partition("t"), id), Some(PartitionDirName::Deleted));
        check(&PartitionDirName::stray(&partition("t"), id), Some(PartitionDirName::Stray));
        check(
            &format!("t-7.{}-future", id.to_hex()),
            Some(PartitionDirName::Future(partition("t"))),
        );
        let long = "x".repeat(249);
        assert_eq!(PartitionDirName::deleted(&partition(&long), id).len(), 255);
    }
}
