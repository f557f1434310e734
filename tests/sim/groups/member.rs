//! A member of a group: it joins, asks for its assignment, reads and commits, and does some of what
//! it should not ([`super::restless`]).
//!
//! Its offsets only grow, and one whose fate it does not know it sends again, and none above it,
//! until it is in another generation, or the broker is another process: a commit whose answer was
//! lost may be carried out as long as both are the same, and would take a higher one back.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use kafka_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::Request;
use ottla_test_client::Connection;
use ottla_types::MonoTime;

use super::plan::{Group, Plan};
use super::promises::{Asked, Assignment, Promises, Standing, ToldJoin};
use super::requests::{self, Me, code, is_passing};
use super::restless::{Fate, Past};
use crate::client::Phase;

/// A client of this workload.
pub type Client = crate::client::Client<Promises>;

/// How much later than its deadline a session may end: timers and requests take their time.
const SESSION_SLACK: Duration = Duration::from_millis(500);

/// Where a member stands.
pub(super) enum Stage {
    /// It has to join.
    Out,
    /// It has joined; the leader knows the ids of all members.
    Joined { leads: Option<Vec<String>> },
    /// It knows its assignment.
    In,
}

/// A commit whose fate is not known.
pub(super) struct Doubt {
    pub(super) life: u32,
    pub(super) offset: i64,
}

/// A question on its way.
pub(super) struct Question {
    pub(super) asked: Asked,
    sent: MonoTime,
    silent_since: Option<MonoTime>,
}

/// A member, over all its lives.
pub struct Member {
    pub(super) client: Client,
    pub(super) group: Group,
    pub(super) index: u32,
    pub(super) me: Me,
    /// Session and rebalance timeout, ms.
    pub(super) times: (u64, u64),
    /// What it says about itself.
    pub(super) about: u32,
    pub(super) stage: Stage,
    pub(super) past: VecDeque<Past>,
    pub(super) restlessness: u64,
    pub(super) fate: Option<Fate>,
    partitions: i32,
    size_max: Option<usize>,
    owned: Vec<i32>,
    /// What is committed, of those that it owns.
    positions: BTreeMap<i32, i64>,
    doubts: BTreeMap<i32, Doubt>,
}

impl Member {
    pub fn new(client: Client, plan: &Plan, group: &Group, index: u32) -> Member {
        let instance = index.checked_sub(group.dynamic).map(|number| format!("static{number}"));
        let me = Me {
            group: group.name(),
            protocol_type: group.protocol_type,
            id: String::new(),
            instance,
            generation: -1,
        };
        let times =
            (client.dice.pick(&[300, 1_000, 3_000]), client.dice.pick(&[500, 1_000, 4_000]));
        Member {
            client,
            group: group.clone(),
            index,
            me,
            times,
            about: 0,
            stage: Stage::Out,
            past: VecDeque::new(),
            restlessness: plan.restlessness,
            fate: None,
            partitions: plan.partitions,
            size_max: plan.size_max,
            owned: Vec::new(),
            positions: BTreeMap::new(),
            doubts: BTreeMap::new(),
        }
    }

    /// Is a member until the world ends, or it is its fate to end.
    pub async fn run(mut self) {
        self.client.pause(0, 500).await;
        while !self.client.is_over() {
            let Some(mut connection) = self.client.connect().await else { return };
            if let Ok(()) = self.use_connection(&mut connection).await {
                break;
            }
            // Who asked for its assignment may ask again, or join again.
            if self.client.dice.chance(50) && !matches!(self.stage, Stage::In) {
                self.stage = Stage::Out;
            }
            self.client.pause(1, 40).await;
        }
        self.client.model().stands(self.group.number, self.index, None);
    }

    async fn use_connection(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.client.dice.chance(30) {
            let request = requests::find(&self.me.group);
            let answer = self.call::<FindCoordinatorRequest>(connection, 4, &request).await?;
            let error = answer.coordinators[0].error_code;
            if error != code::NONE && !is_passing(error) {
                self.client.findings.violated(format!("no coordinator: error {error}"));
            }
        }
        while !self.client.is_over() && !self.is_to_end() {
            self.tell_standing();
            match &self.stage {
                Stage::Out => self.join(connection).await?,
                Stage::Joined { .. } => self.sync(connection).await?,
                Stage::In => self.work(connection).await?,
            }
        }
        self.end(connection).await
    }

    /// Lets everybody know how it stands.
    pub(super) fn tell_standing(&self) {
        let standing = Standing {
            id: self.me.id.clone(),
            generation: self.me.generation,
            is_in: matches!(self.stage, Stage::In),
            stays: self.fate == Some(Fate::Stays),
        };
        self.client.model().stands(self.group.number, self.index, Some(standing));
    }

    /// Asks; who hangs up before the answer is there may be waited for still.
    pub(super) async fn call<R: Request>(
        &self,
        connection: &mut Connection,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let answer = self.client.answer(connection.call::<R>(version, request)).await;
        if answer.is_err() {
            self.client.model().lost(self.group.number, &self.me.id);
        }
        answer
    }

    pub(super) fn ask(&self) -> Question {
        let mut model = self.client.model();
        let silent_since = model.silent_since(self.group.number, &self.me.id);
        let asked = model.asks(self.group.number, &self.me.id);
        Question { asked, sent: self.client.runtime.clock().now(), silent_since }
    }

    /// Asks as another one, or as the one it was.
    pub(super) fn ask_as(&self, id: &str) -> Question {
        let asked = self.client.model().asks(self.group.number, id);
        Question { asked, sent: self.client.runtime.clock().now(), silent_since: None }
    }

    /// A question was answered well: it must have been one of a member of today.
    fn taken(&self, question: &Question, what: &str) {
        let me = (self.me.id.as_str(), self.me.generation);
        self.client.model().is_served(&question.asked);
        self.client.check(self.client.model().accepted(&question.asked, me, what));
        let session = Duration::from_millis(self.times.0) + SESSION_SLACK;
        if let Some(since) = question.silent_since
            && question.sent > since.after(session)
        {
            let id = &self.me.id;
            self.client
                .findings
                .violated(format!("{what} of {id} is taken, silent since {since:?}"));
        }
    }

    fn version(&self, dynamic: i16, static_: i16, highest: i16) -> i16 {
        let lowest = if self.me.instance.is_some() { static_ } else { dynamic };
        self.client.dice.between(lowest.unsigned_abs().into(), highest.unsigned_abs().into()) as i16
    }

    async fn join(&mut self, connection: &mut Connection) -> io::Result<()> {
        let version = self.version(2, 5, 9);
        let request = self.me.join(self.times, self.about);
        self.remember(Past::Join(version, request.clone()));
        let question = self.ask();
        let comes = self.me.instance.clone().filter(|_| self.me.id.is_empty());
        let group = self.group.number;
        comes.iter().for_each(|instance| self.client.model().comes(group, instance));
        let patience = match self.client.dice.below(4_000) < self.restlessness {
            true => Duration::from_millis(self.client.dice.below(2 * self.times.1)),
            false => Duration::MAX,
        };
        let call = self.call::<JoinGroupRequest>(connection, version, &request);
        let answer = self.client.runtime.clock().timeout(patience, call).await;
        if answer.is_none() {
            self.client.model().lost(group, &self.me.id);
        }
        let answer = answer.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        if answer.is_err() {
            comes.iter().for_each(|instance| self.client.model().may_come(group, instance));
        }
        let answer = answer?;
        match answer.error_code {
            code::NONE => self.joined(&question, answer),
            code::MEMBER_ID_REQUIRED if version >= 4 && self.me.id.is_empty() => {
                self.me.id = answer.member_id.to_string();
            }
            error => self.refused("a join", error).await,
        }
        Ok(())
    }

    fn joined(&mut self, question: &Question, answer: JoinGroupResponse) {
        let told = ToldJoin {
            id: answer.member_id.to_string(),
            generation: answer.generation_id,
            leader: answer.leader.to_string(),
            asked_as: self.me.id.clone(),
            instance: self.me.instance.clone(),
        };
        self.client.findings.count(|stats| stats.joins += 1);
        self.client.findings.note(|| format!("{} joined: {told:?}", self.me.group));
        self.client.model().is_served(&question.asked);
        self.client.check(self.client.model().joined(&question.asked, &told));
        let is_same = (&told.id, told.generation) == (&self.me.id, self.me.generation);
        if !is_same {
            self.doubts.clear();
        }
        (self.me.id, self.me.generation) = (told.id, told.generation);
        let leads = *answer.leader == self.me.id && !answer.skip_assignment;
        if self.size_max.is_some_and(|most| answer.members.len() > most) {
            let (group, size) = (&self.me.group, answer.members.len());
            self.client.findings.violated(format!("{group} has {size} members"));
        }
        let members = answer.members.iter().map(|member| member.member_id.to_string());
        self.stage = Stage::Joined { leads: leads.then(|| members.collect()) };
    }

    async fn sync(&mut self, connection: &mut Connection) -> io::Result<()> {
        let Stage::Joined { leads } = &self.stage else { return Ok(()) };
        let assignments = leads.as_ref().map(|members| self.assign(members)).unwrap_or_default();
        let version = self.version(0, 3, 5);
        let request = self.me.sync(version, &assignments);
        self.remember(Past::Sync(version, request.clone()));
        let question = self.ask();
        let answer = self.call::<SyncGroupRequest>(connection, version, &request).await?;
        match answer.error_code {
            code::NONE => {
                self.client.findings.count(|stats| stats.assignments += 1);
                self.taken(&question, "a sync");
                let me = (self.me.id.as_str(), self.me.generation);
                let told = self.client.model().assigned(&question.asked, me, &answer.assignment);
                let (group, id) = (&self.me.group, &self.me.id);
                self.client.findings.note(|| format!("{group}: {id} is assigned {told:?}"));
                match told {
                    Ok(owned) => self.owned = owned,
                    Err(what) => self.client.findings.violated(what),
                }
                self.positions.clear();
                self.stage = Stage::In;
            }
            error => self.refused("a sync", error).await,
        }
        Ok(())
    }

    /// As the leader: who owns what.
    fn assign(&self, members: &[String]) -> Vec<(String, String)> {
        let dice = &self.client.dice;
        let (decision, first) = (dice.below(1 << 40), dice.below(members.len() as u64) as usize);
        let mut all: Vec<Vec<i32>> = vec![Vec::new(); members.len()];
        for (turn, partition) in (0..self.partitions).enumerate() {
            all[(first + turn) % members.len()].push(partition);
        }
        let generation = self.me.generation;
        let told = |partitions| Assignment { generation, decision, partitions }.encode();
        members.iter().cloned().zip(all.into_iter().map(told)).collect()
    }

    /// A member of today does what members do.
    async fn work(&mut self, connection: &mut Connection) -> io::Result<()> {
        let dice = self.client.dice.clone();
        if self.owned.iter().any(|partition| !self.positions.contains_key(partition)) {
            return self.fetch(connection).await;
        }
        let is_load = *self.client.phase.borrow() == Phase::Load;
        if is_load && dice.below(1_000) < self.restlessness {
            return self.be_restless(connection).await;
        }
        match dice.below(10) {
            0..=4 => self.heartbeat(connection).await?,
            5 => {
                // Which is no sign of life: several in a row would end its session.
                self.fetch(connection).await?;
                self.heartbeat(connection).await?;
            }
            _ => self.commit(connection).await?,
        }
        self.client.pause(5, self.times.0 / 4).await;
        Ok(())
    }

    pub(super) async fn heartbeat(&mut self, connection: &mut Connection) -> io::Result<()> {
        let version = self.version(0, 3, 4);
        let request = self.me.heartbeat();
        self.remember(Past::Heartbeat(version, request.clone()));
        let group = self.group.number;
        let heard_at = self.client.model().heard_at(group, &self.me.id);
        let question = self.ask();
        let answer = self.call::<HeartbeatRequest>(connection, version, &request).await?;
        let now = self.client.runtime.clock().now();
        match answer.error_code {
            code::NONE if !question.asked.is_loaded => {}
            code::NONE => {
                self.taken(&question, "a heartbeat");
                let id = &self.me.id;
                self.client.model().was_heard(&question.asked, id, question.sent, now);
            }
            error => {
                let patience = Duration::from_millis(self.times.0.min(self.times.1));
                if error == code::UNKNOWN_MEMBER_ID
                    && let Some(heard) = heard_at
                    && now < heard.after(patience)
                    && self.client.model().heard_at(group, &self.me.id).is_some()
                {
                    let id = &self.me.id;
                    let what = format!("{id} is none any more, and was heard of at {heard:?}");
                    self.client.findings.violated(what);
                }
                self.refused("a heartbeat", error).await;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.owned.is_empty() {
            return self.heartbeat(connection).await;
        }
        let group = self.group.number;
        let partition = self.client.dice.pick(&self.owned);
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
        let version = self.version(2, 7, 9);
        let request = self.me.commit(partition, offset);
        self.remember(Past::Commit(version, request.clone()));
        let question = self.ask();
        self.client.model().commits(group, partition, offset);
        let answer = self.call::<OffsetCommitRequest>(connection, version, &request).await?;
        match answer.topics[0].partitions[0].error_code {
            code::NONE => {
                self.client.findings.count(|stats| stats.commits += 1);
                self.taken(&question, "a commit");
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

    /// Asks where it is to go on.
    async fn fetch(&mut self, connection: &mut Connection) -> io::Result<()> {
        let group = self.group.number;
        let floors: BTreeMap<i32, i64> = {
            let model = self.client.model();
            self.owned.iter().map(|owned| (*owned, model.floor(group, *owned))).collect()
        };
        let told = fetch_offsets(&self.client, connection, &self.group, &floors).await?;
        let Some(told) = told else {
            self.client.pause(10, 100).await;
            return Ok(());
        };
        for (partition, offset) in told {
            self.positions.insert(partition, offset);
            if self.doubts.get(&partition).is_some_and(|doubt| doubt.offset <= offset) {
                self.doubts.remove(&partition);
            }
        }
        Ok(())
    }

    /// It is told that it is no member of today, or that the coordinator is not there.
    pub(super) async fn refused(&mut self, what: &str, error: i16) {
        let (group, id) = (&self.me.group, &self.me.id);
        self.client.findings.note(|| format!("{group}: {what} of {id:?} is refused: {error}"));
        match error {
            code::REBALANCE_IN_PROGRESS | code::ILLEGAL_GENERATION => self.stage = Stage::Out,
            code::UNKNOWN_MEMBER_ID => {
                self.client.findings.count(|stats| stats.expelled += 1);
                self.begin_anew();
            }
            code::FENCED_INSTANCE_ID => {
                self.client.findings.count(|stats| stats.fenced += 1);
                let id = &self.me.id;
                self.client.check(self.client.model().told_fenced(self.group.number, id));
                self.begin_anew();
            }
            code::GROUP_MAX_SIZE_REACHED if self.size_max.is_some() => {
                self.client.findings.count(|stats| stats.kept_out += 1);
                self.begin_anew();
            }
            error if is_passing(error) => {}
            other => self.client.findings.violated(format!("{what} is refused: error {other}")),
        }
        self.client.pause(5, 60).await;
    }

    /// It has no id any more.
    pub(super) fn begin_anew(&mut self) {
        self.me.id.clear();
        self.me.generation = -1;
        self.stage = Stage::Out;
    }
}

/// Reads offsets of a group, of which at least `floors` must be told; `None` when it cannot be read
/// now.
pub async fn fetch_offsets(
    client: &Client,
    connection: &mut Connection,
    group: &Group,
    floors: &BTreeMap<i32, i64>,
) -> io::Result<Option<Vec<(i32, i64)>>> {
    let partitions: Vec<i32> = floors.keys().copied().collect();
    let request = requests::fetch(&group.name(), &partitions);
    let version = client.dice.between(8, 9) as i16;
    let call = connection.call::<OffsetFetchRequest>(version, &request);
    let mut answer = client.answer(call).await?;
    let told = answer.groups.remove(0);
    if is_passing(told.error_code) {
        return Ok(None);
    }
    if told.error_code != code::NONE {
        client.findings.violated(format!("a fetch of offsets: error {}", told.error_code));
        return Ok(None);
    }
    let mut offsets = Vec::new();
    for partition in &told.topics[0].partitions {
        let (index, offset) = (partition.partition_index, partition.committed_offset);
        let metadata = partition.metadata.as_ref().map_or("", |text| text.as_str());
        let floor = floors.get(&index).copied().unwrap_or(-1);
        let told = (offset, metadata);
        client.check(client.model().told_offset(group.number, index, told, floor));
        offsets.push((index, offset));
    }
    Ok(Some(offsets))
}
