//! A copy job by hand, for nodes that are killed: what it writes and the position of its group are
//! one transaction.
//!
//! Each transaction writes the numbers behind the committed position into both partitions of a
//! topic, and commits the position behind them. So after any crash both partitions hold 0, 1, 2
//! and so on up to the position, each once and in order; anything else is a record that was lost
//! or came twice, or a transaction that was torn. What partitions hold is read from their markers
//! here, not from what the node says of aborted transactions.

use std::collections::BTreeMap;
use std::io;

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, FindCoordinatorRequest, OffsetFetchRequest, ProducerId,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use ottla_types::ErrorCode;

use super::batch;
use super::whole::{add_request, end_request, id, init_request};
use crate::client::Client;
use crate::node::{WAIT_MAX, wait_until};
use crate::requests::{FETCH, Topic, error, fetch_request, produce_request, text, topic_name};

/// Numbers of a transaction.
const AT_ONCE: i64 = 2;
/// A transaction in so many is aborted.
const ABORTED: usize = 3;

/// One job; a client of each time that it is begun.
pub struct Job {
    pub name: String,
    pub topic: Topic,
    /// Whether it speaks the protocol of before KIP-890.
    pub is_classic: bool,
    /// Transactions that were begun, over all times.
    pub begun: usize,
}

/// Sends a request until it is not told to wait.
fn until_told<R: Request>(
    client: &mut Client,
    version: i16,
    request: &R,
    told: impl Fn(&R::Response) -> i16,
) -> io::Result<R::Response> {
    let deadline = std::time::Instant::now() + WAIT_MAX;
    loop {
        let answer = client.try_call(version, request)?;
        match error(told(&answer)) {
            ErrorCode::None => return Ok(answer),
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::UnstableOffsetCommit => {
                assert!(std::time::Instant::now() < deadline, "waited in vain, key {}", R::KEY);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            other => panic!("key {} version {version}: {other}", R::KEY),
        }
    }
}

impl Job {
    fn group(&self) -> String {
        format!("of-{}", self.name)
    }

    /// Fences the job of before, and ends what it left open.
    pub fn begin(&self, client: &mut Client) -> io::Result<(i64, i16)> {
        for (kind, key) in [(1, self.name.clone()), (0, self.group())] {
            let find = FindCoordinatorRequest::default()
                .with_key_type(kind)
                .with_coordinator_keys(vec![text(&key)]);
            until_told(client, 4, &find, |it| it.coordinators[0].error_code)?;
        }
        let answer = until_told(client, 4, &init_request(&self.name), |it| it.error_code)?;
        Ok((answer.producer_id.0, answer.producer_epoch))
    }

    /// The committed position, with no transaction over it.
    fn position(&self, client: &mut Client) -> io::Result<i64> {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic.name))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text(&self.group()).into())
            .with_topics(Some(vec![topic]));
        let request =
            OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
        let of_partition = |it: &kafka_protocol::messages::OffsetFetchResponse| {
            let group = &it.groups[0];
            let partition = group.topics.first().map(|topic| topic.partitions[0].clone());
            (group.error_code, partition.map_or((0, -1), |it| (it.error_code, it.committed_offset)))
        };
        let answer = until_told(client, 8, &request, |it| {
            let (of_group, (of_partition, _)) = of_partition(it);
            if of_group != 0 { of_group } else { of_partition }
        })?;
        Ok(of_partition(&answer).1.1.max(0))
    }

    /// Copies until the position is `goal`, or the node is gone.
    pub fn run(&mut self, client: &mut Client, goal: i64) -> io::Result<()> {
        let mut producer = self.begin(client)?;
        let mut position = self.position(client)?;
        let mut sequence = 0;
        while position < goal {
            self.begun += 1;
            let commits = self.begun % ABORTED != 2;
            let next = (position + AT_ONCE).min(goal);
            let of = (producer.0, producer.1, sequence);
            producer = self.transaction(client, of, position..next, commits)?;
            if self.is_classic {
                sequence += i32::try_from(next - position).expect("a few");
            }
            if commits {
                position = next;
            }
        }
        Ok(())
    }

    /// One transaction; the producer of the next one.
    fn transaction(
        &self,
        client: &mut Client,
        of: (i64, i16, i32),
        numbers: std::ops::Range<i64>,
        commits: bool,
    ) -> io::Result<(i64, i16)> {
        let producer = (of.0, of.1);
        if self.is_classic {
            let mut request = add_request(&self.name, producer, &self.topic.name);
            request.v3_and_below_topics[0].partitions = vec![0, 1];
            until_told(client, 3, &request, |it| {
                it.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
            })?;
        }
        let values: Vec<String> = numbers.clone().map(|number| number.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let version = if self.is_classic { 11 } else { 12 };
        for partition in [0, 1] {
            let records = [(partition, Some(batch(of, &values)))];
            let request = produce_request(version, &self.topic, -1, &records)
                .with_transactional_id(Some(id(&self.name)));
            until_told(client, version, &request, |it| {
                it.responses[0].partition_responses[0].error_code
            })?;
        }
        self.commit_position(client, producer, numbers.end)?;
        let request = end_request(&self.name, producer, commits);
        let version = if self.is_classic { 3 } else { 5 };
        let answer = until_told(client, version, &request, |it| it.error_code)?;
        let next = (answer.producer_id.0, answer.producer_epoch);
        Ok(if self.is_classic { producer } else { next })
    }

    fn commit_position(
        &self,
        client: &mut Client,
        producer: (i64, i16),
        position: i64,
    ) -> io::Result<()> {
        if self.is_classic {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(id(&self.name))
                .with_producer_id(ProducerId(producer.0))
                .with_producer_epoch(producer.1)
                .with_group_id(text(&self.group()).into());
            until_told(client, 3, &request, |it| it.error_code)?;
        }
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(position);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic.name))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id(&self.name))
            .with_group_id(text(&self.group()).into())
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        let version = if self.is_classic { 3 } else { 5 };
        until_told(client, version, &request, |it| it.topics[0].partitions[0].error_code)?;
        Ok(())
    }

    /// Ends what a crash left, and looks: the position, behind which nothing is and before which
    /// nothing is missing.
    pub fn check(&self, client: &mut Client) -> i64 {
        self.begin(client).expect("the node is there");
        let position = self.position(client).expect("the node is there");
        let wanted: Vec<String> = (0..position).map(|number| number.to_string()).collect();
        for partition in [0, 1] {
            wait_until("nothing is open", || is_closed(client, &self.topic, partition));
            let found = committed(client, &self.topic, partition);
            assert_eq!(found, wanted, "partition {partition} of {}", self.name);
        }
        position
    }
}

/// Whether readers of committed records get to the end.
fn is_closed(client: &mut Client, topic: &Topic, partition: i32) -> bool {
    let request = fetch_request(FETCH, topic, &[(partition, 0)]).with_isolation_level(1);
    let answer = client.call(FETCH, &request);
    let data = &answer.responses[0].partitions[0];
    data.last_stable_offset == data.high_watermark
}

/// What a partition holds, by its log alone.
#[derive(Default)]
struct Read {
    /// Values of transactions without a marker so far, by producer.
    open: BTreeMap<i64, Vec<String>>,
    /// Those whose marker commits them, in the order of markers.
    committed: Vec<String>,
}

impl Read {
    fn batch(&mut self, header: &BatchHeader, records: &[u8]) {
        let producer = header.producer_id.0;
        for record in Records::new(header, records) {
            let record = record.expect("the batch was checked");
            if header.attributes.is_control() {
                let ended = self.open.remove(&producer).unwrap_or_default();
                if record.key.is_some_and(|key| key == [0, 0, 0, 1]) {
                    self.committed.extend(ended);
                }
            } else {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                self.open.entry(producer).or_default().push(value.into_owned());
            }
        }
    }

    /// Whole batches; the offset behind them.
    fn batches(&mut self, mut bytes: &[u8]) -> Option<i64> {
        let mut next = None;
        while let Ok(header) = BatchHeader::read(bytes) {
            let Some(batch) = bytes.get(..header.size()) else { break };
            let header = BatchHeader::read_checked(batch).expect("a sound batch");
            self.batch(&header, &batch[BATCH_OVERHEAD..]);
            next = Some(header.last_offset().0 + 1);
            bytes = &bytes[header.size()..];
        }
        next
    }
}

/// The values of a partition that are committed.
fn committed(client: &mut Client, topic: &Topic, partition: i32) -> Vec<String> {
    let (mut read, mut next) = (Read::default(), 0);
    loop {
        let answer = client.call(FETCH, &fetch_request(FETCH, topic, &[(partition, next)]));
        let data = &answer.responses[0].partitions[0];
        assert_eq!(error(data.error_code), ErrorCode::None);
        match read.batches(data.records.as_deref().unwrap_or_default()) {
            Some(end) => next = end,
            None => break,
        }
    }
    assert!(read.open.is_empty(), "something is open: {:?}", read.open);
    read.committed
}
