//! The differential oracle (`tests/oracle`): what Apache Kafka 4.3.1 answered, Ottla answers, on
//! each of its listeners.

use ottla_oracle::{Listener, Report};

use crate::node::{Node, Setup};

/// Fewest requests that are compared: the tables only grow.
const CLIENTS_COMPARED_MIN: usize = 3_700;
const QUORUM_COMPARED_MIN: usize = 430;

/// APIs that are not built, and what each of them waits for. Their requests are recorded, and
/// compared from the day on which they are shown.
const NOT_BUILT: &[(&str, &[&str])] = &[
    (
        "transactions",
        &[
            "AddPartitionsToTxn",
            "AddOffsetsToTxn",
            "EndTxn",
            "WriteTxnMarkers",
            "TxnOffsetCommit",
            "DescribeTransactions",
            "ListTransactions",
        ],
    ),
    ("groups of KIP-848", &["ConsumerGroupHeartbeat", "ConsumerGroupDescribe"]),
    (
        "share groups",
        &[
            "ShareGroupHeartbeat",
            "ShareGroupDescribe",
            "ShareFetch",
            "ShareAcknowledge",
            "InitializeShareGroupState",
            "ReadShareGroupState",
            "WriteShareGroupState",
            "DeleteShareGroupState",
            "ReadShareGroupStateSummary",
            "DescribeShareGroupOffsets",
            "AlterShareGroupOffsets",
            "DeleteShareGroupOffsets",
        ],
    ),
    ("streams groups", &["StreamsGroupHeartbeat", "StreamsGroupDescribe"]),
    (
        "security",
        &[
            "SaslHandshake",
            "SaslAuthenticate",
            "DescribeAcls",
            "CreateAcls",
            "DeleteAcls",
            "CreateDelegationToken",
            "RenewDelegationToken",
            "ExpireDelegationToken",
            "DescribeDelegationToken",
            "DescribeUserScramCredentials",
            "AlterUserScramCredentials",
        ],
    ),
    ("quotas", &["AlterClientQuotas"]),
    ("several nodes", &["AddRaftVoter", "RemoveRaftVoter", "AlterPartition", "BrokerHeartbeat"]),
];

/// A node in the state of the recorder's Kafka (`scripts/oracle`).
fn start() -> Node {
    let setup = Setup::new().with("node.id", 1).with("offsets.topic.num.partitions", 1);
    let setup = setup.with("offsets.topic.replication.factor", 1);
    let setup = setup.with("transaction.state.log.num.partitions", 1);
    let setup = setup.with("transaction.state.log.replication.factor", 1);
    setup.with("transaction.state.log.min.isr", 1).start()
}

fn assert_equal(report: &Report, compared_min: usize) {
    let compared: usize = report.compared.values().sum();
    let unanswered: usize = report.unanswered.values().sum();
    println!("{compared} requests were compared; {unanswered} wait for APIs that are not built:");
    println!("{:?}", report.unanswered);
    let not_built = |name: &String| NOT_BUILT.iter().any(|(_, apis)| apis.contains(&name.as_str()));
    let lost: Vec<_> = report.unanswered.keys().filter(|name| !not_built(name)).collect();
    assert!(lost.is_empty(), "these were shown once: {lost:?}");
    let list = |lines: &[String]| lines.join("\n");
    assert!(report.differences.is_empty(), "{}", list(&report.differences));
    assert!(report.needless.is_empty(), "not different any more:\n{}", list(&report.needless));
    assert!(report.untested.is_empty(), "shown and not compared: {:?}", report.untested);
    assert!(compared >= compared_min, "{compared}");
}

#[test]
fn every_answer_is_kafkas() {
    let node = start();
    let report = ottla_oracle::replay(Listener::Clients, node.address()).unwrap();
    assert_equal(&report, CLIENTS_COMPARED_MIN);
}

#[test]
fn every_answer_of_the_quorums_listener_is_kafkas() {
    let node = start();
    let report = ottla_oracle::replay(Listener::Quorum, node.controller_address()).unwrap();
    assert_equal(&report, QUORUM_COMPARED_MIN);
}
