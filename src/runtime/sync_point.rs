//! The table of fsyncs.
//!
//! Each fsync and directory fsync of the product has a name here and a reason. The simulated disk
//! can ignore single ones; the simulation must then find what is lost. So an fsync that nothing
//! needs is noticed as well: no seed finds its mutant. A real disk ignores none.

/// Declares the enum and its names.
macro_rules! sync_points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A place where bytes or a directory entry are made durable.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum SyncPoint { $($(#[$doc])* $variant,)* }

        impl SyncPoint {
            /// Every sync point.
            pub const ALL: &'static [SyncPoint] = &[$(SyncPoint::$variant,)*];

            /// The name on the command line of the simulation.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(SyncPoint::$variant => $name,)* }
            }

            /// The sync point with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<SyncPoint> {
                match name { $($name => Some(SyncPoint::$variant),)* _ => None }
            }
        }
    };
}

sync_points! {
    /// The entry of the data directory itself, when it was created.
    DataDir = "data-dir";
    /// `meta.properties` before its rename: an empty one makes the directory unreadable.
    MetaPropertiesFile = "meta-properties-file";
    /// `bootstrap.checkpoint` before its rename.
    BootstrapFile = "bootstrap-file";
    /// The 0-0 checkpoint that a directory is formatted with, before its rename.
    SnapshotFile = "snapshot-file";
    /// The entries that must exist before `meta.properties` calls the directory formatted.
    FormatDir = "format-dir";
    /// The entries inside `__cluster_metadata-0` that must exist before the same moment.
    FormatMetadataDir = "format-metadata-dir";
    /// `quorum-state` before its rename: a voter must not forget its epoch or its vote.
    QuorumStateFile = "quorum-state-file";
    /// The entry of `quorum-state`.
    QuorumStateDir = "quorum-state-dir";
    /// Records of the metadata log, before they count towards the quorum's high watermark.
    MetadataLog = "metadata-log";
    /// Entries of new segments of the metadata log.
    MetadataSegmentDir = "metadata-segment-dir";
    /// A snapshot of the metadata log before its rename: the log in front of it may go then.
    MetadataSnapshotFile = "metadata-snapshot-file";
    /// The entry of a snapshot of the metadata log, for the same reason.
    MetadataSnapshotDir = "metadata-snapshot-dir";
    /// The removal of the metadata log's oldest segment, before the next one goes: a log with a
    /// gap in it would lose what is behind the gap.
    MetadataTrimDir = "metadata-trim-dir";
    /// The entry of a new partition directory, and of the recovery points without an older log of
    /// its name.
    PartitionDir = "partition-dir";
    /// The names of a log that has moved: it has its own in the new directory, and none in the old
    /// one, before anything counts that only the new one has.
    MovedDir = "moved-dir";
    /// `partition.metadata`: without its topic id a directory is stray after a restart.
    PartitionMetadataFile = "partition-metadata-file";
    /// Records of a partition's log, before the recovery point or a flushed vote passes them.
    SegmentData = "segment-data";
    /// Entries of new segments of a partition's log, of its first one, of `partition.metadata` and
    /// of `leader-epoch-checkpoint`.
    SegmentDir = "segment-dir";
    /// Indexes of segments that the recovery point has passed: they are not rebuilt.
    SegmentIndexes = "segment-indexes";
    /// The files of a segment that compaction wrote, before they take the place of others.
    CleanedSegment = "cleaned-segment";
    /// The entries of a compacted segment under the names that a start completes, before what it
    /// was made of goes.
    CleanedDir = "cleaned-dir";
    /// The removal of what a compacted segment was made of, before it has its last name: else both
    /// would be there.
    ReplacedDir = "replaced-dir";
    /// The entry of `cleaner-offset-checkpoint` when it names a log for the first time, before that
    /// is compacted: it may have gaps from then on, whatever its configs will say.
    CleanerDir = "cleaner-dir";
    /// `leader-epoch-checkpoint` before its rename.
    LeaderEpochFile = "leader-epoch-file";
    /// Offset checkpoints before their rename: a torn one fails the whole directory.
    OffsetCheckpointFile = "offset-checkpoint-file";
    /// The entry of `log-start-offset-checkpoint`: before segments are deleted, else the start of a
    /// log could go back; and without an older log of its name before a new one is created.
    LogStartDir = "log-start-dir";
    /// What this start or one that died found or left in the data directory: the entry of
    /// `meta.properties` (a used directory without it looks foreign), and the removal of
    /// `.kafka_cleanshutdown` (if it came back, the next recovery would be skipped).
    StartDir = "start-dir";
}
