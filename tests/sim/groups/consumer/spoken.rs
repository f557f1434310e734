//! A member of a group of both protocols while it speaks the classic one: it joins, asks for its
//! assignment, and goes on as long as its heartbeats are well. Whether its group is a classic or a
//! consumer group at present it need not know: it is the leader or not, and follows what it is
//! told.
//!
//! Eager members let go of everything before they join; cooperative ones keep what they have, say
//! so, let go of what they are not told any more, and then join again. In front of each stands how
//! many partitions the topic had when they last looked, so that a topic that grew is shared anew.
//!
//! Until when it is certainly a member: a session after its last heartbeat that was answered well,
//! or its join, was sent, and no longer than its rebalance timeout after that, for a rebalance may
//! have begun.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, MetadataRequest,
    SyncGroupRequest,
};
use ottla_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode,
};
use ottla_test_client::Connection;
use ottla_types::MonoTime;

use super::member::Consumer;
use super::readers::{Floor, Partitions};
use super::{requests, spoken_requests};
use crate::groups::plan::{Kind, Speaks};
use crate::groups::promises::Asked;
use crate::groups::requests::{Me, TOPIC, code, is_passing};

/// Within this time of the end of its certainty a member takes itself for lost when it joins: its
/// join takes as long to arrive.
const JOIN_MARGIN: Duration = Duration::from_millis(50);

/// What somebody said about itself.
type Said = ConsumerProtocolSubscription;

/// Where it stands.
#[derive(Default)]
pub(super) enum Stage {
    /// It has to join.
    #[default]
    Out,
    /// It has joined a generation.
    Joined {
        generation: i32,
        /// When it sent the join.
        sent: MonoTime,
        /// The highest epoch that was told when a new member joined.
        floor: Floor,
        /// All members, if it leads a classic group.
        leads: Option<Vec<(String, Said)>>,
    },
    /// It knows its assignment.
    In,
}

/// What a member needs that speaks the classic protocol.
#[derive(Default)]
pub(super) struct Spoken {
    pub(super) stage: Stage,
    /// Partitions of the topic when it last looked; 0 before.
    partitions: i32,
    /// Whether it has looked since topics do not grow any more.
    has_looked_last: bool,
}

impl Consumer {
    pub(super) fn is_mixed(&self) -> bool {
        self.group.kind == Kind::Mixed
    }

    /// What is next for it, whatever it speaks.
    pub(super) async fn turn(&mut self, connection: &mut Connection) -> io::Result<()> {
        let may_differ = self.policy.upgrades() && self.policy.mixes();
        if self.is_mixed() && !self.is_load() && !may_differ && self.speaks != self.group.last {
            return self.change_protocol(connection).await;
        }
        match (self.speaks, &self.spoken.stage) {
            (Speaks::Consumer, _) if self.epoch == 0 => self.beat(connection).await,
            (Speaks::Consumer, _) => self.work(connection).await,
            (Speaks::Classic, Stage::Out) => self.join(connection).await,
            (Speaks::Classic, Stage::Joined { .. }) => self.sync(connection).await,
            (Speaks::Classic, Stage::In) => self.work_spoken(connection).await,
        }
    }

    /// It is nobody, and has to join as somebody new.
    pub(super) fn begin_anew(&mut self) {
        self.drop_all();
        self.take_new_id();
        if self.speaks == Speaks::Classic {
            self.id.clear();
        }
    }

    /// It comes back with the other protocol, after it has left or from one moment to the next.
    pub(super) async fn change_protocol(&mut self, connection: &mut Connection) -> io::Result<()> {
        let leaves = self.client.dice.chance(60);
        match self.speaks {
            Speaks::Consumer if self.epoch > 0 && leaves => {
                let for_a_while = self.instance.is_some() && self.client.dice.chance(60);
                self.leave(connection, if for_a_while { -2 } else { -1 }).await?;
            }
            Speaks::Classic if !self.id.is_empty() && leaves => {
                self.leave_spoken(connection).await?;
            }
            _ => {}
        }
        self.speaks = match self.speaks {
            Speaks::Classic => Speaks::Consumer,
            Speaks::Consumer => Speaks::Classic,
        };
        let was_free = self.is_free;
        self.begin_anew();
        self.is_free = was_free;
        let (index, speaks) = (self.index, self.speaks);
        let group = self.group.name();
        self.client.findings.note(|| format!("{group}: {index} speaks {speaks:?} from now on"));
        self.client.findings.count(|stats| stats.migrations += 1);
        self.client.pause(0, 500).await;
        Ok(())
    }

    fn me(&self, generation: i32) -> Me {
        Me {
            group: self.group.name(),
            protocol_type: "consumer",
            id: self.id.clone(),
            instance: self.instance.clone(),
            generation,
        }
    }

    fn ask(&self) -> Asked {
        self.client.model().asks(self.group.number, &self.id)
    }

    fn version(&self, dynamic: u64, static_: u64, highest: u64) -> i16 {
        let lowest = if self.instance.is_some() { static_ } else { dynamic };
        self.client.dice.between(lowest, highest) as i16
    }

    /// What it has it has no more, if it is eager, or cannot be sure of it.
    fn let_go_before_join(&mut self) {
        let is_lost = self.now().after(JOIN_MARGIN) >= self.counts_until();
        if is_lost {
            (self.epoch, self.heard, self.revokes_since) = (0, None, None);
        }
        if is_lost || !self.group.is_cooperative {
            self.owned.clear();
            self.told.clear();
        }
        self.tell_reading();
    }

    async fn join(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.spoken.partitions == 0 {
            self.look_at_topic(connection).await?;
        }
        self.let_go_before_join();
        let version = self.version(4, 5, 9);
        let owned = self.owned.iter().map(|(_, partition)| *partition);
        let owned: Vec<i32> = owned.filter(|_| !self.is_silent_of_owned).collect();
        let about = (self.spoken.partitions, &owned[..], self.epoch);
        let is_cooperative = self.group.is_cooperative;
        let subscription = spoken_requests::subscription(&self.client.dice, is_cooperative, about);
        let times = (self.session.as_millis() as u64, self.rebalance.as_millis() as u64);
        let request = self.me(-1).join(times, 0);
        let request = spoken_requests::with_protocol(request, is_cooperative, subscription);
        self.has_rival |= self.instance.is_some() && self.id.is_empty();
        self.is_free = false;
        let (sent, asked) = (self.now(), self.ask());
        let floor = self.client.model().readers.highest(self.group.number);
        let patience = match self.is_load() && self.client.dice.below(4_000) < self.restlessness {
            true => Duration::from_millis(self.client.dice.below(2 * times.1)),
            false => Duration::MAX,
        };
        let clock = self.client.runtime.clock().clone();
        let call = self.call::<JoinGroupRequest>(connection, version, &request);
        let Some(answer) = clock.timeout(patience, call).await else {
            self.is_unsure = true;
            return Err(io::ErrorKind::TimedOut.into());
        };
        let answer = answer?;
        match answer.error_code {
            code::NONE => {
                self.client.model().is_served(&asked);
                self.joined((sent, floor), &answer);
            }
            code::MEMBER_ID_REQUIRED if self.id.is_empty() && self.instance.is_none() => {
                self.id = answer.member_id.to_string();
            }
            error => self.refused_spoken("a join", error).await,
        }
        Ok(())
    }

    fn joined(&mut self, (sent, floor): (MonoTime, Floor), answer: &JoinGroupResponse) {
        let (id, generation) = (answer.member_id.to_string(), answer.generation_id);
        self.client.findings.note(|| format!("{id} joins {generation} of {}", &*answer.leader));
        let is_other = !self.id.is_empty() && self.id != id;
        // Who makes a group a classic one that has to share anew has no generation yet, as with
        // Kafka: it asks for its assignment, and is told to join again.
        let lowest = if self.instance.is_some() && self.id.is_empty() { 0 } else { 1 };
        if generation < lowest || is_other || id.is_empty() {
            let own = &self.id;
            let what = format!("{own:?} joins as {id:?} in {generation}");
            self.client.findings.violated(what);
        }
        if self.size_max.is_some_and(|most| answer.members.len() > most) {
            let (group, size) = (self.group.name(), answer.members.len());
            self.client.findings.violated(format!("{group} has {size} members"));
        }
        self.id = id;
        self.client.findings.count(|stats| stats.joins += 1);
        if self.epoch > 0 {
            // It stays a member at least until its time to sync is over.
            (self.heard, self.revokes_since) = (Some(sent), Some(sent));
            self.tell_reading();
        }
        let leads = *answer.leader == *self.id && !answer.skip_assignment;
        let mut peers = Vec::new();
        for member in &answer.members {
            let said = decode::<Said>(&member.metadata).expect("all members say it so").0;
            peers.push((member.member_id.to_string(), said));
        }
        let floor = if self.epoch == 0 { floor } else { Floor::default() };
        let leads = leads.then_some(peers);
        self.spoken.stage = Stage::Joined { generation, sent, floor, leads };
    }

    async fn sync(&mut self, connection: &mut Connection) -> io::Result<()> {
        let Stage::Joined { generation, sent, floor, leads } = &self.spoken.stage else {
            return Ok(());
        };
        let (generation, joined, floor) = (*generation, *sent, *floor);
        let told = leads.as_ref().map(|peers| self.assign(peers)).unwrap_or_default();
        let version = self.version(0, 3, 5);
        let request = self.me(generation).sync(version, &[]);
        let request = spoken_requests::with_assignments(request, self.group.is_cooperative, told);
        let asked = self.ask();
        let answer = self.call::<SyncGroupRequest>(connection, version, &request).await?;
        match answer.error_code {
            code::NONE => {
                self.client.model().is_served(&asked);
                self.synced((joined, generation, floor), &answer.assignment);
            }
            error => self.refused_spoken("a sync", error).await,
        }
        Ok(())
    }

    /// It knows its assignment, which is in the log. In a group that has shared already that is no
    /// sign of life, with Kafka as well: its session may have begun with its join.
    fn synced(&mut self, (joined, generation, floor): (MonoTime, i32, Floor), told: &Bytes) {
        self.client.findings.count(|stats| stats.assignments += 1);
        let Some(told) = self.read(told) else {
            let what = format!("{} is told the assignment {told:?}", self.id);
            return self.client.findings.violated(what);
        };
        let (id, before, number) = (&self.id, self.epoch, self.group.number);
        self.client
            .findings
            .note(|| format!("{id} is to read {told:?} in generation {generation}"));
        if generation < before {
            let what = format!("{id} in {before} goes back to {generation}");
            self.client.findings.violated(what);
        }
        let epochs = (generation, floor);
        let told_epoch = {
            let now = self.now();
            self.client.model().readers.told_epoch_of_mixed(number, self.index, epochs, now)
        };
        self.client.check(told_epoch);
        if generation != before {
            (self.epoch_before, self.epoch) = (before, generation);
        }
        self.told = told;
        (self.heard, self.revokes_since) = (Some(joined), Some(joined));
        (self.is_unsure, self.has_rival) = (false, false);
        if self.owned.is_subset(&self.told) {
            self.owned = self.told.clone();
        } else {
            let takes = self.client.dice.pick(&[0, 5, 50, 200]);
            self.lets_go_at = self.now().after(Duration::from_millis(takes));
        }
        self.spoken.stage = Stage::In;
        self.tell_reading();
    }

    /// Partitions in the bytes of an assignment; none when it is none, or of another topic.
    fn read(&self, told: &Bytes) -> Option<Partitions> {
        if told.is_empty() {
            return Some(Partitions::new());
        }
        let (told, _) = decode::<ConsumerProtocolAssignment>(told).ok()?;
        let topic = self.client.model().readers.topic?;
        let mut all = Partitions::new();
        for assigned in told.assigned_partitions {
            if &*assigned.topic != TOPIC {
                return None;
            }
            all.extend(assigned.partitions.iter().map(|partition| (topic, partition.0)));
        }
        Some(all)
    }

    /// As the leader of a classic group: who owns what. What a cooperative member still has nobody
    /// else is given.
    fn assign(&self, peers: &[(String, Said)]) -> Vec<(String, Bytes)> {
        let mut claims: BTreeMap<i32, (i32, usize)> = BTreeMap::new();
        for (at, (_, said)) in peers.iter().enumerate() {
            for partition in said.owned_partitions.iter().flat_map(|topic| &topic.partitions) {
                let claim = claims.entry(partition.0).or_insert((-1, at));
                *claim = (*claim).max((said.generation_id, at));
            }
        }
        let dice = &self.client.dice;
        let first = dice.below(peers.len().max(1) as u64) as usize;
        let mut all: Vec<Vec<i32>> = vec![Vec::new(); peers.len()];
        for partition in 0..self.spoken.partitions {
            let target = (first + partition as usize) % peers.len().max(1);
            let owner = match claims.get(&partition) {
                Some((_, has)) if *has == target => Some(target),
                Some((_, has)) => (!self.is_load() || dice.chance(70)).then_some(*has),
                None => Some(target),
            };
            if let Some(owner) = owner {
                all[owner].push(partition);
            }
        }
        let told = all.iter().map(|partitions| spoken_requests::assignment(partitions));
        peers.iter().map(|(id, _)| id.clone()).zip(told).collect()
    }

    /// How many partitions the topic has; one that grew is shared anew.
    async fn look_at_topic(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = requests::metadata(&[TOPIC]);
        let is_last = !self.is_load();
        let answer = self.call::<MetadataRequest>(connection, 12, &request).await?;
        let count = answer.topics[0].partitions.len() as i32;
        if answer.topics[0].error_code == code::NONE && count != self.spoken.partitions {
            self.spoken.partitions = count;
            self.spoken.stage = Stage::Out;
        }
        self.spoken.has_looked_last |= is_last;
        Ok(())
    }

    /// Whether it has its assignment, of all that there is to read in the end.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.spoken.stage, Stage::In) && self.spoken.has_looked_last
    }

    /// A member of today does what members do.
    async fn work_spoken(&mut self, connection: &mut Connection) -> io::Result<()> {
        let dice = self.client.dice.clone();
        if self.owned != self.told && self.now() >= self.lets_go_at {
            self.owned = self.told.clone();
            self.tell_reading();
            self.spoken.stage = Stage::Out;
            return Ok(());
        }
        if !self.is_load() && !self.spoken.has_looked_last {
            return self.look_at_topic(connection).await;
        }
        self.fetch_unknown(connection).await?;
        if self.is_load() && dice.below(1_000) < self.restlessness {
            return self.be_restless_spoken(connection).await;
        }
        match dice.below(10) {
            0..=4 => self.heartbeat(connection).await?,
            5 | 6 => {
                self.look_at_topic(connection).await?;
                if matches!(self.spoken.stage, Stage::In) {
                    self.heartbeat(connection).await?;
                }
            }
            // Which is no sign of life: several in a row would end its session.
            _ => {
                self.commit(connection).await?;
                if matches!(self.spoken.stage, Stage::In) {
                    self.heartbeat(connection).await?;
                }
            }
        }
        self.client.pause(5, self.session.as_millis() as u64 / 4).await;
        Ok(())
    }

    pub(super) async fn heartbeat(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = self.me(self.epoch).heartbeat();
        let (sent, asked) = (self.now(), self.ask());
        let version = self.version(0, 3, 4);
        let answer = self.call::<HeartbeatRequest>(connection, version, &request).await?;
        match answer.error_code {
            // Of a coordinator that loads that proves nothing.
            code::NONE if !asked.is_loaded => {}
            code::NONE => {
                (self.heard, self.revokes_since) = (Some(sent), Some(sent));
                self.is_unsure = false;
                self.tell_reading();
            }
            error => self.refused_spoken("a heartbeat", error).await,
        }
        Ok(())
    }

    pub(super) async fn leave_spoken(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = self.me(-1).leave();
        let version = self.client.dice.between(3, 5) as i16;
        let id = self.id.clone();
        self.drop_all();
        let answer = self.call::<LeaveGroupRequest>(connection, version, &request).await;
        self.begin_anew();
        let answer = answer?;
        let each = answer.members.first().map_or(code::NONE, |member| member.error_code);
        match if answer.error_code == code::NONE { each } else { answer.error_code } {
            code::NONE => self.is_free = true,
            code::UNKNOWN_MEMBER_ID | code::FENCED_INSTANCE_ID => {}
            error if is_passing(error) => {}
            other => self.client.findings.violated(format!("{id} leaves: error {other}")),
        }
        Ok(())
    }

    /// It is told that it has to join again, that it is no member of today, or that the coordinator
    /// is not there.
    pub(super) async fn refused_spoken(&mut self, what: &str, error: i16) {
        let (id, epoch) = (self.id.clone(), self.epoch);
        self.client.findings.note(|| format!("{what} of {id} in {epoch} is refused: {error}"));
        let violated = |it: &str| {
            self.client.findings.violated(format!("{what} of {id} in {epoch} is refused: {it}"));
        };
        let is_member = epoch > 0 && self.now() < self.counts_until();
        let is_in = matches!(self.spoken.stage, Stage::In);
        match error {
            error if is_passing(error) => self.is_unsure = true,
            code::REBALANCE_IN_PROGRESS => self.spoken.stage = Stage::Out,
            code::ILLEGAL_GENERATION => {
                // A generation that was only joined may be gone with its process, and a group that
                // becomes a classic one has its epoch as generation, which not all have reached.
                if is_in && is_member && !self.is_unsure && !self.policy.downgrades() {
                    violated("its generation is over, and it was heard of in time");
                }
                self.drop_all();
            }
            code::UNKNOWN_MEMBER_ID => {
                if is_in && is_member {
                    violated("it is none any more, and was heard of in time");
                }
                self.client.findings.count(|stats| stats.expelled += 1);
                self.begin_anew();
            }
            code::FENCED_INSTANCE_ID if self.instance.is_some() => {
                if !self.has_rival {
                    violated("nobody took its place");
                }
                self.client.findings.count(|stats| stats.fenced += 1);
                self.begin_anew();
            }
            code::GROUP_MAX_SIZE_REACHED if self.size_max.is_some() => {
                self.client.findings.count(|stats| stats.kept_out += 1);
                self.begin_anew();
            }
            // A consumer group that takes none of the classic protocol.
            code::INCONSISTENT_GROUP_PROTOCOL if !self.policy.mixes() => {
                if is_member {
                    violated("its group became another one, and it was heard of in time");
                }
                self.client.findings.count(|stats| stats.kept_out += 1);
                self.begin_anew();
                self.client.pause(50, 300).await;
            }
            other => violated(&format!("error {other}")),
        }
        self.client.pause(5, 60).await;
    }
}
