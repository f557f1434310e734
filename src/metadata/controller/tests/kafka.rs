//! Our decisions against what Apache Kafka 4.3.1 wrote in the same situation.

use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{BrokerEpoch, MonoTime, NodeId, Offset, ProducerId};

use super::harness::{Harness, settings};
use super::scripts::Script;
use crate::VersionedRecord;
use crate::controller::{Controller, Moment, TopicSelector};
use crate::testdata::{RESTARTS, THREE_BROKERS, batches, with_sorted_features};

/// Kafka's records with their offsets, without those that only show that it lives.
fn written(bytes: &[u8]) -> Vec<(Offset, VersionedRecord)> {
    let offsets = batches(bytes).into_iter().flat_map(|(header, records)| {
        let number = |(at, record)| (header.base_offset.plus(at as i64), record);
        records.into_iter().enumerate().map(number).collect::<Vec<_>>()
    });
    offsets
        .filter(|(_, it)| !matches!(it.record, MetadataRecord::NoOp(_)))
        .map(comparable)
        .collect()
}

fn comparable((offset, record): (Offset, VersionedRecord)) -> (Offset, VersionedRecord) {
    let VersionedRecord { record, version } = record;
    (offset, VersionedRecord { record: with_sorted_features(record), version })
}

/// The scripts `kafka_*` write, record by record, version by version, offset by offset, what Kafka
/// wrote.
#[test]
fn scripts_write_what_kafka_wrote() {
    let mut ours = Vec::new();
    for script in [
        include_str!("../scripts/kafka_first_start.txt"),
        include_str!("../scripts/kafka_clean_restart.txt"),
        include_str!("../scripts/kafka_kill.txt"),
        include_str!("../scripts/kafka_after_recovery.txt"),
    ] {
        let mut run = Script::default();
        goldenscript::generate(&mut run, script).expect("the script runs");
        // Each script begins with the records of an empty log; only the first stands for Kafka's.
        let skipped = usize::from(!ours.is_empty());
        for append in run.harness().log.drain(skipped..) {
            let numbered = append.records.into_iter().enumerate();
            ours.extend(numbered.map(|(at, it)| (append.base_offset.plus(at as i64), it)));
        }
    }
    let ours: Vec<(Offset, VersionedRecord)> = ours.into_iter().map(comparable).collect();
    let kafkas = written(RESTARTS);
    for (our, kafka) in ours.iter().zip(&kafkas) {
        assert_eq!(our, kafka);
    }
    assert_eq!(ours.len(), kafkas.len());
}

/// A controller over what Kafka had written before an offset.
fn controller_at(offset: i64) -> Controller {
    let mut harness = Harness::new(settings());
    harness.load(THREE_BROKERS, Offset(offset));
    harness.activate(crate::MetadataVersion::V4_3);
    harness.controller
}

/// Kafka walks partitions in the order of a hash map.
fn sorted(records: impl IntoIterator<Item = VersionedRecord>) -> Vec<VersionedRecord> {
    let mut records: Vec<VersionedRecord> = records.into_iter().collect();
    records.sort_by_key(|it| match &it.record {
        MetadataRecord::PartitionChange(it) => Some((it.topic_id, it.partition_id)),
        _ => None,
    });
    records
}

/// Holds the records of a decision against Kafka's from `offset` on.
fn check(offset: i64, decide: impl Fn(&Controller) -> Vec<VersionedRecord>) {
    let ours = decide(&controller_at(offset));
    let kafkas = written(THREE_BROKERS);
    let from = kafkas.iter().position(|(at, _)| at.0 == offset).expect("a record stands there");
    let kafkas = kafkas[from..from + ours.len()].iter().map(|(_, it)| it.clone());
    assert_eq!(sorted(ours), sorted(kafkas), "at {offset}");
}

fn epoch(controller: &Controller, broker: i32) -> BrokerEpoch {
    controller.image().cluster().broker(NodeId(broker)).expect("it is registered").epoch
}

#[test]
fn brokers_that_come_and_go_move_partitions_as_in_kafka() {
    let fence = |offset, broker| {
        check(offset, |it| it.fence_records(NodeId(broker), epoch(it, broker)));
    };
    let unfence = |offset, broker| {
        check(offset, |it| it.unfence_records(NodeId(broker), epoch(it, broker)));
    };
    let stop = |offset, broker| {
        check(offset, |it| it.shutdown_records(NodeId(broker), epoch(it, broker)));
    };
    // Killed: broker 4, then broker 3. Eligible replicas appear.
    fence(48, 4);
    fence(60, 3);
    // Broker 2 stops cleanly; nobody leads any more.
    stop(72, 2);
    fence(78, 2);
    // Broker 3 is back from its crash: eligible no more, elected where it was the last leader.
    check(87, |it| it.previous_incarnation_records(NodeId(3), false));
    unfence(93, 3);
    // Broker 2 is back and leads what it was eligible for; broker 4 has nothing to gain.
    check(101, |it| it.previous_incarnation_records(NodeId(2), true));
    unfence(102, 2);
    check(123, |it| it.previous_incarnation_records(NodeId(4), false));
    unfence(126, 4);
    // All stop together; the last leaves two eligible replicas.
    stop(144, 2);
    stop(146, 3);
    stop(148, 4);
    fence(151, 3);
}

#[test]
fn other_operations_write_what_kafka_wrote() {
    let moment = Moment { now: MonoTime::START, next_offset: Offset(0) };
    check(138, |it| {
        let topic = it.image().topic("auto").expect("it is there");
        let by_id = TopicSelector { name: None, topic_id: topic.id };
        it.delete_topics(&[by_id]).expect("it can be deleted").records
    });
    check(141, |it| {
        let decision = it.allocate_producer_ids(NodeId(2), epoch(it, 2)).expect("it is registered");
        assert_eq!((decision.reply.first, decision.reply.count), (ProducerId(0), 1000));
        decision.records
    });
    // Broker 3 sent this cordoned directory list, empty, with its first heartbeat.
    check(23, |it| {
        let mut request = Harness::new(settings()).heartbeat(3);
        request.epoch = epoch(it, 3);
        request.want_fence = true;
        request.cordoned_directories = Some(Vec::new());
        it.clone().broker_heartbeat(&request, moment).expect("it is registered").records
    });
}
