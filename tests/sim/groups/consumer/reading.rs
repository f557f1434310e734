//! What a member does between heartbeats: it lets go of what it is not to read any more, takes what
//! it may, asks where it is to go on, and commits how far it came, in its epoch.
//!
//! Only offsets of the topic that stays are committed, by the rules of classic members
//! (`groups/member.rs`): a commit whose answer was lost is sent again, and none above it, until
//! the broker is another process, or the partition is lost.

use std::collections::BTreeMap;
use std::io;

use kafka_protocol::messages::OffsetCommitRequest;
use ottla_test_client::Connection;

use super::member::Consumer;
use crate::groups::member::{Doubt, fetch_offsets};
use crate::groups::requests::{Me, code, is_passing};

impl Consumer {
    /// The partitions of the topic that stays, of those that it reads.
    fn own_partitions(&self) -> Vec<i32> {
        let topic = self.client.model().readers.topic;
        let owned = self.owned.iter().filter(|(id, _)| Some(*id) == topic);
        owned.map(|(_, partition)| *partition).collect()
    }

    /// A partition that it lost is somebody else's; what it knew of it is of no use.
    pub(super) fn forget_lost_positions(&mut self) {
        let owned = self.own_partitions();
        self.positions.retain(|partition, _| owned.contains(partition));
        self.doubts.retain(|partition, _| owned.contains(partition));
    }

    /// A member of today does what members do.
    pub(super) async fn work(&mut self, connection: &mut Connection) -> io::Result<()> {
        let dice = self.client.dice.clone();
        let has_to_let_go = !self.owned.is_subset(&self.told);
        if self.owned != self.told && (!has_to_let_go || self.now() >= self.lets_go_at) {
            self.owned = self.told.clone();
            self.tell_reading();
            if has_to_let_go || dice.chance(50) {
                return self.beat(connection).await;
            }
        }
        self.fetch_unknown(connection).await?;
        if self.is_load() && dice.below(1_000) < self.restlessness {
            return self.be_restless(connection).await;
        }
        match dice.below(10) {
            0..=5 => self.beat(connection).await?,
            6 if !self.is_load() => self.beat(connection).await?,
            // Which is no sign of life: several in a row would end its session.
            _ => {
                self.commit(connection).await?;
                if self.epoch > 0 {
                    self.beat(connection).await?;
                }
            }
        }
        self.client.pause(5, self.session.as_millis() as u64 / 4).await;
        Ok(())
    }

    /// Asks where it is to go on with what it has since it last asked.
    pub(super) async fn fetch_unknown(&mut self, connection: &mut Connection) -> io::Result<()> {
        let owned = self.own_partitions();
        match owned.iter().any(|partition| !self.positions.contains_key(partition)) {
            true => self.fetch(connection, &owned).await,
            false => Ok(()),
        }
    }

    async fn fetch(&mut self, connection: &mut Connection, owned: &[i32]) -> io::Result<()> {
        let group = self.group.number;
        let floors: BTreeMap<i32, i64> = {
            let model = self.client.model();
            owned.iter().map(|partition| (*partition, model.floor(group, *partition))).collect()
        };
        let told = fetch_offsets(&self.client, connection, &self.group, &floors).await;
        for (partition, offset) in told?.unwrap_or_default() {
            self.positions.insert(partition, offset);
            if self.doubts.get(&partition).is_some_and(|doubt| doubt.offset <= offset) {
                self.doubts.remove(&partition);
            }
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self, connection: &mut Connection) -> io::Result<()> {
        let known: Vec<i32> = self.positions.keys().copied().collect();
        if known.is_empty() {
            return Ok(());
        }
        let partition = self.client.dice.pick(&known);
        let mut position = self.positions.get(&partition).copied().unwrap_or(-1);
        let life = self.client.model().life();
        let before = self.doubts.remove(&partition);
        let offset = match &before {
            Some(doubt) if doubt.life == life && doubt.offset > position => doubt.offset,
            other => {
                position = position.max(other.as_ref().map_or(-1, |doubt| doubt.offset));
                position + self.client.dice.between(1, 3) as i64
            }
        };
        let was_in_doubt = before.is_some_and(|doubt| doubt.offset == offset);
        self.doubts.insert(partition, Doubt { life, offset });
        let me = Me {
            group: self.group.name(),
            protocol_type: "consumer",
            id: self.id.clone(),
            instance: self.instance.clone(),
            generation: self.epoch,
        };
        let (group, sent) = (self.group.number, self.now());
        let is_owner = {
            let mut model = self.client.model();
            model.commits(group, partition, offset);
            let topic = model.readers.topic.unwrap_or_default();
            model.readers.is_last_owner(group, self.index, (topic, partition))
        };
        let silent_since = self.contact;
        let request = me.commit(partition, offset);
        let asked = self.client.model().asks(group, &self.id);
        let answer = self.call::<OffsetCommitRequest>(connection, 9, &request).await?;
        match answer.topics[0].partitions[0].error_code {
            code::NONE => {
                self.client.findings.count(|stats| stats.commits += 1);
                self.client.model().is_served(&asked);
                self.was_noticed(silent_since, sent, "a commit");
                if !is_owner {
                    let id = &self.id;
                    let what = format!("a commit of {id} for {partition} is taken, after somebody");
                    self.client.findings.violated(format!("{what} else was given it"));
                }
                self.client.model().committed(group, partition, offset);
                self.positions.insert(partition, offset);
                self.doubts.remove(&partition);
            }
            error => {
                // What was refused like this may be in the log; by anything else it is not.
                if !was_in_doubt && !is_passing(error) {
                    self.doubts.remove(&partition);
                }
                self.refused("a commit", error).await;
            }
        }
        Ok(())
    }
}
