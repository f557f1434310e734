//! Topics that coordinators keep their state in: created when somebody first asks for one.
//!
//! Versions: those of FindCoordinator (10).
//!
//! Errors: none of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_config::{
    GroupsConfig, TOPIC_REPLICAS_DEFAULT, TRANSACTIONS_IN_SYNC_DEFAULT, TransactionsConfig,
};
use ottla_coordinator::runtime::{GROUPS_TOPIC, TRANSACTIONS_TOPIC};
use ottla_metadata::ControllerHandle;
use ottla_metadata::controller::{CreateTopics, NewTopic};
use ottla_runtime::{Plane, Runtime};

/// A coordinator's topic.
pub struct InternalTopic {
    /// Its name.
    pub name: &'static str,
    /// The topic in a cluster of so many brokers.
    topic: Box<dyn Fn(i16) -> NewTopic + Send + Sync>,
    /// Whether the controller has been asked and has not answered.
    creating: Arc<AtomicBool>,
}

impl InternalTopic {
    /// The topic of groups, as it is configured.
    #[must_use]
    pub fn of_groups(config: GroupsConfig) -> InternalTopic {
        InternalTopic::new(GROUPS_TOPIC, move |alive| groups_topic(&config, alive))
    }

    /// The topic of transactions, as it is configured.
    #[must_use]
    pub fn of_transactions(config: TransactionsConfig) -> InternalTopic {
        InternalTopic::new(TRANSACTIONS_TOPIC, move |alive| transactions_topic(&config, alive))
    }

    fn new(
        name: &'static str,
        topic: impl Fn(i16) -> NewTopic + Send + Sync + 'static,
    ) -> InternalTopic {
        InternalTopic { name, topic: Box::new(topic), creating: Arc::default() }
    }

    /// Has the topic created; returns at once.
    pub fn create(&self, runtime: &Runtime, controller: &ControllerHandle, alive: usize) {
        if self.creating.swap(true, Ordering::Relaxed) {
            return;
        }
        let (controller, creating) = (controller.clone(), self.creating.clone());
        let (name, topic) = (self.name, self.of(alive));
        let request = CreateTopics { topics: vec![topic], validate_only: false };
        runtime.spawn(Plane::Control, "create a topic of coordinators", async move {
            match controller.create_topics(request).await {
                Ok(outcomes) => {
                    for error in outcomes.into_iter().filter_map(|outcome| outcome.result.err()) {
                        tracing::warn!(%error, name, "cannot create a topic of coordinators");
                    }
                }
                Err(error) => tracing::warn!(%error, name, "cannot create a topic of coordinators"),
            }
            creating.store(false, Ordering::Relaxed);
        });
    }

    fn of(&self, alive: usize) -> NewTopic {
        (self.topic)(i16::try_from(alive.max(1)).unwrap_or(i16::MAX))
    }
}

fn config(name: &str, value: impl ToString) -> (String, Option<String>) {
    (name.to_owned(), Some(value.to_string()))
}

fn groups_topic(of: &GroupsConfig, alive: i16) -> NewTopic {
    NewTopic {
        name: GROUPS_TOPIC.to_owned(),
        partitions: of.topic_partitions,
        replication_factor: of.topic_replicas.unwrap_or(TOPIC_REPLICAS_DEFAULT.min(alive)),
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", "compact"),
            config("compression.type", "producer"),
            config("segment.bytes", of.topic_segment_bytes),
        ],
    }
}

fn transactions_topic(of: &TransactionsConfig, alive: i16) -> NewTopic {
    let replicas = of.topic_replicas.unwrap_or(TOPIC_REPLICAS_DEFAULT.min(alive));
    let in_sync_min = TRANSACTIONS_IN_SYNC_DEFAULT.min(i32::from(replicas));
    NewTopic {
        name: TRANSACTIONS_TOPIC.to_owned(),
        partitions: of.topic_partitions,
        replication_factor: replicas,
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", "compact"),
            config("compression.type", "uncompressed"),
            config("min.insync.replicas", of.topic_in_sync_min.unwrap_or(in_sync_min)),
            config("segment.bytes", of.topic_segment_bytes),
            config("unclean.leader.election.enable", "false"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::NodeConfig;

    use super::*;

    fn topics(keys: &[(&str, &str)]) -> [InternalTopic; 2] {
        let keys: Vec<_> =
            keys.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let config = NodeConfig::new(None, &keys).expect("the keys are good");
        [
            InternalTopic::of_groups(config.groups),
            InternalTopic::of_transactions(config.transactions),
        ]
    }

    fn configs(topic: NewTopic) -> Vec<String> {
        let all = topic.configs.into_iter();
        all.map(|(name, value)| format!("{name}={}", value.expect("it is set"))).collect()
    }

    #[test]
    fn topics_have_kafkas_settings() {
        let [groups, transactions] = topics(&[]);
        for topic in [&groups, &transactions] {
            let made = topic.of(1);
            assert_eq!((made.partitions, made.replication_factor), (50, 1), "of one broker");
            assert_eq!(topic.of(5).replication_factor, 3, "of several");
        }
        assert_eq!(
            configs(groups.of(1)),
            ["cleanup.policy=compact", "compression.type=producer", "segment.bytes=104857600"]
        );
        let of_transactions = |in_sync_min| {
            [
                "cleanup.policy=compact".to_owned(),
                "compression.type=uncompressed".to_owned(),
                format!("min.insync.replicas={in_sync_min}"),
                "segment.bytes=104857600".to_owned(),
                "unclean.leader.election.enable=false".to_owned(),
            ]
        };
        assert_eq!(configs(transactions.of(1)), of_transactions(1));
        assert_eq!(configs(transactions.of(3)), of_transactions(2));
    }

    #[test]
    fn what_is_given_is_as_it_is_given() {
        let [groups, transactions] = topics(&[
            ("offsets.topic.replication.factor", "2"),
            ("transaction.state.log.replication.factor", "2"),
            ("transaction.state.log.min.isr", "3"),
            ("transaction.state.log.num.partitions", "7"),
        ]);
        assert_eq!(groups.of(1).replication_factor, 2, "though there is one broker");
        let made = transactions.of(1);
        assert_eq!((made.partitions, made.replication_factor), (7, 2));
        assert!(configs(made).contains(&"min.insync.replicas=3".to_owned()));
    }
}
