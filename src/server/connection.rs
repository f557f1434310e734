//! One connection: requests in, answers out, in the order of the requests.
//!
//! ```text
//!   socket ──> Inbox ──frame──> dispatch ──Reply──> pending (in order) ──> Outbox ──> socket
//! ```
//! Requests are begun one after the other in one task, as they arrive: an append happens before
//! the next request is looked at. An answer that has to wait (acks, a long poll) leaves the ones
//! behind it waiting, but their requests are begun meanwhile, up to [`PIPELINED_MAX`].
//!
//! A panic in a handler ends this task and so this connection; others do not notice.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_runtime::{Plane, Stream};
use ottla_security::Principal;
use ottla_types::MonoTime;

use crate::dispatch::{Reply, dispatch};
use crate::inbox::{Inbox, Refusal};
use crate::outbox::Outbox;
use crate::response::Response;
use crate::services::{ListenerId, Services};

/// Requests of one connection whose answers are not on their way yet.
const PIPELINED_MAX: usize = 64;
/// Answers of one connection that wait for its socket.
const UNSENT_CHUNKS_MAX: usize = 256;

/// An answer that is not there yet.
pub type LaterResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What requests of a connection have in common.
#[derive(Clone)]
pub struct Peer {
    /// Who is connected.
    pub principal: Principal,
    /// From where.
    pub address: SocketAddr,
    /// Through which listener.
    pub listener: ListenerId,
    /// Thread that serves the connection.
    pub plane: Plane,
}

/// A connection that is served.
pub struct Connection {
    services: Arc<Services>,
    peer: Peer,
    stream: Stream,
    inbox: Inbox,
    outbox: Outbox,
    pending: VecDeque<Pending>,
    /// No more is read; what was begun is answered.
    closing: bool,
    last_active: MonoTime,
}

enum Pending {
    Ready(Response),
    Later(LaterResponse),
}

impl Connection {
    /// A connection that was accepted.
    #[must_use]
    pub fn new(services: Arc<Services>, peer: Peer, stream: Stream) -> Connection {
        let inbox = Inbox::new(
            services.memory.clone(),
            crate::apis::frame_limit,
            peer.listener.is_controller(),
            services.config.limits.request_bytes_max,
        );
        Connection {
            last_active: services.runtime.clock().now(),
            services,
            peer,
            stream,
            inbox,
            outbox: Outbox::default(),
            pending: VecDeque::new(),
            closing: false,
        }
    }

    /// Serves the connection until it ends.
    pub async fn serve(mut self) {
        let address = self.peer.address;
        if let Err(refusal) = self.run().await {
            log_refusal(address, &refusal);
        }
    }

    async fn run(&mut self) -> Result<(), Refusal> {
        let services = self.services.clone();
        let clock = services.runtime.clock();
        let mut timer_at = self.deadline();
        let mut timer = Box::pin(clock.sleep_until(timer_at));
        loop {
            self.begin_requests()?;
            self.outbox.send(&self.stream).map_err(Refusal::Io)?;
            if self.closing && self.pending.is_empty() && self.outbox.is_empty() {
                return Ok(());
            }
            if self.deadline() < timer_at {
                timer_at = self.deadline();
                timer = Box::pin(clock.sleep_until(timer_at));
            }
            let may_read = self.may_read();
            let Connection { stream, inbox, outbox, pending, .. } = &mut *self;
            // Every branch is cancel safe: readiness is asked again, the front answer stays in
            // place, and the inbox takes bytes only behind its last pause.
            tokio::select! {
                biased;
                ready = stream.writable(), if !outbox.is_empty() => ready.map_err(Refusal::Io)?,
                response = front_answer(pending) => {
                    pending.pop_front();
                    outbox.push(response);
                }
                filled = inbox.fill(stream, clock), if may_read => {
                    if let Err(refusal) = filled {
                        self.close_after_answers(refusal)?;
                    }
                    self.last_active = clock.now();
                }
                () = &mut timer => {
                    self.check_deadlines(clock.now())?;
                    timer_at = self.deadline();
                    timer = Box::pin(clock.sleep_until(timer_at));
                }
            }
        }
    }

    /// Begins the requests that have arrived, in order, and moves answers that are ready.
    fn begin_requests(&mut self) -> Result<(), Refusal> {
        let now = self.services.runtime.clock().now();
        while !self.closing && self.pending.len() < PIPELINED_MAX {
            let frame = match self.inbox.next_frame(now) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(refusal) => {
                    self.close_after_answers(refusal)?;
                    break;
                }
            };
            match dispatch(&self.services, &self.peer, &frame) {
                Reply::Now(response) if self.pending.is_empty() => self.outbox.push(response),
                Reply::Now(response) => self.pending.push_back(Pending::Ready(response)),
                Reply::Later(response) => self.pending.push_back(Pending::Later(response)),
                Reply::None => {}
                Reply::Close => self.closing = true,
            }
        }
        while let Some(Pending::Ready(_)) = self.pending.front() {
            if let Some(Pending::Ready(response)) = self.pending.pop_front() {
                self.outbox.push(response);
            }
        }
        if self.pending.is_empty() {
            self.inbox.release_buffer();
        }
        Ok(())
    }

    fn may_read(&self) -> bool {
        !self.closing && self.pending.len() < PIPELINED_MAX && self.outbox.len() < UNSENT_CHUNKS_MAX
    }

    /// Ends at once when nobody can be answered any more; else answers what was begun first.
    fn close_after_answers(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        let nothing_left = self.pending.is_empty() && self.outbox.is_empty();
        match refusal {
            Refusal::BadLength(_) | Refusal::Unwanted { .. } if !nothing_left => {
                log_refusal(self.peer.address, &refusal);
                self.closing = true;
                Ok(())
            }
            refusal => Err(refusal),
        }
    }

    /// When the connection must have done something.
    fn deadline(&self) -> MonoTime {
        let never = MonoTime::from_start(Duration::MAX);
        let idle = self.services.config.limits.idle_max;
        let idle = idle.map_or(never, |idle| self.last_active.after(idle));
        self.inbox.deadline().map_or(idle, |frame| frame.min(idle))
    }

    fn check_deadlines(&mut self, now: MonoTime) -> Result<(), Refusal> {
        if self.inbox.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Refusal::TooSlow);
        }
        if now >= self.deadline() {
            // A request in work is not idleness; an answer that nobody reads is.
            if self.pending.is_empty() {
                return Err(Refusal::Closed);
            }
            self.last_active = now;
        }
        Ok(())
    }
}

/// Completes with the answer at the front; never without one that has to be waited for.
async fn front_answer(pending: &mut VecDeque<Pending>) -> Response {
    match pending.front_mut() {
        Some(Pending::Later(response)) => response.await,
        _ => std::future::pending().await,
    }
}

fn log_refusal(address: SocketAddr, refusal: &Refusal) {
    match refusal {
        Refusal::Closed => tracing::debug!(%address, "connection closed"),
        Refusal::Io(error) => tracing::debug!(%address, %error, "connection broke"),
        Refusal::BadLength(length) => {
            tracing::info!(%address, length, "closing connection: no request has this length");
        }
        Refusal::Unwanted { prefix, length } => {
            let (key, version) = (prefix.api_key, prefix.api_version);
            tracing::info!(%address, key, version, length,
                "closing connection: the listener does not take this request");
        }
        Refusal::TooSlow => tracing::info!(%address, "closing connection: request came too slowly"),
    }
}
