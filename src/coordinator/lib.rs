//! Coordination of clients: groups with their offsets, transactions, and the giving out of producer
//! ids.
//!
//! ```text
//!   handler ──> Groups, Transactions (partition by name) ──> shard: lock, pure core, effects
//!                                                              │ records, batched
//!   answer <── committed: high watermark has passed <──────────┴─> log port
//! ```
//! A shard is a partition of `__consumer_offsets` or `__transaction_state` that this node leads.
//! Its core ([`group`], [`txn`]) is pure; the [`runtime`] holds its lock for CPU work only, appends
//! outside of it, and tells answers when what they say is committed.
//!
//! Deliberately absent so far: groups of KIP-932 and KIP-1071 (those of a directory that
//! Kafka wrote are kept).

pub mod group;
mod names;
mod producer_ids;
pub mod runtime;
mod shard_core;
mod timeline;
mod timers;
pub mod txn;

pub use producer_ids::{AllocateBlock, IdBlock, ProducerIds};
pub use runtime::{GroupOffset, Groups, Transactions};
