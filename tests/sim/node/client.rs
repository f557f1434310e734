//! The clients of this workload.

use super::model::Model;
pub use crate::client::Phase;

/// A client, and what all were promised.
pub type Client = crate::client::Client<Model>;
