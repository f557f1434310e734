//! Tests of the built binary, from outside: processes, signals, files and sockets.
//!
//! One module for each capability. Every test has a node of its own, with its own directory and
//! ports, and waits on conditions, never for a time. With `OTTLA_IT_BROKER=HOST:PORT` the tests
//! that only talk to a broker talk to that one, so that Apache Kafka can check what they expect.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests live in the real world and end at the first surprise"
)]

mod apis;
mod authorizer;
mod client;
mod compaction;
mod configs;
mod crash;
mod damage;
mod delete_records;
mod describe_topics;
mod dirs;
mod dump_log;
mod full_disk;
mod groups;
mod hostile;
mod limits;
mod log_dirs;
mod many;
mod metrics;
mod moves;
mod node;
mod oracle;
mod partitions;
mod pitfalls;
mod produce_fetch;
mod requests;
mod retention;
mod snapshots;
mod start;
mod storage;
mod transactions;
mod validation;
