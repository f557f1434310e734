//! Configuration: one table of keys, where values come from, and what they mean.
//!
//! A key is in the table when something reads it; a test holds the two together. Names, defaults
//! and ranges are Kafka's; keys of our own begin with `ottla.`. `docs/configs.md` is written from
//! the table. Values come from Kafka's `server.properties` and from `--override`; without a file
//! an embedded default describes a useful single node.
//!
//! Deliberately absent: values that change while the node runs, YAML and environment sources.

mod docs;
mod key;
mod limits;
mod listener;
mod metadata_log;
mod node;
mod produce;
mod properties;
mod table;
mod topic;
mod values;

pub use docs::reference_page;
pub use key::{ConfigKey, Kind, TopicKey};
pub use limits::{ConnectionLimits, ListenerLimits};
pub use listener::{Endpoint, Listener, SecurityProtocol};
pub use metadata_log::MetadataLogConfig;
pub use node::{NodeConfig, QuorumTimeouts};
pub use produce::{ProduceConfig, ProduceValidation};
pub use properties::{Properties, PropertyError};
pub use table::{TOPIC_KEYS, broker_keys};
pub use topic::{
    CompressionConfig, CompressionType, TimestampSource, TopicConfig, check_topic_config,
};
pub use values::{ConfigError, Values};
