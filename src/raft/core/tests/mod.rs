//! Tests of the core: scripts that teach the protocol, and a model test that tries to break it.
//!
//! Both drive a [`cluster::Cluster`] of cores with simulated disks. A script delivers each message
//! by hand and compares what happens with what it says; the model lets a seed decide, and
//! [`ledger::Ledger`] checks what must hold across the whole cluster.

mod chaos;
mod cluster;
mod disk;
mod edges;
mod ledger;
mod model;
mod mutants;
mod node;
mod script;
mod show;
mod wire;
