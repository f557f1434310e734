//! Small requests that would become large: bombs of every codec, and zstd's windows.
//!
//! A bomb within the limit is worked on beside the data thread of its connection, so that others
//! there hardly notice; what that connection sent behind it waits, as if nothing were beside.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use ottla_protocol::compression::Codec;
use ottla_types::ErrorCode;

use super::notice::hardly_notice;
use super::{attack, peak_memory};
use crate::client::Client;
use crate::node::{Setup, fresh};
use crate::requests::{PRODUCE, Topic, create, error, produce_request};
use crate::validation::build::{RawBatch, batch_of, batch_of_bytes, record};

/// The default of `ottla.produce.decompressed.max.bytes`.
const DECOMPRESSED_MAX: usize = 64 << 20;
const ZSTD: i16 = 4;

fn bomb(codec: Codec, len: usize) -> RawBatch {
    let mut large = record(0);
    large.value = (len as i32, vec![0; len]);
    batch_of(&[large]).compressed(codec)
}

/// A frame of zstd that claims a window of `2^log` bytes, and holds a hundred thousand zeros.
fn window(log: u8) -> RawBatch {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let last_of_one_byte = (100_000u32 << 3) | 0b11;
    frame.extend(&last_of_one_byte.to_le_bytes()[..3]);
    frame.push(0);
    batch_of_bytes(1, frame).with(|batch| batch.attributes = ZSTD)
}

fn sent(client: &mut Client, topic: &Topic, batch: &RawBatch) -> ErrorCode {
    let request = produce_request(PRODUCE, topic, 1, &[(0, Some(batch.bytes()))]);
    let answer: <ProduceRequest as kafka_protocol::protocol::Request>::Response =
        client.call(PRODUCE, &request);
    error(answer.responses[0].partition_responses[0].error_code)
}

#[test]
fn bombs_cost_little_memory() {
    let mut node = Setup::new().start();
    let topic = create(&mut node.connect(), &fresh("bombs"), 1, &[]);
    let bombs = [
        (bomb(Codec::Gzip(None), DECOMPRESSED_MAX), ErrorCode::MessageTooLarge),
        (bomb(Codec::Zstd(3), DECOMPRESSED_MAX), ErrorCode::MessageTooLarge),
        (bomb(Codec::Lz4, DECOMPRESSED_MAX), ErrorCode::MessageTooLarge),
        (bomb(Codec::Snappy, 8 << 20), ErrorCode::None),
        (window(27), ErrorCode::InvalidRecord),
        (window(28), ErrorCode::InvalidRecord),
    ];
    assert!(bombs.iter().all(|(bomb, _)| bomb.records.len() < 1 << 20));
    attack(&mut node, |node| {
        let mut client = node.connect();
        for round in 0..4 {
            for (index, (bomb, expected)) in bombs.iter().enumerate() {
                let code = sent(&mut client, &topic, bomb);
                assert_eq!(code, *expected, "bomb {index}, round {round}");
            }
        }
    });
}

/// All connections are on one data thread.
#[test]
fn others_on_the_thread_hardly_notice_bombs() {
    let mut node = Setup::new().with("ottla.data.threads", 1).start();
    if node.is_outside() {
        return;
    }
    let topic = create(&mut node.connect(), &fresh("bombs"), 1, &[]);
    let before = peak_memory(&mut node);
    let within = DECOMPRESSED_MAX - 100;
    let bombs = [
        bomb(Codec::Gzip(None), within),
        bomb(Codec::Zstd(3), within),
        bomb(Codec::Lz4, within),
        bomb(Codec::Gzip(None), DECOMPRESSED_MAX),
    ];
    hardly_notice(&node, |attacked: &AtomicBool, stop: &AtomicBool| {
        let (mut client, mut next) = (node.connect(), 0);
        while !stop.load(Relaxed) {
            if !attacked.load(Relaxed) {
                sleep(Duration::from_millis(1));
                continue;
            }
            let code = sent(&mut client, &topic, &bombs[next % bombs.len()]);
            assert!(matches!(code, ErrorCode::None | ErrorCode::MessageTooLarge), "{code:?}");
            next += 1;
        }
        assert!(next > 0, "it attacked");
    });
    let grown = peak_memory(&mut node) - before;
    println!("memory of the bombs: +{} KiB", grown >> 10);
    assert!(grown <= DECOMPRESSED_MAX as u64, "memory grew by {} KiB", grown >> 10);
}
