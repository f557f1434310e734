//! What a restart keeps.

use crate::node::{Node, Setup, wait_until};
use crate::requests::{
    METADATA, Topic, batch, create, list_offset, metadata_of, produce_to, read_all, values,
};
use kafka_protocol::messages::MetadataRequest;
use ottla_types::ErrorCode;

use crate::requests::error;

/// What clients see of a cluster.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    cluster: String,
    topics: Vec<(String, uuid::Uuid)>,
    records: Vec<Vec<String>>,
}

fn look(node: &Node, topics: &[Topic]) -> Seen {
    let mut client = node.connect();
    let mut seen = Seen { cluster: String::new(), topics: Vec::new(), records: Vec::new() };
    for topic in topics {
        let answer = metadata_of(&mut client, &topic.name);
        let told = &answer.topics[0];
        assert_eq!(error(told.error_code), ErrorCode::None, "{}", topic.name);
        seen.cluster = answer.cluster_id.clone().unwrap().to_string();
        seen.topics.push((topic.name.clone(), told.topic_id));
        for partition in 0..told.partitions.len() as i32 {
            let records = values(&read_all(&mut client, topic, partition));
            let end = list_offset(&mut client, topic, partition, -1).offset;
            assert_eq!(end, records.len() as i64);
            seen.records.push(records);
        }
    }
    seen
}

#[test]
fn restarts_change_nothing_that_clients_see() {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let topics: Vec<Topic> =
        (0..5).map(|index| create(&mut client, &format!("topic-{index}"), 3, &[])).collect();
    for (index, topic) in topics.iter().enumerate() {
        for round in 0..10 * index {
            let value = format!("{index} {round}");
            produce_to(&mut client, 13, topic, (round % 3) as i32, batch(&[&value, "more"]));
        }
    }
    let before = look(&node, &topics);
    assert_eq!(before.records.iter().map(Vec::len).sum::<usize>(), 200);
    for clean in [true, false, false, true] {
        if clean {
            node.stop();
        } else {
            node.process().kill();
        }
        let marked = node.setup.data().join(".kafka_cleanshutdown").exists();
        assert_eq!(marked, clean, "only a clean stop says so");
        node.start_again();
        assert_eq!(look(&node, &topics), before);
    }
    let mut client = node.connect();
    let answer = produce_to(&mut client, 13, &topics[0], 0, batch(&["goes on"]));
    assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, 0));
}

#[test]
fn a_clean_stop_says_so_and_ends_waiting_clients() {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, "stops", 1, &[]);
    let request = crate::requests::fetch_request(17, &topic, &[(0, 0)]).with_max_wait_ms(600_000);
    client.send(17, &request);
    let data = node.setup.data();
    assert!(data.join(".lock").exists());
    node.stop();
    assert!(data.join(".kafka_cleanshutdown").exists());
    assert!(!data.join(".lock").exists(), "as Kafka leaves it");
    assert_eq!(node.setup.stderr(), "");
    assert!(client.is_closed(), "nobody waits for a node that is gone");
}

/// Starts a node and asks it to stop after `wait_ms`, wherever it is by then.
fn start_and_stop(setup: &Setup, wait_ms: u64) {
    let mut command = crate::node::binary();
    let mut process = setup.spawn(command.args(setup.arguments()));
    std::thread::sleep(std::time::Duration::from_millis(wait_ms));
    process.terminate();
    let status = process.wait();
    // The signal may come before the process listens to signals.
    let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
    assert!(status.code() == Some(0) || by_signal, "{status:?} {}", setup.stderr());
    assert_eq!(setup.stderr(), "", "after {wait_ms} ms");
    let marked = setup.data().join(".kafka_cleanshutdown").exists();
    let opened = setup.stdout().contains("opened logs");
    assert!(!marked || opened, "after {wait_ms} ms");
}

#[test]
fn a_node_that_is_stopped_while_it_starts_stops() {
    for wait_ms in [0, 2, 5, 8, 12, 20, 30, 50, 100] {
        let setup = Setup::new();
        start_and_stop(&setup, wait_ms);
        let node = setup.start();
        wait_until("it serves", || !metadata_of(&mut node.connect(), "x").brokers.is_empty());
    }
}

/// KAFKA-10471: a start that is interrupted must not say that the logs are sound.
#[test]
fn a_start_that_is_interrupted_is_no_clean_stop() {
    let mut node = Setup::new().start();
    let topic = create(&mut node.connect(), "torn", 30, &[]);
    let log = node.setup.data().join("torn-0").join("00000000000000000000.log");
    for (round, wait_ms) in [1, 3, 5, 7, 9, 12, 15, 20, 25].into_iter().enumerate() {
        let answer = produce_to(&mut node.connect(), 13, &topic, 0, batch(&["v"]));
        assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, round as i64));
        node.process().kill();
        // A write that the crash has torn: its last page did not get to the disk.
        let mut torn = batch(&["torn"]).to_vec();
        torn[..8].copy_from_slice(&(round as i64 + 1).to_be_bytes());
        *torn.last_mut().unwrap() = 0xff;
        let mut file = std::fs::File::options().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, &torn).unwrap();
        start_and_stop(&node.setup, wait_ms);
        node.start_again();
        let records = read_all(&mut node.connect(), &topic, 0);
        assert_eq!(records.len(), round + 1, "after {wait_ms} ms");
    }
}

#[test]
fn the_cluster_is_the_one_of_the_directory() {
    let mut node = Setup::new().start();
    node.stop();
    let path = node.setup.data().join("meta.properties");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("cluster.id=")).unwrap();
    let other = "AAAAAAAAAAAAAAAAAAAAAQ";
    std::fs::write(&path, text.replace(line, &format!("cluster.id={other}"))).unwrap();
    // Kafka starts such a node too: nothing else says which cluster it was.
    node.start_again();
    let answer = metadata_of(&mut node.connect(), "any");
    assert_eq!(answer.cluster_id.as_deref(), Some(other));
}

#[test]
fn whoever_stops_names_itself_to_the_end() {
    let mut node = Setup::new().start();
    // Replicas make the time longer between being fenced and being gone.
    let mut client = node.connect();
    for index in 0..20 {
        create(&mut client, &format!("topic-{index}"), 5, &[]);
    }
    node.process().terminate();
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let mut without_controller = 0;
    while let Ok(answer) = client.try_call(METADATA, &request) {
        let brokers: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id.0).collect();
        assert_eq!(brokers, [1]);
        without_controller += usize::from(answer.controller_id.0 == -1);
    }
    assert!(without_controller > 0, "it was never asked while it was fenced");
    node.process().wait();
}
