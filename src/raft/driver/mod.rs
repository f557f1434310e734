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
//! An error of the disk fences the directory, and the process ends. Snapshots of a leader are not
//! fetched yet: a quorum of one has nobody to fetch from.

mod events;
mod handle;
mod metadata_log;
mod restore;
mod run;

pub use events::{CommittedBatch, QuorumEvent};
pub use handle::{Answered, QuorumClosed, QuorumHandle, Replies, Transport};
pub use restore::{QuorumError, QuorumSetup};
pub use run::start;
