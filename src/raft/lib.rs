//! KRaft: the metadata quorum's protocol as a pure state machine, and the bytes of its files.
//!
//! [`core`] decides: who may vote for whom, who leads, what is committed (KIP-595, KIP-853 as far
//! as voters come from the log, KIP-996). [`quorum_state`] and [`snapshot`] read and write Kafka's
//! files as bytes. [`driver`] performs what the core decides, on the node's disk.
//!
//! Deliberately absent: sockets, which are behind the driver's transport, and the RPCs that add,
//! remove and update voters.

pub mod core;
pub mod driver;
pub mod quorum_state;
pub mod records;
pub mod snapshot;
