//! What members do that they should not: they are silent for too long, die, leave, hang up, come
//! back as another one, and what they sent long ago arrives again.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_test_client::Connection;

use super::member::{Member, Question, Stage};
use super::promises::ToldJoin;
use super::requests::{code, is_passing};
use crate::client::Phase;

/// Requests that a member remembers.
const PAST_MAX: usize = 8;
/// Time for the answer of a request that is sent again.
const REPLAY_PATIENCE: Duration = Duration::from_secs(2);

/// How a member ends when all is to come to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Stays,
    Leaves,
    Dies,
}

/// A request that was sent, with its version.
pub(super) enum Past {
    Join(i16, JoinGroupRequest),
    Sync(i16, SyncGroupRequest),
    Heartbeat(i16, HeartbeatRequest),
    Commit(i16, OffsetCommitRequest),
    Leave(i16, LeaveGroupRequest),
}

impl Past {
    /// Who sent it, and in which generation.
    fn sender(&self) -> (String, i32) {
        match self {
            Past::Join(_, it) => (it.member_id.to_string(), -1),
            Past::Sync(_, it) => (it.member_id.to_string(), it.generation_id),
            Past::Heartbeat(_, it) => (it.member_id.to_string(), it.generation_id),
            Past::Commit(_, it) => (it.member_id.to_string(), it.generation_id_or_member_epoch),
            Past::Leave(_, it) => (it.members[0].member_id.to_string(), -1),
        }
    }
}

impl Member {
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

    pub(super) async fn end(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.fate == Some(Fate::Leaves) && !self.me.id.is_empty() {
            return self.leave(connection).await;
        }
        Ok(())
    }

    pub(super) async fn be_restless(&mut self, connection: &mut Connection) -> io::Result<()> {
        let session = self.times.0;
        match self.client.dice.below(7) {
            0 => {
                // It does not know that its time is up, and goes on.
                self.client.pause(session, 3 * session).await;
                match self.client.dice.below(3) {
                    0 => self.commit(connection).await,
                    _ => self.heartbeat(connection).await,
                }
            }
            1 => {
                self.begin_anew();
                self.client.pause(0, 3 * session).await;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            2 => {
                self.leave(connection).await?;
                self.client.pause(0, 2 * session).await;
                Ok(())
            }
            3 => {
                self.about += 1;
                self.stage = Stage::Out;
                Ok(())
            }
            4 => Err(io::ErrorKind::ConnectionReset.into()),
            _ => self.replay().await,
        }
    }

    async fn leave(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = self.me.leave();
        let version = self.client.dice.between(3, 5) as i16;
        self.remember(Past::Leave(version, request.clone()));
        let _question = self.ask();
        self.client.model().forget(self.group.number, &self.me.id);
        self.begin_anew();
        let answer = self.call::<LeaveGroupRequest>(connection, version, &request).await?;
        let each = answer.members.first().map_or(code::NONE, |member| member.error_code);
        let error = if answer.error_code == code::NONE { each } else { answer.error_code };
        match error {
            code::NONE | code::UNKNOWN_MEMBER_ID | code::FENCED_INSTANCE_ID => Ok(()),
            error if is_passing(error) => Ok(()),
            other => {
                self.client.findings.violated(format!("a leave is refused: error {other}"));
                Ok(())
            }
        }
    }

    /// Something that was sent long ago arrives again, over another connection.
    async fn replay(&mut self) -> io::Result<()> {
        if self.past.is_empty() {
            return Ok(());
        }
        let at = self.client.dice.below(self.past.len() as u64) as usize;
        let past = self.past.remove(at).expect("one of them");
        let group = self.group.number;
        let (id, generation) = past.sender();
        let Some(mut connection) = self.client.connect().await else { return Ok(()) };
        let is_over = self.client.model().is_over(group, generation);
        if matches!(past, Past::Commit(..)) && !is_over {
            // It would rightly take a higher offset back.
            return Ok(());
        }
        let name = match past {
            Past::Leave(..) => "leave",
            Past::Join(..) => "join",
            Past::Sync(..) => "sync",
            Past::Heartbeat(..) => "heartbeat",
            Past::Commit(..) => "commit",
        };
        self.client.findings.note(|| format!("{id} sends its {name} of {generation} again"));
        let question = self.ask_as(&id);
        if matches!(past, Past::Leave(..) | Past::Join(..)) {
            self.client.model().forget(group, &id);
            // Whoever comes, or makes room, may do so later than the answer is waited for.
            let instance = self.me.instance.iter();
            instance.for_each(|instance| self.client.model().may_come(group, instance));
        }
        let answered = self.send_again(&mut connection, &past, &question);
        let clock = self.client.runtime.clock();
        match clock.timeout(REPLAY_PATIENCE, answered).await {
            Some(Ok(())) => self.client.findings.count(|stats| stats.replays += 1),
            Some(Err(_)) | None => self.client.model().lost(group, &id),
        }
        Ok(())
    }

    async fn send_again(
        &self,
        connection: &mut Connection,
        past: &Past,
        question: &Question,
    ) -> io::Result<()> {
        let (id, generation) = past.sender();
        let asked = &question.asked;
        let is_well = match past {
            Past::Join(version, request) => {
                let answer = connection.call::<JoinGroupRequest>(*version, request).await?;
                if answer.error_code == code::NONE {
                    let told = ToldJoin {
                        id: answer.member_id.to_string(),
                        generation: answer.generation_id,
                        leader: answer.leader.to_string(),
                        asked_as: id,
                        instance: self.me.instance.clone(),
                    };
                    self.client.check(self.client.model().joined(asked, &told));
                }
                return Ok(());
            }
            Past::Leave(version, request) => {
                connection.call::<LeaveGroupRequest>(*version, request).await?;
                return Ok(());
            }
            Past::Sync(version, request) => {
                let answer = connection.call::<SyncGroupRequest>(*version, request).await?;
                answer.error_code == code::NONE
            }
            Past::Heartbeat(version, request) => {
                let answer = connection.call::<HeartbeatRequest>(*version, request).await?;
                answer.error_code == code::NONE && asked.is_loaded
            }
            Past::Commit(version, request) => {
                let answer = connection.call::<OffsetCommitRequest>(*version, request).await?;
                answer.topics[0].partitions[0].error_code == code::NONE
            }
        };
        if is_well {
            let sender = (id.as_str(), generation);
            self.client.check(self.client.model().accepted(asked, sender, "an old request"));
        }
        Ok(())
    }
}
