//! The shell around loader and controller: one task that follows the log, and, while this node
//! leads the quorum, is the one who writes it.
//!
//! ```text
//!   QuorumEvent ──> loader ──> (image, delta) ──> publisher
//!   ControllerHandle ──Command──> controller ──records──> quorum
//!                     └── reply waits until its records are committed (or published) ──┘
//! ```
//! A reply waits for everything that was appended before it, refusals included: they may rest on
//! records that are not committed yet. Operations of users wait until the node has published what
//! they did, so that a topic can be used when its creation is answered.

mod handle;
mod image_cell;
mod run;
mod snapshots;

pub use handle::{ControllerError, ControllerHandle};
pub use image_cell::ImageCell;
pub use run::{MetadataSetup, Published, start};
pub use snapshots::SnapshotPolicy;
