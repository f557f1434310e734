//! Configuration: one table of keys, where values come from, and what they mean.
//!
//! A key is in the table when something reads it; a test holds the two together. Names, defaults
//! and ranges are Kafka's; keys of our own begin with `ottla.`. `docs/configs.md` is written from
//! the table. Values come from Kafka's `server.properties` and from `--override`; without a file
//! an embedded default describes a useful single node.
//!
//! Values that clients set are judged in Kafka's words (`judge.rs`); which of the node's keys
//! change while it runs, `dynamic.rs` says.
//!
//! Deliberately absent: YAML and environment sources.

mod cleaner;
mod client_metrics;
mod docs;
mod dynamic;
mod group;
mod groups;
mod judge;
mod key;
mod limits;
mod listener;
mod metadata_log;
mod metrics;
mod node;
mod produce;
mod properties;
mod sessions;
mod table;
mod topic;
mod transactions;
mod unbuilt;
mod values;
mod verification;

pub use cleaner::CleanerConfig;
pub use client_metrics::{CLIENT_METRICS_KEYS, ClientMetricsError, check_client_metrics};
pub use docs::reference_page;
pub use dynamic::{BrokerConfigError, broker_key, check_broker_config, is_dynamic};
pub use group::{GROUP_KEYS, GroupKey, check_group_configs};
pub use groups::{GroupsConfig, TOPIC_REPLICAS_DEFAULT};
pub use judge::{ValueType, elements};
pub use key::{ConfigKey, KeptKey, Kind, TopicKey};
pub use limits::{ConnectionLimits, ListenerLimits};
pub use listener::{Endpoint, Listener, SecurityProtocol};
pub use metadata_log::MetadataLogConfig;
pub use metrics::MetricsConfig;
pub use node::{NodeConfig, QuorumTimeouts};
pub use produce::{ProduceConfig, ProduceValidation};
pub use properties::{Properties, PropertyError};
pub use sessions::FetchSessionLimits;
pub use table::{KEPT_TOPIC_KEYS, TOPIC_KEYS, broker_keys};
pub use topic::{
    CompressionConfig, CompressionType, TimestampSource, TopicConfig, check_topic_config,
    check_topic_configs_together,
};
pub use transactions::{TRANSACTIONS_IN_SYNC_DEFAULT, TransactionsConfig};
pub use values::{ConfigError, Values};
pub use verification::VerificationConfig;
