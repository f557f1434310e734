//! A member of a consumer group: it comes, says what it has, and hears what it may have.
//!
//! It knows by itself until when it is certainly a member: a session after it sent the last
//! heartbeat that was answered well, and no longer than its rebalance timeout after the first one
//! with which it may have been asked to give something back. Until then it must not be put out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_test_client::Connection;
use ottla_types::MonoTime;

use super::readers::{Floor, Partitions};
use super::requests::{self, OTHERS, PATTERNS, code as consumer_code};
use super::restless::Past;
use super::spoken::{Spoken, Stage};
use crate::client::Phase;
use crate::groups::member::{Client, Doubt};
use crate::groups::plan::{Group, Kind, Plan, Policy, Speaks};
use crate::groups::promises::Standing;
use crate::groups::requests::{TOPIC, code, find, is_passing};
use crate::groups::restless::Fate;

/// Longest time that bytes are on their way, and what they ask is decided: a request whose answer
/// did not come has arrived by then, or never will.
const ARRIVES_WITHIN_MS: u64 = 15;

/// A member, over all its lives.
pub struct Consumer {
    pub(super) client: Client,
    pub(super) group: Group,
    pub(super) index: u32,
    pub(super) instance: Option<String>,
    pub(super) id: String,
    /// The epoch that it was told; 0 while it joins.
    pub(super) epoch: i32,
    /// The epoch that it was told before that one.
    pub(super) epoch_before: i32,
    /// What it was told to read.
    pub(super) told: Partitions,
    /// What it reads.
    pub(super) owned: Partitions,
    /// When it will have let go of what it is not to read any more.
    pub(super) lets_go_at: MonoTime,
    pub(super) topics: BTreeSet<&'static str>,
    /// The pattern that it subscribes by, beside; empty for none. One that never had any says
    /// nothing of it.
    pub(super) pattern: Option<&'static str>,
    has_patterns: bool,
    assignor: Option<&'static str>,
    pub(super) rebalance: Duration,
    pub(super) session: Duration,
    /// Whether it says all of itself next.
    pub(super) is_full: bool,
    said: Option<(Partitions, BTreeSet<&'static str>, Option<&'static str>)>,
    /// When it sent the last heartbeat that was answered well.
    pub(super) heard: Option<MonoTime>,
    /// When it sent the first heartbeat since which it may have to give something back.
    pub(super) revokes_since: Option<MonoTime>,
    /// Whether something went on its way since then whose fate it does not know.
    pub(super) is_unsure: bool,
    /// When something of it can have arrived for the last time, and in which life of the broker.
    pub(super) contact: (MonoTime, u32),
    /// Whether somebody else may have come as the same static member.
    pub(super) has_rival: bool,
    /// Whether nobody can be there as this static member.
    pub(super) is_free: bool,
    /// Whether silence is always noticed: no log refuses what is written of it.
    pub(super) is_noticed: bool,
    pub(super) past: VecDeque<Past>,
    pub(super) restlessness: u64,
    pub(super) fate: Option<Fate>,
    pub(super) size_max: Option<usize>,
    /// Of a group of both protocols: which of them it speaks now.
    pub(super) speaks: Speaks,
    pub(super) spoken: Spoken,
    pub(super) policy: Policy,
    pub(super) is_silent_of_owned: bool,
    lives: u32,
    /// What is committed, of the partitions of the topic that stays.
    pub(super) positions: BTreeMap<i32, i64>,
    pub(super) doubts: BTreeMap<i32, Doubt>,
}

impl Consumer {
    pub fn new(client: Client, plan: &Plan, group: &Group, index: u32) -> Consumer {
        let instance = index.checked_sub(group.dynamic).map(|number| format!("static{number}"));
        let rebalance = Duration::from_millis(client.dice.pick(&[500, 1_000, 4_000]));
        let assignor = client.dice.pick(&[None, Some("uniform"), Some("range")]);
        let mut consumer = Consumer {
            group: group.clone(),
            index,
            instance,
            id: String::new(),
            epoch: 0,
            epoch_before: 0,
            told: Partitions::new(),
            owned: Partitions::new(),
            lets_go_at: MonoTime::default(),
            topics: BTreeSet::from([TOPIC]),
            pattern: None,
            has_patterns: plan.patterns,
            assignor,
            rebalance,
            session: Duration::from_millis(plan.consumer_session_ms),
            is_full: true,
            said: None,
            heard: None,
            revokes_since: None,
            is_unsure: false,
            contact: (MonoTime::default(), 0),
            has_rival: false,
            is_free: false,
            is_noticed: plan.refused_percent_max == 0
                && plan.log_delay_ms_max <= 20
                && !plan.disk_failures,
            past: VecDeque::new(),
            restlessness: plan.restlessness,
            fate: None,
            size_max: plan.size_max,
            speaks: match group.kind {
                Kind::Mixed => client.dice.pick(&[Speaks::Classic, Speaks::Consumer]),
                Kind::Classic | Kind::Consumer => Speaks::Consumer,
            },
            spoken: Spoken::default(),
            policy: plan.policy,
            is_silent_of_owned: plan.is_silent_of_owned,
            lives: 0,
            positions: BTreeMap::new(),
            doubts: BTreeMap::new(),
            client,
        };
        consumer.subscribe();
        consumer.take_new_id();
        if consumer.speaks == Speaks::Classic {
            consumer.id.clear();
        }
        consumer
    }

    /// It wants the topic that stays, and maybe some that come and go; the first member of a group
    /// always wants the former, and nobody of a group of both protocols wants others.
    pub(super) fn subscribe(&mut self) {
        if self.is_mixed() {
            return;
        }
        let dice = self.client.dice.clone();
        let mut topics: BTreeSet<_> = OTHERS.into_iter().filter(|_| dice.chance(40)).collect();
        if self.index == 0 || topics.is_empty() || dice.chance(80) {
            topics.insert(TOPIC);
        }
        self.topics = topics;
        self.pattern = match self.has_patterns && dice.chance(30) {
            true => Some(dice.pick(&PATTERNS)),
            false => self.pattern.map(|_| ""),
        };
    }

    pub(super) fn take_new_id(&mut self) {
        self.lives += 1;
        self.id = format!("{}-m{}-{}", self.group.name(), self.index, self.lives);
        (self.epoch_before, self.has_rival) = (0, false);
    }

    /// Is a member until the world ends, or it is its fate to end.
    pub async fn run(mut self) {
        self.client.pause(0, 500).await;
        while !self.client.is_over() {
            let Some(mut connection) = self.client.connect().await else { return };
            if let Ok(()) = self.use_connection(&mut connection).await {
                break;
            }
            self.client.pause(ARRIVES_WITHIN_MS, 50).await;
        }
        self.client.model().stands(self.group.number, self.index, None);
    }

    async fn use_connection(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.client.dice.chance(30) {
            let request = find(&self.group.name());
            let call = connection.call::<FindCoordinatorRequest>(4, &request);
            self.client.answer(call).await?;
        }
        while !self.client.is_over() && !self.is_to_end() {
            self.tell_standing();
            self.turn(connection).await?;
        }
        match self.fate {
            Some(Fate::Leaves) if self.speaks == Speaks::Classic && !self.id.is_empty() => {
                self.leave_spoken(connection).await?;
            }
            Some(Fate::Leaves) if self.epoch > 0 => self.leave(connection, -1).await?,
            Some(Fate::Dies) => self.drop_all(),
            _ => {}
        }
        Ok(())
    }

    /// Lets everybody know how it stands.
    pub fn tell_standing(&self) {
        let is_said = match self.speaks {
            Speaks::Consumer => self.said.as_ref().is_some_and(|(said, ..)| *said == self.owned),
            Speaks::Classic => self.is_in(),
        };
        let standing = Standing {
            id: self.id.clone(),
            generation: self.epoch,
            is_in: self.epoch > 0 && self.owned == self.told && is_said && !self.is_unsure,
            stays: self.fate == Some(Fate::Stays),
        };
        self.client.model().stands(self.group.number, self.index, Some(standing));
    }

    pub(super) fn now(&self) -> MonoTime {
        self.client.runtime.clock().now()
    }

    /// Asks; what is not answered may have been done.
    pub(super) async fn call<R: Request>(
        &mut self,
        connection: &mut Connection,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let answer = self.client.answer(connection.call::<R>(version, request)).await;
        self.contact = (self.now(), self.client.model().life());
        if answer.is_err() {
            (self.is_unsure, self.is_full) = (true, true);
            self.client.pause(ARRIVES_WITHIN_MS, ARRIVES_WITHIN_MS).await;
        }
        answer
    }

    /// Until when it is certainly a member, with all that it reads.
    pub(super) fn counts_until(&self) -> MonoTime {
        let Some(heard) = self.heard.filter(|_| self.epoch > 0) else { return MonoTime::default() };
        let session = heard.after(self.session);
        self.revokes_since.map_or(session, |since| session.min(since.after(self.rebalance)))
    }

    pub(super) async fn beat(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = self.next_beat();
        self.remember(Past { id: self.id.clone(), epoch: self.epoch, request: request.clone() });
        let sent = self.now();
        self.may_have_to_revoke(sent);
        let floor = self.client.model().readers.highest(self.group.number);
        let silent_since = self.contact;
        if self.epoch == 0 {
            self.is_free = false;
        }
        let version = self.version_of(&request);
        let call = self.call::<ConsumerGroupHeartbeatRequest>(connection, version, &request);
        let answer = call.await?;
        match answer.error_code {
            code::NONE => {
                self.was_noticed(silent_since, sent, "a heartbeat");
                self.hears(&request, &answer, (sent, floor));
            }
            error => self.refused("a heartbeat", error).await,
        }
        Ok(())
    }

    /// From now on it may have to give something back, and has its rebalance timeout for that, for
    /// what it sends may be decided before it hears of it.
    pub(super) fn may_have_to_revoke(&mut self, now: MonoTime) {
        self.revokes_since.get_or_insert(now);
        let until = self.counts_until();
        self.client.model().readers.counts_until(self.group.number, self.index, until);
    }

    /// Version 0 knows no patterns.
    pub(super) fn version_of(&self, request: &ConsumerGroupHeartbeatRequest) -> i16 {
        let lowest = u64::from(request.subscribed_topic_regex.is_some());
        self.client.dice.between(lowest, 1) as i16
    }

    /// What it says next.
    fn next_beat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let is_full = self.is_full || self.epoch == 0;
        let said = self.said.as_ref().filter(|_| !is_full);
        let says_owned = said.is_none_or(|(owned, ..)| *owned != self.owned);
        let says_topics = said.is_none_or(|(_, topics, _)| *topics != self.topics);
        let says_pattern = said.is_none_or(|(.., pattern)| *pattern != self.pattern);
        let instance = self.instance.as_deref();
        let mut request = requests::bare(&self.group.name(), &self.id, self.epoch, instance)
            .with_rebalance_timeout_ms(-1);
        if says_owned {
            request.topic_partitions = Some(requests::owned(&self.owned));
        }
        if says_topics {
            request.subscribed_topic_names = Some(requests::names(&self.topics));
        }
        if says_pattern {
            request.subscribed_topic_regex = self.pattern.map(StrBytes::from_static_str);
        }
        if is_full {
            request.rebalance_timeout_ms = self.rebalance.as_millis() as i32;
            request.server_assignor = self.assignor.map(StrBytes::from_static_str);
        }
        self.said = Some((self.owned.clone(), self.topics.clone(), self.pattern));
        request
    }

    /// A heartbeat was answered well, which was sent when the group's highest epoch was `floor`.
    fn hears(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        answer: &ConsumerGroupHeartbeatResponse,
        (sent, floor): (MonoTime, Floor),
    ) {
        let joins = self.epoch == 0;
        let (number, epoch) = (self.group.number, answer.member_epoch);
        let had_to_revoke = !joins && !self.owned.is_subset(&self.told);
        let violated = |what: &str| {
            let (id, before) = (&self.id, self.epoch);
            self.client.findings.violated(format!("{id} in {before}: {what} ({answer:?})"));
        };
        if answer.member_id.as_deref() != Some(self.id.as_str()) || epoch <= 0 {
            violated("is told another id, or no epoch");
        }
        if epoch < self.epoch {
            violated("goes back to an older epoch");
        }
        if had_to_revoke && !self.is_unsure && epoch != self.epoch {
            violated("goes on before it has given back what it had to");
        }
        if answer.assignment.is_none() && (joins || self.is_full) {
            violated("is not told what it may read");
        }
        if joins {
            self.has_rival = false;
        }
        let told_epoch = (epoch, if joins { floor } else { Floor::default() });
        let now = self.now();
        let told = match self.is_mixed() {
            true => {
                let mut model = self.client.model();
                model.readers.told_epoch_of_mixed(number, self.index, told_epoch, now)
            }
            false => self.client.model().readers.told_epoch(number, told_epoch),
        };
        self.client.check(told);
        if epoch != self.epoch {
            (self.epoch_before, self.epoch) = (self.epoch, epoch);
        }
        if request.subscribed_topic_names.is_some() {
            self.is_full = false;
        }
        (self.heard, self.is_unsure) = (Some(sent), false);
        if let Some(assignment) = &answer.assignment {
            self.client.findings.count(|stats| stats.assignments += 1);
            self.told = requests::told(assignment);
            let (id, told) = (&self.id, &self.told);
            self.client.findings.note(|| format!("{id} is to read {told:?} in {epoch}"));
            let takes = self.client.dice.pick(&[0, 5, 50, 200]);
            self.lets_go_at = self.now().after(Duration::from_millis(takes));
        }
        if joins {
            self.client.findings.count(|stats| stats.joins += 1);
        }
        if self.owned.is_subset(&self.told) {
            self.revokes_since = None;
            if joins || self.client.dice.chance(50) {
                self.owned = self.told.clone();
            }
        }
        self.tell_reading();
    }

    /// Lets everybody know what it reads from now on.
    pub(super) fn tell_reading(&mut self) {
        let times = (self.now(), self.counts_until());
        let (group, owned) = (self.group.number, &self.owned);
        let read = self.client.model().readers.reads(group, self.index, owned, times);
        self.client.check(read);
        self.forget_lost_positions();
    }

    /// It reads nothing any more, and has to join.
    pub(super) fn drop_all(&mut self) {
        self.owned.clear();
        self.told.clear();
        (self.epoch, self.is_full, self.said) = (0, true, None);
        (self.heard, self.revokes_since) = (None, None);
        self.spoken.stage = Stage::Out;
        self.tell_reading();
    }

    /// It was silent for longer than its session, and must be out.
    pub(super) fn was_noticed(&self, since: (MonoTime, u32), sent: MonoTime, what: &str) {
        let slack = Duration::from_millis(500);
        let is_same_life = since.1 == self.client.model().life();
        let is_late = sent > since.0.after(self.session + slack);
        if self.epoch > 0 && self.is_noticed && is_same_life && is_late && !self.is_unsure {
            let id = &self.id;
            let what = format!("{what} of {id} is taken, silent since {:?}", since.0);
            self.client.findings.violated(what);
        }
    }

    /// It is told that it is no member of today, or that the coordinator is not there.
    pub(super) async fn refused(&mut self, what: &str, error: i16) {
        if self.speaks == Speaks::Classic {
            return self.refused_spoken(what, error).await;
        }
        let (id, epoch) = (self.id.clone(), self.epoch);
        self.client.findings.note(|| format!("{what} of {id} in {epoch} is refused: {error}"));
        let violated = |it: &str| {
            self.client.findings.violated(format!("{what} of {id} in {epoch} is refused: {it}"));
        };
        let is_member = epoch > 0 && self.now() < self.counts_until();
        let mut pause = 60;
        match error {
            error if is_passing(error) => (self.is_unsure, self.is_full) = (true, true),
            // Of a group that is full, one that is out is told so, as Kafka does.
            code::UNKNOWN_MEMBER_ID | code::GROUP_MAX_SIZE_REACHED if epoch > 0 => {
                if is_member {
                    violated("it is none any more, and was heard of in time");
                }
                self.client.findings.count(|stats| stats.expelled += 1);
                self.drop_all();
                if self.is_mixed() || self.client.dice.chance(30) {
                    self.take_new_id();
                }
            }
            consumer_code::FENCED_MEMBER_EPOCH if epoch > 0 => {
                if !self.is_unsure {
                    violated("it is fenced, and missed nothing");
                }
                self.client.findings.count(|stats| stats.expelled += 1);
                self.drop_all();
                if self.is_mixed() {
                    self.take_new_id();
                }
            }
            // A classic group, which it is not one of.
            consumer_code::GROUP_ID_NOT_FOUND if self.is_mixed() => {
                if is_member || (epoch == 0 && self.policy.upgrades()) {
                    violated("its group is of the other protocol");
                }
                self.client.findings.count(|stats| stats.kept_out += 1);
                self.drop_all();
                self.take_new_id();
                pause = 300;
            }
            code::FENCED_INSTANCE_ID if self.instance.is_some() => {
                if !self.has_rival {
                    violated("nobody took its place");
                }
                self.client.findings.count(|stats| stats.fenced += 1);
                self.drop_all();
                self.take_new_id();
            }
            consumer_code::UNRELEASED_INSTANCE_ID if epoch == 0 && self.instance.is_some() => {
                if self.is_free {
                    violated("nobody is in its place");
                }
                self.client.findings.count(|stats| stats.kept_out += 1);
                pause = 300;
            }
            consumer_code::STALE_MEMBER_EPOCH if self.is_unsure => self.is_full = true,
            code::GROUP_MAX_SIZE_REACHED if epoch == 0 && self.size_max.is_some() => {
                self.client.findings.count(|stats| stats.kept_out += 1);
            }
            other => violated(&format!("error {other}")),
        }
        self.client.pause(5, pause).await;
    }

    pub(super) fn is_load(&self) -> bool {
        *self.client.phase.borrow() == Phase::Load
    }
}
