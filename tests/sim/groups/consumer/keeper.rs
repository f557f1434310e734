//! An operator of consumer groups: topics come, grow and go, groups get configs of their own, and
//! what is told of groups is compared with what was told before.

use std::io;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, IncrementalAlterConfigsRequest,
};
use ottla_test_client::Connection;

use super::requests::{self, OTHERS, code as consumer_code};
use crate::client::Phase;
use crate::groups::member::Client;
use crate::groups::plan::{Group, Kind, Plan};
use crate::groups::requests::{TOPIC, code, is_passing};

/// Most partitions that the topic that stays grows to.
const PARTITIONS_MAX: i32 = 8;
/// The same of others.
const FEW_PARTITIONS: u64 = 4;

/// The operator, over all connections.
pub struct Keeper {
    client: Client,
    groups: Vec<Group>,
    partitions: i32,
}

impl Keeper {
    pub fn new(client: Client, plan: &Plan, groups: Vec<Group>) -> Keeper {
        Keeper { client, groups, partitions: plan.partitions }
    }

    /// Changes things until all is to come to rest, and looks at groups until the end.
    pub async fn run(mut self) {
        while !self.client.is_over() {
            let Some(mut connection) = self.client.connect().await else { return };
            while !self.client.is_over() && self.step(&mut connection).await.is_ok() {
                self.client.pause(20, 600).await;
            }
            self.client.pause(5, 40).await;
        }
    }

    async fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let is_load = *self.client.phase.borrow() == Phase::Load;
        if !is_load || self.client.dice.chance(70) {
            return self.look(connection).await;
        }
        let name = self.client.dice.pick(&OTHERS);
        match self.client.dice.below(10) {
            0..=3 => self.create(connection, name).await,
            4 | 5 => self.delete(connection, name).await,
            6 => self.grow(connection, TOPIC).await,
            7 => self.grow(connection, name).await,
            _ => self.configure(connection).await,
        }
    }

    async fn create(&self, connection: &mut Connection, name: &str) -> io::Result<()> {
        let count = self.client.dice.between(1, FEW_PARTITIONS) as i32;
        let request = requests::create(name, count);
        let call = connection.call::<CreateTopicsRequest>(7, &request);
        let error = self.client.answer(call).await?.topics[0].error_code;
        self.changed(error, &format!("{name} is created with {count} partitions"));
        Ok(())
    }

    async fn delete(&self, connection: &mut Connection, name: &str) -> io::Result<()> {
        let request = requests::delete(name);
        let call = connection.call::<DeleteTopicsRequest>(5, &request);
        let error = self.client.answer(call).await?.responses[0].error_code;
        self.changed(error, &format!("{name} is deleted"));
        Ok(())
    }

    async fn grow(&mut self, connection: &mut Connection, name: &str) -> io::Result<()> {
        let count = match name {
            TOPIC => (self.partitions + 1).min(PARTITIONS_MAX),
            _ => self.client.dice.between(2, FEW_PARTITIONS + 2) as i32,
        };
        let request = requests::grow(name, count);
        let call = connection.call::<CreatePartitionsRequest>(3, &request);
        let error = self.client.answer(call).await?.results[0].error_code;
        if error == code::NONE && name == TOPIC {
            self.partitions = count;
        }
        self.changed(error, &format!("{name} has {count} partitions"));
        Ok(())
    }

    fn changed(&self, error: i16, what: &str) {
        self.client.findings.note(|| format!("{what}: {error}"));
        if error == code::NONE {
            self.client.findings.count(|stats| stats.topics += 1);
        }
    }

    async fn configure(&self, connection: &mut Connection) -> io::Result<()> {
        let interval = self.client.dice.pick(&[None, Some(0), Some(500), Some(3_000)]);
        let group = self.client.dice.pick(&self.groups).name();
        let request = requests::set_interval(&group, interval);
        let call = connection.call::<IncrementalAlterConfigsRequest>(1, &request);
        let answer = self.client.answer(call).await?;
        if answer.responses.iter().all(|it| it.error_code == code::NONE) {
            self.client.findings.count(|stats| stats.configs += 1);
        }
        Ok(())
    }

    /// What is told of a group.
    async fn look(&self, connection: &mut Connection) -> io::Result<()> {
        let group = self.client.dice.pick(&self.groups);
        let request = requests::describe(&group.name());
        let version = self.client.dice.between(0, 1) as i16;
        let call = connection.call::<ConsumerGroupDescribeRequest>(version, &request);
        let answer = self.client.answer(call).await?;
        let told = &answer.groups[0];
        match told.error_code {
            code::NONE => {
                let described = requests::described(told);
                let now = self.client.runtime.clock().now();
                let at = (group.kind == Kind::Mixed).then_some(now);
                let checked = self.client.model().readers.described(group.number, described, at);
                let name = group.name();
                self.client.check(checked.map_err(|what| format!("{name} is told of: {what}")));
            }
            consumer_code::GROUP_ID_NOT_FOUND => {}
            error if is_passing(error) => {}
            other => {
                let what = format!("{} is described with error {other}", group.name());
                self.client.findings.violated(what);
            }
        }
        Ok(())
    }
}
