//! Replicas that move between the log directories of their node, under everything else.

use std::io;

use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::client::Client;
use super::model::{Topic, TopicFate};
use super::wire::code;

/// An operator who moves replicas.
pub struct Moves {
    dirs: Vec<String>,
}

impl Moves {
    /// Between so many directories.
    pub fn between(dirs: u64) -> Moves {
        let numbers = (1..=dirs).map(|number| match number {
            1 => "/var/data".to_owned(),
            number => format!("/var/data{number}"),
        });
        Moves { dirs: numbers.collect() }
    }

    /// Asks for a partition of a topic to be in some directory.
    pub async fn ask(
        &self,
        client: &Client,
        connection: &mut Connection,
        topic: &Topic,
    ) -> io::Result<()> {
        let dice = &client.dice;
        let partition = dice.below(topic.partitions.unsigned_abs().into()) as i32;
        let name = TopicName(StrBytes::from_string(topic.name.clone()));
        let moved =
            AlterReplicaLogDirTopic::default().with_name(name).with_partitions(vec![partition]);
        let dir = AlterReplicaLogDir::default()
            .with_path(StrBytes::from_string(dice.pick(&self.dirs)))
            .with_topics(vec![moved]);
        let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
        let version = dice.between(1, 2) as i16;
        let call = connection.call::<AlterReplicaLogDirsRequest>(version, &request);
        let response = client.answer(call).await?;
        let told = response.results.first().and_then(|topic| topic.partitions.first());
        match told.map(|told| told.error_code) {
            Some(code::NONE) => client.findings.count(|stats| stats.moves += 1),
            Some(code::KAFKA_STORAGE_ERROR | code::REPLICA_NOT_AVAILABLE) => {}
            Some(code::UNKNOWN_TOPIC_OR_PARTITION)
                if client.model().topic(topic.id).map(|now| now.fate)
                    != Some(TopicFate::Exists) => {}
            other => {
                let what = format!("{}-{partition} is to move: {other:?}", topic.name);
                client.findings.violated(what);
            }
        }
        Ok(())
    }
}
