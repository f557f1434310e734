//! How requests of producers get to the broker: at once, or never, or late, or twice.
//!
//! A letter is a request as its bytes. One that is late, or comes again, is sent over a connection
//! of its own, and nobody listens to its answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_runtime::Plane;
use ottla_test_client::{Connection, encode_request};

use super::requests::is_passing;
use super::session::{Client, Session, Speaks, Trouble};

/// Virtual time after which no letter is on its way any more.
pub const LETTERS_LAST: Duration = Duration::from_secs(8);
/// Longest delay of a letter, ms.
const LATE_MS_MAX: u64 = 5_000;
/// Longest wait for the answer of a letter.
const PATIENCE: Duration = Duration::from_secs(2);
/// Letters that a producer remembers.
const PAST_MAX: usize = 8;

/// A request that was written.
#[derive(Clone)]
pub struct Letter {
    frame: Bytes,
    kind: i16,
    /// The producer that wrote it; none of one that begins.
    sender: Option<(i64, i16)>,
    /// Whether the end of its transaction guards the next one from it (KIP-890).
    is_guarded: bool,
}

impl Session {
    /// Sends a request once; `None` when no answer came. An error when the world ends.
    pub(super) async fn attempt<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Option<R::Response>, Trouble> {
        if self.client.is_over() {
            return Err(Trouble::Over);
        }
        let letter = self.letter(version, request);
        if self.loses() {
            self.lose(letter).await;
            return Ok(None);
        }
        self.remember(letter);
        let Some(mut connection) = self.connected().await else { return Err(Trouble::Over) };
        let call = connection.call::<R>(version, request);
        match self.client.answer(call).await {
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(Some(answer))
            }
            Err(error) => {
                self.client.findings.note(|| format!("{} hears nothing: {error}", self.id));
                self.is_left_in_doubt();
                Ok(None)
            }
        }
    }

    /// Sends a request until an answer is more than "not now"; sometimes it gives up.
    pub(super) async fn ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        code_of: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, Trouble> {
        loop {
            match self.attempt::<R>(version, request).await? {
                Some(answer) if !is_passing(code_of(&answer)) => return Ok(answer),
                Some(answer) => self.is_put_off(R::KEY, code_of(&answer)).await,
                None if self.has_begun() && self.client.dice.chance(10) => {
                    return Err(Trouble::Abort);
                }
                None => self.rest().await,
            }
        }
    }

    /// It is told to come again.
    pub(super) async fn is_put_off(&self, kind: i16, error: i16) {
        self.client.findings.note(|| format!("{} asks {kind} again: error {error}", self.id));
        self.rest().await;
    }

    /// What it has on its way may come later.
    pub(super) fn is_left_in_doubt(&mut self) {
        if let Some(me) = &mut self.me {
            me.is_doubtful = true;
        }
    }

    pub(super) fn loses(&self) -> bool {
        let loses = self.client.model().rules.loses;
        loses && !self.is_careful && self.is_load() && self.client.dice.chance(4)
    }

    /// The connection that it has, or another one.
    pub(super) async fn connected(&mut self) -> Option<Connection> {
        match self.connection.take() {
            Some(connection) => Some(connection),
            None => self.client.connect().await,
        }
    }

    pub(super) fn letter<R: Request>(&self, version: i16, request: &R) -> Letter {
        let name = StrBytes::from_static_str("letter");
        let frame = encode_request(version, 0, &name, request).expect("a request of ours");
        let sender = self.me.as_ref().map(|me| (me.name.id, me.name.epoch));
        let is_guarded = self.now == Speaks::Bumping;
        Letter { frame, kind: R::KEY, sender, is_guarded }
    }

    /// The request is lost: for ever, or for a while.
    pub(super) async fn lose(&mut self, letter: Letter) {
        self.is_left_in_doubt();
        self.connection = None;
        let dice = &self.client.dice;
        let is_late = dice.chance(70);
        let delay = if dice.chance(50) { dice.below(100) } else { dice.below(LATE_MS_MAX) };
        self.client.findings.note(|| format!("{} loses a {}: {is_late}", self.id, letter.kind));
        if is_late {
            send_later(&self.client, &self.id, letter, delay);
        }
        self.client.pause(0, 100).await;
    }

    /// Now and then a request is kept for later.
    pub(super) fn remember(&mut self, letter: Letter) {
        if !self.client.dice.chance(25) {
            return;
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(letter);
    }

    /// Something that it sent comes again. What a classic client sent in its epoch of now is not
    /// sent again: nothing guards it from that.
    pub fn replay(&mut self) {
        let past = self.past.len() as u64;
        if past == 0 || !self.client.model().rules.loses || !self.is_load() {
            return;
        }
        let letter = self.past[self.client.dice.below(past) as usize].clone();
        let now = self.me.as_ref().map(|me| (me.name.id, me.name.epoch));
        if !letter.is_guarded && (now.is_none() || letter.sender == now) {
            return;
        }
        self.client.findings.count(|stats| stats.replays += 1);
        self.client.findings.note(|| format!("{} sends a {} again", self.id, letter.kind));
        send_later(&self.client, &self.id, letter, self.client.dice.below(200));
    }
}

fn send_later(client: &Client, id: &str, letter: Letter, delay_ms: u64) {
    let (client, id) = (client.clone(), id.to_owned());
    let is_beginning = letter.kind == InitProducerIdRequest::KEY;
    client.clone().runtime.spawn(Plane::Control, "letter", async move {
        client.runtime.clock().sleep(Duration::from_millis(delay_ms)).await;
        if client.is_over() {
            return;
        }
        if is_beginning {
            // Whoever has the id is fenced by it.
            let now = client.runtime.clock().now();
            client.model().begins(&id, now);
        }
        client.findings.note(|| format!("a {} of {id} arrives late", letter.kind));
        let _ = deliver(&client, &letter.frame).await;
    });
}

async fn deliver(client: &Client, frame: &[u8]) -> io::Result<()> {
    let mut connection = Connection::connect(&client.runtime, client.broker).await?;
    connection.send_raw(frame).await?;
    let answer = connection.receive_frame();
    client.runtime.clock().timeout(PATIENCE, answer).await.unwrap_or(Ok(Bytes::new()))?;
    Ok(())
}
