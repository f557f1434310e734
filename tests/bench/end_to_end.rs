//! Messages at fixed times from one connection that produces to others that consume, and how long
//! each was under way. A message goes out when its time has come, whether or not those before it
//! are answered, and its latency counts from that time on: whoever stalls is charged for all that
//! waited meanwhile. One thread does all of it, and looks at every byte that comes back.

use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use ottla_protocol::batch::{ATTRIBUTES_AT, BATCH_OVERHEAD, BatchHeader, CRC_AT, crc32c};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::closed::{Expect, histogram, nanos};
use crate::fetching::Fetch;
use crate::floor::{HEAD, wait_frame};
use crate::machine::now;
use crate::servers::Server;

const LEN: usize = 4;
const PIECE: usize = 1 << 20;
const EVENTS_MAX: usize = 64;
const PRODUCER: u64 = u64::MAX;
/// Longest wait for messages that are still missing at the end.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// As long as a socket may stay full.
const RETRY: Duration = Duration::from_micros(100);
/// Where the number of a message is in its first record's value.
const NUMBER_LEN: usize = 8;
/// What stands where the number goes.
const MARK: [u8; NUMBER_LEN] = *b"\x01number\x01";

/// A message that is always the same but for its number.
struct Message {
    /// As it is produced.
    frame: Vec<u8>,
    batch_at: usize,
    batch_len: usize,
    /// In the batch.
    number_at: usize,
    records: i64,
}

impl Message {
    /// Of a batch that has [`MARK`] in it.
    fn new(topic: &str, batch: &Bytes) -> Result<Message, Failure> {
        let frame = produce_frame(topic, batch.clone())?.to_vec();
        let place = |of: &[u8], what: &[u8]| of.windows(what.len()).position(|it| it == what);
        let batch_at = place(&frame, batch).ok_or("a frame without its batch")?;
        let number_at = place(batch, &MARK).ok_or("a batch without its mark")?;
        let records = BatchHeader::read(batch)?.next_offset().0;
        Ok(Message { frame, batch_at, batch_len: batch.len(), number_at, records })
    }

    fn number(&mut self, number: u64) {
        let batch = &mut self.frame[self.batch_at..self.batch_at + self.batch_len];
        let number_at = self.number_at..self.number_at + NUMBER_LEN;
        batch[number_at].copy_from_slice(&number.to_be_bytes());
        let crc = crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    }

    /// The number of a batch that came back, all of whose records must be as they were sent.
    fn number_of(&self, batch: &[u8]) -> Result<u64, Failure> {
        let sent = &self.frame[self.batch_at..self.batch_at + self.batch_len];
        let (begin, end) = (self.number_at, self.number_at + NUMBER_LEN);
        let is_same = batch.len() == sent.len()
            && batch[BATCH_OVERHEAD..begin] == sent[BATCH_OVERHEAD..begin]
            && batch[end..] == sent[end..];
        if !is_same {
            return Err("a message came back that nobody sent".into());
        }
        Ok(u64::from_be_bytes(batch[begin..end].try_into()?))
    }
}

/// A batch of records, the first of which has a place for a number.
pub(crate) fn numbered_batch(records: usize, record: usize) -> Bytes {
    let mut values = vec![vec![b'x'; record]; records];
    values[0][..NUMBER_LEN].copy_from_slice(&MARK);
    ottla_test_client::record_batch(crate::machine::record_time(), None, &values)
}

/// Bytes that arrive in pieces.
struct Incoming {
    client: Client,
    buffer: Vec<u8>,
    filled: usize,
}

impl Incoming {
    fn new(client: Client) -> io::Result<Incoming> {
        client.stream().set_nonblocking(true)?;
        Ok(Incoming { client, buffer: vec![0; PIECE], filled: 0 })
    }

    /// Reads once, and shows each complete answer; tells how many there were.
    fn read(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        match self.client.stream().read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let (mut begin, mut taken) = (0, 0);
        while let Some(len) = self.buffer[begin..self.filled].first_chunk::<LEN>() {
            let end = begin + LEN + u32::from_be_bytes(*len) as usize;
            if end > self.filled {
                self.buffer.resize(self.buffer.len().max(end - begin), 0);
                break;
            }
            take(&self.buffer[begin + LEN..end])?;
            (begin, taken) = (end, taken + 1);
        }
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        Ok(taken)
    }
}

struct Consumer {
    incoming: Incoming,
    fetch: Fetch,
    /// The next number.
    next: u64,
}

/// What was seen.
pub(crate) struct Seen {
    pub(crate) messages: u64,
    /// Nanoseconds from the time at which a message was due to its arrival at a consumer.
    pub(crate) latency: Histogram<u64>,
    /// From the last message that was due to the last one that came.
    pub(crate) drained: Duration,
    /// Seconds of processor of this client.
    pub(crate) client_cpu: f64,
}

/// One producer and consumers of one partition.
pub(crate) struct EndToEnd {
    queue: OwnedFd,
    message: Message,
    producer: Incoming,
    expect: Expect,
    /// Bytes of messages that the socket did not take yet.
    pending: Vec<u8>,
    consumers: Vec<Consumer>,
    is_floor: bool,
    /// Of messages sent so far.
    sent: u64,
}

impl EndToEnd {
    /// Connects to a server that has the topic, which nobody else writes to.
    pub(crate) fn new(
        server: &mut Server,
        topic: &str,
        consumers: usize,
        batch: &Bytes,
    ) -> Result<EndToEnd, Failure> {
        let is_floor = !server.is_broker();
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |client: &Client, key| {
            let data = epoll::EventData::new_u64(key);
            epoll::add(&queue, client.stream(), data, epoll::EventFlags::IN)
        };
        let producer = server.process.connect()?;
        watch(&producer, PRODUCER)?;
        let (mut list, wait) = (Vec::new(), wait_frame());
        for key in 0..consumers as u64 {
            let mut client = server.process.connect()?;
            if is_floor {
                // What is produced before a consumer has waited once is nothing new to the floor.
                client.send(&wait)?;
                client.receive()?;
            }
            watch(&client, key)?;
            let mut fetch = Fetch::new(topic, 0..1, i32::try_from(PIECE)?)?;
            // Behind the record with which the topic began.
            fetch.begin_at(1);
            let mut stream = client.stream();
            stream.write_all(if is_floor { &wait } else { &fetch.frame })?;
            list.push(Consumer { incoming: Incoming::new(client)?, fetch, next: 0 });
        }
        Ok(EndToEnd {
            queue,
            message: Message::new(topic, batch)?,
            producer: Incoming::new(producer)?,
            expect: if is_floor { Expect::Any } else { Expect::Acks(1) },
            pending: Vec::new(),
            consumers: list,
            is_floor,
            sent: 0,
        })
    }

    /// Produces one message every `step` for as long as `time`, and waits until all have come.
    pub(crate) fn run(&mut self, step: Duration, time: Duration) -> Result<Seen, Failure> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let cpu = own_cpu()?;
        let (begin, first) = (now(), self.sent);
        let mut seen =
            Seen { messages: 0, latency: histogram(), drained: Duration::ZERO, client_cpu: 0.0 };
        let count = u64::try_from(time.as_nanos() / step.as_nanos())?;
        let due = |number: u64| begin + step.mul_f64((number - first) as f64);
        let last = due(first + count);
        loop {
            let at = now();
            while self.sent < first + count && due(self.sent) <= at {
                self.message.number(self.sent);
                self.pending.extend_from_slice(&self.message.frame);
                self.sent += 1;
                self.send()?;
            }
            if self.sent == first + count && self.consumers.iter().all(|it| it.next == self.sent) {
                break;
            }
            if at > last + DRAIN_MAX {
                return Err("messages never came".into());
            }
            let next = if self.sent < first + count { due(self.sent) } else { at + DRAIN_MAX };
            self.receive(next.saturating_duration_since(now()), &due, &mut seen.latency)?;
        }
        seen.messages = count;
        seen.drained = now().saturating_duration_since(last);
        seen.client_cpu = own_cpu()? - cpu;
        Ok(seen)
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let mut stream = self.producer.client.stream();
            match stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        wait: Duration,
        due: &dyn Fn(u64) -> Instant,
        latency: &mut Histogram<u64>,
    ) -> Result<(), Failure> {
        // What the socket did not take is tried again soon.
        let wait = if self.pending.is_empty() { wait } else { wait.min(RETRY) };
        let wait = Timespec::try_from(wait)?;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        retry_on_intr(|| epoll::wait(&self.queue, spare_capacity(&mut events), Some(&wait)))?;
        for event in &events {
            let key = event.data.u64();
            if key == PRODUCER {
                let expect = &self.expect;
                self.producer.read(|answer| expect.check(answer))?;
                continue;
            }
            let consumer = &mut self.consumers[usize::try_from(key)?];
            consumer.receive(&self.message, self.is_floor, |number| {
                latency.saturating_record(nanos(now().saturating_duration_since(due(number))));
            })?;
        }
        self.send()?;
        Ok(())
    }
}

impl Consumer {
    fn receive(
        &mut self,
        message: &Message,
        is_floor: bool,
        mut arrived: impl FnMut(u64),
    ) -> Result<(), Failure> {
        let (next, fetch) = (&mut self.next, &mut self.fetch);
        let mut take = |batch: &[u8]| {
            let number = message.number_of(batch)?;
            if number != *next {
                return Err(Failure::from(format!("message {number} instead of {next}")));
            }
            arrived(number);
            *next += 1;
            Ok(())
        };
        let answered = self.incoming.read(|answer| {
            if is_floor {
                // Whole frames, without their lengths, behind the head.
                let stride = message.frame.len() - LEN;
                let frames = answer[HEAD - LEN..].chunks_exact(stride);
                let begin = message.batch_at - LEN;
                return frames
                    .into_iter()
                    .try_for_each(|frame| take(&frame[begin..begin + message.batch_len]));
            }
            let checked = |batch: &[u8], offset: i64| {
                let is_next = BatchHeader::read(batch)?.next_offset().0 == offset + message.records;
                if is_next { take(batch) } else { Err("an offset is missing".into()) }
            };
            fetch.take(answer, checked).map(drop)
        })?;
        let wait = is_floor.then(wait_frame);
        for _ in 0..answered {
            let mut stream = self.incoming.client.stream();
            stream.write_all(wait.as_ref().unwrap_or(&self.fetch.frame))?;
        }
        Ok(())
    }
}

/// Seconds of processor that this thread has used.
fn own_cpu() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("an empty schedstat")?;
    Ok(nanos.parse::<u64>()? as f64 / 1e9)
}
