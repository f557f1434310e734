//! One connection: requests in, answers out, in the order of the requests.
//!
//! ```text
//!   socket ──> Inbox ──frame──> dispatch ──Reply──> pending (in order) ──> Outbox ──> socket
//! ```
//! Requests are begun one after the other in one task, as they arrive: an append happens before
//! the next request is looked at. An answer that has to wait (acks, a long poll) leaves the ones
//! behind it waiting, but their requests are begun meanwhile, up to
//! `ottla.connection.requests.max` and as long as the answers take little memory. A request that is
//! begun elsewhere, because it would keep the thread, holds those behind it up; answers to those
//! before it leave.
//!
//! A client that says that it will send no more gets the answers to what it has sent.
//!
//! A panic in a handler ends this task and so this connection; others do not notice.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_runtime::{Plane, ReleasedStream, Stream};
use ottla_security::Principal;
use ottla_types::MonoTime;

use crate::connections::{Admitted, Cut};
use crate::dispatch::{Reply, dispatch};
use crate::homes::Planes;
use crate::inbox::{Inbox, InboxLimits, Refusal};
use crate::outbox::Outbox;
use crate::response::Response;
use crate::services::{ListenerId, Services};
use crate::waiting::WaitingShare;

/// Longest wait for answers whose client will send no more: it may not be there any more.
const FINISHED_WAIT_MAX: Duration = Duration::from_secs(60);
/// What a request takes while its answer waits, at least, and for each of its bytes: it is decoded
/// then. A Produce counts what it keeps itself.
const WAITING_BYTES: usize = 512;
const WAITING_FACTOR: usize = 8;
const COUNTED: &str = "who waits is counted when the request is begun";
/// Pieces of one connection's answers that wait for its socket, and those of files among them.
const UNSENT_CHUNKS_MAX: usize = 1_024;
const UNSENT_FILES_MAX: usize = 256;

/// An answer that is not there yet.
pub type LaterResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A request that is begun elsewhere, and what its reply is then.
pub type HeldRequest = Box<dyn FnOnce(Arc<Services>) -> HeldReply + Send>;
/// A reply that is not known yet.
pub type HeldReply = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What requests of a connection have in common.
#[derive(Clone)]
pub struct Peer {
    /// Who is connected.
    pub principal: Principal,
    /// From where.
    pub address: SocketAddr,
    /// Through which listener.
    pub listener: ListenerId,
    /// Thread that serves the connection now.
    pub plane: Plane,
}

/// A connection that is served.
pub struct Connection {
    services: Arc<Services>,
    peer: Peer,
    planes: Planes,
    /// The next request, which is begun when nothing is in work, and on which thread.
    moving: Option<(Plane, Bytes)>,
    admitted: Admitted,
    inbox: Inbox,
    outbox: Outbox,
    pending: VecDeque<Pending>,
    /// The request behind all of these that is begun elsewhere.
    held: Option<(HeldReply, WaitingShare)>,
    /// Bytes of the answers among `pending` that are ready.
    ready_bytes: usize,
    /// Bytes of the requests, `held` among them, whose answers have to wait.
    waiting_bytes: usize,
    /// No more is read; what was begun is answered.
    closing: bool,
    /// When the client said that it will send no more.
    finished_at: Option<MonoTime>,
    last_active: MonoTime,
    /// When the client last took something of an answer, or had nothing to take.
    taken_at: MonoTime,
}

enum Pending {
    Ready(Response),
    Later(LaterResponse, WaitingShare),
}

impl Connection {
    /// A connection that was accepted.
    #[must_use]
    pub fn new(services: Arc<Services>, peer: Peer, admitted: Admitted) -> Connection {
        let limits = &services.config.limits;
        let limits = InboxLimits {
            memory: services.memory.clone(),
            frame_limit: crate::apis::frame_limit,
            is_controller: peer.listener.is_controller(),
            length_max: limits.request_bytes_max,
            receive_max: limits.receive_max,
        };
        let inbox = Inbox::new(limits, admitted.connections().clone(), admitted.slot().clone());
        let now = services.runtime.clock().now();
        Connection {
            services,
            planes: Planes::new(peer.plane),
            peer,
            moving: None,
            admitted,
            inbox,
            outbox: Outbox::default(),
            pending: VecDeque::new(),
            held: None,
            ready_bytes: 0,
            waiting_bytes: 0,
            closing: false,
            finished_at: None,
            last_active: now,
            taken_at: now,
        }
    }

    /// Serves the connection until it ends, or goes on with it on another thread.
    pub async fn serve(mut self, stream: Stream) {
        let address = self.peer.address;
        let refusal = match self.run(&stream).await {
            Ok(None) => return,
            Ok(Some(plane)) => match stream.release() {
                Ok(stream) => return self.go_on(plane, stream),
                Err(error) => Refusal::Io(error),
            },
            Err(refusal) => refusal,
        };
        log_refusal(address, &refusal);
    }

    fn go_on(mut self, plane: Plane, stream: ReleasedStream) {
        self.peer.plane = plane;
        let runtime = self.services.runtime.clone();
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            match stream.attach() {
                Ok(stream) => self.serve(stream).await,
                Err(error) => log_refusal(self.peer.address, &Refusal::Io(error)),
            }
        });
        runtime.spawn(plane, "connection", task);
    }

    /// Serves until the connection ends, or is to be served on another thread.
    async fn run(&mut self, stream: &Stream) -> Result<Option<Plane>, Refusal> {
        let services = self.services.clone();
        let clock = services.runtime.clock();
        let mut timer_at = self.deadline();
        let mut timer = Box::pin(clock.sleep_until(timer_at));
        loop {
            let now = clock.now();
            let left = self.begin_requests(now)?;
            self.send(stream, now)?;
            if self.is_at_rest() && self.closing {
                return Ok(None);
            }
            if let Some((plane, _)) = &self.moving
                && self.is_at_rest()
                && *plane != self.peer.plane
            {
                return Ok(Some(*plane));
            }
            if self.deadline() < timer_at {
                timer_at = self.deadline();
                timer = Box::pin(clock.sleep_until(timer_at));
            }
            let may_read = self.may_begin();
            // The socket took so much that a request that was left can be begun now: nothing else
            // would wake this task for it.
            let again = left && may_read;
            let Connection { admitted, inbox, outbox, pending, held, .. } = &mut *self;
            // Every branch is cancel safe: readiness is asked again, the front answer and the held
            // request stay in place, and the inbox takes bytes only behind its last pause.
            tokio::select! {
                biased;
                Ok(cut) = &mut admitted.cut => return Err(Refusal::Cut(cut)),
                ready = stream.writable(), if !outbox.is_empty() => ready.map_err(Refusal::Io)?,
                response = front_answer(pending) => {
                    if let Some(Pending::Later(_, share)) = pending.pop_front() {
                        self.waiting_bytes -= share.bytes();
                    }
                    self.push(response, clock.now());
                }
                reply = held_reply(held) => {
                    let share = self.held.take().map(|(_, share)| share);
                    self.waiting_bytes -= share.as_ref().map_or(0, WaitingShare::bytes);
                    self.take_reply(reply, share, clock.now());
                }
                () = tokio::task::yield_now(), if again => {}
                filled = inbox.fill(stream, clock), if may_read => {
                    if let Err(refusal) = filled {
                        self.close_after_answers(refusal)?;
                    }
                    self.be_active(clock.now());
                }
                () = &mut timer => {
                    self.check_deadlines(clock.now())?;
                    timer_at = self.deadline();
                    timer = Box::pin(clock.sleep_until(timer_at));
                }
            }
        }
    }

    /// Begins the requests that have arrived, in order, and moves answers that are ready. Tells
    /// whether it stopped for too much in work, so that some may be left.
    fn begin_requests(&mut self, now: MonoTime) -> Result<bool, Refusal> {
        let mut left = true;
        self.move_ready(now);
        let is_here = self.moving.as_ref().is_some_and(|(plane, _)| *plane == self.peer.plane);
        if is_here
            && !self.closing
            && self.is_idle()
            && let Some((_, frame)) = self.moving.take()
        {
            self.begin(&frame, now);
        }
        while self.may_begin() {
            let frame = match self.inbox.next_frame(now) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    left = false;
                    break;
                }
                Err(refusal) => {
                    self.close_after_answers(refusal)?;
                    break;
                }
            };
            if let Some(plane) = self.planes.before(&frame, self.is_idle()) {
                self.moving = Some((plane, frame));
                break;
            }
            self.begin(&frame, now);
        }
        self.move_ready(now);
        if self.pending.is_empty() {
            self.inbox.release_buffer();
        }
        Ok(left)
    }

    fn move_ready(&mut self, now: MonoTime) {
        while let Some(Pending::Ready(_)) = self.pending.front() {
            if let Some(Pending::Ready(response)) = self.pending.pop_front() {
                self.ready_bytes -= response.bytes_len();
                self.push(response, now);
            }
        }
    }

    fn begin(&mut self, frame: &Bytes, now: MonoTime) {
        let reply = dispatch(&self.services, &self.peer, frame);
        let bytes = match &reply {
            Reply::Later(_) => Some(waiting_bytes(frame)),
            Reply::Held(_) => Some(WAITING_BYTES + frame.len()),
            _ => None,
        };
        let share = bytes.map(|bytes| self.services.waiting.count(bytes));
        self.take_reply(reply, share, now);
    }

    /// Whether nothing is in work.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.held.is_none()
    }

    /// Whether, besides, everything was sent.
    fn is_at_rest(&self) -> bool {
        self.is_idle() && self.outbox.is_empty()
    }

    /// Takes the reply to the last request that was begun, and what it takes if it waits.
    fn take_reply(&mut self, reply: Reply, share: Option<WaitingShare>, now: MonoTime) {
        match reply {
            Reply::Now(response) if self.pending.is_empty() => self.push(response, now),
            Reply::Now(response) => {
                self.ready_bytes += response.bytes_len();
                self.pending.push_back(Pending::Ready(response));
            }
            Reply::Later(response) => {
                let share = share.expect(COUNTED);
                self.waiting_bytes += share.bytes();
                self.pending.push_back(Pending::Later(response, share));
            }
            Reply::Held(begin) => {
                let share = share.expect(COUNTED);
                self.waiting_bytes += share.bytes();
                self.held = Some((begin(self.services.clone()), share));
            }
            Reply::None => {}
            Reply::Close => self.closing = true,
        }
    }

    fn push(&mut self, response: Response, now: MonoTime) {
        if self.outbox.is_empty() {
            self.taken_at = now;
        }
        self.outbox.push(response);
    }

    /// Sends what the socket takes, and tells others what is left.
    fn send(&mut self, stream: &Stream, now: MonoTime) -> Result<(), Refusal> {
        if self.outbox.send(stream).map_err(Refusal::Io)? {
            self.taken_at = now;
            self.be_active(now);
        }
        self.admitted.note_unsent(self.unsent_bytes(), self.taken_at);
        Ok(())
    }

    fn be_active(&mut self, now: MonoTime) {
        self.last_active = now;
        self.admitted.slot().active(now);
    }

    fn unsent_bytes(&self) -> usize {
        self.outbox.bytes() + self.ready_bytes
    }

    fn may_begin(&self) -> bool {
        let limits = &self.services.config.limits;
        !self.closing
            && self.moving.is_none()
            && self.held.is_none()
            && self.pending.len() < limits.requests_max
            && self.outbox.len() < UNSENT_CHUNKS_MAX
            && self.outbox.files() < UNSENT_FILES_MAX
            && self.unsent_bytes() < limits.unsent_per_connection_max
            && self.waiting_bytes < limits.waiting_per_connection_max
            && (self.pending.is_empty() || !self.services.waiting.is_full())
    }

    /// Ends at once when nobody can be answered any more; else answers what was begun first.
    fn close_after_answers(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if self.pending.is_empty() && self.outbox.is_empty() {
            return Err(refusal);
        }
        match refusal {
            Refusal::BadLength(_) | Refusal::Unwanted { .. } => {
                log_refusal(self.peer.address, &refusal);
            }
            Refusal::Closed => self.finished_at = Some(self.services.runtime.clock().now()),
            refusal => return Err(refusal),
        }
        self.closing = true;
        Ok(())
    }

    /// When the connection must have done something.
    fn deadline(&self) -> MonoTime {
        let limits = &self.services.config.limits;
        let idle = limits.idle_max.map(|idle| self.last_active.after(idle));
        let unread = (!self.outbox.is_empty()).then(|| self.taken_at.after(limits.unread_max));
        let finished = self.finished_at.map(|at| at.after(FINISHED_WAIT_MAX));
        let all = [idle, unread, finished, self.inbox.deadline()];
        let never = MonoTime::from_start(Duration::MAX);
        all.into_iter().flatten().min().unwrap_or(never)
    }

    fn check_deadlines(&mut self, now: MonoTime) -> Result<(), Refusal> {
        let limits = &self.services.config.limits;
        if self.inbox.deadline().is_some_and(|deadline| now >= deadline) {
            if self.may_begin() {
                return Err(Refusal::TooSlow);
            }
            self.inbox.restart_clock(now);
        }
        if !self.outbox.is_empty() && now >= self.taken_at.after(limits.unread_max) {
            return Err(Refusal::Unread);
        }
        if self.finished_at.is_some_and(|at| now >= at.after(FINISHED_WAIT_MAX)) {
            return Err(Refusal::Closed);
        }
        if limits.idle_max.is_some_and(|idle| now >= self.last_active.after(idle)) {
            // A request in work is not idleness; an answer that nobody reads is.
            if self.pending.is_empty() && self.held.is_none() {
                return Err(Refusal::Closed);
            }
            self.last_active = now;
        }
        Ok(())
    }
}

/// What a request takes while its answer waits.
fn waiting_bytes(frame: &[u8]) -> usize {
    const PRODUCE: &[u8] = &[0, 0];
    let factor = if frame.starts_with(PRODUCE) { 0 } else { WAITING_FACTOR };
    WAITING_BYTES + frame.len() * factor
}

/// Completes with the answer at the front; never without one that has to be waited for.
async fn front_answer(pending: &mut VecDeque<Pending>) -> Response {
    match pending.front_mut() {
        Some(Pending::Later(response, _)) => response.await,
        _ => std::future::pending().await,
    }
}

/// Completes with the reply of the request that is begun elsewhere; never without one.
async fn held_reply(held: &mut Option<(HeldReply, WaitingShare)>) -> Reply {
    match held {
        Some((reply, _)) => reply.await,
        None => std::future::pending().await,
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
        Refusal::Unread => tracing::info!(%address, "closing connection: nobody reads its answers"),
        Refusal::Cut(Cut::Quiet) => {
            tracing::info!(%address, "closing connection: it was quiet for longest of too many");
        }
        Refusal::Cut(Cut::Unread) => {
            tracing::info!(%address, "closing connection: unread answers take too much memory");
        }
        Refusal::Cut(Cut::Slow) => {
            tracing::info!(%address, "closing connection: its request took memory for too long");
        }
    }
}
