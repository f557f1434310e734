//! A member of a consumer group that subscribes by a pattern is given nothing of topics that it may
//! not describe, though the pattern stands for them.

use std::collections::BTreeSet;

use kafka_protocol::messages::ConsumerGroupHeartbeatResponse;
use ottla_types::ErrorCode;
use uuid::Uuid;

use super::Embedded;
use crate::client::Client;
use crate::groups::{beat_request, find_coordinator_of};
use crate::node::wait_until;
use crate::requests::{create, error, text};

/// Topics that the answers to heartbeats name, until they have named some.
fn told(client: &mut Client, group: &str) -> BTreeSet<Uuid> {
    find_coordinator_of(client, group);
    let join = beat_request(group, "a", 0, "").with_subscribed_topic_names(None);
    let answer = client.call(1, &join.with_subscribed_topic_regex(Some(text("orders-.+"))));
    assert_eq!(error(answer.error_code), ErrorCode::None);
    let (mut epoch, mut topics) = (answer.member_epoch, BTreeSet::new());
    wait_until("the pattern is looked up", || {
        let answer: ConsumerGroupHeartbeatResponse =
            client.call(1, &beat_request(group, "a", epoch, ""));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        epoch = answer.member_epoch;
        let assigned = answer.assignment.into_iter().flat_map(|it| it.topic_partitions);
        topics.extend(assigned.map(|topic| topic.topic_id));
        !topics.is_empty()
    });
    topics
}

#[test]
fn a_pattern_gives_nothing_of_topics_that_its_member_may_not_describe() {
    let node = Embedded::start();
    let client = &mut node.connect();
    let eu = create(client, "orders-eu", 2, &[]);
    let secret = create(client, "orders-secret", 2, &[]);
    node.recorder.hide(&["orders-secret"]);
    node.recorder.take();
    assert_eq!(told(client, "g"), BTreeSet::from([eu.id]), "not {}", secret.id);
    let asked = node.recorder.take();
    for question in ["Describe Topic orders-eu", "Describe Topic orders-secret"] {
        assert!(asked.iter().any(|it| it == question), "{question} is not in {asked:?}");
    }

    // Who names it is refused.
    let answer = client.call(1, &beat_request("g", "b", 0, "orders-secret"));
    assert_eq!(error(answer.error_code), ErrorCode::TopicAuthorizationFailed);

    // Who may see it gets it, in a group of its own: what a pattern stands for is a group's.
    node.recorder.hide(&[]);
    assert_eq!(told(client, "all"), BTreeSet::from([eu.id, secret.id]));
}
