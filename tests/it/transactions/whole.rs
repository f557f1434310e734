//! Whole transactions over sockets: the node's own coordinator begins them, and ends them with
//! markers; both protocols, one transaction right after the other.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListTransactionsRequest, ProducerId as WireProducerId, TransactionalId,
};
use ottla_types::ErrorCode;

use super::readers::{committed, texts};
use super::{batch, produce_as};
use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{Topic, create, error, text, topic_name};

/// The last version of a producer of the classic protocol, and the first of KIP-890.
pub const CLASSIC: i16 = 11;
pub const ADDS: i16 = 12;

pub fn id(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

/// A request to begin.
pub fn init_request(name: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(id(name)))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(WireProducerId(-1))
        .with_producer_epoch(-1)
}

/// Begins with a transactional id, whose coordinator is found first, and may have to end what was
/// left open.
pub fn begin(client: &mut Client, name: &str) -> (i64, i16) {
    let find =
        FindCoordinatorRequest::default().with_key_type(1).with_coordinator_keys(vec![text(name)]);
    wait_until("there is a coordinator", || {
        error(client.call(4, &find).coordinators[0].error_code) == ErrorCode::None
    });
    let mut begun = (0, 0);
    wait_until("the producer begins", || {
        let answer = client.call(4, &init_request(name));
        begun = (answer.producer_id.0, answer.producer_epoch);
        match error(answer.error_code) {
            ErrorCode::None => true,
            ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::ConcurrentTransactions
            | ErrorCode::NotCoordinator => false,
            other => panic!("{other}"),
        }
    });
    begun
}

pub fn add_request(name: &str, producer: (i64, i16), topic: &str) -> AddPartitionsToTxnRequest {
    let topic =
        AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id(name))
        .with_v3_and_below_producer_id(WireProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![topic])
}

/// Adds partition 0, as soon as the transaction before has ended.
pub fn add(client: &mut Client, name: &str, producer: (i64, i16), topic: &Topic) {
    wait_until("the partition is added", || {
        let answer = client.call(3, &add_request(name, producer, &topic.name));
        let told = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        match error(told.partition_error_code) {
            ErrorCode::ConcurrentTransactions => false,
            told => {
                assert_eq!(told, ErrorCode::None);
                true
            }
        }
    });
}

pub fn end_request(name: &str, producer: (i64, i16), commit: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(id(name))
        .with_producer_id(WireProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_committed(commit)
}

/// Ends a transaction, as soon as nothing else is on its way; the error, and the producer of the
/// next one.
pub fn end(
    client: &mut Client,
    version: i16,
    name: &str,
    producer: (i64, i16),
    commit: bool,
) -> (ErrorCode, (i64, i16)) {
    let mut told = (ErrorCode::ConcurrentTransactions, (-1, -1));
    wait_until("the transaction ends", || {
        let answer = client.call(version, &end_request(name, producer, commit));
        told = (error(answer.error_code), (answer.producer_id.0, answer.producer_epoch));
        told.0 != ErrorCode::ConcurrentTransactions
    });
    told
}

/// Writes a value, with the first sequence number, as soon as the transaction before has ended.
pub fn write(
    client: &mut Client,
    version: i16,
    name: &str,
    of: (i64, i16, i32),
    topic: &Topic,
    value: &str,
) {
    wait_until("the value is written", || {
        let records = [(0, Some(batch(of, &[value])))];
        let answer = produce_as(client, version, topic, Some(name), &records).remove(0);
        match error(answer.error_code) {
            ErrorCode::ConcurrentTransactions => false,
            told => {
                assert_eq!(told, ErrorCode::None, "{value}");
                true
            }
        }
    });
}

/// Waits until committed readers are told these values.
pub fn wait_for(client: &mut Client, topic: &Topic, values: &[&str]) {
    wait_until("the values are committed", || texts(&committed(client, topic, 0)) == values);
}

#[test]
fn transactions_of_both_protocols_follow_one_another() {
    let mut node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);

    // KIP-890: partitions are added by the broker, each end raises the epoch.
    let first = begin(client, "new");
    write(client, ADDS, "new", (first.0, first.1, 0), &topic, "a");
    let (told, second) = end(client, 5, "new", first, true);
    assert_eq!((told, second), (ErrorCode::None, (first.0, first.1 + 1)));
    write(client, ADDS, "new", (second.0, second.1, 0), &topic, "b");
    let (told, third) = end(client, 5, "new", second, false);
    assert_eq!(told, ErrorCode::None);
    write(client, ADDS, "new", (third.0, third.1, 0), &topic, "c");
    assert_eq!(end(client, 5, "new", third, true).0, ErrorCode::None);
    assert_eq!(end(client, 5, "new", third, true).0, ErrorCode::None, "it asks again");
    wait_for(client, &topic, &["a", "b", "c"]);
    let told = committed(client, &topic, 0);
    assert_eq!(told.1.len(), 1, "the second one is named as aborted");
    assert_eq!(told.2, told.3, "nothing is open");

    // The classic protocol, beside it: partitions are added by the client.
    let classic = begin(client, "classic");
    for (sequence, value) in [(0, "d"), (1, "e")] {
        add(client, "classic", classic, &topic);
        let of = (classic.0, classic.1, sequence);
        write(client, CLASSIC, "classic", of, &topic, value);
        assert_eq!(end(client, 3, "classic", classic, true), (ErrorCode::None, (-1, -1)));
    }
    wait_for(client, &topic, &["a", "b", "c", "d", "e"]);

    // What is not in a transaction is refused.
    let records = [(0, Some(batch((classic.0, classic.1, 2), &["x"])))];
    let answer = produce_as(client, CLASSIC, &topic, Some("classic"), &records).remove(0);
    assert_eq!(error(answer.error_code), ErrorCode::TransactionAbortable);
    node.stop();
}

#[test]
fn a_second_producer_fences_the_first_and_a_kill_ends_nothing() {
    let mut node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let first = begin(client, "p");
    write(client, ADDS, "p", (first.0, first.1, 0), &topic, "lost");
    node.crash();
    let client = &mut node.connect();
    let second = begin(client, "p");
    assert!(second.0 == first.0 && second.1 > first.1, "{first:?} {second:?}");
    assert_eq!(end(client, 5, "p", first, true).0, ErrorCode::ProducerFenced);
    write(client, ADDS, "p", (second.0, second.1, 0), &topic, "kept");
    let listed = client.call(2, &ListTransactionsRequest::default().with_duration_filter(-1));
    let listed: Vec<_> = listed.transaction_states.iter().collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(&*listed[0].transaction_state, "Ongoing");
    assert_eq!(end(client, 5, "p", second, true).0, ErrorCode::None);
    // The process is killed while markers may be on their way.
    node.crash();
    let client = &mut node.connect();
    wait_for(client, &topic, &["lost", "kept"]);
    assert_eq!(committed(client, &topic, 0).1.len(), 1, "the first one is named as aborted");
    let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![
        id("p"),
        id("nobody"),
        id(""),
    ]);
    let mut described = Vec::new();
    wait_until("the transaction is complete", || {
        described = client.call(0, &describe).transaction_states;
        &*described[0].transaction_state == "CompleteCommit"
    });
    let errors: Vec<_> = described.iter().map(|it| error(it.error_code)).collect();
    let nobody = ErrorCode::TransactionalIdNotFound;
    assert_eq!(errors, [ErrorCode::None, nobody, ErrorCode::InvalidRequest]);
    assert_eq!(described[0].producer_epoch, second.1 + 1);
    node.stop();
}

#[test]
fn an_empty_transactional_id_is_none() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let begun = client.call(4, &init_request(""));
    assert_eq!(error(begun.error_code), ErrorCode::InvalidRequest);
    let added = client.call(3, &add_request("", (1, 0), &topic.name));
    let told = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
    assert_eq!(error(told.partition_error_code), ErrorCode::InvalidRequest);
    let ended = client.call(5, &end_request("", (1, 0), true));
    assert_eq!(error(ended.error_code), ErrorCode::InvalidRequest);
}
