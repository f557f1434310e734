//! Coordination of clients: so far, the giving out of producer ids.
//!
//! Groups, offsets and transactions come here, on one runtime.

mod producer_ids;

pub use producer_ids::{AllocateBlock, IdBlock, ProducerIds};
