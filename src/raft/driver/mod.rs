//! The shell around the core: one task that owns the core, the metadata log and `quorum-state`.
//!
//! ```text
//!   handlers, transport ──Command──> driver ── step ──> effects: files, answers, requests
//!   controller ──propose──────────────┘   └──QuorumEvent──> the one who follows the log
//! ```
//! The loop takes what is ready, steps the core for each, then performs all effects in order.
//! Writes of `quorum-state` are waited for on the spot, because nothing behind them may happen
//! before; flushes of the log run beside, one at a time, so that records that arrive meanwhile
//! share the next one.
//!
//! Snapshots are asked for by the one who follows the log, and written beside; the log is cut
//! below them here (`snapshots.rs` says when). One of the leader's, where its log begins behind the
//! end of this one, is installed on the spot: nothing may happen in between.
//!
//! An error of the disk fences the directory, and the process ends.

mod doubt;
mod durable_point;
mod events;
mod handle;
mod metadata_log;
mod restore;
mod run;
mod snapshots;
mod snapshotting;

pub use events::{CommittedBatch, QuorumEvent};
pub use handle::{
    Answered, QuorumClosed, QuorumDescription, QuorumHandle, Replies, SnapshotRecords,
    SnapshotRequest, Transport,
};
pub use restore::{QuorumError, QuorumSetup};
pub use run::start;
pub use snapshots::{SnapshotRetention, newest_snapshot, newest_snapshot_bytes};
