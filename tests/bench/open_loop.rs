//! Load at a fixed rate over many connections: a request goes out when its time has come, whether
//! or not those before it are answered, and its latency counts from that time on. So a server that
//! stalls is charged for everything that waited meanwhile.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;

use crate::Failure;
use crate::client::Client;
use crate::machine::now;

const EVENTS_MAX: usize = 64;
/// Longest wait for answers that are still missing at the end.
const ANSWERS_MAX: Duration = Duration::from_secs(30);
const LEN: usize = 4;

/// Connections, each with a request that it sends again and again.
pub(crate) struct OpenLoop {
    queue: OwnedFd,
    senders: Vec<Sender>,
}

struct Sender {
    client: Client,
    frame: Bytes,
    /// When the requests that are not answered were due.
    due: VecDeque<Instant>,
    /// Bytes of answers that were read, beginning with an incomplete one.
    filled: Vec<u8>,
}

impl OpenLoop {
    /// Connections at rest. A request is answered with no error when two bytes of its answer at
    /// [`Sender::receive`]'s place are zero.
    pub(crate) fn new(clients: Vec<(Client, Bytes)>) -> io::Result<OpenLoop> {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut senders = Vec::new();
        for (key, (client, frame)) in (0..).zip(clients) {
            client.stream().set_nonblocking(true)?;
            let flags = epoll::EventFlags::IN;
            epoll::add(&queue, client.stream(), epoll::EventData::new_u64(key), flags)?;
            senders.push(Sender { client, frame, due: VecDeque::new(), filled: Vec::new() });
        }
        Ok(OpenLoop { queue, senders })
    }

    /// Sends one request of each connection in every `interval`, evenly spread, until `time` has
    /// passed or `is_over`. Returns the latencies, in milliseconds, in no order.
    pub(crate) fn run(
        &mut self,
        interval: Duration,
        time: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Vec<f64>, Failure> {
        let step = interval / u32::try_from(self.senders.len())?;
        let (begin, mut latencies) = (now(), Vec::new());
        let (mut next, mut sent, mut over) = (begin, 0, false);
        loop {
            let at = now();
            over |= at - begin >= time || is_over();
            while !over && next <= at {
                let index = sent % self.senders.len();
                self.senders[index].send(next)?;
                (next, sent) = (next + step, sent + 1);
            }
            if over && latencies.len() == sent {
                return Ok(latencies);
            }
            if at - begin >= time + ANSWERS_MAX {
                return Err(format!("{} answers never came", sent - latencies.len()).into());
            }
            let wait = if over { step } else { next.saturating_duration_since(now()) };
            self.receive(wait, &mut latencies)?;
        }
    }

    fn receive(&mut self, wait: Duration, latencies: &mut Vec<f64>) -> Result<(), Failure> {
        let wait = Timespec::try_from(wait)?;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        retry_on_intr(|| epoll::wait(&self.queue, spare_capacity(&mut events), Some(&wait)))?;
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            self.senders[index].receive(latencies)?;
        }
        Ok(())
    }
}

impl Sender {
    fn send(&mut self, due: Instant) -> io::Result<()> {
        self.due.push_back(due);
        // Some hundred bytes: a socket without room for them is one that nobody reads.
        let mut stream = self.client.stream();
        stream.write_all(&self.frame)
    }

    fn receive(&mut self, latencies: &mut Vec<f64>) -> Result<(), Failure> {
        let mut piece = [0; 1024];
        let count = self.client.stream().read(&mut piece)?;
        if count == 0 {
            return Err("the server closed a connection".into());
        }
        self.filled.extend_from_slice(&piece[..count]);
        while let Some(len) = self.filled.first_chunk::<LEN>() {
            let total = LEN + u32::from_be_bytes(*len) as usize;
            if self.filled.len() < total {
                break;
            }
            self.client.check_repeated(&self.filled[LEN..total])?;
            self.filled.drain(..total);
            let due = self.due.pop_front().ok_or("an answer to nothing")?;
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

/// The value that `part` (of one) of the values do not exceed.
pub(crate) fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 100.0);
        assert_eq!(percentile(&mut values, 0.99), 198.0);
        assert_eq!(percentile(&mut values, 1.0), 200.0);
        assert_eq!(percentile(&mut [7.0], 0.99), 7.0);
        assert!(percentile(&mut [], 0.99).is_nan());
    }
}
