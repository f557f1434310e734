//! WriteTxnMarkers: who may end a transaction, and what comes late or again.

use ottla_protocol::ApiKey;
use ottla_protocol::txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use ottla_types::ErrorCode;

use super::{End, abort, believing, commit, end, end_in, markers_request, write};
use crate::node::fresh;
use crate::requests::{create, error, read_all};

#[test]
fn an_old_coordinator_and_an_old_producer_are_fenced() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let by = |coordinator, epoch| End { coordinator, ..commit(7, epoch) };
    assert_eq!(write(client, &topic, (7, 4, 0), &["a"]), (ErrorCode::None, 0));
    assert_eq!(end(client, by(5, 4), &topic), ErrorCode::None);
    assert_eq!(end(client, by(4, 4), &topic), ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(end(client, by(5, 3), &topic), ErrorCode::InvalidProducerEpoch);
    assert_eq!(end(client, by(5, 4), &topic), ErrorCode::None, "as Kafka, it is written again");
    // The producer was fenced: its transaction is ended in a newer epoch.
    assert_eq!(write(client, &topic, (7, 4, 1), &["b"]), (ErrorCode::None, 3));
    let fence = End { coordinator: 6, ..abort(7, 5) };
    assert_eq!(end(client, fence, &topic), ErrorCode::None);
    assert_eq!(write(client, &topic, (7, 4, 2), &["c"]), (ErrorCode::InvalidProducerEpoch, -1));
    assert_eq!(write(client, &topic, (7, 5, 3), &["c"]), (ErrorCode::OutOfOrderSequenceNumber, -1));
    assert_eq!(write(client, &topic, (7, 5, 0), &["c"]), (ErrorCode::None, 5));
    assert_eq!(read_all(client, &topic, 0).len(), 6);
}

#[test]
fn a_marker_of_version_2_has_a_newer_epoch_and_comes_again_for_nothing() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let with = |epoch| End { version: 2, ..commit(7, epoch) };
    assert_eq!(write(client, &topic, (7, 0, 0), &["a"]), (ErrorCode::None, 0));
    assert_eq!(end(client, with(0), &topic), ErrorCode::InvalidProducerEpoch);
    for _ in 0..3 {
        assert_eq!(end(client, with(1), &topic), ErrorCode::None);
    }
    assert_eq!(write(client, &topic, (7, 0, 1), &["late"]), (ErrorCode::InvalidProducerEpoch, -1));
    // A second transaction right after the first.
    assert_eq!(write(client, &topic, (7, 1, 0), &["b"]), (ErrorCode::None, 2));
    assert_eq!(end(client, with(1), &topic), ErrorCode::InvalidProducerEpoch, "of the first");
    assert_eq!(end(client, with(2), &topic), ErrorCode::None);
    assert_eq!(read_all(client, &topic, 0).len(), 4);
}

#[test]
fn outcomes_are_told_by_producer_and_partition() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 2, &[]);
    let told = end_in(client, commit(7, 0), &topic.name, &[1, 0, 5, 1]);
    assert_eq!(told, [ErrorCode::None, ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(read_all(client, &topic, 1).len(), 1, "named twice, written once");
    let both = [(topic.name.as_str(), &[0][..]), ("missing", &[0][..])];
    let mut request = markers_request(commit(9, 0), &both);
    request.markers.extend(markers_request(abort(8, 0), &both[..1]).markers);
    for version in 1..=2 {
        let answer: WriteTxnMarkersResponse =
            client.ask(ApiKey::WriteTxnMarkers, version, &request);
        let told: Vec<_> = answer.markers.iter().map(|it| it.producer_id.0).collect();
        assert_eq!(told, [8, 9]);
        let of_9 = answer.markers[1].topics.iter();
        let of_9: Vec<_> = of_9.map(|it| error(it.partitions[0].error_code)).collect();
        assert_eq!(of_9, [ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
    }
    let nothing = WriteTxnMarkersRequest::default();
    let answer: WriteTxnMarkersResponse = client.ask(ApiKey::WriteTxnMarkers, 2, &nothing);
    assert_eq!(answer.markers, []);
    assert_eq!(end(client, commit(-1, 0), &topic), ErrorCode::UnknownServerError);
}
