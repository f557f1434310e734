//! What the controller does must not grow with what there is.

use std::time::{Duration, Instant};

use ottla_types::{MonoTime, NodeId, Offset};

use super::harness::{Harness, settings};
use crate::controller::{Controller, CreateTopics, Decision, Moment, NewTopic};
use crate::{MetadataVersion, VersionedRecord};

/// A controller with three brokers, and the offset of the next record.
struct Cluster {
    controller: Controller,
    next_offset: Offset,
}

impl Cluster {
    fn new() -> Cluster {
        let mut harness = Harness::new(settings());
        harness.activate(MetadataVersion::V4_3);
        for broker in 1..=3 {
            let request = harness.registration(broker);
            let decision = harness.controller.register_broker(request, harness.moment());
            harness.append(decision.expect("a good registration"));
            let request = harness.heartbeat(broker);
            let moment = harness.moment();
            let decision = harness.controller.broker_heartbeat(&request, moment);
            harness.append(decision.expect("it is registered"));
        }
        Cluster { controller: harness.controller, next_offset: harness.next_offset }
    }

    fn append<R>(&mut self, decision: Decision<R>) {
        let records: Vec<VersionedRecord> = decision.records;
        self.controller.replay_appended(self.next_offset, &records).expect("the records fit");
        self.next_offset = self.next_offset.plus(records.len() as i64);
    }

    fn create(&mut self, name: String, partitions: i32) {
        let (assignments, configs) = (Vec::new(), Vec::new());
        let topic = NewTopic { name, partitions, replication_factor: 3, assignments, configs };
        let request = CreateTopics { topics: vec![topic], validate_only: false };
        let mut random = fastrand::Rng::with_seed(self.next_offset.0 as u64);
        let decision = self.controller.create_topics(&request, &mut || random.u64(..));
        self.append(decision.expect("few partitions"));
    }
}

#[expect(clippy::disallowed_methods, reason = "this test measures time")]
fn timed(name: &str, limit: Duration, work: impl FnOnce()) {
    let begin = Instant::now();
    work();
    let taken = begin.elapsed();
    println!("{name}: {taken:?}");
    assert!(taken < limit, "{name}: {taken:?}");
}

#[test]
fn ten_thousand_topics_one_by_one() {
    let mut cluster = Cluster::new();
    timed("10,000 topics, one by one", Duration::from_secs(10), || {
        for number in 0..10_000 {
            cluster.create(format!("topic.{number}"), 1);
        }
    });
    assert_eq!(cluster.controller.image().topics().count(), 10_000);
}

#[test]
fn a_hundred_thousand_partitions() {
    let mut cluster = Cluster::new();
    for number in 0..12 {
        cluster.create(format!("topic-{number}"), 9_000);
    }
    let moment = Moment { now: MonoTime::START, next_offset: cluster.next_offset };
    let mut request = Harness::new(settings()).heartbeat(1);
    request.epoch = cluster.controller.image().cluster().broker(NodeId(1)).expect("is there").epoch;
    timed("1000 heartbeats among 108,000 partitions", Duration::from_secs(1), || {
        for _ in 0..1000 {
            let decision = cluster.controller.broker_heartbeat(&request, moment);
            assert!(decision.expect("it is registered").records.is_empty());
        }
    });
    timed("fencing a broker with 108,000 partitions", Duration::from_secs(10), || {
        let records = cluster.controller.fence_records(NodeId(1), request.epoch);
        assert_eq!(records.len(), 108_001);
        cluster.append(Decision { records, atomic: false, reply: () });
    });
    let committed = cluster.controller.image().clone();
    timed("going back to the committed image", Duration::from_secs(10), || {
        cluster.controller.renounce(committed);
    });
}
