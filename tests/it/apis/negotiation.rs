//! What is advertised, and what becomes of requests that are not.

use kafka_protocol::messages::ApiVersionsRequest;
use ottla_types::ErrorCode;

use super::{KAFKA, Shown, World, answered_from};
use crate::client::Client;
use crate::requests::{error, text};

/// A frame with this prefix, an empty client id, and no tags (or an empty body).
fn frame(key: i16, version: i16, correlation: i32) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 11];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation.to_be_bytes());
    frame.extend([0, 0, 0]);
    frame
}

/// Key, lowest and highest version.
type Rows = Vec<(i16, i16, i16)>;

fn advertised(client: &mut Client) -> Rows {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("it"))
        .with_client_software_version(text("1.0"));
    let answer = client.call(4, &request);
    let rows = answer.api_keys.iter().map(|row| (row.api_key, row.min_version, row.max_version));
    let mut rows: Rows = rows.collect();
    rows.sort_unstable();
    rows
}

#[test]
fn versions_are_those_of_kafka() {
    let mut world = World::new();
    type Row = (i16, Shown, Shown);
    let to_clients = |row: &Row| row.1.map(|(min, max)| (row.0, min, max));
    let to_quorum = |row: &Row| row.2.map(|(min, max)| (row.0, min, max));
    let known = |key: i16| KAFKA.iter().any(|row| row.0 == key);
    let outside = world.node.is_outside();
    let check = |client: &mut Client, expected: Rows| {
        let mut rows = advertised(client);
        if outside {
            rows.retain(|row| known(row.0));
        }
        assert_eq!(rows, expected);
    };
    check(&mut world.broker, KAFKA.iter().filter_map(to_clients).collect());
    check(&mut world.controller, KAFKA.iter().filter_map(to_quorum).collect());
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let mut world = World::new();
    for version in [5, 9, i16::MAX, -1, i16::MIN] {
        // A quorum's listener answers it too, and the connection lives on.
        for client in [&mut world.broker, &mut world.controller] {
            client.send_raw(&frame(18, version, 77)).unwrap();
            let (correlation, answer) = client.receive::<ApiVersionsRequest>(0);
            assert_eq!(
                (correlation, error(answer.error_code)),
                (77, ErrorCode::UnsupportedVersion)
            );
            let rows: Vec<_> = answer
                .api_keys
                .iter()
                .map(|row| (row.api_key, row.min_version, row.max_version))
                .collect();
            assert_eq!(rows, [(18, 0, 4)], "version {version}");
            assert!(!advertised(client).is_empty());
        }
    }
}

fn assert_closes(world: &World, on_controller: bool, key: i16, version: i16) {
    let address =
        if on_controller { world.node.controller_address() } else { world.node.address() };
    let mut client = Client::connect(address);
    client.send_raw(&frame(key, version, 1)).unwrap();
    let closed = client.is_closed();
    assert!(closed, "key {key} version {version} controller {on_controller}");
}

#[test]
fn other_unknown_versions_close_the_connection() {
    let world = World::new();
    for (key, to_clients, to_quorum) in KAFKA.iter().filter(|row| row.0 != 18) {
        for (shown, on_controller) in [(to_clients, false), (to_quorum, true)] {
            match shown {
                Some((min, max)) => {
                    for version in [answered_from(*key, *min) - 1, max + 1, -1, i16::MAX] {
                        assert_closes(&world, on_controller, *key, version);
                    }
                }
                None => assert_closes(&world, on_controller, *key, 0),
            }
        }
    }
}

#[test]
fn unknown_keys_close_the_connection() {
    let world = World::new();
    for key in [-1, i16::MIN, 4, 5, 6, 7, 95, 1000, i16::MAX] {
        assert_closes(&world, false, key, 0);
        assert_closes(&world, true, key, 0);
    }
}

#[test]
fn keys_that_are_not_built_yet_close_the_connection() {
    let world = World::new();
    if world.node.is_outside() {
        return;
    }
    for key in (0..95).filter(|key| KAFKA.iter().all(|row| row.0 != *key)) {
        assert_closes(&world, false, key, 0);
        assert_closes(&world, true, key, 0);
    }
}
