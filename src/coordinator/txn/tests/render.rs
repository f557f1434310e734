//! Effects and states in a line.

use ottla_protocol::coordinator::transaction::{
    PartitionsSchema, TransactionLogValue, TransactionRecord,
};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use crate::shard_core::RecordBytes;
use crate::txn::{
    Answer, DescribedTransaction, ListedTransaction, Producer, TransactionState, TxnMarker,
};

fn outcome(result: &Result<(), ErrorCode>) -> &'static str {
    result.err().unwrap_or(ErrorCode::None).name()
}

pub(super) fn producer(producer: Producer) -> String {
    format!("{}/{}", producer.id.0, producer.epoch.0)
}

/// What somebody is told.
pub(super) fn told(told: &Result<Answer, ErrorCode>) -> String {
    match told {
        Err(error) => error.name().to_owned(),
        Ok(Answer::Initialized(it)) => format!("producer {}", producer(*it)),
        Ok(Answer::NeedsProducerId) => "needs a producer id".to_owned(),
        Ok(Answer::Added) => "added".to_owned(),
        Ok(Answer::Verified(outcomes)) => {
            outcomes.iter().map(outcome).collect::<Vec<_>>().join(" ")
        }
        Ok(Answer::Ended(None)) => "ended".to_owned(),
        Ok(Answer::Ended(Some(next))) => format!("ended, next is {}", producer(*next)),
    }
}

fn listed_partitions<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    let all: Vec<String> = partitions.into_iter().map(ToString::to_string).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

/// A record of the log.
pub(super) fn record(record: &RecordBytes) -> String {
    let decoded = TransactionRecord::decode(&record.key, record.value.as_deref());
    let (TransactionRecord::TransactionLog(key, value), version) = decoded.expect("it is ours");
    let id = key.transactional_id;
    let (Some(value), Some(version)) = (value, version) else { return format!("{id} forgotten") };
    format!("{id} {} v{version}", self::value(&value))
}

fn value(value: &TransactionLogValue) -> String {
    let state = TransactionState::from_number(value.transaction_status).expect("a state");
    let mut text = format!("{} {}/{}", state.name(), value.producer_id.0, value.producer_epoch.0);
    let with = |schema: &PartitionsSchema| {
        let ids: Vec<String> = schema.partition_ids.iter().map(|id| id.0.to_string()).collect();
        format!(" {}:{}", schema.topic, ids.join(","))
    };
    let partitions = value.transaction_partitions.iter().flatten();
    partitions.for_each(|schema| text.push_str(&with(schema)));
    let known = |id: ProducerId| id != ProducerId::NONE;
    if known(value.previous_producer_id) && value.previous_producer_id != value.producer_id {
        text.push_str(&format!(" previous={}", value.previous_producer_id.0));
    }
    if known(value.next_producer_id) {
        text.push_str(&format!(" next={}", value.next_producer_id.0));
    }
    if value.client_transaction_version != 0 {
        text.push_str(&format!(" client={}", value.client_transaction_version));
    }
    assert_eq!(value.next_producer_epoch, ProducerEpoch::NONE, "it is of two phases");
    text
}

/// Markers of one transaction.
pub(super) fn markers(markers: &[TxnMarker]) -> String {
    let Some(first) = markers.first() else { return "none".to_owned() };
    let outcome = if first.commit { "commit" } else { "abort" };
    let of = Producer { id: first.producer_id, epoch: first.producer_epoch };
    format!(
        "{outcome} {} in {} epoch={} version={}",
        producer(of),
        listed_partitions(markers.iter().map(|it| &it.partition)),
        first.coordinator_epoch,
        first.transaction_version
    )
}

pub(super) fn described(it: &DescribedTransaction) -> String {
    format!(
        "{} {} timeout={} started={} partitions={}",
        it.state.name(),
        producer(it.producer),
        it.timeout_ms,
        it.started.0,
        listed_partitions(&it.partitions)
    )
}

pub(super) fn listed(it: &ListedTransaction) -> String {
    format!("{} {} {}", it.id, it.producer_id.0, it.state.name())
}
