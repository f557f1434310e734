//! The APIs of the transaction coordinator, each in each version.

use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest,
    ListTransactionsRequest, ProducerId as WireProducerId,
};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::fresh;
use crate::requests::{Topic, create, error, text, topic_name};
use crate::transactions::whole::{add_request, begin, end_request, id};

/// Calls one of them with success and with an error.
pub fn call(client: &mut Client, key: i16, version: i16) {
    let name = fresh("tx");
    let topic = create(client, &fresh("t"), 1, &[]);
    match key {
        24 if version < 4 => add_partitions(client, version, &name, &topic),
        24 => add_partitions_of_many(client, version, &name, &topic),
        25 => add_offsets(client, version, &name),
        26 => end(client, version, &name, &topic),
        65 => describe(client, version, &name),
        66 => list(client, version, &name),
        _ => panic!("no call for API {key}"),
    }
}

fn add_partitions(client: &mut Client, version: i16, name: &str, topic: &Topic) {
    let producer = begin(client, name);
    let mut add = |producer, names: &[&str]| {
        let mut request = add_request(name, producer, names[0]);
        let more = names[1..].iter().map(|name| {
            AddPartitionsToTxnTopic::default().with_name(topic_name(name)).with_partitions(vec![0])
        });
        request.v3_and_below_topics.extend(more);
        let answer = client.call(version, &request);
        let topics = answer.results_by_topic_v3_and_below.iter();
        let codes = topics.map(|topic| error(topic.results_by_partition[0].partition_error_code));
        codes.collect::<Vec<_>>()
    };
    assert_eq!(add(producer, &[&topic.name]), [ErrorCode::None]);
    let missing = [ErrorCode::OperationNotAttempted, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(add(producer, &[&topic.name, "missing"]), missing);
    let internal = ErrorCode::TopicAuthorizationFailed;
    assert_eq!(add(producer, &["__consumer_offsets"]), [internal]);
    let fenced =
        if version < 2 { ErrorCode::InvalidProducerEpoch } else { ErrorCode::ProducerFenced };
    assert_eq!(add((producer.0, producer.1 + 1), &[&topic.name]), [fenced]);
    let unknown = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(add((producer.0 + 1, 0), &[&topic.name]), [unknown]);
}

/// As brokers ask: whether partitions are in transactions, and to add them.
fn add_partitions_of_many(client: &mut Client, version: i16, name: &str, topic: &Topic) {
    let producer = begin(client, name);
    let of = |name: &str, producer: (i64, i16), verify_only| {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(&topic.name))
            .with_partitions(vec![0]);
        AddPartitionsToTxnTransaction::default()
            .with_transactional_id(id(name))
            .with_producer_id(WireProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_verify_only(verify_only)
            .with_topics(vec![topic])
    };
    let mut ask = |transactions: Vec<AddPartitionsToTxnTransaction>| {
        let request = AddPartitionsToTxnRequest::default().with_transactions(transactions);
        let answer = client.call(version, &request);
        assert_eq!(error(answer.error_code), ErrorCode::None);
        let told = answer
            .results_by_transaction
            .iter()
            .map(|of| error(of.topic_results[0].results_by_partition[0].partition_error_code));
        told.collect::<Vec<_>>()
    };
    let nobody = ErrorCode::InvalidProducerIdMapping;
    let asked = vec![of(name, producer, true), of("nobody", producer, true)];
    assert_eq!(ask(asked), [ErrorCode::TransactionAbortable, nobody]);
    assert_eq!(ask(vec![of(name, producer, false)]), [ErrorCode::None]);
    assert_eq!(ask(vec![of(name, producer, true)]), [ErrorCode::None]);
    let newer = (producer.0, producer.1 + 1);
    assert_eq!(ask(vec![of(name, newer, false)]), [ErrorCode::ProducerFenced]);
}

pub fn add_offsets_request(
    name: &str,
    producer: (i64, i16),
    group: &str,
) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest::default()
        .with_transactional_id(id(name))
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_group_id(text(group).into())
}

fn add_offsets(client: &mut Client, version: i16, name: &str) {
    let producer = begin(client, name);
    let mut add = |producer| {
        let answer = client.call(version, &add_offsets_request(name, producer, "g"));
        error(answer.error_code)
    };
    assert_eq!(add(producer), ErrorCode::None);
    let fenced =
        if version < 2 { ErrorCode::InvalidProducerEpoch } else { ErrorCode::ProducerFenced };
    assert_eq!(add((producer.0, producer.1 + 1)), fenced);
}

fn end(client: &mut Client, version: i16, name: &str, topic: &Topic) {
    let producer = begin(client, name);
    let nothing = client.call(version, &end_request(name, producer, true));
    assert_eq!(error(nothing.error_code), ErrorCode::InvalidTxnState, "there is nothing");
    client.call(3, &add_request(name, producer, &topic.name));
    let newer = (producer.0, producer.1 + 1);
    let fenced = client.call(version, &end_request(name, newer, true));
    let expected =
        if version < 2 { ErrorCode::InvalidProducerEpoch } else { ErrorCode::ProducerFenced };
    assert_eq!(error(fenced.error_code), expected);
    let ended = client.call(version, &end_request(name, producer, true));
    assert_eq!(error(ended.error_code), ErrorCode::None);
    if version >= 5 {
        assert_eq!((ended.producer_id.0, ended.producer_epoch), newer);
    }
}

fn describe(client: &mut Client, version: i16, name: &str) {
    let producer = begin(client, name);
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![id(name), id("no")]);
    let answer = client.call(version, &request);
    let [found, missing] = &answer.transaction_states[..] else { panic!("{answer:?}") };
    assert_eq!(error(missing.error_code), ErrorCode::TransactionalIdNotFound);
    assert_eq!((found.producer_id.0, found.producer_epoch), producer);
    assert_eq!((&*found.transaction_state, found.transaction_timeout_ms), ("Empty", 60_000));
}

fn list(client: &mut Client, version: i16, name: &str) {
    begin(client, name);
    let request = ListTransactionsRequest::default().with_duration_filter(-1);
    let request = |states: &[&str]| {
        let states = states.iter().map(|state| text(state)).collect();
        request.clone().with_state_filters(states)
    };
    let has = |answer: &kafka_protocol::messages::ListTransactionsResponse| {
        answer.transaction_states.iter().any(|it| &**it.transactional_id == name)
    };
    assert!(has(&client.call(version, &request(&[]))));
    assert!(has(&client.call(version, &request(&["Empty"]))));
    let other = client.call(version, &request(&["Ongoing", "Dead", "Asleep"]));
    assert!(!has(&other));
    assert_eq!(other.unknown_state_filters, [text("Asleep")]);
    if version >= 2 {
        let pattern =
            |pattern: &str| request(&[]).with_transactional_id_pattern(Some(text(pattern)));
        assert!(has(&client.call(version, &pattern("tx.*"))));
        assert!(!has(&client.call(version, &pattern("tx"))), "the whole id");
        let bad = client.call(version, &pattern("("));
        assert_eq!(error(bad.error_code), ErrorCode::InvalidRegularExpression);
    }
}
