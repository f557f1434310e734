//! Idempotent producers: what comes again is answered and not written, what is missing is noticed.

use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use ottla_types::ErrorCode;

use crate::node::{Node, fresh};
use crate::requests::{create, error, init_producer, produce, read_all, sequenced, values};

fn outcome(answer: &PartitionProduceResponse) -> (ErrorCode, i64) {
    (error(answer.error_code), answer.base_offset)
}

#[test]
fn producers_are_judged_by_epoch_and_sequence() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("producers"), 1, &[]);
    let (id, epoch) = init_producer(&mut client);
    assert_eq!(epoch, 0);
    use ErrorCode::{InvalidProducerEpoch, None, OutOfOrderSequenceNumber};
    // Epoch, first sequence, records; code and base offset.
    let steps: &[(i16, i32, usize, ErrorCode, i64)] = &[
        (1, 0, 2, None, 0),
        (1, 2, 1, None, 2),
        (1, 2, 1, None, 2),
        (1, 0, 2, None, 0),
        (1, 4, 1, OutOfOrderSequenceNumber, -1),
        (1, 3, 3, None, 3),
        (1, 6, 1, None, 6),
        (1, 7, 1, None, 7),
        // Five batches are remembered: 0 and 1 are the oldest of them.
        (1, 0, 2, None, 0),
        (1, 8, 1, None, 8),
        (0, 9, 1, InvalidProducerEpoch, -1),
        (2, 5, 1, OutOfOrderSequenceNumber, -1),
        (2, 0, 1, None, 9),
        (1, 9, 1, InvalidProducerEpoch, -1),
        (2, 1, 1, None, 10),
    ];
    for (step, (epoch, sequence, count, code, offset)) in steps.iter().enumerate() {
        let names: Vec<String> =
            (0..*count).map(|i| format!("{epoch}/{}", sequence + i as i32)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let batch = sequenced(Some((id, *epoch, *sequence)), &names);
        let answer = produce(&mut client, &topic, batch);
        assert_eq!(outcome(&answer), (*code, *offset), "step {step}");
    }
    let expected = ["1/0", "1/1", "1/2", "1/3", "1/4", "1/5", "1/6", "1/7", "1/8", "2/0", "2/1"];
    assert_eq!(values(&read_all(&mut client, &topic, 0)), expected);
}

#[test]
fn sequences_wrap() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("wrap"), 1, &[]);
    let (id, epoch) = init_producer(&mut client);
    let last = i32::MAX;
    for (sequence, offset) in [(last - 1, 0), (0, 2), (last - 1, 0), (0, 2), (2, 4)] {
        let batch = sequenced(Some((id, epoch, sequence)), &["a", "b"]);
        let answer = produce(&mut client, &topic, batch);
        assert_eq!(outcome(&answer), (ErrorCode::None, offset), "sequence {sequence}");
    }
    assert_eq!(read_all(&mut client, &topic, 0).len(), 6);
}

#[test]
fn every_producer_gets_an_id_of_its_own() {
    let node = Node::start();
    let mut client = node.connect();
    let mut ids: Vec<i64> = (0..2500).map(|_| init_producer(&mut client).0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2500, "more than two blocks of the controller");
}

#[test]
fn producers_are_remembered_across_restarts() {
    let mut node = crate::node::Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("restart"), 1, &[]);
    let (id, epoch) = init_producer(&mut client);
    let batch = |sequence: i32| sequenced(Some((id, epoch, sequence)), &["v"]);
    for sequence in 0..7 {
        assert_eq!(outcome(&produce(&mut client, &topic, batch(sequence))).0, ErrorCode::None);
    }
    node.stop();
    node.start_again();
    for _ in 0..2 {
        let mut client = node.connect();
        for sequence in 2..7 {
            let answer = produce(&mut client, &topic, batch(sequence));
            assert_eq!(outcome(&answer), (ErrorCode::None, i64::from(sequence)), "a duplicate");
        }
        let answer = produce(&mut client, &topic, batch(8));
        assert_eq!(outcome(&answer), (ErrorCode::OutOfOrderSequenceNumber, -1));
        let (other, _) = init_producer(&mut client);
        assert!(other > id, "ids are not given twice");
        node.crash();
    }
    let mut client = node.connect();
    assert_eq!(outcome(&produce(&mut client, &topic, batch(7))), (ErrorCode::None, 7));
}
