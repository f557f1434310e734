//! The differential oracle (`tests/oracle`): what Apache Kafka 4.3.1 answered, Ottla answers.

use crate::node::Setup;

/// Fewest requests that are compared: the tables only grow.
const COMPARED_MIN: usize = 600;

#[test]
fn every_answer_is_kafkas() {
    let setup = Setup::new().with("node.id", 1).with("offsets.topic.num.partitions", 1);
    let node = setup.with("offsets.topic.replication.factor", 1).start();
    let report = ottla_oracle::replay(node.address()).unwrap();
    let compared: usize = report.compared.values().sum();
    let unanswered: usize = report.unanswered.values().sum();
    println!("{compared} requests were compared; {unanswered} wait for APIs that are not built:");
    println!("{:?}", report.unanswered);
    let list = |lines: &[String]| lines.join("\n");
    assert!(report.differences.is_empty(), "{}", list(&report.differences));
    assert!(report.needless.is_empty(), "not different any more:\n{}", list(&report.needless));
    assert!(report.untested.is_empty(), "shown and not compared: {:?}", report.untested);
    assert!(compared >= COMPARED_MIN, "{compared}");
}
