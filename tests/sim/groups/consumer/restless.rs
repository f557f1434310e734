//! What members of consumer groups do that they should not: they are silent, slow, gone, twice or
//! somebody else, and what they sent long ago arrives again.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_test_client::Connection;

use super::member::Consumer;
use super::requests::{self, code as consumer_code};
use crate::client::Phase;
use crate::groups::requests::{code, is_passing};
use crate::groups::restless::Fate;

/// Requests that a member remembers.
const PAST_MAX: usize = 8;
/// Time for the answer of a request over a connection of its own.
const PATIENCE: Duration = Duration::from_secs(2);
const LEAVING: i32 = -1;
const LEAVING_FOR_A_WHILE: i32 = -2;

/// A heartbeat that was sent, by whom, and in which epoch.
pub(super) struct Past {
    pub(super) id: String,
    pub(super) epoch: i32,
    pub(super) request: ConsumerGroupHeartbeatRequest,
}

impl Consumer {
    /// Now and then a request is kept for later.
    pub(super) fn remember(&mut self, past: Past) {
        if !self.client.dice.chance(20) {
            return;
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(past);
    }

    /// Whether all is to come to rest without this member.
    pub(super) fn is_to_end(&mut self) -> bool {
        if *self.client.phase.borrow() == Phase::Load {
            return false;
        }
        let dice = &self.client.dice;
        let fates = [Fate::Stays, Fate::Stays, Fate::Stays, Fate::Leaves, Fate::Dies];
        *self.fate.get_or_insert_with(|| dice.pick(&fates)) != Fate::Stays
    }

    pub(super) async fn be_restless(&mut self, connection: &mut Connection) -> io::Result<()> {
        let session = self.session.as_millis() as u64;
        match self.client.dice.below(10) {
            0 => {
                // It does not know that its time is up, and goes on.
                self.client.pause(session, 3 * session).await;
                match self.client.dice.below(3) {
                    0 => self.commit(connection).await,
                    _ => self.beat(connection).await,
                }
            }
            1 => {
                self.begin_anew();
                self.is_free = false;
                self.client.pause(0, 3 * session).await;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            2 => {
                self.leave(connection, LEAVING).await?;
                self.client.pause(0, 2 * session).await;
                Ok(())
            }
            3 | 4 if self.is_mixed() && self.client.dice.chance(70) => {
                self.change_protocol(connection).await
            }
            3 | 4 if self.instance.is_some() => {
                self.leave(connection, LEAVING_FOR_A_WHILE).await?;
                self.client.pause(0, 4 * session).await;
                Ok(())
            }
            3 | 4 => {
                self.subscribe();
                self.beat(connection).await
            }
            5 => Err(io::ErrorKind::ConnectionReset.into()),
            6 => self.hang_up(connection).await,
            // It lets go too late.
            7 => {
                let late = 2 * self.rebalance.as_millis() as u64;
                let late = Duration::from_millis(self.client.dice.below(late));
                self.lets_go_at = self.lets_go_at.max(self.now().after(late));
                Ok(())
            }
            8 if self.instance.is_some() => self.be_two().await,
            8 => self.repeat().await,
            _ => self.replay().await,
        }
    }

    /// It leaves, and has nothing more to read.
    pub(super) async fn leave(
        &mut self,
        connection: &mut Connection,
        epoch: i32,
    ) -> io::Result<()> {
        let instance = self.instance.as_deref();
        let request = requests::bare(&self.group.name(), &self.id, epoch, instance)
            .with_rebalance_timeout_ms(-1);
        self.remember(Past { id: self.id.clone(), epoch, request: request.clone() });
        let (was_unsure, counts_until) = (self.is_unsure, self.counts_until());
        self.drop_all();
        self.is_free = false;
        let version = self.version_of(&request);
        let call = self.call::<ConsumerGroupHeartbeatRequest>(connection, version, &request);
        let answer = call.await;
        let id = self.id.clone();
        if self.is_mixed() || self.client.dice.chance(70) {
            self.take_new_id();
        }
        let answer = answer?;
        let violated = |what: String| {
            self.client.findings.violated(format!("{id} leaves with {epoch}: {what}"));
        };
        match answer.error_code {
            code::NONE => {
                if answer.member_epoch != epoch {
                    violated(format!("it is told {}", answer.member_epoch));
                }
                self.is_free = true;
            }
            code::UNKNOWN_MEMBER_ID if was_unsure || self.now() >= counts_until => {}
            // Of what is a classic group by now.
            consumer_code::GROUP_ID_NOT_FOUND
                if self.is_mixed() && (was_unsure || self.now() >= counts_until) => {}
            code::FENCED_INSTANCE_ID => {}
            error if is_passing(error) => {}
            other => violated(format!("error {other}")),
        }
        Ok(())
    }

    /// It sends a heartbeat and hangs up before the answer is there.
    async fn hang_up(&mut self, connection: &mut Connection) -> io::Result<()> {
        let patience = Duration::from_millis(self.client.dice.below(30));
        let clock = self.client.runtime.clock().clone();
        match clock.timeout(patience, self.beat(connection)).await {
            Some(done) => done,
            None => {
                (self.is_unsure, self.is_full) = (true, true);
                self.contact = (self.now(), self.client.model().life());
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Sends something over a connection of its own; the error of the answer if one came.
    async fn send_aside(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Option<i16> {
        let mut connection = self.client.connect().await?;
        let version = self.version_of(request);
        let call = connection.call::<ConsumerGroupHeartbeatRequest>(version, request);
        let answer = self.client.runtime.clock().timeout(PATIENCE, call).await;
        let answer = answer.and_then(Result::ok);
        if answer.is_some() {
            self.client.findings.count(|stats| stats.replays += 1);
        }
        self.contact = (self.now(), self.client.model().life());
        self.client.pause(15, 30).await;
        answer.map(|answer| answer.error_code)
    }

    /// Somebody else comes as the same static member.
    async fn be_two(&mut self) -> io::Result<()> {
        let other = format!("{}-other", self.id);
        let request = requests::bare(&self.group.name(), &other, 0, self.instance.as_deref())
            .with_rebalance_timeout_ms(self.rebalance.as_millis() as i32)
            .with_subscribed_topic_names(Some(requests::names(&self.topics)))
            .with_topic_partitions(Some(Vec::new()));
        let (epoch, was_free) = (self.epoch, self.is_free);
        self.is_free = false;
        let id = self.id.clone();
        self.client.findings.note(|| format!("{other} comes beside {id}"));
        let error = self.send_aside(&request).await;
        match error {
            Some(code::NONE) => {
                if epoch > 0 && self.now() < self.counts_until() {
                    let what = format!("{other} takes the place of {id}, which has not left");
                    self.client.findings.violated(what);
                }
                self.has_rival = true;
            }
            Some(consumer_code::UNRELEASED_INSTANCE_ID) => self.is_free = was_free,
            _ => self.has_rival = true,
        }
        Ok(())
    }

    /// Its last heartbeat arrives twice, and nobody hears what the second one is told. What it says
    /// is so still; but from then on it may have to give something back.
    async fn repeat(&mut self) -> io::Result<()> {
        let Some(past) = self.past.back() else { return Ok(()) };
        let request = past.request.clone();
        let owned = request.topic_partitions.as_ref();
        let is_so = past.id == self.id
            && past.epoch == self.epoch
            && self.epoch > 0
            && owned.is_none_or(|owned| *owned == requests::owned(&self.owned))
            && self.owned.is_subset(&self.told);
        if !is_so {
            return Ok(());
        }
        (self.is_unsure, self.is_full) = (true, true);
        self.may_have_to_revoke(self.now());
        self.send_aside(&request).await;
        Ok(())
    }

    /// Something that was sent long ago arrives again: of an epoch or a member that is no more.
    async fn replay(&mut self) -> io::Result<()> {
        let is_over = |past: &Past| match past.id == self.id {
            true => past.epoch > 0 && past.epoch < self.epoch_before && !self.is_unsure,
            false => past.epoch != 0,
        };
        let Some(at) = self.past.iter().position(is_over) else { return Ok(()) };
        let past = self.past.remove(at).expect("one of them");
        let (id, epoch, is_own) = (&past.id, past.epoch, past.id == self.id);
        self.client.findings.note(|| format!("{id} sends its heartbeat of {epoch} again"));
        let error = self.send_aside(&past.request).await;
        if is_own && error == Some(code::NONE) {
            let what = format!("a heartbeat of {id} in {epoch} is taken, of {}", self.epoch);
            self.client.findings.violated(what);
        }
        Ok(())
    }
}
