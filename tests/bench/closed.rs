//! Load that follows the server: each connection has a number of requests under way, and sends the
//! next one when an answer has come. Requests are encoded before anything is counted, and every
//! answer is looked at.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;

use crate::Failure;
use crate::client::Client;
use crate::machine::now;

const LEN: usize = 4;
const EVENTS_MAX: usize = 64;
const BUFFER: usize = 16 << 10;
/// Bytes of a partition in the answer to a Produce of version 9, and those behind the last one.
const ACK_LEN: usize = 33;
const ACK_TAIL: usize = 6;
/// Nanoseconds of the longest latency that is told from longer ones.
const LATENCY_MAX: u64 = 60_000_000_000;

/// What an answer must be.
#[derive(Clone)]
pub(crate) enum Expect {
    /// Anything: the floor says nothing.
    Any,
    /// These bytes, without the length.
    Same(Vec<u8>),
    /// These bytes at its front: what follows may change from one answer to the next.
    Front(Vec<u8>),
    /// Acknowledgements of as many partitions.
    Acks(usize),
}

/// A frame, and how it changes from one request to the next.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Where the index of the partition is, if it is to go round.
    pub(crate) partition_at: Option<usize>,
    pub(crate) partitions: Range<i32>,
}

impl Frame {
    /// A frame that is always the same.
    pub(crate) fn fixed(bytes: &[u8]) -> Frame {
        Frame { bytes: bytes.to_vec(), partition_at: None, partitions: 0..1 }
    }
}

/// Longest time of a load that is to end after so many requests: on a busy machine it is shorter.
const TIME_MAX: Duration = Duration::from_secs(6);

/// When a load ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After as many, or after a few seconds.
    Requests(usize),
    Time(Duration),
}

/// What was done.
pub(crate) struct Done {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    /// Nanoseconds from a request to its answer.
    pub(crate) latency: Histogram<u64>,
}

/// An empty histogram of nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("bounds are sound");
    histogram.auto(true);
    histogram
}

/// Nanoseconds for a histogram.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Connections with load.
pub(crate) struct Closed {
    loads: Vec<Load>,
    depth: usize,
    queue: OwnedFd,
}

struct Load {
    client: Client,
    frame: Frame,
    expect: Expect,
    next: i32,
    sent: VecDeque<Instant>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Closed {
    /// Connections at rest, each with `depth` requests under way later.
    pub(crate) fn new(
        connections: Vec<(Client, Frame, Expect)>,
        depth: usize,
    ) -> io::Result<Closed> {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut loads = Vec::new();
        for (key, (client, frame, expect)) in (0..).zip(connections) {
            let data = epoll::EventData::new_u64(key);
            epoll::add(&queue, client.stream(), data, epoll::EventFlags::IN)?;
            let next = frame.partitions.start;
            let sent = VecDeque::with_capacity(depth);
            let buffer = vec![0; BUFFER];
            loads.push(Load { client, frame, expect, next, sent, buffer, filled: 0 });
        }
        Ok(Closed { loads, depth, queue })
    }

    /// Runs it until its end, and until all is answered.
    pub(crate) fn run(&mut self, until: Until) -> Result<Done, Failure> {
        let begin = now();
        let mut done = Done { requests: 0, seconds: 0.0, latency: histogram() };
        let mut sent = 0;
        for load in &mut self.loads {
            for _ in 0..self.depth {
                load.send()?;
                sent += 1;
            }
        }
        let goes_on = |sent: usize, at: Instant| match until {
            Until::Requests(count) => sent < count && at - begin < TIME_MAX,
            Until::Time(time) => at - begin < time,
        };
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while done.requests < sent {
            events.clear();
            if self.loads.len() > 1 {
                retry_on_intr(|| epoll::wait(&self.queue, spare_capacity(&mut events), None))?;
            } else {
                // A single connection waits in its read.
                let data = epoll::EventData::new_u64(0);
                events.push(epoll::Event { flags: epoll::EventFlags::IN, data });
            }
            for event in &events {
                let load = &mut self.loads[usize::try_from(event.data.u64())?];
                let answered = load.receive(&mut done.latency)?;
                done.requests += answered;
                let mut more = answered;
                while more > 0 && goes_on(sent, now()) {
                    load.send()?;
                    (more, sent) = (more - 1, sent + 1);
                }
            }
        }
        done.seconds = begin.elapsed().as_secs_f64();
        Ok(done)
    }
}

impl Load {
    fn send(&mut self) -> io::Result<()> {
        if let Some(at) = self.frame.partition_at {
            self.frame.bytes[at..at + LEN].copy_from_slice(&self.next.to_be_bytes());
            self.next += 1;
            if self.next == self.frame.partitions.end {
                self.next = self.frame.partitions.start;
            }
        }
        self.sent.push_back(now());
        let mut stream = self.client.stream();
        stream.write_all(&self.frame.bytes)
    }

    /// Reads once; tells how many answers were complete.
    fn receive(&mut self, latency: &mut Histogram<u64>) -> Result<usize, Failure> {
        let count = self.client.stream().read(&mut self.buffer[self.filled..])?;
        if count == 0 {
            return Err("the server closed a connection".into());
        }
        self.filled += count;
        let (mut begin, mut answered) = (0, 0);
        while let Some(len) = self.buffer[begin..self.filled].first_chunk::<LEN>() {
            let end = begin + LEN + u32::from_be_bytes(*len) as usize;
            if end > self.filled {
                self.buffer.resize(self.buffer.len().max(end - begin), 0);
                break;
            }
            self.expect.check(&self.buffer[begin + LEN..end])?;
            let sent = self.sent.pop_front().ok_or("an answer to nothing")?;
            latency.saturating_record(nanos(sent.elapsed()));
            (begin, answered) = (end, answered + 1);
        }
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        Ok(answered)
    }
}

impl Expect {
    /// Looks at an answer.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<(), Failure> {
        let is_right = match self {
            Expect::Any => true,
            Expect::Same(same) => answer == same,
            Expect::Front(front) => answer.starts_with(front),
            Expect::Acks(partitions) => {
                let acks = (1..=*partitions).map(|back| {
                    let at = answer.len().checked_sub(ACK_TAIL + back * ACK_LEN)? + LEN;
                    answer.get(at..at + 2)
                });
                acks.into_iter().all(|error| error == Some(&[0, 0]))
            }
        };
        if is_right {
            Ok(())
        } else {
            Err(format!("a wrong answer: {:x?}", &answer[..answer.len().min(64)]).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::Encodable;
    use ottla_test_client::messages::ProduceResponse;
    use ottla_test_client::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };

    use super::*;

    fn answer(errors: &[i16]) -> Vec<u8> {
        let partition = |error: &i16| {
            PartitionProduceResponse::default().with_error_code(*error).with_base_offset(7)
        };
        let topic = TopicProduceResponse::default()
            .with_partition_responses(errors.iter().map(partition).collect());
        let mut bytes = BytesMut::from(&[0, 0, 0, 1, 0][..]);
        let answer = ProduceResponse::default().with_responses(vec![topic]);
        answer.encode(&mut bytes, 9).expect("it has this version");
        bytes.to_vec()
    }

    #[test]
    fn an_error_of_any_partition_is_seen() {
        assert!(Expect::Acks(1).check(&answer(&[0])).is_ok());
        assert!(Expect::Acks(3).check(&answer(&[0, 0, 0])).is_ok());
        for errors in [[3, 0, 0], [0, 3, 0], [0, 0, 3]] {
            assert!(Expect::Acks(3).check(&answer(&errors)).is_err());
        }
        assert!(Expect::Acks(2).check(&[0; 40]).is_err());
        assert!(Expect::Same(vec![1]).check(&[1]).is_ok());
        assert!(Expect::Same(vec![1]).check(&[2]).is_err());
        assert!(Expect::Front(vec![1]).check(&[1, 2]).is_ok());
        assert!(Expect::Front(vec![1]).check(&[2, 1]).is_err());
    }
}
