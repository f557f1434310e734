//! What the parts of a node are told of its configuration.

use std::time::Duration;

use ottla_config::{FetchSessionLimits, NodeConfig};
use ottla_metadata::controller::{ConfigSource, Settings, TopicDefault};
use ottla_protocol::control::{ControlRecord, VoterEndpoint};
use ottla_raft::core::{Timeouts, VoterHistory, VoterSet};
use ottla_raft::driver::{QuorumSetup, SnapshotRetention};
use ottla_replication::ReplicasConfig;
use ottla_replication::sessions::{FetchSessions, SessionLimits};
use ottla_storage::{DirError, LastStop, LogDirs, LogOptions, SyncPoints};
use ottla_types::{Offset, ReplicaKey, Uuid};

use crate::format::only_voter;

/// The quorum of one, whose voter listens at `endpoints`.
///
/// # Errors
/// When the file of recovery points cannot be read.
pub(crate) fn quorum(
    config: &NodeConfig,
    dirs: &LogDirs,
    cluster_id: &str,
    endpoints: Vec<VoterEndpoint>,
) -> Result<QuorumSetup, DirError> {
    let metadata = dirs.metadata();
    let points = metadata.data().recovery_point_file().clone();
    let durable = points.metadata();
    let durable =
        durable.map_err(|source| DirError::Io { path: points.path().to_owned(), source })?;
    let me = ReplicaKey { id: config.node_id, directory_id: metadata.id() };
    let mut voters = VoterHistory::new(VoterSet::default());
    if config.static_voters {
        // A static voter is known by its id alone.
        let voter = only_voter(me.id, Uuid::ZERO, &endpoints);
        voters.record(Offset::ZERO, &ControlRecord::Voters(voter));
    }
    let mut log = config.topic_defaults.clone();
    log.segment_bytes = config.metadata_log.segment_bytes;
    log.segment_age_max = config.metadata_log.segment_age_max;
    log.flush_messages = i64::MAX;
    // As with Kafka these are for topics alone.
    log.preallocate = false;
    log.segment_jitter = Duration::ZERO;
    Ok(QuorumSetup {
        dir: metadata.data().metadata_dir(),
        cluster_id: cluster_id.to_owned(),
        me,
        listeners: endpoints,
        alone: true,
        static_voters: voters.voters().clone(),
        timeouts: Timeouts {
            election: config.quorum.election,
            fetch: config.quorum.fetch,
            election_backoff_max: config.quorum.election_backoff_max,
            request: config.quorum.request,
            ..Timeouts::default()
        },
        log: LogOptions::new(log, SyncPoints::METADATA),
        retention: SnapshotRetention {
            bytes: config.metadata_log.retention_bytes,
            age: config.metadata_log.retention_age,
        },
        points,
        durable,
        in_order: metadata.last_stop() != LastStop::Unclean,
    })
}

/// What the controller goes by.
pub(crate) fn controller(config: &NodeConfig, cluster_id: &str) -> Settings {
    let min_insync_replicas = config.topic_defaults.min_insync_replicas;
    Settings {
        cluster_id: cluster_id.to_owned(),
        session_timeout: config.session_timeout,
        default_partitions: config.partitions_default,
        default_replication_factor: config.replication_factor_default,
        min_insync_replicas: i32::try_from(min_insync_replicas).unwrap_or(i32::MAX),
        unclean_leader_election: false,
        delete_topics: config.delete_topics,
        kraft_version: if config.static_voters { 0 } else { 1 },
        topic_defaults: topic_defaults(config),
    }
}

/// What the replicas go by.
pub(crate) fn replicas(config: &NodeConfig) -> ReplicasConfig {
    ReplicasConfig {
        recovery_point_interval: config.recovery_point_interval,
        retention_check_interval: config.retention_check_interval,
        high_watermark_interval: config.high_watermark_interval,
        producer_check_interval: config.producer_check_interval,
        producer_id_expiration: config.producer_id_expiration,
        recovery_threads: config.recovery_threads,
        move_bytes_per_second: config.move_bytes_per_second,
        cleaner: config.cleaner,
    }
}

/// What the creator of a topic is told about configs that the topic does not set.
fn topic_defaults(config: &NodeConfig) -> Vec<TopicDefault> {
    config
        .topic_default_values
        .iter()
        .map(|(name, value, is_given)| TopicDefault {
            name: (*name).to_owned(),
            value: value.clone(),
            source: if *is_given { ConfigSource::StaticBroker } else { ConfigSource::Default },
        })
        .collect()
}

/// What clients fetch again and again.
pub(crate) fn fetch_sessions(config: &NodeConfig) -> FetchSessions {
    let FetchSessionLimits { sessions_max, partitions_max } = config.fetch_sessions;
    FetchSessions::new(SessionLimits { sessions_max, partitions_max })
}
