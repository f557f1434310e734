//! Many partitions and few open files: all are written, read at once, and there after each kind of
//! end.

use std::fs;

use kafka_protocol::messages::FetchRequest;
use ottla_types::ErrorCode;

use crate::node::{Setup, fresh};
use crate::requests::{FETCH, PRODUCE, batch, create, error, fetch_request, produce_to, records};

const PARTITIONS: i32 = 400;
const OPEN_FILES_MAX: usize = 8;
/// Files that one answer holds, and what a node holds beside files of logs.
const OTHERS: usize = 256 + 64;
/// Too long to be copied into an answer.
const LONG: usize = 5_000;

#[test]
fn many_partitions_need_few_files() {
    let setup = Setup::new().with("ottla.open.files.max", OPEN_FILES_MAX);
    let mut node = setup.start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("many"), PARTITIONS, &[]);
    let value = |partition: i32| match partition % 4 {
        0 => "short".to_owned(),
        _ => "x".repeat(LONG),
    };
    for end in ["none", "stop", "kill"] {
        match end {
            "stop" => {
                node.stop();
                node.start_again();
            }
            "kill" => node.crash(),
            _ => {}
        }
        client = node.connect();
        for partition in 0..PARTITIONS {
            let records = batch(&[&value(partition)]);
            let answer = produce_to(&mut client, PRODUCE, &topic, partition, records);
            assert_eq!(error(answer.error_code), ErrorCode::None, "{partition} after {end}");
        }
        let mut left: Vec<i32> = (0..PARTITIONS).collect();
        while !left.is_empty() {
            let asked: Vec<(i32, i64)> = left.iter().map(|partition| (*partition, 0)).collect();
            let request = fetch_request(FETCH, &topic, &asked).with_max_bytes(i32::MAX);
            let answer = client.call::<FetchRequest>(FETCH, &request);
            let before = left.len();
            for data in &answer.responses[0].partitions {
                assert_eq!(error(data.error_code), ErrorCode::None);
                if data.records.as_ref().is_some_and(|records| !records.is_empty()) {
                    let read = records(data);
                    let expected = value(data.partition_index);
                    assert_eq!(read[0].value, expected.as_bytes());
                    left.retain(|partition| *partition != data.partition_index);
                }
            }
            assert!(left.len() < before, "each fetch brings some");
        }
        let files = fs::read_dir(format!("/proc/{}/fd", node.process().id())).unwrap().count();
        assert!(files <= OPEN_FILES_MAX + OTHERS, "{files} open files after {end}");
    }
}
