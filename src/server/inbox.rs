//! Receiving requests: bytes of a socket to frames, with a limit before each allocation.
//!
//! A frame is a length (four bytes) and that many bytes; the first eight of them say what it is
//! and how long it may be. An idle connection holds no buffer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::RequestPrefix;
use ottla_runtime::{Clock, Stream};
use ottla_types::MonoTime;

use crate::connections::{Connections, Cut, Slot};
use crate::memory::{MemoryPermit, RequestMemory, grow};

/// The read buffer; several small requests may be in it.
const SMALL_BUFFER: usize = 16 << 10;
/// Frames longer than this get a buffer of their own.
const SMALL_FRAME_MAX: usize = 64 << 10;
/// Time after which who waits for memory looks who holds it.
const STARVED_LOOK: Duration = Duration::from_millis(250);
const LENGTH_LEN: usize = 4;

/// Why a connection is closed by what it sent.
#[derive(Debug)]
pub enum Refusal {
    /// The other end will send no more.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// The length is negative or too short to be a request.
    BadLength(i32),
    /// The listener does not offer this kind of request, or the frame is too long for it.
    Unwanted {
        /// What the frame says it is.
        prefix: RequestPrefix,
        /// Its length.
        length: i32,
    },
    /// The frame did not come to its end in time.
    TooSlow,
    /// The client took nothing of its answers for too long.
    Unread,
    /// Others need what the connection takes.
    Cut(Cut),
}

/// Tells how long a frame may be; `None` for what the listener does not offer.
pub type FrameLimit = fn(RequestPrefix, is_controller: bool) -> Option<u32>;

/// What an inbox is held to.
#[derive(Clone)]
pub struct InboxLimits {
    /// Memory for requests.
    pub memory: RequestMemory,
    /// How long a frame may be.
    pub frame_limit: FrameLimit,
    /// Whether the listener is a controller's.
    pub is_controller: bool,
    /// `socket.request.max.bytes`.
    pub length_max: u32,
    /// `ottla.connection.receive.max.ms`.
    pub receive_max: Duration,
}

/// The receiving half of a connection.
pub struct Inbox {
    limits: InboxLimits,
    connections: Connections,
    slot: Arc<Slot>,
    small: BytesMut,
    large: Option<LargeFrame>,
    /// When the first byte of an incomplete frame came.
    started: Option<MonoTime>,
}

/// A frame that is received into a buffer of its own.
struct LargeFrame {
    bytes: Vec<u8>,
    len: usize,
    permit: Option<MemoryPermit>,
    /// Bytes that may be received before more of the budget is needed.
    allowed: usize,
    /// From when on it counts how fast it comes: time in which it waited for memory does not.
    measured_from: Option<MonoTime>,
}

impl Inbox {
    /// An empty inbox of a connection.
    #[must_use]
    pub fn new(limits: InboxLimits, connections: Connections, slot: Arc<Slot>) -> Inbox {
        let (small, large, started) = (BytesMut::new(), None, None);
        Inbox { limits, connections, slot, small, large, started }
    }

    /// The next complete frame, without its length.
    ///
    /// # Errors
    /// What closes the connection.
    pub fn next_frame(&mut self, now: MonoTime) -> Result<Option<Bytes>, Refusal> {
        if let Some(large) = &mut self.large {
            if large.bytes.len() < large.len {
                return Ok(None);
            }
            let large = self.large.take().expect("just seen");
            self.started = None;
            self.slot.received();
            return Ok(Some(self.limits.memory.freeze(large.bytes, large.permit)));
        }
        let Some(length) = self.frame_length()? else {
            self.note_start(now);
            return Ok(None);
        };
        let total = LENGTH_LEN + length;
        if self.small.len() >= total {
            let mut frame = self.small.split_to(total);
            self.started = None;
            return Ok(Some(frame.split_off(LENGTH_LEN).freeze()));
        }
        self.note_start(now);
        if total > SMALL_FRAME_MAX {
            self.begin_large(length);
            self.slot.receiving(now, 0);
        } else {
            self.small.reserve(total - self.small.len());
        }
        Ok(None)
    }

    /// The length of the frame at the front, once enough is there to judge it.
    fn frame_length(&self) -> Result<Option<usize>, Refusal> {
        let Some(length) = self.small.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        if length < RequestPrefix::LEN as i32 || length.unsigned_abs() > self.limits.length_max {
            return Err(Refusal::BadLength(length));
        }
        let Ok(prefix) = RequestPrefix::read(&self.small[LENGTH_LEN..]) else { return Ok(None) };
        let limit = (self.limits.frame_limit)(prefix, self.limits.is_controller);
        if limit.is_none_or(|limit| length.unsigned_abs() > limit) {
            return Err(Refusal::Unwanted { prefix, length });
        }
        Ok(Some(length.unsigned_abs() as usize))
    }

    fn begin_large(&mut self, len: usize) {
        let mut bytes = self.limits.memory.buffer(len);
        bytes.extend_from_slice(&self.small[LENGTH_LEN..]);
        self.small = BytesMut::new();
        self.large = Some(LargeFrame {
            bytes,
            len,
            permit: None,
            allowed: SMALL_FRAME_MAX,
            measured_from: None,
        });
    }

    fn note_start(&mut self, now: MonoTime) {
        let waiting = !self.small.is_empty() || self.large.is_some();
        if waiting && self.started.is_none() {
            self.started = Some(now);
        }
    }

    /// When an incomplete frame must have come to its end.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoTime> {
        self.started.map(|started| started.after(self.limits.receive_max))
    }

    /// Does not count the time until `now`, in which nothing was read.
    pub fn restart_clock(&mut self, now: MonoTime) {
        self.started = self.started.map(|_| now);
    }

    /// Waits for bytes and takes them. Cancel safe: nothing is taken before the last pause.
    ///
    /// # Errors
    /// What closes the connection.
    pub async fn fill(&mut self, stream: &Stream, clock: &Clock) -> Result<(), Refusal> {
        if let Some(large) = &mut self.large {
            large.extend_budget(&self.limits.memory, &self.connections, &self.slot, clock).await;
        }
        stream.readable().await.map_err(Refusal::Io)?;
        if self.deadline().is_some_and(|deadline| clock.now() > deadline) {
            return Err(Refusal::TooSlow);
        }
        let read = match &mut self.large {
            Some(large) => {
                let room = large.len.min(large.allowed) - large.bytes.len();
                stream.try_read(&mut (&mut large.bytes).limit(room))
            }
            None => {
                if self.small.capacity() - self.small.len() < 1024 {
                    self.small.reserve(SMALL_BUFFER);
                }
                let room = self.small.capacity() - self.small.len();
                let read = stream.try_read(&mut (&mut self.small).limit(room));
                // Not for large frames: those that wait for memory would take turns, and each
                // would lose its turn with every short read.
                if read.as_ref().is_ok_and(|read| (1..room).contains(read)) {
                    stream.was_drained();
                }
                read
            }
        };
        match read {
            Ok(0) => Err(Refusal::Closed),
            Ok(_) => {
                if let (Some(large), Some(started)) = (&self.large, self.started) {
                    let from = large.measured_from.unwrap_or(started);
                    self.slot.receiving(from, large.bytes.len());
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Refusal::Io(error)),
        }
    }

    /// Gives the read buffer back while nothing is in it.
    pub fn release_buffer(&mut self) {
        if self.small.is_empty() {
            self.small = BytesMut::new();
        }
    }
}

impl LargeFrame {
    /// Takes more of the budget when all that was allowed is filled: as much again.
    /// Who waits for it has those closed that hold it in vain.
    async fn extend_budget(
        &mut self,
        memory: &RequestMemory,
        connections: &Connections,
        slot: &Slot,
        clock: &Clock,
    ) {
        if self.bytes.len() < self.allowed || self.allowed >= self.len {
            return;
        }
        let more = self.allowed.min(self.len - self.allowed);
        let since = clock.now();
        let permit = loop {
            if let Some(permit) = memory.try_acquire(more) {
                break permit;
            }
            slot.starved(true);
            if let Some(permit) = clock.timeout(STARVED_LOOK, memory.acquire(more)).await {
                break permit;
            }
            let now = clock.now();
            connections.cut_slow(slot, now.since(since), now);
        };
        if slot.is_starved() {
            let now = clock.now();
            self.measured_from = Some(now);
            slot.receiving(now, self.bytes.len());
            slot.starved(false);
        }
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.allowed += more;
        grow(&mut self.bytes, self.allowed);
    }
}
