//! The page of metrics: what groups and cleaners say there, and who gets it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::SyncGroupResponse;
use ottla_protocol::ApiKey;
use ottla_protocol::batch::{BatchBuilder, BatchKind};
use ottla_protocol::group_offsets::OffsetCommitResponse;
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use crate::groups::{beat_request, commit_request, find_coordinator_of, member_of, sync_request};
use crate::node::{Setup, free_port, fresh, wait_until};
use crate::requests::{batch, create, error, now, produce};

/// What is answered to these bytes, until the other end closes.
fn answer_to(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // What is refused before it is read to the end may be reset.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn page(port: u16) -> String {
    let answer = answer_to(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    body.to_owned()
}

/// The value of a series, by its name with its labels.
fn value(page: &str, series: &str) -> Option<f64> {
    let is_it = |line: &&str| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' '));
    let line = page.lines().find(is_it)?;
    line.rsplit(' ').next().unwrap().parse().ok()
}

/// What is told of the groups of the test behind it.
const OF_GROUPS: &[(&str, f64)] = &[
    ("kafka_server_group_coordinator_metrics_group_count{protocol=\"classic\"}", 2.0),
    ("kafka_server_group_coordinator_metrics_group_count{protocol=\"consumer\"}", 1.0),
    ("kafka_server_group_coordinator_metrics_consumer_group_count{state=\"stable\"}", 1.0),
    ("kafka_server_group_coordinator_metrics_consumer_group_count{state=\"empty\"}", 0.0),
    ("kafka_server_group_coordinator_metrics_num_partitions{state=\"active\"}", 50.0),
    ("kafka_server_group_coordinator_metrics_num_partitions{state=\"failed\"}", 0.0),
    ("kafka_server_group_coordinator_metrics_event_queue_size", 0.0),
    ("kafka_server_group_coordinator_metrics_group_completed_rebalance_count", 1.0),
    ("kafka_server_group_coordinator_metrics_consumer_group_rebalance_count", 1.0),
    ("kafka_server_group_coordinator_metrics_offset_commit_count", 1.0),
    ("kafka_server_group_coordinator_metrics_offset_deletion_count", 0.0),
    ("kafka_coordinator_group_groupmetadatamanager_numgroups", 2.0),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupsempty", 1.0),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupsstable", 1.0),
    ("kafka_coordinator_group_groupmetadatamanager_numoffsets", 1.0),
    ("kafka_consumergroup_members{consumergroup=\"classic\"}", 1.0),
    ("kafka_consumergroup_members{consumergroup=\"new\"}", 1.0),
    ("kafka_consumergroup_members{consumergroup=\"simple\"}", 0.0),
    ("kafka_consumergroup_partitions_left_out", 0.0),
];

#[test]
fn groups_and_their_lag_are_on_the_page() {
    let port = free_port();
    let mut node = Setup::new().with("ottla.metrics.listener", format!("127.0.0.1:{port}")).start();
    let mut client = node.connect();
    let topic = create(&mut client, "read", 2, &[]);
    assert_eq!(
        error(produce(&mut client, &topic, batch(&["a", "b", "c"])).error_code),
        ErrorCode::None
    );
    find_coordinator_of(&mut client, "simple");
    wait_until("the offset is committed", || {
        let request = commit_request("simple", &topic, 10, &[(0, 1)]);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
        error(answer.topics[0].partitions[0].error_code) == ErrorCode::None
    });
    let member = member_of(&mut client, "classic", 9);
    let synced: SyncGroupResponse = client.call(5, &sync_request("classic", &member, 5));
    assert_eq!(error(synced.error_code), ErrorCode::None);
    let beat = client.call(0, &beat_request("new", "", 0, "read"));
    assert_eq!(error(beat.error_code), ErrorCode::None);

    let told = page(port);
    for (series, expected) in OF_GROUPS {
        assert_eq!(value(&told, series), Some(*expected), "{series}: {told}");
    }
    let of_partition = "{consumergroup=\"simple\",topic=\"read\",partition=\"0\"}";
    let current = format!("kafka_consumergroup_current_offset{of_partition}");
    let lag = format!("kafka_consumergroup_lag{of_partition}");
    assert_eq!((value(&told, &current), value(&told, &lag)), (Some(1.0), Some(2.0)), "{told}");

    // After a restart the groups are there, and what is counted begins anew.
    node.stop();
    node.start_again();
    wait_until("all groups are loaded", || {
        let told = page(port);
        value(&told, "kafka_server_group_coordinator_metrics_num_partitions{state=\"active\"}")
            == Some(50.0)
    });
    let told = page(port);
    assert_eq!(value(&told, &lag), Some(2.0));
    let stable = "kafka_coordinator_group_groupmetadatamanager_numgroupsstable";
    assert_eq!(value(&told, stable), Some(1.0), "{told}");
    assert_eq!(
        value(&told, "kafka_server_group_coordinator_metrics_offset_commit_count"),
        Some(0.0)
    );
    let longest = "kafka_server_group_coordinator_metrics_partition_load_time_max";
    assert!(value(&told, longest).is_some_and(|ms| ms > 0.0), "{told}");
}

#[test]
fn more_offsets_than_the_page_may_have_are_counted() {
    let port = free_port();
    let node = Setup::new()
        .with("ottla.metrics.listener", format!("127.0.0.1:{port}"))
        .with("ottla.metrics.offsets.max", 3)
        .start();
    let mut client = node.connect();
    let topic = create(&mut client, "read", 5, &[]);
    find_coordinator_of(&mut client, "simple");
    let offsets: Vec<(i32, i64)> = (0..5).map(|partition| (partition, 0)).collect();
    wait_until("the offsets are committed", || {
        let request = commit_request("simple", &topic, 10, &offsets);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 10, &request);
        error(answer.topics[0].partitions[0].error_code) == ErrorCode::None
    });
    let told = page(port);
    assert_eq!(value(&told, "kafka_consumergroup_partitions_left_out"), Some(2.0), "{told}");
    let rows = told.lines().filter(|line| line.starts_with("kafka_consumergroup_lag{"));
    assert_eq!(rows.count(), 3, "{told}");
}

#[test]
fn what_is_no_request_for_metrics_is_told_so() {
    let port = free_port();
    let node = Setup::new().with("ottla.metrics.listener", format!("127.0.0.1:{port}")).start();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("hello\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = answer_to(port, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    assert_eq!(answer_to(port, long.as_bytes()), "");
    // Eight that say nothing keep the ninth out, and leave again.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    wait_until("a ninth is kept out", || {
        answer_to(port, b"GET /metrics HTTP/1.1\r\n\r\n").is_empty()
    });
    drop(silent);
    wait_until("there is room again", || {
        answer_to(port, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200")
    });
    // Clients of the broker do not notice.
    create(&mut node.connect(), "t", 1, &[]);
}

#[test]
fn a_log_that_cannot_be_compacted_is_on_the_page() {
    let port = free_port();
    let setup = Setup::new()
        .with("ottla.metrics.listener", format!("127.0.0.1:{port}"))
        .with("log.cleaner.backoff.ms", 50)
        .with("log.cleaner.enable", false);
    let mut node = setup.start();
    let mut client = node.connect();
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = create(&mut client, &fresh("compacted"), 1, &configs);
    for _ in 0..6 {
        let mut records = BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), now());
        records.push(Some(b"key"), Some(&[7; 300_000]));
        let answer = produce(&mut client, &topic, Bytes::from(records.build()));
        assert_eq!(error(answer.error_code), ErrorCode::None);
    }
    node.stop();
    let setup = node.into_setup();
    setup.is_damaged();
    let segment = setup.data().join(format!("{}-0", topic.name)).join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let node = setup.with("log.cleaner.enable", true).start();
    let dir = node.setup().data().display().to_string();
    let series = format!(
        "kafka_log_logcleanermanager_uncleanable_partitions_count{{logDirectory=\"{dir}\"}}"
    );
    let mut told = String::new();
    wait_until("the log is known as one that cannot be compacted", || {
        told = page(port);
        value(&told, &series) == Some(1.0)
    });
    let bytes = format!("kafka_log_logcleanermanager_uncleanable_bytes{{logDirectory=\"{dir}\"}}");
    assert!(value(&told, &bytes).is_some_and(|bytes| bytes > 600_000.0), "{told}");
    let since = value(&told, "kafka_log_logcleanermanager_time_since_last_run_ms");
    assert!(since.is_some_and(|ms| ms < 30_000.0), "{told}");
    assert_eq!(value(&told, "kafka_log_logcleaner_max_compaction_delay_secs"), Some(0.0));
    assert_eq!(value(&told, "kafka_log_logcleaner_deadthreadcount"), Some(0.0));
}
