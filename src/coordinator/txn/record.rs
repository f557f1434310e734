//! The record of a transactional id.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::DecodeError;
use ottla_protocol::coordinator::transaction::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord,
};
use ottla_protocol::coordinator::{Part, RecordError};
use ottla_types::{Offset, PartitionId, ProducerEpoch, TopicName, TopicPartition};

use super::TransactionalId;
use super::state::{Producer, Transaction, TransactionState};
use crate::shard_core::{LoadedRecord, RecordBytes};

/// Version of the values from `transaction.version` 1 on: the one with tags.
const FLEXIBLE_VERSION: i16 = 1;

/// The record of an id in a cluster of this `transaction.version`; `None` forgets the id.
pub(super) fn encode(
    id: &TransactionalId,
    transaction: Option<&Transaction>,
    version: i16,
) -> RecordBytes {
    let key = TransactionLogKey { transactional_id: id.to_string() };
    let record = TransactionRecord::TransactionLog(key, transaction.map(value));
    let (key, value) = record.encode(version.clamp(0, FLEXIBLE_VERSION));
    RecordBytes { key: key.into(), value: value.map(Bytes::from) }
}

fn value(transaction: &Transaction) -> TransactionLogValue {
    TransactionLogValue {
        producer_id: transaction.producer.id,
        previous_producer_id: transaction.previous_producer_id,
        next_producer_id: transaction.next_producer_id,
        producer_epoch: transaction.producer.epoch,
        next_producer_epoch: ProducerEpoch::NONE,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.number(),
        transaction_partitions: partitions(transaction),
        transaction_last_update_timestamp_ms: transaction.updated,
        transaction_start_timestamp_ms: transaction.started,
        client_transaction_version: transaction.client_version,
        ..TransactionLogValue::default()
    }
}

/// By topic; an id without a transaction has none to tell of.
fn partitions(transaction: &Transaction) -> Option<Vec<PartitionsSchema>> {
    if transaction.state == TransactionState::Empty {
        return None;
    }
    let mut topics: BTreeMap<&TopicName, Vec<PartitionId>> = BTreeMap::new();
    for partition in &transaction.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let schema = |(topic, partition_ids): (&TopicName, Vec<PartitionId>)| PartitionsSchema {
        topic: topic.clone(),
        partition_ids,
        ..PartitionsSchema::default()
    };
    Some(topics.into_iter().map(schema).collect())
}

/// What a record of the log says of which id; `None` if it is of a type that is not known, as
/// Kafka passes over it.
///
/// # Errors
/// When the record is damaged, or its value has a version or state that is not known.
pub(super) fn decode(
    record: LoadedRecord<'_>,
) -> Result<Option<(TransactionalId, Option<Transaction>)>, RecordError> {
    let (key, value, version) = match TransactionRecord::decode(record.key, record.value) {
        Ok((TransactionRecord::TransactionLog(key, value), version)) => (key, value, version),
        Err(RecordError::UnknownType(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let id = TransactionalId::from(key.transactional_id.as_str());
    let Some(value) = value else { return Ok(Some((id, None))) };
    let error = DecodeError::UnknownValue;
    let bad = RecordError::Bad { error, version, part: Part::Value };
    let state = TransactionState::from_number(value.transaction_status).ok_or(bad)?;
    Ok(Some((id, Some(loaded(value, state, record.offset)))))
}

fn loaded(value: TransactionLogValue, state: TransactionState, record: Offset) -> Transaction {
    let topics = value.transaction_partitions.unwrap_or_default();
    let partitions =
        topics.into_iter().flat_map(|PartitionsSchema { topic, partition_ids, .. }| {
            let named = move |partition| TopicPartition { topic: topic.clone(), partition };
            partition_ids.into_iter().map(named)
        });
    Transaction {
        producer: Producer { id: value.producer_id, epoch: value.producer_epoch },
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        last_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
        record,
    }
}
