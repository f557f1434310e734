//! Too much, too slow and too many: pipelines, half requests, and answers that nobody reads.

use std::thread::scope;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, ListOffsetsRequest};
use ottla_types::ErrorCode;

use super::case::{encoded, framed, header};
use super::frames::REQUEST_MAX;
use super::{attack, target};
use crate::client::Client;
use crate::node::{Setup, fresh, wait_until};
use crate::requests::{
    LIST_OFFSETS, batch, create, error, fetch_request, list_offsets_request, produce,
    produce_request,
};

#[test]
fn ten_thousand_requests_in_one_go_are_answered_in_order() {
    let mut node = target();
    let topic = create(&mut node.connect(), &fresh("pipelined"), 1, &[]);
    attack(&mut node, |node| {
        const COUNT: i32 = 10_000;
        let mut client = node.connect();
        let mut sender = client.sender();
        scope(|threads| {
            let request = list_offsets_request(&topic, 0, -1);
            threads.spawn(move || {
                for _ in 0..COUNT {
                    sender.send(LIST_OFFSETS, &request);
                }
            });
            for expected in 0..COUNT {
                let (correlation, answer) = client.receive::<ListOffsetsRequest>(LIST_OFFSETS);
                assert_eq!(correlation, expected);
                let code = answer.topics[0].partitions[0].error_code;
                assert_eq!(error(code), ErrorCode::None);
            }
        });
    });
}

#[test]
fn half_requests_and_idle_connections_keep_nobody_waiting() {
    let mut node = target();
    attack(&mut node, |node| {
        let whole = encoded(0, &ApiVersionsRequest::default());
        let idle: Vec<Client> = (0..200).map(|_| node.connect()).collect();
        let mut half: Vec<Client> = Vec::new();
        for len in 1..whole.len() {
            let mut client = node.connect();
            client.send_raw(&whole[..len]).unwrap();
            half.push(client);
        }
        // Connections that come and go.
        for _ in 0..500 {
            drop(node.connect());
        }
        // The rest arrives after all, split at every byte.
        for (client, len) in half.iter_mut().zip(1..) {
            client.send_raw(&whole[len..]).unwrap();
            let (_, answer) = client.receive::<ApiVersionsRequest>(0);
            assert_eq!(error(answer.error_code), ErrorCode::None);
        }
        let mut slow = node.connect();
        for byte in &whole {
            slow.send_raw(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        slow.receive::<ApiVersionsRequest>(0);
        drop(idle);
    });
}

/// A Produce request that claims the longest length, cut after `sent` bytes.
pub fn claim(sent: usize) -> Vec<u8> {
    let mut bytes = framed(&header(0, 9));
    bytes[..4].copy_from_slice(&REQUEST_MAX.to_be_bytes());
    bytes.resize(sent, 0);
    bytes
}

#[test]
fn claims_cost_the_claimant_not_the_broker() {
    let mut node = target();
    attack(&mut node, |node| {
        let claimants: Vec<Client> = (0..100)
            .map(|index| {
                let mut client = node.connect();
                client.send_raw(&claim(40 + index * 500)).unwrap();
                client
            })
            .collect();
        let mut client = node.connect();
        client.call(0, &ApiVersionsRequest::default());
        drop(claimants);
    });
}

#[test]
fn answers_that_nobody_reads_cost_little() {
    let mut node = target();
    let topic = create(&mut node.connect(), &fresh("unread"), 1, &[]);
    let mut client = node.connect();
    let value = "x".repeat(500_000);
    for _ in 0..10 {
        produce(&mut client, &topic, batch(&[&value]));
    }
    attack(&mut node, |node| {
        let mut deaf: Vec<Client> = (0..5).map(|_| node.connect()).collect();
        for client in &mut deaf {
            client.write_timeout(Duration::from_millis(20));
            // Long, so that the sockets' buffers fill.
            let request = fetch_request(17, &topic, &[(0, 0); 1000]);
            let stuck = (0..2_000).any(|_| client.try_send(17, &request).is_err());
            assert!(stuck, "no more is read from those who do not read");
        }
        let mut client = node.connect();
        client.call(0, &ApiVersionsRequest::default());
    });
}

#[test]
fn whole_requests_of_the_longest_length_are_refused_in_time() {
    let mut node = target();
    let topic = create(&mut node.connect(), &fresh("long"), 1, &[]);
    if node.is_outside() {
        return;
    }
    attack(&mut node, |node| {
        let mut client = node.connect();
        let value = "x".repeat(7 << 20);
        let records = batch(&[&value]);
        for _ in 0..5 {
            let request = produce_request(13, &topic, 1, &[(0, Some(records.clone()))]);
            let answer = client.call(13, &request);
            let code = answer.responses[0].partition_responses[0].error_code;
            assert_eq!(error(code), ErrorCode::MessageTooLarge);
        }
    });
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let node = Setup::new().with("connections.max.idle.ms", 400).start();
    let topic = create(&mut node.connect(), &fresh("idle"), 1, &[]);
    let mut waiting = node.connect();
    waiting.send(17, &fetch_request(17, &topic, &[(0, 0)]).with_max_wait_ms(1500));
    let mut half = node.connect();
    half.send_raw(&[0, 0]).unwrap();
    let mut idle = node.connect();
    let began = Instant::now();
    assert!(idle.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    assert!(half.is_closed());
    assert!(waiting.receive_frame().is_ok(), "a request in work is not idleness");
}

#[test]
fn connections_of_one_address_are_limited() {
    let node = Setup::new().with("max.connections.per.ip", 10).start();
    let mut clients = Vec::new();
    let admitted = || {
        let mut client = node.connect();
        let is_served = client.try_call(0, &ApiVersionsRequest::default()).is_ok();
        is_served.then_some(client)
    };
    // Connections that looked whether the node had started may count for a moment.
    wait_until("there is room for ten", || {
        clients.extend(admitted());
        clients.len() == 10
    });
    assert!(admitted().is_none());
    drop(clients.pop());
    wait_until("there is room again", || admitted().is_some());
}
