//! Old segments go: the start moves, their files vanish, and a restart, or a kill, changes nothing
//! about it.

use std::fs;
use std::path::Path;

use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{Topic, batch, create, error, fetch, list_offset, produce, records};

/// Earliest offset, as ListOffsets asks for it.
const EARLIEST: i64 = -2;
/// Longer than half of the shortest segment that a topic may have.
const VALUE_LEN: usize = 600_000;

fn earliest(client: &mut Client, topic: &Topic) -> i64 {
    let answer = list_offset(client, topic, 0, EARLIEST);
    assert_eq!(error(answer.error_code), ErrorCode::None);
    answer.offset
}

fn files_of(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn old_segments_go_and_stay_gone() {
    let setup = Setup::new()
        .with("log.retention.check.interval.ms", 100)
        .with("log.segment.delete.delay.ms", 0);
    let mut node = setup.start();
    let mut client = node.connect();
    let configs = [("segment.bytes", "1048576"), ("retention.bytes", "700000")];
    let topic = create(&mut client, &fresh("retention"), 1, &configs);
    let value = "x".repeat(VALUE_LEN);
    for offset in 0..6 {
        let answer = produce(&mut client, &topic, batch(&[&value]));
        assert_eq!((error(answer.error_code), answer.base_offset), (ErrorCode::None, offset));
    }
    // Each has a segment of its own, and one alone would be too little.
    wait_until("four segments are deleted", || earliest(&mut client, &topic) == 4);
    let below = fetch(&mut client, &topic, 3);
    assert_eq!(error(below.error_code), ErrorCode::OffsetOutOfRange);
    let at = fetch(&mut client, &topic, 4);
    assert_eq!((error(at.error_code), at.log_start_offset), (ErrorCode::None, 4));
    assert_eq!(records(&at)[0].offset, 4);
    let dir = node.setup.data().join(format!("{}-0", topic.name));
    wait_until("their files are removed", || {
        files_of(&dir).iter().all(|name| !name.ends_with(".deleted"))
    });
    let first = format!("{:020}", 4);
    let older = |name: &String| name.starts_with(|c: char| c.is_ascii_digit()) && **name < *first;
    assert_eq!(files_of(&dir).into_iter().find(older), None);
    let checkpoint = node.setup.data().join("log-start-offset-checkpoint");
    assert_eq!(fs::read_to_string(&checkpoint).unwrap(), format!("0\n1\n{} 0 4\n", topic.name));
    for stop_cleanly in [true, false] {
        if stop_cleanly {
            node.stop();
            node.start_again();
        } else {
            node.crash();
        }
        client = node.connect();
        assert_eq!(earliest(&mut client, &topic), 4);
        let answer = produce(&mut client, &topic, batch(&["y"]));
        assert_eq!(answer.log_start_offset, 4);
    }
}
