//! A transaction that is torn: an end that was late, because its client had lost patience and sent
//! it again on another connection, arrives in the middle of the next transaction.

use ottla_types::ErrorCode;

use super::readers::{committed, texts};
use super::whole::{ADDS, CLASSIC, add, begin, end, end_request, wait_for, write};
use super::{batch, produce_as};
use crate::node::{Setup, fresh};
use crate::requests::{create, error};

#[test]
fn a_late_end_tears_a_classic_transaction_as_with_kafka() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let of = begin(client, "torn");
    add(client, "torn", of, &topic);
    write(client, CLASSIC, "torn", (of.0, of.1, 0), &topic, "a");
    assert_eq!(end(client, 3, "torn", of, true).0, ErrorCode::None);
    // The next transaction has two records.
    add(client, "torn", of, &topic);
    write(client, CLASSIC, "torn", (of.0, of.1, 1), &topic, "half");
    let late = client.call(3, &end_request("torn", of, true));
    assert_eq!(error(late.error_code), ErrorCode::None, "nothing tells it from one in time");
    add(client, "torn", of, &topic);
    write(client, CLASSIC, "torn", (of.0, of.1, 2), &topic, "other half");
    assert_eq!(end(client, 3, "torn", of, false).0, ErrorCode::None);
    wait_for(client, &topic, &["a", "half", "other half"]);
    let told = committed(client, &topic, 0);
    let aborted: Vec<i64> = told.1.iter().map(|(_, first)| *first).collect();
    assert_eq!(aborted, [4], "the other half alone is aborted");
}

#[test]
fn a_late_end_is_fenced_by_the_epoch_of_the_next_transaction() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let first = begin(client, "whole");
    write(client, ADDS, "whole", (first.0, first.1, 0), &topic, "a");
    let (told, next) = end(client, 5, "whole", first, true);
    assert_eq!((told, next), (ErrorCode::None, (first.0, first.1 + 1)));
    write(client, ADDS, "whole", (next.0, next.1, 0), &topic, "half");
    for late in [true, false] {
        let late = client.call(5, &end_request("whole", first, late));
        assert_eq!(error(late.error_code), ErrorCode::ProducerFenced);
    }
    write(client, ADDS, "whole", (next.0, next.1, 1), &topic, "other half");
    let told = committed(client, &topic, 0);
    assert_eq!((texts(&told), told.2), (vec!["a"], 2), "it is open");
    assert_eq!(end(client, 5, "whole", next, false).0, ErrorCode::None);
    wait_for(client, &topic, &["a", "half", "other half"]);
    let told = committed(client, &topic, 0);
    let aborted: Vec<i64> = told.1.iter().map(|(_, first)| *first).collect();
    assert_eq!(aborted, [2], "both halves");
}

#[test]
fn a_late_batch_is_of_the_next_classic_transaction_and_refused_with_kip_890() {
    let node = Setup::new().start();
    let client = &mut node.connect();
    let topic = create(client, &fresh("t"), 1, &[]);
    let of = begin(client, "classic");
    add(client, "classic", of, &topic);
    write(client, CLASSIC, "classic", (of.0, of.1, 0), &topic, "a");
    assert_eq!(end(client, 3, "classic", of, true).0, ErrorCode::None);
    // The first transaction's second batch, for which its client did not wait.
    add(client, "classic", of, &topic);
    write(client, CLASSIC, "classic", (of.0, of.1, 1), &topic, "late");
    assert_eq!(end(client, 3, "classic", of, false).0, ErrorCode::None);
    wait_for(client, &topic, &["a", "late"]);
    let told = committed(client, &topic, 0);
    assert_eq!(told.1, [(of.0, 2)], "the second transaction's fate is the late one's");

    let first = begin(client, "new");
    write(client, ADDS, "new", (first.0, first.1, 0), &topic, "b");
    let (told, next) = end(client, 5, "new", first, true);
    assert_eq!(told, ErrorCode::None);
    write(client, ADDS, "new", (next.0, next.1, 0), &topic, "c");
    let late = [(0, Some(batch((first.0, first.1, 1), &["late"])))];
    let told = produce_as(client, ADDS, &topic, Some("new"), &late).remove(0);
    assert_eq!(error(told.error_code), ErrorCode::InvalidProducerEpoch);
    assert_eq!(end(client, 5, "new", next, true).0, ErrorCode::None);
    wait_for(client, &topic, &["a", "late", "b", "c"]);
}
