//! Records are deleted: the start moves to where it was asked for, and nothing brings them back.

use std::fs;

use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, InitProducerIdRequest,
};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{
    Topic, batch, create, delete_records_request, error, fetch, list_offset, produce, records,
    sequenced, topic_name,
};

const HIGH_WATERMARK: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// Longer than half of the shortest segment that a topic may have.
const VALUE_LEN: usize = 600_000;

/// Partition, low watermark and error of each answer.
fn told(answer: &DeleteRecordsResponse) -> Vec<(i32, i64, ErrorCode)> {
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| (p.partition_index, p.low_watermark, error(p.error_code))).collect()
}

fn delete(client: &mut Client, topic: &Topic, before: i64) -> (i64, ErrorCode) {
    let answer = client.call(2, &delete_records_request(topic, &[(0, before)]));
    let [(0, low, error)] = told(&answer)[..] else { panic!("{answer:?}") };
    (low, error)
}

fn begins_at(client: &mut Client, topic: &Topic, start: i64) {
    assert_eq!(list_offset(client, topic, 0, EARLIEST).offset, start);
    if start > 0 {
        let below = fetch(client, topic, start - 1);
        assert_eq!(error(below.error_code), ErrorCode::OffsetOutOfRange);
    }
    let at = fetch(client, topic, start);
    assert_eq!((error(at.error_code), at.log_start_offset), (ErrorCode::None, start));
}

#[test]
fn a_log_begins_where_it_was_asked_to_for_good() {
    let setup = Setup::new().with("log.segment.delete.delay.ms", 0);
    let mut node = setup.start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("deleted"), 1, &[("segment.bytes", "1048576")]);
    let value = "x".repeat(VALUE_LEN);
    for _ in 0..3 {
        // Each has a segment of its own, and two records.
        produce(&mut client, &topic, batch(&[&value, "y"]));
    }
    assert_eq!(delete(&mut client, &topic, 3), (3, ErrorCode::None));
    begins_at(&mut client, &topic, 3);
    let whole: Vec<i64> =
        records(&fetch(&mut client, &topic, 3)).iter().map(|r| r.offset).collect();
    assert_eq!(whole, [2, 3], "the batch in which the log begins is answered whole");
    for timestamp in [0, 1_700_000_000_000, MAX_TIMESTAMP] {
        assert_eq!(list_offset(&mut client, &topic, 0, timestamp).offset, 3, "at {timestamp}");
    }
    let dir = node.setup.data().join(format!("{}-0", topic.name));
    let old = [0, 2].map(|base| dir.join(format!("{base:020}.log")));
    wait_until("the segment below is gone", || !old[0].exists());
    assert!(old[1].exists(), "the log begins inside");
    let checkpoint = node.setup.data().join("log-start-offset-checkpoint");
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), format!("0\n1\n{} 0 3\n", topic.name));
    node.crash();
    client = node.connect();
    begins_at(&mut client, &topic, 3);
    assert_eq!(delete(&mut client, &topic, 1), (3, ErrorCode::None), "it never goes back");
    assert_eq!(delete(&mut client, &topic, HIGH_WATERMARK), (6, ErrorCode::None));
    begins_at(&mut client, &topic, 6);
    assert_eq!(list_offset(&mut client, &topic, 0, 0).offset, -1);
    node.stop();
    let epochs = fs::read_to_string(dir.join("leader-epoch-checkpoint")).unwrap();
    assert!(epochs.starts_with("0\n1\n") && epochs.ends_with(" 6\n"), "{epochs:?}");
    node.start_again();
    client = node.connect();
    begins_at(&mut client, &topic, 6);
    let answer = produce(&mut client, &topic, batch(&["z"]));
    assert_eq!((answer.base_offset, answer.log_start_offset), (6, 6));
}

#[test]
fn what_cannot_be_deleted_is_refused_by_itself() {
    let node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("refused"), 2, &[]);
    produce(&mut client, &topic, batch(&["a", "b", "c"]));
    let missing = Topic { name: fresh("missing"), id: topic.id };
    let mut request = delete_records_request(&topic, &[(1, 1), (0, 4), (2, 0)]);
    request.topics.extend(delete_records_request(&missing, &[(0, 0)]).topics);
    for version in 0..=2 {
        let answer = client.call(version, &request);
        let mut by_name: Vec<_> = answer.topics.iter().map(|t| t.name.to_string()).collect();
        by_name.sort();
        assert_eq!(by_name, [missing.name.clone(), topic.name.clone()]);
        let mut told = told(&answer);
        told.sort_by_key(|(index, _, error)| (*index, *error as i16));
        let expected = [
            (0, -1, ErrorCode::OffsetOutOfRange),
            (0, -1, ErrorCode::UnknownTopicOrPartition),
            (1, -1, ErrorCode::OffsetOutOfRange),
            (2, -1, ErrorCode::UnknownTopicOrPartition),
        ];
        assert_eq!(told, expected);
    }
    assert_eq!(delete(&mut client, &topic, -2), (-1, ErrorCode::OffsetOutOfRange));
    // The last of several questions about a partition counts.
    let twice = client.call(2, &delete_records_request(&topic, &[(0, 3), (0, 1)]));
    assert_eq!(told(&twice), [(0, 1, ErrorCode::None)]);
    let nothing = DeleteRecordsRequest::default();
    assert!(client.call(2, &nothing).topics.is_empty());
    let mut internal = delete_records_request(&topic, &[(0, 0)]);
    internal.topics[0].name = topic_name("__cluster_metadata");
    let answer = client.call(2, &internal);
    assert_eq!(told(&answer), [(0, -1, ErrorCode::UnknownTopicOrPartition)]);
}

#[test]
fn a_producer_whose_records_are_deleted_is_still_recognized() {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("known"), 1, &[]);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(1000);
    let id = client.call(4, &request).producer_id.0;
    let sent = sequenced(Some((id, 0, 0)), &["a", "b"]);
    assert_eq!(produce(&mut client, &topic, sent.clone()).base_offset, 0);
    assert_eq!(delete(&mut client, &topic, HIGH_WATERMARK), (2, ErrorCode::None));
    for clean in [false, true] {
        let again = produce(&mut client, &topic, sent.clone());
        assert_eq!((error(again.error_code), again.base_offset), (ErrorCode::None, 0));
        if clean {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        client = node.connect();
    }
    let again = produce(&mut client, &topic, sent);
    assert_eq!((error(again.error_code), again.base_offset), (ErrorCode::None, 0));
}
