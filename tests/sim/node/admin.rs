//! An operator who creates and deletes topics, uses names again, adds partitions, and deletes
//! records.

use std::io;

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
};
use ottla_test_client::Connection;

use super::client::{Client, Phase};
use super::configs::{self, Configs};
use super::model::{Topic, TopicFate};
use super::moves::Moves;
use super::plan::Plan;
use super::wire::{self, code};

/// Topics at a time.
const TOPICS_MAX: usize = 5;
/// The same of an operator who does little.
const FEW_TOPICS: usize = 2;
/// Partitions of a topic.
const PARTITIONS_MAX: i32 = 6;
/// Stands for the end in a request to delete records.
const HIGH_WATERMARK: i64 = -1;

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
    deletes_records: bool,
    /// Log directories that replicas are moved to and fro.
    moves: Option<Moves>,
    compacted_percent: u64,
    configs: Configs,
}

impl Admin {
    pub fn new(client: Client, plan: &Plan) -> Admin {
        Admin {
            client,
            free_names: Vec::new(),
            next_name: 0,
            deleting: Vec::new(),
            has_stable: false,
            does_little: plan.few_topics,
            deletes_records: plan.deletes_records,
            moves: plan.moves.then(|| Moves::between(plan.dirs)),
            compacted_percent: plan.compacted_percent,
            configs: Configs::default(),
        }
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
        if let Some(moves) = &self.moves
            && !topics.is_empty()
            && dice.chance(35)
        {
            return moves.ask(&self.client, connection, &dice.pick(&topics)).await;
        }
        let topics_max = if self.does_little { FEW_TOPICS } else { TOPICS_MAX };
        if !self.has_stable || (topics.len() < topics_max && dice.chance(40)) {
            self.create(connection).await
        } else if !deletable.is_empty() && dice.chance(if self.does_little { 2 } else { 30 }) {
            self.delete(connection, dice.pick(&deletable)).await
        } else {
            // By name: of a topic whose name nobody else gets.
            match topics.into_iter().find(|topic| topic.stable) {
                Some(topic) if self.deletes_records && dice.chance(30) => {
                    self.delete_records(connection, &topic).await
                }
                Some(topic) if !self.does_little && dice.chance(15) => {
                    self.grow(connection, &topic).await
                }
                Some(topic) if topic.compacted && dice.chance(10) => {
                    configs::set_policy(&self.client, connection, &topic.name).await
                }
                Some(topic) if dice.chance(30) => {
                    self.configs.alter(&self.client, connection, &topic.name).await
                }
                Some(topic) if dice.chance(50) => {
                    self.configs.look(&self.client, connection, &topic.name).await
                }
                _ => Ok(()),
            }
        }
    }

    async fn delete_records(&self, connection: &mut Connection, topic: &Topic) -> io::Result<()> {
        let (client, dice) = (&self.client, &self.client.dice);
        let partition = dice.below(topic.partitions.unsigned_abs().into()) as i32;
        let place = (topic.id, partition);
        let (floor, start) = client.model().bounds(place);
        let all = dice.chance(10);
        let offset = dice.below(floor.unsigned_abs() + 1) as i64;
        client.model().may_delete(place, if all { i64::MAX } else { offset });
        let asked = if all { HIGH_WATERMARK } else { offset };
        let request = wire::delete_records(topic, partition, asked);
        let version = dice.between(0, 2) as i16;
        let call = connection.call::<DeleteRecordsRequest>(version, &request);
        let response = client.answer(call).await?;
        match wire::low_watermark(&response) {
            Some((code::NONE, low)) if low >= asked => {
                client.findings.count(|stats| stats.deletions += 1);
                client.check(client.model().saw_start(place, low, start));
            }
            Some((code::NOT_LEADER_OR_FOLLOWER | code::KAFKA_STORAGE_ERROR, _)) => {}
            // Of what is only compacted nothing is deleted.
            Some((code::POLICY_VIOLATION, _)) if topic.compacted => {}
            other => {
                let what = format!("{place:?} deleted below {asked}: {other:?}");
                client.findings.violated(what);
            }
        }
        Ok(())
    }

    async fn grow(&self, connection: &mut Connection, topic: &Topic) -> io::Result<()> {
        let client = &self.client;
        // What nobody was told of is asked for again.
        let in_doubt = topic.partitions_max > topic.partitions;
        let wanted = match in_doubt {
            true => topic.partitions_max,
            false => PARTITIONS_MAX.min(topic.partitions + client.dice.between(1, 2) as i32),
        };
        if wanted == topic.partitions {
            return Ok(());
        }
        client.model().may_grow(topic.id, wanted);
        let request = wire::grow(topic, wanted);
        let version = client.dice.between(0, 3) as i16;
        let call = connection.call::<CreatePartitionsRequest>(version, &request);
        let response = client.answer(call).await?;
        match response.results.first().map(|result| result.error_code) {
            Some(code::NONE) => {
                client.findings.count(|stats| stats.topics += 1);
                client.model().grown(topic.id, wanted);
            }
            Some(code::INVALID_PARTITIONS) if in_doubt => client.model().grown(topic.id, wanted),
            Some(code::NOT_CONTROLLER | code::REQUEST_TIMED_OUT) => {}
            // No broker is there to hold it: the only one is about to stop.
            Some(code::INVALID_REPLICATION_FACTOR) => {}
            other => {
                let what = format!("{} is to have {wanted} partitions: {other:?}", topic.name);
                client.findings.violated(what);
            }
        }
        Ok(())
    }

    async fn create(&mut self, connection: &mut Connection) -> io::Result<()> {
        let name = self.free_names.pop().unwrap_or_else(|| {
            self.next_name += 1;
            format!("t{}", self.next_name)
        });
        let partitions = self.client.dice.between(1, 3) as i32;
        // Until the answer is there, the topic may exist or not, and so it stays without one.
        self.client.model().creation_in_doubt(&name);
        let dice = &self.client.dice;
        let compacted = dice.chance(self.compacted_percent);
        let policy = compacted.then(|| dice.pick(&["compact", "compact", "compact,delete"]));
        let request = wire::create(&name, partitions, policy);
        let call = connection.call::<CreateTopicsRequest>(7, &request);
        let response = self.client.answer(call).await?;
        let result = response.topics.first();
        match result.map(|topic| (topic.error_code, topic.topic_id)) {
            Some((code::NONE, id)) => {
                let stable = !std::mem::replace(&mut self.has_stable, true);
                self.client.findings.count(|stats| stats.topics += 1);
                let fate = TopicFate::Exists;
                let partitions_max = partitions;
                let topic = Topic { id, name, partitions, partitions_max, fate, stable, compacted };
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
