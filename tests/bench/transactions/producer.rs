//! A transactional producer over one connection, one request at a time.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_test_client::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_test_client::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_test_client::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ProduceRequest, ProducerId as WireProducerId, TransactionalId,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::client::{Client, topic_name};
use crate::machine::record_time;

pub(super) const PARTITIONS: i32 = 5;
const RECORDS: usize = 2;
const VALUE: &[u8] = &[b'x'; 100];
const TRANSACTION_KEY: i8 = 1;
const INIT_PRODUCER_ID: i16 = 4;
const FIND_COORDINATOR: i16 = 4;
const ADD_PARTITIONS: i16 = 3;
const CONCURRENT_TRANSACTIONS: i16 = 51;
/// No leader, coordinator, or log of it yet.
const NOT_READY: [i16; 6] = [3, 5, 6, 14, 15, 16];
const PAUSE: Duration = Duration::from_millis(5);

/// How partitions come into a transaction, and what an end does to the producer's epoch.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Protocol {
    /// `transaction.version` 2: the broker adds them, and each end raises the epoch.
    Kip890,
    /// The client adds them.
    Classic,
}

impl Protocol {
    fn produce(self) -> i16 {
        if self == Protocol::Kip890 { 12 } else { 11 }
    }

    fn end_txn(self) -> i16 {
        if self == Protocol::Kip890 { 5 } else { 3 }
    }
}

/// A producer with an id.
pub(super) struct TransactionalProducer {
    client: Client,
    topic: String,
    id: TransactionalId,
    protocol: Protocol,
    producer: (i64, i16),
    sequence: i32,
    /// Requests that were refused because the end of the one before was on its way.
    pub(super) retries: usize,
}

impl TransactionalProducer {
    /// Gets its id from the coordinator of its transactions.
    pub(super) fn begin(
        client: Client,
        topic: &str,
        protocol: Protocol,
    ) -> io::Result<TransactionalProducer> {
        let name = if protocol == Protocol::Kip890 { "of-kip-890" } else { "of-classic" };
        let mut begun = TransactionalProducer {
            client,
            topic: topic.to_owned(),
            id: TransactionalId(StrBytes::from_static_str(name)),
            protocol,
            producer: (-1, -1),
            sequence: 0,
            retries: 0,
        };
        let find = FindCoordinatorRequest::default()
            .with_key_type(TRANSACTION_KEY)
            .with_coordinator_keys(vec![begun.id.0.clone()]);
        begun.until_done(|it| {
            Ok(it.client.call(FIND_COORDINATOR, &find)?.coordinators[0].error_code)
        })?;
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(begun.id.clone()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(WireProducerId(-1))
            .with_producer_epoch(-1);
        begun.until_done(|it| {
            let answer = it.client.call(INIT_PRODUCER_ID, &init)?;
            it.producer = (answer.producer_id.0, answer.producer_epoch);
            Ok(answer.error_code)
        })?;
        Ok(begun)
    }

    /// Two records to each partition, committed.
    pub(super) fn transaction(&mut self) -> io::Result<()> {
        let batch = self.batch(RECORDS, VALUE);
        self.write(0..PARTITIONS, &batch, RECORDS)?;
        self.end(true)
    }

    /// A batch that goes on where the last one to any partition ended.
    pub(super) fn batch(&self, records: usize, value: &[u8]) -> Bytes {
        let kind = BatchKind::Transactional;
        let mut batch = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), record_time())
            .with_producer(
                ProducerId(self.producer.0),
                ProducerEpoch(self.producer.1),
                self.sequence,
            );
        (0..records).for_each(|_| batch.push(None, Some(value)));
        batch.build().into()
    }

    /// Writes a batch to partitions within the transaction, which begins with it.
    pub(super) fn write(
        &mut self,
        partitions: std::ops::Range<i32>,
        batch: &Bytes,
        records: usize,
    ) -> io::Result<()> {
        if self.protocol == Protocol::Classic {
            self.add(partitions.clone())?;
        }
        let data = |index| {
            PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()))
        };
        let topic = TopicProduceData::default()
            .with_name(topic_name(&self.topic))
            .with_partition_data(partitions.map(data).collect());
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        self.until_done(|it| {
            let answer = it.client.call(it.protocol.produce(), &request)?;
            let mut codes = answer.responses[0].partition_responses.iter().map(|it| it.error_code);
            Ok(codes.find(|&code| code != 0).unwrap_or(0))
        })?;
        self.sequence += i32::try_from(records).map_err(io::Error::other)?;
        Ok(())
    }

    fn add(&mut self, partitions: std::ops::Range<i32>) -> io::Result<()> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions(partitions.collect());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(WireProducerId(self.producer.0))
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(vec![topic]);
        self.until_done(|it| {
            let answer = it.client.call(ADD_PARTITIONS, &request)?;
            let told = &answer.results_by_topic_v3_and_below[0].results_by_partition;
            Ok(told.iter().map(|it| it.partition_error_code).find(|&code| code != 0).unwrap_or(0))
        })
    }

    /// Ends the transaction.
    pub(super) fn end(&mut self, commit: bool) -> io::Result<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(WireProducerId(self.producer.0))
            .with_producer_epoch(self.producer.1)
            .with_committed(commit);
        self.until_done(|it| {
            let answer = it.client.call(it.protocol.end_txn(), &request)?;
            if answer.error_code == 0 && it.protocol == Protocol::Kip890 {
                it.producer = (answer.producer_id.0, answer.producer_epoch);
                it.sequence = 0;
            }
            Ok(answer.error_code)
        })
    }

    /// Asks until there is no error; who ends the one before is asked again at once, as often as it
    /// takes, which is counted.
    fn until_done(
        &mut self,
        mut ask: impl FnMut(&mut TransactionalProducer) -> io::Result<i16>,
    ) -> io::Result<()> {
        loop {
            match ask(self)? {
                0 => return Ok(()),
                CONCURRENT_TRANSACTIONS => {
                    self.retries += 1;
                    std::thread::sleep(Duration::from_micros(200));
                }
                code if NOT_READY.contains(&code) => std::thread::sleep(PAUSE),
                code => return Err(io::Error::other(format!("a transaction: error {code}"))),
            }
        }
    }
}
