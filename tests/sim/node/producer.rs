//! An idempotent producer, as Kafka's: a few requests in flight, sent again in order and with the
//! same sequences until each batch is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ottla_protocol::compression::Codec;
use ottla_test_client::{Connection, compressed, record_batch};

use super::client::{Client, Phase};
use super::compacted;
use super::model::{Place, Topic, Value};
use super::wire::{self, BY_ID, code};
use crate::mutant::CleanerBug;

/// `max.in.flight.requests.per.connection` of an idempotent producer.
const IN_FLIGHT_MAX: usize = 5;

/// Bytes of padding of the records of a batch that is looked into beside the thread when it comes
/// compressed.
const HEAVY_LEN: usize = 80_000;

/// A producer, over all its connections.
pub struct Producer {
    client: Client,
    index: u32,
    acks: i16,
    next_number: u32,
    /// Its id and epoch.
    identity: Option<(i64, i16)>,
    queues: BTreeMap<Place, Queue>,
    /// The requests that are on their way, in order.
    in_flight: VecDeque<Sent>,
    bug: Option<CleanerBug>,
}

/// A request on its way.
struct Sent {
    place: Place,
    version: i16,
    /// Where the log was known to begin when it was sent.
    log_start: i64,
}

/// What is not acknowledged yet for one partition.
struct Queue {
    topic: Topic,
    next_sequence: i32,
    batches: VecDeque<Batch>,
    /// How many of the batches, from the front, are on their way.
    sent: usize,
    /// Whether something failed since all was well: what follows may be out of order then.
    failed: bool,
}

struct Batch {
    values: Vec<Value>,
    bytes: Bytes,
}

impl Producer {
    pub fn new(client: Client, index: u32, acks: i16, bug: Option<CleanerBug>) -> Producer {
        let (queues, in_flight) = (BTreeMap::new(), VecDeque::new());
        Producer { client, index, acks, next_number: 0, identity: None, queues, in_flight, bug }
    }

    /// Produces until it is to finish and everything is acknowledged.
    pub async fn run(mut self) {
        while !self.is_done() {
            let Some(mut connection) = self.client.connect().await else { return };
            // What was on its way may have been written or not: it is sent again.
            self.send_all_again();
            while !self.is_done() {
                if self.step(&mut connection).await.is_err() {
                    break;
                }
            }
            self.client.pause(1, 30).await;
        }
    }

    fn is_done(&self) -> bool {
        let phase = *self.client.phase.borrow();
        let empty = self.queues.values().all(|queue| queue.batches.is_empty());
        self.client.is_over() || (phase == Phase::Finish && empty)
    }

    fn send_all_again(&mut self) {
        self.in_flight.clear();
        for queue in self.queues.values_mut() {
            self.client.findings.count(|stats| stats.resent += queue.sent as u64);
            (queue.sent, queue.failed) = (0, false);
        }
    }

    async fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        if self.identity.is_none() {
            return self.identify(connection).await;
        }
        self.add_batch();
        let room = IN_FLIGHT_MAX - self.in_flight.len();
        let sent = if room > 0 { self.send_one(connection).await? } else { false };
        let full = self.in_flight.len() == IN_FLIGHT_MAX;
        if !self.in_flight.is_empty() && (full || !sent || self.client.dice.chance(30)) {
            self.receive_one(connection).await?;
        } else if !sent {
            self.client.pause(1, 10).await;
        }
        Ok(())
    }

    async fn identify(&mut self, connection: &mut Connection) -> io::Result<()> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into());
        let request = request.with_producer_epoch(-1).with_transaction_timeout_ms(60_000);
        let version = self.client.dice.below(6) as i16;
        let call = connection.call::<InitProducerIdRequest>(version, &request);
        let response = self.client.answer(call).await?;
        let id = response.producer_id.0;
        match response.error_code {
            code::NONE => {
                self.client.check(self.client.model().got_producer_id(id));
                self.identity = Some((id, response.producer_epoch));
            }
            code::COORDINATOR_NOT_AVAILABLE | code::REQUEST_TIMED_OUT => {
                self.client.pause(5, 20).await;
            }
            other => self.client.findings.violated(format!("InitProducerId: error {other}")),
        }
        Ok(())
    }

    /// Makes a batch for some partition, unless much is waiting or the time for it is over.
    fn add_batch(&mut self) {
        let waiting: usize = self.queues.values().map(|queue| queue.batches.len()).sum();
        let topics = self.client.model().existing();
        let load = *self.client.phase.borrow() == Phase::Load;
        if !load || waiting > 8 || topics.is_empty() || !self.client.dice.chance(40) {
            return;
        }
        let dice = self.client.dice.clone();
        let topic = dice.pick(&topics);
        let place = (topic.id, dice.below(topic.partitions.unsigned_abs().into()) as i32);
        let first = self.next_number;
        let count = dice.between(1, 4) as u32;
        self.next_number += count;
        let numbers = first..first + count;
        let values: Vec<Value> =
            numbers.map(|number| Value { producer: self.index, number }).collect();
        let codec = dice.pick(&[None, None, None, Some(Codec::Lz4), Some(Codec::Gzip(Some(1)))]);
        let lens: &[usize] = match codec {
            None => &[0, 10, 100, 700],
            Some(_) => &[10, 700, HEAVY_LEN / count as usize],
        };
        let fill = dice.pick(lens);
        let queue = self.queues.entry(place).or_insert_with(|| Queue {
            topic: topic.clone(),
            next_sequence: 0,
            batches: VecDeque::new(),
            sent: 0,
            failed: false,
        });
        let (id, epoch) = self.identity.expect("identified before it produces");
        let now = self.client.runtime.clock().wall();
        let identity = (id, epoch, queue.next_sequence);
        let plain = if topic.compacted {
            compacted::batch(now, identity, &values, fill, self.bug)
        } else {
            let encoded: Vec<Vec<u8>> = values.iter().map(|value| value.encode(fill)).collect();
            record_batch(now, Some(identity), &encoded)
        };
        let bytes = codec.map_or_else(|| plain.clone(), |codec| compressed(&plain, codec));
        self.client.model().sent(place, &values, bytes.len());
        queue.next_sequence += count as i32;
        queue.batches.push_back(Batch { values, bytes });
    }

    /// Sends the next batch of some partition; false when there is none to send.
    async fn send_one(&mut self, connection: &mut Connection) -> io::Result<bool> {
        let ready: Vec<Place> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.sent < queue.batches.len() && !queue.failed)
            .map(|(place, _)| *place)
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        let place = self.client.dice.pick(&ready);
        let queue = self.queues.get_mut(&place).expect("just listed");
        let version = match self.client.dice.chance(50) && queue.topic.stable {
            true => self.client.dice.between(3, BY_ID as u64 - 1) as i16,
            false => BY_ID,
        };
        let bytes = queue.batches[queue.sent].bytes.clone();
        let request = wire::produce(&queue.topic, place.1, self.acks, bytes);
        queue.sent += 1;
        let log_start = self.client.model().start(place);
        self.in_flight.push_back(Sent { place, version, log_start });
        connection.send(version, &request).await?;
        Ok(true)
    }

    async fn receive_one(&mut self, connection: &mut Connection) -> io::Result<()> {
        let Sent { place, version, log_start } =
            self.in_flight.pop_front().expect("something is on its way");
        let receive = connection.receive::<ProduceRequest>(version);
        let response = self.client.answer(receive).await?;
        let Some(wire::Produced { error, base, log_start: told }) = wire::produced(&response)
        else {
            self.client.findings.violated(format!("{place:?} was not answered"));
            return Err(io::ErrorKind::InvalidData.into());
        };
        if told >= 0 {
            self.client.check(self.client.model().saw_start(place, told, log_start));
        }
        let Some(queue) = self.queues.get_mut(&place) else { return Ok(()) };
        queue.sent -= 1;
        match error {
            code::NONE => {
                // Behind a failed batch nothing of its producer can be written.
                if queue.failed {
                    let what = format!("{place:?} acknowledged {base} behind a failed batch");
                    self.client.findings.violated(what);
                }
                let batch = queue.batches.pop_front().expect("it was sent");
                self.client.findings.count(|stats| stats.acknowledged += 1);
                self.client.check(self.client.model().acknowledged(place, base, &batch.values));
            }
            code::UNKNOWN_TOPIC_ID | code::UNKNOWN_TOPIC_OR_PARTITION
                if self.client.model().may_be_gone(place.0) =>
            {
                self.queues.remove(&place);
            }
            code::OUT_OF_ORDER_SEQUENCE_NUMBER if queue.failed => {}
            code::NOT_LEADER_OR_FOLLOWER | code::REQUEST_TIMED_OUT | code::KAFKA_STORAGE_ERROR => {
                queue.failed = true;
            }
            other => {
                self.client.findings.violated(format!("{place:?} produced: error {other}"));
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        self.after_failure(place).await;
        Ok(())
    }

    /// Once nothing is on its way behind a failed batch, it is sent again.
    async fn after_failure(&mut self, place: Place) {
        let Some(queue) = self.queues.get_mut(&place) else { return };
        if queue.failed && queue.sent == 0 {
            queue.failed = false;
            self.client.findings.count(|stats| stats.resent += 1);
            self.client.pause(5, 20).await;
        }
    }
}
