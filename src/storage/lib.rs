//! Kafka's files: the log of a partition, its indexes and checkpoints, and the data directory.
//!
//! Everything here is a plain call on `runtime`'s disk. A [`Log`] is owned by one partition, whose
//! lock is held around each call; nothing here waits, locks or spawns. What may stall is handed
//! out as a job to be run elsewhere ([`FlushJob`]).
//!
//! Formats: `kafka-internals` 3. Deliberately absent so far: compaction, beginning
//! transactions (those that Kafka wrote are understood).

mod boot_note;
mod checkpoint;
mod clean_shutdown;
mod data_dir;
mod error;
mod health;
mod leader_epochs;
mod log;
mod log_dirs;
mod meta_properties;
mod names;
mod partition_metadata;
mod producer_state;
mod recovery_points;
mod reserve;

pub use boot_note::BootNote;
pub use checkpoint::{Checkpoint, OffsetCheckpoint};
pub use clean_shutdown::CleanShutdown;
pub use data_dir::{DataDir, DirError, PartitionDir};
pub use error::{AppendRejection, Damage, LogError};
pub use health::DirHealth;
pub use leader_epochs::LeaderEpochs;
pub use log::{
    AppendInfo, AppendPlan, BatchLocation, Break, CleanJob, CleanLimits, CleanStats, CleanStep,
    Cleanable, CleanedGroup, CopySource, Examined, Extent, FlushJob, FoundBatch, IncomingBatch,
    Kept, Left, Log, LogOptions, Origin, Progress, ReadLimit, Recovered, Shutdown, SyncPoints,
    TrimJob, continue_at, each_sound_behind, examine, take_out, take_out_segment,
};
pub use log_dirs::{LastStop, LogDir, LogDirs};
pub use meta_properties::MetaProperties;
pub use names::{PartitionDirName, SegmentFile};
pub use partition_metadata::PartitionMetadata;
pub use producer_state::{
    ActiveProducer, EndedTransaction, FirstBatch, LastRecord, Marker, MarkerVerdict, ProducerState,
    ProducerVerdict, RefusedFirsts, TransactionEnd, Verification, VerificationGuard, Verifications,
};
pub use recovery_points::RecoveryPoints;
pub use reserve::{RESERVE_BYTES, Reserve};
