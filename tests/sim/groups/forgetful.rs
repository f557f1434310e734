//! An operator who keeps offsets in groups without members, deletes some of them, or a whole group,
//! and then commits again.
//!
//! What a group may tell is a list: each request that was sent adds to it, and an answer, or a
//! value that was told and is no older one, leaves one thing. A request whose answer is lost may be
//! carried out later than the next one, so such a group is only read from then on.

use std::io;

use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::member::Client;
use super::requests::{self, Me, TOPIC, code, is_passing};
use crate::client::Phase;

/// What is told where no offset is.
const NONE: i64 = -1;
/// Groups of which the fate of a request is unknown; then there are only readings.
const GROUPS_MAX: usize = 20;

/// What one group was promised.
#[derive(Debug)]
struct Group {
    name: String,
    /// What it may tell, the newest last.
    may: Vec<i64>,
    /// The offset that it is given next.
    next: i64,
    in_doubt: bool,
}

impl Group {
    fn new(number: usize) -> Group {
        Group { name: format!("memberless-{number}"), may: vec![NONE], next: 0, in_doubt: false }
    }

    fn asks_for(&mut self, value: i64) {
        self.may.push(value);
        self.in_doubt = true;
    }

    fn was_done(&mut self) {
        self.may.drain(..self.may.len() - 1);
        self.in_doubt = false;
    }
}

/// The operator, over all connections.
pub struct Forgetful {
    client: Client,
    groups: Vec<Group>,
}

impl Forgetful {
    pub fn new(client: Client) -> Forgetful {
        Forgetful { client, groups: Vec::new() }
    }

    /// Commits, deletes and reads until all is to come to rest, and reads from then on.
    pub async fn run(mut self) {
        while !self.client.is_over() {
            let Some(mut connection) = self.client.connect().await else { return };
            while !self.client.is_over() && self.step(&mut connection).await.is_ok() {
                self.client.pause(20, 300).await;
            }
            self.client.pause(5, 40).await;
        }
    }

    async fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let has_one = self.groups.last().is_some_and(|group| !group.in_doubt);
        let is_load = *self.client.phase.borrow() == Phase::Load;
        if is_load && !has_one && self.groups.len() < GROUPS_MAX {
            self.groups.push(Group::new(self.groups.len()));
        }
        let at = self.client.dice.below(self.groups.len() as u64) as usize;
        let Some(group) = self.groups.get(at) else { return Ok(()) };
        if !self.find(connection, &group.name).await? {
            return Ok(());
        }
        if !is_load || group.in_doubt || self.client.dice.chance(40) {
            return self.read(connection, at).await;
        }
        match self.client.dice.below(10) {
            0..=1 if group.may != [NONE] => self.delete_group(connection, at).await,
            2..=4 if group.may != [NONE] => self.delete_offset(connection, at).await,
            _ => self.commit(connection, at).await,
        }
    }

    async fn find(&self, connection: &mut Connection, name: &str) -> io::Result<bool> {
        let request = requests::find(name);
        let call = connection.call::<FindCoordinatorRequest>(4, &request);
        Ok(self.client.answer(call).await?.coordinators[0].error_code == code::NONE)
    }

    async fn commit(&mut self, connection: &mut Connection, at: usize) -> io::Result<()> {
        let group = &mut self.groups[at];
        let me = Me {
            group: group.name.clone(),
            protocol_type: "",
            id: String::new(),
            instance: None,
            generation: -1,
        };
        let request = me.commit(0, group.next);
        group.asks_for(group.next);
        group.next += 1;
        let call = connection.call::<OffsetCommitRequest>(8, &request);
        let error = self.client.answer(call).await?.topics[0].partitions[0].error_code;
        self.answered(at, "a commit", error);
        Ok(())
    }

    async fn delete_offset(&mut self, connection: &mut Connection, at: usize) -> io::Result<()> {
        let group = &mut self.groups[at];
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.name.clone())))
            .with_topics(vec![topic]);
        group.asks_for(NONE);
        let call = connection.call::<OffsetDeleteRequest>(0, &request);
        let answer = self.client.answer(call).await?;
        let error = match answer.error_code {
            code::NONE => answer.topics[0].partitions[0].error_code,
            error => error,
        };
        self.answered(at, "a deletion of an offset", error);
        Ok(())
    }

    async fn delete_group(&mut self, connection: &mut Connection, at: usize) -> io::Result<()> {
        let group = &mut self.groups[at];
        let name = GroupId(StrBytes::from_string(group.name.clone()));
        let request = DeleteGroupsRequest::default().with_groups_names(vec![name]);
        group.asks_for(NONE);
        let call = connection.call::<DeleteGroupsRequest>(2, &request);
        let error = self.client.answer(call).await?.results[0].error_code;
        self.answered(at, "a deletion", error);
        Ok(())
    }

    fn answered(&mut self, at: usize, what: &str, error: i16) {
        let group = &mut self.groups[at];
        match error {
            code::NONE => {
                group.was_done();
                let is_deletion = group.may == [NONE];
                self.client.findings.count(|stats| match is_deletion {
                    true => stats.deletions += 1,
                    false => stats.commits += 1,
                });
            }
            error if is_passing(error) => {}
            other => {
                self.client.findings.violated(format!("{what} of {group:?} is refused: {other}"));
            }
        }
    }

    async fn read(&mut self, connection: &mut Connection, at: usize) -> io::Result<()> {
        let group = &mut self.groups[at];
        let version = self.client.dice.between(8, 9) as i16;
        let request = requests::fetch(&group.name, &[0]);
        let call = connection.call::<OffsetFetchRequest>(version, &request);
        let answer = self.client.answer(call).await?;
        let told = &answer.groups[0];
        if is_passing(told.error_code) {
            return Ok(());
        }
        if told.error_code != code::NONE {
            let what = format!("{group:?} cannot be read: error {}", told.error_code);
            self.client.findings.violated(what);
            return Ok(());
        }
        let offset = told.topics[0].partitions[0].committed_offset;
        match group.may.iter().rposition(|may| *may == offset) {
            // What was told once does not give way to something older.
            Some(position) => drop(group.may.drain(..position)),
            None => self.client.findings.violated(format!("{group:?} is told {offset}")),
        }
        Ok(())
    }
}
