//! Produce in a transaction: what is refused as a whole, and what must be verified.

use ottla_types::ErrorCode;

use super::{BELIEVED, batch, believing, commit, end, produce_as, write};
use crate::node::{Node, fresh};
use crate::requests::{PRODUCE, batch as plain, create, error, read_all};

#[test]
fn a_request_needs_its_transactional_id_and_one_producer() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 2, &[]);
    let codes = |client: &mut _, id: Option<&str>, records: &[_]| -> Vec<ErrorCode> {
        let answers = produce_as(client, BELIEVED, &topic, id, records);
        answers.iter().map(|answer| error(answer.error_code)).collect()
    };
    let of = |id, epoch| Some(batch((id, epoch, 0), &["v"]));
    let nameless = codes(client, None, &[(0, Some(plain(&["v"]))), (1, of(7, 0))]);
    assert_eq!(nameless, [ErrorCode::TransactionalIdAuthorizationFailed; 2], "all of it");
    for other in [of(8, 0), of(7, 1)] {
        let two = codes(client, Some("tx"), &[(0, of(7, 0)), (1, other)]);
        assert_eq!(two, [ErrorCode::InvalidProducerIdMapping; 2]);
    }
    assert_eq!(read_all(client, &topic, 0).len() + read_all(client, &topic, 1).len(), 0);
    // One that is not of the transaction goes beside it.
    let mixed = codes(client, Some("tx"), &[(0, Some(plain(&["v"]))), (1, of(7, 0))]);
    assert_eq!(mixed, [ErrorCode::None; 2]);
    let idempotent = crate::requests::sequenced(Some((7, 0, 1)), &["v"]);
    let outside = codes(client, Some("tx"), &[(1, Some(idempotent))]);
    assert_eq!(outside, [ErrorCode::InvalidTxnState], "while it is open");
}

#[test]
fn what_nobody_can_verify_is_not_written() {
    let node = Node::start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    for version in [3, 10, 11, 12, PRODUCE] {
        let records = [(0, Some(batch((7, 0, 0), &["v"])))];
        let answer = produce_as(client, version, &topic, Some("tx"), &records).remove(0);
        assert_ne!(error(answer.error_code), ErrorCode::None, "version {version}");
    }
    assert_eq!(read_all(client, &topic, 0).len(), 0);
}

#[test]
fn clients_of_the_new_protocol_are_not_believed() {
    let node = believing().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let records = [(0, Some(batch((7, 0, 0), &["v"])))];
    let answer = produce_as(client, PRODUCE, &topic, Some("tx"), &records).remove(0);
    assert_ne!(error(answer.error_code), ErrorCode::None, "nobody added the partition");
    // A transaction that is open needs no more questions.
    assert_eq!(write(client, &topic, (7, 0, 0), &["v"]), (ErrorCode::None, 0));
    let records = [(0, Some(batch((7, 0, 1), &["w"])))];
    let answer = produce_as(client, PRODUCE, &topic, Some("tx"), &records).remove(0);
    assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 1));
    assert_eq!(end(client, commit(7, 0), &topic), ErrorCode::None);
}
