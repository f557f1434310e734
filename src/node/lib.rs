//! A whole node: what is wired to what, and in which order it starts and stops.
//!
//! Start: lock and format the directory, take the ports, open the metadata log, lead the quorum of
//! one, register, open the partitions, be unfenced, then let clients connect: an open port is a
//! ready broker, as with Kafka. Stop: be let go by the controller, close the partitions, leave the
//! quorum, mark the directory as cleanly closed.
//!
//! One process is one node, but nothing here is global: a simulation runs many.

mod assignments;
mod broker;
mod coordinator_logs;
mod descriptors;
mod dir_watch;
mod dirs;
mod features;
mod format;
mod group_cluster;
mod listeners;
mod metrics;
mod parts;
mod protections;
mod publisher;
mod settings;
mod start;
mod start_error;
pub mod tool;
mod topic_configs;
mod transactions;

pub use format::FormatError;
pub use parts::{LogsHook, MarkersHook, NodeParts};
pub use protections::Unprotected;
pub use start::{Stopped, run};
pub use start_error::StartError;
