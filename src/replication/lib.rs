//! Partitions: who may append, what readers may see, and when a produce is acknowledged.
//!
//! A [`Partition`] holds its log and its core behind one plain mutex, held for CPU work and page
//! cache I/O only: never across an `await`, never during an fsync, never together with another
//! partition's. Wake-ups are collected under the lock and fired after it.
//!
//! ```text
//!   append ──> log ──> core: high watermark ──> acks that wait, fetches that wait
//!                └─ flush.messages reached ──> flush task: fsync without the lock ──> core
//! ```
//! A client's batch is first judged without the lock ([`validation`], [`Validator`]).
//!
//! [`Replicas`] is all partitions of the node: it opens and creates them as the metadata says,
//! and keeps their checkpoints.
//!
//! What clients read again and again is remembered in [`sessions`].
//!
//! Deliberately absent so far: followers, ISR changes.

mod acks;
mod cleaner;
mod core;
mod describe;
mod dir;
mod fetch_wait;
mod figures;
mod housekeeping;
mod load_error;
mod loading;
mod moves;
mod opening;
mod partition;
mod placement;
mod queue;
mod replicas;
mod request;
mod retention;
mod room;
pub mod sessions;
pub mod validation;
mod validator;

pub use core::LeaderCore;
pub use describe::{DescribedDir, DescribedLog};
pub use fetch_wait::{FetchWait, Watch};
pub use load_error::LoadError;
pub use partition::Partition;
pub use placement::{DirPlan, Placement, plan_dirs};
pub use replicas::{Replicas, ReplicasConfig};
pub use request::{
    AckWait, Acks, Appended, FetchOutcome, FetchSpec, Isolation, Leadership, PartitionError,
    PartitionOffsets, Transactional,
};
pub use validator::{Allowance, Candidate, Validator};

pub use retention::LowWatermark;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_dirs;
#[cfg(test)]
mod tests_room;
#[cfg(test)]
mod tests_transactions;
