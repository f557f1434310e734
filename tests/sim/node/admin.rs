//! An operator who creates and deletes topics, and uses names again.

use std::io;

use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use ottla_test_client::Connection;

use super::client::{Client, Phase};
use super::model::{Topic, TopicFate};
use super::wire::{self, code};

/// Topics at a time.
const TOPICS_MAX: usize = 5;
/// The same of an operator who does little.
const FEW_TOPICS: usize = 2;

/// An operator, over all connections.
pub struct Admin {
    client: Client,
    /// Names that certainly nobody has.
    free_names: Vec<String>,
    next_name: u32,
    /// Topics of which nobody knows whether they are deleted.
    deleting: Vec<Topic>,
    /// The first topic stays.
    has_stable: bool,
    does_little: bool,
}

impl Admin {
    pub fn new(client: Client, does_little: bool) -> Admin {
        let (free_names, deleting) = (Vec::new(), Vec::new());
        Admin { client, free_names, next_name: 0, deleting, has_stable: false, does_little }
    }

    /// Works until the world ends.
    pub async fn run(mut self) {
        while !self.is_done() {
            let Some(mut connection) = self.client.connect().await else { return };
            while !self.is_done() && self.step(&mut connection).await.is_ok() {
                self.client.pause(0, 60).await;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.client.is_over() || *self.client.phase.borrow() != Phase::Load
    }

    async fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        if let Some(topic) = self.deleting.pop() {
            return self.delete(connection, topic).await;
        }
        let topics = self.client.model().existing();
        let deletable: Vec<Topic> = topics.iter().filter(|topic| !topic.stable).cloned().collect();
        let dice = self.client.dice.clone();
        let topics_max = if self.does_little { FEW_TOPICS } else { TOPICS_MAX };
        if !self.has_stable || (topics.len() < topics_max && dice.chance(40)) {
            self.create(connection).await
        } else if !deletable.is_empty() && dice.chance(if self.does_little { 2 } else { 30 }) {
            self.delete(connection, dice.pick(&deletable)).await
        } else {
            Ok(())
        }
    }

    async fn create(&mut self, connection: &mut Connection) -> io::Result<()> {
        let name = self.free_names.pop().unwrap_or_else(|| {
            self.next_name += 1;
            format!("t{}", self.next_name)
        });
        let partitions = self.client.dice.between(1, 3) as i32;
        // Until the answer is there, the topic may exist or not, and so it stays without one.
        self.client.model().creation_in_doubt(&name);
        let request = wire::create(&name, partitions);
        let call = connection.call::<CreateTopicsRequest>(7, &request);
        let response = self.client.answer(call).await?;
        let result = response.topics.first();
        match result.map(|topic| (topic.error_code, topic.topic_id)) {
            Some((code::NONE, id)) => {
                let stable = !std::mem::replace(&mut self.has_stable, true);
                self.client.findings.count(|stats| stats.topics += 1);
                let fate = TopicFate::Exists;
                let topic = Topic { id, name, partitions, fate, stable };
                self.client.check(self.client.model().created(topic));
            }
            Some((code::NOT_CONTROLLER | code::REQUEST_TIMED_OUT, _)) => {}
            // No broker is there to hold it: the only one is about to stop.
            Some((code::INVALID_REPLICATION_FACTOR, _)) => {}
            other => self.client.findings.violated(format!("creating {name}: {other:?}")),
        }
        Ok(())
    }

    async fn delete(&mut self, connection: &mut Connection, topic: Topic) -> io::Result<()> {
        self.client.model().set_fate(topic.id, TopicFate::Leaving);
        let request = wire::delete(&topic);
        let call = connection.call::<DeleteTopicsRequest>(6, &request);
        let response = match self.client.answer(call).await {
            Ok(response) => response,
            Err(error) => {
                self.deleting.push(topic);
                return Err(error);
            }
        };
        match response.responses.first().map(|result| result.error_code) {
            Some(code::NONE | code::UNKNOWN_TOPIC_ID) => {
                self.client.model().set_fate(topic.id, TopicFate::Deleted);
                self.client.findings.count(|stats| stats.topics += 1);
                self.free_names.push(topic.name);
            }
            Some(code::NOT_CONTROLLER | code::REQUEST_TIMED_OUT) => self.deleting.push(topic),
            other => {
                self.client.findings.violated(format!("deleting {}: {other:?}", topic.name));
            }
        }
        Ok(())
    }
}
