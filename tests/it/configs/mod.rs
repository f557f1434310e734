//! What clients do to configs, and what they see of them.
//!
//! `scripts/*.txt` were recorded from Apache Kafka 4.3.1 and are answered here in the same words:
//! `UPDATE=1 OTTLA_IT_BROKER=HOST:PORT` records them again from a fresh broker that was started
//! with `log.retention.ms=-1`.

mod effects;
mod script;

use crate::node::Node;

fn check(name: &str) {
    script::check(&Node::start(), name);
}

#[test]
fn topics_are_configured_as_kafka_does() {
    check("topics");
}

#[test]
fn brokers_are_configured_as_kafka_does() {
    check("brokers");
}

#[test]
fn other_resources_are_configured_as_kafka_does() {
    check("others");
}

#[test]
fn configs_are_described_as_kafka_does() {
    check("describe");
}
