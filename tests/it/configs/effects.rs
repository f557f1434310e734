//! Changed configs act while the node runs, and stay after its end, whatever the end.

use kafka_protocol::messages::DescribeConfigsRequest;
use ottla_types::ErrorCode;

use crate::apis::{alter_request, describe_request};
use crate::client::Client;
use crate::node::{Node, Setup, fresh, wait_until};
use crate::requests::{Topic, batch, create, error, fetch, list_offset, produce, produce_request};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const EARLIEST: i64 = -2;

fn set(client: &mut Client, kind: i8, name: &str, key: &str, value: &str) {
    let answer = client.call(1, &alter_request(kind, name, key, value));
    let answer = &answer.responses[0];
    assert_eq!(error(answer.error_code), ErrorCode::None, "{:?}", answer.error_message);
}

fn value_of(client: &mut Client, kind: i8, name: &str, key: &str) -> Option<String> {
    let request: DescribeConfigsRequest = describe_request(kind, name);
    let mut answer = client.call(4, &request);
    let configs = answer.results.remove(0).configs;
    configs.into_iter().find(|it| &*it.name == key)?.value.map(|value| value.to_string())
}

fn produced(client: &mut Client, topic: &Topic, bytes: usize) -> ErrorCode {
    error(produce(client, topic, batch(&["x".repeat(bytes).as_str()])).error_code)
}

#[test]
fn a_topic_changes_while_it_is_written() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("live"), 1, &[]);
    assert_eq!(produced(&mut client, &topic, 3000), ErrorCode::None);
    set(&mut client, TOPIC, &topic.name, "max.message.bytes", "2000");
    wait_until("the limit is lower", || {
        produced(&mut client, &topic, 3000) == ErrorCode::MessageTooLarge
    });
    assert_eq!(produced(&mut client, &topic, 1000), ErrorCode::None);
    set(&mut client, TOPIC, &topic.name, "max.message.bytes", "4000");
    wait_until("the limit is higher", || produced(&mut client, &topic, 3000) == ErrorCode::None);
    set(&mut client, TOPIC, &topic.name, "message.timestamp.type", "LogAppendTime");
    wait_until("records get the broker's time", || {
        let answer = produce(&mut client, &topic, batch(&["now"]));
        answer.log_append_time_ms > 1_700_000_000_000
    });
    set(&mut client, TOPIC, &topic.name, "compression.type", "gzip");
    wait_until("batches are compressed", || {
        let value = "y".repeat(2000);
        let offset = produce(&mut client, &topic, batch(&[&value])).base_offset;
        let data = fetch(&mut client, &topic, offset);
        data.records.unwrap().len() < 500
    });
}

#[test]
fn brokers_defaults_reach_topics_that_say_nothing() {
    let setup = Setup::new()
        .with("log.retention.check.interval.ms", 100)
        .with("log.segment.bytes", 1 << 20);
    let mut node = setup.start();
    let mut client = node.connect();
    let plain = create(&mut client, &fresh("plain"), 1, &[]);
    let own = create(&mut client, &fresh("own"), 1, &[("retention.bytes", "100000000")]);
    for topic in [&plain, &own] {
        for _ in 0..4 {
            assert_eq!(produced(&mut client, topic, 600_000), ErrorCode::None);
        }
    }
    let start = |client: &mut Client, topic: &Topic| list_offset(client, topic, 0, EARLIEST).offset;
    assert_eq!(start(&mut client, &plain), 0);
    set(&mut client, BROKER, "", "log.retention.bytes", "700000");
    wait_until("old segments go", || start(&mut client, &plain) == 2);
    assert_eq!(start(&mut client, &own), 0, "it has its own");
    // One broker's own word counts for more than that for all.
    set(&mut client, BROKER, "1", "log.retention.bytes", "1");
    wait_until("one stays", || start(&mut client, &plain) == 3);
    for stop_cleanly in [true, false] {
        if stop_cleanly {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        client = node.connect();
        let key = "log.retention.bytes";
        assert_eq!(value_of(&mut client, BROKER, "", key).as_deref(), Some("700000"));
        assert_eq!(value_of(&mut client, BROKER, "1", key).as_deref(), Some("1"));
        let inherited = value_of(&mut client, TOPIC, &plain.name, "retention.bytes");
        assert_eq!(inherited.as_deref(), Some("1"));
    }
}

#[test]
fn the_number_of_connections_changes_while_they_come() {
    let node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("t"), 1, &[]);
    let request = produce_request(13, &topic, -1, &[(0, Some(batch(&["v"])))]);
    let can_connect = |node: &Node| node.connect().try_call(13, &request).is_ok();
    assert!(can_connect(&node));
    set(&mut client, BROKER, "1", "max.connections.per.ip", "1");
    assert!(!can_connect(&node), "there is one already");
    set(&mut client, BROKER, "", "max.connections.per.ip", "5");
    assert!(!can_connect(&node), "this broker's own counts");
    let mut reset = alter_request(BROKER, "1", "max.connections.per.ip", "");
    reset.resources[0].configs[0].config_operation = 1;
    assert_eq!(error(client.call(1, &reset).responses[0].error_code), ErrorCode::None);
    wait_until("five may connect", || can_connect(&node));
}
