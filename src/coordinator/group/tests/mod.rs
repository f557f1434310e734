//! Scripts that teach the protocol, what every request does in every state, and random runs.

mod cluster;
mod harness;
mod random;
mod random_consumers;
mod random_offsets;
mod render;
mod scripts;
mod transitions;

pub(in crate::group) use cluster::TestCluster;
