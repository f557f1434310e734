//! What members that speak the classic protocol in groups of both do that they should not.
//!
//! Deliberately absent: an old join that arrives again. What it says it has may not be so any more,
//! and a consumer group takes it, as Kafka does.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::HeartbeatRequest;
use ottla_test_client::Connection;

use super::member::Consumer;
use super::spoken::Stage;
use crate::groups::requests::{Me, code};

/// Time for the answer of a heartbeat over a connection of its own.
const PATIENCE: Duration = Duration::from_secs(2);

impl Consumer {
    pub(super) async fn be_restless_spoken(
        &mut self,
        connection: &mut Connection,
    ) -> io::Result<()> {
        let session = self.session.as_millis() as u64;
        match self.client.dice.below(10) {
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
                self.leave_spoken(connection).await?;
                self.client.pause(0, 2 * session).await;
                Ok(())
            }
            3 => Err(io::ErrorKind::ConnectionReset.into()),
            // It joins again for no reason.
            4 => {
                self.spoken.stage = Stage::Out;
                Ok(())
            }
            // It goes on reading, and joins again too late.
            5 => {
                let late = 2 * self.rebalance.as_millis() as u64;
                self.client.pause(0, late).await;
                self.spoken.stage = Stage::Out;
                Ok(())
            }
            6 => self.repeat_heartbeat().await,
            _ => self.change_protocol(connection).await,
        }
    }

    /// A heartbeat arrives twice, or one of an older generation long after.
    async fn repeat_heartbeat(&mut self) -> io::Result<()> {
        let is_old = self.epoch_before > 0 && self.client.dice.chance(50);
        let generation = if is_old { self.epoch_before } else { self.epoch };
        let (group, number) = (self.group.name(), self.group.number);
        let (id, instance) = (self.id.clone(), self.instance.clone());
        let me = Me { group, protocol_type: "consumer", id, instance, generation };
        let request: HeartbeatRequest = me.heartbeat();
        let asked = self.client.model().asks(number, &self.id);
        let Some(mut connection) = self.client.connect().await else { return Ok(()) };
        let call = connection.call::<HeartbeatRequest>(4, &request);
        let answer = self.client.runtime.clock().timeout(PATIENCE, call).await;
        let Some(Ok(answer)) = answer else { return Ok(()) };
        self.client.findings.count(|stats| stats.replays += 1);
        if is_old && answer.error_code == code::NONE && asked.is_loaded {
            let (id, now) = (&self.id, self.epoch);
            let what = format!("a heartbeat of {id} in {generation} is taken, of {now}");
            self.client.findings.violated(what);
        }
        Ok(())
    }
}
