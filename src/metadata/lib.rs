//! The cluster's metadata: what the log says, and who decides what it says next.
//!
//! ```text
//!  committed batches -> Loader -> (Image, Delta) -> publishers and handlers
//!  requests -> Controller -> records and a reply -> appended, committed, answered
//!                  ^ replays what it had appended, goes back to the committed image when it fails
//! ```
//! Loader, image and controller are pure cores: time, randomness and offsets are arguments, nothing
//! is read or written. [`active`] is the shell that feeds them.
//!
//! Deliberately absent: how records reach the log (`raft`), who may do what (`security`), the
//! forms of requests and answers on the wire (`server`).

pub mod active;
pub mod controller;
mod format_levels;
pub mod image;
mod loader;
#[cfg(test)]
mod testdata;
mod versions;

pub use active::{ControllerError, ControllerHandle, ImageCell};
pub use format_levels::{FormatLevels, LevelError, QuorumKind};
pub use loader::{LoadError, Loader, LogBatch};
pub use versions::{
    ELIGIBLE_LEADER_REPLICAS, FEATURES, Feature, GROUP_VERSION, KRAFT_VERSION, METADATA_VERSION,
    MetadataVersion, TRANSACTION_VERSION, VersionedRecord, first_version, record_version,
    shown_features,
};
