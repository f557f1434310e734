//! A client that notes how far it has read, as groups do: each commit names a higher offset.
//!
//! What was acknowledged is told from then on, or what was sent after it; what was told once is
//! told for ever. A commit whose answer is lost may still be carried out, later than the next one:
//! so a group in that doubt is only read from then on.

use std::io;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use ottla_test_client::Connection;

use super::client::{Client, Phase};
use super::wire::code;

/// The topic that groups are kept in.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

/// What a group was promised.
#[derive(Debug)]
struct Group {
    name: String,
    /// The highest offset that was acknowledged, or told; -1 for none.
    floor: i64,
    /// The highest offset that was sent; -1 for none.
    sent: i64,
    /// Whether an answer is missing.
    in_doubt: bool,
}

/// A committer, over all connections.
pub struct Committer {
    client: Client,
    index: u32,
    groups: Vec<Group>,
}

impl Committer {
    pub fn new(client: Client, index: u32) -> Committer {
        Committer { client, index, groups: Vec::new() }
    }

    /// Commits and reads until the world ends, then reads everything.
    pub async fn run(mut self) {
        while !self.client.is_over() {
            let Some(mut connection) = self.client.connect().await else { return };
            while let Ok(is_done) = self.step(&mut connection).await {
                if is_done || self.client.is_over() {
                    return;
                }
                self.client.pause(1, 60).await;
            }
            self.client.pause(1, 20).await;
        }
    }

    /// Whether all is done.
    async fn step(&mut self, connection: &mut Connection) -> io::Result<bool> {
        let topics = self.client.model().existing();
        let Some(topic) = topics.into_iter().find(|topic| topic.stable) else {
            return Ok(*self.client.phase.borrow() != Phase::Load);
        };
        if *self.client.phase.borrow() != Phase::Load {
            for at in 0..self.groups.len() {
                while !self.fetch(connection, at, &topic.name).await? {
                    self.client.pause(10, 50).await;
                }
            }
            return Ok(true);
        }
        if self.groups.last().is_none_or(|group| group.in_doubt) {
            let name = format!("group-{}-{}", self.index, self.groups.len());
            self.groups.push(Group { name, floor: -1, sent: -1, in_doubt: false });
        }
        if self.client.dice.chance(70) {
            self.commit(connection, &topic.name).await?;
        } else {
            let at = self.client.dice.below(self.groups.len() as u64) as usize;
            self.fetch(connection, at, &topic.name).await?;
        }
        Ok(false)
    }

    /// Lets the broker see to it that groups have a place to be kept in; whether they do.
    async fn find(&self, connection: &mut Connection, group: &str) -> io::Result<bool> {
        let key = StrBytes::from_string(group.to_owned());
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![key]);
        let call = connection.call::<FindCoordinatorRequest>(4, &request);
        let answer = self.client.answer(call).await?;
        match answer.coordinators[0].error_code {
            code::NONE => Ok(true),
            code::COORDINATOR_NOT_AVAILABLE => Ok(false),
            other => {
                self.client.findings.violated(format!("no coordinator: error {other}"));
                Ok(false)
            }
        }
    }

    async fn commit(&mut self, connection: &mut Connection, topic: &str) -> io::Result<()> {
        let name = self.groups.last().expect("there is one").name.clone();
        if !self.find(connection, &name).await? {
            return Ok(());
        }
        let group = self.groups.last_mut().expect("there is one");
        group.sent += 1;
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(group.sent)
            .with_committed_metadata(Some(StrBytes::from_string(format!("to {}", group.sent))));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(name)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let version = self.client.dice.between(2, 9) as i16;
        group.in_doubt = true;
        let call = connection.call::<OffsetCommitRequest>(version, &request);
        let answer = self.client.answer(call).await?;
        group.in_doubt = false;
        match answer.topics[0].partitions[0].error_code {
            code::NONE => {
                group.floor = group.sent;
                self.client.findings.count(|stats| stats.commits += 1);
            }
            error if is_passing(error) => {}
            other => self.client.findings.violated(format!("{group:?} is refused: error {other}")),
        }
        Ok(())
    }

    /// Whether the group could be read.
    async fn fetch(
        &mut self,
        connection: &mut Connection,
        at: usize,
        topic: &str,
    ) -> io::Result<bool> {
        let name = self.groups[at].name.clone();
        if !self.find(connection, &name).await? {
            return Ok(false);
        }
        let topic = OffsetFetchRequestTopics::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(StrBytes::from_string(name)))
            .with_member_epoch(-1)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let version = self.client.dice.between(8, 9) as i16;
        let call = connection.call::<OffsetFetchRequest>(version, &request);
        let mut answer = self.client.answer(call).await?;
        let told = answer.groups.remove(0);
        match told.error_code {
            code::NONE => {}
            error if is_passing(error) => return Ok(false),
            other => {
                self.client.findings.violated(format!("a fetch of offsets: error {other}"));
                return Ok(false);
            }
        }
        let partition = &told.topics[0].partitions[0];
        let (offset, error) = (partition.committed_offset, partition.error_code);
        let group = &mut self.groups[at];
        let metadata = partition.metadata.as_ref().map_or("", |text| text.as_str());
        let expected = if offset < 0 { String::new() } else { format!("to {offset}") };
        if error != code::NONE || !(group.floor..=group.sent).contains(&offset) {
            self.client.findings.violated(format!("{group:?} is told {offset}, error {error}"));
        }
        if metadata != expected {
            self.client.findings.violated(format!("{group:?} has {metadata:?} with {offset}"));
        }
        group.floor = group.floor.max(offset);
        Ok(true)
    }
}

/// Whether a client that is told so tries again.
fn is_passing(error: i16) -> bool {
    matches!(
        error,
        code::COORDINATOR_LOAD_IN_PROGRESS
            | code::COORDINATOR_NOT_AVAILABLE
            | code::NOT_COORDINATOR
    )
}
