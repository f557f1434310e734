//! Kafka's bytes: frames and headers, record batches, compression, messages and record schemas.
//!
//! Everything that arrives from outside is read here, and nothing here trusts it: a length is
//! compared with what is left before anything is allocated, decompression has a limit, and every
//! error is a value. Most requests and answers are those of the `kafka-protocol` crate, behind one
//! door ([`messages`]). Written by hand are the prefix of a request (the crate panics on short
//! frames), record batches (its record layer does not keep bytes), Produce requests and Fetch
//! answers (the data path), and what the crate lacks: the records of the metadata log and of the
//! coordinators' logs.
//!
//! No I/O, no clock. Uses `types` only.

mod api_key;
pub mod batch;
mod codec;
pub mod compression;
pub mod consumer_protocol;
pub mod control;
pub mod coordinator;
pub mod envelope;
pub mod fetch;
pub mod group_offsets;
pub mod json;
pub mod log_dirs;
mod message;
pub mod messages;
pub mod metadata;
pub mod produce;
mod request;
pub mod txn_markers;

pub use api_key::ApiKey;
pub use codec::{DecodeError, Decoded, Reader, Writer};
pub use message::{Field, Format, Message, UnknownTags};
pub use request::{RequestHeader, RequestPrefix};
