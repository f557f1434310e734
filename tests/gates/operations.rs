//! The operations that are counted.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use ottla_protocol::compression::Codec;
use ottla_protocol::{ApiKey, RequestHeader, RequestPrefix};
use ottla_runtime::sim::SimWorld;
use ottla_test_client::messages::fetch_response::PartitionData;
use ottla_test_client::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, FetchRequest, FetchResponse,
    FindCoordinatorRequest, HeartbeatResponse, JoinGroupRequest, MetadataResponse,
    OffsetCommitResponse, ProduceRequest, ProduceResponse, SyncGroupRequest,
};
use ottla_test_client::{compressed, decode_response};
use uuid::Uuid;

use crate::Failure;
use crate::mark::counted;
use crate::node::{Node, between, count_until_here};
use crate::requests::{
    SESSIONLESS, Session, batch, commit, create, fetch, frame, heartbeat, join, metadata, produce,
    sync,
};

const SEED: u64 = 7;
/// Versions of the requests: those of Kafka 4.3's clients.
const PRODUCE: i16 = 13;
const FETCH: i16 = 18;
const METADATA: i16 = 13;
const CREATE_TOPICS: i16 = 7;
/// Partitions of the wide topic, and topics of one partition.
const MANY: i32 = 1000;

/// Does all of them, in a world of its own.
///
/// # Errors
/// When one of them fails.
pub fn run() -> Result<(), Failure> {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build()?.block_on(all())
}

async fn all() -> Result<(), Failure> {
    let world = SimWorld::new(SEED);
    let mut strict = Node::start(&world, "strict", "strict").await?;
    let (narrow, wide) = topics(&mut strict).await?;
    read_headers(narrow)?;
    count_produce(&mut strict, narrow, "strict").await?;
    count_fetches(&mut strict, narrow, wide).await?;
    count_sessions(&mut strict, wide).await?;
    count_metadata(&mut strict).await?;
    count_groups(&mut strict).await?;
    let mut relaxed = Node::start(&world, "relaxed", "relaxed").await?;
    let (narrow, _) = topics(&mut relaxed).await?;
    count_produce(&mut relaxed, narrow, "relaxed").await
}

fn names() -> Vec<String> {
    (0..MANY).map(|number| format!("topic-{number:04}")).collect()
}

/// Creates the topics; the ids of one of one partition, and of one of many.
async fn topics(node: &mut Node) -> Result<(Uuid, Uuid), Failure> {
    let mut ids = Vec::new();
    for (names, partitions) in [(vec!["wide".to_owned()], MANY), (names(), 1)] {
        let request = create(&names, partitions);
        let answer = node.client.call::<CreateTopicsRequest>(CREATE_TOPICS, &request).await?;
        if let Some(refused) = answer.topics.iter().find(|topic| topic.error_code != 0) {
            return Err(format!("{refused:?}").into());
        }
        ids.push(answer.topics[0].topic_id);
    }
    Ok((ids[1], ids[0]))
}

/// Reading the header of a request, which every request goes through.
fn read_headers(topic: Uuid) -> Result<(), Failure> {
    let frame = frame(PRODUCE, &produce(topic, &[0], &batch(1, 100)))?.slice(4..);
    between();
    for _ in 0..64 {
        counted(|| {
            let prefix = RequestPrefix::read(black_box(&frame));
            black_box((prefix.is_ok(), RequestHeader::split(&frame, ApiKey::Produce).is_ok()));
        });
    }
    count_until_here("read a request's header", 64);
    Ok(())
}

async fn count_produce(node: &mut Node, topic: Uuid, mode: &str) -> Result<(), Failure> {
    let (small, large) = (batch(15, 1024), batch(1008, 1024));
    let rows: [(&str, usize, Bytes); 6] = [
        ("1 record of 100 B", 64, batch(1, 100)),
        ("16 KiB of 1 KiB", 64, small.clone()),
        ("1 MiB of 1 KiB", 8, large),
        ("1 MiB of 100 B", 8, batch(9_000, 100)),
        ("16 KiB, lz4", 16, compressed(&small, Codec::Lz4)),
        ("16 KiB, zstd", 16, compressed(&small, Codec::Zstd(3))),
    ];
    for (name, repeats, batch) in rows {
        let name = format!("produce, {mode}: {name}");
        let request = produce(topic, &[0], &batch);
        node.count((&name, repeats), (PRODUCE, &request), is_produced).await?;
    }
    Ok(())
}

fn is_produced(answer: &ProduceResponse) -> bool {
    let mut partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.all(|partition| partition.error_code == 0)
}

/// Whether records of so many partitions were fetched, and no error.
fn is_fetched(answer: &FetchResponse, count: usize) -> bool {
    let partitions: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
    let has_records = |it: &&PartitionData| {
        it.error_code == 0 && it.records.as_ref().is_some_and(|records| !records.is_empty())
    };
    answer.error_code == 0 && partitions.len() == count && partitions.iter().all(has_records)
}

async fn count_fetches(node: &mut Node, narrow: Uuid, wide: Uuid) -> Result<(), Failure> {
    let all: Vec<i32> = (0..MANY).collect();
    for some in all.chunks(100) {
        let request = produce(wide, some, &batch(1, 100));
        let answer = node.client.call::<ProduceRequest>(PRODUCE, &request).await?;
        if !is_produced(&answer) {
            return Err(format!("{answer:?}").into());
        }
    }
    let one = fetch(SESSIONLESS, narrow, &[0], 0);
    let is_one = |answer: &FetchResponse| is_fetched(answer, 1);
    node.count(("fetch, 1 partition: 1 MiB", 64), (FETCH, &one), is_one).await?;
    for (count, repeats) in [(1, 64), (100, 16), (1000, 4)] {
        let request = fetch(SESSIONLESS, wide, &all[..count], 0);
        let name = format!("fetch, {count} partitions: a record of each");
        let is_good = |answer: &FetchResponse| is_fetched(answer, count);
        node.count((&name, repeats), (FETCH, &request), is_good).await?;
    }
    Ok(())
}

/// Fetches of a session of many partitions, of which none or one has changed.
async fn count_sessions(node: &mut Node, wide: Uuid) -> Result<(), Failure> {
    const FETCHES: i32 = 16;
    let all: Vec<i32> = (0..MANY).collect();
    let begin = fetch(Session(0, 0), wide, &all, 1);
    let begun = node.client.call::<FetchRequest>(FETCH, &begin).await?;
    let (id, mut epoch) = (begun.session_id, 0);
    let mut next = move || {
        epoch += 1;
        Session(id, epoch)
    };
    for _ in 0..FETCHES {
        let request = fetch(next(), wide, &[], 0);
        count_fetch(node, "fetch session of 1000: nothing changed", &request, 0).await?;
    }
    let record = batch(1, 100);
    for partition in 0..FETCHES {
        node.client.call::<ProduceRequest>(PRODUCE, &produce(wide, &[partition], &record)).await?;
        let request = fetch(next(), wide, &[], 0);
        count_fetch(node, "fetch session of 1000: one changed", &request, 1).await?;
        // The client goes on behind what it got.
        let read = fetch(next(), wide, &[partition], 2);
        node.client.call::<FetchRequest>(FETCH, &read).await?;
    }
    Ok(())
}

/// Counts one fetch, which is answered with records of so many partitions.
async fn count_fetch(
    node: &mut Node,
    name: &str,
    request: &FetchRequest,
    count: usize,
) -> Result<(), Failure> {
    let frame = frame(FETCH, request)?;
    between();
    let answer = node.ask(&frame).await?;
    count_until_here(name, 1);
    let (_, answer) = decode_response::<FetchRequest>(FETCH, answer)?;
    if is_fetched(&answer, count) { Ok(()) } else { Err(format!("{name}: {answer:?}").into()) }
}

async fn count_metadata(node: &mut Node) -> Result<(), Failure> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("gates"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let is_good = |answer: &ApiVersionsResponse| answer.error_code == 0;
    node.count(("ApiVersions", 64), (4, &request), is_good).await?;
    let names = names();
    for (count, repeats) in [(10, 64), (1000, 8)] {
        let request = metadata(&names[..count]);
        let is_good = |answer: &MetadataResponse| {
            let topics = answer.topics.iter().filter(|topic| topic.error_code == 0);
            topics.count() == count
        };
        let name = format!("Metadata of {count} topics");
        node.count((&name, repeats), (METADATA, &request), is_good).await?;
    }
    Ok(())
}

async fn count_groups(node: &mut Node) -> Result<(), Failure> {
    const ATTEMPTS: usize = 200;
    let find = FindCoordinatorRequest::default()
        .with_coordinator_keys(vec![StrBytes::from_static_str("group")]);
    let mut member = String::new();
    for _ in 0..ATTEMPTS {
        node.client.call::<FindCoordinatorRequest>(6, &find).await?;
        let joined = node.client.call::<JoinGroupRequest>(9, &join(&member)).await?;
        member = joined.member_id.to_string();
        if joined.error_code == 0 {
            break;
        }
        node.clients.clock().sleep(Duration::from_millis(50)).await;
    }
    node.client.call::<SyncGroupRequest>(5, &sync(&member)).await?;
    let is_good = |answer: &HeartbeatResponse| answer.error_code == 0;
    node.count(("Heartbeat", 64), (4, &heartbeat(&member)), is_good).await?;
    let commit = commit(&member, "topic-0000");
    let is_good = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code == 0;
    node.count(("OffsetCommit of 1 partition", 64), (9, &commit), is_good).await
}
