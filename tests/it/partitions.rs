//! Topics that grow: new partitions are served at once and for good, and what is refused is refused
//! in Kafka's words. (The texts are what Apache Kafka 4.3.1 answered.)

use kafka_protocol::messages::CreatePartitionsRequest;
use ottla_types::ErrorCode;

use crate::apis::partitions_request;
use crate::client::Client;
use crate::node::{Node, Setup, fresh};
use crate::requests::{
    CREATE_TOPICS, PRODUCE, batch, creatable, create, create_request, error, metadata_of,
    produce_to, read_all, values,
};

const NEWEST: i16 = 3;

/// Brokers of each new partition, if they are given.
type Assigned = Option<&'static [&'static [i32]]>;

/// Name, error and text of each answer.
fn told(client: &mut Client, request: &CreatePartitionsRequest) -> Vec<(String, i16, String)> {
    let answer = client.call(NEWEST, request);
    let told = answer.results.iter().map(|result| {
        let text = result.error_message.as_ref().map_or("-".to_owned(), ToString::to_string);
        (result.name.to_string(), result.error_code, text)
    });
    told.collect()
}

fn count(client: &mut Client, name: &str) -> usize {
    metadata_of(client, name).topics[0].partitions.len()
}

#[test]
fn new_partitions_take_records_at_once_and_are_there_after_a_crash() {
    let setup = Setup::new();
    let dirs = ["one", "two"].map(|name| setup.dir().join(name).display().to_string());
    let mut node = setup.with("log.dirs", dirs.join(",")).start();
    let client = &mut node.connect();
    let topic = create(client, "grown", 1, &[]);
    for (present, value) in ["a", "b", "c"].into_iter().enumerate() {
        let request = partitions_request("grown", present as i32 + 2, None);
        assert_eq!(told(client, &request), [("grown".to_owned(), 0, "-".to_owned())]);
        let partition = present as i32 + 1;
        let answer = produce_to(client, PRODUCE, &topic, partition, batch(&[value]));
        assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 0));
    }
    node.crash();
    let client = &mut node.connect();
    assert_eq!(count(client, "grown"), 4);
    for (partition, value) in [(0, None), (1, Some("a")), (2, Some("b")), (3, Some("c"))] {
        let read = values(&read_all(client, &topic, partition));
        assert_eq!(read, value.into_iter().collect::<Vec<_>>());
    }
    node.stop();
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(count(client, "grown"), 4);
    let request = partitions_request("grown", 4, None);
    let text = "Topic already has 4 partition(s).".to_owned();
    assert_eq!(told(client, &request), [("grown".to_owned(), 37, text)]);
    node.stop();
}

#[test]
fn what_cannot_grow_is_refused_in_kafkas_words() {
    let node = Node::start();
    let client = &mut node.connect();
    let name = fresh("refused");
    let request = create_request(vec![creatable(&name, 9, &[])]);
    assert_eq!(client.call(CREATE_TOPICS, &request).topics[0].error_code, 0);
    let few = |additional, given| {
        format!(
            "Attempted to add {additional} additional partition(s), but only {given} assignment(s) \
             were specified."
        )
    };
    let no_increase = |count: i32| {
        format!("The topic {name} currently has 9 partition(s); {count} would not be an increase.")
    };
    let manual = "The manual partition assignment includes ";
    let cases: &[(i32, Assigned, i16, String)] = &[
        (9, None, 37, "Topic already has 9 partition(s).".to_owned()),
        (1, None, 37, no_increase(1)),
        (-1, None, 37, no_increase(-1)),
        (11, Some(&[&[1]]), 39, few(2, 1)),
        (10, Some(&[&[1], &[1]]), 39, few(1, 2)),
        (10, Some(&[]), 39, few(1, 0)),
        (10, Some(&[&[]]), 39, format!("{manual}an empty replica list.")),
        (10, Some(&[&[7]]), 39, format!("{manual}broker 7, but no such broker is registered.")),
        (10, Some(&[&[1, 1]]), 39, format!("{manual}the broker 1 more than once.")),
        (10, Some(&[&[1, 2]]), 39, format!("{manual}broker 2, but no such broker is registered.")),
    ];
    for (count, assigned, code, text) in cases {
        let request = partitions_request(&name, *count, *assigned);
        assert_eq!(told(client, &request), [(name.clone(), *code, text.clone())]);
    }
    for missing in ["", "__cluster_metadata", &fresh("missing")] {
        let request = partitions_request(missing, 3, None);
        assert_eq!(told(client, &request), [(missing.to_owned(), 3, "-".to_owned())]);
    }
    // Named twice: neither counts, and the others grow.
    let other = create(client, &fresh("other"), 1, &[]).name;
    let mut request = partitions_request(&name, 10, None);
    request.topics.extend(partitions_request(&other, 2, None).topics);
    request.topics.extend(partitions_request(&name, 12, None).topics);
    let twice = "Duplicate topic name.".to_owned();
    let expected = [(name.clone(), 42, twice), (other.clone(), 0, "-".to_owned())];
    assert_eq!(told(client, &request), expected);
    assert_eq!((count(client, &name), count(client, &other)), (9, 2));
    // Asked only whether it would do, or without time to do it.
    let only = partitions_request(&name, 10, None).with_validate_only(true);
    assert_eq!(told(client, &only), [(name.clone(), 0, "-".to_owned())]);
    for timeout in [0, -1] {
        let late = partitions_request(&name, 10, None).with_timeout_ms(timeout);
        assert_eq!(told(client, &late), [(name.clone(), 7, "-".to_owned())]);
    }
    assert_eq!(told(client, &CreatePartitionsRequest::default().with_timeout_ms(1000)), []);
    assert_eq!(count(client, &name), 9);
    if !node.is_outside() {
        // Kafka says UNKNOWN_SERVER_ERROR, and creates some ten thousand.
        let request = partitions_request(&name, 20_000, None);
        let text = "Unable to perform excessively large batch operation.".to_owned();
        assert_eq!(told(client, &request), [(name.clone(), 44, text)]);
        assert_eq!(count(client, &name), 9);
    }
}
